//! As much HTTP/1.1 as the bank and the labs' polls need: bounded, with keep-alive and deadlines.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Longest head (start line and headers), in bytes.
const HEAD_MAX: u64 = 16 << 10;
/// Longest body a server reads, in bytes.
const REQUEST_BODY_MAX: usize = 64 << 10;
/// Longest body a client reads, in bytes.
const RESPONSE_BODY_MAX: usize = 256 << 20;

/// A request, as far as the bank looks at it.
#[derive(Debug)]
pub struct Request {
    /// "GET", "POST", …
    pub method: String,
    /// Path with query.
    pub path: String,
    /// Body, empty if there is none.
    pub body: Vec<u8>,
    /// The client wants the connection kept.
    pub keep: bool,
}

/// A response, as far as clients look at it.
#[derive(Debug)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// Headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
}

impl Response {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Start line and headers.
struct Head {
    start: String,
    headers: Vec<(String, String)>,
    length: Option<usize>,
    keep: bool,
}

fn invalid(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text.to_owned())
}

/// Reads a head; `None` at a clean end of the connection.
fn read_head(reader: &mut impl BufRead) -> io::Result<Option<Head>> {
    let mut limited = reader.take(HEAD_MAX);
    let mut head = Head { start: String::new(), headers: Vec::new(), length: None, keep: true };
    if limited.read_line(&mut head.start)? == 0 {
        return Ok(None);
    }
    loop {
        let mut line = String::new();
        if limited.read_line(&mut line)? == 0 {
            return Err(invalid("the head is cut off or too long"));
        }
        let line = line.trim_end();
        if line.is_empty() {
            return Ok(Some(head));
        }
        let (name, value) = line.split_once(':').ok_or_else(|| invalid("a header has no colon"))?;
        let value = value.trim();
        let name = name.to_ascii_lowercase();
        match name.as_str() {
            "content-length" => head.length = Some(value.parse().map_err(|_| invalid("Content-Length is no number"))?),
            "transfer-encoding" => return Err(invalid("Transfer-Encoding is not spoken here")),
            "connection" => head.keep = !value.eq_ignore_ascii_case("close"),
            _ => {}
        }
        head.headers.push((name, value.to_owned()));
    }
}

fn read_body(reader: &mut impl BufRead, length: usize, max: usize) -> io::Result<Vec<u8>> {
    if length > max {
        return Err(invalid("the body is too long"));
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(body)
}

/// Reads a request; `None` when the client is done.
///
/// # Errors
/// The connection broke or does not speak HTTP/1.1 within bounds.
pub fn read_request(reader: &mut impl BufRead) -> io::Result<Option<Request>> {
    let Some(head) = read_head(reader)? else {
        return Ok(None);
    };
    let mut words = head.start.split_whitespace();
    let (Some(method), Some(path), Some("HTTP/1.1" | "HTTP/1.0")) = (words.next(), words.next(), words.next()) else {
        return Err(invalid("the request line is malformed"));
    };
    let body = read_body(reader, head.length.unwrap_or(0), REQUEST_BODY_MAX)?;
    Ok(Some(Request { method: method.to_owned(), path: path.to_owned(), body, keep: head.keep }))
}

/// Writes a response.
///
/// # Errors
/// The connection broke.
pub fn write_response(stream: &mut impl Write, status: u16, kind: &str, body: &[u8]) -> io::Result<()> {
    let reason = match status {
        200 => "OK",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        409 => "Conflict",
        _ => "Internal Server Error",
    };
    let mut message =
        format!("HTTP/1.1 {status} {reason}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n", body.len())
            .into_bytes();
    message.extend_from_slice(body);
    stream.write_all(&message)?;
    stream.flush()
}

/// A client's connection, kept between requests.
#[derive(Debug)]
pub struct Client<S = TcpStream> {
    reader: BufReader<S>,
}

impl Client {
    /// Speaks over `stream`; no single read or write waits longer than `timeout`.
    ///
    /// # Errors
    /// The stream takes no options.
    pub fn new(stream: TcpStream, timeout: Duration) -> io::Result<Self> {
        stream.set_read_timeout(Some(timeout))?;
        stream.set_write_timeout(Some(timeout))?;
        stream.set_nodelay(true)?;
        Ok(Self { reader: BufReader::new(stream) })
    }
}

impl<S: Read + Write> Client<S> {
    /// Speaks over any stream, whose deadlines are the caller's.
    pub fn over(stream: S) -> Self {
        Self { reader: BufReader::new(stream) }
    }

    /// Sends a request and reads its response.
    ///
    /// # Errors
    /// The connection broke, timed out or does not speak HTTP/1.1; throw the client away.
    pub fn request(&mut self, method: &str, path: &str, body: &[u8]) -> io::Result<Response> {
        self.request_with(method, path, &[], body)
    }

    /// [`Client::request`] with further headers.
    ///
    /// # Errors
    /// The connection broke, timed out or does not speak HTTP/1.1; throw the client away.
    pub fn request_with(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<Response> {
        let mut head = format!("{method} {path} HTTP/1.1\r\nContent-Length: {}\r\n", body.len());
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            head.push_str("Host: node\r\n");
        }
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let mut message = format!("{head}\r\n").into_bytes();
        message.extend_from_slice(body);
        self.reader.get_mut().write_all(&message)?;
        let head = read_head(&mut self.reader)?.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
        let status = head.start.split_whitespace().nth(1).and_then(|word| word.parse().ok());
        let status = status.ok_or_else(|| invalid("the status line is malformed"))?;
        let body = match head.length {
            Some(length) => read_body(&mut self.reader, length, RESPONSE_BODY_MAX)?,
            None => {
                let mut body = Vec::new();
                (&mut self.reader).take(RESPONSE_BODY_MAX as u64).read_to_end(&mut body)?;
                body
            }
        };
        Ok(Response { status, headers: head.headers, body })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_with_their_bodies() {
        let mut text = &b"POST /transfer HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n"[..];
        let first = read_request(&mut text).unwrap().unwrap();
        assert_eq!(
            (first.method.as_str(), first.path.as_str(), first.body.as_slice(), first.keep),
            ("POST", "/transfer", &b"{}"[..], true)
        );
        let second = read_request(&mut text).unwrap().unwrap();
        assert_eq!((second.path.as_str(), second.keep), ("/healthz", false));
        assert!(read_request(&mut text).unwrap().is_none());
    }

    #[test]
    fn oversized_and_malformed_requests_are_errors() {
        let long = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "y".repeat(20_000));
        let big = "POST / HTTP/1.1\r\nContent-Length: 999999999999\r\n\r\n".to_owned();
        for text in [long, big, "hello\r\n\r\n".to_owned(), "GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n".to_owned()] {
            assert!(read_request(&mut text.as_bytes()).is_err(), "{}", &text[..20]);
        }
    }
}
