//! A sequence of calls as a few lines of text: what can be searched over, kept, and replayed.
//!
//! ```text
//! arena 1048576
//! fill 200 of 4100..4240 fence 16 seed 9
//! fill full of 64
//! free group 0 shuffled seed 9
//! alloc 4340
//! ```
//!
//! Each step means something whatever the steps before it left, and has a seed of its own, so that
//! a step can be left out or changed without changing the others. Every call is counted.

mod text;
mod vary;

/// An arena, and what is done to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Genome {
    /// Bytes of the arena.
    pub arena: usize,
    /// One after the other.
    pub steps: Vec<Step>,
}

/// A phase of many calls, or one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Allocates blocks, which are a group from then on.
    Fill {
        /// How many; `None` is as many as are served, and then one.
        count: Option<usize>,
        /// Of which sizes.
        sizes: Sizes,
        /// At which alignment.
        align_log2: u8,
        /// Whether they are to be zero.
        zeroed: bool,
        /// Each is followed by a block of that many bytes, which keeps it from its neighbour. These
        /// blocks are the group after.
        fence: Option<usize>,
        /// For the sizes.
        seed: u64,
    },
    /// Releases blocks.
    Free {
        /// Which ones.
        which: Selection,
        /// In which order.
        order: Order,
        /// For both.
        seed: u64,
    },
    /// Changes the sizes of blocks, the oldest one's first.
    Resize {
        /// Which ones.
        which: Selection,
        /// To which sizes.
        sizes: Sizes,
        /// For both.
        seed: u64,
    },
    /// Replaces a block, chosen at random, by a new one, again and again.
    Churn {
        /// How often.
        count: usize,
        /// The new blocks' sizes.
        sizes: Sizes,
        /// Their alignment.
        align_log2: u8,
        /// For the choice and the sizes.
        seed: u64,
    },
    /// Finds the largest size that is served, by halves, and gives each block back.
    Measure,
    /// Allocates one block.
    Alloc {
        /// How large.
        size: Size,
        /// At which alignment.
        align_log2: u8,
        /// Whether it is to be zero.
        zeroed: bool,
    },
    /// Releases one block.
    FreeOne {
        /// Which one, by age, modulo their number.
        block: usize,
    },
    /// Changes one block's size.
    ResizeOne {
        /// Which one, by age, modulo their number.
        block: usize,
        /// Its new size.
        size: Size,
    },
    /// Tries calls that the state suggests, each followed by another that undoes it as far as
    /// possible.
    Try {
        /// How many.
        count: usize,
        /// For which ones.
        seed: u64,
    },
}

/// Sizes in bytes, one for each block of a phase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sizes {
    /// Always the same.
    Same(usize),
    /// Each size from one to another, as likely as the next.
    Between(usize, usize),
    /// Each power of two from one to another, as likely as the next, and any size within it.
    Magnitudes(usize, usize),
    /// A first size, and how much larger each next one is, until there were so many; then from the
    /// start.
    Ladder {
        /// The first.
        first: usize,
        /// The difference.
        step: usize,
        /// How many.
        count: usize,
    },
    /// A size with one of its bits inverted, each bit from one to another in turn: what makes a
    /// tree that goes by bits deep.
    Bits {
        /// The size.
        size: usize,
        /// The first bit.
        low: u8,
        /// The last bit.
        high: u8,
    },
}

/// A size in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// Just that.
    Bytes(usize),
    /// More than the size that was found last by [`Step::Measure`], by so much.
    Largest(isize),
}

/// Some of the blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// Of one group, by its number, modulo how many there are; or of all.
    pub group: Option<usize>,
    /// Of those every so many, and from which one on.
    pub every: (usize, usize),
    /// Of those about so many of a hundred, at random.
    pub share: u8,
    /// Of those the ones with a size between two.
    pub sizes: Option<(usize, usize)>,
}

impl Selection {
    /// All blocks.
    pub const ALL: Self = Self { group: None, every: (1, 0), share: 100, sizes: None };
}

/// An order of blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// By age.
    Oldest,
    /// By age, backwards.
    Newest,
    /// By address.
    Lowest,
    /// By address, backwards.
    Highest,
    /// At random.
    Shuffled,
    /// By age, so many further each time, round and round.
    Stride(usize),
}
