//! Looking at the heap as a whole: figures, all blocks in order, and a picture.

use super::Heap;
use crate::block::BlockHeader;
use crate::refusal::Refusal;
use crate::size::{BlockSize, GRANULE, HEADER, Index};
use crate::stats::Stats;
use core::alloc::Layout;

impl Heap {
    /// Counts the heap's blocks and bytes; takes time in proportion to the number of blocks. Free slots of
    /// runs count as free bytes, but not as free blocks. See [`Stats`] for an example.
    pub fn stats(&self) -> Stats {
        if !self.is_initialized() {
            return Stats::default();
        }
        let bytes = |granules: u32| granules as usize * GRANULE;
        let mut stats = Stats {
            arena_bytes: bytes(self.end.granules_since(Index::FIRST)),
            live_bytes: bytes(self.figures.live()),
            peak_bytes: bytes(self.figures.peak()),
            ..Stats::default()
        };
        stats.free_bytes = stats.arena_bytes - stats.live_bytes;
        for (offset, header) in self.blocks() {
            if header.is_free() {
                stats.free_blocks += 1;
                stats.largest_free_bytes = stats.largest_free_bytes.max(header.size());
            } else if header.is_run() {
                stats.live_blocks += self.slots(offset).count();
            } else {
                stats.live_blocks += 1;
            }
        }
        let top = self.reach().saturating_sub(self.top.get());
        if top >= BlockSize::MIN.granules() {
            stats.free_blocks += 1;
            stats.largest_free_bytes = stats.largest_free_bytes.max(bytes(top));
        }
        stats
    }

    /// What is told of a request that was refused. Takes a bounded number of steps.
    pub(crate) fn refusal(&self, layout: Layout) -> Refusal {
        let bytes = |granules: u32| granules as usize * GRANULE;
        let mut largest = self.reach().saturating_sub(self.top.get());
        if !self.victim.is_none() {
            // SAFETY: LISTED, the victim is a free block.
            largest = largest.max(unsafe { self.arena.tag(self.victim) }.granules());
        }
        if let Some(size) = self.free.largest(self.arena) {
            largest = largest.max(size.granules());
        }
        Refusal {
            layout,
            arena_bytes: bytes(self.end.get().saturating_sub(Index::FIRST.get())),
            live_bytes: bytes(self.figures.live()),
            largest_free_bytes: if largest < BlockSize::MIN.granules() { 0 } else { bytes(largest) - HEADER },
            growth: None,
        }
    }

