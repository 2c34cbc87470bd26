//! The wizard that configures a module: its steps, which problem belongs to which, the draft it edits.

use crate::language::{t, tf};
use crate::rules::text;
use crate::rules::tone::Tone;
use holdfast_api::agent::{InventoryReport, PathFacts};
use holdfast_api::checker::{CheckAction, ProcAction, When};
use holdfast_api::config::{CheckerKind, CheckerSettings, ModuleMode, ModuleSettings, ProcessChecker};
use holdfast_api::console::{ClusterNodeForm, NodeView};
use holdfast_api::problem::FieldProblem;

/// A step, in order; each has a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Name of the module.
    Name,
    /// Replicated directories.
    Directories,
    /// Heartbeats and replication.
    Networks,
    /// Virtual addresses, or a load balancer.
    Address,
    /// Process checkers.
    Processes,
    /// Other checkers.
    Checkers,
    /// Who is asked when the nodes cannot hear each other.
    Witness,
    /// Scripts and restarts.
    Scripts,
    /// Server's and nodes' verdict.
    Validate,
    /// Push, one result per node.
    Configure,
    /// First start, in the right direction.
    Start,
}

impl Step {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Name,
        Self::Directories,
        Self::Networks,
        Self::Address,
        Self::Processes,
        Self::Checkers,
        Self::Witness,
        Self::Scripts,
        Self::Validate,
        Self::Configure,
        Self::Start,
    ];

    /// The steps of a module of this kind: one that runs on one node needs no second.
    pub fn of_mode(mode: ModuleMode) -> Vec<Self> {
        let second = [Self::Directories, Self::Networks, Self::Address, Self::Witness];
        Self::ALL.into_iter().filter(|step| mode == ModuleMode::Mirror || !second.contains(step)).collect()
    }

    /// The first step after the name.
    pub fn first(mode: ModuleMode) -> Self {
        match mode {
            ModuleMode::Mirror => Self::Directories,
            ModuleMode::Light => Self::Processes,
        }
    }

    /// Last part of its URL.
    pub fn slug(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Directories => "directories",
            Self::Networks => "networks",
            Self::Address => "address",
            Self::Processes => "processes",
            Self::Checkers => "checkers",
            Self::Witness => "witness",
            Self::Scripts => "scripts",
            Self::Validate => "validate",
            Self::Configure => "configure",
            Self::Start => "start",
        }
    }

    /// The step with this last part of the URL.
    pub fn of_slug(slug: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|step| step.slug() == slug)
    }

    /// What it is called.
    pub fn label(self) -> &'static str {
        match self {
            Self::Name => t!("Name"),
            Self::Directories => t!("Directories"),
            Self::Networks => t!("Networks"),
            Self::Address => t!("Address"),
            Self::Processes => t!("Processes"),
            Self::Checkers => t!("Checkers"),
            Self::Witness => t!("Witness"),
            Self::Scripts => t!("Scripts"),
            Self::Validate => t!("Validate"),
            Self::Configure => t!("Configure"),
            Self::Start => t!("First start"),
        }
    }

    /// The step after it.
    pub fn next(self, mode: ModuleMode) -> Option<Self> {
        Self::of_mode(mode).into_iter().find(|step| *step > self)
    }

    /// The step before it.
    pub fn previous(self, mode: ModuleMode) -> Option<Self> {
        Self::of_mode(mode).into_iter().rev().find(|step| *step < self)
    }

    /// Where the field of a problem is edited.
    pub fn of_field(field: &str) -> Self {
        let head = field.split(['[', '.']).next().unwrap_or(field);
        match head {
            "name" | "mode" => Self::Name,
            "directories" => Self::Directories,
            "networks" | "flow" | "pulse_ms" | "timeout_ms" => Self::Networks,
            "addresses" => Self::Address,
            "processes" | "polltimer_s" => Self::Processes,
            "checkers" => Self::Checkers,
            "witness" => Self::Witness,
            _ => Self::Scripts,
        }
    }

    /// Its address for the module with this number.
    pub fn href(self, module: u16) -> String {
        format!("/configuration/modules/{module}/{}", self.slug())
    }
}

