//! Routes: the server's own settings: the certificate that browsers see, and how long records are kept.

use crate::app::App;
use crate::auth::{Admin, Monitor};
use crate::db;
use crate::error::{Failure, Outcome};
use crate::http::Json;
use crate::http::snapshots;
use crate::tls::own;
use axum::extract::State;
use axum::http::{HeaderMap, Uri, header};
use holdfast_api::console::{CertificateForm, CertificateView, Retention, ServerSettings};
use holdfast_api::problem::Problem;
use std::sync::Arc;

/// The server's settings.
#[utoipa::path(get, path = "/api/v1/settings", tag = "settings", responses((status = 200, body = ServerSettings)))]
pub async fn view(State(app): State<Arc<App>>, _: Monitor) -> Outcome<axum::Json<ServerSettings>> {
    let retention = app.db.read(db::settings::retention).await?;
    let certificate = app.tls.shown().map_err(Failure::internal)?;
    Ok(axum::Json(ServerSettings { certificate, retention }))
}

/// Gives browsers another certificate. Everything is checked before anything is changed; new connections get it.
#[utoipa::path(put, path = "/api/v1/settings/certificate", tag = "settings", request_body = CertificateForm, responses(
    (status = 200, body = CertificateView), (status = 422, body = Problem)))]
pub async fn set_certificate(
    State(app): State<Arc<App>>,
    Admin(by): Admin,
    uri: Uri,
    headers: HeaderMap,
    Json(form): Json<CertificateForm>,
) -> Outcome<axum::Json<CertificateView>> {
    // HTTP/2 names the host in the address, HTTP/1.1 in a header.
    let named = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = uri.authority().map(|authority| authority.as_str()).or(named);
    let reached = own::reached(host, app.tls.reached());
    let certified = own::check(&form, &reached).map_err(Failure::invalid)?;
    let view = app.tls.set_own(&form, certified).map_err(Failure::internal)?;
    let text = format!("gave the console the certificate of {} (SHA-256 {})", view.subject, view.fingerprint);
    app.db.call(move |tx| db::records::audit(tx, &by.name, &text)).await?;
    Ok(axum::Json(view))
}

/// Goes back to the certificate of the server's own authority.
#[utoipa::path(delete, path = "/api/v1/settings/certificate", tag = "settings", responses(
    (status = 200, body = CertificateView)))]
pub async fn remove_certificate(State(app): State<Arc<App>>, Admin(by): Admin) -> Outcome<axum::Json<CertificateView>> {
    if app.tls.forget_own().map_err(Failure::internal)? {
        let text = "gave the console the certificate of the server's own authority again";
        app.db.call(move |tx| db::records::audit(tx, &by.name, text)).await?;
    }
    Ok(axum::Json(app.tls.shown().map_err(Failure::internal)?))
}

/// Says what is kept, and how long; what is too old goes at once.
#[utoipa::path(put, path = "/api/v1/settings/retention", tag = "settings", request_body = Retention, responses(
    (status = 200, body = Retention), (status = 422, body = Problem)))]
pub async fn set_retention(
    State(app): State<Arc<App>>,
    Admin(by): Admin,
    Json(form): Json<Retention>,
) -> Outcome<axum::Json<Retention>> {
    let problems = form.validate();
    if !problems.is_empty() {
        return Err(Failure::invalid(problems));
    }
    app.db
        .call(move |tx| {
            db::settings::set_retention(tx, &form)?;
            let days = |days: u32| if days == 0 { "for ever".to_owned() } else { format!("{days} days") };
            let text = format!(
                "keeps at most {} snapshots, snapshots {}, the audit {}",
                form.snapshots,
                days(form.snapshot_days),
                days(form.audit_days)
            );
            db::records::audit(tx, &by.name, &text)
        })
        .await?;
    sweep(&app).await?;
    Ok(axum::Json(form))
}

/// Deletes what is older than it is to be kept.
///
/// # Errors
/// The database does not work.
pub async fn sweep(app: &App) -> Outcome<()> {
    let now = db::now_ms();
    let before = move |days: u32| (days > 0).then(|| now.saturating_sub(u64::from(days) * 86_400_000));
    let retention = app.db.read(db::settings::retention).await?;
    if let Some(before) = before(retention.audit_days) {
        app.db.call(move |tx| db::records::forget_audit(tx, before)).await?;
    }
    if let Some(before) = before(retention.snapshot_days) {
        snapshots::forget(app, before).await?;
    }
    Ok(())
}
