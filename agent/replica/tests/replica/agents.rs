//! A replica whose agent is gone, and the next one.

use super::*;

/// What an agent that finds the replica is answered, on which connection.
fn hello(configure: &Configure) -> (UnixStream, FromReplica) {
    let socket = UnixStream::connect(&configure.orphan.as_ref().unwrap().socket).unwrap();
    control::send(&socket, &ToReplica::Hello(Box::new(configure.clone()))).unwrap();
    let answer = control::receive(&socket).unwrap().unwrap();
    (socket, answer)
}

pub(super) fn going_on(nodes: &Nodes, limit_ms: u64) -> Configure {
    let socket = nodes.base.path().join("agents");
    let release = vec!["touch".to_owned(), nodes.base.path().join("released").display().to_string()];
    let orphan = Orphan { socket, limit_ms, addresses_ms: limit_ms / 2, release };
    Configure { orphan: Some(orphan), ..nodes.configure(1) }
}

#[test]
fn a_primary_serves_on_without_its_agent_and_obeys_the_next() {
    let nodes = Nodes::new();
    let configure = going_on(&nodes, 600_000);
    let mut one = Replica::start(configure.clone());
    one.command(C::Serve { generation: FIRST });
    one.expect_event(E::Serving);
    let file = nodes.data(1).join("file");
    fs::write(&file, "with an agent").unwrap();
    let (_, answer) = hello(&configure);
    assert!(matches!(&answer, FromReplica::Refused(reason) if reason.contains("another agent")), "{answer:?}");
    one.socket.shutdown(std::net::Shutdown::Both).unwrap();
    let mut found = None;
    eventually("the next agent is heard", || {
        fs::write(&file, "without an agent").unwrap();
        let (socket, answer) = hello(&configure);
        found = Some(socket);
        let alone =
            Plane::Serving { generation: FIRST, acknowledges: Acknowledges::Alone, session: None, connected: false };
        answer == FromReplica::Found(alone)
    });
    let (_, answer) = hello(&Configure { module: "other".into(), ..configure });
    assert!(matches!(&answer, FromReplica::Refused(reason) if reason.contains("configuration")), "{answer:?}");
    fs::write(&file, "with the next").unwrap();
    let socket = found.unwrap();
    control::send(&socket, &ToReplica::Command(C::Release { abort: false })).unwrap();
    while !matches!(control::receive(&socket).unwrap(), Some(FromReplica::Event(E::Released))) {}
    assert_eq!(fs::read_to_string(&file).unwrap(), "with the next");
    control::send(&socket, &ToReplica::End).unwrap();
    assert!(one.child.wait().unwrap().success());
    assert!(!nodes.base.path().join("released").exists(), "the addresses were not its to take away");
}

#[test]
fn the_next_agent_is_obeyed_though_its_ledger_says_more_than_that_of_the_last() {
    let nodes = Nodes::new();
    let configure = going_on(&nodes, 600_000);
    let mut one = Replica::start(configure.clone());
    one.command(C::Serve { generation: FIRST });
    one.expect_event(E::Serving);
    one.socket.shutdown(std::net::Shutdown::Both).unwrap();
    let covered = Some(std::sync::Arc::new(holdfast_core::covered::Covered::default()));
    let later = Configure { covered, ..configure };
    let mut answered = None;
    eventually("the next agent is heard", || {
        let (socket, answer) = hello(&later);
        answered = Some(socket);
        matches!(answer, FromReplica::Found(Plane::Serving { .. }))
    });
    control::send(&answered.unwrap(), &ToReplica::End).unwrap();
    assert!(one.child.wait().unwrap().success());
}

#[test]
fn a_primary_that_no_agent_comes_back_to_refuses_its_writers_and_ends() {
    let nodes = Nodes::new();
    let mut one = Replica::start(going_on(&nodes, 200));
    one.command(C::Serve { generation: FIRST });
    one.expect_event(E::Serving);
    let file = fs::File::create(nodes.data(1).join("file")).unwrap();
    one.socket.shutdown(std::net::Shutdown::Both).unwrap();
    eventually("writes are refused", || (&file).write_all(b"x").is_err());
    assert!(one.child.wait().unwrap().success());
    assert!(nodes.base.path().join("released").exists(), "its addresses are taken away before");
}

#[test]
fn a_secondary_applies_on_without_its_agent_and_says_when_the_stream_is_lost() {
    let nodes = Nodes::new();
    let configure = Configure { orphan: going_on(&nodes, 600_000).orphan, ..nodes.configure(2) };
    let (mut one, mut two) = (nodes.start(1), Replica::start(configure.clone()));
    one.command(C::Serve { generation: FIRST });
    one.expect_event(E::Serving);
    follow(&mut one, &mut two, 7, FIRST);
    two.socket.shutdown(std::net::Shutdown::Both).unwrap();
    fs::write(nodes.data(1).join("file"), "without an agent").unwrap();
    // The time of a file that is closed is told once the kernel has told of the closing.
    eventually("equal copies", || nodes.differences().is_empty());
    one.kill();
    eventually("the next agent hears that the stream is lost", || {
        let (socket, answer) = hello(&configure);
        drop(socket);
        answer == FromReplica::Found(Plane::Following { session: 7, lost: true })
    });
    control::send(UnixStream::connect(&configure.orphan.unwrap().socket).unwrap(), &ToReplica::End).unwrap();
    assert!(two.child.wait().unwrap().success());
}

#[test]
fn a_replica_says_that_it_goes_on_whatever_it_does() {
    let nodes = Nodes::new();
    let (mut one, mut two) = (nodes.start(1), nodes.start(2));
    two.goes_on();
    // Nobody answers yet.
    two.command(C::Follow { session: 7, generation: FIRST });
    two.goes_on();
    one.command(C::Serve { generation: FIRST });
    one.expect_event(E::Serving);
    follow(&mut one, &mut two, 7, FIRST);
    two.goes_on();
    two.command(C::Fence);
    two.expect_event(E::Fenced);
    two.goes_on();
    one.command(C::Refuse);
    one.expect_event(E::Refusing);
    one.goes_on();
    one.command(C::Release { abort: true });
    one.expect_event(E::Released);
    one.goes_on();
}
