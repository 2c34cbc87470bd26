//! Counts the TCP connections to virtual addresses (`connections="on"`): resource `connections.<address>`.

use super::Inbox;
use holdfast_api::resource::ResourceValue;
use holdfast_api::userconfig::Vip;
use holdfast_core::input::Input;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;
use tokio::task::JoinHandle;

/// Time between two counts.
const PERIOD: Duration = Duration::from_secs(10);
/// State "established" in the kernel's tables.
const ESTABLISHED: &str = "01";
/// Who says so.
const BY: &str = "vip";

/// The counting of one module; it ends when dropped.
#[derive(Debug)]
pub struct Connections(Option<JoinHandle<()>>);

impl Drop for Connections {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

impl Connections {
    /// Counts for the addresses that want it, for as long as the module is configured.
    pub fn start(vip: Option<&Vip>, inbox: &Inbox) -> Self {
        let interfaces = vip.into_iter().flat_map(|vip| &vip.interfaces);
        let addresses = interfaces.flat_map(|interface| &interface.addresses);
        let wanted: Vec<String> =
            addresses.filter(|address| address.connections).map(|address| address.addr.clone()).collect();
        if wanted.is_empty() {
            return Self(None);
        }
        let inbox = inbox.clone();
        Self(Some(tokio::spawn(async move {
            let mut said = BTreeMap::new();
            loop {
                for address in &wanted {
                    let count = count(address).await;
                    if said.insert(address.clone(), count) != Some(count) {
                        let (name, value) = (format!("connections.{address}"), ResourceValue::Other(count.to_string()));
                        let input = Input::ResourceSet { name, value, by: BY.to_owned() };
                        if inbox.send(input).await.is_err() {
                            return;
                        }
                    }
                }
                tokio::time::sleep(PERIOD).await;
            }
        })))
    }
}

/// Connections to an address, written as a number or as a name.
async fn count(address: &str) -> usize {
    let Ok(found) = tokio::net::lookup_host((address, 0)).await else {
        return 0;
    };
    let wanted: Vec<IpAddr> = found.map(|address| address.ip()).collect();
    let read = || ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| std::fs::read_to_string(path).unwrap_or_default());
    let tables = tokio::task::spawn_blocking(read).await.unwrap_or_default();
    tables.iter().map(|table| established(table, &wanted)).sum()
}

/// How many lines of a table of the kernel are established connections to one of the addresses.
fn established(table: &str, wanted: &[IpAddr]) -> usize {
    let to = |line: &&str| {
        let mut fields = line.split_whitespace().skip(1);
        let (local, state) = (fields.next()?, fields.nth(1)?);
        let address = address(local.split_once(':')?.0)?;
        Some(state == ESTABLISHED && wanted.contains(&address))
    };
    table.lines().skip(1).filter(|line| to(line) == Some(true)).count()
}

/// An address as the kernel's tables write it: words of 32 bits in the machine's order. IPv4 in IPv6 is IPv4.
fn address(digits: &str) -> Option<IpAddr> {
    let words = digits.as_bytes().chunks(8).map(|word| {
        let word = std::str::from_utf8(word).ok().filter(|word| word.len() == 8)?;
        u32::from_str_radix(word, 16).ok().map(u32::to_ne_bytes)
    });
    let bytes = words.collect::<Option<Vec<_>>>()?.concat();
    if let Ok(four) = <[u8; 4]>::try_from(bytes.as_slice()) {
        return Some(Ipv4Addr::from(four).into());
    }
    Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).to_canonical())
}

#[cfg(test)]
mod tests {
    use super::count;
    use std::net::{TcpListener, TcpStream};

    #[tokio::test]
    async fn established_connections_to_the_address_alone_are_counted() {
        for (mine, other) in [("127.3.2.1", "127.3.2.2"), ("::1", "127.3.2.2")] {
            let (listener, elsewhere) = (TcpListener::bind((mine, 0)).unwrap(), TcpListener::bind((other, 0)).unwrap());
            let before = count(mine).await;
            let clients: Vec<_> = (0..3).map(|_| TcpStream::connect(listener.local_addr().unwrap()).unwrap()).collect();
            let _other = TcpStream::connect(elsewhere.local_addr().unwrap()).unwrap();
            let accepted: Vec<_> = (0..3).map(|_| listener.accept().unwrap()).collect();
            // Both ends of a connection from ::1 to itself are on it.
            let from_itself = clients
                .iter()
                .filter(|client| client.local_addr().unwrap().ip() == listener.local_addr().unwrap().ip())
                .count();
            assert_eq!(count(mine).await - before, accepted.len() + from_itself, "{mine}");
        }
    }
}
