//! The heap's figures at one moment, and what it looks like.

#![forbid(unsafe_code)]

use crate::text::{Sink, display, fill, share};
use core::fmt;

/// What the heap looks like at one moment, in bytes and blocks.
///
/// A block's bytes include its 4-byte header and what rounding added. Everything adds up: `arena_bytes` is
/// `live_bytes + cached_bytes + held_bytes + free_bytes + overhead_bytes`. Where there are no threads' caches, two of
/// them are zero.
///
/// Displayed, it is a table of several lines, without a newline at the end. With the feature `serde` it can be
/// serialised.
///
/// ```
/// use core::alloc::Layout;
/// use mem_alloc_rust::Heap;
///
/// let mut arena = [0u64; 2048];
/// let mut heap = Heap::new();
/// // SAFETY: only the heap uses the arena, which is all zero. Each block is given back once.
/// unsafe {
///     heap.init(arena.as_mut_ptr().cast(), size_of_val(&arena), true).unwrap();
///     let [first, second, _third] = [(); 3].map(|()| heap.alloc(Layout::new::<[u8; 1000]>()).unwrap());
///     heap.dealloc(first.as_ptr()).unwrap();
///     let stats = heap.stats();
///     assert_eq!((stats.live_blocks, stats.live_bytes, stats.peak_bytes), (2, 2 * 1008, 3 * 1008));
///     assert_eq!(stats.live_bytes + stats.free_bytes, stats.arena_bytes);
///     // The hole of the first block, and what was never used.
///     assert_eq!((stats.free_blocks, stats.largest_free_bytes), (2, stats.free_bytes - 1008));
///     assert!(stats.fragmentation() > 0.06);
///     heap.dealloc(second.as_ptr()).unwrap();
///     assert_eq!(heap.stats().free_blocks, 2, "neighbours that are free are one block");
/// }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Stats {
    /// Bytes that blocks can be made of: the arena without the few bytes at its ends that alignment costs.
    pub arena_bytes: usize,
    /// Bytes of the blocks and slots that the program has.
    pub live_bytes: usize,
    /// The most that was in use since the beginning, or since the last `reset_peak`; with a `ThreadCached`, what
    /// caches have counts as in use. An arena has to be larger than that:
    /// [choosing](crate::choosing#how-large-an-arena) says by how much.
    pub peak_bytes: usize,
    /// Bytes of the blocks and slots that threads' caches have ready, and of those on their way from one thread to
    /// another.
    pub cached_bytes: usize,
    /// Bytes of the free slots of runs that threads own, where only they take them. All of these, and those of
    /// `cached_bytes`, are taken back before a request is refused, and by `drain`.
    pub held_bytes: usize,
    /// Bytes that nobody has: free blocks, and free slots that no thread owns.
    pub free_bytes: usize,
    /// Bytes that nobody can have: what runs of slots need for themselves, and an end of the arena that is too short
    /// for a block.
    pub overhead_bytes: usize,
    /// Bytes of the largest free block: the largest request that succeeds now is 4 bytes less. With
    /// `Growing` a larger one may succeed, as far as the cap and the system let it.
    pub largest_free_bytes: usize,
    /// Bytes of the free slots in runs that no thread owns: a small request of their size takes them first.
    pub free_slot_bytes: usize,
    /// Bytes that the operating system serves because the arena could not, as they were asked for. They are in none
    /// of the other figures.
    pub system_bytes: usize,
    /// Blocks and slots that the program has.
    pub live_blocks: usize,
    /// Blocks and slots of `cached_bytes`.
    pub cached_blocks: usize,
    /// Free blocks; one when everything was given back.
    pub free_blocks: usize,
    /// Blocks that the operating system serves.
    pub system_blocks: usize,
    /// What the program has, by size.
    pub live_by_size: SizeClasses,
    /// The free blocks, by size.
    pub free_by_size: SizeClasses,
}

