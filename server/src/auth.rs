//! Who may come in: passwords, sessions, roles, the set-up link, Origin, and limits on guessing.

pub mod limiter;

use crate::app::App;
use crate::db;
use crate::error::{Failure, Outcome};
use crate::serve::Ends;
use crate::tls::{hex, random};
use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, Uri, header};
use base64::Engine;
use holdfast_api::console::{PASSWORD_BYTES_MAX, PASSWORD_CHARS_MIN, UserRole, UserView};
use limiter::Limiter;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;
use tokio::sync::Semaphore;

/// Name of the session cookie.
pub const COOKIE: &str = "__Host-holdfast";

/// Set-up link and login attempts.
pub struct Gate {
    setup: Mutex<Option<String>>,
    addresses: Mutex<Limiter<IpAddr>>,
    users: Mutex<Limiter<String>>,
    /// Argon2 takes 19 MiB a run.
    hashing: Semaphore,
}

impl Default for Gate {
    fn default() -> Self {
        Self {
            setup: Mutex::default(),
            addresses: Mutex::new(Limiter::new(5)),
            users: Mutex::new(Limiter::new(20)),
            hashing: Semaphore::new(2),
        }
    }
}

impl Gate {
    /// Makes the one-time set-up token of this run.
    pub fn open_setup(&self) -> String {
        let token = hex(&random::<24>());
        *self.setup.lock().unwrap_or_else(PoisonError::into_inner) = Some(token.clone());
        token
    }

    /// True if `token` is the set-up token; compared in constant time.
    pub fn is_setup_token(&self, token: &str) -> bool {
        let setup = self.setup.lock().unwrap_or_else(PoisonError::into_inner);
        setup.as_ref().is_some_and(|right| blake3::hash(right.as_bytes()) == blake3::hash(token.as_bytes()))
    }

    /// The set-up token was used.
    pub fn close_setup(&self) {
        *self.setup.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Refuses a guess from an address or for a user that guessed wrong too often lately. A success is reported by
    /// [`Gate::guessed_right`]; until then the guess counts as wrong, so that parallel guesses count too.
    ///
    /// # Errors
    /// 429 with the seconds to wait.
    pub fn guess(&self, address: IpAddr, user: &str) -> Outcome<()> {
        let now = Instant::now();
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        let key = user.to_lowercase();
        let wait = addresses.wait(now, &address).max(users.wait(now, &key));
        if !wait.is_zero() {
            return Err(Failure::too_many(wait.as_secs() + 1));
        }
        addresses.failed(now, address);
        users.failed(now, key);
        Ok(())
    }

    /// Forgets the wrong guesses.
    pub fn guessed_right(&self, address: IpAddr, user: &str) {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner).succeeded(&address);
        self.users.lock().unwrap_or_else(PoisonError::into_inner).succeeded(&user.to_lowercase());
    }

    /// Hashes a password (argon2id).
    ///
    /// # Errors
    /// 422 if it is too short or too long.
    pub async fn hash(&self, password: String) -> Outcome<String> {
        if password.chars().count() < PASSWORD_CHARS_MIN {
            return Err(Failure::field("password", format!("use at least {PASSWORD_CHARS_MIN} characters")));
        }
        if password.len() > PASSWORD_BYTES_MAX {
            return Err(Failure::field("password", format!("use at most {PASSWORD_BYTES_MAX} bytes")));
        }
        let _slot = self.hashing.acquire().await.map_err(Failure::internal)?;
        tokio::task::spawn_blocking(move || hash_password(&password)).await.map_err(Failure::internal)?
    }

    /// True if `password` is the one of `hash`; takes the same time when there is no hash (no such user).
    ///
    /// # Errors
    /// 500.
    pub async fn verify(&self, password: String, hash: Option<String>) -> Outcome<bool> {
        if password.len() > PASSWORD_BYTES_MAX {
            return Ok(false);
        }
        let _slot = self.hashing.acquire().await.map_err(Failure::internal)?;
        tokio::task::spawn_blocking(move || {
            static NOBODY: OnceLock<String> = OnceLock::new();
            let known = hash.is_some();
            let hash = match hash {
                Some(hash) => hash,
                None => NOBODY.get_or_init(|| hash_password("nobody has this password").unwrap_or_default()).clone(),
            };
            let parsed = PasswordHash::new(&hash).map_err(Failure::internal)?;
            Ok(argon2().verify_password(password.as_bytes(), &parsed).is_ok() && known)
        })
        .await
        .map_err(Failure::internal)?
    }
}

fn argon2() -> Argon2<'static> {
    Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::default())
}

fn hash_password(password: &str) -> Outcome<String> {
    let salt = SaltString::encode_b64(&random::<16>()).map_err(Failure::internal)?;
    Ok(argon2().hash_password(password.as_bytes(), &salt).map_err(Failure::internal)?.to_string())
}

/// A new session's token, for the cookie.
pub fn new_token() -> String {
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(random::<32>())
}

/// What the database keeps of a token.
pub fn token_hash(token: &str) -> Vec<u8> {
    blake3::hash(token.as_bytes()).as_bytes().to_vec()
}

/// The cookie that sets a session, or (empty token) ends it.
pub fn cookie(token: &str) -> String {
    let age = if token.is_empty() { 0 } else { db::users::AGE_MS / 1000 };
    format!("{COOKIE}={token}; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age={age}")
}

/// The session's token in the request's cookies.
pub fn token_of(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(header::COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|cookies| cookies.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, value)| *name == COOKIE && !value.is_empty()).map(|(_, value)| value)
}

