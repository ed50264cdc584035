//! The one operation language: what every workload, trace and memory measurement is written in.
//!
//! A [`Sequence`] is generated once and handed unchanged to every allocator. Blocks are named by small
//! integers (*slots*); a slot is reused after its block was freed.

use std::fmt;

/// One call of an allocator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Allocate `size` bytes at `1 << align_log2`, into an empty slot.
    Allocate {
        /// The slot that receives the block.
        slot: u32,
        /// Bytes wanted, at least 1.
        size: u32,
        /// Binary logarithm of the alignment.
        align_log2: u8,
        /// Whether the block has to be all zeros.
        zeroed: bool,
    },
    /// Resize the block in a slot; it may move.
    Reallocate {
        /// The slot of a live block.
        slot: u32,
        /// Its new size in bytes, at least 1.
        size: u32,
    },
    /// Free the block in a slot.
    Free {
        /// The slot of a live block.
        slot: u32,
    },
}

impl Operation {
    /// An ordinary allocation: aligned to 8 bytes, contents arbitrary.
    #[must_use]
    pub const fn allocate(slot: u32, size: u32) -> Self {
        Self::Allocate { slot, size, align_log2: 3, zeroed: false }
    }

    /// The slot that the operation works on.
    #[must_use]
    pub const fn slot(self) -> u32 {
        match self {
            Self::Allocate { slot, .. } | Self::Reallocate { slot, .. } | Self::Free { slot } => slot,
        }
    }
}

/// What is wrong with a list of operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inconsistency {
    /// Index of the operation at fault.
    pub index: usize,
    /// What it does that it must not.
    pub reason: &'static str,
}

impl fmt::Display for Inconsistency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "operation {}: {}", self.index, self.reason)
    }
}

impl std::error::Error for Inconsistency {}

/// Largest alignment that a sequence may ask for (as a binary logarithm).
pub const MAX_ALIGN_LOG2: u8 = 16;

/// What a list of operations needs, found by walking it once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// Number of slots: one more than the largest slot named.
    pub slots: usize,
    /// Most bytes that are live at one time.
    pub peak_bytes: usize,
    /// Most blocks that are live at one time.
    pub peak_blocks: usize,
}

/// Walks the operations, checks that they make sense, and returns what they need.
///
/// # Errors
///
/// Names the first operation that frees or resizes an empty slot, fills an occupied one, asks for no bytes,
/// or asks for an alignment above `1 <<` [`MAX_ALIGN_LOG2`].
pub fn examine(operations: impl Iterator<Item = Operation>) -> Result<Extent, Inconsistency> {
    let mut live: Vec<u32> = Vec::new();
    let (mut bytes, mut blocks) = (0_usize, 0_usize);
    let mut extent = Extent::default();
    for (index, operation) in operations.enumerate() {
        let fault = |reason| Inconsistency { index, reason };
        let slot = operation.slot() as usize;
        if slot >= live.len() {
            live.resize(slot + 1, 0);
        }
        let old = live[slot];
        let new = match operation {
            Operation::Allocate { size, align_log2, .. } => {
                if old != 0 {
                    return Err(fault("allocates into a slot that holds a live block"));
                }
                if align_log2 > MAX_ALIGN_LOG2 {
                    return Err(fault("asks for too large an alignment"));
                }
                size
            }
            Operation::Reallocate { size, .. } => size,
            Operation::Free { .. } => 0,
        };
        if old == 0 && !matches!(operation, Operation::Allocate { .. }) {
            return Err(fault("touches a slot that holds no live block"));
        }
        if new == 0 && !matches!(operation, Operation::Free { .. }) {
            return Err(fault("asks for a block of no bytes"));
        }
        blocks = blocks + usize::from(old == 0) - usize::from(new == 0);
        bytes = bytes + new as usize - old as usize;
        live[slot] = new;
        extent.peak_bytes = extent.peak_bytes.max(bytes);
        extent.peak_blocks = extent.peak_blocks.max(blocks);
    }
    extent.slots = live.len();
    Ok(extent)
}

/// A named list of operations: first a part that builds the starting state, then the part that counts.
#[derive(Clone, Debug)]
pub struct Sequence {
    /// Name of the row that it becomes.
    pub name: String,
    /// Builds the starting state; never timed.
    pub setup: Vec<Operation>,
    /// What is measured.
    pub timed: Vec<Operation>,
    /// What both parts need together.
    pub extent: Extent,
}

impl Sequence {
    /// Puts the two parts together.
    ///
    /// # Errors
    ///
    /// The operations must pass [`examine`].
    pub fn new(
        name: impl Into<String>,
        setup: Vec<Operation>,
        timed: Vec<Operation>,
    ) -> Result<Self, Inconsistency> {
        let extent = examine(setup.iter().chain(&timed).copied())?;
        Ok(Self { name: name.into(), setup, timed, extent })
    }

    /// An arena so large that no allocator under test has a reason to refuse.
    #[must_use]
    pub fn generous_arena(&self) -> usize {
        const MEBIBYTE: usize = 1 << 20;
        let needed = 4 * self.extent.peak_bytes + 128 * self.extent.peak_blocks + 8 * MEBIBYTE;
        needed.next_multiple_of(MEBIBYTE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_stays_compact() {
        assert_eq!(size_of::<Operation>(), 12);
    }

    #[test]
    fn peaks_are_counted_over_all_operations() {
        let extent = examine(
            [
                Operation::allocate(0, 100),
                Operation::allocate(2, 50),
                Operation::Reallocate { slot: 0, size: 30 },
                Operation::Free { slot: 2 },
                Operation::Reallocate { slot: 0, size: 151 },
            ]
            .into_iter(),
        );
        let expected = Extent { slots: 3, peak_bytes: 151, peak_blocks: 2 };
        assert_eq!(extent, Ok(expected));
    }

    #[test]
    fn a_double_free_is_accused_by_its_index() {
        let operations =
            [Operation::allocate(0, 8), Operation::Free { slot: 0 }, Operation::Free { slot: 0 }];
        let fault = examine(operations.into_iter()).unwrap_err();
        assert_eq!(fault.to_string(), "operation 2: touches a slot that holds no live block");
    }

    #[test]
    fn an_occupied_slot_and_an_empty_request_are_refused() {
        let twice = [Operation::allocate(0, 8), Operation::allocate(0, 8)];
        assert_eq!(examine(twice.into_iter()).unwrap_err().index, 1);
        assert_eq!(examine([Operation::allocate(0, 0)].into_iter()).unwrap_err().index, 0);
    }
}