/// A checker of this kind, with every preset.
pub fn checker_of_kind(kind: CheckerKind, mode: ModuleMode) -> CheckerSettings {
    let (when, action) = match kind {
        CheckerKind::Tcp if mode == ModuleMode::Light => (When::Both, CheckAction::Restart),
        CheckerKind::Tcp => (When::Prim, CheckAction::Restart),
        CheckerKind::Ping | CheckerKind::Intf | CheckerKind::Module => (When::Pre, CheckAction::Wait),
        CheckerKind::Ip if mode == ModuleMode::Light => (When::Both, CheckAction::StopStart),
        CheckerKind::Ip => (When::Prim, CheckAction::StopStart),
        CheckerKind::Custom => (When::Both, CheckAction::NoAction),
    };
    let looks = !matches!(kind, CheckerKind::Intf | CheckerKind::Custom);
    let answers = matches!(kind, CheckerKind::Tcp | CheckerKind::Ping | CheckerKind::Module);
    CheckerSettings {
        kind,
        ident: String::new(),
        when,
        action,
        target: String::new(),
        port: if kind == CheckerKind::Module { 9010 } else { 0 },
        arg: String::new(),
        interval_ms: if looks { 10_000 } else { 0 },
        timeout_ms: if answers { 5_000 } else { 0 },
    }
}

/// What a kind of checker is called, what its target is, and an example of that.
pub fn kind_words(kind: CheckerKind) -> (&'static str, &'static str, &'static str) {
    match kind {
        CheckerKind::Tcp => (t!("TCP connection"), t!("Address"), "127.0.0.1"),
        CheckerKind::Ping => (t!("Ping"), t!("Address"), "192.0.2.1"),
        CheckerKind::Intf => (t!("Network interface"), t!("An address of this node on it"), "192.0.2.2"),
        CheckerKind::Ip => (t!("Address set here"), t!("Address"), "192.0.2.10"),
        CheckerKind::Custom => (t!("Program of the module"), t!("Program in bin"), "check.sh"),
        CheckerKind::Module => (t!("Another module"), t!("Name of the other module"), "database"),
    }
}

/// The cells of a node in the matrix of checks: what is asked of it besides the directories.
pub fn node_checks(
    node: &NodeView,
    form: Option<&ClusterNodeForm>,
    networks: &[String],
) -> Vec<(String, Tone, String)> {
    let contact = if node.connected {
        (Tone::Ok, t!("in contact").to_owned())
    } else {
        (Tone::Busy, t!("not in contact: it gets the configuration when it is back").to_owned())
    };
    let mut cells = vec![(t!("Contact").to_owned(), contact.0, contact.1)];
    for lan in networks {
        let address = form.and_then(|form| form.addresses.get(lan));
        let (tone, text) = match address {
            Some(address) => (Tone::Ok, address.clone()),
            None => (Tone::Bad, t!("has no address there: give it one in Cluster").to_owned()),
        };
        cells.push((tf!("Network {lan}", lan), tone, text));
    }
    cells
}

/// What is wrong with the part of the settings edited in `step`.
pub fn problems_of(step: Step, settings: &ModuleSettings) -> Vec<FieldProblem> {
    settings.validate().into_iter().filter(|problem| Step::of_field(&problem.field) == step).collect()
}

/// The first message about `field` or anything inside it.
pub fn message_for(field: &str, problems: &[FieldProblem]) -> Option<String> {
    let inside =
        |path: &str| path.strip_prefix(field).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']));
    problems.iter().find(|problem| inside(&problem.field)).map(|problem| problem.message.clone())
}

/// What a node found at a replicated directory, a line each, the verdict first.
pub fn path_lines(facts: &PathFacts) -> Vec<(Tone, String)> {
    let free = tf!("{0} free on {1}", 0 = text::bytes(facts.free_bytes), 1 = facts.mount_point);
    let verdict = if facts.exists && !facts.directory {
        (Tone::Bad, t!("is not a directory").to_owned())
    } else if !facts.exists {
        (Tone::Busy, tf!("does not exist there ({free})", free))
    } else {
        let size = facts.bytes.map(|bytes| format!(", {}", text::bytes(bytes))).unwrap_or_default();
        let held = if facts.entries == 0 {
            t!("empty").to_owned()
        } else {
            format!("{}{size}", text::count(facts.entries, t!("entry"), t!("entries")))
        };
        (Tone::Ok, format!("{held}; {free}"))
    };
    if !facts.exists && !facts.warnings.is_empty() {
        // The node says it better, with what to do.
        return facts.warnings.iter().map(|warning| (Tone::Busy, format!("{warning} ({free})"))).collect();
    }
    let warnings = facts.warnings.iter().map(|warning| (Tone::Busy, warning.clone()));
    std::iter::once(verdict).chain(warnings).collect()
}

/// What starting `primary` first means for the copy on `other`.
pub fn overwrite_text(primary: &str, other: &str, held: Option<&InventoryReport>) -> String {
    match held {
        Some(held) if held.entries == 0 => {
            tf!("The directories of {other} are empty; everything is copied from {primary}.", other, primary)
        }
        Some(held) => tf!(
            "{other} holds {0}: what differs from {primary} is overwritten there, what {primary} does not have is deleted.",
            other,
            0 = text::inventory(held),
            primary
        ),
        None => tf!(
            "What {other} holds has not been counted: what differs from {primary} is overwritten there, what {primary} does not have is deleted.",
            other,
            primary
        ),
    }
}