/// The token of a script. A request that carries one is judged by it alone: its cookie does not count, and no page of
/// another origin can make a browser send it.
pub fn bearer_of(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ").map(str::trim)
}

/// Checks that a request comes from our own pages: every change and every socket must carry our Origin.
///
/// # Errors
/// 403.
pub fn check_origin(method: &Method, uri: &Uri, headers: &HeaderMap) -> Outcome<()> {
    let socket = headers.contains_key(header::UPGRADE) || *method == Method::CONNECT;
    if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) && !socket {
        return Ok(());
    }
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = uri.authority().map(|authority| authority.as_str()).or(host).unwrap_or_default();
    let origin = headers.get(header::ORIGIN).and_then(|origin| origin.to_str().ok()).unwrap_or_default();
    let ours = origin.strip_prefix("https://").is_some_and(|origin| {
        let plain = |text: &str| text.strip_suffix(":443").unwrap_or(text).to_ascii_lowercase();
        !host.is_empty() && plain(origin) == plain(host)
    });
    if ours {
        return Ok(());
    }
    Err(Failure::forbidden(format!("the request does not come from this console; send `Origin: https://{host}`")))
}

/// The user of a session, if it stands.
///
/// # Errors
/// 500.
pub async fn session_user(app: &App, hash: Vec<u8>) -> Outcome<Option<UserView>> {
    let of = hash.clone();
    let found = app.db.read(move |tx| db::users::session(tx, &of)).await?;
    if found.as_ref().is_some_and(|(_, stale)| *stale) {
        app.db.call(move |tx| db::users::touch_session(tx, &hash)).await?;
    }
    Ok(found.map(|(user, _)| user))
}

async fn user_of(parts: &Parts, app: &App, needed: UserRole) -> Outcome<UserView> {
    let user = match bearer_of(&parts.headers) {
        Some(secret) => {
            let hash = token_hash(secret);
            let of = hash.clone();
            let found = app.db.read(move |tx| db::tokens::holder(tx, &of)).await?;
            if found.as_ref().is_some_and(|(_, stale)| *stale) {
                app.db.call(move |tx| db::tokens::touch(tx, &hash)).await?;
            }
            found.map(|(user, _)| user)
        }
        None => session_user(app, token_hash(token_of(&parts.headers).ok_or_else(Failure::unauthorized)?)).await?,
    };
    let user = user.ok_or_else(Failure::unauthorized)?;
    if user.role.may(needed) {
        return Ok(user);
    }
    let needed = match needed {
        UserRole::Admin => "an administrator",
        UserRole::Control => "a user with role control or admin",
        UserRole::Monitor => "a user",
    };
    Err(Failure::forbidden(format!("{} may not do this; ask {needed}", user.name)))
}

macro_rules! role_extractor {
    ($(#[$doc:meta])* $name:ident, $role:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub struct $name(pub UserView);

        impl FromRequestParts<Arc<App>> for $name {
            type Rejection = Failure;

            async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Outcome<Self> {
                user_of(parts, app, $role).await.map(Self)
            }
        }
    };
}

role_extractor!(
    /// The logged-in user, who may change everything; 401 or 403 otherwise.
    Admin,
    UserRole::Admin
);
role_extractor!(
    /// The logged-in user, who may give commands; 401 or 403 otherwise.
    Control,
    UserRole::Control
);
role_extractor!(
    /// The logged-in user, who may look; 401 otherwise.
    Monitor,
    UserRole::Monitor
);

impl<S: Sync> FromRequestParts<S> for Ends {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Outcome<Self> {
        parts.extensions.get::<Self>().copied().ok_or_else(|| Failure::internal("a request without connection"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn changes_and_sockets_need_our_origin() {
        let uri = Uri::from_static("/api/v1/x");
        let ours = headers(&[("host", "a:9453"), ("origin", "https://a:9453")]);
        let foreign = headers(&[("host", "a:9453"), ("origin", "https://b:9453")]);
        let none = headers(&[("host", "a:9453")]);
        assert!(check_origin(&Method::POST, &uri, &ours).is_ok());
        assert!(check_origin(&Method::POST, &uri, &foreign).is_err());
        assert!(check_origin(&Method::DELETE, &uri, &none).is_err());
        assert!(check_origin(&Method::GET, &uri, &foreign).is_ok());
        let socket = headers(&[("host", "a"), ("origin", "https://evil"), ("upgrade", "websocket")]);
        assert!(check_origin(&Method::GET, &uri, &socket).is_err());
        let null = headers(&[("host", "a"), ("origin", "null")]);
        assert!(check_origin(&Method::PUT, &uri, &null).is_err());
        let h2 = Uri::from_static("https://a:9453/api");
        assert!(check_origin(&Method::PUT, &h2, &headers(&[("origin", "https://a:9453")])).is_ok());
    }

    #[test]
    fn the_cookie_is_found_among_others() {
        let found = headers(&[("cookie", "a=b; __Host-holdfast=tok; c=d")]);
        assert_eq!(token_of(&found), Some("tok"));
        assert_eq!(token_of(&headers(&[("cookie", "__Host-holdfast=")])), None);
    }

    #[tokio::test]
    async fn a_password_is_checked_and_nobody_has_none() {
        let gate = Gate::default();
        assert!(gate.hash("short".into()).await.is_err());
        let hash = gate.hash("correct horse".into()).await.unwrap();
        assert!(hash.starts_with("$argon2id$"));
        assert!(gate.verify("correct horse".into(), Some(hash.clone())).await.unwrap());
        assert!(!gate.verify("wrong horse".into(), Some(hash)).await.unwrap());
        assert!(!gate.verify("nobody has this password".into(), None).await.unwrap());
    }
}
