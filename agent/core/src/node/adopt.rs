//! A restarted agent goes on with what its predecessor left running: a node that is settled says so (`settled`), and is
//! made again from that, from the ledger and from what the data plane says of itself (`adopt`).
//!
//! Nothing is granted here. A node comes back with the right it has on disk, or as one whose writes are held back; and
//! what it missed meanwhile it takes as a node does that was suspended: silence counts from now, and after a whole
//! timeout it is not known to be in sync, and gives its addresses up until it is. But the peer counts on: where a witness
//! decides, a primary holds its writes back, and asks, once nobody has heard the peer for the timeout
//! (`Node::apart_with_witness`).

use super::serving::{Follower, Serving};
use super::{After, Following, Node};
use crate::automaton::{self, Status, Trigger};
use crate::durable::Durable;
use crate::heartbeat::Heartbeat;
use crate::output::{Act, EventLevel};
use crate::replica::{Acknowledges, Plane, ReplicaCommand};
use crate::settings::Settings;
use crate::settled::{self, Role, Settled};
use crate::time::{Instant, Moment};
use holdfast_api::checker::When;
use holdfast_api::state::DataState;
use holdfast_api::userconfig::Mode;

impl Node {
    /// What is to be written down of this node, if it is settled; `None`: what is written down has to go first of all.
    pub fn settled(&self) -> Option<Settled> {
        let quiet = self.procedure.is_none()
            && self.script.is_none()
            && self.releases_pending == 0
            && self.after_stop == After::Stay
            && self.forced.is_none()
            && self.asking.is_none()
            && self.slept_until.is_none()
            && self.dropping.is_none()
            && !(self.is_mute()
                || self.keeps_running
                || self.hurried
                || self.addresses_dropped
                || self.agreed
                || self.compare_all)
            && self.durable.running
            && self.unsaved_promise == 0
            && self.app.quiet()
            && self.app.announced == self.status.0
            && self.app.started == self.wanted_levels();
        let role = self.settled_role().filter(|_| quiet)?;
        Some(Settled {
            at: self.now,
            boot_id: self.settings.boot_id,
            signature: self.settings.signature,
            durable: self.durable.clone(),
            origin: self.origin,
            role,
            live: self.live,
            since: self.since,
            healthy: self.healthy,
            addresses_set: self.addresses_set,
            data_plane_used: self.data_plane_used,
            degraded: self.degraded,
            claims: self.claims,
            preferred_session: self.preferred_session,
            swap_handled: self.swap_handled,
            application: settled::Application {
                started: self.app.started,
                stopped: self.app.stopped,
                checked: self.app.checked,
                announced: self.app.announced,
                left: self.app.left,
            },
            // Only what decisions look at while it is silent.
            peer: self.peer.as_ref().map(|peer| Heartbeat { resources: Vec::new(), ..peer.clone() }),
            heard: self.links.last_alive(),
        })
    }

    fn settled_role(&self) -> Option<Role> {
        match (self.status, &self.serving, &self.following) {
            (automaton::UP, Serving::No, None) => Some(Role::Open),
            (automaton::ALONE, Serving::Alone { .. } | Serving::Accepting { .. }, None) => {
                Some(Role::Alone { follower: self.serving.follower().map(written) })
            }
            (automaton::PRIM, Serving::Paired { follower }, None) => Some(Role::Paired { follower: written(follower) }),
            (automaton::SECOND, Serving::No, Some(following)) if !following.lost => Some(Role::Following {
                session: following.session,
                since: following.since,
                generation: following.generation,
                history: following.history.clone(),
            }),
            _ => None,
        }
    }

