//! Measuring in turns: each contender a short slice, again and again; the best slice of each counts.

use anyhow::Result;
use std::time::{Duration, Instant};

/// Length of one slice.
pub const SLICE: Duration = Duration::from_millis(250);

/// One of those that are compared; each call measures one slice.
pub type Contender<'a> = Box<dyn FnMut() -> Result<f64> + 'a>;

/// Which slice is the best.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Best {
    /// The least: times.
    Least,
    /// The most: rates.
    Most,
}

/// Measures all in turns; the best of each.
///
/// # Errors
/// A contender's.
pub fn in_turns<const N: usize>(rounds: usize, best: Best, mut contenders: [Contender<'_>; N]) -> Result<[f64; N]> {
    let mut figures = [f64::NAN; N];
    for _ in 0..rounds.max(1) {
        for (figure, contender) in figures.iter_mut().zip(&mut contenders) {
            let measured = contender()?;
            // NaN, the first time, gives way.
            *figure = match best {
                Best::Least => figure.min(measured),
                Best::Most => figure.max(measured),
            };
        }
    }
    Ok(figures)
}

/// Median time of `work` over one slice, in microseconds.
///
/// # Errors
/// `work`'s.
pub fn median_us(mut work: impl FnMut() -> Result<()>) -> Result<f64> {
    let mut times = Vec::with_capacity(1 << 16);
    let began = Instant::now();
    let mut before = began;
    while before - began < SLICE {
        work()?;
        let now = Instant::now();
        times.push(now - before);
        before = now;
    }
    Ok(median(times))
}

/// Median of times, in microseconds.
pub fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times.get(times.len() / 2).map_or(f64::NAN, |time| time.as_secs_f64() * 1e6)
}

/// Times a second that `work` is done in one slice.
///
/// # Errors
/// `work`'s.
pub fn rate(mut work: impl FnMut() -> Result<()>) -> Result<f64> {
    let began = Instant::now();
    let mut count = 0_u32;
    while began.elapsed() < SLICE {
        work()?;
        count += 1;
    }
    Ok(f64::from(count) / began.elapsed().as_secs_f64())
}

/// Numbers that look random, the same in every run.
pub struct Random(u64);

impl Random {
    /// From `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// The next number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end.max(1)
    }

    /// Bytes that do not compress.
    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            bytes.extend_from_slice(&self.below(u64::MAX).to_le_bytes());
        }
        bytes.truncate(length);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::{Best, Contender, in_turns};

    #[test]
    fn the_best_of_each_contender_counts() {
        let slices = |figures: [f64; 3]| {
            let mut figures = figures.into_iter();
            Box::new(move || Ok(figures.next().unwrap_or(f64::NAN))) as Contender<'_>
        };
        let times = in_turns(3, Best::Least, [slices([3.0, 1.0, 2.0]), slices([9.0, 9.0, 8.0])]).unwrap();
        assert_eq!(times, [1.0, 8.0]);
        assert_eq!(in_turns(3, Best::Most, [slices([3.0, 1.0, 2.0])]).unwrap(), [3.0]);
    }
}
