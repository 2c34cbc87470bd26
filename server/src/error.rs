//! The one error of routes and database functions: a problem document (RFC 9457) with its status.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use holdfast_api::problem::{FieldProblem, Problem};

/// A problem to answer with. Database and other inner errors become 500 and are logged, not shown.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}", .0.detail)]
pub struct Failure(pub Box<Problem>);

/// Result of routes and database functions.
pub type Outcome<T> = Result<T, Failure>;

impl Failure {
    /// A problem of this kind (`urn:holdfast:<kind>`).
    pub fn new(status: StatusCode, kind: &str, title: &str, detail: impl Into<String>) -> Self {
        Self(Box::new(Problem {
            kind: format!("urn:holdfast:{kind}"),
            title: title.to_owned(),
            status: status.as_u16(),
            detail: detail.into(),
            errors: Vec::new(),
            retry_after_s: None,
        }))
    }

    /// 422 with the fields at fault; the detail repeats the first.
    pub fn invalid(errors: Vec<FieldProblem>) -> Self {
        let detail = match errors.first() {
            Some(first) if first.field.is_empty() => first.message.clone(),
            Some(first) => format!("{}: {}", first.field, first.message),
            None => "the request is not valid".to_owned(),
        };
        let mut failure = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", "Not valid", detail);
        failure.0.errors = errors;
        failure
    }

    /// 422 with one field at fault.
    pub fn field(field: &str, message: impl Into<String>) -> Self {
        Self::invalid(vec![FieldProblem::new(field, message)])
    }

    /// 400: the request cannot be read at all.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-request", "Not readable", detail)
    }

    /// 401.
    pub fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "Log in first", "there is no session; log in")
    }

    /// 403.
    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", "Not allowed", detail)
    }

    /// 404.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "Not found", detail)
    }

    /// 409.
    pub fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", "Conflict", detail)
    }

    /// 409 for an edit of an older version than the one there is.
    pub fn stale(expected: u64, actual: u64) -> Self {
        Self::conflict(format!(
            "version {expected} was edited, but version {actual} is there now; load it and apply your changes again"
        ))
    }

    /// 502: a node could not be reached or did not answer as it should.
    pub fn node(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_GATEWAY, "node", "The node did not do it", detail)
    }

    /// 429.
    pub fn too_many(wait_s: u64) -> Self {
        let detail = format!("too many wrong attempts; try again in {wait_s} s");
        let mut failure = Self::new(StatusCode::TOO_MANY_REQUESTS, "too-many-requests", "Wait", detail);
        failure.0.retry_after_s = Some(wait_s);
        failure
    }

    /// 500; `inner` goes to the log only.
    pub fn internal(inner: impl std::fmt::Display) -> Self {
        tracing::error!("internal error: {inner}");
        let detail = "something went wrong inside the server; its log says what";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "Internal error", detail)
    }

    /// Status of the answer.
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        // A number of a request that no row can have: it is looked for in vain.
        if let rusqlite::Error::ToSqlConversionFailure(_) = error {
            return Self::not_found("a number in the request is larger than any there is");
        }
        Self::internal(format_args!("database: {error}"))
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Self::internal(format_args!("stored JSON: {error}"))
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let retry = self.0.retry_after_s;
        let mut response = (self.status(), Json(&*self.0)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = retry {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
