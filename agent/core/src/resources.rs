//! Resources: what checkers, scripts, operators and the module itself say, one value each, with a short history.

use crate::time::Instant;
use holdfast_api::resource::ResourceValue;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Resources of one module at most.
pub const RESOURCES_MAX: usize = 512;
/// Longest name, in bytes.
pub const NAME_MAX: usize = 64;
/// Longest value that is a number or a word, in bytes.
pub const VALUE_MAX: usize = 128;
/// Values kept of each resource, the present one included.
pub const VALUES_MAX: usize = 32;

/// What a primary's application writes, in KiB per second.
pub const REPLICATION: &str = "rfs.rep_bandwidth";
/// What comes from the peer's data plane, in KiB per second.
pub const INCOMING: &str = "rfs.netin_bandwidth";
/// What goes to the peer's data plane, in KiB per second.
pub const OUTGOING: &str = "rfs.netout_bandwidth";

/// Classes of which only the module itself speaks.
const OWN_CLASSES: [&str; 3] = ["state", "heartbeat", "heart"];
/// Resources of which only the module itself speaks; the last is the witness's word, not a checker's.
const OWN_NAMES: [&str; 12] = [
    REPLICATION,
    INCOMING,
    OUTGOING,
    "usersetting.boot",
    "usersetting.failover",
    "rfs.uptodate",
    "rfs.degraded",
    "rfs.rei_bandwidth",
    "rfs.rei_size",
    "rfs.rei_entries",
    "rfs.rei_left",
    "splitbrain.uptodate",
];

/// One resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// Its value.
    pub value: ResourceValue,
    /// Since when.
    pub since: Instant,
    /// Who said so last, and why.
    pub by: String,
    /// Earlier values and when each began, oldest first.
    pub history: VecDeque<(Instant, ResourceValue)>,
}

/// All resources of a module on this node. A copy shares them until one of both changes: nodes and views are copied with
/// every input, and nearly every input changes none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    all: Arc<BTreeMap<String, Resource>>,
}

impl Resources {
    /// Sets a value; gives the value before, if it was another one (`Init` if there was none).
    ///
    /// # Errors
    /// Why it is refused, and the cure.
    pub fn set(
        &mut self,
        name: &str,
        value: ResourceValue,
        by: &str,
        now: Instant,
    ) -> Result<Option<ResourceValue>, String> {
        if let Some(known) = self.all.get(name).filter(|known| known.value == value) {
            if known.by != by {
                // The last reason is the one to look for.
                Arc::make_mut(&mut self.all).entry(name.to_owned()).and_modify(|known| by.clone_into(&mut known.by));
            }
            return Ok(None);
        }
        if let Some(known) = Arc::make_mut(&mut self.all).get_mut(name) {
            return Ok(Some(known.change(value, by, now)));
        }
        check_name(name)?;
        if self.all.len() >= RESOURCES_MAX {
            return Err(format!("{name} would be one resource too many: a module has {RESOURCES_MAX} at most"));
        }
        let fresh = Resource { value: value.clone(), since: now, by: by.to_owned(), history: VecDeque::new() };
        Arc::make_mut(&mut self.all).insert(name.to_owned(), fresh);
        Ok((value != ResourceValue::Init).then_some(ResourceValue::Init))
    }

    /// Forgets one, with its history.
    pub fn remove(&mut self, name: &str) {
        Arc::make_mut(&mut self.all).remove(name);
    }

    /// The value of one; `None` if nobody has spoken of it.
    pub fn get(&self, name: &str) -> Option<&Resource> {
        self.all.get(name)
    }

    /// All, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Resource)> {
        self.all.iter().map(|(name, resource)| (name.as_str(), resource))
    }
}

impl Resource {
    /// Gives the value before.
    fn change(&mut self, value: ResourceValue, by: &str, now: Instant) -> ResourceValue {
        if self.history.len() + 1 >= VALUES_MAX {
            self.history.pop_front();
        }
        let before = std::mem::replace(&mut self.value, value);
        self.history.push_back((self.since, before.clone()));
        self.since = now;
        by.clone_into(&mut self.by);
        before
    }
}

/// Whether a resource may be set from outside; the module speaks for itself.
///
/// # Errors
/// Why not, and the cure.
pub fn check_foreign(name: &str, value: &ResourceValue) -> Result<(), String> {
    check_name(name)?;
    let class = name.split('.').next().unwrap_or_default();
    if OWN_CLASSES.contains(&class) || OWN_NAMES.contains(&name) {
        return Err(format!("{name} is said by the module itself and cannot be set; use a class of your own"));
    }
    match value {
        ResourceValue::Other(text) if text.len() > VALUE_MAX || text.contains(char::is_control) => {
            Err(format!("the value of {name} must be one line of at most {VALUE_MAX} bytes"))
        }
        _ => Ok(()),
    }
}

fn check_name(name: &str) -> Result<(), String> {
    let part = |part: &str| {
        !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ':' | '@'))
    };
    match name.split_once('.') {
        Some((class, id)) if name.len() <= NAME_MAX && part(class) && part(id) => Ok(()),
        _ => Err(format!(
            "`{}` is no resource: give class.name of at most {NAME_MAX} letters, digits, `_`, `-`, `.`, `:` or `@`",
            name.chars().take(NAME_MAX).collect::<String>().escape_default()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ResourceValue::{Down, Init, Up};

    #[test]
    fn a_change_is_told_once_and_its_history_is_bounded() {
        let mut resources = Resources::default();
        assert_eq!(resources.set("tcp.web", Up, "tcpcheck", Instant(1)), Ok(Some(Init)));
        assert_eq!(resources.set("tcp.web", Up, "tcpcheck", Instant(2)), Ok(None));
        assert_eq!(resources.set("tcp.web", Down, "admin", Instant(3)), Ok(Some(Up)));
        let web = resources.get("tcp.web").unwrap();
        assert_eq!((web.since, web.by.as_str()), (Instant(3), "admin"));
        assert_eq!(web.history, [(Instant(1), Up)]);
        for at in 0..200u64 {
            let value = if at % 2 == 0 { Up } else { Down };
            resources.set("tcp.web", value, "tcpcheck", Instant(at)).unwrap();
        }
        assert_eq!(resources.get("tcp.web").unwrap().history.len(), VALUES_MAX - 1);
    }

    #[test]
    fn names_and_their_number_are_bounded() {
        let mut resources = Resources::default();
        for bad in ["", "web", ".web", "tcp.", "tcp.a b", "tcp.\n", &format!("tcp.{}", "x".repeat(61))] {
            assert!(resources.set(bad, Up, "me", Instant(0)).is_err(), "{bad}");
        }
        for number in 0..RESOURCES_MAX {
            resources.set(&format!("tcp.{number}"), Up, "me", Instant(0)).unwrap();
        }
        assert!(resources.set("tcp.more", Up, "me", Instant(0)).is_err());
        assert!(resources.set("tcp.0", Down, "me", Instant(0)).is_ok(), "those that are there still change");
    }

    #[test]
    fn what_the_module_says_itself_cannot_be_set_from_outside() {
        for name in [
            "state.local",
            "rfs.uptodate",
            "rfs.netin_bandwidth",
            "heart.maxloop",
            "heartbeat.flow",
            "splitbrain.uptodate",
        ] {
            assert!(check_foreign(name, &Up).is_err(), "{name}");
        }
        assert!(check_foreign("custom.web", &Up).is_ok());
        assert!(check_foreign("custom.web", &ResourceValue::Other("x".repeat(129))).is_err());
    }
}