impl Stats {
    /// All zero.
    #[cfg(all(feature = "std", unix))]
    pub(crate) const NOTHING: Self = Self {
        arena_bytes: 0,
        live_bytes: 0,
        peak_bytes: 0,
        cached_bytes: 0,
        held_bytes: 0,
        free_bytes: 0,
        overhead_bytes: 0,
        largest_free_bytes: 0,
        free_slot_bytes: 0,
        system_bytes: 0,
        live_blocks: 0,
        cached_blocks: 0,
        free_blocks: 0,
        system_blocks: 0,
        live_by_size: SizeClasses([Class { blocks: 0, bytes: 0 }; CLASSES]),
        free_by_size: SizeClasses([Class { blocks: 0, bytes: 0 }; CLASSES]),
    };

    /// The share of the free bytes that the largest free block does not have, from 0.0 (all free memory is
    /// one block) towards 1.0 (crumbs only): the external fragmentation.
    pub fn fragmentation(&self) -> f64 {
        if self.free_bytes == 0 {
            return 0.0;
        }
        1.0 - self.largest_free_bytes as f64 / self.free_bytes as f64
    }

    /// Writes the table.
    pub(crate) fn write_to(&self, out: &mut Sink<'_>) {
        let of_arena = |bytes| share(bytes, self.arena_bytes);
        let mut line = |template, values: &[usize]| fill(out, template, values);
        line("arena    &", &[self.arena_bytes]);
        line(
            "\nlive     &  ~ %  in # block*, at most @",
            &[self.live_bytes, of_arena(self.live_bytes), self.live_blocks, self.peak_bytes],
        );
        if self.cached_bytes + self.held_bytes > 0 {
            line(
                "\ncached   &  ~ %  in # block*, and in slots of threads' runs @",
                &[
                    self.cached_bytes + self.held_bytes,
                    of_arena(self.cached_bytes + self.held_bytes),
                    self.cached_blocks,
                    self.held_bytes,
                ],
            );
        }
        line(
            "\nfree     &  ~ %  in # block*, and in slots @",
            &[self.free_bytes, of_arena(self.free_bytes), self.free_blocks, self.free_slot_bytes],
        );
        if self.overhead_bytes > 0 {
            line(
                "\noverhead &  ~ %  of runs of slots",
                &[self.overhead_bytes, of_arena(self.overhead_bytes)],
            );
        }
        let scattered = self.free_bytes.saturating_sub(self.largest_free_bytes);
        line(
            "\nlargest  &           of the free blocks; fragmentation ! %",
            &[self.largest_free_bytes, share(scattered, self.free_bytes)],
        );
        if self.system_blocks > 0 {
            line("\nsystem   &           in # block*", &[self.system_bytes, self.system_blocks]);
        }
        line("\n\n  size from       live                   free", &[]);
        for (live, free) in self.live_by_size.iter().zip(self.free_by_size.iter()) {
            if live.blocks + free.blocks > 0 {
                line(
                    "\n &  $ &  $ &",
                    &[live.smallest_bytes, live.blocks, live.bytes, free.blocks, free.bytes],
                );
            }
        }
    }

    /// Counts a block in use of so many bytes, which holds a request of up to `payload` bytes.
    pub(crate) fn count_live(&mut self, payload: usize, bytes: usize) {
        self.live_blocks += 1;
        self.live_by_size.add(payload, 1, bytes);
    }

    /// Counts a free block of so many bytes, which would hold a request of up to `payload` bytes.
    #[inline(never)]
    pub(crate) fn count_free(&mut self, payload: usize, bytes: usize) {
        self.free_blocks += 1;
        self.free_bytes += bytes;
        self.free_by_size.add(payload, 1, bytes);
        self.largest_free_bytes = self.largest_free_bytes.max(bytes);
    }

    /// Notes that a block that was counted as in use is in a cache.
    #[cfg(all(feature = "std", unix))]
    pub(crate) fn move_to_cached(&mut self, payload: usize, bytes: usize) {
        self.live_by_size.subtract(payload, bytes);
        self.live_blocks = self.live_blocks.saturating_sub(1);
        self.live_bytes = self.live_bytes.saturating_sub(bytes);
        self.cached_blocks += 1;
        self.cached_bytes += bytes;
    }
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        display(f, |out| self.write_to(out))
    }
}

/// How many size classes [`SizeClasses`] has.
const CLASSES: usize = 32;

