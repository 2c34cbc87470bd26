//! Port 9010: the health URL for load balancers, and the node's own read-only page of its states; the console, if the
//! server wants it served over plain http.

pub mod console;

use crate::complaint::Complaint;
use crate::report::Reports;
use console::Console;
use holdfast_api::agent::NodeModuleReport;
use http_body_util::{BodyExt, Empty, Full, combinators::BoxBody};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

const CONNECTIONS_MAX: usize = 256;
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(60);
/// One that carried a request to the console: long downloads come to their end.
const CONSOLE_TIMEOUT: Duration = Duration::from_secs(3600);

/// The node's own page, also where `/` is the console.
const PAGE: &str = "/node";

/// Accepting fails when file descriptors or memory are short: it waits for some to come free.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

type Body = BoxBody<Bytes, hyper::Error>;

/// Serves for ever.
pub async fn serve(listener: TcpListener, reports: Reports, console: Console) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut complaint = Complaint::default();
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
            return;
        };
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                if complaint.is_new(&error) {
                    tracing::warn!("the health port takes no connection ({error}); it is tried until it does");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        if complaint.is_over() {
            tracing::info!("the health port takes connections again");
        }
        let (reports, console) = (reports.clone(), console.clone());
        tokio::spawn(async move {
            let _slot = slot;
            serve_one(stream, peer, reports, console).await;
        });
    }
}

/// Serves one connection to its end.
async fn serve_one(stream: TcpStream, peer: SocketAddr, reports: Reports, console: Console) {
    if let Err(error) = console::watched(&stream) {
        tracing::debug!("a connection to the health port: {error}");
        return;
    }
    let carried = Arc::new(AtomicBool::new(false));
    let service = service_fn(|request| {
        let (reports, console, carried) = (reports.clone(), console.clone(), Arc::clone(&carried));
        async move { Ok::<_, Infallible>(answer(request, peer, &reports, &console, &carried).await) }
    });
    let mut server = hyper::server::conn::http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(16 * 1024);
    let connection = server.serve_connection(TokioIo::new(stream), service).with_upgrades();
    tokio::pin!(connection);
    if tokio::time::timeout(CONNECTION_TIMEOUT, &mut connection).await.is_err() && carried.load(Ordering::Relaxed) {
        let _ = tokio::time::timeout(CONSOLE_TIMEOUT, connection).await;
    }
}

/// Answers a request. The health URL and the node's own page are this node's whatever happens; the rest is the console's,
/// if that is served here.
async fn answer(
    request: Request<Incoming>,
    peer: SocketAddr,
    reports: &Reports,
    console: &Console,
    carried: &AtomicBool,
) -> Response<Body> {
    let path = request.uri().path();
    let own = path.starts_with("/var/") || path == PAGE;
    if own || !console.is_open() {
        return answer_self(&request, reports);
    }
    carried.store(true, Ordering::Relaxed);
    match console.carry(request, peer).await {
        Ok(response) => response.map(BodyExt::boxed),
        Err((status, why)) => text(status, &format!("{why}; this node's own page is {PAGE}\n"), false),
    }
}

fn answer_self(request: &Request<Incoming>, reports: &Reports) -> Response<Body> {
    let head = *request.method() == Method::HEAD;
    if !head && *request.method() != Method::GET {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only GET is answered here\n", false);
    }
    let path = request.uri().path();
    let module = path.strip_prefix("/var/modules/").and_then(|rest| rest.strip_suffix("/ready.txt"));
    match (path, module) {
        (_, Some(module)) if reports.healthy(module) => text(StatusCode::OK, "OK", head),
        (_, Some(_)) => text(StatusCode::NOT_FOUND, "NOT FOUND", head),
        ("/" | PAGE, _) => page(&reports.node(), &reports.all(), head),
        _ => text(StatusCode::NOT_FOUND, "NOT FOUND", head),
    }
}

fn respond(status: StatusCode, kind: &'static str, body: String, head: bool) -> Response<Body> {
    let body = if head {
        Empty::new().map_err(|never| match never {}).boxed()
    } else {
        Full::new(Bytes::from(body)).map_err(|never| match never {}).boxed()
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, hyper::header::HeaderValue::from_static("no-store"));
    let policy = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'";
    headers.insert(CONTENT_SECURITY_POLICY, hyper::header::HeaderValue::from_static(policy));
    response
}

