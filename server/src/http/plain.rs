//! The console over plain http: what agents carry from their port 9010, when an administrator has allowed it, and what is
//! refused there because everybody on the way could read it.

use crate::app::App;
use crate::auth;
use crate::db;
use crate::error::{Failure, Outcome};
use crate::serve::{Ends, PeerCertificate};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Router};
use holdfast_api::agent::CLIENT_HEADER;
use std::net::SocketAddr;
use std::sync::Arc;
use tower::ServiceExt;

/// What never goes over plain http: it carries a secret which is good for more than the session at hand.
const REFUSED: &[(Method, &str, &str)] = &[
    (Method::POST, "/api/v1/setup", "the first administrator's password"),
    (Method::POST, "/api/v1/users", "a user's password"),
    (Method::PUT, "/api/v1/users/", "a user's password"),
    (Method::PUT, "/api/v1/session/password", "a user's password"),
    (Method::POST, "/api/v1/tokens", "the token of a script"),
    (Method::POST, "/api/v1/nodes/tokens", "the token of a new node"),
    (Method::POST, "/api/v1/nodes/enrol", "the pairing code of a new node"),
    (Method::POST, "/api/v1/join", "the token of a new node"),
    (Method::PUT, "/api/v1/settings/certificate", "the private key of the certificate"),
];

/// What answers the requests that agents carry.
#[derive(Clone)]
pub struct Carried {
    /// Whether it is allowed, and by whom.
    pub app: Arc<App>,
    /// What answers browsers that come by https.
    pub browsers: Router,
}

/// Takes a request that an agent carries for a browser.
///
/// # Errors
/// 403 unless an enrolled node asks and plain http is on.
pub async fn carry(
    State(Carried { app, browsers }): State<Carried>,
    Extension(certificate): Extension<PeerCertificate>,
    ends: Ends,
    mut request: Request,
) -> Outcome<Response> {
    let fingerprint = certificate.fingerprint;
    let node = app.db.read(move |tx| db::nodes::by_fingerprint(tx, &fingerprint)).await?;
    node.ok_or_else(|| Failure::forbidden("this node is not enrolled here (any more)"))?;
    if !app.plain_http() {
        return Err(Failure::forbidden("plain http is switched off: open the console with https, port 9453"));
    }
    let client = request.headers_mut().remove(CLIENT_HEADER);
    let client = client.as_ref().and_then(|text| text.to_str().ok()?.parse::<SocketAddr>().ok());
    let peer = client.ok_or_else(|| Failure::bad_request(format!("{CLIENT_HEADER} names no client")))?;
    request.extensions_mut().insert(Ends { peer, plain: true, ..ends });
    Ok(browsers.oneshot(request).await.into_response())
}

/// Refuses what would show a secret to everybody on the way.
///
/// # Errors
/// 403 with what to do instead.
pub fn check(method: &Method, path: &str, headers: &HeaderMap) -> Outcome<()> {
    let matches = |wanted: &str| path == wanted || (wanted.ends_with('/') && path.starts_with(wanted));
    let found =
        REFUSED.iter().find(|(refused, wanted, _)| refused == method && matches(wanted)).map(|(.., what)| *what);
    match found.or_else(|| auth::bearer_of(headers).map(|_| "the token of a script")) {
        None => Ok(()),
        Some(what) => Err(Failure::forbidden(format!(
            "{what} is not sent over plain http, where everybody on the way can read it: open the console with https, \
             port 9453, for this"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_that_takes_or_shows_a_lasting_secret_is_refused() {
        for (method, path, _) in REFUSED {
            let known = crate::http::ROUTES.iter().any(|(name, route)| {
                name.eq_ignore_ascii_case(method.as_str())
                    && (path == route || (path.ends_with('/') && route.starts_with(path)))
            });
            assert!(known, "there is no {method} {path} to be refused");
            let path = if path.ends_with('/') { format!("{path}anna") } else { (*path).to_owned() };
            assert!(check(method, &path, &HeaderMap::new()).is_err(), "{method} {path}");
        }
        assert!(check(&Method::POST, "/api/v1/session", &HeaderMap::new()).is_ok());
        assert!(check(&Method::GET, "/api/v1/users", &HeaderMap::new()).is_ok());
        let script = HeaderMap::from_iter([(axum::http::header::AUTHORIZATION, "Bearer x".parse().unwrap())]);
        assert!(check(&Method::GET, "/api/v1/modules", &script).is_err());
    }
}
