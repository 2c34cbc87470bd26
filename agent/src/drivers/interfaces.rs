//! The machine's network interfaces: which one holds an address, and whether its link is up.

use std::ffi::CStr;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::ptr;

/// Every address of every interface: name and address.
pub fn addresses() -> std::io::Result<Vec<(String, IpAddr)>> {
    let mut first: *mut libc::ifaddrs = ptr::null_mut();
    // SAFETY: the call writes the head of a list it has allocated, or fails and leaves it alone.
    if unsafe { libc::getifaddrs(&raw mut first) } != 0 {
        return Err(std::io::Error::last_os_error());
    }
    let mut found = Vec::new();
    let mut at = first;
    // SAFETY: `at` is null or a node of the list, which is not freed before the loop has ended; names are strings with
    // their end, and an address is as long as its family says.
    while let Some(entry) = unsafe { at.as_ref() } {
        if let Some(address) = unsafe { address_of(entry.ifa_addr) } {
            let name = unsafe { CStr::from_ptr(entry.ifa_name) };
            found.push((name.to_string_lossy().into_owned(), address));
        }
        at = entry.ifa_next;
    }
    // SAFETY: the list came from `getifaddrs`, and nothing of it is used any more.
    unsafe { libc::freeifaddrs(first) };
    Ok(found)
}

/// # Safety
/// `address` is null or a socket address as long as its family says.
unsafe fn address_of(address: *const libc::sockaddr) -> Option<IpAddr> {
    // SAFETY: as promised by the caller; reads are unaligned, since the list promises nothing about that.
    unsafe {
        if address.is_null() {
            return None;
        }
        match i32::from(ptr::read_unaligned(&raw const (*address).sa_family)) {
            libc::AF_INET => {
                let address = ptr::read_unaligned(address.cast::<libc::sockaddr_in>());
                Some(IpAddr::V4(Ipv4Addr::from(u32::from_be(address.sin_addr.s_addr))))
            }
            libc::AF_INET6 => {
                let address = ptr::read_unaligned(address.cast::<libc::sockaddr_in6>());
                Some(IpAddr::V6(Ipv6Addr::from(address.sin6_addr.s6_addr)))
            }
            _ => None,
        }
    }
}

/// Name of the interface that holds an address.
///
/// # Errors
/// In plain words: no interface holds it.
pub fn holding(address: IpAddr) -> Result<String, String> {
    let all = addresses().map_err(|error| format!("the interfaces cannot be listed: {error}"))?;
    let found = all.into_iter().find(|(_, held)| *held == address);
    found.map(|(name, _)| name).ok_or_else(|| format!("no interface of this node has the address {address}"))
}

/// Whether the link of an interface is up, as the kernel sees it below `/sys/class/net`.
///
/// # Errors
/// In plain words: it is down, and how, or there is no such interface.
pub fn link_up(sys: &Path, name: &str) -> Result<(), String> {
    let dir = sys.join(name);
    let read = |file: &str| std::fs::read_to_string(dir.join(file)).map(|text| text.trim().to_owned());
    let state = read("operstate").map_err(|_| format!("there is no interface {name}"))?;
    match state.as_str() {
        "up" => Ok(()),
        // Loopback and some virtual interfaces do not say; then the carrier does (reading it fails while it is down).
        "unknown" => match read("carrier").as_deref() {
            Ok("1") => Ok(()),
            _ => Err(format!("interface {name} has no link")),
        },
        other => Err(format!("interface {name} is {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::{addresses, holding, link_up};
    use std::path::Path;

    #[test]
    fn loopback_holds_its_address_and_is_up() {
        assert_eq!(holding("127.0.0.1".parse().unwrap()).unwrap(), "lo");
        assert!(holding("203.0.113.7".parse().unwrap()).unwrap_err().contains("203.0.113.7"));
        link_up(Path::new("/sys/class/net"), "lo").unwrap();
        assert!(link_up(Path::new("/sys/class/net"), "nothing0").unwrap_err().contains("nothing0"));
        assert!(addresses().unwrap().len() >= 1);
    }

    #[test]
    fn states_of_a_link_are_told_apart() {
        let sys = tempfile::tempdir().unwrap();
        let dir = sys.path().join("eth0");
        std::fs::create_dir(&dir).unwrap();
        let up = |operstate: &str, carrier: &str| {
            std::fs::write(dir.join("operstate"), operstate).unwrap();
            std::fs::write(dir.join("carrier"), carrier).unwrap();
            link_up(sys.path(), "eth0")
        };
        up("up\n", "1\n").unwrap();
        up("unknown\n", "1\n").unwrap();
        assert!(up("unknown\n", "0\n").is_err());
        assert!(up("lowerlayerdown\n", "0\n").unwrap_err().contains("lowerlayerdown"));
        assert!(up("down\n", "0\n").is_err());
    }
}
