//! Looking at the heap as a whole: figures, all blocks in order, and a picture.

use super::Heap;
use crate::block::BlockHeader;
#[cfg(all(feature = "std", unix))]
use crate::run::LeadsInto;
use crate::size::{BlockSize, GRANULE, HEADER, Index};
use crate::stats::{MapCell, Stats};
#[cfg(all(feature = "std", unix))]
use core::ptr::NonNull;

impl Heap {
    /// Counts the heap's blocks and bytes; takes time in proportion to the number of blocks. Free slots of
    /// runs count as free bytes, but not as free blocks. See [`Stats`] for an example.
    pub fn stats(&self) -> Stats {
        let mut stats = Stats { peak_bytes: self.peak_bytes(), ..Stats::default() };
        self.count(&mut stats);
        stats
    }

    /// Adds what is in the heap to figures, but for the peak.
    pub(crate) fn count(&self, stats: &mut Stats) {
        if !self.is_initialized() {
            return;
        }
        let held_elsewhere = stats.held_bytes;
        for (offset, header) in self.blocks() {
            let bytes = header.size();
            if header.is_free() {
                stats.count_free(bytes - HEADER, bytes);
            } else if header.is_run() {
                self.count_run(offset, bytes, stats);
            } else {
                stats.count_live(bytes - HEADER, bytes);
            }
        }
        let bytes = |granules: u32| granules as usize * GRANULE;
        let top = self.reach().saturating_sub(self.top.get());
        if top >= BlockSize::MIN.granules() {
            stats.count_free(bytes(top) - HEADER, bytes(top));
        } else {
            stats.overhead_bytes += bytes(top);
        }
        let in_use = self.live_bytes();
        stats.arena_bytes += self.arena_bytes();
        stats.live_bytes += in_use.saturating_sub(stats.held_bytes - held_elsewhere);
    }

    /// Counts the slots of the run of so many bytes at a block's distance from the arena's origin, if it is one.
    fn count_run(&self, offset: usize, bytes: usize, stats: &mut Stats) {
        let address = self.arena.address(Index::NONE).wrapping_add(offset);
        let Some((run, 0)) = self.pages.run_at(address) else {
            // The block that the map of pages lies in.
            stats.overhead_bytes += bytes;
            return;
        };
        // SAFETY: RUNS; the heap is borrowed, and caches are at none of their runs (contract of `ThreadCached`'s
        // census).
        let (size, slots, used) =
            unsafe { (run.slot_size().bytes(), run.slots() as usize, run.slots_in_use().count()) };
        stats.overhead_bytes += bytes.saturating_sub(slots * size);
        stats.live_blocks += used;
        stats.live_by_size.add(size, used, used * size);
        let free_bytes = (slots - used) * size;
        if self.is_run_of_cache(run) {
            stats.held_bytes += free_bytes;
        } else {
            stats.free_slot_bytes += free_bytes;
            stats.free_bytes += free_bytes;
        }
    }

    /// How many bytes a block or a slot that is in a cache holds, and how many it has.
    #[cfg(all(feature = "std", unix))]
    pub(crate) fn size_of_cached(&self, block: NonNull<u8>) -> (usize, usize) {
        let address = block.addr().get();
        if let LeadsInto::Run { run, .. } = self.pages.at(address) {
            // SAFETY: RUNS.
            let bytes = unsafe { run.slot_size() }.bytes();
            return (bytes, bytes);
        }
        let index = Index::new(self.arena.index_of(address) as u32);
        // SAFETY: CHAIN, what is in a cache is a block in use.
        let bytes = unsafe { self.arena.tag(index) }.size().bytes();
        (bytes - HEADER, bytes)
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
    /// the share of its bytes that is in use, in percent. [`map`](Self::map) tells more.
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
        let whole = self.drawn();
        let mut used = Stretches::of(whole, cells.len());
        self.each_used(|from, to| {
            used.add(from, to, |cell, granules| cells[cell] = percent(granules, whole))
        });
        used.finish(|cell, granules| cells[cell] = percent(granules, whole));
    }

