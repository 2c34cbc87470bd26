//! The driver against what it speaks with: the link's sessions, addresses on loopback, and etcd members that misbehave.

use super::*;
use crate::logs::LogFile;
use crate::report::blank;
use holdfast_api::agent::FromAgent;
use holdfast_api::userconfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

const PATIENCE: Duration = Duration::from_secs(30);

struct Lab {
    setting: Setting,
    log: LogFile,
    inbox: Inbox,
    inputs: mpsc::Receiver<Input>,
    _folder: tempfile::TempDir,
}

fn lab(witness: userconfig::Witness, limit: Duration) -> Lab {
    let folder = tempfile::tempdir().unwrap();
    let log = LogFile::new(folder.path(), "module", 1 << 20);
    let reports = Reports::new("node1");
    reports.set(blank("mirror", ModuleId(1), "node1", 1, "stopped"), false);
    let setting = Setting {
        module: "mirror".into(),
        id: ModuleId(1),
        etcd_key: etcd_key(b"secret", "mirror", 1),
        node: NodeId(1),
        witness,
        limit,
        register: ServerRegister::default(),
        log: ModuleLog::start(log.clone(), "mirror", "node1").unwrap(),
        reports,
    };
    let (inbox, inputs) = mpsc::channel(64);
    Lab { setting, log, inbox, inputs, _folder: folder }
}

impl Lab {
    fn start(&self) -> Witness {
        Witness::start(self.setting.clone(), self.inbox.clone()).unwrap()
    }

    async fn input(&mut self) -> Input {
        tokio::time::timeout(PATIENCE, self.inputs.recv()).await.expect("in time").unwrap()
    }

    /// The answer to an ask, and the resource after it.
    async fn answer(&mut self, number: u64) -> (WitnessAnswer, ResourceValue) {
        loop {
            match self.input().await {
                Input::WitnessAnswered { ask, answer } if ask == number => return (answer, self.resource().await),
                Input::ResourceSet { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    }

    async fn resource(&mut self) -> ResourceValue {
        match self.input().await {
            Input::ResourceSet { name, value, .. } if name == "splitbrain.witness" => value,
            other => panic!("{other:?}"),
        }
    }
}

fn ping(addresses: &[&str]) -> userconfig::Witness {
    let addresses = addresses.iter().map(|text| (*text).to_owned()).collect();
    userconfig::Witness::Ping { ident: "witness".into(), addresses }
}

#[tokio::test]
async fn one_answering_address_is_enough_for_a_ping_witness() {
    // No echo leaves this machine: broadcasts are not allowed to pingers.
    let mut lab = lab(ping(&["255.255.255.255", "127.0.0.1"]), PATIENCE);
    lab.start().ask(1, 0, 0);
    assert_eq!(lab.answer(1).await, (WitnessAnswer::Reachable(true), ResourceValue::Up));
}

#[tokio::test]
async fn a_ping_witness_is_asked_only_when_the_core_asks_and_silence_is_no() {
    let mut lab = lab(ping(&["255.255.255.255", "no such name"]), Duration::from_millis(300));
    let witness = lab.start();
    assert!(witness.looking.is_none());
    witness.ask(1, 0, 0);
    assert_eq!(lab.answer(1).await, (WitnessAnswer::Reachable(false), ResourceValue::Down));
}

#[tokio::test]
async fn the_servers_register_is_told_the_generation_once_in_each_life_and_then_asked() {
    let mut lab = lab(userconfig::Witness::Server { ident: "witness".into() }, PATIENCE);
    let register = lab.setting.register.clone();
    let mut questions = register.open(70);
    let witness = lab.start();
    assert_eq!(lab.input().await, Input::RegisterRestarted { life: 70 });
    witness.report_generation(70, 5);
    let Some(FromAgent::AskRegister { id, question }) = questions.next().await else { panic!("no question") };
    assert_eq!((question.name.as_str(), question.matter), ("mirror", RegisterMatter::Holds { life: 70, number: 5 }));
    let waits = RegisterAnswer::Refused { number: 0, reason: "waits for node 2".into() };
    questions.answered(id, waits);
    assert_eq!(lab.resource().await, ResourceValue::Down);
    // The same life again: nothing is reported again, the register is looked at.
    drop(questions);
    let mut questions = register.open(70);
    let Some(FromAgent::AskRegister { id, question }) = questions.next().await else { panic!("no question") };
    assert_eq!(question.matter, RegisterMatter::Look);
    questions.answered(id, RegisterAnswer::Ready);
    assert_eq!(lab.resource().await, ResourceValue::Up);
    witness.ask(9, 6, 66);
    let Some(FromAgent::AskRegister { id, question }) = questions.next().await else { panic!("no question") };
    assert_eq!(question.matter, RegisterMatter::Claim { number: 6, nonce: 66 });
    questions.answered(id, RegisterAnswer::Granted);
    assert_eq!(lab.answer(9).await, (WitnessAnswer::Granted, ResourceValue::Up));
    // A session that ends while an ask is under way.
    witness.ask(10, 7, 77);
    assert!(questions.next().await.is_some());
    drop(questions);
    let (answer, resource) = lab.answer(10).await;
    assert!(
        matches!(&answer, WitnessAnswer::Unreachable { reason } if reason.contains("before the answer")),
        "{answer:?}"
    );
    assert_eq!(resource, ResourceValue::Down);
    // Another life.
    let _questions = register.open(71);
    assert_eq!(lab.input().await, Input::RegisterRestarted { life: 71 });
}

#[tokio::test]
async fn a_server_that_does_not_answer_in_time_is_unreachable() {
    let mut lab = lab(userconfig::Witness::Server { ident: "witness".into() }, Duration::from_millis(200));
    let _questions = lab.setting.register.open(70);
    let witness = lab.start();
    assert_eq!(lab.input().await, Input::RegisterRestarted { life: 70 });
    witness.ask(1, 2, 3);
    let (answer, _) = lab.answer(1).await;
    assert!(matches!(&answer, WitnessAnswer::Unreachable { reason } if reason.contains("200 ms")), "{answer:?}");
}

fn etcd(endpoints: &[String]) -> userconfig::Witness {
    userconfig::Witness::Etcd { ident: "witness".into(), endpoints: endpoints.to_vec() }
}

/// A member that answers every request with this.
async fn member(status: &'static str, body: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 4096]).await;
            let length = body.len();
            let text = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
            let _ = stream.write_all(text.as_bytes()).await;
        }
    });
    format!("http://{address}")
}

