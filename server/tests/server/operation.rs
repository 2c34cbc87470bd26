//! Modules from draft to command, tasks, logs, snapshots, and the live socket.

use crate::support::{Client, Node, Running, Session, cluster, eventually, join, server};
use base64::Engine;
use futures_util::StreamExt;
use holdfast_api::agent::{Answer, LogLine, LogPage, Request};
use holdfast_api::ids::ModuleId;
use holdfast_api::package::Package;
use holdfast_api::state::ModuleState;
use http_body_util::Full;
use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use std::time::Duration;

const M1: ModuleId = ModuleId(1);

async fn two_nodes() -> (Running, Client, Node, Node) {
    let running = server().await;
    let admin = running.admin().await;
    let (a, b) = (join(&running, &admin, "node1").await, join(&running, &admin, "node2").await);
    (running, admin, a, b)
}

/// A module that can be configured.
async fn mirror(admin: &Client) -> Value {
    let module = admin.done("/api/v1/modules", json!({"template": "mirror.safe", "name": "mirror"})).await;
    let view = admin.get("/api/v1/modules/1/settings").await;
    let mut settings = view["settings"].clone();
    settings["directories"] = json!(["/srv/ledger"]);
    settings["processes"] = json!([]);
    settings["timeout_ms"] = json!(5000);
    let form = json!({"expected_version": module["version"], "settings": settings});
    let (status, module) = admin.send(Method::PUT, "/api/v1/modules/1/settings", form).await;
    assert_eq!(status, StatusCode::OK, "{module}");
    module
}

/// A session that has the cluster and the module.
async fn connected(node: &Node) -> Session {
    let mut session = node.connect(0, &[]).await;
    assert!(matches!(session.do_next("cluster").await, Request::PushCluster { .. }));
    session.cluster = 1;
    session
}

#[tokio::test]
async fn configure_pushes_the_package_with_one_result_for_each_node() {
    let (_running, admin, a, b) = two_nodes().await;
    cluster(&admin, &[&a, &b]).await;
    let module = mirror(&admin).await;
    assert_eq!((module["version"].as_u64(), module["desired"].as_u64()), (Some(2), None));
    let (mut one, mut two) = (connected(&a).await, connected(&b).await);
    let task = admin.done("/api/v1/modules/1/configure", json!({})).await["task"].clone();
    let (id, request) = one.request().await;
    let Request::PushModule { config } = request else { panic!("{request:?}") };
    assert_eq!((config.id, config.name.as_str(), config.version), (M1, "mirror", 2));
    let zip = base64::engine::general_purpose::STANDARD.decode(&config.package).unwrap();
    assert!(Package::read(&zip).unwrap().userconfig().unwrap().contains("/srv/ledger"));
    one.answer(id, Answer::Done { text: "configured".into() }).await;
    let (id, _) = two.request().await;
    one.held.push((M1, "mirror".into(), 2));
    one.report(ModuleState::Stop).await;
    two.answer(id, Answer::Refused { reason: "/srv/ledger is missing; make it".into() }).await;
    let task = admin.task(&task).await;
    assert_eq!(task["state"], "failed");
    assert_eq!(task["nodes"][0]["state"], "done");
    assert!(task["nodes"][1]["message"].as_str().unwrap().contains("make it"), "{task}");
    let live = admin.get("/api/v1/live/snapshot").await;
    let nodes = &live["modules"][0]["nodes"];
    assert_eq!((nodes[0]["held"].as_u64(), nodes[0]["pending"].as_str()), (Some(2), Some("")));
    assert!(nodes[1]["pending"].as_str().unwrap().contains("make it"), "{live}");
    // Retry on this node.
    let task = admin.done("/api/v1/modules/1/configure", json!({"nodes": [2]})).await["task"].clone();
    assert!(matches!(two.do_next("configured").await, Request::PushModule { .. }));
    assert_eq!(admin.task(&task).await["state"], "done");
}

#[tokio::test]
async fn a_stale_edit_is_a_conflict_and_changes_nothing() {
    let (_running, admin, a, b) = two_nodes().await;
    cluster(&admin, &[&a, &b]).await;
    let module = mirror(&admin).await;
    let settings = admin.get("/api/v1/modules/1/settings").await["settings"].clone();
    let stale = json!({"expected_version": 1, "settings": settings});
    assert_eq!(admin.send(Method::PUT, "/api/v1/modules/1/settings", stale).await.0, StatusCode::CONFLICT);
    let change = json!({"expected_version": 1, "changes": [{"path": "bin/start_prim", "text": "#!/bin/sh\n"}]});
    assert_eq!(admin.send(Method::PUT, "/api/v1/modules/1/files", change).await.0, StatusCode::CONFLICT);
    let form = json!({"expected_version": 0, "name": "demo", "lans": ["default"],
        "nodes": [{"id": 1, "name": "node1", "addresses": {"default": "10.0.0.1"}}]});
    assert_eq!(admin.send(Method::PUT, "/api/v1/cluster", form).await.0, StatusCode::CONFLICT);
    assert_eq!(admin.get("/api/v1/modules/1").await, module);
    assert_eq!(admin.get("/api/v1/cluster").await["version"], 1);
}