    /// Draws the arena: divides it into as many equal stretches as there are `cells`, and writes into each
    /// what it looks like. A region that is committed as it is needed is drawn as far as it is committed. Takes time in
    /// proportion to the number of blocks. See [`MapCell`] for an example with an allocator.
    ///
    /// ```
    /// use core::alloc::Layout;
    /// use mem_alloc_rust::{Heap, MapCell};
    ///
    /// let mut arena = vec![0u64; 1 << 17];
    /// let mut heap = Heap::new();
    /// let mut map = [MapCell::default(); 2];
    /// // SAFETY: only the heap uses the arena, which is all zero.
    /// unsafe { heap.init(arena.as_mut_ptr().cast(), 1 << 20, true) }.unwrap();
    /// heap.alloc(Layout::new::<[u8; 300 << 10]>()).unwrap();
    /// heap.map(&mut map);
    /// assert_eq!(map.map(|cell| cell.used_percent), [59, 0]);
    /// assert!(map.iter().all(|cell| cell.largest_free_bytes > 700 << 10), "there is one free span, in both");
    /// ```
    pub fn map(&self, cells: &mut [MapCell]) {
        let (whole, count) = (self.drawn(), cells.len());
        let cell_bytes = (whole as usize * GRANULE).checked_div(count).unwrap_or(0);
        cells.fill(MapCell { bytes: cell_bytes, ..MapCell::default() });
        let mut used = Stretches::of(whole, count);
        self.each_used(|from, to| {
            used.add(from, to, |cell, granules| cells[cell].used_percent = percent(granules, whole));
        });
        used.finish(|cell, granules| cells[cell].used_percent = percent(granules, whole));
        let mut note_free = |from: u64, granules: u64| {
            let mut free = Stretches::of(whole, count);
            let mut note = |cell: usize, _| {
                let largest = &mut cells[cell].largest_free_bytes;
                *largest = (*largest).max(granules as usize * GRANULE);
            };
            free.add(from, from + granules, &mut note);
            free.finish(note);
        };
        for (offset, header) in self.blocks().filter(|(_, header)| header.is_free()) {
            note_free(granule_of(offset), (header.size() / GRANULE) as u64);
        }
        let top = u64::from(self.top.get().saturating_sub(Index::FIRST.get()));
        if top < whole {
            note_free(top, whole - top);
        }
    }

    /// How many granules a picture shows.
    fn drawn(&self) -> u64 {
        self.committed.get().saturating_sub(Index::FIRST.get()).into()
    }

    /// Passes on every block and slot in use, in order: the granule at which it begins, counted from the first one, and
    /// that behind it.
    fn each_used(&self, mut pass_on: impl FnMut(u64, u64)) {
        let mut pass_on = |offset: usize, size: usize| {
            let from = granule_of(offset);
            pass_on(from, from + (size / GRANULE) as u64);
        };
        for (offset, header) in self.blocks() {
            if header.is_run() {
                self.slots(offset).for_each(|(offset, size)| pass_on(offset, size));
            } else if !header.is_free() {
                pass_on(offset, header.size());
            }
        }
    }
}

/// The granule at a distance from the arena's origin, counted from the first one.
fn granule_of(offset: usize) -> u64 {
    (offset / GRANULE) as u64 - u64::from(Index::FIRST.get())
}

/// Divides stretches of an arena, which come in order, into the cells of a picture. In units in which a granule is as
/// wide as there are cells, a cell is as wide as the arena has granules. As they come in order, the part of one cell at
/// a time is all there is to remember.
struct Stretches {
    whole: u64,
    count: u64,
    cell: u64,
    part: u64,
}

impl Stretches {
    fn of(whole: u64, count: usize) -> Self {
        Self { whole, count: count as u64, cell: 0, part: 0 }
    }

    /// Adds the granules from one to another. Each cell that is complete then is passed on, and how many of the units
    /// are in it.
    fn add(&mut self, from: u64, to: u64, mut pass_on: impl FnMut(usize, u64)) {
        let (mut from, to) = (from * self.count, to.min(self.whole) * self.count);
        while from < to {
            let current = from / self.whole;
            if current != self.cell {
                if self.part > 0 {
                    pass_on(self.cell as usize, self.part);
                }
                (self.cell, self.part) = (current, 0);
            }
            let until = to.min((current + 1) * self.whole);
            self.part += until - from;
            from = until;
        }
    }

    /// Passes on the last cell.
    fn finish(self, mut pass_on: impl FnMut(usize, u64)) {
        if self.part > 0 {
            pass_on(self.cell as usize, self.part);
        }
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
