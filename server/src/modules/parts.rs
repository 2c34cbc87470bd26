//! The wizard's networks, addresses, checkers and witness: out of a configuration, and into it. Pure.

use holdfast_api::config::{
    CheckerKind, CheckerSettings, ModuleMode, ModuleSettings, VirtualIp, WitnessKind, WitnessSettings,
};
use holdfast_api::console::{ModuleFacts, NetworkFacts};
use holdfast_api::userconfig::{
    AddressPlace, Checker, HeartbeatLink, Mode, Probe, UserConfig, Vip, VipInterface, VirtualAddress, Witness,
};

/// Ident of a witness that the wizard made.
const WITNESS: &str = "witness";

/// The kind of a module.
pub fn mode(mode: Mode) -> ModuleMode {
    match mode {
        Mode::Mirror => ModuleMode::Mirror,
        Mode::Light => ModuleMode::Light,
    }
}

/// What consoles show of a configuration.
pub fn facts(config: &UserConfig) -> ModuleFacts {
    let network = |link: &HeartbeatLink| NetworkFacts { lan: link.lan.clone(), ident: link.ident.clone() };
    ModuleFacts {
        mode: mode(config.service.mode),
        networks: config.heart.links.iter().map(network).collect(),
        flow: flow(config),
        addresses: addresses(config.vip.as_ref()).into_iter().map(|address| address.addr).collect(),
        directories: config.rfs.as_ref().map(|rfs| rfs.directories.clone()).unwrap_or_default(),
        witness: witness(&config.witness).kind,
    }
}

/// The network of the replication; empty in a light module.
pub fn flow(config: &UserConfig) -> String {
    if config.heart.links.is_empty() { String::new() } else { config.flow_lan().to_owned() }
}

/// The virtual addresses, in one list.
pub fn addresses(vip: Option<&Vip>) -> Vec<VirtualIp> {
    let of = |interface: &VipInterface| {
        let name = interface.name.clone().unwrap_or_default();
        let one = |address: &VirtualAddress| VirtualIp {
            addr: address.addr.clone(),
            interface: name.clone(),
            prefix: address.prefix,
        };
        interface.addresses.iter().map(one).collect::<Vec<_>>()
    };
    vip.iter().flat_map(|vip| &vip.interfaces).flat_map(of).collect()
}

/// The witness.
pub fn witness(witness: &Witness) -> WitnessSettings {
    let (kind, addresses) = match witness {
        Witness::None => (WitnessKind::None, Vec::new()),
        Witness::Ping { addresses, .. } => (WitnessKind::Ping, addresses.clone()),
        Witness::Server { .. } => (WitnessKind::Register, Vec::new()),
        Witness::Etcd { endpoints, .. } => (WitnessKind::Etcd, endpoints.clone()),
    };
    WitnessSettings { kind, addresses }
}

/// A checker that the user wrote.
pub fn checker(checker: &Checker) -> CheckerSettings {
    let ms = |ms: u64| u32::try_from(ms).unwrap_or(u32::MAX);
    let blank = CheckerSettings {
        kind: CheckerKind::Tcp,
        ident: checker.ident.clone(),
        when: checker.when,
        action: checker.action,
        target: String::new(),
        port: 0,
        arg: String::new(),
        interval_ms: 0,
        timeout_ms: 0,
    };
    match checker.probe.clone() {
        Probe::Tcp { addr, port, interval_ms, timeout_ms } => {
            CheckerSettings { target: addr, port, interval_ms: ms(interval_ms), timeout_ms: ms(timeout_ms), ..blank }
        }
        Probe::Ping { addr, interval_ms, timeout_ms } => CheckerSettings {
            kind: CheckerKind::Ping,
            target: addr,
            interval_ms: ms(interval_ms),
            timeout_ms: ms(timeout_ms),
            ..blank
        },
        Probe::Intf { local_addr, .. } => {
            CheckerSettings { kind: CheckerKind::Intf, target: local_addr.unwrap_or_default(), ..blank }
        }
        Probe::Ip { addr, interval_ms } => {
            CheckerSettings { kind: CheckerKind::Ip, target: addr, interval_ms: ms(interval_ms), ..blank }
        }
        Probe::Custom { exec, arg } => CheckerSettings { kind: CheckerKind::Custom, target: exec, arg, ..blank },
        Probe::Module { name, addr, port, interval_ms, timeout_ms } => CheckerSettings {
            kind: CheckerKind::Module,
            ident: Some(checker.ident.clone())
                .filter(|ident| *ident != by_name(&name, addr.as_deref()))
                .unwrap_or_default(),
            target: name,
            port,
            arg: addr.unwrap_or_default(),
            interval_ms: ms(interval_ms),
            timeout_ms: ms(timeout_ms),
            ..blank
        },
    }
}

/// Ident of a checker of another module that was given none.
fn by_name(name: &str, addr: Option<&str>) -> String {
    addr.map_or_else(|| name.to_owned(), |addr| format!("{name}_{addr}"))
}

/// Puts into `config` what `settings` changes of `before`: a part that is as before stays as the file has it.
pub fn put(config: &mut UserConfig, settings: &ModuleSettings, before: &ModuleSettings) {
    if settings.networks != before.networks || settings.flow != before.flow {
        put_networks(config, settings);
    }
    if settings.witness != before.witness {
        config.witness = witness_of(&settings.witness, &config.witness);
    }
    let addresses_changed = settings.addresses != before.addresses;
    if addresses_changed || settings.checkers != before.checkers {
        let vip = if addresses_changed { vip_of(&settings.addresses, config.vip.as_ref()) } else { config.vip.clone() };
        let written = if settings.checkers == before.checkers {
            config.written_checkers().to_vec()
        } else {
            checkers_of(&settings.checkers, config.written_checkers())
        };
        config.set_checked(vip, written);
    }
}

