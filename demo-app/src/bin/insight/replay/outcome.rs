//! What came of a replay.

use serde::{Deserialize, Serialize};

/// What came of a replay, and what the arena looks like at its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// Events that were performed, with the one that was refused.
    pub(crate) events: u64,
    /// What was refused, and ended the replay. (What the traced program was refused may be refused here, too.)
    pub(crate) refused: Option<Refused>,
    /// What the program had live, as it asked for it, at most.
    pub(crate) peak_asked: u64,
    /// The first event behind which it had that.
    pub(crate) peak_event: u64,
    /// The figures at the end.
    pub(crate) figures: Figures,
    /// For each cell of the arena, how many percent are in use.
    pub(crate) cells: Vec<u8>,
}

/// A request that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Refused {
    /// Bytes asked for.
    pub(crate) bytes: u64,
    /// The alignment.
    pub(crate) align: u64,
    /// What the block had before, if it was a change of size.
    pub(crate) former_bytes: Option<u64>,
}

/// Figures of the allocator and of the program. All are in bytes but `blocks` and `headers`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Figures {
    /// What blocks can be made of: the arena without the map of its pages and what alignment costs at its ends.
    pub(crate) usable: u64,
    /// Blocks that the program has.
    pub(crate) blocks: u64,
    /// What it asked for in these.
    pub(crate) asked: u64,
    /// What it could use of these.
    pub(crate) capacity: u64,
    /// Those of them that have a header.
    pub(crate) headers: u64,
    /// Bytes in use as the heap sees it: blocks with their headers, and what is in caches.
    pub(crate) live_and_cached: u64,
    /// The same without what is in caches.
    pub(crate) live: u64,
    /// The most that the former was.
    pub(crate) peak: u64,
    /// What is not in use, and not in caches either.
    pub(crate) free: u64,
    /// The largest free block.
    pub(crate) largest_free: u64,
    /// Free blocks.
    pub(crate) free_blocks: u64,
}

/// Why a request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// All that is free together would not do, or hardly anything is free: less than a sixteenth of the arena.
    Exhausted,
    /// What is free would do, but it lies in pieces.
    Fragmented,
}

/// Bytes of a block's header.
pub(crate) const HEADER: u64 = 4;

impl Figures {
    /// What is in caches, and not in use by the program.
    pub(crate) fn cached(&self) -> u64 {
        self.live_and_cached - self.live
    }

    /// Why a request was refused, as the allocator's own report has it.
    pub(crate) fn verdict(&self, refused: &Refused) -> Verdict {
        let needed = refused.bytes.saturating_add(HEADER);
        let is_enough = self.free >= needed && self.free >= self.usable / 16;
        if is_enough { Verdict::Fragmented } else { Verdict::Exhausted }
    }
}
