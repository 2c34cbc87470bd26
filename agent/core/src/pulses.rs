//! When the next heartbeat is due on each link: every link keeps its own pulse.

use crate::time::Instant;

/// Per link, its pulse and when the next is due.
#[derive(Clone, Debug)]
pub struct Pulses {
    links: Vec<(u64, Instant)>,
}

impl Pulses {
    /// Due at once on every link; each has its own pulse in milliseconds.
    pub fn new(pulses_ms: impl IntoIterator<Item = u64>, now: Instant) -> Self {
        Self { links: pulses_ms.into_iter().map(|pulse_ms| (pulse_ms, now)).collect() }
    }

    /// The links on which a heartbeat is due.
    pub fn due(&self, now: Instant) -> Vec<usize> {
        (0..self.links.len()).filter(|link| now >= self.links[*link].1).collect()
    }

    /// When the next is due; `None` without links.
    pub fn next(&self) -> Option<Instant> {
        self.links.iter().map(|(_, next)| *next).min()
    }

    /// A heartbeat goes out on this link, or would, if this node spoke. `in_step`: the next is due at a multiple of the
    /// pulse, never later than a pulse from now. So modules with the same pulse beat together, and the machine wakes once
    /// for all of them.
    pub fn beat(&mut self, link: usize, now: Instant, in_step: bool) {
        if let Some((pulse_ms, next)) = self.links.get_mut(link) {
            let later = now.after(*pulse_ms);
            *next = if in_step { Instant(later.0 - later.0 % (*pulse_ms).max(1)) } else { later };
        }
    }

    /// The next on this link, and on those of the same pulse, is due now, unless one has gone out within the last quarter
    /// of the pulse.
    pub fn hasten(&mut self, link: usize, now: Instant) {
        let Some((pulse_ms, _)) = self.links.get(link).copied() else { return };
        for (_, next) in self.links.iter_mut().filter(|(other, _)| *other == pulse_ms) {
            if next.since(now) * 4 <= pulse_ms * 3 {
                *next = now;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_link_keeps_its_own_pulse() {
        let mut pulses = Pulses::new([100, 300], Instant(0));
        let mut sent = [0; 2];
        for now in (0..900).step_by(10).map(Instant) {
            for link in pulses.due(now) {
                pulses.beat(link, now, false);
                sent[link] += 1;
            }
        }
        assert_eq!(sent, [9, 3]);
        assert_eq!(pulses.next(), Some(Instant(900)));
        assert_eq!(Pulses::new([], Instant(0)).next(), None);
    }

    #[test]
    fn modules_with_the_same_pulse_beat_together_and_never_later_than_a_pulse() {
        for started in [0, 1, 99, 100, 101, 250] {
            let mut pulses = Pulses::new([100], Instant(started));
            pulses.beat(0, Instant(started), true);
            let next = pulses.next().unwrap();
            assert!(next.0.is_multiple_of(100) && next.0 > started && next.0 <= started + 100, "{started}: {next:?}");
        }
    }

    #[test]
    fn a_pulse_may_be_brought_forward_but_not_doubled() {
        let mut pulses = Pulses::new([100, 400], Instant(0));
        (0..2).for_each(|link| pulses.beat(link, Instant(0), false));
        pulses.hasten(0, Instant(30));
        pulses.hasten(1, Instant(30));
        assert_eq!(pulses.due(Instant(30)), [0], "the other has just gone out");
        pulses.hasten(1, Instant(100));
        assert_eq!(pulses.due(Instant(100)), [0, 1]);
    }
}
