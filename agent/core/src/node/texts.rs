//! What a node says of itself: its view, and in WAIT for what it waits and what an operator can do.

use super::Node;
use super::serving::Serving;
use super::steps::Running;
use crate::arbiter::{Decision, Wait};
use crate::automaton;
use crate::procedure::Kind;
use crate::settings::Witness;
use crate::view::{PeerView, View};
use holdfast_api::state::{DataState, ModuleState};
use holdfast_api::userconfig::Mode;

impl Node {
    /// What reports, pages and the command line show.
    pub fn view(&self) -> View {
        View {
            node: self.settings.node_name.clone(),
            state: self.status.0,
            readiness: self.status.1,
            since: self.since,
            waiting_for: self.waiting_for(),
            detail: self.detail(),
            data: self.durable.data,
            generation: self.durable.generation,
            solo: self.durable.solo,
            healthy: self.healthy,
            boot_start: self.durable.starts_at_boot(self.settings.boot),
            running: self.durable.running || self.keeps_running,
            peer: self.peer.as_ref().map(|peer| PeerView {
                id: peer.from,
                node: self.settings.peer_name.clone(),
                state: peer.state,
                readiness: peer.readiness,
                data: peer.data,
                generation: peer.generation,
                heard: self.heard(),
                hears_us: peer.hears_you,
            }),
            resync: self.resync,
            inventory: self.found.inventory,
            resources: self.resources.clone(),
            witness: self.witness_view(),
            links_heard: (0..self.settings.links).map(|link| self.links.link_passes(link, self.now)).collect(),
        }
    }

    fn waiting_for(&self) -> Option<String> {
        if self.found.missing.is_some() {
            return self.missing_text();
        }
        if self.procedure.is_some() {
            return None;
        }
        let role = matches!(self.status.0, ModuleState::Wait | ModuleState::Second);
        self.waiting.filter(|_| role).map(|wait| self.wait_text(wait))
    }

    /// What it does at present.
    pub(super) fn detail(&self) -> String {
        let peer = &self.settings.peer_name;
        if self.procedure.as_ref().is_some_and(Running::waits_for_proof) {
            let links = if self.settings.witness == Witness::Register { "the register or " } else { "" };
            return format!(
                "was suspended: starts the application once it is sure that {peer} does not serve; if that lasts, repair \
                 the links to {links}{peer}"
            );
        }
        match self.procedure.as_ref().map(|running| running.kind()) {
            Some(Kind::Start) => return "starting".to_owned(),
            Some(Kind::Promote) => return "becoming primary".to_owned(),
            Some(Kind::Restart) => return "restarting the application".to_owned(),
            Some(Kind::Open) => return "starting the application".to_owned(),
            Some(Kind::Stop) => return "stopping".to_owned(),
            Some(Kind::ForceStop) => return "stopping by force".to_owned(),
            Some(Kind::Wait) => return "stopping, to wait".to_owned(),
            Some(Kind::Swap) => return format!("handing over to {peer}"),
            Some(Kind::Lose) => return "giving up the role of primary".to_owned(),
            Some(Kind::Halt) => return "stopping: its state cannot be saved".to_owned(),
            None => {}
        }
        match &self.serving {
            Serving::Held { .. } if self.talk.is_open() => {
                return "writes are held back: asking the witness whether to go on alone".to_owned();
            }
            Serving::Held { .. } => {
                return format!("writes are held back: asking {peer} whether to go on alone");
            }
            Serving::Accepting { .. } if self.resync.is_some() => {
                return format!("resync of {peer}");
            }
            Serving::Accepting { .. } => {
                return format!("waiting for {peer} to connect for its resync");
            }
            Serving::Completing { .. } => return format!("resync of {peer} is being completed"),
            _ => {}
        }
        if self.addresses_dropped {
            return format!("was suspended: its addresses are released until it is sure that {peer} does not serve");
        }
        if let Some(following) = &self.following {
            return match (following.lost, following.connected, self.durable.data) {
                (true, ..) => format!("the stream from {peer} is lost"),
                (_, _, DataState::UpToDate) => "up to date".to_owned(),
                (_, false, _) => format!("connecting to {peer}"),
                _ => format!("resync from {peer}"),
            };
        }
        if self.is_mute() && self.status == automaton::STOP {
            return "stopped because its state cannot be saved; starts again by itself once it can".to_owned();
        }
        if self.settings.mode == Mode::Light {
            let runs = self.status == automaton::UP;
            return if runs { "the application runs" } else { "the application does not run" }.to_owned();
        }
        self.durable.data.to_string()
    }

    /// Why this node does not become primary at once: what is waited for, or done, first.
    pub(super) fn decision_text(&self, decision: &Decision) -> String {
        let peer = &self.settings.peer_name;
        match decision {
            Decision::Wait(wait) => self.wait_text(*wait),
            Decision::SetAside => "what this copy holds alone is set aside first".to_owned(),
            Decision::Follow { .. } => format!("{peer} is primary and is followed"),
            Decision::AskWitness { .. } => "the witness is asked first".to_owned(),
            Decision::Ask { .. } | Decision::Promote { .. } => format!("{peer} is heard and is asked first"),
        }
    }