#[tokio::test]
async fn bad_module_input_names_the_field_and_saves_nothing() {
    let (_running, admin, ..) = two_nodes().await;
    let module = mirror(&admin).await;
    let put = async |changes: Value| {
        let body = json!({"expected_version": module["version"], "changes": changes});
        admin.send(Method::PUT, "/api/v1/modules/1/files", body).await
    };
    let (status, problem) =
        put(json!([{"path": "conf/userconfig.xml", "text": "<safe>\n<service mode=“mirror”>"}])).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(problem["errors"][0]["field"], "conf/userconfig.xml");
    assert!(problem["detail"].as_str().unwrap().contains("line 2"), "{problem}");
    let (status, problem) = put(json!([{"path": "../../etc/passwd", "text": "x"}])).await;
    assert_eq!(
        (status, problem["errors"][0]["field"].as_str()),
        (StatusCode::UNPROCESSABLE_ENTITY, Some("changes[0].path"))
    );
    let mut settings = admin.get("/api/v1/modules/1/settings").await["settings"].clone();
    settings["directories"] = json!(["/srv", "/srv/a", "relative"]);
    let body = json!({"expected_version": module["version"], "settings": settings});
    let (status, problem) = admin.send(Method::PUT, "/api/v1/modules/1/settings", body).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    let fields: Vec<_> = problem["errors"].as_array().unwrap().iter().map(|e| e["field"].as_str().unwrap()).collect();
    assert_eq!(fields, ["settings.directories[1]", "settings.directories[2]"]);
    for (name, bytes) in [("zip", b"PK\x03\x04 nonsense".to_vec()), ("empty", vec![]), ("text", b"hello".to_vec())] {
        let request = admin.request(Method::POST, &format!("/api/v1/modules/import?name={name}"));
        let request = request.header("content-type", "application/zip").body(Full::from(bytes)).unwrap();
        assert_eq!(admin.raw(request).await.0, StatusCode::UNPROCESSABLE_ENTITY, "{name}");
    }
    for name in ["mirror", "Bad", ""] {
        let (status, problem) = admin.post("/api/v1/modules", json!({"template": "mirror.safe", "name": name})).await;
        assert_eq!((status, problem["errors"][0]["field"].as_str()), (StatusCode::UNPROCESSABLE_ENTITY, Some("name")));
    }
    assert_eq!(admin.get("/api/v1/modules").await, json!([module]));
}

#[tokio::test]
async fn a_package_goes_out_and_in_again() {
    let (_running, admin, ..) = two_nodes().await;
    mirror(&admin).await;
    let get = admin.request(Method::GET, "/api/v1/modules/1/package.safe").body(Full::default()).unwrap();
    let (status, headers, zip) = admin.raw(get).await;
    assert_eq!(status, StatusCode::OK);
    assert!(headers["content-disposition"].to_str().unwrap().contains("mirror.safe"));
    let request = admin.request(Method::POST, "/api/v1/modules/import?name=copy");
    let request = request.header("content-type", "application/zip").body(Full::from(zip)).unwrap();
    assert_eq!(admin.raw(request).await.0, StatusCode::CREATED);
    let files = |id: u32| format!("/api/v1/modules/{id}/files");
    assert_eq!(admin.get(&files(1)).await["files"], admin.get(&files(2)).await["files"]);
    let restored = admin.done("/api/v1/modules/1/restore", json!({"version": 1, "expected_version": 2})).await;
    assert_eq!(restored["version"], 3);
    assert_eq!(admin.get("/api/v1/modules/1/versions").await.as_array().unwrap().len(), 3);
}

/// A configured module on two connected nodes.
async fn configured() -> (Running, Client, Session, Session) {
    let (running, admin, a, b) = two_nodes().await;
    cluster(&admin, &[&a, &b]).await;
    mirror(&admin).await;
    let (mut one, mut two) = (connected(&a).await, connected(&b).await);
    let task = admin.done("/api/v1/modules/1/configure", json!({})).await["task"].clone();
    for session in [&mut one, &mut two] {
        session.do_next("configured").await;
        session.held.push((M1, "mirror".into(), 2));
        session.report(ModuleState::Stop).await;
    }
    assert_eq!(admin.task(&task).await["state"], "done");
    (running, admin, one, two)
}

