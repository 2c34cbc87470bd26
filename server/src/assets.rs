//! Serves the console: precompressed files, immutable below `assets/<hash>/`, the page itself for every other path.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::borrow::Cow;
use std::path::PathBuf;

include!(concat!(env!("OUT_DIR"), "/embedded.rs"));

/// Shown when no console was built.
const FALLBACK: &str = "<!DOCTYPE html><html lang=en><meta charset=utf-8><title>Holdfast</title>\
<h1>Holdfast</h1><p>This server was built without its console. Build it with <code>cargo xtask console</code> and start \
the server with <code>--console-dir</code>, or use the <a href=/api/v1/openapi.json>REST interface</a>.</p>";

/// Security headers of every answer.
const HEADERS: &[(&str, &str)] = &[
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' data:; \
         font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("x-frame-options", "DENY"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("permissions-policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
];

/// Adds the security headers to an answer.
pub fn secure(headers: &mut HeaderMap) {
    for (name, value) in HEADERS {
        headers.insert(*name, HeaderValue::from_static(value));
    }
}

/// Where the console's files are.
pub struct Console {
    folder: Option<PathBuf>,
}

impl Console {
    /// `folder`: read from there at each request; otherwise the built-in files, or else the folder `console` beside the
    /// program.
    pub fn new(folder: Option<PathBuf>) -> Self {
        let beside = || {
            let folder = std::env::current_exe().ok()?.parent()?.join("console");
            folder.join("index.html").is_file().then_some(folder)
        };
        let folder = folder.or_else(|| if CONSOLE.is_empty() { beside() } else { None });
        Self { folder }
    }

    /// A file of the console; the path has no leading slash.
    fn file(&self, path: &str) -> Option<Cow<'static, [u8]>> {
        match &self.folder {
            Some(folder) => std::fs::read(folder.join(path)).ok().map(Cow::Owned),
            None => CONSOLE.iter().find(|(name, _)| *name == path).map(|(_, bytes)| Cow::Borrowed(*bytes)),
        }
    }

    /// The folder `<hash>` of `assets/<hash>/` that the page uses; empty without console.
    pub fn build(&self) -> String {
        let page = self.file("index.html").unwrap_or_default();
        let page = String::from_utf8_lossy(&page);
        let hash = page.split_once("assets/").and_then(|(_, rest)| rest.split_once('/')).map(|(hash, _)| hash);
        hash.filter(|hash| hash.len() <= 64 && is_plain(hash)).unwrap_or_default().to_owned()
    }

    /// Answers a request outside `/api`.
    pub fn respond(&self, method: &Method, path: &str, headers: &HeaderMap) -> Response {
        if !matches!(*method, Method::GET | Method::HEAD) {
            return StatusCode::METHOD_NOT_ALLOWED.into_response();
        }
        let path = path.trim_start_matches('/');
        let plain = !path.is_empty() && path.split('/').all(is_plain);
        let asset = path.starts_with("assets/");
        if plain && let Some(found) = self.negotiated(path, headers) {
            return found;
        }
        if asset {
            return StatusCode::NOT_FOUND.into_response();
        }
        self.negotiated("index.html", headers).unwrap_or_else(|| {
            ([(header::CONTENT_TYPE, "text/html; charset=utf-8"), (header::CACHE_CONTROL, "no-cache")], FALLBACK)
                .into_response()
        })
    }

    /// A file in the best encoding that the browser takes.
    fn negotiated(&self, path: &str, headers: &HeaderMap) -> Option<Response> {
        if path.ends_with(".br") || path.ends_with(".gz") {
            return None;
        }
        let accepted = headers.get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let takes = |encoding: &str| {
            accepted.split(',').any(|part| {
                let mut fields = part.split(';').map(str::trim);
                fields.next() == Some(encoding) && !fields.any(|field| field == "q=0")
            })
        };
        let encodings = [("br", "br"), ("gzip", "gz")];
        let compressed = encodings.iter().find_map(|(encoding, suffix)| {
            let bytes = takes(encoding).then(|| self.file(&format!("{path}.{suffix}")))??;
            Some((bytes, Some(*encoding)))
        });
        let (bytes, encoding) = compressed.or_else(|| self.file(path).map(|bytes| (bytes, None)))?;
        let mut response = Response::new(match bytes {
            Cow::Borrowed(bytes) => Body::from(bytes),
            Cow::Owned(bytes) => Body::from(bytes),
        });
        let out = response.headers_mut();
        out.insert(header::CONTENT_TYPE, HeaderValue::from_static(mime(path)));
        out.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
        let hashed = path.starts_with("assets/");
        let cache = if hashed { "public, max-age=31536000, immutable" } else { "no-cache" };
        out.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
        if let Some(encoding) = encoding {
            out.insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
        }
        Some(response)
    }
}

