//! The elements that are written as a whole when they change: `<vip>`, a checker, the witness.

use super::super::define::{SECOND, show_ms};
use super::super::{AddressPlace, CheckAction, Checker, Probe, Vip, VipInterface, VirtualAddress, When, Witness};
use super::splice::{element, element_with};

/// Time between two looks, if the file does not say.
const INTERVAL_MS: u64 = 10 * SECOND;
/// Longest time for an answer, if the file does not say.
const TIMEOUT_MS: u64 = 5 * SECOND;
/// Port of the health page, if the file does not say.
const HEALTH_PORT: u16 = 9010;

/// `<vip>`.
pub(super) fn vip(vip: &Vip) -> String {
    let interfaces: Vec<String> = vip.interfaces.iter().map(interface).collect();
    let list = element_with("interface_list", &[], &interfaces);
    element_with("vip", &[("tcpreset", (!vip.tcpreset).then(|| "off".to_owned()))], &[list])
}

fn interface(interface: &VipInterface) -> String {
    let other = |ms: u64, preset_s: u64| (ms != preset_s * SECOND).then(|| show_ms(ms));
    let attributes = [
        ("name", interface.name.clone()),
        ("check", (!interface.check).then(|| "off".to_owned())),
        ("arpreroute", interface.arpreroute.then(|| "on".to_owned())),
        ("arpinterval", other(interface.arpinterval_ms, 60)),
        ("arpelapse", other(interface.arpelapse_ms, 1200)),
    ];
    let addresses: Vec<String> = interface.addresses.iter().map(address).collect();
    element_with("interface", &attributes, &[element_with("real_interface", &[], &addresses)])
}

fn address(address: &VirtualAddress) -> String {
    let attributes = [
        ("addr", Some(address.addr.clone())),
        ("netmask", address.prefix.map(|prefix| prefix.to_string())),
        ("where", (address.place == AddressPlace::OneSide).then(|| "one_side".to_owned())),
        ("check", (!address.check).then(|| "off".to_owned())),
        ("connections", address.connections.then(|| "on".to_owned())),
    ];
    element("virtual_addr", &attributes)
}

/// A checker that the user wrote.
pub(super) fn checker(checker: &Checker) -> String {
    let times = |interval_ms: u64, timeout_ms: Option<u64>| {
        let timeout = timeout_ms.filter(|ms| *ms != TIMEOUT_MS).map(show_ms);
        [("interval", (interval_ms != INTERVAL_MS).then(|| show_ms(interval_ms))), ("timeout", timeout)]
    };
    let to = |first: &[(&'static str, Option<String>)], rest: [(&'static str, Option<String>); 2]| {
        vec![element("to", &first.iter().cloned().chain(rest).collect::<Vec<_>>())]
    };
    let ident = ("ident", Some(checker.ident.clone()));
    let when = ("when", Some(checker.when.as_str().to_owned()));
    let preset = if checker.when == When::Pre { CheckAction::Wait } else { CheckAction::Restart };
    let action =
        |preset: CheckAction| ("action", (checker.action != preset).then(|| checker.action.as_str().to_owned()));
    match &checker.probe {
        Probe::Tcp { addr, port, interval_ms, timeout_ms } => {
            let first = [("addr", Some(addr.clone())), ("port", Some(port.to_string()))];
            element_with("tcp", &[ident, when, action(preset)], &to(&first, times(*interval_ms, Some(*timeout_ms))))
        }
        Probe::Ping { addr, interval_ms, timeout_ms } => {
            let first = [("addr", Some(addr.clone()))];
            element_with("ping", &[ident, when, action(preset)], &to(&first, times(*interval_ms, Some(*timeout_ms))))
        }
        Probe::Intf { local_addr, .. } => {
            element_with("intf", &[ident], &[element("to", &[("local_addr", local_addr.clone())])])
        }
        Probe::Ip { addr, interval_ms } => {
            let first = [("addr", Some(addr.clone()))];
            element_with("ip", &[ident, when], &to(&first, times(*interval_ms, None)))
        }
        Probe::Custom { exec, arg } => {
            let program = ("exec", Some(exec.clone()));
            let arg = ("arg", Some(arg.clone()).filter(|arg| !arg.is_empty()));
            element("custom", &[ident, when, program, arg, action(CheckAction::NoAction)])
        }
        Probe::Module { name, addr, port, interval_ms, timeout_ms } => {
            let by_name = addr.as_ref().map_or_else(|| name.clone(), |addr| format!("{name}_{addr}"));
            let ident = ("ident", Some(checker.ident.clone()).filter(|ident| *ident != by_name));
            let attributes = [("name", Some(name.clone())), ident];
            let Some(addr) = addr else { return element("module", &attributes) };
            let port = ("port", (*port != HEALTH_PORT).then(|| port.to_string()));
            let first = [("addr", Some(addr.clone())), port];
            element_with("module", &attributes, &to(&first, times(*interval_ms, Some(*timeout_ms))))
        }
    }
}

/// `<splitbrain>`; nothing without a witness.
pub(super) fn splitbrain(witness: &Witness) -> Option<String> {
    let (ident, exec, asked) = match witness {
        Witness::None => return None,
        Witness::Ping { ident, addresses } => (ident, "ping", addresses.join(" ")),
        Witness::Server { ident } => (ident, "register", String::new()),
        Witness::Etcd { ident, endpoints } => (ident, "etcd", endpoints.join(" ")),
    };
    let attributes = [
        ("ident", Some(ident.clone())),
        ("exec", Some(exec.to_owned())),
        ("arg", Some(asked).filter(|asked| !asked.is_empty())),
    ];
    Some(element("splitbrain", &attributes))
}
