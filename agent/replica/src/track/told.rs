//! What is named, to and from the parts in which it travels.

use super::{Inside, Named, TreePath};
use crate::frame::{Told, ToldWhat};

/// Longest part of what is told, in bytes.
const PART: usize = 256 << 10;
/// Most parts taken of a peer, and most things told; a peer that tells more is compared whole.
pub(crate) const PARTS_MAX: u32 = 4096;
pub(crate) const TOLD_MAX: usize = 1 << 17;

/// Most blocks told at once, in extents.
const BLOCKS_MAX: usize = 4096;

impl Named {
    /// In parts that each fit a frame; at least one.
    pub(crate) fn parts(&self) -> Vec<Vec<Told>> {
        let mut parts = vec![Vec::new()];
        let mut length = 0;
        let mut put = |path: &TreePath, what: ToldWhat, size: usize| {
            let told = Told { root: path.root, steps: path.steps.clone(), what };
            length += size + 16 + path.steps.iter().map(|step| step.len() + 2).sum::<usize>();
            if length > PART {
                length = 0;
                parts.push(Vec::new());
            }
            if let Some(part) = parts.last_mut() {
                part.push(told);
            }
        };
        for (path, names) in &self.names {
            names.iter().for_each(|name| put(path, ToldWhat::Name(name.clone()), name.len()));
        }
        self.all_files.iter().for_each(|path| put(path, ToldWhat::AllFiles, 0));
        for (path, inside) in &self.insides {
            put(path, ToldWhat::Inside { whole: inside.whole }, 0);
            let blocks: Vec<(u32, u64)> = inside.extents.iter().map(|(index, mask)| (*index, *mask)).collect();
            for blocks in blocks.chunks(BLOCKS_MAX) {
                put(path, ToldWhat::Blocks(blocks.to_vec()), blocks.len() * 12);
            }
        }
        parts
    }

    /// Adds what was told.
    pub(crate) fn hear(&mut self, told: Vec<Told>) {
        for Told { root, steps, what } in told {
            let path = TreePath { root, steps };
            match what {
                ToldWhat::Name(name) => {
                    self.names.entry(path).or_default().insert(name);
                }
                ToldWhat::AllFiles => {
                    self.all_files.insert(path);
                }
                ToldWhat::Inside { whole } => self.insides.entry(path).or_default().whole |= whole,
                ToldWhat::Blocks(blocks) => {
                    let inside: &mut Inside = self.insides.entry(path).or_default();
                    blocks.into_iter().for_each(|(index, mask)| *inside.extents.entry(index).or_default() |= mask);
                }
            }
        }
    }
}