/// What a node's answer about the directories says of their content; the latest change is not known from it.
pub fn inventory_of(paths: &[PathFacts]) -> InventoryReport {
    let sum = |what: fn(&PathFacts) -> u64| paths.iter().map(what).fold(0, u64::saturating_add);
    InventoryReport {
        entries: sum(|facts| facts.entries),
        bytes: sum(|facts| facts.bytes.unwrap_or(0)),
        changed_unix_ms: 0,
    }
}

/// The node to offer as the one with the newest data: the latest change, then the most entries; none if all are empty or
/// equally old.
pub fn newest(found: &[(u16, Option<InventoryReport>)]) -> Option<u16> {
    let key = |inventory: &InventoryReport| (inventory.changed_unix_ms, inventory.entries);
    let mut counted: Vec<(u16, InventoryReport)> = found
        .iter()
        .filter_map(|(node, inventory)| Some((*node, (*inventory)?)))
        .filter(|(_, inventory)| inventory.entries > 0)
        .collect();
    counted.sort_by_key(|(_, inventory)| std::cmp::Reverse(key(inventory)));
    match counted.as_slice() {
        [(node, _)] => Some(*node),
        [(node, first), (_, second), ..] if first.changed_unix_ms > 0 && key(first) > key(second) => Some(*node),
        _ => None,
    }
}

/// A checker for a process picked from a node's list.
pub fn checker_for(name: &str, mode: ModuleMode) -> ProcessChecker {
    ProcessChecker {
        name: name.to_owned(),
        argregex: String::new(),
        atleast: 1,
        action: ProcAction::Restart,
        class: if mode == ModuleMode::Light { "both" } else { "prim" }.to_owned(),
    }
}

/// True for a script that a module of this kind cannot do without.
pub fn is_main_script(name: &str, mode: ModuleMode) -> bool {
    match mode {
        ModuleMode::Mirror => matches!(name, "start_prim" | "stop_prim"),
        ModuleMode::Light => matches!(name, "start_both" | "stop_both"),
    }
}

/// When a script is called.
pub fn script_hint(name: &str) -> &'static str {
    match name {
        "prestart" => t!("Called first when the module starts, before any role."),
        "start_both" => t!("Called in every role once the replicated directories are in place."),
        "start_prim" => t!("Called on the node that becomes primary once the replicated directories are in place."),
        "start_second" => t!("Called on the node that becomes secondary."),
        "start_sec" => t!("Called in SECOND and in ALONE."),
        "stop_sec" => t!("Called when SECOND or ALONE ends; then with `force`."),
        "stop_second" => t!("Called when the node is no longer secondary; then with `force`."),
        "stop_prim" => t!("Called without arguments for an orderly stop, then with `force`."),
        "stop_both" => t!("Called when the application stops in any role; then with `force`."),
        "poststop" => t!("Called last when the module stops."),
        "transition" => t!("Called at every change of state, with the old and the new one."),
        _ => "",
    }
}

