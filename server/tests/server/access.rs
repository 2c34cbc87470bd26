//! Login, set-up, roles, Origin, limits, bad requests and the pages.

use crate::support::{Client, PASSWORD, config, server};
use holdfast_server::start;
use http_body_util::Full;
use hyper::{Method, StatusCode};
use serde_json::json;

#[tokio::test]
async fn the_set_up_link_makes_one_administrator_once() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(config(folder.path())).await.unwrap();
    let link = server.setup_link.clone().unwrap();
    let token = link.split_once("/setup#").unwrap().1.to_owned();
    let running = crate::support::Running { server, folder };
    let client = running.client();
    assert_eq!(client.get("/api/v1/session").await["setup_needed"], true);
    let form = |token: &str, password: &str| json!({"token": token, "user": "anna", "password": password});
    let (status, _) = client.post("/api/v1/setup", form("wrong", PASSWORD)).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    let (status, problem) = client.post("/api/v1/setup", form(&token, "short")).await;
    assert_eq!((status, problem["errors"][0]["field"].as_str()), (StatusCode::UNPROCESSABLE_ENTITY, Some("password")));
    let (status, headers, session) = client.full(Method::POST, "/api/v1/setup", Some(form(&token, PASSWORD))).await;
    assert_eq!((status, session["user"]["role"].as_str()), (StatusCode::OK, Some("admin")));
    let cookie = headers["set-cookie"].to_str().unwrap();
    for part in ["__Host-holdfast=", "; Path=/", "; Secure", "; HttpOnly", "; SameSite=Strict"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    let (status, _) = client.post("/api/v1/setup", form(&token, PASSWORD)).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert_eq!(client.get("/api/v1/session").await["setup_needed"], false);
}

#[tokio::test]
async fn the_live_socket_asked_for_as_a_page_is_a_problem_like_any_other() {
    let running = server().await;
    let admin = running.admin().await;
    let (status, _, problem) = admin.full(Method::GET, "/api/v1/live", None).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(problem["detail"].as_str().unwrap().contains("WebSocket"), "{problem}");
}

#[tokio::test]
async fn a_second_server_on_the_same_folder_is_refused() {
    let running = server().await;
    let error = start(config(running.folder.path())).await.err().unwrap().to_string();
    assert!(error.contains("another server"), "{error}");
}

