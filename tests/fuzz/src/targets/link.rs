//! What nodes say to each other on the cluster link, and the command line to its agent.

use super::json::reads;
use holdfast_agent::cluster_link::frame::read_bytes;
use holdfast_agent::cluster_link::message::{HELLO_MAX, Hello, Mark, STATUS_MAX, Status, read_hello};
use holdfast_agent::control::server::parse;
use holdfast_agent::control::{Answer, Ask, PROTOCOL, Request};
use holdfast_api::config::{ClusterConfig, ClusterNode};
use holdfast_api::ids::NodeId;
use holdfast_core::input::ModuleCommand;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// Frames over a slice never wait.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("a slice is always ready"),
    }
}

/// Frames of the cluster link: a greeting, then any of what may follow.
pub fn cluster_link(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    let mut read = false;
    let mut max = HELLO_MAX;
    while let Ok(Some(frame)) = now(read_bytes(&mut rest, max)) {
        assert!(frame.len() <= max);
        if let Ok(hello) = read_hello(&frame) {
            let again = serde_json::to_vec(&hello).expect("a greeting is JSON");
            assert_eq!(read_hello(&again), Ok(hello));
            read = true;
        }
        read |= reads::<Status>(&frame) | ask(&frame) | reads::<Answer>(&frame);
        max = STATUS_MAX;
    }
    read
}

/// Lines of the command line, and their answers.
pub fn command_line(bytes: &[u8]) -> bool {
    ask(bytes) | reads::<Answer>(bytes)
}

fn ask(line: &[u8]) -> bool {
    match parse(line) {
        Ok(ask) => {
            let written = serde_json::to_vec(&ask).expect("a line is JSON");
            let again = parse(&written).unwrap_or_else(|answer| panic!("what was written is refused: {answer:?}"));
            assert_eq!(serde_json::to_vec(&again).expect("a line is JSON"), written);
            true
        }
        Err(answer) => {
            assert!(matches!(answer, Answer::Refused { reason } if !reason.is_empty()));
            false
        }
    }
}

fn asks() -> Vec<Ask> {
    let cluster = ClusterConfig {
        version: 3,
        name: "c".to_owned(),
        secret: "ab".repeat(32),
        lans: vec!["default".to_owned()],
        nodes: vec![ClusterNode {
            id: NodeId(1),
            name: "node1".to_owned(),
            addresses: [("default".to_owned(), "10.0.0.1".to_owned())].into(),
            fingerprint: "cd".repeat(32),
        }],
    };
    let requests = [
        Request::State { module: Some("web".to_owned()) },
        Request::Command { module: "web".to_owned(), kind: ModuleCommand::Swap, counted: true },
        Request::SetResource { module: "web".to_owned(), name: "custom.a".to_owned(), value: "up".to_owned() },
        Request::ClusterConfigure { config: cluster },
    ];
    let ask = |request| Ask { protocol: PROTOCOL, actor: "admin".to_owned(), on: Some("node2".to_owned()), request };
    requests.into_iter().map(ask).collect()
}

fn json<T: serde::Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("it is JSON")
}

fn framed(bodies: &[Vec<u8>]) -> Vec<u8> {
    bodies.iter().flat_map(|body| [&(body.len() as u32).to_be_bytes()[..], body].concat()).collect()
}

/// A session's beginning, and requests.
pub fn cluster_link_samples() -> Vec<Vec<u8>> {
    let status = Status {
        version: "0.1.0".to_owned(),
        cluster: Mark { version: 3, signature: "ef".repeat(32), unix_ms: 1_700_000_000_000 },
        server: true,
        modules: Vec::new(),
    };
    let mut samples = vec![framed(&[json(&Hello::own()), json(&status), json(&status)])];
    samples.extend(asks().iter().map(|ask| framed(&[json(&Hello::own()), json(ask)])));
    samples
}

/// Lines and answers.
pub fn command_line_samples() -> Vec<Vec<u8>> {
    let refused = Answer::Refused { reason: "no module web here".to_owned() };
    let mut samples: Vec<Vec<u8>> = asks().iter().map(json).collect();
    samples.extend([json(&refused), json(&Answer::Done { text: "done".to_owned() })]);
    samples
}