    /// All blocks from the lowest address up, each with the distance of its payload from the arena's origin
    /// in bytes. The top, the free span behind the last block, has no header and is not among them. See
    /// [`Blocks`] for an example.
    pub fn blocks(&self) -> Blocks<'_> {
        Blocks { heap: self, index: Index::FIRST }
    }

    /// The slots in use of the run at a block's distance from the arena's origin, as [`blocks`](Self::blocks)
    /// gives it: the distance of each from the origin, and its size, in bytes. None if there is no run.
    ///
    /// ```
    /// use core::alloc::Layout;
    /// use mem_alloc_rust::Heap;
    ///
    /// let mut arena = vec![0u64; 1 << 17];
    /// let mut heap = Heap::new();
    /// // SAFETY: only the heap uses the arena, which is all zero.
    /// unsafe { heap.init(arena.as_mut_ptr().cast(), 1 << 20, true) }.unwrap();
    /// // So many of a size earn it runs. Each slot holds what was asked for, without a header.
    /// for _ in 0..1000 {
    ///     heap.alloc(Layout::new::<[u64; 3]>()).unwrap();
    /// }
    /// let in_slots = heap.blocks().flat_map(|(offset, _)| heap.slots(offset));
    /// assert!(in_slots.filter(|&(_, bytes)| bytes == 24).count() > 800);
    /// ```
    pub fn slots(&self, offset: usize) -> impl Iterator<Item = (usize, usize)> + '_ {
        let address = self.arena.address(Index::NONE).wrapping_add(offset);
        let run = self.pages.run_at(address).filter(|&(_, in_page)| in_page == 0);
        run.into_iter().flat_map(move |(run, _)| {
            // SAFETY: RUNS; the heap is borrowed as long as the iterator lives.
            let (size, slots) = unsafe { (run.slot_size(), run.slots_in_use()) };
            slots.map(move |in_page| (offset + in_page as usize * GRANULE, size.bytes()))
        })
    }

    /// Draws the arena: divides it into as many equal stretches as there are `cells`, and writes into each
    /// the share of its bytes that is in use, in percent.
    ///
    /// ```
    /// use core::alloc::Layout;
    /// use mem_alloc_rust::Heap;
    ///
    /// let mut arena = vec![0u64; 1 << 17];
    /// let mut heap = Heap::new();
    /// // SAFETY: only the heap uses the arena, which is all zero.
    /// unsafe { heap.init(arena.as_mut_ptr().cast(), 1 << 20, true) }.unwrap();
    /// for _ in 0..100 {
    ///     heap.alloc(Layout::new::<[u8; 4000]>()).unwrap();
    /// }
    /// let mut cells = [0; 4];
    /// heap.occupancy(&mut cells);
    /// assert_eq!(cells, [100, 53, 0, 0]);
    /// ```
    pub fn occupancy(&self, cells: &mut [u8]) {
        cells.fill(0);
        let arena = self.end.get().saturating_sub(Index::FIRST.get()) as u64;
        let count = cells.len() as u64;
        if arena == 0 || count == 0 {
            return;
        }
        // In units in which a granule is as wide as there are cells, a cell is as wide as the arena has
        // granules. What is in use comes in order, so the used part of one cell at a time is all
        // there is to remember.
        let (mut cell, mut used_in_cell) = (0, 0);
        let used = self.blocks().filter(|(_, header)| !header.is_free()).flat_map(|(offset, header)| {
            let whole = (!header.is_run()).then_some((offset, header.size()));
            whole.into_iter().chain(self.slots(offset))
        });
        for (offset, size) in used {
            let first_granule = (offset / GRANULE) as u64 - u64::from(Index::FIRST.get());
            let mut from = first_granule * count;
            let to = from + (size / GRANULE) as u64 * count;
            while from < to {
                let current = from / arena;
                if current != cell {
                    cells[cell as usize] = percent(used_in_cell, arena);
                    (cell, used_in_cell) = (current, 0);
                }
                let until = to.min((current + 1) * arena);
                used_in_cell += until - from;
                from = until;
            }
        }
        cells[cell as usize] = percent(used_in_cell, arena);
    }
}

/// A share in percent; anything in use shows as at least one percent.
fn percent(part: u64, whole: u64) -> u8 {
    (part * 100).div_ceil(whole) as u8
}

/// The heap's blocks in the order of their addresses; see [`Heap::blocks`].
///
/// ```
/// use core::alloc::Layout;
/// use mem_alloc_rust::Heap;
///
/// let mut arena = [0u64; 512];
/// let mut heap = Heap::new();
/// // SAFETY: only the heap uses the arena, which is all zero. The block is given back once.
/// unsafe {
///     heap.init(arena.as_mut_ptr().cast(), size_of_val(&arena), true).unwrap();
///     let [block, _next] = [100, 28].map(|bytes| heap.alloc(Layout::array::<u8>(bytes).unwrap()).unwrap());
///     heap.dealloc(block.as_ptr()).unwrap();
/// }
/// // 100 and 28 bytes, each with a header of four. The distance is that of the bytes behind the header.
/// let blocks: Vec<_> = heap.blocks().map(|(offset, header)| (offset, header.size(), header.is_free())).collect();
/// assert_eq!(blocks, [(8, 104, true), (112, 32, false)]);
/// ```
#[derive(Debug)]
pub struct Blocks<'a> {
    heap: &'a Heap,
    index: Index,
}

impl Iterator for Blocks<'_> {
    /// The distance of the payload from the arena's origin in bytes, and a copy of the header.
    type Item = (usize, BlockHeader);

    fn next(&mut self) -> Option<Self::Item> {
        if self.index >= self.heap.top {
            return None;
        }
        let (arena, index) = (self.heap.arena, self.index);
        // SAFETY: CHAIN, a block starts where the one before it ends, up to the top. LISTED, only the victim
        // is free and on no list.
        let (size, header) = unsafe {
            let size = arena.tag(index).size();
            (size, if index == self.heap.victim { BlockHeader::unlisted(size) } else { arena.header(index) })
        };
        self.index = index + size;
        Some((index.byte_offset(), header))
    }
}
