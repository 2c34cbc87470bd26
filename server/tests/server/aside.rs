//! What nodes set aside of copies that diverged: listed and deleted through the server.

use crate::support::{PASSWORD, cluster, join, server};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use holdfast_api::agent::{Answer, AsideCopy, AsideEntry, AsidePage, Request};
use holdfast_api::ids::ModuleId;
use http_body_util::Full;
use hyper::{Method, StatusCode};
use serde_json::json;

const M1: ModuleId = ModuleId(1);

/// What a node set aside.
fn copy() -> AsideCopy {
    AsideCopy {
        id: "3-2".into(),
        node: 1,
        generation: "3".into(),
        unix_ms: 5,
        entries: 7,
        bytes: 9,
        whole: false,
        folder: "/var/x".into(),
    }
}

#[tokio::test]
async fn what_a_node_set_aside_is_listed_and_deleted_on_that_node() {
    let running = server().await;
    let admin = running.admin().await;
    let node = join(&running, &admin, "node1").await;
    cluster(&admin, &[&node]).await;
    admin.done("/api/v1/modules", json!({"template": "mirror.safe", "name": "mirror"})).await;
    let all = "/api/v1/modules/1/nodes/1/diverged";
    assert_eq!(admin.full(Method::GET, all, None).await.0, StatusCode::BAD_GATEWAY, "nobody is connected");
    let mut agent = node.connect(1, &[]).await;
    let copy = copy();
    let (listed, ()) = tokio::join!(admin.get(all), async {
        let (id, request) = agent.request().await;
        assert_eq!(request, Request::ListSetAside { module: M1 });
        agent.answer(id, Answer::SetAside { copies: vec![copy.clone()] }).await;
    });
    assert_eq!(listed, json!([copy]));
    let one = "/api/v1/modules/1/nodes/1/diverged/3-2";
    let ((status, _), ()) = tokio::join!(admin.send(Method::DELETE, one, json!(null)), async {
        let (id, request) = agent.request().await;
        let Request::DeleteSetAside { module, id: copy, actor } = request else { panic!("{request:?}") };
        assert_eq!((module, copy.as_str(), actor.as_str()), (M1, "3-2", "admin@127.0.0.1"));
        agent.answer(id, Answer::Done { text: "3-2 is deleted".into() }).await;
    });
    assert_eq!(status, StatusCode::NO_CONTENT);
    let ((status, problem), ()) = tokio::join!(admin.send(Method::DELETE, one, json!(null)), async {
        let (id, _) = agent.request().await;
        agent.answer(id, Answer::Refused { reason: "nothing is set aside as 3-2".into() }).await;
    });
    assert_eq!(status, StatusCode::CONFLICT);
    assert!(problem["detail"].as_str().unwrap().contains("nothing is set aside"), "{problem}");
    let zip = format!("{one}/copy.zip");
    let piece = |data: &[u8], last| Answer::SnapshotChunk { data: STANDARD.encode(data), last };
    let ((status, headers, body), ()) = tokio::join!(
        async { admin.raw(admin.request(Method::GET, &zip).body(Full::default()).unwrap()).await },
        async {
            let mut numbers = Vec::new();
            for (first, answer) in [(true, piece(b"ab", false)), (false, piece(b"c", false)), (false, piece(b"", true))]
            {
                let (id, request) = agent.request().await;
                let Request::ExportSetAside { module: M1, id: copy, download, first: begins, .. } = request else {
                    panic!("{request:?}")
                };
                assert_eq!((copy.as_str(), begins), ("3-2", first));
                numbers.push(download);
                agent.answer(id, answer).await;
            }
            assert!(numbers.iter().all(|number| *number == numbers[0]), "one download: {numbers:?}");
        }
    );
    assert_eq!((status, &body[..]), (StatusCode::OK, &b"abc"[..]));
    assert_eq!(headers["content-disposition"], "attachment; filename=\"diverged_mirror_node1_3-2.zip\"");
    let ((status, problem), ()) = tokio::join!(admin.send(Method::GET, &zip, json!(null)), async {
        let (id, _) = agent.request().await;
        agent.answer(id, Answer::Refused { reason: "nothing was set aside".into() }).await;
    });
    assert_eq!(status, StatusCode::CONFLICT, "{problem}");
    for path in ["/api/v1/modules/9/nodes/1/diverged", "/api/v1/modules/1/nodes/9/diverged"] {
        assert_eq!(admin.full(Method::GET, path, None).await.0, StatusCode::NOT_FOUND, "{path}");
    }
    admin.done("/api/v1/users", json!({"name": "control", "role": "control", "password": PASSWORD})).await;
    let mut control = running.client();
    let login = json!({"user": "control", "password": PASSWORD});
    let (_, headers, _) = control.full(Method::POST, "/api/v1/session", Some(login)).await;
    control.take_cookie(&headers);
    assert_eq!(control.send(Method::DELETE, one, json!(null)).await.0, StatusCode::FORBIDDEN);
    assert_eq!(control.full(Method::GET, &zip, None).await.0, StatusCode::FORBIDDEN, "it holds users' files");
    assert_eq!(running.client().full(Method::GET, all, None).await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn what_a_copy_holds_is_told_page_by_page() {
    let running = server().await;
    let admin = running.admin().await;
    let node = join(&running, &admin, "node1").await;
    cluster(&admin, &[&node]).await;
    admin.done("/api/v1/modules", json!({"template": "mirror.safe", "name": "mirror"})).await;
    let mut agent = node.connect(1, &[]).await;
    let one = "/api/v1/modules/1/nodes/1/diverged/3-2";
    let entry = AsideEntry { path: "/srv/a".into(), kind: "file".into(), size: 9, why: "size: 3 there, 9 here".into() };
    let page = AsidePage { total: 7, from: 6, entries: vec![entry] };
    let asked = format!("{one}?from=6&limit=100000");
    let (told, ()) = tokio::join!(admin.get(&asked), async {
        let (id, request) = agent.request().await;
        assert_eq!(request, Request::ReadSetAside { module: M1, id: "3-2".into(), from: 6, limit: 500 });
        agent.answer(id, Answer::SetAsidePage(page.clone())).await;
    });
    assert_eq!(told, json!(page));
    assert_eq!(running.client().full(Method::GET, one, None).await.0, StatusCode::UNAUTHORIZED);
}