async fn seen(admin: &Client, node: usize, state: &str) {
    eventually("the state is shown", || async {
        let live = admin.get("/api/v1/live/snapshot").await;
        (live["modules"][0]["nodes"][node]["report"]["state"] == state).then_some(())
    })
    .await;
}

#[tokio::test]
async fn commands_go_to_their_nodes_and_report_progress() {
    let (_running, admin, mut one, two) = configured().await;
    let (status, problem) = admin.post("/api/v1/modules/1/commands", json!({"command": "prim"})).await;
    assert_eq!((status, problem["errors"][0]["field"].as_str()), (StatusCode::UNPROCESSABLE_ENTITY, Some("nodes")));
    let (status, _) = admin.post("/api/v1/modules/1/commands", json!({"command": "swap"})).await;
    assert_eq!(status, StatusCode::CONFLICT);
    let task = admin.done("/api/v1/modules/1/commands", json!({"command": "prim", "nodes": [1]})).await["task"].clone();
    let (id, request) = one.request().await;
    assert!(
        matches!(&request, Request::Command { module: M1, actor, .. } if actor == "admin@127.0.0.1"),
        "{request:?}"
    );
    assert_eq!(admin.get(&format!("/api/v1/tasks/{task}")).await["state"], "running");
    one.answer(id, Answer::Done { text: "starting as primary".into() }).await;
    assert_eq!(admin.task(&task).await["nodes"][0]["message"], "starting as primary");
    one.report(ModuleState::Prim).await;
    seen(&admin, 0, "PRIM").await;
    let task = admin.done("/api/v1/modules/1/commands", json!({"command": "swap"})).await["task"].clone();
    one.do_next("swapping").await;
    assert_eq!(admin.task(&task).await["state"], "done");
    let checks = json!({"which": "processes", "on": false, "nodes": [1]});
    let task = admin.done("/api/v1/modules/1/checks", checks).await["task"].clone();
    let request = one.do_next("off").await;
    assert!(matches!(request, Request::SwitchChecks { on: false, .. }), "{request:?}");
    assert_eq!(admin.task(&task).await["state"], "done");
    drop(two.socket);
    let away = eventually("node2 is away", || async {
        let body = json!({"command": "stop", "nodes": [2]});
        let task = admin.done("/api/v1/modules/1/commands", body).await["task"].clone();
        Some(admin.task(&task).await).filter(|task| task["state"] == "failed")
    })
    .await;
    assert!(away["nodes"][0]["message"].as_str().unwrap().contains("node2"), "{away}");
}

#[tokio::test]
async fn a_stop_of_all_nodes_reaches_the_primary_when_the_secondary_has_stopped() {
    let (_running, admin, mut one, mut two) = configured().await;
    one.report(ModuleState::Prim).await;
    two.report(ModuleState::Second).await;
    seen(&admin, 0, "PRIM").await;
    seen(&admin, 1, "SECOND").await;
    let task = admin.done("/api/v1/modules/1/commands", json!({"command": "stop"})).await["task"].clone();
    let (id, _) = two.request().await;
    let early = tokio::time::timeout(Duration::from_millis(300), one.request()).await;
    assert!(early.is_err(), "the primary is stopped while its secondary could take over: {early:?}");
    let view = admin.get(&format!("/api/v1/tasks/{task}")).await;
    assert_eq!(view["nodes"][0]["message"], "its turn comes after node2", "{view}");
    two.answer(id, Answer::Done { text: "stopped".into() }).await;
    one.do_next("stopped").await;
    assert_eq!(admin.task(&task).await["state"], "done");
    // One that does not answer well does not hold the other up.
    drop(two.socket);
    let task = admin.done("/api/v1/modules/1/commands", json!({"command": "forcestop"})).await["task"].clone();
    one.do_next("stopped").await;
    let view = admin.task(&task).await;
    assert_eq!((&view["nodes"][0]["state"], &view["nodes"][1]["state"]), (&json!("done"), &json!("failed")), "{view}");
}

