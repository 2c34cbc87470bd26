//! What a replica process is doing, as a value: which steps a command takes from which role, and why not from others.

mod agents;
mod resume;
mod run;
pub use run::run;

use holdfast_api::ids::Generation;
use holdfast_core::replica::{ReplicaCommand, ReplicaEvent};

/// What the process is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// Nothing is mounted.
    #[default]
    Idle,
    /// Mounted read-write: the primary.
    Serving,
    /// Still mounted, but every change is answered EIO.
    Refusing,
    /// Mounted read-only, applying the primary's stream.
    Following,
    /// Nothing more is applied; the read-only mount may still be there.
    Fenced,
}

/// One thing to do for a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Take the directories' handles and count what is below, on a thread of its own; answers `Inspected`.
    Inspect,
    /// Stop applying, with everything received applied.
    EndFollower,
    /// Copy aside what differs here from what the primary has, on a thread of its own; answers `SetAside` or not.
    SetAside(u64, Generation),
    /// Take mounts away and close the door; `abort`: without waiting for their users.
    Unmount {
        /// Whether users are cut off.
        abort: bool,
    },
    /// Keep no handle of the directories.
    LetGo,
    /// Mount read-write, acknowledge alone under the generation, open the door for the peer.
    StartServing(Generation),
    /// Mount read-only if that is not so.
    MountReadOnly,
    /// Forget what is known of what may differ.
    CompareAll,
    /// Connect and apply.
    StartFollower(u64, Generation),
    /// Expect the peer for this session.
    AcceptPeer(u64),
    /// Tell the peer that it has everything.
    Complete,
    /// Go on alone.
    ContinueAlone(Generation),
    /// Tell the primary that UpToDate is saved.
    Confirm,
    /// Answer EIO to everything from now on.
    Refuse,
    /// Tell the agent.
    Tell(ReplicaEvent),
}

/// The steps of `command` in `role` and the role after them, or why it cannot be.
pub fn plan(role: Role, command: &ReplicaCommand) -> Result<(Role, Vec<Step>), String> {
    use ReplicaCommand as C;
    use Role::{Fenced, Following, Idle, Refusing, Serving};
    Ok(match (command, role) {
        (C::Inspect, role) => (role, vec![Step::Inspect]),
        (C::SetAside { run, generation }, Idle | Fenced) => (role, vec![Step::SetAside(*run, *generation)]),
        (C::Serve { generation }, Idle | Fenced) => (
            Serving,
            vec![
                Step::EndFollower,
                Step::Unmount { abort: true },
                Step::StartServing(*generation),
                Step::Tell(ReplicaEvent::Serving),
            ],
        ),
        (C::CompareAll, Idle | Fenced | Serving) => (role, vec![Step::CompareAll]),
        (C::AcceptPeer { session }, Serving) => (Serving, vec![Step::AcceptPeer(*session)]),
        (C::CompleteResync, Serving) => (Serving, vec![Step::Complete]),
        (C::ContinueAlone { generation }, Serving) => (Serving, vec![Step::ContinueAlone(*generation)]),
        (C::Follow { session, generation }, Idle | Following | Fenced) => {
            (Following, vec![Step::EndFollower, Step::MountReadOnly, Step::StartFollower(*session, *generation)])
        }
        (C::ConfirmUpToDate, Following) => (Following, vec![Step::Confirm]),
        // Without a stream there is nothing to fence, and nothing will come.
        (C::Fence, Idle | Following | Fenced) => {
            (if role == Idle { Idle } else { Fenced }, vec![Step::EndFollower, Step::Tell(ReplicaEvent::Fenced)])
        }
        (C::Refuse, Serving | Refusing) => (Refusing, vec![Step::Refuse, Step::Tell(ReplicaEvent::Refusing)]),
        // Nothing is served: every change is refused already.
        (C::Refuse, role) => (role, vec![Step::Tell(ReplicaEvent::Refusing)]),
        (C::Release { abort }, role) => {
            // Readers of a secondary never keep it from being released.
            let abort = *abort || role != Serving;
            let steps = [Step::EndFollower, Step::Unmount { abort }, Step::LetGo, Step::Tell(ReplicaEvent::Released)];
            (Idle, steps.into())
        }
        (command, role) => return Err(refusal(command, role)),
    })
}

fn refusal(command: &ReplicaCommand, role: Role) -> String {
    let name = format!("{command:?}");
    let name = name.split([' ', '{']).next().unwrap_or_default();
    let now = match role {
        Role::Idle => "nothing is mounted: Serve or Follow first",
        Role::Serving => "this node serves: Release it first",
        Role::Refusing => "this node has refused its writers: Release it first",
        Role::Following => "this node follows the primary: Fence it first",
        Role::Fenced => "this node is fenced: Serve or Follow first",
    };
    format!("{name} is not possible now, {now}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const GENERATION: Generation = Generation { number: 2, id: 3 };

    fn commands() -> Vec<ReplicaCommand> {
        use ReplicaCommand as C;
        vec![
            C::Inspect,
            C::Serve { generation: GENERATION },
            C::AcceptPeer { session: 1 },
            C::CompleteResync,
            C::ContinueAlone { generation: GENERATION },
            C::Follow { session: 1, generation: GENERATION },
            C::ConfirmUpToDate,
            C::Fence,
            C::Refuse,
            C::Release { abort: false },
        ]
    }

    fn allowed(role: Role) -> Vec<bool> {
        commands().iter().map(|command| plan(role, command).is_ok()).collect()
    }

    #[test]
    fn each_role_takes_its_commands_only() {
        //                       inspect serve accept complete continue follow confirm fence refuse release
        let table = [
            (Role::Idle, [true, true, false, false, false, true, false, true, true, true]),
            (Role::Serving, [true, false, true, true, true, false, false, false, true, true]),
            (Role::Refusing, [true, false, false, false, false, false, false, false, true, true]),
            (Role::Following, [true, false, false, false, false, true, true, true, true, true]),
            (Role::Fenced, [true, true, false, false, false, true, false, true, true, true]),
        ];
        for (role, expected) in table {
            assert_eq!(allowed(role), expected, "{role:?}");
        }
    }

    #[test]
    fn a_fenced_node_serves_on_a_new_mount() {
        let (role, steps) = plan(Role::Fenced, &ReplicaCommand::Serve { generation: GENERATION }).unwrap();
        assert_eq!(role, Role::Serving);
        assert_eq!(steps[..3], [Step::EndFollower, Step::Unmount { abort: true }, Step::StartServing(GENERATION)]);
    }

    #[test]
    fn a_following_node_must_be_fenced_before_it_serves() {
        let refused = plan(Role::Following, &ReplicaCommand::Serve { generation: GENERATION }).unwrap_err();
        assert_eq!(refused, "Serve is not possible now, this node follows the primary: Fence it first");
    }

    #[test]
    fn a_refusing_node_is_released_without_waiting_for_its_users() {
        let (_, steps) = plan(Role::Refusing, &ReplicaCommand::Release { abort: false }).unwrap();
        assert!(steps.contains(&Step::Unmount { abort: true }));
    }
}
