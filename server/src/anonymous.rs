//! Support zips without names: whoever helps from outside sees what happened, and not whose machines these are.
//!
//! Names of nodes, modules, users and networks, host names and addresses are replaced by stand-ins drawn from a key that is
//! forgotten afterwards: the same name has the same stand-in in all zips made with it, and no way leads back. What people
//! and applications wrote in words of their own (scripts, their output, arguments of processes) cannot be told from names;
//! it is left out.

use anyhow::{Context, Result, ensure};
use holdfast_api::console::LiveSnapshot;
use std::collections::BTreeMap;
use std::io::{Cursor, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr};
use zip::write::SimpleFileOptions;
use zip::{ZipArchive, ZipWriter};

/// Largest sum of the unpacked files, in bytes.
const UNPACKED_MAX: u64 = 256 * 1024 * 1024;
/// Shorter names stay: they are words of every log.
const NAME_MIN: usize = 2;

/// What is replaced, and by what.
pub struct Names {
    key: [u8; 32],
    /// By name in small letters: what kind of thing it is.
    known: BTreeMap<String, &'static str>,
}

impl Names {
    /// Those of a cluster and its users, with a key of their own.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub fn of(cluster: &LiveSnapshot, users: &[String]) -> Result<Self> {
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(|error| anyhow::anyhow!("no random numbers: {error}"))?;
        Ok(Self::with_key(key, cluster, users))
    }

    fn with_key(key: [u8; 32], cluster: &LiveSnapshot, users: &[String]) -> Self {
        let mut names = Self { key, known: BTreeMap::new() };
        users.iter().for_each(|user| names.know("user", user));
        names.know("cluster", &cluster.cluster.name);
        // A network called default says nothing, and its name is a word of every log.
        cluster.cluster.lans.iter().filter(|lan| *lan != "default").for_each(|lan| names.know("network", lan));
        cluster.modules.iter().for_each(|module| names.know("module", &module.module.name));
        let addresses = cluster.cluster.nodes.iter().flat_map(|node| node.addresses.values());
        addresses.chain(cluster.nodes.iter().map(|node| &node.address)).for_each(|address| names.know("host", address));
        cluster.cluster.nodes.iter().for_each(|node| names.know("node", &node.name));
        cluster.nodes.iter().for_each(|node| names.know("node", &node.name));
        names
    }

    fn know(&mut self, kind: &'static str, name: &str) {
        let name = name.to_lowercase();
        if name.len() >= NAME_MIN && address_kind(&name).is_none() {
            self.known.insert(name, kind);
        }
    }

    fn stand_in(&self, kind: &str, name: &str) -> String {
        let drawn = blake3::keyed_hash(&self.key, name.to_lowercase().as_bytes()).to_hex();
        format!("{kind}-{}", &drawn[..6])
    }

    /// A text with all names replaced.
    pub fn replace(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        let mut inside = false;
        while let Some(first) = rest.chars().next() {
            let length = match self.name_at(rest).filter(|_| !inside) {
                Some((kind, length)) => {
                    out.push_str(&self.stand_in(kind, &rest[..length]));
                    length
                }
                None => {
                    out.push(first);
                    first.len_utf8()
                }
            };
            inside = rest[..length].chars().next_back().is_some_and(char::is_alphanumeric);
            rest = &rest[length..];
        }
        out
    }

    /// The name that a text begins with: its kind and length.
    fn name_at(&self, text: &str) -> Option<(&'static str, usize)> {
        let ends = |length: usize| !text[length..].starts_with(char::is_alphanumeric);
        let fits = |name: &&str| {
            text.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name) && ends(name.len()))
        };
        // What is written as an address is no part of a longer one, nor of a name.
        let named = self.starting_like(text).filter(fits).max_by_key(|name| name.len());
        let named = named.map(|name| (self.known[name], name.len()));
        named.or_else(|| address_at(text).filter(|(_, length)| ends(*length)))
    }

    /// The known names with the first letter of a text.
    fn starting_like(&self, text: &str) -> impl Iterator<Item = &str> {
        let first = text.chars().next().map(|first| first.to_lowercase().to_string()).unwrap_or_default();
        let from = self.known.range(first.clone()..).map(|(name, _)| name.as_str());
        from.take_while(move |name| name.starts_with(&first))
    }
}

/// The address that a text begins with, perhaps with a port behind it: its kind and length.
fn address_at(text: &str) -> Option<(&'static str, usize)> {
    if !text.starts_with(|c: char| c.is_ascii_hexdigit() || c == ':') {
        return None;
    }
    let end = text.find(|c: char| !(c.is_ascii_hexdigit() || ".:".contains(c))).unwrap_or(text.len());
    let mut word = text[..end].trim_end_matches(['.', ':']);
    loop {
        if let Some(kind) = address_kind(word) {
            return Some((kind, word.len()));
        }
        word = word.rsplit_once(':')?.0;
    }
}

/// The kind of an address of the network or of a card; none if it is none, or one that every machine has.
fn address_kind(word: &str) -> Option<&'static str> {
    if let Ok(address) = word.parse::<Ipv4Addr>() {
        return (!address.is_loopback() && !address.is_unspecified()).then_some("address");
    }
    if let Ok(address) = word.parse::<Ipv6Addr>() {
        return (!address.is_loopback() && !address.is_unspecified()).then_some("address");
    }
    let pairs: Vec<&str> = word.split(':').collect();
    let is_card = pairs.len() == 6 && pairs.iter().all(|pair| pair.len() == 2 && u8::from_str_radix(pair, 16).is_ok());
    is_card.then_some("card")
}

/// True for what people and applications wrote in words of their own, and for what is no text.
fn is_left_out(name: &str) -> bool {
    let parts: Vec<&str> = name.split('/').collect();
    let of_module = parts.first() == Some(&"modules");
    name == "processes.txt"
        || of_module && matches!(parts.get(2), Some(&"bin" | &"dumps"))
        || of_module && parts.last().is_some_and(|file| file.starts_with("application") || file.ends_with(".ledger"))
}

/// The zip without names.
///
/// # Errors
/// It is no zip, or unpacks to too much.
pub fn zip(bytes: &[u8], names: &Names) -> Result<Vec<u8>> {
    let mut archive = ZipArchive::new(Cursor::new(bytes)).context("the node sent no zip")?;
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let (mut left, mut out) = (UNPACKED_MAX, Vec::new());
    for index in 0..archive.len() {
        let mut file = archive.by_index(index)?;
        let name = file.name()?.into_owned();
        let mut content = Vec::new();
        let read = file.by_ref().take(left + 1).read_to_end(&mut content)? as u64;
        ensure!(read <= left, "the snapshot unpacks to more than {UNPACKED_MAX} bytes");
        left -= read;
        match String::from_utf8(content) {
            Ok(text) if !is_left_out(&name) => {
                writer.start_file(names.replace(&name), SimpleFileOptions::default())?;
                writer.write_all(names.replace(&text).as_bytes())?;
            }
            _ => out.push(names.replace(&name)),
        }
    }
    writer.start_file("ANONYMISED.txt", SimpleFileOptions::default())?;
    writer.write_all(about(&out).as_bytes())?;
    Ok(writer.finish()?.into_inner())
}

fn about(left_out: &[String]) -> String {
    format!(
        "Names of nodes, modules, users and networks, host names and addresses are replaced by stand-ins; the same name has\n\
         the same stand-in in all snapshots that were made together. Left out, because people or applications wrote it:\n{}\n",
        left_out.iter().map(|name| format!("- {name}\n")).collect::<String>()
    )
}

#[cfg(test)]
mod tests;
