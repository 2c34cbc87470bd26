//! The server as witness: grants, refusals, arming after a restart, a restored backup, and the routes.

use crate::support::{Client, Node, PASSWORD, Running, Session, cluster, config, eventually, join, server};
use holdfast_api::agent::{
    Answer, FromAgent, FromServer, NodeReport, PROTOCOL_VERSION, RegisterAnswer, RegisterMatter, RegisterQuestion,
};
use holdfast_api::ids::ModuleId;
use holdfast_api::userconfig::Witness;
use holdfast_server::start;
use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use std::path::Path;

const M1: ModuleId = ModuleId(1);
const REGISTER: &str = "/api/v1/modules/1/register";
const ARM: &str = "/api/v1/modules/1/register/arm";

/// A node's session, as far as it speaks with the register.
struct Asking {
    session: Session,
    life: u64,
    next: u64,
}

impl Asking {
    async fn question(&mut self, module: ModuleId, name: &str, matter: RegisterMatter) -> RegisterAnswer {
        self.next += 1;
        let question = RegisterQuestion { module, name: name.into(), matter };
        self.session.say(&FromAgent::AskRegister { id: self.next, question }).await;
        loop {
            match self.session.next().await {
                Some(FromServer::RegisterAnswered { id, answer }) if id == self.next => return answer,
                // Pushes that come meanwhile.
                Some(FromServer::Request { id, .. }) => {
                    self.session.answer(id, Answer::Done { text: String::new() }).await;
                }
                other => panic!("no answer: {other:?}"),
            }
        }
    }

    async fn ask(&mut self, matter: RegisterMatter) -> RegisterAnswer {
        self.question(M1, "mirror", matter).await
    }

    async fn claim(&mut self, number: u64, nonce: u64) -> RegisterAnswer {
        self.ask(RegisterMatter::Claim { number, nonce }).await
    }

    async fn holds(&mut self, number: u64) -> RegisterAnswer {
        self.ask(RegisterMatter::Holds { life: self.life, number }).await
    }
}

fn refused(answer: &RegisterAnswer) -> (u64, &str) {
    match answer {
        RegisterAnswer::Refused { number, reason } => (*number, reason),
        other => panic!("not refused: {other:?}"),
    }
}

fn failed(answer: &RegisterAnswer) -> &str {
    match answer {
        RegisterAnswer::Failed { reason } => reason,
        other => panic!("decided: {other:?}"),
    }
}

async fn connect(node: &Node) -> Asking {
    let mut session = Session {
        socket: node.socket().await.unwrap(),
        name: node.enrolment.name.clone(),
        held: vec![(M1, "mirror".into(), 2)],
        cluster: 1,
    };
    session.say(&FromAgent::Hello(session.hello(PROTOCOL_VERSION))).await;
    match session.next().await {
        Some(FromServer::Welcome { register_life, .. }) => Asking { session, life: register_life, next: 0 },
        other => panic!("no welcome: {other:?}"),
    }
}

/// Two nodes of a configured module `mirror`, connected.
struct Pair {
    running: Running,
    admin: Client,
    nodes: [Node; 2],
    one: Asking,
    two: Asking,
}

async fn pair() -> Pair {
    let running = server().await;
    let admin = running.admin().await;
    let nodes = [join(&running, &admin, "node1").await, join(&running, &admin, "node2").await];
    cluster(&admin, &[&nodes[0], &nodes[1]]).await;
    configure_mirror(&admin).await;
    let (one, two) = (connect(&nodes[0]).await, connect(&nodes[1]).await);
    Pair { running, admin, nodes, one, two }
}

async fn configure_mirror(admin: &Client) {
    let module = admin.done("/api/v1/modules", json!({"template": "mirror.safe", "name": "mirror"})).await;
    let mut settings = admin.get("/api/v1/modules/1/settings").await["settings"].clone();
    settings["directories"] = json!(["/srv/ledger"]);
    settings["processes"] = json!([]);
    let form = json!({"expected_version": module["version"], "settings": settings});
    assert_eq!(admin.send(Method::PUT, "/api/v1/modules/1/settings", form).await.0, StatusCode::OK);
    admin.done("/api/v1/modules/1/configure", json!({})).await;
}