/// The least that a block or slot holds, as a power of two.
const SMALLEST_LOG2: u32 = 3;

/// Blocks by size: a class for each power of two, from 8 bytes on.
///
/// ```
/// use core::alloc::Layout;
/// use mem_alloc_rust::Heap;
///
/// let mut arena = [0u64; 512];
/// let mut heap = Heap::new();
/// // SAFETY: only the heap uses the arena, which is all zero.
/// unsafe { heap.init(arena.as_mut_ptr().cast(), size_of_val(&arena), true).unwrap() };
/// for bytes in [100, 110, 1000] {
///     heap.alloc(Layout::array::<u8>(bytes).unwrap()).unwrap();
/// }
/// let classes = heap.stats().live_by_size;
/// let found: Vec<_> = classes.iter().filter(|class| class.blocks > 0).collect();
/// assert_eq!([found[0].smallest_bytes, found[0].blocks, found[0].bytes], [64, 2, 104 + 120]);
/// assert_eq!([found[1].smallest_bytes, found[1].blocks, found[1].bytes], [512, 1, 1008]);
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(transparent))]
pub struct SizeClasses([Class; CLASSES]);

/// The blocks of one class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
struct Class {
    blocks: usize,
    bytes: usize,
}

/// The blocks that hold requests of up to a number of bytes from one power of two to the next: one of
/// [`SizeClasses`].
///
/// ```
/// use core::alloc::{GlobalAlloc, Layout};
/// use mem_alloc_rust::{FreeList, Locked, SizeClass};
///
/// static A: Locked<FreeList> = Locked::new();
/// // SAFETY: the layout is of more than no bytes.
/// unsafe { A.alloc(Layout::new::<[u8; 5000]>()) };
/// let SizeClass { smallest_bytes, blocks, bytes, .. } = A.stats().live_by_size.largest_below(usize::MAX);
/// assert_eq!((smallest_bytes, blocks, bytes), (4096, 1, 5008));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct SizeClass {
    /// What a block of the class holds at least, in bytes: a power of two. It holds less than twice as much, but in the
    /// last class, which has all that is larger.
    pub smallest_bytes: usize,
    /// How many blocks and slots there are.
    pub blocks: usize,
    /// The bytes of all of them, with headers and what rounding added.
    pub bytes: usize,
}

impl SizeClasses {
    /// The classes, the smallest first, those without blocks included.
    pub fn iter(&self) -> impl Iterator<Item = SizeClass> + '_ {
        (SMALLEST_LOG2..).zip(&self.0).map(|(log2, class)| SizeClass {
            // The last classes have no blocks where addresses have fewer bits.
            smallest_bytes: 1usize.checked_shl(log2).unwrap_or(0),
            blocks: class.blocks,
            bytes: class.bytes,
        })
    }

    /// The class with most bytes of those that have less than `below`; without blocks if there is none.
    ///
    /// ```
    /// # use core::alloc::Layout;
    /// # use mem_alloc_rust::Heap;
    /// # let mut arena = [0u64; 512];
    /// # let mut heap = Heap::new();
    /// # // SAFETY: only the heap uses the arena, which is all zero.
    /// # unsafe { heap.init(arena.as_mut_ptr().cast(), size_of_val(&arena), true).unwrap() };
    /// for bytes in [100, 110, 1000] {
    ///     heap.alloc(Layout::array::<u8>(bytes).unwrap()).unwrap();
    /// }
    /// let by_size = heap.stats().live_by_size;
    /// let first = by_size.largest_below(usize::MAX);
    /// let second = by_size.largest_below(first.bytes);
    /// assert_eq!([first, second].map(|class| class.bytes), [1008, 224]);
    /// assert_eq!(by_size.largest_below(second.bytes).blocks, 0);
    /// ```
    #[inline(never)]
    pub fn largest_below(&self, below: usize) -> SizeClass {
        let of_largest = |largest: SizeClass, class: SizeClass| {
            if class.bytes > largest.bytes && class.bytes < below { class } else { largest }
        };
        self.iter().fold(SizeClass::default(), of_largest)
    }

    fn of(&mut self, payload: usize) -> &mut Class {
        let log2 = payload.checked_ilog2().unwrap_or(0).saturating_sub(SMALLEST_LOG2);
        &mut self.0[(log2 as usize).min(CLASSES - 1)]
    }

    /// Counts blocks that hold so much each, and have so many bytes together.
    #[inline(never)]
    pub(crate) fn add(&mut self, payload: usize, blocks: usize, bytes: usize) {
        let class = self.of(payload);
        class.blocks += blocks;
        class.bytes += bytes;
    }

    #[cfg(all(feature = "std", unix))]
    fn subtract(&mut self, payload: usize, bytes: usize) {
        let class = self.of(payload);
        class.blocks = class.blocks.saturating_sub(1);
        class.bytes = class.bytes.saturating_sub(bytes);
    }
}

