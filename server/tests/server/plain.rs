//! The console over plain http: requests that a node carries, off by default, without what must not be read on the way.

use crate::support::{Client, Node, PASSWORD, Running, dial, join, server, tls_config};
use holdfast_api::agent::{AGENT_PATH, AGENT_SNI, CLIENT_HEADER, FromServer};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::{HeaderMap, Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

const SETTING: &str = "/api/v1/settings/plain-http";

/// A browser that came to port 9010 of this node.
struct Carried<'a> {
    node: &'a Node,
    cookie: String,
}

impl Carried<'_> {
    async fn ask(&self, method: Method, path: &str, body: &Value) -> (StatusCode, HeaderMap, Value) {
        let enrolment = &self.node.enrolment;
        let config = tls_config(&enrolment.ca, Some((&enrolment.certificate, &self.node.key)));
        let stream = dial(self.node.address, AGENT_SNI, config).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "node1:9010")
            .header("origin", "http://node1:9010")
            .header("content-type", "application/json")
            .header("cookie", &self.cookie)
            .header(CLIENT_HEADER, "203.0.113.9:4711")
            .body(Full::<Bytes>::from(body.to_string()))
            .unwrap();
        let (parts, body) = sender.send_request(request).await.unwrap().into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        (parts.status, parts.headers, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    async fn log_in(&mut self) -> HeaderMap {
        let form = json!({"user": "admin", "password": PASSWORD});
        let (status, headers, view) = self.ask(Method::POST, "/api/v1/session", &form).await;
        assert_eq!((status, &view["plain_http"]), (StatusCode::OK, &json!(true)), "{view}");
        let safe = view["https_address"].as_str().unwrap();
        assert!(safe.starts_with("https://") && safe.ends_with('/'), "{view}");
        self.cookie = headers["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
        headers
    }
}

async fn switched_on() -> (Running, Client, Node) {
    let running = server().await;
    let admin = running.admin().await;
    let node = join(&running, &admin, "node1").await;
    let (status, view) = admin.send(Method::PUT, SETTING, json!({"on": true})).await;
    assert_eq!((status, &view["on"]), (StatusCode::OK, &json!(true)));
    (running, admin, node)
}

#[tokio::test]
async fn plain_http_is_off_until_an_administrator_wants_it_and_its_sessions_end_with_it() {
    let running = server().await;
    let admin = running.admin().await;
    let node = join(&running, &admin, "node1").await;
    let mut session = node.connect(0, &[]).await;
    assert_eq!(admin.get("/api/v1/settings").await["plain_http"], json!({"on": false, "addresses": []}));
    assert_eq!(admin.get("/api/v1/session").await["plain_http"], false);
    let mut browser = Carried { node: &node, cookie: String::new() };
    let (status, _, problem) = browser.ask(Method::GET, "/api/v1/session", &Value::Null).await;
    assert_eq!(status, StatusCode::FORBIDDEN, "{problem}");

    let (_, view) = admin.send(Method::PUT, SETTING, json!({"on": true})).await;
    assert_eq!(view, json!({"on": true, "addresses": ["http://127.0.0.1:9010/"]}));
    assert_eq!(session.next().await, Some(FromServer::Serve { console: true }));
    let told = admin.get("/api/v1/live/snapshot").await;
    assert!(told["server_problems"].to_string().contains("plain http"), "{}", told["server_problems"]);
    let headers = browser.log_in().await;
    let cookie = headers["set-cookie"].to_str().unwrap();
    assert!(
        cookie.starts_with("holdfast-http=") && !cookie.contains("Secure") && cookie.contains("HttpOnly"),
        "{cookie}"
    );
    assert!(headers.get("cross-origin-opener-policy").is_none() && headers.get("content-security-policy").is_some());
    assert_eq!(browser.ask(Method::GET, "/api/v1/nodes", &Value::Null).await.0, StatusCode::OK);
    // Limits of guessing count the browser, not the node.
    let audit = admin.get("/api/v1/audit").await.to_string();
    assert!(audit.contains("over plain http"), "{audit}");

    let off = browser.ask(Method::PUT, SETTING, &json!({"on": false})).await;
    assert_eq!(off.0, StatusCode::OK, "{}", off.2);
    assert_eq!(session.next().await, Some(FromServer::Serve { console: false }));
    assert_eq!(browser.ask(Method::GET, "/api/v1/nodes", &Value::Null).await.0, StatusCode::FORBIDDEN);
    admin.send(Method::PUT, SETTING, json!({"on": true})).await;
    assert_eq!(browser.ask(Method::GET, "/api/v1/nodes", &Value::Null).await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(admin.get("/api/v1/settings").await["plain_http"]["on"], true);
}

#[tokio::test]
async fn a_browser_that_is_carried_never_speaks_for_the_node() {
    let (_running, _admin, node) = switched_on().await;
    let config = tls_config(&node.enrolment.ca, Some((&node.enrolment.certificate, &node.key)));
    let stream = dial(node.address, AGENT_SNI, config).await.unwrap();
    let mut request = format!("wss://{AGENT_SNI}{AGENT_PATH}").into_client_request().unwrap();
    assert!(tokio_tungstenite::client_async(request.clone(), stream).await.is_ok(), "the node itself is let in");
    request.headers_mut().insert(CLIENT_HEADER, "203.0.113.9:4711".parse().unwrap());
    let config = tls_config(&node.enrolment.ca, Some((&node.enrolment.certificate, &node.key)));
    let stream = dial(node.address, AGENT_SNI, config).await.unwrap();
    assert!(tokio_tungstenite::client_async(request, stream).await.is_err());
}

#[tokio::test]
async fn a_session_read_on_the_way_is_none_by_https_and_secrets_are_not_taken() {
    let (_running, admin, node) = switched_on().await;
    let mut browser = Carried { node: &node, cookie: String::new() };
    browser.log_in().await;
    let value = browser.cookie.split_once('=').unwrap().1;
    for cookie in [browser.cookie.clone(), format!("__Host-holdfast={value}")] {
        let stolen = Client { cookie: Some(cookie), ..admin.clone() };
        let (status, _, _) = stolen.full(Method::GET, "/api/v1/nodes", None).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
    }
    let user = json!({"name": "eve", "password": PASSWORD, "role": "admin"});
    for (method, path, body) in [
        (Method::POST, "/api/v1/users", &user),
        (Method::POST, "/api/v1/tokens", &json!({"name": "t", "role": "admin"})),
        (Method::POST, "/api/v1/nodes/tokens", &json!({"minutes": 5})),
    ] {
        let (status, _, problem) = browser.ask(method, path, body).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{path}: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains("https"), "{problem}");
    }
    assert_eq!(admin.get("/api/v1/tokens").await, json!([]));
    // A node that is removed carries nothing any more.
    let (status, _) =
        admin.send(Method::DELETE, &format!("/api/v1/nodes/{}", node.enrolment.node.0), Value::Null).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    let config = tls_config(&node.enrolment.ca, Some((&node.enrolment.certificate, &node.key)));
    let stream = dial(node.address, AGENT_SNI, config).await.unwrap();
    let refused = match hyper::client::conn::http1::handshake(TokioIo::new(stream)).await {
        Ok((mut sender, connection)) => {
            tokio::spawn(connection);
            let request = Request::get("/").header("host", "node1:9010").body(Full::<Bytes>::default()).unwrap();
            sender.send_request(request).await.map_or(true, |response| response.status() == StatusCode::FORBIDDEN)
        }
        Err(_) => true,
    };
    assert!(refused);
}