/// Ends the server, changes its folder, and starts it again; the nodes connect anew.
async fn restart(pair: Pair, change: impl FnOnce(&Path)) -> Pair {
    let Pair { running: Running { server, folder }, nodes, .. } = pair;
    drop(server);
    let data = folder.path().join("data");
    // The lock goes when the last part of the old server has ended.
    let free = || async { std::fs::File::open(data.join("lock")).unwrap().try_lock().is_ok().then_some(()) };
    eventually("the old server ends", free).await;
    change(&data);
    let server = eventually("the server starts again", || async { start(config(folder.path())).await.ok() }).await;
    let running = Running { server, folder };
    let nodes = nodes.map(|node| Node { address: running.server.listen, ..node });
    let admin = running.admin().await;
    let (one, two) = (connect(&nodes[0]).await, connect(&nodes[1]).await);
    Pair { running, admin, nodes, one, two }
}

#[tokio::test]
async fn a_number_is_granted_to_one_node_once_and_again_to_the_same_ask() {
    let mut pair = pair().await;
    pair.one.holds(3).await;
    assert_eq!(pair.two.holds(3).await, RegisterAnswer::Ready);
    assert_eq!(pair.one.claim(4, 11).await, RegisterAnswer::Granted);
    let answer = pair.two.claim(4, 12).await;
    let (number, reason) = refused(&answer);
    assert!(number == 4 && reason.contains("node 1"), "{reason}");
    // The answer was lost: the same ask, over another session.
    pair.one = connect(&pair.nodes[0]).await;
    assert_eq!(pair.one.claim(4, 11).await, RegisterAnswer::Granted);
    assert_eq!(refused(&pair.one.claim(4, 13).await).0, 4);
    assert_eq!(refused(&pair.two.claim(2, 14).await).0, 4);
    assert_eq!(pair.two.claim(5, u64::MAX).await, RegisterAnswer::Granted);
    assert_eq!(pair.two.claim(5, u64::MAX).await, RegisterAnswer::Granted);
    let view = pair.admin.get(REGISTER).await;
    assert_eq!((view["record"]["number"].as_u64(), view["record"]["owner"].as_u64()), (Some(5), Some(2)));
    assert_eq!(view["earlier"].as_array().unwrap().len(), 2, "{view}");
}

#[tokio::test]
async fn of_two_nodes_that_ask_at_once_exactly_one_wins() {
    let mut pair = pair().await;
    pair.one.holds(1).await;
    pair.two.holds(1).await;
    for number in 2..30 {
        let answers = tokio::join!(pair.one.claim(number, 100 + number), pair.two.claim(number, 200 + number));
        let granted = [&answers.0, &answers.1].into_iter().filter(|answer| **answer == RegisterAnswer::Granted);
        assert_eq!(granted.count(), 1, "{answers:?}");
    }
}

#[tokio::test]
async fn a_new_life_grants_nothing_until_every_node_has_reported() {
    let mut pair = pair().await;
    let fresh = pair.one.claim(1, 1).await;
    assert!(refused(&fresh).0 == 0 && refused(&fresh).1.contains("started anew"), "{fresh:?}");
    pair.one.holds(6).await;
    pair.two.holds(6).await;
    assert_eq!(pair.one.claim(7, 1).await, RegisterAnswer::Granted);
    let old_life = pair.one.life;
    let mut pair = restart(pair, |_| ()).await;
    assert_ne!(pair.one.life, old_life);
    // Not even what was granted before: another register may have granted more since.
    assert_eq!(refused(&pair.one.claim(7, 1).await).0, 0);
    assert_eq!(refused(&pair.one.holds(7).await).0, 0);
    let view = pair.admin.get(REGISTER).await;
    assert_eq!((&view["armed"], &view["waits_for"]), (&json!(false), &json!(["node2"])), "{view}");
    // What was meant for an earlier life arms nothing.
    let late = pair.two.ask(RegisterMatter::Holds { life: old_life, number: 6 }).await;
    assert!(failed(&late).contains("earlier life"), "{late:?}");
    assert_eq!(refused(&pair.two.ask(RegisterMatter::Look).await).0, 0);
    assert_eq!(pair.two.holds(6).await, RegisterAnswer::Ready);
    assert_eq!(refused(&pair.two.claim(7, 2).await).0, 7);
    assert_eq!(pair.two.claim(8, 3).await, RegisterAnswer::Granted);
}