#[tokio::test]
async fn logging_in_and_out_begins_and_ends_a_session() {
    let running = server().await;
    let admin = running.admin().await;
    assert_eq!(admin.get("/api/v1/session").await["user"]["name"], "admin");
    let (status, ..) = admin.full(Method::DELETE, "/api/v1/session", None).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    assert_eq!(admin.full(Method::GET, "/api/v1/nodes", None).await.0, StatusCode::UNAUTHORIZED);
    let forged = Client { cookie: Some("__Host-holdfast=AAAA".into()), ..running.client() };
    assert_eq!(forged.full(Method::GET, "/api/v1/nodes", None).await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn wrong_logins_tell_nothing_about_users_and_are_slowed_down() {
    let running = server().await;
    let client = running.client();
    let mut answers = Vec::new();
    for user in ["admin", "nobody", "admin", "nobody", "nobody"] {
        let (status, problem) = client.post("/api/v1/session", json!({"user": user, "password": "x"})).await;
        answers.push((status, problem["detail"].clone()));
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    assert_eq!(answers[0].0, StatusCode::UNAUTHORIZED);
    let right = json!({"user": "admin", "password": PASSWORD});
    let (status, problem) = client.post("/api/v1/session", right).await;
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
    assert!(problem["retry_after_s"].as_u64().unwrap() >= 1);
}

#[tokio::test]
async fn a_change_without_our_origin_is_refused() {
    let running = server().await;
    let admin = running.admin().await;
    let token = json!({"minutes": 5});
    for origin in [None, Some("https://evil.example".to_owned()), Some("null".to_owned())] {
        let foreign = Client { origin, ..admin.clone() };
        assert_eq!(foreign.post("/api/v1/nodes/tokens", token.clone()).await.0, StatusCode::FORBIDDEN);
    }
    assert_eq!(admin.post("/api/v1/nodes/tokens", token).await.0, StatusCode::CREATED);
    let upgrade = |client: &Client| {
        client
            .request(Method::GET, "/api/v1/live")
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
            .body(Full::default())
            .unwrap()
    };
    let foreign = Client { origin: Some("https://evil.example".into()), ..admin.clone() };
    assert_eq!(foreign.raw(upgrade(&foreign)).await.0, StatusCode::FORBIDDEN);
    let nobody = running.client();
    assert_eq!(nobody.raw(upgrade(&nobody)).await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn roles_are_enforced_at_the_routes() {
    let running = server().await;
    let admin = running.admin().await;
    for role in ["control", "monitor"] {
        admin.done("/api/v1/users", json!({"name": role, "role": role, "password": PASSWORD})).await;
    }
    let login = async |name: &str| {
        let mut client = running.client();
        let body = json!({"user": name, "password": PASSWORD});
        let (status, headers, _) = client.full(Method::POST, "/api/v1/session", Some(body)).await;
        assert_eq!(status, StatusCode::OK);
        client.take_cookie(&headers);
        client
    };
    let (control, monitor) = (login("control").await, login("monitor").await);
    let nobody = running.client();
    let asks = [
        (Method::GET, "/api/v1/nodes", json!(null), [200, 200, 401]),
        (Method::GET, "/api/v1/live/snapshot", json!(null), [200, 200, 401]),
        (Method::GET, "/api/v1/users", json!(null), [403, 403, 401]),
        (Method::POST, "/api/v1/nodes/tokens", json!({"minutes": 5}), [403, 403, 401]),
        (Method::POST, "/api/v1/nodes/probe", json!({"address": "127.0.0.1:1"}), [403, 403, 401]),
        (Method::POST, "/api/v1/modules", json!({"template": "mirror.safe", "name": "m"}), [403, 403, 401]),
        (Method::POST, "/api/v1/modules/1/commands", json!({"command": "start"}), [404, 403, 401]),
        (Method::POST, "/api/v1/modules/1/checks", json!({"which": "checkers", "on": true}), [404, 403, 401]),
        (Method::POST, "/api/v1/modules/1/register/arm", json!({}), [403, 403, 401]),
        (Method::POST, "/api/v1/modules/1/configure", json!({}), [403, 403, 401]),
        (Method::PUT, "/api/v1/cluster", json!({}), [403, 403, 401]),
        (Method::DELETE, "/api/v1/nodes/1", json!(null), [403, 403, 401]),
        (Method::GET, "/api/v1/snapshots", json!(null), [200, 403, 401]),
        (Method::POST, "/api/v1/snapshots", json!({}), [409, 403, 401]),
        (Method::GET, "/api/v1/tokens", json!(null), [403, 403, 401]),
        (Method::GET, "/api/v1/nodes/1/processes", json!(null), [404, 403, 401]),
    ];
    for (method, path, body, wanted) in asks {
        let mut got = Vec::new();
        for client in [&control, &monitor, &nobody] {
            got.push(client.send(method.clone(), path, body.clone()).await.0.as_u16());
        }
        assert_eq!(got, wanted, "{method} {path}");
    }
    let (status, _) = admin.send(Method::DELETE, "/api/v1/users/monitor", json!(null)).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    assert_eq!(monitor.full(Method::GET, "/api/v1/nodes", None).await.0, StatusCode::UNAUTHORIZED);
    let (status, _) = admin.send(Method::DELETE, "/api/v1/users/admin", json!(null)).await;
    assert_eq!(status, StatusCode::CONFLICT);
}

#[tokio::test]
async fn users_get_other_roles_and_passwords_and_lose_their_sessions() {
    let running = server().await;
    let admin = running.admin().await;
    admin.done("/api/v1/users", json!({"name": "berta", "role": "monitor", "password": PASSWORD})).await;
    let login = async |password: &str| {
        let mut client = running.client();
        let body = json!({"user": "berta", "password": password});
        let (status, headers, _) = client.full(Method::POST, "/api/v1/session", Some(body)).await;
        if status == StatusCode::OK {
            client.take_cookie(&headers);
        }
        (status, client)
    };
    let (_, berta) = login(PASSWORD).await;
    let (status, user) = admin.send(Method::PUT, "/api/v1/users/berta", json!({"role": "control"})).await;
    assert_eq!((status, user["role"].as_str()), (StatusCode::OK, Some("control")));
    assert_eq!(berta.get("/api/v1/session").await["user"]["role"], "control");
    assert_eq!(
        admin.send(Method::PUT, "/api/v1/users/admin", json!({"role": "monitor"})).await.0,
        StatusCode::CONFLICT
    );
    assert_eq!(
        admin.send(Method::PUT, "/api/v1/users/nobody", json!({"role": "monitor"})).await.0,
        StatusCode::NOT_FOUND
    );
    let change = |old: &str| json!({"old": old, "new": "another long one"});
    let (status, problem) = berta.send(Method::PUT, "/api/v1/session/password", change("wrong")).await;
    assert_eq!((status, problem["errors"][0]["field"].as_str()), (StatusCode::UNPROCESSABLE_ENTITY, Some("old")));
    let (_, other) = login(PASSWORD).await;
    assert_eq!(berta.send(Method::PUT, "/api/v1/session/password", change(PASSWORD)).await.0, StatusCode::NO_CONTENT);
    assert_eq!(other.full(Method::GET, "/api/v1/nodes", None).await.0, StatusCode::UNAUTHORIZED);
    let sessions = admin.get("/api/v1/sessions").await;
    let mine = sessions.as_array().unwrap().iter().find(|session| session["user"] == "berta").unwrap().clone();
    let path = format!("/api/v1/sessions/{}", mine["id"]);
    assert_eq!(admin.send(Method::DELETE, &path, json!(null)).await.0, StatusCode::NO_CONTENT);
    assert_eq!(berta.full(Method::GET, "/api/v1/nodes", None).await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_script_comes_in_by_its_token_with_its_role_until_it_is_withdrawn() {
    let running = server().await;
    let admin = running.admin().await;
    let made = admin.done("/api/v1/tokens", json!({"name": "backup", "role": "control"})).await;
    let secret = made["secret"].as_str().unwrap().to_owned();
    let script = Client { origin: None, cookie: None, ..running.client() };
    let ask = async |method: Method, path: &str, body: &str| {
        let request = script.request(method, path).header("authorization", format!("Bearer {secret}"));
        let request = request.header("content-type", "application/json").body(Full::from(body.to_owned())).unwrap();
        script.raw(request).await.0
    };
    assert_eq!(ask(Method::GET, "/api/v1/nodes", "").await, StatusCode::OK);
    assert_eq!(
        ask(Method::POST, "/api/v1/modules/1/commands", "{\"command\": \"start\"}").await,
        StatusCode::NOT_FOUND
    );
    assert_eq!(ask(Method::POST, "/api/v1/nodes/tokens", "{\"minutes\": 5}").await, StatusCode::FORBIDDEN);
    let listed = admin.get("/api/v1/tokens").await;
    assert_eq!(listed[0]["name"], "backup");
    assert!(listed[0]["used_unix_ms"].as_u64().unwrap() > 0 && listed[0].get("secret").is_none());
    let path = format!("/api/v1/tokens/{}", listed[0]["id"]);
    assert_eq!(admin.send(Method::DELETE, &path, json!(null)).await.0, StatusCode::NO_CONTENT);
    assert_eq!(ask(Method::GET, "/api/v1/nodes", "").await, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn bad_bodies_are_answered_with_field_and_cure() {
    let running = server().await;
    let admin = running.admin().await;
    let (status, problem) = admin.post("/api/v1/nodes/tokens", json!({"minutes": "five"})).await;
    assert_eq!((status, problem["errors"][0]["field"].as_str()), (StatusCode::UNPROCESSABLE_ENTITY, Some("minutes")));
    let (status, problem) = admin.post("/api/v1/nodes/tokens", json!({"minutes": 5, "more": 1})).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{problem}");
    assert_eq!(problem["type"], "urn:holdfast:invalid");
    let form = json!({"expected_version": 0, "name": "Bad Name", "lans": ["default"],
        "nodes": [{"id": 7, "name": "n", "addresses": {"default": "1.2.3"}}]});
    let (status, problem) = admin.send(Method::PUT, "/api/v1/cluster", form).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    let fields: Vec<_> = problem["errors"].as_array().unwrap().iter().map(|e| e["field"].as_str().unwrap()).collect();
    assert_eq!(fields, ["name", "nodes[0].addresses.default", "nodes[0].id"]);
    assert_eq!(admin.get("/api/v1/cluster").await["version"], 0);
    let text = admin.request(Method::POST, "/api/v1/nodes/tokens").header("content-type", "text/plain");
    assert_eq!(admin.raw(text.body(Full::from("{}")).unwrap()).await.0, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let long = json!({"user": "admin", "password": "x".repeat(300 * 1024)});
    assert_eq!(admin.post("/api/v1/session", long).await.0, StatusCode::PAYLOAD_TOO_LARGE);
    let deep = "[".repeat(100_000);
    let request = admin.request(Method::POST, "/api/v1/session").header("content-type", "application/json");
    assert_eq!(admin.raw(request.body(Full::from(deep)).unwrap()).await.0, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn pages_carry_security_headers_and_unknown_api_paths_are_problems() {
    let running = server().await;
    let client = running.client();
    let (status, headers, _) =
        client.raw(client.request(Method::GET, "/any/page").body(Full::default()).unwrap()).await;
    assert_eq!(status, StatusCode::OK);
    assert!(headers["content-security-policy"].to_str().unwrap().starts_with("default-src 'none'"));
    assert_eq!(headers["x-content-type-options"], "nosniff");
    for path in ["/api", "/api/v1/nothing", "/api/v2/session"] {
        assert_eq!(client.full(Method::GET, path, None).await.0, StatusCode::NOT_FOUND, "{path}");
    }
    assert_eq!(client.full(Method::PUT, "/api/v1/session", None).await.0, StatusCode::METHOD_NOT_ALLOWED);
    let admin = running.admin().await;
    for path in ["/api/v1/nodes/x", "/api/v1/modules/99999999", "/api/v1/tasks/-1"] {
        assert!(admin.full(Method::GET, path, None).await.0.is_client_error(), "{path}");
    }
    let (status, headers, pem) =
        client.raw(client.request(Method::GET, "/ca.pem").body(Full::default()).unwrap()).await;
    assert_eq!(status, StatusCode::OK);
    assert!(headers["content-disposition"].to_str().unwrap().contains("holdfast-ca.pem"));
    assert_eq!(pem, running.server.app.tls.ca_pem.as_bytes());
    assert_eq!(client.get("/api/v1/openapi.json").await["openapi"].as_str().unwrap().split('.').next(), Some("3"));
}
