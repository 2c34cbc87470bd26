//! `<tcp>`: can a connection be made?

use std::time::Duration;
use tokio::net::TcpStream;

/// One look: connects and closes again. A name may have several addresses: one must answer.
pub(super) async fn look(addr: &str, port: u16, timeout: Duration) -> Result<(), String> {
    match tokio::time::timeout(timeout, TcpStream::connect((addr, port))).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(format!("{addr} port {port}: {error}")),
        Err(_) => Err(format!("{addr} port {port} does not answer within {} ms", timeout.as_millis())),
    }
}

#[cfg(test)]
mod tests {
    use super::look;
    use std::time::Duration;

    #[tokio::test]
    async fn listener_is_up_and_a_closed_port_is_down_with_its_reason() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        look("127.0.0.1", port, Duration::from_secs(20)).await.unwrap();
        look("localhost", port, Duration::from_secs(20)).await.unwrap();
        drop(listener);
        let reason = look("127.0.0.1", port, Duration::from_secs(20)).await.unwrap_err();
        assert!(reason.contains(&port.to_string()) && reason.contains("refused"), "{reason}");
    }

    #[tokio::test]
    async fn listener_that_takes_no_more_connections_is_down() {
        let listener =
            rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::STREAM, None).unwrap();
        let any = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
        rustix::net::bind(&listener, &any).unwrap();
        rustix::net::listen(&listener, 0).unwrap();
        let address: std::net::SocketAddr = rustix::net::getsockname(&listener).unwrap().try_into().unwrap();
        // Fills the queue of connections that nobody takes.
        let mut held = Vec::new();
        let reason = loop {
            assert!(held.len() < 10, "the queue has no end");
            match look("127.0.0.1", address.port(), Duration::from_millis(500)).await {
                Ok(()) => held.push(std::net::TcpStream::connect_timeout(&address, Duration::from_secs(1))),
                Err(reason) => break reason,
            }
        };
        assert!(reason.contains("does not answer within 500 ms"), "{reason}");
    }
}
