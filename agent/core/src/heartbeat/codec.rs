//! The heartbeat as bytes: magic, format, fields in little-endian, and a keyed BLAKE3 tag over all of it.

use super::{Heartbeat, Incarnation};
use crate::durable::HISTORY_MAX;
use crate::replica::Inventory;
use holdfast_api::ids::{Generation, NodeId};
use holdfast_api::resource::ResourceValue;
use holdfast_api::state::{DataState, ModuleState, Readiness};

/// Longest datagram, in bytes: fits any link without fragments.
pub const DATAGRAM_MAX: usize = 1200;

/// Format version, the byte after the magic. History: 1, first; 2, with resources and two more flags; 3,
/// with the origin.
pub const FORMAT: u8 = 3;

/// Most resources in one heartbeat.
pub const RESOURCES_SAID_MAX: usize = 8;

/// Longest name of a resource that is said, in bytes.
pub const RESOURCE_NAME_MAX: usize = 48;

/// Longest value of a resource that is said, in bytes.
pub const RESOURCE_VALUE_MAX: usize = 24;

/// Context of the key derivation of [`module_key`].
pub const KEY_CONTEXT: &str = "holdfast 2026 heartbeat of one module, keyed tag";

const MAGIC: [u8; 3] = *b"HFh";
const TAG_LEN: usize = 32;

/// Why a datagram was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Too short, too long or malformed.
    #[error("not a heartbeat: {0}")]
    Malformed(&'static str),
    /// Another version of the format.
    #[error("heartbeat of format {0}, this agent speaks format {FORMAT}: install the same release on both nodes")]
    Format(u8),
    /// The tag is wrong: another cluster's secret, another module, or a forgery.
    #[error("heartbeat with a wrong tag: the nodes hold different cluster secrets, or it was forged or damaged")]
    Tag,
}

/// The key of one module's heartbeats, derived from the cluster's secret.
pub fn module_key(secret: &[u8], module_id: u16) -> [u8; 32] {
    let mut material = secret.to_vec();
    material.extend_from_slice(&module_id.to_le_bytes());
    blake3::derive_key(KEY_CONTEXT, &material)
}

/// Whether a resource fits into a heartbeat; one that does not is unknown to the peer.
pub fn fits(name: &str, value: &ResourceValue) -> bool {
    (1..=RESOURCE_NAME_MAX).contains(&name.len()) && value.to_string().len() <= RESOURCE_VALUE_MAX
}

impl Heartbeat {
    /// The datagram: at most [`DATAGRAM_MAX`] bytes (of a longer history only the newest part is sent, and of
    /// more resources only the first).
    pub fn encode(&self, key: &[u8; 32]) -> Vec<u8> {
        let mut out = Vec::with_capacity(512);
        out.extend_from_slice(&MAGIC);
        out.push(FORMAT);
        out.extend_from_slice(&self.from.0.to_le_bytes());
        let flags = u8::from(self.hears_you)
            | u8::from(self.running) << 1
            | u8::from(self.solo) << 2
            | u8::from(self.continued) << 3
            | u8::from(self.was_primary) << 4
            | u8::from(self.claims) << 5
            | u8::from(self.failover) << 6
            | u8::from(self.saving) << 7;
        out.extend_from_slice(&[flags, state_code(self.state), readiness_code(self.readiness), data_code(self.data)]);
        for number in [
            self.boot_id,
            self.incarnation.count,
            self.incarnation.id,
            self.origin.count,
            self.origin.id,
            self.sequence,
            self.echo.count,
            self.echo.id,
            self.signature,
            self.generation.number,
            self.generation.id,
            self.outdated_since,
            self.asks,
            self.session,
            self.swap_request,
            self.inventory.entries,
            self.inventory.bytes,
            self.inventory.changed_unix_ms,
        ] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        let history = &self.history[..self.history.len().min(HISTORY_MAX)];
        out.push(history.len() as u8);
        for generation in history {
            out.extend_from_slice(&generation.number.to_le_bytes());
            out.extend_from_slice(&generation.id.to_le_bytes());
        }
        let said: Vec<_> =
            self.resources.iter().filter(|(name, value)| fits(name, value)).take(RESOURCES_SAID_MAX).collect();
        out.push(said.len() as u8);
        for (name, value) in said {
            for text in [name.clone(), value.to_string()] {
                out.push(text.len() as u8);
                out.extend_from_slice(text.as_bytes());
            }
        }
        let tag = blake3::keyed_hash(key, &out);
        out.extend_from_slice(tag.as_bytes());
        out
    }

