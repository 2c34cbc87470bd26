//! `<ip>`: is an address set on this node?

use crate::drivers::interfaces;
use std::net::IpAddr;

/// One look.
pub(super) async fn look(addr: &str) -> Result<(), String> {
    let address: IpAddr = addr.parse().map_err(|_| format!("{addr} is not an address"))?;
    interfaces::holding(address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::look;

    #[tokio::test]
    async fn own_address_is_up_and_a_foreign_one_down() {
        look("127.0.0.1").await.unwrap();
        look("203.0.113.1").await.unwrap_err();
    }
}