#[tokio::test]
async fn members_are_asked_in_turn_and_every_failure_is_named() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = format!("http://{}", silent.local_addr().unwrap());
    let leaderless = member("503 Service Unavailable", r#"{"message":"etcdserver: no leader","code":14}"#).await;
    let other = member("200 OK", "<html>").await;
    let mut broken = lab(etcd(&[silent.clone(), leaderless.clone(), other]), Duration::from_secs(3));
    let witness = broken.start();
    assert_eq!(broken.resource().await, ResourceValue::Down);
    witness.ask(1, 5, 50);
    let (WitnessAnswer::Unreachable { reason }, ResourceValue::Down) = broken.answer(1).await else {
        panic!("answered")
    };
    for part in ["no leader", "not etcd's", "start it"] {
        assert!(reason.contains(part), "{reason}");
    }
    // Somebody else's grant, told by the last member.
    let held = r#"{"kvs":[{"mod_revision":"4","value":"eyJudW1iZXIiOjUsIm93bmVyIjoyLCJub25jZSI6Nn0="}]}"#;
    let good = member("200 OK", held).await;
    let mut working = lab(etcd(&[leaderless, good]), PATIENCE);
    let witness = working.start();
    assert_eq!(working.resource().await, ResourceValue::Up);
    witness.ask(1, 5, 50);
    let (answer, resource) = working.answer(1).await;
    let reason = "generation 5 was granted to node 2".to_owned();
    assert_eq!((answer, resource), (WitnessAnswer::Refused { number: 5, reason }, ResourceValue::Up));
}

#[tokio::test]
async fn a_register_that_cannot_be_asked_is_in_the_module_log_once_until_it_changes() {
    let mut lab = lab(etcd(&["http://127.0.0.1:1".to_owned()]), PATIENCE);
    let witness = lab.start();
    assert_eq!(lab.resource().await, ResourceValue::Down);
    for ask in 1..4 {
        witness.ask(ask, 5, 50);
        lab.answer(ask).await;
    }
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let lines = loop {
        let lines = lab.log.page(&holdfast_api::agent::LogWanted::last(100)).unwrap().lines;
        if !lines.is_empty() || tokio::time::Instant::now() > deadline {
            break lines;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert_eq!(lines.len(), 1, "{lines:?}");
    drop(witness);
    assert!(lines[0].level == "W" && lines[0].text.contains("no node could take over"), "{lines:?}");
}

#[test]
fn endpoints_that_cannot_be_used_are_refused() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _inside = runtime.enter();
    let lab = lab(etcd(&["https://127.0.0.1:1".to_owned()]), PATIENCE);
    let error = Witness::start(lab.setting.clone(), lab.inbox.clone()).unwrap_err().to_string();
    assert!(error.contains("TLS"), "{error}");
}
