//! `<ip>`: is an address set on this node, and on no other machine?

use super::resolve;
use crate::drivers::vip::{address_conflict, address_present};
use std::net::IpAddr;
use std::time::Duration;

/// How long another machine may take to say that it has the address.
const PATIENCE: Duration = Duration::from_millis(300);

/// One look, at an address or a name. Every address of a name must be here; of a virtual address given by name, the one
/// that is `set`, whatever the name means meanwhile: it moves by `update` or a start, not by a change somewhere in the
/// network.
pub(super) async fn look(addr: &str, set: Option<IpAddr>) -> Result<(), String> {
    let addresses = match set {
        Some(set) => vec![set],
        None => resolve(addr).await?,
    };
    let looked = tokio::task::spawn_blocking(move || addresses.into_iter().try_for_each(look_at));
    looked.await.unwrap_or_else(|_| Err("the look was given up".to_owned()))
}

fn look_at(address: IpAddr) -> Result<(), String> {
    match address_present(address) {
        Ok(true) => {}
        Ok(false) => return Err(format!("{address} is not set on this node")),
        Err(error) => return Err(format!("the kernel does not tell its addresses: {error}")),
    }
    match address_conflict(address, PATIENCE) {
        Ok(Some(mac)) => Err(format!("another machine has {address}, too: hardware address {mac}")),
        Ok(None) => Ok(()),
        // An interface that is down is what the interface checker is for.
        Err(error) => {
            tracing::debug!(%address, "nobody can be asked: {error}");
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::look;

    #[tokio::test]
    async fn own_address_is_up_and_a_foreign_one_down() {
        look("127.0.0.1", None).await.unwrap();
        assert!(look("203.0.113.1", None).await.unwrap_err().contains("not set"));
        assert!(look("no such name", None).await.unwrap_err().contains("no such name"));
    }

    #[tokio::test]
    async fn name_of_a_virtual_address_stands_for_the_one_that_is_set() {
        look("no such name", Some("127.0.0.1".parse().unwrap())).await.unwrap();
        let gone = look("localhost", Some("203.0.113.1".parse().unwrap())).await;
        assert!(gone.unwrap_err().contains("203.0.113.1 is not set"));
    }
}
