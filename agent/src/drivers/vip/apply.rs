//! Sets all addresses of a module, or none.

use super::netlink::{Inventory, add};
use super::plan::{Planned, plan};
use super::probe::{Holder, Neighbours};
use super::record::{Entry, Record};
use super::{Setting, source};
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

/// An address that was set, and how often it is announced again.
#[derive(Clone, Debug)]
pub struct Announced {
    /// The address.
    pub addr: IpAddr,
    /// Who is told.
    pub neighbours: Arc<Neighbours>,
    /// Time between two announcements, and how long they go on; `None`: not again.
    pub repeat: Option<(Duration, Duration)>,
}

/// Neighbours and the planned addresses that are theirs.
type Group = (Arc<Neighbours>, Vec<IpAddr>);

/// Sets every address; what there is to announce again.
///
/// # Errors
/// The first address that cannot be set, why, and what to do; those that were set are released again.
pub fn set(setting: &Setting, holder: Holder) -> Result<Vec<Announced>, String> {
    let record = setting.record();
    let planned = plan_all(setting)?;
    if planned.is_empty() {
        return Ok(Vec::new());
    }
    let groups = groups(&planned)?;
    set_all(setting, &record, &planned, &groups, holder, &[])?;
    Ok(announce_all(setting, &planned, &groups))
}

/// What a change of the configuration, or of what names mean, has brought about.
#[derive(Debug)]
pub struct Renewed {
    /// What there is to announce again.
    pub announced: Vec<Announced>,
    /// Addresses that are set now and were not.
    pub new: Vec<IpAddr>,
    /// Addresses that are gone.
    pub gone: Vec<IpAddr>,
}

/// Sets what is new and takes away what is wanted no more; what stays is not touched for a moment.
///
/// # Errors
/// Why something new cannot be set: then everything is as it was. Or what could not be taken away.
pub fn renew(setting: &Setting) -> Result<Renewed, String> {
    let record = setting.record();
    let before = record.entries().map_err(|error| format!("what is set is not known: {error:#}"))?;
    let before: Vec<IpAddr> = before.into_iter().map(|entry| entry.addr).collect();
    let planned = plan_all(setting)?;
    let new: Vec<_> = planned.iter().filter(|(_, planned)| !planned.present).cloned().collect();
    set_all(setting, &record, &planned, &groups(&new)?, Holder::Unknown, &before)?;
    let wanted: Vec<IpAddr> = planned.iter().map(|(_, planned)| planned.addr()).collect();
    let gone = record.release_but(&wanted).map_err(|error| format!("an address cannot be taken away: {error:#}"))?;
    let announced = announce_all(setting, &planned, &groups(&planned)?);
    Ok(Renewed { announced, new: new.iter().map(|(_, planned)| planned.addr()).collect(), gone })
}

/// Sets all of them once nobody has those that are `asked` for; if one cannot be set, only `before` stay.
fn set_all(
    setting: &Setting,
    record: &Record,
    planned: &[(usize, Planned)],
    asked: &[Group],
    holder: Holder,
    before: &[IpAddr],
) -> Result<(), String> {
    let done = demand_free(asked, holder).and_then(|()| {
        write_down(setting, record, planned)?;
        planned.iter().try_for_each(|(_, planned)| place(planned))
    });
    done.map_err(|reason| match record.release_but(before) {
        Ok(_) => reason,
        Err(error) => format!("{reason}; nor can what was set be released: {error:#}"),
    })
}

/// Each address with the number of its `<interface>`.
fn plan_all(setting: &Setting) -> Result<Vec<(usize, Planned)>, String> {
    let inventory = Inventory::read().map_err(|error| format!("the kernel does not list its addresses: {error}"))?;
    let mut planned = Vec::new();
    for (number, interface) in setting.vip.interfaces.iter().enumerate() {
        for address in &interface.addresses {
            let addr = resolve(&address.addr)?;
            planned.push((number, plan(setting.id, interface, address, addr, &inventory)?));
        }
    }
    Ok(planned)
}

fn resolve(written: &str) -> Result<IpAddr, String> {
    if let Ok(addr) = written.parse() {
        return Ok(addr);
    }
    let mut found = (written, 0)
        .to_socket_addrs()
        .map_err(|error| format!("the name {written} has no address ({error}): correct it or write the address"))?;
    let first = found.next().ok_or_else(|| format!("the name {written} has no address: write the address"))?;
    Ok(first.ip())
}