/// A path part that cannot leave the folder.
fn is_plain(part: &str) -> bool {
    !part.is_empty()
        && !part.starts_with('.')
        && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

fn mime(path: &str) -> &'static str {
    match path.rsplit('.').next().unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "wasm" => "application/wasm",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "json" | "map" | "webmanifest" => "application/json",
        "txt" => "text/plain; charset=utf-8",
        "woff2" => "font/woff2",
        _ => "application/octet-stream",
    }
}

/// Files of a module template that is part of this program: path in the module, bytes, may be run.
pub fn template(name: &str) -> Vec<(&'static str, &'static [u8], bool)> {
    let files = TEMPLATES.iter().filter(|(template, ..)| *template == name);
    files.map(|(_, path, bytes, executable)| (*path, *bytes, *executable)).collect()
}

/// Names of the module templates.
pub fn templates() -> Vec<&'static str> {
    let mut names: Vec<_> = TEMPLATES.iter().map(|(name, ..)| *name).collect();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn console() -> (tempfile::TempDir, Console) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("assets/abc")).unwrap();
        std::fs::write(folder.path().join("index.html"), "<script src=/assets/abc/boot.js>").unwrap();
        std::fs::write(folder.path().join("assets/abc/app.js"), "plain").unwrap();
        std::fs::write(folder.path().join("assets/abc/app.js.br"), "brotli").unwrap();
        let console = Console::new(Some(folder.path().to_owned()));
        (folder, console)
    }

    fn get(console: &Console, path: &str, encoding: &'static str) -> Response {
        let headers = HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_static(encoding))]);
        console.respond(&Method::GET, path, &headers)
    }

    #[test]
    fn assets_are_immutable_and_compressed_when_the_browser_takes_it() {
        let (_folder, console) = console();
        assert_eq!(console.build(), "abc");
        let response = get(&console, "/assets/abc/app.js", "gzip, br");
        assert_eq!(response.headers()[header::CONTENT_ENCODING], "br");
        assert!(response.headers()[header::CACHE_CONTROL].to_str().unwrap().contains("immutable"));
        assert_eq!(response.headers()[header::CONTENT_TYPE], "text/javascript; charset=utf-8");
        let plain = get(&console, "/assets/abc/app.js", "gzip, br;q=0");
        assert!(plain.headers().get(header::CONTENT_ENCODING).is_none());
    }

    #[test]
    fn any_other_path_is_the_page_but_a_missing_asset_is_not() {
        let (_folder, console) = console();
        for path in ["/", "/control/mirror", "/setup", "/../../etc/passwd", "/%2e%2e/x"] {
            let response = get(&console, path, "");
            assert_eq!(response.headers()[header::CACHE_CONTROL], "no-cache", "{path}");
            assert_eq!(response.headers()[header::CONTENT_TYPE], "text/html; charset=utf-8", "{path}");
        }
        assert_eq!(get(&console, "/assets/old/app.js", "").status(), StatusCode::NOT_FOUND);
        assert_eq!(get(&console, "/assets/../index.html", "").status(), StatusCode::NOT_FOUND);
        assert_eq!(console.respond(&Method::POST, "/", &HeaderMap::new()).status(), StatusCode::METHOD_NOT_ALLOWED);
    }

    #[test]
    fn without_a_console_the_page_says_how_to_build_it() {
        let console = Console { folder: Some("/nonexistent".into()) };
        assert_eq!(get(&console, "/", "").status(), StatusCode::OK);
    }
}
