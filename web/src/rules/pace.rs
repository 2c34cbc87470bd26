//! How many parts of a long list are drawn between two pictures of the browser.

/// At the beginning.
pub const FIRST: usize = 2;
/// Time that one piece of drawing should take, milliseconds: the page answers within a picture or two.
const PIECE_MS: u64 = 16;
/// However quick it was.
const MOST: usize = 24;

/// How many are drawn next, when drawing `count` took so long.
pub fn next(count: usize, took_ms: u64) -> usize {
    let fitting = count as u64 * PIECE_MS / took_ms.max(1);
    // A piece that happened to be quick says little of the next.
    usize::try_from(fitting).unwrap_or(MOST).clamp(1, (2 * count).min(MOST))
}

#[cfg(test)]
mod tests {
    use super::next;

    #[test]
    fn a_slow_machine_draws_less_at_a_time_and_a_quick_one_more() {
        assert_eq!(next(6, 96), 1);
        assert_eq!(next(6, 32), 3);
        assert_eq!(next(6, 16), 6);
        assert_eq!(next(6, 8), 12);
        assert_eq!(next(6, 0), 12, "not more than twice as many");
        assert_eq!(next(20, 1), 24);
        assert_eq!(next(1, u64::MAX), 1);
    }
}