    /// For what it waits, and what an operator can do.
    pub(super) fn wait_text(&self, wait: Wait) -> String {
        let (peer, node) = (&self.settings.peer_name, &self.settings.node_name);
        let here = self.found.inventory.unwrap_or_default();
        // With a register, `prim` alone does not overrule a silent peer.
        let force = if self.settings.witness == Witness::Register { "primforce" } else { "prim" };
        let there = self.peer.as_ref().map(|heartbeat| heartbeat.inventory).unwrap_or_default();
        match wait {
            Wait::Listening => format!("waits to hear {peer}, or to be sure that it is silent"),
            Wait::Signature => format!(
                "waits for the same configuration on both nodes: that of {peer} differs in its nodes, heartbeats or \
                 replicated directories; apply the configuration to both while the module is stopped"
            ),
            Wait::FirstChoice => format!(
                "waits for an operator to choose the reference: order `prim` on the node with the right data (here {} \
                 entries, {} bytes; on {peer} {} entries, {} bytes), then start the other",
                here.entries, here.bytes, there.entries, there.bytes
            ),
            Wait::PeerNotOffering => match &self.stream_ended {
                Some(reason) => format!(
                    "waits for {peer} to offer a resync again (later after each failure; at once when the module is stopped \
                     and started here); the last stream ended: {reason}"
                ),
                None => format!("waits for {peer} to be ready for a resync"),
            },
            Wait::PeerGivesWay => {
                format!("waits for {peer} to give way: this copy is newer than the one it serves")
            }
            Wait::PeerHoldsData => format!(
                "waits for {peer}, which holds the newest data, to become primary: start the module there; if that data \
                 is lost for good, order `primforce` here"
            ),
            Wait::PeerMayBeNewer => format!(
                "waits for {peer}, which is silent and may have served after this node: start {peer} or repair the links \
                 to it; if it is lost for good, order `{force}` here"
            ),
            Wait::PeerPreferred => {
                format!("waits for {peer} to become primary: it goes first; if it waits too, order `prim` there")
            }
            Wait::Outdated => format!(
                "waits for {peer}, which has served after this node: start the module there or repair the links to it; to \
                 give its newer data up, order `{force}` here"
            ),
            Wait::Inconsistent | Wait::AgreeToOverwrite | Wait::Diverged | Wait::BothDiverged => {
                self.data_wait_text(wait)
            }
            Wait::SettingAside | Wait::NotSetAside => self.aside_text(wait),
            Wait::FailoverOff => {
                format!(
                    "waits for {peer} to be primary: failover is off; start {peer}, or order `prim` here (`failover on` \
                     lets the nodes decide)"
                )
            }
            Wait::NoPrimary => format!(
                "waits for {peer} to be primary, as ordered by `second`: start the module there, or stop this one and start \
                 it without `second`"
            ),
            Wait::Rule | Wait::Checks => self.held_text(wait),
            Wait::Witness | Wait::PingHidden | Wait::RegisterLater | Wait::RegisterRefused | Wait::PrimForceNeeded => {
                self.witness_wait_text(wait)
            }
            Wait::Promise => match self.heard_peer() {
                Some(heartbeat) if !heartbeat.hears_you => format!(
                    "waits for the word of {peer}, which does not hear {node}: repair the link from {node} to {peer}"
                ),
                _ => format!("waits for {peer} to record that {node} serves without it"),
            },
        }
    }

    /// As [`Self::wait_text`], of data that an operator has to decide on.
    fn data_wait_text(&self, wait: Wait) -> String {
        let (peer, node) = (&self.settings.peer_name, &self.settings.node_name);
        let here = self.found.inventory.unwrap_or_default();
        match wait {
            Wait::Inconsistent => format!(
                "waits for {peer} to be primary: the resync here did not end, so this copy is incomplete; start the module \
                 on {peer}; only if its data is lost for good, order `primforce` here"
            ),
            Wait::AgreeToOverwrite => {
                let own = Some(self.uncovered()).filter(|own| own.entries > 0).unwrap_or(here);
                format!(
                    "waits for an operator to agree: {} entries ({} bytes) on {node} would be overwritten with the data of \
                     {peer}; save what is needed, then order `second` here",
                    own.entries, own.bytes
                )
            }
            Wait::Diverged => format!(
                "waits for an operator: this copy holds writes that {peer} does not have; order `second` here to set them \
                 aside and overwrite this copy with the data of {peer}"
            ),
            _ => format!(
                "waits for an operator: this copy and that of {peer} both hold writes the other lacks; order `prim` on the \
                 node whose data to keep, then `second` on the other"
            ),
        }
    }

    /// As [`Self::wait_text`], of what the witness keeps it from.
    fn witness_wait_text(&self, wait: Wait) -> String {
        let peer = &self.settings.peer_name;
        match wait {
            Wait::Witness => "waits for the answer of the witness".to_owned(),
            Wait::PingHidden => format!(
                "waits for {peer}: no link passes and no address of the ping witness answers, so this node is the isolated \
                 one; repair the links; if {peer} certainly does not serve, stop the module here and order `prim`"
            ),
            Wait::RegisterLater => format!(
                "waits for the register, which {}: repair the link to it or start it, or repair the links to {peer}; if \
                 {peer} certainly does not serve, order `primforce` here",
                self.witness_said()
            ),
            Wait::RegisterRefused => format!(
                "waits for {peer}: {}; start the module there or repair the links to it; to give its newer data up, order \
                 `primforce` here",
                self.witness_said()
            ),
            _ => format!(
                "waits for {peer}: it is silent and has served after this node, for all that is known; start it or repair \
                 the links to it; to give its newer data up, order `primforce` here"
            ),
        }
    }
}
