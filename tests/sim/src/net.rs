//! The networks between the two nodes: cuts by link and direction.

/// `cut[from][link]`: nothing of node `from` passes that link.
#[derive(Clone, Debug)]
pub struct Net {
    cut: [Vec<bool>; 2],
}

impl Net {
    /// Whole.
    pub fn new(links: usize) -> Self {
        Self { cut: [vec![false; links], vec![false; links]] }
    }

    /// Number of links.
    pub fn links(&self) -> usize {
        self.cut[0].len()
    }

    /// Whether a datagram of `from` passes `link`.
    pub fn passes(&self, from: usize, link: usize) -> bool {
        !self.cut[from][link]
    }

    /// Whether replication passes from node `from`.
    pub fn stream_passes(&self, from: usize) -> bool {
        self.passes(from, 0)
    }

    /// Cuts or joins a direction of a link.
    pub fn set(&mut self, from: usize, link: usize, cut: bool) {
        self.cut[from][link] = cut;
    }

    /// Cuts or joins everything.
    pub fn set_all(&mut self, cut: bool) {
        for from in 0..2 {
            self.cut[from].fill(cut);
        }
    }
}
