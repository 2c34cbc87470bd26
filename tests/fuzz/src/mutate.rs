//! Damage: bytes and bits changed, pieces cut, doubled, moved or taken from elsewhere, numbers put to their limits.

/// A small generator, so that every run makes the same mutations.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Of its own for each seed.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x1234_5678_9abc_def1)
    }

    /// Below `end` (0 if that is 0).
    pub fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end.max(1)
    }
}

/// What texts trip over.
const SIGNS: [&[u8]; 21] = [
    b"<",
    b"\"",
    b"%",
    b"]]>",
    b"<![CDATA[",
    b"(",
    b"\xc3\xa4",
    b"99999999999999999999",
    b"-1",
    b"\\u0000",
    b"\\ud800",
    b"null",
    b"{}",
    b"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
    b"1e999",
    b",",
    b"\xff",
    b"\0",
    b"../",
    b"\xe2\x80\xa8",
    b"65536",
];

/// Numbers at the limits of fields, little-endian.
const LIMITS: [u64; 10] = [0, 1, 0x7f, 0xff, 0x7fff, 0xffff, 0x7fff_ffff, 0xffff_ffff, 0x7fff_ffff_ffff_ffff, u64::MAX];

/// A damaged copy of `bytes`; pieces may come from `other`.
pub fn mutate(bytes: &[u8], other: &[u8], random: &mut Random) -> Vec<u8> {
    let mut out = bytes.to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(out.len() + 1);
        let end = (at + random.below(24)).min(out.len());
        match random.below(9) {
            0 if at < out.len() => out[at] = random.below(256) as u8,
            1 if at < out.len() => out[at] ^= 1 << random.below(8),
            2 => drop(out.drain(at..end)),
            3 => drop(out.splice(at..at, out[at..end].to_vec())),
            4 => {
                let from = random.below(other.len() + 1);
                let piece = other[from..(from + random.below(40)).min(other.len())].to_vec();
                drop(out.splice(at..end, piece));
            }
            5 => drop(out.splice(at..at, SIGNS[random.below(SIGNS.len())].to_vec())),
            6 => {
                let number = LIMITS[random.below(LIMITS.len())].to_le_bytes();
                let length = [1, 2, 4, 8][random.below(4)].min(out.len() - at);
                out[at..at + length].copy_from_slice(&number[..length]);
                if random.below(2) == 0 {
                    out[at..at + length].reverse();
                }
            }
            7 if random.below(4) == 0 => out.truncate(at),
            _ => out.extend((0..random.below(16)).map(|_| random.below(256) as u8).collect::<Vec<_>>()),
        }
    }
    out
}