    /// Reads a datagram; the tag is checked (in constant time) before anything but magic and format is looked at.
    pub fn decode(key: &[u8; 32], datagram: &[u8]) -> Result<Self, DecodeError> {
        if datagram.len() > DATAGRAM_MAX {
            return Err(DecodeError::Malformed("too long"));
        }
        let Some(body_len) = datagram.len().checked_sub(TAG_LEN).filter(|len| *len > MAGIC.len()) else {
            return Err(DecodeError::Malformed("too short"));
        };
        let (body, tag) = datagram.split_at(body_len);
        if body[..3] != MAGIC {
            return Err(DecodeError::Malformed("other magic"));
        }
        if body[3] != FORMAT {
            return Err(DecodeError::Format(body[3]));
        }
        let tag: [u8; TAG_LEN] = tag.try_into().map_err(|_| DecodeError::Malformed("too short"))?;
        if blake3::keyed_hash(key, body) != blake3::Hash::from_bytes(tag) {
            return Err(DecodeError::Tag);
        }
        Reader { rest: &body[4..] }.heartbeat()
    }
}

/// Takes bytes from the front; every read is checked.
struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(DecodeError::Malformed("ends early"))?;
        self.rest = rest;
        Ok(*head)
    }

    fn number(&mut self) -> Result<u64, DecodeError> {
        Ok(u64::from_le_bytes(self.take()?))
    }

    fn incarnation(&mut self) -> Result<Incarnation, DecodeError> {
        Ok(Incarnation { count: self.number()?, id: self.number()? })
    }

    fn generation(&mut self) -> Result<Generation, DecodeError> {
        Ok(Generation { number: self.number()?, id: self.number()? })
    }

    fn text(&mut self, max: usize) -> Result<String, DecodeError> {
        let [length] = self.take()?;
        let length = usize::from(length);
        if length > max || length > self.rest.len() {
            return Err(DecodeError::Malformed("text too long"));
        }
        let (text, rest) = self.rest.split_at(length);
        self.rest = rest;
        String::from_utf8(text.to_vec()).map_err(|_| DecodeError::Malformed("text is not UTF-8"))
    }

    fn resources(&mut self) -> Result<Vec<(String, ResourceValue)>, DecodeError> {
        let [count] = self.take()?;
        if usize::from(count) > RESOURCES_SAID_MAX {
            return Err(DecodeError::Malformed("too many resources"));
        }
        (0..count)
            .map(|_| {
                let name = self.text(RESOURCE_NAME_MAX)?;
                if name.is_empty() {
                    return Err(DecodeError::Malformed("resource without a name"));
                }
                Ok((name, ResourceValue::from(self.text(RESOURCE_VALUE_MAX)?)))
            })
            .collect()
    }

    fn heartbeat(mut self) -> Result<Heartbeat, DecodeError> {
        let from = NodeId(u16::from_le_bytes(self.take()?));
        let [flags, state, readiness, data] = self.take()?;
        let flag = |bit: u8| flags & (1 << bit) != 0;
        let heartbeat = Heartbeat {
            from,
            boot_id: self.number()?,
            incarnation: self.incarnation()?,
            origin: self.incarnation()?,
            sequence: self.number()?,
            echo: self.incarnation()?,
            saving: flag(7),
            hears_you: flag(0),
            signature: self.number()?,
            state: state_of(state)?,
            readiness: readiness_of(readiness)?,
            running: flag(1),
            data: data_of(data)?,
            generation: self.generation()?,
            history: Vec::new(),
            solo: flag(2),
            outdated_since: self.number()?,
            continued: flag(3),
            was_primary: flag(4),
            claims: flag(5),
            failover: flag(6),
            asks: self.number()?,
            session: self.number()?,
            swap_request: self.number()?,
            inventory: Inventory { entries: self.number()?, bytes: self.number()?, changed_unix_ms: self.number()? },
            resources: Vec::new(),
        };
        let [count] = self.take()?;
        if usize::from(count) > HISTORY_MAX {
            return Err(DecodeError::Malformed("history too long"));
        }
        let history = (0..count).map(|_| self.generation()).collect::<Result<Vec<_>, _>>()?;
        let resources = self.resources()?;
        if !self.rest.is_empty() {
            return Err(DecodeError::Malformed("bytes after the end"));
        }
        Ok(Heartbeat { history, resources, ..heartbeat })
    }
}

