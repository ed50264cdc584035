//! Taking everything back at once.

use super::{Figures, Heap};
use crate::size::Index;

impl Heap {
    /// Takes all blocks and slots back, whoever has them. The heap is as it was in the beginning, but for its peak,
    /// and for what it knows of what was never used.
    ///
    /// Takes a constant time, and a step for each page that was ever used.
    ///
    /// # Safety
    ///
    /// - Nobody uses a block or a slot of the heap any more, and caches own no runs of it.
    pub(crate) unsafe fn reset(&mut self) {
        // Runs lie in front of what was never used.
        self.pages.forget_before(self.used_up_to);
        let mut figures = Figures::new();
        figures.set(0, self.figures.peak());
        figures.set_arena(self.figures.arena());
        *self = Self {
            arena: self.arena,
            region: self.region,
            pages: self.pages,
            end: self.end,
            committed: self.committed,
            growth: self.growth,
            top: Index::FIRST,
            figures,
            used_up_to: self.used_up_to,
            facts: self.facts,
            ..Self::new()
        };
    }
}