#[tokio::test]
async fn a_restored_backup_never_grants_what_a_node_holds() {
    let mut pair = pair().await;
    pair.one.holds(1).await;
    pair.two.holds(1).await;
    assert_eq!(pair.two.claim(2, 20).await, RegisterAnswer::Granted);
    let backup = pair.running.folder.path().join("backup.sqlite");
    let into = backup.display().to_string();
    // A real backup of the running database, as SQLite makes it. (`VACUUM INTO` runs outside of transactions.)
    let data = pair.running.folder.path().join("data/holdfast.sqlite");
    rusqlite::Connection::open(data).unwrap().execute("VACUUM INTO ?1", [into]).unwrap();
    assert_eq!(pair.one.claim(9, 90).await, RegisterAnswer::Granted);
    let mut pair = restart(pair, |data| {
        for end in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(data.join(format!("holdfast.sqlite{end}")));
        }
        std::fs::copy(&backup, data.join("holdfast.sqlite")).unwrap();
    })
    .await;
    pair.two.holds(2).await;
    assert_eq!(refused(&pair.two.claim(3, 30).await).0, 0);
    assert_eq!(pair.one.holds(9).await, RegisterAnswer::Ready);
    for number in 3..=9 {
        assert_eq!(refused(&pair.two.claim(number, 30).await).0, 9, "{number}");
    }
    // What was heard is remembered: in the next life an operator vouches for the silent node 1.
    let mut pair = restart(pair, |_| ()).await;
    pair.two.holds(2).await;
    let armed = pair.admin.done(ARM, json!({})).await;
    assert_eq!((&armed["armed"], armed["record"]["number"].as_u64()), (&json!(true), Some(9)), "{armed}");
    assert_eq!(refused(&pair.two.claim(3, 31).await).0, 9);
    assert_eq!(pair.two.claim(10, 32).await, RegisterAnswer::Granted);
}

#[tokio::test]
async fn an_administrator_arms_it_for_this_life_only_and_it_is_on_record() {
    let mut pair = pair().await;
    pair.one.holds(4).await;
    assert_eq!(refused(&pair.one.claim(5, 1).await).0, 0);
    let armed = pair.admin.done(ARM, json!({})).await;
    assert_eq!((&armed["armed"], &armed["armed_by"]), (&json!(true), &json!("admin")));
    assert_eq!(pair.one.claim(5, 1).await, RegisterAnswer::Granted);
    let audit = pair.admin.get("/api/v1/audit").await;
    assert_eq!(audit[0]["text"], "armed the register of mirror without the word of node2", "{audit}");
    let mut pair = restart(pair, |_| ()).await;
    pair.one.holds(5).await;
    assert_eq!(refused(&pair.one.claim(6, 2).await).0, 0);
}

#[tokio::test]
async fn only_nodes_of_the_module_may_ask() {
    let mut pair = pair().await;
    pair.one.holds(1).await;
    pair.two.holds(1).await;
    // Enrolled, but not in the cluster.
    let third = join(&pair.running, &pair.admin, "node3").await;
    let mut stranger = connect(&third).await;
    for matter in [RegisterMatter::Look, RegisterMatter::Claim { number: 9, nonce: 1 }] {
        let answer = stranger.ask(matter).await;
        assert!(failed(&answer).contains("not a node of mirror"), "{answer:?}");
    }
    // A module that is none, a draft, and another under this number.
    pair.admin.done("/api/v1/modules", json!({"template": "mirror.safe", "name": "draft"})).await;
    let claim = RegisterMatter::Claim { number: 9, nonce: 1 };
    for (module, name) in [(7, "mirror"), (2, "draft"), (1, "other")] {
        let answer = pair.one.question(ModuleId(module), name, claim.clone()).await;
        assert!(failed(&answer).contains("has not configured"), "{answer:?}");
    }
    assert!(pair.admin.get(REGISTER).await["record"]["number"] == 1);
    // A removed module.
    let (status, body) = pair.admin.send(Method::DELETE, "/api/v1/modules/1", Value::Null).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{body}");
    assert!(failed(&pair.one.claim(9, 1).await).contains("has not configured"));
}