    /// A node as its predecessor left it. The driver hands in `Ticked` next, and carries out what comes of that.
    ///
    /// `plane`: what the data plane says of itself; `None`: the module has none.
    ///
    /// # Errors
    /// Why it cannot go on with that, in plain words: then whatever runs is to be ended, and [`Node::new`] is the way.
    pub fn adopt(
        settings: Settings,
        durable: Durable,
        settled: &Settled,
        plane: Option<&Plane>,
        moment: Moment,
    ) -> Result<Self, String> {
        let broken = settings.broken;
        let same = |same: bool, what: &str| if same { Ok(()) } else { Err(format!("another {what}")) };
        same(settings.boot_id == settled.boot_id, "boot")?;
        same(settings.signature == settled.signature, "configuration")?;
        same((settings.mode == Mode::Light) == (settled.role == Role::Open), "mode")?;
        same(durable == settled.durable || broken.adopt_what_was_left, "ledger")?;
        same(settled.at <= moment.now, "clock")?;
        let mut node = Self::new(settings, durable, moment);
        node.take_over(settled);
        let away_ms = if broken.adopt_as_if_never_away { 0 } else { moment.now.since(settled.at) };
        if node.settings.mode == Mode::Mirror && away_ms >= node.settings.timeout_ms {
            // As after a suspension: the peer may have gone on alone meanwhile.
            node.live = false;
            node.slept_until = Some(node.now);
        }
        let heard = settled.heard.filter(|_| !broken.adopt_counting_silence_anew);
        node.apart_from = heard.map(|at| at.after(node.settings.timeout_ms));
        node.take_role_over(&settled.role, plane)?;
        node.take_effects_over(settled, away_ms);
        Ok(node)
    }

    /// What is in nobody's hands but the agent's.
    fn take_over(&mut self, settled: &Settled) {
        self.origin = settled.origin;
        self.live = settled.live;
        self.since = settled.since;
        self.data_plane_used = settled.data_plane_used;
        self.degraded = settled.degraded;
        self.claims = settled.claims;
        self.preferred_session = settled.preferred_session;
        self.swap_handled = settled.swap_handled;
        self.peer = settled.peer.clone();
        let settled::Application { started, stopped, announced, left, .. } = settled.application;
        self.app.started = started;
        self.app.stopped = stopped;
        self.app.announced = announced;
        self.app.left = left;
    }

    /// The role, as far as ledger and data plane bear it out.
    fn take_role_over(&mut self, role: &Role, plane: Option<&Plane>) -> Result<(), String> {
        let sound = self.durable.running && self.durable.data == DataState::UpToDate;
        self.status = status_of(role);
        self.served = matches!(role, Role::Alone { .. } | Role::Paired { .. });
        match role {
            Role::Open => return if plane.is_none() { Ok(()) } else { Err("a data plane of a light module".into()) },
            _ if !(sound || self.settings.broken.adopt_what_was_left) => return Err("no data to serve".into()),
            Role::Alone { follower } if self.durable.solo => self.adopt_alone(follower.as_ref(), plane)?,
            Role::Paired { follower } if !self.durable.solo => self.adopt_paired(follower, plane)?,
            Role::Following { session, since, generation, history } if !self.durable.solo => {
                let following = Following {
                    session: *session,
                    since: *since,
                    generation: *generation,
                    history: history.clone(),
                    connected: true,
                    lost: false,
                };
                self.adopt_following(following, plane)?;
            }
            Role::Alone { .. } | Role::Paired { .. } | Role::Following { .. } => {
                return Err("another right to serve in the ledger".into());
            }
        }
        Ok(())
    }

    /// Alone, by the grant in the ledger. An order that was lost with the agent is given again.
    fn adopt_alone(&mut self, follower: Option<&settled::Follower>, plane: Option<&Plane>) -> Result<(), String> {
        let (generation, offered) = (self.durable.generation, follower.map(|follower| follower.session));
        match plane {
            None => {}
            Some(Plane::Serving { generation: known, acknowledges, session, connected })
                if *known == generation || self.durable.history.contains(known) =>
            {
                let frozen = matches!(acknowledges, Acknowledges::Frozen { .. });
                if let Some(follower) = follower.filter(|_| *session == offered && *known == generation && !frozen) {
                    self.serving = Serving::Accepting {
                        follower: taken(follower, self.now),
                        connected: *connected,
                        copied: *acknowledges == Acknowledges::Paired,
                    };
                    return Ok(());
                }
            }
            Some(plane) => return Err(differs(plane)),
        }
        self.serving = Serving::Alone { retry_at: self.now };
        self.replica(ReplicaCommand::ContinueAlone { generation });
        Ok(())
    }

