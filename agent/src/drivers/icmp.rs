//! ICMP echo: does an address answer? For the ping checkers and the ping witness.

use futures_util::future::select_ok;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use surge_ping::{Client, Config, ICMP, IcmpPacket, PingIdentifier, PingSequence};
use tokio::net::lookup_host;

/// As many bytes as other programs of this kind send: a path that loses ordinary packets is no path.
const PAYLOAD: [u8; 56] = [b'h'; 56];
/// Types of an echo reply; whatever else comes back is the network saying why there is none.
const REPLY_V4: u8 = 0;
const REPLY_V6: u8 = 129;

/// Whether `host` (an IPv4 or IPv6 address, or a name) answers one echo request within `limit`. Of a name with several
/// addresses, one must answer.
///
/// # Errors
/// In plain words: no answer in time, what the network said, or that this process may not send ICMP.
pub async fn answers(host: &str, limit: Duration) -> Result<(), String> {
    let late = || format!("{host} does not answer within {} ms", limit.as_millis());
    let asked = async {
        let found = lookup_host((host, 0)).await;
        let found = found.map_err(|error| format!("{host} is neither an address nor a known name: {error}"))?;
        let echoes: Vec<_> = found.map(|address| Box::pin(echo(address))).collect();
        if echoes.is_empty() {
            return Err(format!("{host} has no address"));
        }
        let answered = select_ok(echoes).await;
        answered.map(|_| ()).map_err(|reason| format!("{host}: {reason}"))
    };
    tokio::time::timeout(limit, asked).await.unwrap_or_else(|_| Err(late()))
}

/// One request to one address, on a socket of its own; waits for as long as it is left to.
async fn echo(address: SocketAddr) -> Result<(), String> {
    let kind = if address.is_ipv4() { ICMP::V4 } else { ICMP::V6 };
    let client = Client::new(&Config::builder().kind(kind).build())
        .map_err(|error| format!("this process may not send ICMP ({error}): run the agent as root"))?;
    // A raw socket sees the answers to everybody's requests.
    let mut number = [0; 2];
    getrandom::fill(&mut number).map_err(|error| format!("no randomness: {error}"))?;
    let mut pinger = client.pinger(address.ip(), PingIdentifier(u16::from_ne_bytes(number))).await;
    pinger.timeout(Duration::MAX);
    if let SocketAddr::V6(address) = address {
        pinger.scope_id(address.scope_id());
    }
    match pinger.ping(PingSequence(0), &PAYLOAD).await {
        Ok((packet, _)) => reply(&packet),
        Err(error) => Err(error.to_string()),
    }
}

fn reply(packet: &IcmpPacket) -> Result<(), String> {
    let (kind, code, from, is_reply) = match packet {
        IcmpPacket::V4(packet) => {
            let kind = packet.get_icmp_type().0;
            (kind, packet.get_icmp_code().0, IpAddr::V4(packet.get_source()), kind == REPLY_V4)
        }
        IcmpPacket::V6(packet) => {
            let kind = packet.get_icmpv6_type().0;
            (kind, packet.get_icmpv6_code().0, IpAddr::V6(packet.get_source()), kind == REPLY_V6)
        }
    };
    if is_reply { Ok(()) } else { Err(format!("not reached, says {from} (ICMP type {kind}, code {code})")) }
}

#[cfg(test)]
mod tests {
    use super::answers;
    use std::time::Duration;

    const PATIENCE: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn loopback_answers_over_both_families_and_by_name() {
        answers("127.0.0.1", PATIENCE).await.unwrap();
        answers("localhost", PATIENCE).await.unwrap();
        if std::fs::read_to_string("/proc/net/if_inet6").is_ok_and(|text| text.contains("lo")) {
            answers("::1", PATIENCE).await.unwrap();
        }
    }

    #[tokio::test]
    async fn many_requests_at_once_each_get_their_own_answer() {
        let all = (1..=50).map(|last| async move { answers(&format!("127.0.0.{last}"), PATIENCE).await });
        for answer in futures_util::future::join_all(all).await {
            answer.unwrap();
        }
    }

    #[tokio::test]
    async fn what_cannot_answer_is_named_with_the_reason() {
        // A broadcast address is nobody's, and the kernel says so.
        let nobody = answers("127.255.255.255", PATIENCE).await.unwrap_err();
        assert!(nobody.contains("127.255.255.255"), "{nobody}");
        let unknown = answers("no such name", PATIENCE).await.unwrap_err();
        assert!(unknown.contains("no such name"), "{unknown}");
    }
}
