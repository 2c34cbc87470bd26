//! The lines of a log that the page holds: a piece without gaps of what the server found, however long the log is.

use holdfast_api::agent::{LogKind, LogLine, LogPage};

/// Lines asked for at a time.
pub const PAGE_LINES: u32 = 500;
/// Lines kept on the page; beyond them the other end is let go, and asked for again when it is looked at.
pub const KEPT_LINES: usize = 2_000;
/// Lines that are enough to look at when older ones are searched.
const ENOUGH: usize = 40;

/// Which lines are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Letters of the levels; empty: all.
    pub levels: String,
    /// Text that the lines hold, capital or not; empty: every line.
    pub holding: String,
}

impl Filter {
    /// True if it lets every line pass.
    pub fn is_open(&self) -> bool {
        self.levels.is_empty() && self.holding.is_empty()
    }
}

/// The lines held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Piece {
    /// Oldest first.
    pub lines: Vec<LogLine>,
    /// Position of the log's oldest line.
    first: u64,
    /// Everything from here on was looked through.
    start: u64,
    /// Where to go on reading; none before the first page.
    next: Option<u64>,
    /// The newest lines were let go.
    detached: bool,
}

impl Piece {
    /// Where to read on from; none: from the newest lines.
    pub fn from(&self) -> Option<u64> {
        if self.detached { None } else { self.next }
    }

    /// Where older lines end; none when there are none.
    pub fn before(&self) -> Option<u64> {
        (self.next.is_some() && self.start > self.first).then_some(self.start)
    }

    /// True if the piece does not reach to the newest line.
    pub fn is_detached(&self) -> bool {
        self.detached
    }

    /// True if so little was found that older lines are to be looked through.
    pub fn wants_older(&self) -> bool {
        self.lines.len() < ENOUGH && self.before().is_some()
    }

    /// Takes the newest lines in place of what is held.
    pub fn take_last(&mut self, page: LogPage) {
        *self =
            Self { lines: page.lines, first: page.first, start: page.start, next: Some(page.next), detached: false };
    }

    /// Takes what was written since; how many lines that is. A log that was cut off beyond what is held begins anew.
    pub fn take_newer(&mut self, page: LogPage) -> usize {
        if self.next.is_some_and(|next| page.next < next) {
            // Another log is there now: its newest lines are read next.
            *self = Self::default();
            return 0;
        }
        if self.next.is_none_or(|next| page.first > next) {
            self.lines.clear();
            self.start = page.start;
        }
        self.first = page.first;
        self.next = Some(page.next);
        let fresh = page.lines.len();
        self.lines.extend(page.lines);
        let excess = self.lines.len().saturating_sub(KEPT_LINES);
        if excess > 0 {
            self.lines.drain(..excess);
            self.start = self.lines[0].at;
        }
        fresh
    }

    /// Takes older lines; the newest are let go for them once there are too many.
    pub fn take_older(&mut self, page: LogPage) {
        self.first = page.first;
        self.start = page.start;
        self.lines.splice(0..0, page.lines);
        if self.lines.len() > KEPT_LINES {
            self.lines.truncate(KEPT_LINES);
            self.detached = true;
        }
    }
}

/// The choices of levels, as (letters, English words); the application log has none.
pub fn levels(which: LogKind) -> &'static [(&'static str, &'static str)] {
    use crate::language::later;
    match which {
        LogKind::Module => &[
            ("", later!("All levels")),
            ("CWE", later!("Errors, warnings, events")),
            ("CW", later!("Errors and warnings")),
            ("U", later!("Orders of users")),
            ("S", later!("Scripts")),
        ],
        LogKind::Application => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::{KEPT_LINES, Piece};
    use holdfast_api::agent::{LogLine, LogPage};

    /// Lines of ten bytes at these positions, of a log that reaches from `first` to `end`.
    fn page(first: u64, start: u64, next: u64, at: impl IntoIterator<Item = u64>) -> LogPage {
        let line = |at| LogLine { at, unix_ms: at, level: "I".into(), text: String::new() };
        LogPage { first, start, next, end: next, lines: at.into_iter().map(line).collect() }
    }

    fn positions(piece: &Piece) -> (u64, u64, usize) {
        (piece.lines.first().map_or(0, |line| line.at), piece.lines.last().map_or(0, |line| line.at), piece.lines.len())
    }

    #[test]
    fn a_log_is_followed_and_read_backwards_without_gaps_or_repeats() {
        let mut piece = Piece::default();
        assert_eq!((piece.from(), piece.before()), (None, None));
        piece.take_last(page(0, 500, 600, (500..600).step_by(10)));
        assert_eq!((piece.from(), piece.before()), (Some(600), Some(500)));
        assert_eq!(piece.take_newer(page(0, 600, 620, [600, 610])), 2);
        piece.take_older(page(0, 300, 500, (300..500).step_by(10)));
        assert_eq!((positions(&piece), piece.from(), piece.before()), ((300, 610, 32), Some(620), Some(300)));
        piece.take_older(page(0, 0, 300, (0..300).step_by(10)));
        assert_eq!((positions(&piece), piece.before()), ((0, 610, 62), None), "its beginning");
    }

    #[test]
    fn no_more_lines_are_held_than_can_be_drawn_at_whichever_end_they_come() {
        let kept = KEPT_LINES as u64;
        let mut piece = Piece::default();
        piece.take_last(page(0, 90_000, 90_010, [90_000]));
        piece.take_newer(page(0, 90_010, 200_000, (90_010..200_000).step_by(10)));
        assert_eq!(positions(&piece), (200_000 - kept * 10, 199_990, KEPT_LINES));
        assert_eq!(piece.before(), Some(200_000 - kept * 10), "what was let go is asked for again");
        piece.take_older(page(0, 170_000, 180_000, (170_000..180_000).step_by(10)));
        assert_eq!(positions(&piece), (170_000, 170_000 + kept * 10 - 10, KEPT_LINES));
        assert!(piece.is_detached() && piece.from().is_none(), "the newest are read anew");
    }

    #[test]
    fn a_log_that_was_cut_off_or_begun_again_replaces_what_is_held() {
        let mut piece = Piece::default();
        piece.take_last(page(0, 0, 100, (0..100).step_by(10)));
        assert_eq!(piece.take_newer(page(500, 500, 520, [500, 510])), 2);
        assert_eq!(positions(&piece), (500, 510, 2));
        piece.take_newer(page(0, 20, 20, []));
        assert_eq!((piece.from(), piece.lines.len()), (None, 0), "a new file is read anew");
    }

    #[test]
    fn a_filter_that_finds_little_wants_older_lines_until_the_beginning() {
        let mut piece = Piece::default();
        piece.take_last(page(0, 5_000, 6_000, []));
        assert!(piece.wants_older());
        piece.take_older(page(0, 2_000, 5_000, [2_500]));
        assert!(piece.wants_older());
        piece.take_older(page(0, 0, 2_000, []));
        assert!(!piece.wants_older() && piece.lines.len() == 1);
    }
}