fn state_code(state: ModuleState) -> u8 {
    match state {
        ModuleState::Stop => 0,
        ModuleState::Wait => 1,
        ModuleState::Alone => 2,
        ModuleState::Prim => 3,
        ModuleState::Second => 4,
        ModuleState::Up => 5,
    }
}

fn state_of(code: u8) -> Result<ModuleState, DecodeError> {
    Ok(match code {
        0 => ModuleState::Stop,
        1 => ModuleState::Wait,
        2 => ModuleState::Alone,
        3 => ModuleState::Prim,
        4 => ModuleState::Second,
        5 => ModuleState::Up,
        _ => return Err(DecodeError::Malformed("unknown state")),
    })
}

fn readiness_code(readiness: Readiness) -> u8 {
    match readiness {
        Readiness::NotReady => 0,
        Readiness::Transient => 1,
        Readiness::Ready => 2,
    }
}

fn readiness_of(code: u8) -> Result<Readiness, DecodeError> {
    Ok(match code {
        0 => Readiness::NotReady,
        1 => Readiness::Transient,
        2 => Readiness::Ready,
        _ => return Err(DecodeError::Malformed("unknown readiness")),
    })
}

fn data_code(data: DataState) -> u8 {
    match data {
        DataState::Unknown => 0,
        DataState::UpToDate => 1,
        DataState::Outdated => 2,
        DataState::Inconsistent => 3,
        DataState::Diverged => 4,
    }
}

