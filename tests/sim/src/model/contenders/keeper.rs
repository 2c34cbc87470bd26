//! The register: it decides as a real one does, and asks the nodes when it lives anew.

use super::{Message, Part};
use holdfast_api::ids::NodeId;
use holdfast_api::register::{self, Arming, Ask, Record};
use stateright::actor::{Id, Out};

/// The register.
#[derive(Clone, Debug)]
pub(super) struct Keeper {
    pub(super) record: Option<Record>,
    pub(super) past: Option<Record>,
    pub(super) nodes: u16,
    pub(super) arming: Arming,
    pub(super) life: u64,
}

impl Keeper {
    pub(super) fn live_anew(&mut self, out: &mut Out<Part>) {
        self.life += 1;
        self.arming = Arming::new((1..=self.nodes).map(NodeId));
        (0..self.nodes).for_each(|node| out.send(Id::from(usize::from(node)), Message::Question { life: self.life }));
    }

    pub(super) fn hear(&mut self, unarmed: bool, message: Message, out: &mut Out<Part>) {
        match message {
            Message::Report { node, life, number } if life == self.life => self.arming.report(NodeId(node), number),
            Message::Ask { start, ask, wanted: (number, owner, nonce) } => {
                let mut arming = self.arming.clone();
                if unarmed {
                    arming.arm();
                }
                let wanted = Ask { number, owner: NodeId(owner), nonce };
                let answer = match register::answer(self.record.as_ref(), &arming, &wanted) {
                    Ok(new) => {
                        if new.is_some() {
                            self.past = self.record;
                            self.record = new;
                        }
                        Message::Granted { start, ask }
                    }
                    Err(refusal) => Message::Refused { start, ask, number: refusal.number() },
                };
                out.send(Id::from(usize::from(owner) - 1), answer);
            }
            _ => {}
        }
    }
}
