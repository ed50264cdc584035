//! The operation language: what can be asked of a heap, as values that print as a sentence.

use std::fmt;

/// One request to a heap.
///
/// A live block is named by `which`, its rank among the live blocks by address, modulo their number; so every
/// sequence of operations means something, and stays meaningful when some of them are left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Alloc { size: usize, align: usize },
    AllocZeroed { size: usize, align: usize },
    Free { which: usize },
    Realloc { which: usize, new_size: usize },
}

/// An operation that was carried out, with the number of the block that it made, freed or resized.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    pub(super) operation: Operation,
    pub(super) block: usize,
    pub(super) refused: bool,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let block = self.block;
        match self.operation {
            Operation::Alloc { size, align } => write!(f, "alloc {size}/{align} as #{block}")?,
            Operation::AllocZeroed { size, align } => write!(f, "alloc zeroed {size}/{align} as #{block}")?,
            Operation::Free { .. } => write!(f, "free #{block}")?,
            Operation::Realloc { new_size, .. } => write!(f, "realloc #{block} to {new_size}")?,
        }
        if self.refused {
            f.write_str(" (refused)")?;
        }
        Ok(())
    }
}
