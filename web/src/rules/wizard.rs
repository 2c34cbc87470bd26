//! The wizard that configures a module: its steps, which problem belongs to which, the draft it edits.

use holdfast_api::config::{CheckerAction, ModuleSettings, ProcessChecker};
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
    pub const ALL: [Self; 7] = [Self::Name, Self::Directories, Self::Processes, Self::Scripts, Self::Validate, Self::Configure, Self::Start];

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
    let inside = |path: &str| path.strip_prefix(field).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']));
    problems.iter().find(|problem| inside(&problem.field)).map(|problem| problem.message.clone())
}

/// A checker for a process picked from a node's list.
pub fn checker_for(name: &str) -> ProcessChecker {
    ProcessChecker { name: name.to_owned(), argregex: String::new(), atleast: 1, action: CheckerAction::Restart, class: "prim".to_owned() }
}

/// Reads a whole number typed into a field; anything else is 0, which the checks refuse where it matters.
pub fn number(text: &str) -> u32 {
    text.trim().parse().unwrap_or(0)
}

/// The word of a checker's action in `userconfig.xml`.
pub fn action_word(action: CheckerAction) -> &'static str {
    match action {
        CheckerAction::Restart => "restart",
        CheckerAction::StopStart => "stopstart",
        CheckerAction::Stop => "stop",
        CheckerAction::NoAction => "noaction",
    }
}

/// The action of a word; restart if there is no such word.
pub fn action_of(word: &str) -> CheckerAction {
    [CheckerAction::StopStart, CheckerAction::Stop, CheckerAction::NoAction].into_iter().find(|action| action_word(*action) == word).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{Step, action_of, action_word, checker_for, message_for, number, problems_of};
    use holdfast_api::config::{CheckerAction, ModuleSettings};

    fn settings() -> ModuleSettings {
        ModuleSettings { name: "mirror".into(), pulse_ms: 700, timeout_ms: 5000, maxloop: 3, loop_interval_h: 24, directories: vec!["/srv/data".into()], polltimer_s: 10, ..ModuleSettings::default() }
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
    fn actions_and_numbers_survive_the_form() {
        for action in [CheckerAction::Restart, CheckerAction::StopStart, CheckerAction::Stop, CheckerAction::NoAction] {
            assert_eq!(action_of(action_word(action)), action);
        }
        assert_eq!(number(" 12 "), 12);
        assert_eq!(number("-3"), 0);
    }
}