    fn adopt_paired(&mut self, follower: &settled::Follower, plane: Option<&Plane>) -> Result<(), String> {
        let follower = taken(follower, self.now);
        match plane {
            _ if self.settings.broken.adopt_what_was_left => self.serving = Serving::Paired { follower },
            None => self.serving = Serving::Paired { follower },
            Some(Plane::Serving { generation, acknowledges, session, .. })
                if *generation == self.durable.generation =>
            {
                match acknowledges {
                    Acknowledges::Paired if *session == Some(follower.session) => {
                        self.serving = Serving::Paired { follower };
                    }
                    // The application has waited since the stream was lost, whoever was there to see it.
                    Acknowledges::Frozen { held_ms } => {
                        self.hold("the stream was lost while no agent was there");
                        self.serving =
                            Serving::Held { since: Instant(self.now.0.saturating_sub(*held_ms)), asked_at: None };
                    }
                    _ => return Err("the data plane acknowledges by another right".into()),
                }
            }
            Some(plane) => return Err(differs(plane)),
        }
        Ok(())
    }

    fn adopt_following(&mut self, following: Following, plane: Option<&Plane>) -> Result<(), String> {
        let lost = match plane {
            None => false,
            Some(Plane::Following { session, lost }) if *session == following.session => *lost,
            Some(plane) => return Err(differs(plane)),
        };
        self.following = Some(Following { lost, connected: !lost, ..following });
        if lost {
            let text = format!("the stream from {} was lost while no agent was there", self.settings.peer_name);
            self.take_edge(Trigger::FellBehind, &text);
        } else {
            // The word may have been lost with the agent; said twice it does no harm.
            self.replica(ReplicaCommand::ConfirmUpToDate);
        }
        Ok(())
    }

    /// Addresses, checkers, health: what has to be there again, or must not be.
    fn take_effects_over(&mut self, settled: &Settled, away_ms: u64) {
        let orders = std::mem::take(&mut self.out.acts);
        self.addresses_set = settled.addresses_set;
        self.healthy = settled.healthy;
        let apart = matches!(self.serving, Serving::Paired { .. }) && self.apart_with_witness();
        if self.slept_until.is_some() || apart || matches!(self.serving, Serving::Held { .. }) {
            // Before anything else: a peer that is silent, or whose stream is lost, may serve already.
            self.drop_addresses();
        }
        self.out.acts.extend(orders);
        if self.addresses_set {
            // They may have been taken away meanwhile; those that are there stay as they are.
            let run = self.next_run();
            self.restoring = Some(run);
            self.act(Act::SetAddresses { run });
        }
        self.act(Act::StartChecks { when: When::Pre });
        for level in [When::Both, When::Prim, When::Second, When::Sec] {
            if settled.application.checked.has(level) {
                self.start_checks(level);
            }
        }
        if self.healthy {
            self.act(Act::SetHealth { ready: true });
        }
        let text = format!("a restarted agent goes on with what runs here, {away_ms} ms after the last one");
        self.event(EventLevel::Event, text);
    }
}

fn status_of(role: &Role) -> Status {
    match role {
        Role::Open => automaton::UP,
        Role::Alone { .. } => automaton::ALONE,
        Role::Paired { .. } => automaton::PRIM,
        Role::Following { .. } => automaton::SECOND,
    }
}

fn written(follower: &Follower) -> settled::Follower {
    let Follower { session, origin, confirmed, .. } = *follower;
    settled::Follower { session, origin, confirmed }
}

fn taken(follower: &settled::Follower, now: Instant) -> Follower {
    let settled::Follower { session, origin, confirmed } = *follower;
    Follower { session, origin, confirmed, since: now }
}

fn differs(plane: &Plane) -> String {
    format!("the data plane does something else: {plane:?}")
}