/// The addresses by whom they are asked of and announced to; those without neighbours are left out.
fn groups(planned: &[(usize, Planned)]) -> Result<Vec<Group>, String> {
    let mut groups: Vec<Group> = Vec::new();
    for (_, planned) in planned {
        let (interface, addr) = (&planned.interface, planned.addr());
        if let Some((_, addresses)) = groups.iter_mut().find(|(known, _)| known.are_those_of(interface, addr)) {
            addresses.push(addr);
            continue;
        }
        let neighbours = Neighbours::of(interface, addr)
            .map_err(|error| format!("{} cannot be asked who has {addr}: {error}", interface.name))?;
        groups.extend(neighbours.map(|neighbours| (Arc::new(neighbours), vec![addr])));
    }
    Ok(groups)
}

/// Nobody else has any of them. All are asked at the same time: a failover waits once.
fn demand_free(groups: &[Group], holder: Holder) -> Result<(), String> {
    let ask = |(neighbours, addresses): &Group| {
        let name = neighbours.interface();
        match neighbours.conflict(addresses, holder.patience()) {
            Ok(None) => Ok(()),
            Ok(Some((addr, mac))) => Err(format!(
                "{addr} is in use on the network of {name} by the machine with hardware address {mac}: \
                 take it away from that machine, or choose another address"
            )),
            Err(error) => Err(format!("{name} cannot be asked who has {}: {error}", addresses[0])),
        }
    };
    std::thread::scope(|scope| {
        let asked: Vec<_> = groups.iter().map(|group| scope.spawn(|| ask(group))).collect();
        let answer = |thread: std::thread::ScopedJoinHandle<'_, Result<(), String>>| {
            thread.join().unwrap_or_else(|_| Err("the search for another holder failed".to_owned()))
        };
        asked.into_iter().try_for_each(answer)
    })
}

/// Records what is about to be set, beside what was set before.
fn write_down(setting: &Setting, record: &Record, planned: &[(usize, Planned)]) -> Result<(), String> {
    let told = |error: anyhow::Error| format!("what is set cannot be written down: {error:#}");
    let mut entries = record.entries().map_err(told)?;
    for (_, planned) in planned {
        let known = entries.iter().any(|entry| entry.addr == planned.addr());
        // What was there before us is not ours to release.
        if !planned.present && !known {
            entries.push(Entry {
                addr: planned.addr(),
                written: planned.written.clone(),
                interface: planned.interface.name.clone(),
                source: planned.source,
                tcpreset: setting.vip.tcpreset,
            });
        }
    }
    record.save(&entries).map_err(told)
}

fn place(planned: &Planned) -> Result<(), String> {
    let (addr, name) = (planned.addr(), &planned.interface.name);
    if planned.present {
        return Ok(());
    }
    add(&planned.assignment).map_err(|error| format!("{addr} cannot be set on {name}: {error}"))?;
    if planned.source {
        source::prefer(addr, planned.interface.index)
            .map_err(|error| format!("connections through {name} cannot be given the source {addr}: {error}"))?;
    }
    Ok(())
}

fn announce_all(setting: &Setting, planned: &[(usize, Planned)], groups: &[Group]) -> Vec<Announced> {
    let mut announced = Vec::new();
    for (number, planned) in planned {
        let addr = planned.addr();
        let Some((neighbours, _)) = groups.iter().find(|(_, addresses)| addresses.contains(&addr)) else {
            continue;
        };
        let interface = &setting.vip.interfaces[*number];
        let ms = Duration::from_millis;
        let repeat = interface.arpreroute.then(|| (ms(interface.arpinterval_ms), ms(interface.arpelapse_ms)));
        announced.push(Announced { addr, neighbours: Arc::clone(neighbours), repeat });
    }
    announced.iter().for_each(tell);
    announced
}

/// Announces an address; clients that miss it find the way a little later by themselves.
pub fn tell(announced: &Announced) {
    if let Err(error) = announced.neighbours.announce(announced.addr) {
        tracing::warn!("{} cannot be announced on {}: {error}", announced.addr, announced.neighbours.interface());
    }
}