impl fmt::Debug for SizeClasses {
    /// The classes that have blocks.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().filter(|class| class.blocks > 0)).finish()
    }
}

/// What one stretch of an arena looks like, of a picture that divides it into equal ones.
///
/// ```
/// use core::alloc::{GlobalAlloc, Layout};
/// use mem_alloc_rust::{FreeList, Locked, MapCell};
///
/// static A: Locked<FreeList<{ 64 << 10 }>> = Locked::new();
/// let layout = Layout::new::<[u8; 1020]>();
/// // SAFETY: the layout is of more than no bytes, and each block is given back once.
/// unsafe {
///     let blocks = [(); 32].map(|()| A.alloc(layout));
///     blocks.iter().step_by(2).for_each(|&block| A.dealloc(block, layout));
/// }
/// let mut map = [MapCell::default(); 4];
/// A.map(&mut map);
/// // Two cells are half in use, and what is free in them are holes of 1 KiB; the last one is free.
/// assert_eq!(map.map(|cell| cell.used_percent), [50, 50, 1, 0]);
/// assert!(map[0].is_scattered() && map[0].largest_free_bytes == 1024);
/// assert!(!map[3].is_scattered() && map[3].largest_free_bytes > 30 << 10);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct MapCell {
    /// Bytes of the arena that the cell stands for.
    pub bytes: usize,
    /// The share of them that is in use, in percent: at least one if anything is. What caches have counts as in use.
    pub used_percent: u8,
    /// Bytes of the largest free block, or free span behind the last block, of which some lies in the cell: all of
    /// it, whatever lies in other cells. Free slots of runs are no free block.
    pub largest_free_bytes: usize,
}

impl MapCell {
    /// Nothing.
    #[cfg(all(feature = "std", unix))]
    pub(crate) const NOTHING: Self = Self { bytes: 0, used_percent: 0, largest_free_bytes: 0 };

    /// Whether what is free in the cell lies scattered: no free block that reaches into it is as long as the cell.
    pub const fn is_scattered(&self) -> bool {
        self.used_percent < 100 && self.largest_free_bytes < self.bytes
    }

    /// The character that stands for the cell in a picture: `·` free, `█` in use, but for less than a sixteenth, which
    /// is what slots and headers leave over; partly in use `▂` `▄` `▆`, or `░` `▒` `▓` where what is free is
    /// [scattered](Self::is_scattered).
    ///
    /// ```
    /// use mem_alloc_rust::{FreeList, Locked, MapCell};
    ///
    /// static A: Locked<FreeList> = Locked::new();
    /// let mut map = [MapCell::default(); 64];
    /// A.map(&mut map);
    /// assert!(map.iter().all(|cell| cell.character() == '·'), "nothing is in use");
    /// ```
    pub const fn character(&self) -> char {
        match (self.used_percent, self.is_scattered()) {
            (0, _) => '·',
            (94.., _) => '█',
            (..34, false) => '▂',
            (..67, false) => '▄',
            (_, false) => '▆',
            (..34, true) => '░',
            (..67, true) => '▒',
            (_, true) => '▓',
        }
    }
}

