//! Versions of the cluster configuration: what each changed, and an old one saved again.

use crate::support::{Client, cluster, eventually, join, server};
use holdfast_api::agent::Request;
use holdfast_api::ids::ModuleId;
use holdfast_api::state::ModuleState;
use hyper::{Method, StatusCode};
use serde_json::{Value, json};

async fn save(admin: &Client, expected: u64, name: &str, nodes: &[(u16, &str, &str)]) -> (StatusCode, Value) {
    let nodes =
        nodes.iter().map(|(id, name, address)| json!({"id": id, "name": name, "addresses": {"default": address}}));
    let form =
        json!({"expected_version": expected, "name": name, "lans": ["default"], "nodes": nodes.collect::<Vec<_>>()});
    admin.send(Method::PUT, "/api/v1/cluster", form).await
}

#[tokio::test]
async fn a_version_tells_what_it_changed_and_can_be_saved_again() {
    let running = server().await;
    let admin = running.admin().await;
    let (one, two) = (join(&running, &admin, "node1").await, join(&running, &admin, "node2").await);
    cluster(&admin, &[&one, &two]).await;
    assert_eq!(save(&admin, 1, "other", &[(1, "node1", "10.0.0.7")]).await.0, StatusCode::ACCEPTED);

    let first = admin.get("/api/v1/cluster/versions/1").await;
    assert_eq!((first["against"].as_u64(), first["cluster"]["name"].as_str()), (Some(0), Some("demo")));
    assert_eq!(first["changes"], json!(["the cluster is named demo", "node1 is new", "node2 is new"]));
    let second = admin.get("/api/v1/cluster/versions/2").await;
    let told = [
        "the cluster is named other, no longer demo",
        "node1 is 10.0.0.7 on default, no longer 10.0.0.1",
        "node2 is gone",
    ];
    assert_eq!((second["against"].as_u64(), &second["changes"]), (Some(1), &json!(told)));
    assert_eq!(admin.get("/api/v1/cluster/versions/1?against=1").await["changes"], json!([]));
    assert!(!second.to_string().contains("secret"), "{second}");

    let restored = admin.post("/api/v1/cluster/restore", json!({"version": 1, "expected_version": 2})).await;
    assert_eq!(restored.0, StatusCode::ACCEPTED, "{}", restored.1);
    assert!(restored.1["task"].is_u64());
    let now = admin.get("/api/v1/cluster").await;
    assert_eq!((now["version"].as_u64(), &now["nodes"]), (Some(3), &first["cluster"]["nodes"]));
    let versions = admin.get("/api/v1/cluster/versions").await;
    assert_eq!(versions[0]["note"], "version 1 again: nodes node1, node2");
    let mut agent = one.connect(0, &[]).await;
    let request = agent.do_next("cluster").await;
    let Request::PushCluster { config } = request else { panic!("{request:?}") };
    assert_eq!((config.version, config.nodes.len()), (3, 2));
}

#[tokio::test]
async fn what_cannot_be_restored_is_refused_and_changes_nothing() {
    let running = server().await;
    let admin = running.admin().await;
    let (one, two) = (join(&running, &admin, "node1").await, join(&running, &admin, "node2").await);
    cluster(&admin, &[&one, &two]).await;
    assert_eq!(save(&admin, 1, "demo", &[(1, "node1", "10.0.0.1")]).await.0, StatusCode::ACCEPTED);
    let restore = async |version: u64, expected: u64| {
        admin.post("/api/v1/cluster/restore", json!({"version": version, "expected_version": expected})).await
    };
    assert_eq!(restore(9, 2).await.0, StatusCode::NOT_FOUND);
    assert_eq!(restore(u64::MAX, 2).await.0, StatusCode::NOT_FOUND);
    assert_eq!(restore(1, 1).await.0, StatusCode::CONFLICT);
    for path in ["versions/0", "versions/9", "versions/18446744073709551615", "versions/1?against=9", "versions/x"] {
        let (status, ..) = admin.full(Method::GET, &format!("/api/v1/cluster/{path}"), None).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{path}");
    }
    // A node that was removed since does not come back with an old version.
    assert!(admin.send(Method::DELETE, "/api/v1/nodes/2", json!(null)).await.0.is_success());
    let latest = admin.get("/api/v1/cluster").await["version"].as_u64().unwrap();
    let (status, problem) = restore(1, latest).await;
    assert_eq!(
        (status, problem["errors"][0]["field"].as_str()),
        (StatusCode::UNPROCESSABLE_ENTITY, Some("nodes[1].id"))
    );
    assert!(problem["detail"].as_str().unwrap().contains("New node"), "{problem}");
    assert_eq!(admin.get("/api/v1/cluster").await["version"].as_u64(), Some(latest));
}

#[tokio::test]
async fn an_old_version_with_other_addresses_waits_until_modules_are_stopped() {
    let running = server().await;
    let admin = running.admin().await;
    let one = join(&running, &admin, "node1").await;
    cluster(&admin, &[&one]).await;
    assert_eq!(save(&admin, 1, "demo", &[(1, "node1", "10.0.0.7")]).await.0, StatusCode::ACCEPTED);
    let mut agent = one.connect(2, &[(ModuleId(1), "mirror", 1)]).await;
    agent.report(ModuleState::Prim).await;
    let app = &running.server.app;
    eventually("the report is there", || async {
        let nodes = app.hub.all();
        nodes.values().any(|live| live.report.is_some()).then_some(())
    })
    .await;
    let restore = json!({"version": 1, "expected_version": 2});
    let (status, problem) = admin.post("/api/v1/cluster/restore", restore).await;
    assert_eq!(status, StatusCode::CONFLICT, "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("stop it first"), "{problem}");
    assert_eq!(admin.get("/api/v1/cluster").await["version"], 2);
}