fn put_networks(config: &mut UserConfig, settings: &ModuleSettings) {
    let links = &mut config.heart.links;
    links.retain(|link| settings.networks.contains(&link.lan));
    for lan in &settings.networks {
        if links.iter().all(|link| link.lan != *lan) {
            links.push(HeartbeatLink::new(lan, lan));
        }
    }
    if config.flow_lan() == settings.flow {
        return;
    }
    for link in &mut config.heart.links {
        if link.lan == settings.flow {
            link.ident = "flow".to_owned();
        } else if link.ident == "flow" {
            link.ident.clone_from(&link.lan);
        }
    }
}

fn witness_of(wanted: &WitnessSettings, old: &Witness) -> Witness {
    let ident = match old {
        Witness::None => WITNESS.to_owned(),
        Witness::Ping { ident, .. } | Witness::Server { ident } | Witness::Etcd { ident, .. } => ident.clone(),
    };
    match wanted.kind {
        WitnessKind::None => Witness::None,
        WitnessKind::Ping => Witness::Ping { ident, addresses: wanted.addresses.clone() },
        WitnessKind::Register => Witness::Server { ident },
        WitnessKind::Etcd => Witness::Etcd { ident, endpoints: wanted.addresses.clone() },
    }
}

/// Checkers that were there keep their place; new ones come last.
fn checkers_of(wanted: &[CheckerSettings], old: &[Checker]) -> Vec<Checker> {
    let made: Vec<Checker> = wanted.iter().map(checker_of).collect();
    let place = |checker: &Checker| old.iter().position(|old| old.resource() == checker.resource());
    let mut placed: Vec<(usize, Checker)> =
        made.into_iter().map(|checker| (place(&checker).unwrap_or(old.len()), checker)).collect();
    placed.sort_by_key(|(place, _)| *place);
    placed.into_iter().map(|(_, checker)| checker).collect()
}

fn checker_of(settings: &CheckerSettings) -> Checker {
    let target = settings.target.clone();
    let (interval_ms, timeout_ms) = (settings.interval_ms.into(), settings.timeout_ms.into());
    let away = Some(settings.arg.clone()).filter(|arg| !arg.is_empty());
    let probe = match settings.kind {
        CheckerKind::Tcp => Probe::Tcp { addr: target, port: settings.port, interval_ms, timeout_ms },
        CheckerKind::Ping => Probe::Ping { addr: target, interval_ms, timeout_ms },
        CheckerKind::Intf => Probe::Intf { local_addr: Some(target), interface: None },
        CheckerKind::Ip => Probe::Ip { addr: target, interval_ms },
        CheckerKind::Custom => Probe::Custom { exec: target, arg: settings.arg.clone() },
        // Of a module here, the file says neither port nor times.
        CheckerKind::Module if away.is_none() => {
            Probe::Module { name: target, addr: None, port: 9010, interval_ms: 10_000, timeout_ms: 5000 }
        }
        CheckerKind::Module => {
            Probe::Module { name: target, addr: away.clone(), port: settings.port, interval_ms, timeout_ms }
        }
    };
    let ident = match settings.kind {
        CheckerKind::Module if settings.ident.is_empty() => by_name(&settings.target, away.as_deref()),
        _ => settings.ident.clone(),
    };
    Checker { ident, when: settings.when, action: settings.action, probe }
}

/// The virtual addresses as wanted; what the wizard does not show of those that were there stays.
fn vip_of(wanted: &[VirtualIp], old: Option<&Vip>) -> Option<Vip> {
    if wanted.is_empty() {
        return None;
    }
    let before: &[VipInterface] = old.map(|vip| vip.interfaces.as_slice()).unwrap_or_default();
    let mut made: Vec<(Option<usize>, VipInterface)> = Vec::new();
    for ip in wanted {
        let name = Some(ip.interface.clone()).filter(|name| !name.is_empty());
        let place = before.iter().position(|interface| interface.addresses.iter().any(|old| old.addr == ip.addr));
        let known = place.and_then(|at| before.get(at)?.addresses.iter().find(|old| old.addr == ip.addr));
        let address = VirtualAddress {
            addr: ip.addr.clone(),
            place: known.map_or(AddressPlace::OneSideAlias, |known| known.place),
            check: known.is_none_or(|known| known.check),
            connections: known.is_some_and(|known| known.connections),
            prefix: ip.prefix,
        };
        let stays = place.filter(|at| before.get(*at).is_some_and(|old| old.name == name));
        // An interface without name is found by its address: two of them may be two interfaces.
        let same = |(from, interface): &&mut (Option<usize>, VipInterface)| {
            interface.name == name && (name.is_some() || (stays.is_some() && *from == stays))
        };
        if let Some((_, interface)) = made.iter_mut().find(same) {
            interface.addresses.push(address);
            continue;
        }
        let like = before.iter().find(|old| old.name == name && name.is_some());
        let like = like.or_else(|| place.and_then(|at| before.get(at)));
        let interface = VipInterface {
            name,
            check: like.is_none_or(|old| old.check),
            arpreroute: like.is_some_and(|old| old.arpreroute),
            arpinterval_ms: like.map_or(60_000, |old| old.arpinterval_ms),
            arpelapse_ms: like.map_or(1_200_000, |old| old.arpelapse_ms),
            addresses: vec![address],
        };
        made.push((stays, interface));
    }
    let interfaces = made.into_iter().map(|(_, interface)| interface).collect();
    Some(Vip { tcpreset: old.is_none_or(|vip| vip.tcpreset), interfaces })
}
