//! How a state is shown: colour, shape and word; what is not live is never green.

use crate::language::{t, tf};
use holdfast_api::console::{ModuleOnNode, TaskState};
use holdfast_api::resource::ResourceValue;
use holdfast_api::state::{DataState, ModuleState, Readiness};

/// The colour a thing is shown in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tone {
    /// Doing its job.
    Ok,
    /// On its way, or to be minded.
    Busy,
    /// Needs somebody.
    Bad,
    /// At rest on purpose.
    Idle,
    /// Not known now.
    Lost,
}

impl Tone {
    /// Its name in the style sheet.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Busy => "busy",
            Self::Bad => "bad",
            Self::Idle => "idle",
            Self::Lost => "lost",
        }
    }

    /// The shape that goes with it, as an SVG path on a 12 px grid, so that colour is never alone.
    pub fn shape(self) -> &'static str {
        match self {
            Self::Ok => "M6 1a5 5 0 1 1 0 10A5 5 0 0 1 6 1Z",
            Self::Busy => "M6 .8 11.6 10.8H.4L6 .8Z",
            Self::Bad => "M6 .3 11.7 6 6 11.7.3 6 6 .3Z",
            Self::Idle => "M1.5 1.5h9v9h-9Z",
            Self::Lost => "M6 1a5 5 0 1 1 0 10A5 5 0 0 1 6 1Zm0 2a3 3 0 1 0 0 6 3 3 0 0 0 0-6Z",
        }
    }

    /// How much it wants attention, most last.
    fn weight(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Idle => 1,
            Self::Busy => 2,
            Self::Lost => 3,
            Self::Bad => 4,
        }
    }

    /// The one of all that wants most attention; none of none.
    pub fn worst(tones: impl IntoIterator<Item = Self>) -> Option<Self> {
        tones.into_iter().max_by_key(|tone| tone.weight())
    }
}

/// A state as shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Its colour.
    pub tone: Tone,
    /// Its word.
    pub word: String,
    /// What to add to the word, such as "resync"; may be empty.
    pub note: String,
}

/// How to show a module on a node. `live`: the page's own connection to the server is up.
pub fn show(on: &ModuleOnNode, live: bool) -> Shown {
    let shown = |tone, word: &str, note: &str| Shown { tone, word: word.to_owned(), note: note.to_owned() };
    let Some(report) = &on.report else {
        return match (live, on.held) {
            (false, _) => shown(Tone::Lost, t!("not known"), ""),
            (true, None) => shown(Tone::Idle, t!("not configured"), ""),
            (true, Some(_)) => shown(Tone::Lost, t!("no contact"), ""),
        };
    };
    let state = report.state.to_string();
    if !(live && on.fresh) {
        return shown(Tone::Lost, &tf!("was {state}", state), if live { t!("no contact") } else { t!("not live") });
    }
    match (report.state, report.readiness) {
        (ModuleState::Stop, _) if report.running => shown(Tone::Bad, &state, t!("stopped by an error")),
        (ModuleState::Stop, _) => shown(Tone::Idle, &state, ""),
        (ModuleState::Second, Readiness::Transient) if report.resync.is_some() => {
            shown(Tone::Busy, &state, t!("resync"))
        }
        (_, Readiness::Transient) => shown(Tone::Busy, &state, t!("in transition")),
        (ModuleState::Alone, Readiness::Ready) => shown(Tone::Ok, &state, t!("no redundancy")),
        (_, Readiness::Ready) => shown(Tone::Ok, &state, ""),
        (ModuleState::Wait, Readiness::NotReady) => shown(Tone::Bad, &state, t!("blocked")),
        (_, Readiness::NotReady) => shown(Tone::Bad, &state, t!("not ready")),
    }
}

/// The colour of a data state.
pub fn data_tone(data: DataState) -> Tone {
    match data {
        DataState::UpToDate => Tone::Ok,
        DataState::Outdated | DataState::Inconsistent => Tone::Busy,
        DataState::Diverged => Tone::Bad,
        DataState::Unknown => Tone::Idle,
    }
}

/// A data state in words.
pub fn data_words(data: DataState) -> &'static str {
    match data {
        DataState::UpToDate => t!("data up to date"),
        DataState::Outdated => t!("data outdated"),
        DataState::Inconsistent => t!("data inconsistent"),
        DataState::Diverged => t!("data diverged"),
        DataState::Unknown => t!("data unknown"),
    }
}

/// The colour of a resource.
pub fn resource_tone(name: &str, value: &ResourceValue) -> Tone {
    match value {
        // Up means trouble here.
        ResourceValue::Up if name == "rfs.degraded" => Tone::Busy,
        ResourceValue::Down if name == "rfs.degraded" => Tone::Idle,
        ResourceValue::Up => Tone::Ok,
        ResourceValue::Down => Tone::Bad,
        ResourceValue::Init | ResourceValue::Unknown | ResourceValue::Other(_) => Tone::Idle,
    }
}

/// The colour of a task.
pub fn task_tone(state: TaskState) -> Tone {
    match state {
        TaskState::Waiting => Tone::Idle,
        TaskState::Running => Tone::Busy,
        TaskState::Done => Tone::Ok,
        TaskState::Failed => Tone::Bad,
    }
}

#[cfg(test)]
mod tests {
    use super::{Tone, show};
    use crate::rules::actions::tests::on_node;
    use holdfast_api::state::{ModuleState, Readiness};

    #[test]
    fn only_ready_states_of_a_live_page_are_green() {
        for state in [ModuleState::Stop, ModuleState::Wait, ModuleState::Alone, ModuleState::Prim, ModuleState::Second]
        {
            for readiness in [Readiness::NotReady, Readiness::Transient, Readiness::Ready] {
                for live in [false, true] {
                    for fresh in [false, true] {
                        let mut on = on_node(1, state, readiness);
                        on.fresh = fresh;
                        let green = show(&on, live).tone == Tone::Ok;
                        let may = live && fresh && readiness == Readiness::Ready && state != ModuleState::Stop;
                        assert!(!green || may, "{state} {readiness} live {live} fresh {fresh}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_stop_on_purpose_is_grey_and_a_stop_by_error_red() {
        let mut on = on_node(1, ModuleState::Stop, Readiness::NotReady);
        assert_eq!(show(&on, true).tone, Tone::Idle);
        on.report.as_mut().expect("a report").running = true;
        assert_eq!(show(&on, true).tone, Tone::Bad);
    }

    #[test]
    fn a_lost_node_is_told_from_one_not_configured() {
        let mut on = on_node(1, ModuleState::Prim, Readiness::Ready);
        on.fresh = false;
        assert_eq!(show(&on, true).word, "was PRIM");
        on.report = None;
        assert_eq!(show(&on, true).word, "no contact");
        on.held = None;
        assert_eq!(show(&on, true).word, "not configured");
    }

    #[test]
    fn the_worst_of_several_wins() {
        assert_eq!(Tone::worst([Tone::Ok, Tone::Bad, Tone::Busy]), Some(Tone::Bad));
        assert_eq!(Tone::worst([]), None);
    }

    #[test]
    fn no_two_tones_share_a_shape() {
        let tones = [Tone::Ok, Tone::Busy, Tone::Bad, Tone::Idle, Tone::Lost];
        for (index, one) in tones.iter().enumerate() {
            assert!(tones[..index].iter().all(|other| other.shape() != one.shape()));
        }
    }
}