#[tokio::test]
async fn everybody_sees_the_register_and_only_an_administrator_arms_it() {
    let pair = pair().await;
    for role in ["control", "monitor"] {
        pair.admin.done("/api/v1/users", json!({"name": role, "password": PASSWORD, "role": role})).await;
        let mut user = pair.running.client();
        let form = json!({"user": role, "password": PASSWORD});
        let (_, headers, _) = user.full(Method::POST, "/api/v1/session", Some(form)).await;
        user.take_cookie(&headers);
        assert_eq!(user.get(REGISTER).await["armed"], false);
        assert_eq!(user.post(ARM, json!({})).await.0, StatusCode::FORBIDDEN);
    }
    let nobody = pair.running.client();
    assert_eq!(nobody.full(Method::GET, REGISTER, None).await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(nobody.post(ARM, json!({})).await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(pair.admin.post("/api/v1/modules/9/register/arm", json!({})).await.0, StatusCode::NOT_FOUND);
    pair.admin.done("/api/v1/modules", json!({"template": "mirror.safe", "name": "draft"})).await;
    let (status, problem) = pair.admin.post("/api/v1/modules/2/register/arm", json!({})).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert!(problem["detail"].as_str().unwrap().contains("configure it first"), "{problem}");
}

#[tokio::test]
async fn a_register_on_a_node_of_the_module_is_refused_where_it_is_configured() {
    let mut pair = pair().await;
    let app = std::sync::Arc::clone(&pair.running.server.app);
    let problems = async |witness: Witness| {
        let text = "<safe><service mode=\"mirror\"><heart><heartbeat name=\"default\"/></heart></service></safe>";
        let config = holdfast_api::userconfig::UserConfig::parse(text).unwrap();
        let config = holdfast_api::userconfig::UserConfig { witness, ..config };
        let found = holdfast_server::placement::problems(&app, &config).await;
        found.into_iter().map(|problem| problem.message).collect::<Vec<_>>().join("; ")
    };
    let server = || Witness::Server { ident: "witness".into() };
    let etcd = |endpoints: &[&str]| Witness::Etcd {
        ident: "witness".into(),
        endpoints: endpoints.iter().map(|text| (*text).to_owned()).collect(),
    };
    assert_eq!(problems(server()).await, "");
    assert_eq!(problems(etcd(&["http://10.0.0.7:2379"])).await, "");
    assert!(problems(etcd(&["https://10.0.0.7:2379"])).await.contains("TLS"));
    let on_node = problems(etcd(&["http://10.0.0.2:2379", "http://10.0.0.7:2379"])).await;
    assert!(on_node.contains("is on node2") && on_node.contains("at least 3 machines"), "{on_node}");
    let members = ["http://10.0.0.1:2379", "http://10.0.0.2:2379", "http://10.0.0.7:2379"];
    assert_eq!(problems(etcd(&members)).await, "");
    // A node that runs under this very kernel.
    let report = NodeReport {
        boot_id: std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap().trim().to_owned(),
        ..NodeReport::default()
    };
    pair.two.session.say(&FromAgent::Report(report)).await;
    let refused = eventually("the report has come", || async {
        Some(problems(server()).await).filter(|problem| !problem.is_empty())
    })
    .await;
    assert!(refused.contains("machine of node2") && refused.contains("run the server on"), "{refused}");
    assert_eq!(problems(Witness::None).await, "");
}
