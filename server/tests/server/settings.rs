//! The server's own settings: the certificate that browsers see, retention, and who may change them.

use crate::support::{Client, PASSWORD, cluster, dial, eventually, join, server, tls_config};
use holdfast_api::agent::JOIN_SNI;
use holdfast_server::start;
use hyper::{Method, StatusCode};
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::json;
use std::time::{Duration, SystemTime};

fn certificate(names: &[&str]) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    (CertificateParams::new(names).unwrap().self_signed(&key).unwrap().pem(), key.serialize_pem())
}

fn der(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}

/// The certificate that the server shows to one who trusts `ca` and asks for `name`.
async fn shown(client: &Client, name: &'static str, ca: &str) -> std::io::Result<CertificateDer<'static>> {
    let stream = dial(client.address, name, tls_config(ca, None)).await?;
    Ok(stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned())
}

#[tokio::test]
async fn browsers_get_the_certificate_that_was_given_and_agents_keep_theirs() {
    let running = server().await;
    let admin = running.admin().await;
    let made = admin.get("/api/v1/settings").await;
    assert_eq!(made["certificate"]["own"], false);
    let (pem, key) = certificate(&["localhost"]);
    let form = json!({"certificate": pem, "key": key});
    let (status, view) = admin.send(Method::PUT, "/api/v1/settings/certificate", form).await;
    assert_eq!((status, view["own"].as_bool()), (StatusCode::OK, Some(true)), "{view}");
    assert_eq!(view["names"], json!(["localhost"]));
    assert!(!view.to_string().contains("PRIVATE"), "{view}");
    assert_eq!(shown(&admin, "localhost", &pem).await.unwrap(), der(&pem));
    assert!(shown(&admin, "localhost", &admin.ca).await.is_err());
    // Nodes join and connect by the server's own authority, whatever browsers see.
    assert_ne!(shown(&admin, JOIN_SNI, &admin.ca).await.unwrap(), der(&pem));
    let browser = Client { ca: pem.clone(), ..admin.clone() };
    assert_eq!(browser.get("/api/v1/settings").await["certificate"], view);
    let node = join(&running, &browser, "node1").await;
    node.connect(0, &[]).await;
    // It is there after a restart.
    let config = holdfast_server::config::Config {
        listen: running.server.listen,
        ..crate::support::config(running.folder.path())
    };
    let folder = running.folder;
    drop(running.server);
    let restarted = eventually("the server starts again", || async { start(config.clone()).await.ok() }).await;
    assert_eq!(shown(&browser, "localhost", &pem).await.unwrap(), der(&pem));
    let (status, view) = browser.send(Method::DELETE, "/api/v1/settings/certificate", json!(null)).await;
    assert_eq!((status, view["own"].as_bool()), (StatusCode::OK, Some(false)));
    assert_eq!(admin.get("/api/v1/settings").await["certificate"], view);
    let audit = admin.get("/api/v1/audit").await.to_string();
    assert!(audit.contains("gave the console the certificate of") && !audit.contains("PRIVATE"), "{audit}");
    drop((restarted, folder));
}

#[tokio::test]
async fn a_kept_certificate_that_cannot_be_read_is_told_to_consoles_until_it_is_settled() {
    let running = server().await;
    let config = holdfast_server::config::Config {
        listen: running.server.listen,
        ..crate::support::config(running.folder.path())
    };
    let (admin, folder) = (running.admin().await, running.folder);
    drop(running.server);
    std::fs::write(folder.path().join("data/pki/own.pem"), "torn").unwrap();
    let restarted = eventually("the server starts again", || async { start(config.clone()).await.ok() }).await;
    let told = admin.get("/api/v1/live/snapshot").await["server_problems"].clone();
    assert!(told[0].as_str().is_some_and(|text| text.contains("own.pem") && text.contains("remove it")), "{told}");
    let view = admin.get("/api/v1/settings").await["certificate"].clone();
    assert_eq!((view["own"].as_bool(), &view["warning"]), (Some(false), &told[0]));
    let (status, _) = admin.send(Method::DELETE, "/api/v1/settings/certificate", json!(null)).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(admin.get("/api/v1/live/snapshot").await["server_problems"], json!([]));
    drop((restarted, folder));
}

#[tokio::test]
async fn a_certificate_that_does_not_fit_changes_nothing() {
    let running = server().await;
    let admin = running.admin().await;
    let before = admin.get("/api/v1/settings").await;
    let (pem, key) = certificate(&["localhost"]);
    let (elsewhere, other_key) = certificate(&["elsewhere.example.org"]);
    for (certificate, key, field, cure) in [
        (pem.as_str(), other_key.as_str(), "key", "comes first"),
        (elsewhere.as_str(), other_key.as_str(), "certificate", "reached as localhost"),
        ("", key.as_str(), "certificate", "BEGIN CERTIFICATE"),
        (pem.as_str(), "", "key", "BEGIN PRIVATE KEY"),
    ] {
        let form = json!({"certificate": certificate, "key": key});
        let (status, problem) = admin.send(Method::PUT, "/api/v1/settings/certificate", form).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(problem["errors"][0]["field"], field, "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains(cure), "{problem}");
    }
    assert_eq!(admin.get("/api/v1/settings").await, before);
    assert!(!running.folder.path().join("data/pki/own.pem").exists());
}

#[tokio::test]
async fn what_is_older_than_it_is_to_be_kept_goes() {
    let running = server().await;
    let admin = running.admin().await;
    let folder = running.folder.path().join("data/snapshots");
    std::fs::create_dir_all(&folder).unwrap();
    for (name, days) in [("snapshot_old.zip", 10), ("snapshot_new.zip", 0)] {
        let file = std::fs::File::create(folder.join(name)).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(days * 86_400)).unwrap();
    }
    let app = &running.server.app;
    let old =
        |tx: &rusqlite::Transaction<'_>| Ok(tx.execute("INSERT INTO audit VALUES (1000, 1, 'anna', 'long ago')", [])?);
    app.db.call(old).await.unwrap();
    let set = async |form: serde_json::Value| admin.send(Method::PUT, "/api/v1/settings/retention", form).await;
    let bad = json!({"snapshots": 0, "snapshot_days": 0, "audit_days": 99999999});
    let (status, problem) = set(bad).await;
    assert_eq!((status, problem["errors"].as_array().unwrap().len()), (StatusCode::UNPROCESSABLE_ENTITY, 2));
    let names = async || {
        let list = admin.get("/api/v1/snapshots").await;
        list.as_array().unwrap().iter().map(|view| view["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names().await.len(), 2);
    let form = json!({"snapshots": 1, "snapshot_days": 7, "audit_days": 30});
    assert_eq!(set(form.clone()).await, (StatusCode::OK, form.clone()));
    assert_eq!(names().await, ["snapshot_new.zip"]);
    let audit = admin.get("/api/v1/audit").await.to_string();
    assert!(audit.contains("keeps at most 1 snapshots") && !audit.contains("long ago"), "{audit}");
    assert_eq!(admin.get("/api/v1/settings").await["retention"], form);
    let node = join(&running, &admin, "node1").await;
    cluster(&admin, &[&node]).await;
    let (status, problem) = admin.post("/api/v1/snapshots", json!({"nodes": [1]})).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert!(problem["detail"].as_str().unwrap().contains("at most 1 "), "{problem}");
}

#[tokio::test]
async fn only_administrators_change_settings_versions_and_others_passwords() {
    let running = server().await;
    let admin = running.admin().await;
    for role in ["control", "monitor"] {
        admin.done("/api/v1/users", json!({"name": role, "role": role, "password": PASSWORD})).await;
    }
    let login = async |name: &str, password: &str| {
        let mut client = running.client();
        let body = json!({"user": name, "password": password});
        let (status, headers, _) = client.full(Method::POST, "/api/v1/session", Some(body)).await;
        if status == StatusCode::OK {
            client.take_cookie(&headers);
        }
        (status, client)
    };
    let ((_, control), (_, monitor)) = (login("control", PASSWORD).await, login("monitor", PASSWORD).await);
    let nobody = running.client();
    let retention = json!({"snapshots": 5, "snapshot_days": 0, "audit_days": 0});
    let password = json!({"password": "another long one"});
    for (method, path, body, wanted) in [
        (Method::GET, "/api/v1/settings", json!(null), [200, 200, 401]),
        (Method::PUT, "/api/v1/settings/retention", retention, [403, 403, 401]),
        (Method::PUT, "/api/v1/settings/certificate", json!({"certificate": "", "key": ""}), [403, 403, 401]),
        (Method::DELETE, "/api/v1/settings/certificate", json!(null), [403, 403, 401]),
        (Method::GET, "/api/v1/cluster/versions/1", json!(null), [404, 404, 401]),
        (Method::POST, "/api/v1/cluster/restore", json!({"version": 1, "expected_version": 0}), [403, 403, 401]),
        (Method::PUT, "/api/v1/users/monitor", password.clone(), [403, 403, 401]),
    ] {
        let mut got = Vec::new();
        for client in [&control, &monitor, &nobody] {
            got.push(client.send(method.clone(), path, body.clone()).await.0.as_u16());
        }
        assert_eq!(got, wanted, "{method} {path}");
    }
    // An administrator gives somebody else another password: the sessions with the old one end.
    let (status, _) = admin.send(Method::PUT, "/api/v1/users/monitor", json!({"password": "short"})).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(monitor.full(Method::GET, "/api/v1/nodes", None).await.0, StatusCode::OK);
    assert_eq!(admin.send(Method::PUT, "/api/v1/users/monitor", password).await.0, StatusCode::OK);
    assert_eq!(monitor.full(Method::GET, "/api/v1/nodes", None).await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(login("monitor", PASSWORD).await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(login("monitor", "another long one").await.0, StatusCode::OK);
}