/// What the threads' caches of a `ThreadCached` have at one moment.
///
/// ```
/// use mem_alloc_rust::{CacheStats, FreeList, ThreadCached};
///
/// #[global_allocator]
/// static A: ThreadCached<FreeList> = ThreadCached::new();
///
/// fn main() {
///     drop((0..100).map(|n| Box::new(n)).collect::<Vec<_>>());
///     let caches: CacheStats = A.caches();
///     // All caches together, and what is between them, are little beside what is free.
///     assert!(caches.bytes <= A.stats().free_bytes / 32);
///     // Where there are no caches, nothing is in them.
///     assert!(caches.are_available || caches == CacheStats::default());
/// }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct CacheStats {
    /// Whether threads get caches from this allocator: it lies in static memory, and is the first one of the
    /// process that does.
    pub are_available: bool,
    /// Threads that have a cache.
    pub threads: usize,
    /// Bytes in all caches, and on their way from one thread to another. Each block counts as what its size
    /// class promises.
    pub bytes: usize,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn fragmentation_is_what_the_largest_block_lacks() {
        let stats = Stats { free_bytes: 400, largest_free_bytes: 100, ..Stats::default() };
        assert_eq!(stats.fragmentation(), 0.75);
        assert_eq!(Stats::default().fragmentation(), 0.0);
    }

    /// Figures of a program with threads, whose arena was too small at times.
    fn busy() -> Stats {
        let mut stats = Stats {
            arena_bytes: 1 << 20,
            live_bytes: 600 << 10,
            peak_bytes: 700 << 10,
            cached_bytes: 3 << 10,
            held_bytes: 1 << 10,
            free_slot_bytes: 5000,
            system_bytes: 3 << 20,
            system_blocks: 2,
            live_blocks: 1234,
            cached_blocks: 40,
            ..Stats::default()
        };
        stats.live_by_size.add(24, 1000, 24_000);
        stats.live_by_size.add(1 << 19, 1, 1 << 19);
        for payload in [28, 30, 100_000, 3] {
            stats.count_free(payload, payload + 4);
        }
        stats.free_bytes = 420 << 10;
        stats
    }

    #[test]
    fn figures_are_a_table() {
        assert_eq!(
            busy().to_string(),
            "\
arena       1.0 MiB
live      600.0 KiB   58.5 %  in 1,234 blocks, at most 700.0 KiB
cached      4.0 KiB    0.3 %  in 40 blocks, and in slots of threads' runs 1.0 KiB
free      420.0 KiB   41.0 %  in 4 blocks, and in slots 4.8 KiB
largest    97.6 KiB           of the free blocks; fragmentation 76.7 %
system      3.0 MiB           in 2 blocks

  size from       live                   free
        8 B          0        0 B          1        7 B
       16 B      1,000   23.4 KiB          2       66 B
   64.0 KiB          0        0 B          1   97.6 KiB
  512.0 KiB          1  512.0 KiB          0        0 B"
        );
        let nothing = Stats::default().to_string();
        assert!(!nothing.contains("cached") && !nothing.contains("system"), "{nothing}");
    }

    #[test]
    fn the_largest_classes_come_in_order() {
        let mut classes = SizeClasses::default();
        for (payload, bytes) in [(8, 5), (100, 50), (1000, 7), (usize::MAX, 9)] {
            classes.add(payload, 1, bytes);
        }
        let mut below = usize::MAX;
        let largest = [(); 5].map(|()| {
            let class = classes.largest_below(below);
            below = class.bytes;
            class
        });
        assert_eq!(largest.map(|class| class.bytes), [50, 9, 7, 5, 0]);
        assert_eq!([largest[0], largest[2]].map(|class| class.smallest_bytes), [64, 512]);
        assert_eq!(std::format!("{:?}", SizeClasses::default()), "[]");
    }

    #[test]
    fn a_cell_shows_whether_what_is_free_is_in_one_piece() {
        let cell = |used_percent, largest_free_bytes| {
            MapCell { bytes: 4096, used_percent, largest_free_bytes }.character()
        };
        let in_one_piece = [0, 1, 34, 67, 93, 94, 100].map(|percent| cell(percent, 1 << 20));
        assert_eq!(in_one_piece, ['·', '▂', '▄', '▆', '▆', '█', '█']);
        let scattered = [0, 1, 34, 67, 93, 94, 100].map(|percent| cell(percent, 4095));
        assert_eq!(scattered, ['·', '░', '▒', '▓', '▓', '█', '█']);
    }
}
