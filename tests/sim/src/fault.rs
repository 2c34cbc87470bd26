//! The faults there are, and what each of them hits.

/// A fault, or an order of an operator who does not know better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A machine loses power: what was not synced may be lost.
    Crash,
    /// All machines lose power at the same time.
    CrashAll,
    /// The agent is killed and restarted; its data plane ends with it.
    Kill,
    /// The agent ends and comes back; its data plane and its application live on.
    RestartAgent,
    /// The agent is told to end, stops its modules in order, and is back soon.
    EndAgent,
    /// The machine is shut down in order, and boots later.
    ShutDown,
    /// Every link of a machine is cut.
    CutAll,
    /// Every link between two machines is cut.
    CutPair,
    /// One link of a machine is cut.
    CutOne,
    /// One network is down for everybody.
    NetworkDown,
    /// Every link is cut in the direction away from a machine.
    CutOneWay,
    /// Links flap: cut and joined again within a few pulses.
    Flap,
    /// A machine sleeps.
    Suspend,
    /// The agent is stopped (SIGSTOP) while its data plane goes on.
    Freeze,
    /// The stream breaks while heartbeats live.
    BreakStream,
    /// The data plane of a node ends.
    ReplicaExits,
    /// A process of the application is missing.
    ProcessMissing,
    /// An operator's stop, followed by a start some time later.
    StopStartLater,
    /// An operator's stop of both nodes, the secondary first, followed by starts some time later.
    StopAllStartLater,
    /// An operator's swap.
    Swap,
    /// An operator's restart.
    Restart,
    /// An operator's stopstart.
    StopStart,
    /// An operator's forcestop, followed by a start some time later.
    ForceStopLater,
    /// A checker finds something bad on a node for a while.
    ResourceDown,
    /// An operator switches failover off, or on, on one node.
    Failover,
    /// An operator orders `prim` at a bad time.
    Prim,
    /// An operator forces a copy, whatever it costs.
    PrimForce,
    /// An operator orders `start` at a bad time.
    Start,
    /// An operator gives up a copy, whatever it holds.
    Second,
    /// The register's process ends for a while.
    RegisterDown,
    /// The register is restored from a backup.
    RegisterRestored,
    /// The nodes are cut from each other and one of them from the register, which is restored once the other has won.
    RestoredApart,
    /// A node is cut from the witness.
    WitnessCut,
    /// A machine is cut from the others and its agent restarted: it is back before they have been silent for the timeout.
    RestartedApart,
    /// A node gets another configuration than its peer's; later it is taken back, or the peer gets it too.
    Reconfigure,
    /// The wall clock of a machine is set.
    ClockStep,
    /// The module's configuration covers a directory more, or no longer does, where each node has files of its own.
    Cover,
    /// A machine is restored from an image as to how often its agent was started; its clock ran ahead before.
    StartsRestored,
}

/// Every fault but those that are drawn by themselves.
pub const ALL: [Fault; 36] = [
    Fault::Crash,
    Fault::CrashAll,
    Fault::Kill,
    Fault::RestartAgent,
    Fault::EndAgent,
    Fault::ShutDown,
    Fault::CutAll,
    Fault::CutPair,
    Fault::CutOne,
    Fault::NetworkDown,
    Fault::CutOneWay,
    Fault::Flap,
    Fault::Suspend,
    Fault::Freeze,
    Fault::BreakStream,
    Fault::ReplicaExits,
    Fault::ProcessMissing,
    Fault::StopStartLater,
    Fault::StopAllStartLater,
    Fault::Swap,
    Fault::Restart,
    Fault::StopStart,
    Fault::ForceStopLater,
    Fault::ResourceDown,
    Fault::Failover,
    Fault::Prim,
    Fault::PrimForce,
    Fault::Start,
    Fault::Second,
    Fault::RegisterDown,
    Fault::RegisterRestored,
    Fault::RestoredApart,
    Fault::WitnessCut,
    Fault::Reconfigure,
    Fault::ClockStep,
    Fault::RestartedApart,
];

/// What a fault hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// One machine, and so every module on it.
    Machine,
    /// Every machine.
    Everything,
    /// The ways between one machine and another, or all others.
    Networks,
    /// The register's process, and so the record of every module.
    Register,
    /// One node of one module.
    Module,
}

impl Fault {
    /// What it hits.
    pub fn scope(self) -> Scope {
        match self {
            Self::Crash
            | Self::Kill
            | Self::RestartAgent
            | Self::RestartedApart
            | Self::EndAgent
            | Self::ShutDown
            | Self::Suspend
            | Self::Freeze
            | Self::WitnessCut
            | Self::StartsRestored
            | Self::ClockStep => Scope::Machine,
            Self::CrashAll => Scope::Everything,
            Self::CutAll | Self::CutPair | Self::CutOne | Self::NetworkDown | Self::CutOneWay | Self::Flap => {
                Scope::Networks
            }
            Self::RegisterDown | Self::RegisterRestored | Self::RestoredApart => Scope::Register,
            _ => Scope::Module,
        }
    }

    /// In how many of a thousand runs it happens.
    pub fn often(self) -> u64 {
        match self {
            Self::Prim | Self::PrimForce | Self::Start | Self::Second | Self::Reconfigure => 150,
            Self::EndAgent | Self::ShutDown | Self::StopAllStartLater | Self::RestartedApart => 300,
            _ => 600,
        }
    }
}