/// Reads a whole number typed into a field; anything else is 0, which the checks refuse where it matters.
pub fn number(text: &str) -> u32 {
    text.trim().parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{
        Step, checker_for, checker_of_kind, kind_words, message_for, newest, number, overwrite_text, path_lines,
        problems_of,
    };
    use crate::rules::tone::Tone;
    use holdfast_api::agent::{InventoryReport, PathFacts};
    use holdfast_api::config::{CheckerKind, ModuleMode, ModuleSettings};

    fn settings() -> ModuleSettings {
        ModuleSettings {
            name: "mirror".into(),
            pulse_ms: 700,
            timeout_ms: 5000,
            maxloop: 3,
            loop_interval_h: 24,
            directories: vec!["/srv/data".into()],
            polltimer_s: 10,
            networks: vec!["default".into()],
            flow: "default".into(),
            ..ModuleSettings::default()
        }
    }

    #[test]
    fn steps_follow_each_other_and_are_found_by_their_address() {
        for mode in [ModuleMode::Mirror, ModuleMode::Light] {
            for step in Step::of_mode(mode) {
                assert_eq!(Step::of_slug(step.slug()), Some(step));
                let next = step.next(mode);
                assert_eq!(next.and_then(|next| next.previous(mode)), next.map(|_| step));
            }
            assert_eq!(Step::Name.next(mode), Some(Step::first(mode)));
        }
        assert_eq!(Step::of_slug("nowhere"), None);
        assert_eq!(Step::Name.previous(ModuleMode::Mirror), None);
    }

    #[test]
    fn a_problem_is_shown_in_the_step_where_it_is_mended() {
        let mut wrong = settings();
        wrong.directories.push("relative".into());
        wrong.processes.push(checker_for("a name that is much too long", ModuleMode::Mirror));
        wrong.scripts.insert("start_prim".into(), "echo no interpreter".into());
        wrong.timeout_ms = 1;
        assert_eq!(problems_of(Step::Name, &wrong).len(), 0);
        assert_eq!(problems_of(Step::Directories, &wrong)[0].field, "directories[1]");
        assert_eq!(problems_of(Step::Processes, &wrong)[0].field, "processes[0].name");
        assert_eq!(problems_of(Step::Scripts, &wrong).len(), 1);
        assert_eq!(problems_of(Step::Networks, &wrong)[0].field, "timeout_ms");
        assert!(settings().validate().is_empty());
    }

    #[test]
    fn a_message_is_found_for_a_field_and_what_is_inside_it() {
        let mut wrong = settings();
        wrong.processes.push(checker_for("", ModuleMode::Mirror));
        let problems = wrong.validate();
        assert!(message_for("processes[0]", &problems).is_some());
        assert!(message_for("processes[0].name", &problems).is_some());
        assert!(message_for("process", &problems).is_none());
    }

    #[test]
    fn a_new_checker_is_right_but_for_what_only_the_operator_knows() {
        for kind in CheckerKind::ALL {
            for mode in [ModuleMode::Mirror, ModuleMode::Light] {
                let mut checker = checker_of_kind(kind, mode);
                checker.ident = "web".into();
                checker.target = kind_words(kind).2.into();
                checker.port = checker.port.max(1);
                let light =
                    ModuleSettings { mode, networks: vec![], flow: String::new(), directories: vec![], ..settings() };
                let base = if mode == ModuleMode::Light { light } else { settings() };
                assert_eq!(ModuleSettings { checkers: vec![checker], ..base }.validate(), vec![], "{kind:?} {mode:?}");
            }
        }
    }

    #[test]
    fn every_script_says_when_it_is_called() {
        for name in holdfast_api::config::SCRIPT_NAMES {
            assert!(super::script_hint(name).ends_with('.'), "{name}");
        }
    }

    #[test]
    fn numbers_survive_the_form() {
        assert_eq!(number(" 12 "), 12);
        assert_eq!(number("-3"), 0);
    }

    #[test]
    fn a_directory_is_described_with_its_warnings() {
        let mut facts = PathFacts {
            path: "/srv".into(),
            exists: true,
            directory: true,
            entries: 3,
            bytes: Some(2048),
            free_bytes: 1024,
            mount_point: "/".into(),
            warnings: vec!["a mount point".into()],
            ..PathFacts::default()
        };
        assert_eq!(
            path_lines(&facts),
            [(Tone::Ok, "3 entries, 2.0 KiB; 1.0 KiB free on /".to_owned()), (Tone::Busy, "a mount point".to_owned())]
        );
        facts.directory = false;
        assert_eq!(path_lines(&facts)[0].0, Tone::Bad);
        facts.exists = false;
        assert_eq!(path_lines(&facts), [(Tone::Busy, "a mount point (1.0 KiB free on /)".to_owned())]);
    }

    #[test]
    fn what_would_be_deleted_is_said_before_the_first_start() {
        let held = InventoryReport { entries: 2, bytes: 10, changed_unix_ms: 1 };
        assert!(overwrite_text("node1", "node2", Some(&held)).contains("2 entries"));
        assert!(overwrite_text("node1", "node2", Some(&InventoryReport::default())).contains("empty"));
        assert!(overwrite_text("node1", "node2", None).contains("not been counted"));
    }

    #[test]
    fn the_newest_copy_is_offered_only_when_there_is_one() {
        let at = |entries, changed_unix_ms| Some(InventoryReport { entries, bytes: 1, changed_unix_ms });
        assert_eq!(newest(&[(1, at(5, 100)), (2, at(5, 200))]), Some(2));
        assert_eq!(newest(&[(1, at(5, 100)), (2, at(0, 900))]), Some(1));
        assert_eq!(newest(&[(1, at(5, 100)), (2, at(5, 100))]), None);
        assert_eq!(newest(&[(1, None), (2, None)]), None);
        assert_eq!(newest(&[(1, at(5, 0)), (2, at(9, 0))]), None, "more is not newer");
        assert_eq!(newest(&[(1, at(5, 0)), (2, at(0, 0))]), Some(1));
    }
}