#[tokio::test]
async fn what_must_stand_still_changes_only_when_stopped() {
    let (_running, admin, mut one, _two) = configured().await;
    one.report(ModuleState::Prim).await;
    seen(&admin, 0, "PRIM").await;
    let view = admin.get("/api/v1/modules/1/settings").await;
    let mut settings = view["settings"].clone();
    settings["timeout_ms"] = json!(9000);
    let form = json!({"expected_version": view["version"], "settings": settings});
    assert_eq!(admin.send(Method::PUT, "/api/v1/modules/1/settings", form).await.0, StatusCode::OK);
    let (status, problem) = admin.post("/api/v1/modules/1/configure", json!({})).await;
    assert_eq!(status, StatusCode::CONFLICT, "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("mirror is PRIM on node1"), "{problem}");
    let (status, _) = admin.send(Method::DELETE, "/api/v1/modules/1", json!(null)).await;
    assert_eq!(status, StatusCode::CONFLICT);
    one.report(ModuleState::Stop).await;
    seen(&admin, 0, "STOP").await;
    let (status, _) = admin.post("/api/v1/modules/1/configure", json!({})).await;
    assert_eq!(status, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn a_removed_module_is_forgotten_by_the_nodes() {
    let (_running, admin, mut one, mut two) = configured().await;
    let (status, started) = admin.send(Method::DELETE, "/api/v1/modules/1", json!(null)).await;
    assert_eq!(status, StatusCode::ACCEPTED);
    assert_eq!(one.do_next("gone").await, Request::RemoveModule { module: M1 });
    assert_eq!(two.do_next("gone").await, Request::RemoveModule { module: M1 });
    assert_eq!(admin.task(&started["task"]).await["state"], "done");
    assert_eq!(admin.get("/api/v1/modules").await, json!([]));
}

#[tokio::test]
async fn logs_come_in_pages_and_as_one_file() {
    let (_running, admin, mut one, _two) = configured().await;
    let line = |at: u64| LogLine { at, unix_ms: 1_700_000_000_000 + at, level: "S".into(), text: format!("line {at}") };
    let serve = tokio::spawn(async move {
        for _ in 0..3 {
            let (id, request) = one.request().await;
            let Request::ReadLog { wanted, .. } = request else { panic!("{request:?}") };
            let from = wanted.from.unwrap_or(5000 - u64::from(wanted.limit));
            let next = (from + u64::from(wanted.limit)).min(5000);
            let page = LogPage { start: from, next, end: 5000, lines: (from..next).map(line).collect(), first: 0 };
            one.answer(id, Answer::LogPage(page)).await;
        }
        one
    });
    let get =
        admin.request(Method::GET, "/api/v1/modules/1/nodes/1/log.txt?which=module").body(Full::default()).unwrap();
    let (status, headers, text) = admin.raw(get).await;
    assert_eq!(status, StatusCode::OK);
    assert!(headers["content-disposition"].to_str().unwrap().contains("mirror_node1_"));
    let text = String::from_utf8(text).unwrap();
    assert_eq!(text.lines().count(), 5000);
    assert!(text.starts_with("2023-11-14 22:13:20.000Z S line 0\n"), "{}", &text[..60]);
    let mut one = serve.await.unwrap();
    let page = tokio::spawn({
        let admin = admin.clone();
        async move { admin.get("/api/v1/modules/1/nodes/1/log?limit=2&which=application").await }
    });
    let (id, _) = one.request().await;
    one.answer(id, Answer::LogPage(LogPage { lines: vec![line(1)], ..LogPage::default() })).await;
    assert_eq!(page.await.unwrap()["lines"][0]["text"], "line 1");
}

#[tokio::test]
async fn lines_of_a_log_are_chosen_on_the_node_and_a_page_without_any_does_not_end_a_file() {
    let (_running, admin, mut one, _two) = configured().await;
    let serve = tokio::spawn(async move {
        let mut asked = Vec::new();
        for text in ["", "disk is full", ""] {
            let (id, request) = one.request().await;
            let Request::ReadLog { wanted, .. } = request else { panic!("{request:?}") };
            let from = wanted.from.unwrap();
            let line = LogLine { at: from, unix_ms: 0, level: "W".into(), text: text.to_owned() };
            let lines = if text.is_empty() { vec![] } else { vec![line] };
            one.answer(id, Answer::LogPage(LogPage { first: 0, start: from, next: from + 10, end: 30, lines })).await;
            asked.push(wanted);
        }
        asked
    });
    let path = "/api/v1/modules/1/nodes/1/log.txt?levels=CW&holding=Disk";
    let (status, _, text) = admin.raw(admin.request(Method::GET, path).body(Full::default()).unwrap()).await;
    assert_eq!((status, String::from_utf8(text).unwrap().as_str()), (StatusCode::OK, "W disk is full\n"));
    let asked = serve.await.unwrap();
    assert_eq!(asked.iter().map(|wanted| wanted.from).collect::<Vec<_>>(), [Some(0), Some(10), Some(20)]);
    assert!(asked.iter().all(|wanted| (wanted.levels.as_str(), wanted.holding.as_str()) == ("CW", "Disk")));
    let path = "/api/v1/modules/1/nodes/1/log?levels=X";
    let (status, problem) = admin.send(Method::GET, path, json!(null)).await;
    assert_eq!((status, &problem["errors"][0]["field"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!("levels")));
}

#[tokio::test]
async fn snapshots_of_all_nodes_are_kept_until_they_are_deleted() {
    let (_running, admin, mut one, two) = configured().await;
    drop(two.socket);
    let data = base64::engine::general_purpose::STANDARD.encode(b"zip of node1");
    eventually("node2 is away", || async {
        (!admin.get("/api/v1/nodes").await[1]["connected"].as_bool()?).then_some(())
    })
    .await;
    let task = admin.done("/api/v1/snapshots", json!({})).await["task"].clone();
    let (id, request) = one.request().await;
    assert!(matches!(request, Request::Snapshot { module: None }), "{request:?}");
    one.answer(id, Answer::SnapshotChunk { data, last: true }).await;
    let task = admin.task(&task).await;
    let states: Vec<_> = task["nodes"].as_array().unwrap().iter().map(|node| node["state"].clone()).collect();
    assert_eq!(states, ["done", "failed"], "{task}");
    let kept = admin.get("/api/v1/snapshots").await;
    assert_eq!((kept.as_array().unwrap().len(), kept[0]["bytes"].as_u64()), (1, Some(12)));
    let path = format!("/api/v1/snapshots/{}", kept[0]["name"].as_str().unwrap());
    let (status, _, bytes) = admin.raw(admin.request(Method::GET, &path).body(Full::default()).unwrap()).await;
    assert_eq!((status, bytes.as_slice()), (StatusCode::OK, b"zip of node1".as_slice()));
    assert_eq!(admin.send(Method::DELETE, &path, json!(null)).await.0, StatusCode::NO_CONTENT);
    assert_eq!(admin.get("/api/v1/snapshots").await, json!([]));
    assert_eq!(admin.full(Method::GET, "/api/v1/snapshots/..%2f..%2fdatabase", None).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_snapshot_comes_whole_or_as_a_problem() {
    let (_running, admin, mut one, _two) = configured().await;
    let ask = |admin: Client| {
        tokio::spawn(async move {
            let path = "/api/v1/nodes/1/snapshot.zip";
            admin.raw(admin.request(Method::GET, path).body(Full::default()).unwrap()).await
        })
    };
    let chunk = |data: &[u8], last| Answer::SnapshotChunk {
        data: base64::engine::general_purpose::STANDARD.encode(data),
        last,
    };
    let answer = ask(admin.clone());
    let (id, _) = one.request().await;
    one.answer(id, chunk(b"hello ", false)).await;
    one.answer(id, chunk(b"world", true)).await;
    let (status, headers, bytes) = answer.await.unwrap();
    assert_eq!((status, bytes.as_slice()), (StatusCode::OK, b"hello world".as_slice()));
    assert_eq!(headers["content-type"], "application/zip");
    let answer = ask(admin.clone());
    let (id, _) = one.request().await;
    one.answer(id, chunk(b"hello ", false)).await;
    drop(one);
    assert_eq!(answer.await.unwrap().0, StatusCode::BAD_GATEWAY);
}

#[tokio::test]
async fn the_live_socket_sends_whole_snapshots_and_ends_with_the_session() {
    let (_running, admin, mut one, _two) = configured().await;
    let mut live = admin.live().await;
    let mut last = 0;
    let mut next = async || loop {
        let frame = tokio::time::timeout(Duration::from_secs(20), live.next()).await.expect("in time")?;
        match frame {
            Ok(frame) if frame.is_text() => {
                let snapshot: Value = serde_json::from_str(frame.to_text().unwrap()).unwrap();
                let sequence = snapshot["sequence"].as_u64().unwrap();
                assert!(sequence > last);
                last = sequence;
                return Some(snapshot);
            }
            Ok(frame) if frame.is_close() => return None,
            Ok(_) => {}
            Err(_) => return None,
        }
    };
    let first = next().await.unwrap();
    assert_eq!(first["modules"][0]["module"]["name"], "mirror");
    one.report(ModuleState::Alone).await;
    while next().await.unwrap()["modules"][0]["nodes"][0]["report"]["state"] != "ALONE" {}
    let (status, ..) = admin.full(Method::DELETE, "/api/v1/session", None).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    while next().await.is_some() {}
}
