//! Blocks that threads own or hand on.

use std::alloc::GlobalAlloc;

use super::client::{Block, Client, Failure, Watch};

/// Slots that hold a block each, or none.
pub(super) struct Table {
    slots: Vec<Option<Block>>,
}

impl Table {
    /// Empty slots.
    pub(super) fn new(slots: usize) -> Self {
        Self { slots: std::iter::repeat_with(|| None).take(slots).collect() }
    }

    /// A slot.
    #[inline(always)]
    pub(super) fn slot(&mut self, index: usize) -> &mut Option<Block> {
        &mut self.slots[index]
    }

    /// All slots.
    pub(super) fn slots(&mut self) -> impl Iterator<Item = &mut Option<Block>> {
        self.slots.iter_mut()
    }

    /// Frees every block; what watches calls does not see these.
    pub(super) fn clear<A: GlobalAlloc, W: Watch>(&mut self, allocator: &A) -> Result<(), Failure> {
        let mut client: Client<'_, A, W> = Client::new(allocator);
        self.slots.iter_mut().filter_map(Option::take).try_for_each(|block| client.free(block))
    }
}
