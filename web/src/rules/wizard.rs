//! The wizard that configures a module: its steps, which problem belongs to which, the draft it edits.

use crate::rules::text;
use crate::rules::tone::Tone;
use holdfast_api::agent::{InventoryReport, PathFacts};
use holdfast_api::checker::ProcAction;
use holdfast_api::config::{ModuleSettings, ProcessChecker};
use holdfast_api::problem::FieldProblem;

/// A step, in order; each has a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Name of the module.
    Name,
    /// Replicated directories.
    Directories,
    /// Process checkers.
    Processes,
    /// Scripts and timing.
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
    pub const ALL: [Self; 7] =
        [Self::Name, Self::Directories, Self::Processes, Self::Scripts, Self::Validate, Self::Configure, Self::Start];

    /// Last part of its URL.
    pub fn slug(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Directories => "directories",
            Self::Processes => "processes",
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
            Self::Name => "Name",
            Self::Directories => "Directories",
            Self::Processes => "Processes",
            Self::Scripts => "Scripts",
            Self::Validate => "Validate",
            Self::Configure => "Configure",
            Self::Start => "First start",
        }
    }

    /// Its place, from 0.
    pub fn index(self) -> usize {
        self as usize
    }

    /// The step after it.
    pub fn next(self) -> Option<Self> {
        Self::ALL.get(self.index() + 1).copied()
    }

    /// The step before it.
    pub fn previous(self) -> Option<Self> {
        self.index().checked_sub(1).and_then(|index| Self::ALL.get(index).copied())
    }

    /// Where the field of a problem is edited.
    pub fn of_field(field: &str) -> Self {
        let head = field.split(['[', '.']).next().unwrap_or(field);
        match head {
            "name" => Self::Name,
            "directories" => Self::Directories,
            "processes" | "polltimer_s" => Self::Processes,
            _ => Self::Scripts,
        }
    }

    /// Its address for the module with this number.
    pub fn href(self, module: u16) -> String {
        format!("/configuration/modules/{module}/{}", self.slug())
    }
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
    let free = format!("{} free on {}", text::bytes(facts.free_bytes), facts.mount_point);
    let verdict = if facts.exists && !facts.directory {
        (Tone::Bad, "is not a directory".to_owned())
    } else if !facts.exists {
        (Tone::Busy, format!("does not exist there ({free})"))
    } else {
        let size = facts.bytes.map(|bytes| format!(", {}", text::bytes(bytes))).unwrap_or_default();
        let held = if facts.entries == 0 {
            "empty".to_owned()
        } else {
            format!("{}{size}", text::count(facts.entries, "entry", "entries"))
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
            format!("The directories of {other} are empty; everything is copied from {primary}.")
        }
        Some(held) => format!(
            "{other} holds {}: what differs from {primary} is overwritten there, what {primary} does not have is deleted.",
            text::inventory(held)
        ),
        None => format!(
            "What {other} holds has not been counted: what differs from {primary} is overwritten there, what {primary} does not have is deleted."
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
pub fn checker_for(name: &str) -> ProcessChecker {
    ProcessChecker {
        name: name.to_owned(),
        argregex: String::new(),
        atleast: 1,
        action: ProcAction::Restart,
        class: "prim".to_owned(),
    }
}

/// Reads a whole number typed into a field; anything else is 0, which the checks refuse where it matters.
pub fn number(text: &str) -> u32 {
    text.trim().parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{Step, checker_for, message_for, newest, number, overwrite_text, path_lines, problems_of};
    use crate::rules::tone::Tone;
    use holdfast_api::agent::{InventoryReport, PathFacts};
    use holdfast_api::config::ModuleSettings;

    fn settings() -> ModuleSettings {
        ModuleSettings {
            name: "mirror".into(),
            pulse_ms: 700,
            timeout_ms: 5000,
            maxloop: 3,
            loop_interval_h: 24,
            directories: vec!["/srv/data".into()],
            polltimer_s: 10,
            ..ModuleSettings::default()
        }
    }

    #[test]
    fn steps_follow_each_other_and_are_found_by_their_address() {
        for step in Step::ALL {
            assert_eq!(Step::of_slug(step.slug()), Some(step));
            assert_eq!(step.next().and_then(Step::previous), step.next().map(|_| step));
        }
        assert_eq!(Step::of_slug("nowhere"), None);
        assert_eq!(Step::Name.previous(), None);
    }

    #[test]
    fn a_problem_is_shown_in_the_step_where_it_is_mended() {
        let mut wrong = settings();
        wrong.directories.push("relative".into());
        wrong.processes.push(checker_for("a name that is much too long"));
        wrong.scripts.insert("start_prim".into(), "echo no interpreter".into());
        wrong.timeout_ms = 1;
        assert_eq!(problems_of(Step::Name, &wrong).len(), 0);
        assert_eq!(problems_of(Step::Directories, &wrong)[0].field, "directories[1]");
        assert_eq!(problems_of(Step::Processes, &wrong)[0].field, "processes[0].name");
        assert_eq!(problems_of(Step::Scripts, &wrong).len(), 2);
        assert!(settings().validate().is_empty());
    }

    #[test]
    fn a_message_is_found_for_a_field_and_what_is_inside_it() {
        let mut wrong = settings();
        wrong.processes.push(checker_for(""));
        let problems = wrong.validate();
        assert!(message_for("processes[0]", &problems).is_some());
        assert!(message_for("processes[0].name", &problems).is_some());
        assert!(message_for("process", &problems).is_none());
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