fn text(status: StatusCode, text: &str, head: bool) -> Response<Body> {
    respond(status, "text/plain; charset=utf-8", text.to_owned(), head)
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c => out.push(c),
        }
    }
    out
}

fn page(node: &str, reports: &[NodeModuleReport], head: bool) -> Response<Body> {
    respond(StatusCode::OK, "text/html; charset=utf-8", html(node, reports), head)
}

/// The command that an operator most likely wants next.
fn suggestion(report: &NodeModuleReport) -> String {
    use holdfast_api::state::ModuleState as S;
    let verb = match report.state {
        S::Stop => "start",
        S::Prim => "swap",
        S::Wait | S::Alone | S::Second | S::Up => "log",
    };
    format!("holdfast {verb} -m {}", report.module)
}

fn html(node: &str, reports: &[NodeModuleReport]) -> String {
    let mut out = String::from(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta http-equiv=\"refresh\" content=\"5\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>Holdfast node</title><style>\
         :root{color-scheme:light dark}body{font:1rem/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem}\
         table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.4rem .8rem;border-bottom:1px solid #8886;\
         vertical-align:top}code{font-family:ui-monospace,monospace}</style>",
    );
    let _ =
        write!(out, "<h1>{}</h1><p>This node's own view; it needs no server and changes nothing.</p>", escape(node));
    if reports.is_empty() {
        out.push_str("<p>No module is configured. Next: <code>holdfast module install</code>, or the console.</p>");
        return out;
    }
    out.push_str("<table><thead><tr><th>Module<th>State<th>Why<th>Data<th>Other node<th>Command</thead><tbody>");
    for report in reports {
        let why = report.waiting_for.as_deref().unwrap_or(&report.detail);
        let peer = match &report.peer {
            Some(peer) if peer.heard => format!("{}: {} {}", peer.node, peer.state, peer.readiness),
            Some(peer) => format!("{}: not heard", peer.node),
            None => "never heard".to_owned(),
        };
        let _ = write!(
            out,
            "<tr><th scope=\"row\">{}<td>{} {}<td>{}<td>{}<td>{}<td><code>{}</code>",
            escape(&report.module),
            report.state,
            report.readiness,
            escape(why),
            report.data,
            escape(&peer),
            escape(&suggestion(report)),
        );
    }
    out.push_str("</tbody></table>");
    out
}

#[cfg(test)]
mod tests {
    use super::console::Console;
    use super::{html, serve};
    use crate::report::{Reports, blank};
    use holdfast_api::ids::ModuleId;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    async fn get(address: std::net::SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    }

    #[tokio::test]
    async fn health_is_200_only_for_a_ready_module() {
        let reports = Reports::new("node1");
        reports.set(blank("mirror", ModuleId(1), "node1", 1, "stopped"), false);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve(listener, reports.clone(), Console::default()));
        let url = "GET /var/modules/mirror/ready.txt HTTP/1.0\r\n\r\n";
        assert!(get(address, url).await.starts_with("HTTP/1.0 404"));
        reports.set(blank("mirror", ModuleId(1), "node1", 1, "ready"), true);
        let answer = get(address, url).await;
        assert!(answer.starts_with("HTTP/1.0 200") && answer.ends_with("\r\n\r\nOK"), "{answer}");
        assert!(get(address, "GET /var/modules/other/ready.txt HTTP/1.0\r\n\r\n").await.starts_with("HTTP/1.0 404"));
        assert!(get(address, "POST / HTTP/1.0\r\n\r\n").await.starts_with("HTTP/1.0 405"));
        for page in ["/", "/node"] {
            assert!(get(address, &format!("GET {page} HTTP/1.0\r\n\r\n")).await.contains("mirror"), "{page}");
        }
        assert!(get(address, "nonsense\r\n\r\n").await.contains("400"));
    }

    #[test]
    fn page_escapes_what_it_shows() {
        let report = blank("mirror", ModuleId(1), "node1", 1, "<script>alert(1)</script>");
        let page = html("node<1>", &[report]);
        assert!(!page.contains("<script>") && page.contains("node&lt;1&gt;"));
    }
}
