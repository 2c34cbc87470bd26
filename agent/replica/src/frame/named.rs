//! What a node names as possibly different, as it travels in a greeting: paths below the replicated directories.

use super::FrameError;
use super::body::{Reader, Writer};

/// Longest path, in bytes.
const PATH_MAX: usize = 4096;

/// One thing that may differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Number of the replicated directory.
    pub root: u16,
    /// Steps below it; none for itself.
    pub steps: Vec<Vec<u8>>,
    /// What of the object there.
    pub what: ToldWhat,
}

/// What may differ of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToldWhat {
    /// Whatever has this name in it, with everything below.
    Name(Vec<u8>),
    /// All files in it.
    AllFiles,
    /// Its attributes and, if so, all of its content.
    Inside {
        /// All of its content.
        whole: bool,
    },
    /// Its attributes and these blocks of 64 KiB: number of the extent, one bit per block.
    Blocks(Vec<(u32, u64)>),
}

impl Writer<'_> {
    pub(super) fn told(&mut self, told: &Told) {
        self.u16(told.root);
        self.u16(told.steps.len() as u16);
        told.steps.iter().for_each(|step| self.short(step));
        match &told.what {
            ToldWhat::Name(name) => {
                self.u8(0);
                self.short(name);
            }
            ToldWhat::AllFiles => self.u8(1),
            ToldWhat::Inside { whole } => self.u8(2 + u8::from(*whole)),
            ToldWhat::Blocks(blocks) => {
                self.u8(4);
                self.u16(blocks.len() as u16);
                for (index, mask) in blocks {
                    self.u32(*index);
                    self.u64(*mask);
                }
            }
        }
    }
}

impl Reader<'_> {
    pub(super) fn told(&mut self) -> Result<Told, FrameError> {
        let root = self.u16()?;
        let count = self.u16()?;
        let mut steps = Vec::new();
        let mut length = 0;
        for _ in 0..count {
            let step = self.name()?;
            length += step.len() + 1;
            if length > PATH_MAX {
                return Err(self.bad("a path too long"));
            }
            steps.push(step);
        }
        let what = match self.u8()? {
            0 => ToldWhat::Name(self.name()?),
            1 => ToldWhat::AllFiles,
            2 => ToldWhat::Inside { whole: false },
            3 => ToldWhat::Inside { whole: true },
            4 => {
                let count = self.u16()?;
                let blocks = (0..count).map(|_| Ok((self.u32()?, self.u64()?)));
                ToldWhat::Blocks(blocks.collect::<Result<_, FrameError>>()?)
            }
            _ => return Err(self.bad("unknown kind of difference")),
        };
        Ok(Told { root, steps, what })
    }
}
