//! `<ip>`: is an address set on this node, and on no other machine?

use super::resolve;
use crate::drivers::vip::{address_conflict, address_present};
use std::net::IpAddr;
use std::time::Duration;

/// How long another machine may take to say that it has the address.
const PATIENCE: Duration = Duration::from_millis(300);

/// One look, at an address or a name; every address of a name must be here.
pub(super) async fn look(addr: &str) -> Result<(), String> {
    let addresses = resolve(addr).await?;
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
        look("127.0.0.1").await.unwrap();
        assert!(look("203.0.113.1").await.unwrap_err().contains("not set"));
        assert!(look("no such name").await.unwrap_err().contains("no such name"));
    }
}