fn data_of(code: u8) -> Result<DataState, DecodeError> {
    Ok(match code {
        0 => DataState::Unknown,
        1 => DataState::UpToDate,
        2 => DataState::Outdated,
        3 => DataState::Inconsistent,
        4 => DataState::Diverged,
        _ => return Err(DecodeError::Malformed("unknown data state")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEY: [u8; 32] = [7; 32];

    fn sample(history: usize) -> Heartbeat {
        let generation = |number| Generation { number, id: number * 0x0101_0101 };
        Heartbeat {
            from: NodeId(2),
            boot_id: 3,
            incarnation: Incarnation { count: 4, id: 5 },
            origin: Incarnation { count: 2, id: 3 },
            sequence: 6,
            echo: Incarnation { count: 7, id: 8 },
            saving: false,
            hears_you: true,
            signature: 9,
            state: ModuleState::Second,
            readiness: Readiness::Ready,
            running: true,
            data: DataState::UpToDate,
            generation: generation(10),
            history: (0..history as u64).map(generation).collect(),
            solo: false,
            outdated_since: 11,
            continued: true,
            was_primary: false,
            claims: true,
            failover: false,
            asks: 12,
            session: 13,
            swap_request: 14,
            inventory: Inventory { entries: 15, bytes: 16, changed_unix_ms: u64::MAX },
            resources: vec![("tcp.web".to_owned(), ResourceValue::Down)],
        }
    }

    #[test]
    fn a_heartbeat_survives_the_wire_within_the_bound() {
        for history in [0, 1, HISTORY_MAX] {
            let sent = sample(history);
            let datagram = sent.encode(&KEY);
            assert!(datagram.len() <= DATAGRAM_MAX, "{}", datagram.len());
            assert_eq!(Heartbeat::decode(&KEY, &datagram), Ok(sent));
        }
    }

    #[test]
    fn of_many_resources_those_that_fit_are_said_within_the_bound() {
        let mut sent = sample(HISTORY_MAX);
        let word = ResourceValue::from("x".repeat(RESOURCE_VALUE_MAX));
        let name = |number: usize| format!("{number:a>width$}", width = RESOURCE_NAME_MAX);
        sent.resources = (0..2 * RESOURCES_SAID_MAX).map(|number| (name(number), word.clone())).collect();
        sent.resources.insert(0, ("b".repeat(RESOURCE_NAME_MAX + 1), ResourceValue::Up));
        sent.resources.insert(0, ("b".to_owned(), ResourceValue::from("x".repeat(RESOURCE_VALUE_MAX + 1))));
        let datagram = sent.encode(&KEY);
        assert!(datagram.len() <= DATAGRAM_MAX, "{}", datagram.len());
        let expected = sent.resources[2..2 + RESOURCES_SAID_MAX].to_vec();
        assert_eq!(Heartbeat::decode(&KEY, &datagram).unwrap().resources, expected);
    }

    #[test]
    fn a_resource_without_a_name_is_refused() {
        let sent = Heartbeat { resources: Vec::new(), ..sample(0) }.encode(&KEY);
        let mut datagram = sent[..sent.len() - TAG_LEN - 1].to_vec();
        datagram.extend_from_slice(b"\x01\x00\x02up");
        let tag = blake3::keyed_hash(&KEY, &datagram);
        datagram.extend_from_slice(tag.as_bytes());
        assert_eq!(Heartbeat::decode(&KEY, &datagram), Err(DecodeError::Malformed("resource without a name")));
    }

    #[test]
    fn every_changed_bit_is_noticed() {
        let datagram = sample(2).encode(&KEY);
        for bit in 0..datagram.len() * 8 {
            let mut damaged = datagram.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(Heartbeat::decode(&KEY, &damaged).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn another_key_and_another_format_are_refused_by_name() {
        let mut datagram = sample(0).encode(&KEY);
        assert_eq!(Heartbeat::decode(&[8; 32], &datagram), Err(DecodeError::Tag));
        assert_ne!(module_key(b"secret", 1), module_key(b"secret", 2));
        datagram[3] = 1;
        assert_eq!(Heartbeat::decode(&KEY, &datagram), Err(DecodeError::Format(1)));
    }

    proptest! {
        #[test]
        fn resources_survive_the_wire(said in proptest::collection::vec(("[a-z.]{1,48}", "[ -~]{0,24}"), 0..=RESOURCES_SAID_MAX)) {
            let mut sent = sample(1);
            sent.resources = said.into_iter().map(|(name, value)| (name, ResourceValue::from(value))).collect();
            let datagram = sent.encode(&KEY);
            prop_assert!(datagram.len() <= DATAGRAM_MAX);
            prop_assert_eq!(Heartbeat::decode(&KEY, &datagram), Ok(sent));
        }

        #[test]
        fn no_bytes_panic_even_with_a_right_tag(body in proptest::collection::vec(any::<u8>(), 0..1300), magic: bool) {
            let mut datagram = if magic { b"HFh\x03".to_vec() } else { Vec::new() };
            datagram.extend_from_slice(&body);
            let _ = Heartbeat::decode(&KEY, &datagram);
            let tag = blake3::keyed_hash(&KEY, &datagram);
            datagram.extend_from_slice(tag.as_bytes());
            let _ = Heartbeat::decode(&KEY, &datagram);
        }
    }
}
