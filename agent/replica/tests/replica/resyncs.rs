//! Resyncs of real processes: limited, interrupted, ordered whole.

use super::*;

/// Bytes of [`novel`].
const NOVEL: u64 = 40 << 20;

/// What only the first node has.
fn novel(nodes: &Nodes) {
    for i in 0..40u8 {
        let folder = nodes.data(1).join(format!("new{}", i % 8));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(format!("file{i}")), vec![i + 1; 1 << 20]).unwrap();
    }
}

fn slow(nodes: &Nodes, node: usize) -> Replica {
    Replica::start(Configure { resync_bytes_per_s: 16 << 20, resync_mark_ms: 100, ..nodes.configure(node) })
}

fn last_progress(primary: &Replica) -> ResyncProgress {
    let told = primary.told.lock().unwrap();
    let last = told.iter().rev().find_map(|event| match event {
        E::ResyncProgress { progress } => Some(*progress),
        _ => None,
    });
    last.unwrap_or_default()
}

#[test]
fn a_resync_keeps_to_its_bandwidth_and_tells_rate_and_time_left() {
    let nodes = Nodes::new();
    novel(&nodes);
    let (mut one, mut two) = (slow(&nodes, 1), nodes.start(2));
    one.command(C::Serve { generation: FIRST });
    one.expect_event(E::Serving);
    follow(&mut one, &mut two, 7, FIRST);
    let progress = last_progress(&one);
    assert_eq!((progress.bytes_sent, progress.bytes_done), (NOVEL, NOVEL));
    let least_ms = NOVEL * 1000 / (16 << 20) * 9 / 10;
    assert!(progress.elapsed_ms >= least_ms, "{progress:?}: faster than allowed");
    let told = one.told.lock().unwrap();
    let known = |event: &E| matches!(event, E::ResyncProgress { progress } if progress.left_ms.is_some_and(|left| left > 0) && progress.bytes_per_s > 0);
    assert!(told.iter().any(known), "rate and time left were never told");
    drop(told);
    release_both(&nodes, one, two);
}

#[test]
fn after_kill_9_of_the_secondary_in_the_middle_a_first_copy_goes_on() {
    let nodes = Nodes::new();
    novel(&nodes);
    let (mut one, mut two) = (slow(&nodes, 1), nodes.start(2));
    one.command(C::Serve { generation: FIRST });
    one.expect_event(E::Serving);
    let load = Load::start(nodes.data(1));
    let begin = |one: &mut Replica, two: &mut Replica, session, generation| {
        two.command(C::Follow { session, generation });
        one.command(C::AcceptPeer { session });
        one.expect_event(E::PeerConnected { session });
        // Marks are made each 100 ms.
        eventually("a quarter is copied", || last_progress(one).bytes_sent >= NOVEL / 4);
    };
    begin(&mut one, &mut two, 7, FIRST);
    two.kill();
    one.expect("StreamLost", |e| matches!(e, E::StreamLost { session: 7, .. }).then_some(()));
    one.told.lock().unwrap().retain(|event| !matches!(event, E::ResyncProgress { .. }));
    one.read = one.told.lock().unwrap().len();
    let mut two = nodes.start(2);
    follow(&mut one, &mut two, 8, FIRST);
    let progress = last_progress(&one);
    assert!(load.stop() > 0);
    assert!(progress.bytes_sent < NOVEL - (2 << 20), "{progress:?}: it began anew");
    release_both(&nodes, one, two);
}

#[test]
fn an_ordered_full_compare_finds_what_nobody_names() {
    let nodes = Nodes::new();
    let (mut one, mut two) = settled_pair(&nodes);
    two.command(C::Fence);
    two.expect_event(E::Fenced);
    one.expect("StreamLost", |e| matches!(e, E::StreamLost { session: 7, .. }).then_some(()));
    one.command(C::ContinueAlone { generation: SECOND });
    two.command(C::CompareAll);
    follow(&mut one, &mut two, 8, SECOND);
    let (entries, _) = compared(&one);
    assert!(entries >= 400, "{entries} entries were compared");
    release_both(&nodes, one, two);
}
