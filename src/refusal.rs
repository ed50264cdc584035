//! What is told when a request is refused: a report on stderr, once in a process, or a value for a hook of the
//! program's.

#[cfg(feature = "std")]
mod by_default;
mod report;

#[cfg(feature = "std")]
pub(crate) use by_default::is_being_told;
#[cfg(feature = "std")]
pub use by_default::{RefusalReports, set_refusal_reports};

#[cfg(feature = "std")]
use crate::attention;
use crate::hook::Hook;
use crate::size::HEADER;
use crate::stats::Stats;
use core::alloc::Layout;

/// A request that the allocator could not serve, and what the arena looked like.
///
/// Displayed, it is the report that is written to stderr: several lines, without a newline at the end.
///
/// ```
/// use core::alloc::{GlobalAlloc, Layout};
/// use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};
/// use mem_alloc_rust::{FreeList, Locked, Refusal, Remedy, Verdict, set_refusal_hook};
///
/// static REFUSED_BYTES: AtomicUsize = AtomicUsize::new(0);
///
/// fn note(refusal: &Refusal) {
///     assert!(refusal.largest_free_bytes < refusal.layout.size());
///     assert_eq!((refusal.verdict, refusal.stats.live_bytes), (Verdict::Exhausted, 0));
///     assert_eq!(refusal.remedy, Remedy::LargerArena { bytes: 4096 });
///     assert_eq!(
///         refusal.to_string(),
///         "no memory for 2000 bytes: exhausted, only 992 B are free\n  \
///            in use   0 B of 992 B, 0.0 %; 0 B at most\n  \
///            free     992 B in 1 block, and in slots 0 B; the largest block holds 988 bytes\n  \
///            remedy   FreeList<{ 4 << 10 }> should have sufficed so far; OrSystem takes the rest from the system",
///     );
///     REFUSED_BYTES.fetch_add(refusal.layout.size(), Relaxed);
/// }
///
/// static A: Locked<FreeList<1000>> = Locked::new();
///
/// set_refusal_hook(note);
/// // SAFETY: the layout is of more than no bytes.
/// assert!(unsafe { A.alloc(Layout::new::<[u8; 2000]>()) }.is_null());
/// assert_eq!(REFUSED_BYTES.load(Relaxed), 2000);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusal {
    /// What was asked for.
    pub layout: Layout,
    /// Why it was refused.
    pub verdict: Verdict,
    /// Bytes of the arena, or of the cap; zero if the allocator has no memory yet.
    pub arena_bytes: usize,
    /// Bytes that the program has.
    pub live_bytes: usize,
    /// Bytes that the largest free block would hold. A request for that many may be refused all the same, if
    /// they are to lie at a multiple of more than eight.
    pub largest_free_bytes: usize,
    /// All that was counted. What threads' caches have was taken back before, unless the request is for more than the
    /// arena has.
    pub stats: Stats,
    /// What could be done.
    pub remedy: Remedy,
    /// What a `Growing` allocator may have from the system, and has; `None` where the arena is fixed.
    pub growth: Option<GrowthLimit>,
}

/// Why a request was refused.
///
/// ```
/// use core::alloc::{GlobalAlloc, Layout};
/// use mem_alloc_rust::{FreeList, Locked, Verdict, set_refusal_hook};
///
/// static A: Locked<FreeList<{ 64 << 10 }>> = Locked::new();
///
/// set_refusal_hook(|refusal| assert_eq!(refusal.verdict, Verdict::Fragmented));
/// let (small, large) = (Layout::new::<[u8; 1000]>(), Layout::new::<[u8; 10_000]>());
/// // SAFETY: the layouts are of more than no bytes, and each block is given back once.
/// unsafe {
///     let blocks = [(); 60].map(|()| A.alloc(small));
///     blocks.iter().step_by(2).for_each(|&block| A.dealloc(block, small));
///     // Half of the arena is free, in holes of 1000 bytes.
///     assert!(A.alloc(large).is_null());
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// All that is free together would not hold it, or hardly anything is free: less than a sixteenth of the arena,
    /// which is what blocks of different sizes leave over.
    Exhausted,
    /// There is enough that is free, but not in one piece, or not at such an address.
    Fragmented,
    /// The allocator has no memory yet.
    NoMemoryYet,
    /// The operating system gives no more, though the cap of a `Growing` allocator would allow it, or an `OrSystem`
    /// asked it.
    SystemRefused,
}

/// What could be done so that a request like the one that was refused is served.
///
/// ```
/// use core::alloc::{GlobalAlloc, Layout};
/// use mem_alloc_rust::{Locked, Region, Remedy, set_refusal_hook};
///
/// static A: Locked<Region> = Locked::new();
///
/// set_refusal_hook(|refusal| assert_eq!(refusal.remedy, Remedy::LargerRegion { bytes: 7 << 10 }));
/// // SAFETY: the layout is of more than no bytes.
/// assert!(unsafe { A.alloc(Layout::new::<[u8; 6000]>()) }.is_null(), "there is no memory yet");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Remedy {
    /// A [`FreeList`](crate::FreeList) of so many bytes. That has room for the request beside all there is, and a
    /// sixteenth more, so that it would have been served, as a rule.
    LargerArena {
        /// Bytes of the arena, a round number.
        bytes: usize,
    },
    /// A region, or several, of so many bytes together, of which one has room for the request.
    LargerRegion {
        /// Bytes of all regions, a round number.
        bytes: usize,
    },
    /// A cap of so many bytes for a `Growing`.
    HigherCap {
        /// Bytes of the cap, a round number.
        bytes: usize,
    },
    /// No single arena can be that large: a `Growing` can, where there is one.
    Growing,
    /// Nothing that the allocator could say: the operating system has to give more, or no process has as much.
    None,
}

/// What a source's memory is, to find a [`Remedy`]. (Public in name only, as all of a sealed trait's.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// A static arena of so many bytes, of at most so many.
    Arena(usize, usize),
    /// What is handed over at run time.
    Regions,
    /// The system's, up to a cap, which has to be so many bytes at least.
    Growing(usize),
}

/// How far an allocator over growing memory may go, and has gone.
///
/// ```
/// # #[cfg(all(unix, feature = "std"))] {
/// use core::alloc::{GlobalAlloc, Layout};
/// use mem_alloc_rust::{GrowthLimit, Growing, Locked, Remedy, set_refusal_hook};
///
/// static A: Locked<Growing<{ 1 << 20 }>> = Locked::new();
///
/// set_refusal_hook(|refusal| {
///     let GrowthLimit { cap_bytes, committed_bytes, .. } = refusal.growth.unwrap();
///     assert!(cap_bytes == 1 << 20 && committed_bytes <= cap_bytes);
///     assert!(matches!(refusal.remedy, Remedy::HigherCap { bytes } if bytes >= 3 << 20));
/// });
/// // SAFETY: the layout is of more than no bytes.
/// assert!(unsafe { A.alloc(Layout::new::<[u8; 2 << 20]>()) }.is_null());
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GrowthLimit {
    /// Bytes that the allocator may have from the system.
    pub cap_bytes: usize,
    /// Bytes that it has.
    pub committed_bytes: usize,
}

/// Less than this share of an arena is hardly anything: 1/16.
const CRUMBS_SHARE_LOG2: u32 = 4;

/// What is recommended is larger by this share of what there is and the request needs: 1/16.
const MARGIN_LOG2: u32 = 4;

/// More than that no process has.
const ADDRESS_SPACE: usize = isize::MAX as usize >> if usize::BITS == 64 { 16 } else { 0 };

/// The system gives whole pages, of so many bytes at most.
const LARGEST_PAGE: usize = 64 << 10;

/// A round number has so many bits that are not zero at most, from the first one on; the others are rounded up.
const ROUND_BITS: u32 = 4;

/// An arena is a multiple of so many bytes.
const LEAST_STEP: usize = 1 << 10;

impl Refusal {
    /// A request of which nothing else is known yet.
    #[inline(always)]
    pub(crate) fn of(layout: Layout) -> Self {
        Self {
            layout,
            verdict: Verdict::Exhausted,
            arena_bytes: 0,
            live_bytes: 0,
            largest_free_bytes: 0,
            stats: Stats::default(),
            remedy: Remedy::None,
            growth: None,
        }
    }

    /// Finds out what is to be told, now that the figures are known.
    pub(crate) fn judge(&mut self, memory: Memory, asked_system: bool) {
        self.arena_bytes = self.stats.arena_bytes;
        self.live_bytes = self.stats.live_bytes;
        self.largest_free_bytes = self.stats.largest_free_bytes.saturating_sub(HEADER);
        self.verdict = self.verdict(asked_system);
        if self.verdict != Verdict::SystemRefused {
            self.remedy = self.remedy(memory);
        }
    }

    fn verdict(&self, asked_system: bool) -> Verdict {
        // A layout's size and alignment are together at most half of what a number holds.
        let (bytes, free) = (self.layout.size(), self.stats.free_bytes);
        let to_be_had =
            self.growth.map_or(0, |growth| growth.cap_bytes.saturating_sub(growth.committed_bytes));
        if asked_system {
            Verdict::SystemRefused
        } else if self.arena_bytes == 0 && self.growth.is_none() {
            Verdict::NoMemoryYet
        } else if bytes + HEADER > free {
            Verdict::Exhausted
        } else if bytes + self.layout.align() + LARGEST_PAGE <= to_be_had {
            Verdict::SystemRefused
        } else if free < self.arena_bytes >> CRUMBS_SHARE_LOG2 {
            Verdict::Exhausted
        } else {
            Verdict::Fragmented
        }
    }

    /// As much more as the request needs, wherever it is put, is enough, if all goes the same way until then. It does
    /// not quite, where there is more room: hence a [margin](MARGIN_LOG2).
    fn remedy(&self, memory: Memory) -> Remedy {
        let (now, most) = match memory {
            Memory::Arena(bytes, most) => (bytes, most),
            Memory::Regions => (self.arena_bytes, usize::MAX),
            // The cap may have been made less than there is.
            Memory::Growing(least) => {
                let now = self.growth.map_or(0, |growth| growth.cap_bytes.max(growth.committed_bytes));
                (now.max(least), usize::MAX)
            }
        };
        let more = self.layout.size() + self.layout.align() + HEADER;
        let enough = now.saturating_add(more);
        let bytes = round_up(enough.saturating_add(enough >> MARGIN_LOG2));
        match memory {
            _ if bytes > ADDRESS_SPACE => Remedy::None,
            _ if bytes > most => Remedy::Growing,
            Memory::Arena(..) => Remedy::LargerArena { bytes },
            Memory::Regions => Remedy::LargerRegion { bytes },
            Memory::Growing(_) => Remedy::HigherCap { bytes },
        }
    }
}

/// The round number of bytes that is not less.
fn round_up(bytes: usize) -> usize {
    let bits = bytes.checked_ilog2().unwrap_or(0).saturating_sub(ROUND_BITS - 1);
    let below_step = (1 << bits).max(LEAST_STEP) - 1;
    bytes.checked_add(below_step).map_or(usize::MAX, |bytes| bytes & !below_step)
}

static HOOK: Hook<Refusal> = Hook::new();

/// Sets a function that is told of every request that is refused, before the program gets null.
///
/// Without one, a program with `std` writes a report of the first refusal of the process to stderr, without allocating,
/// and with `RUST_BACKTRACE=1` where it was asked for; see `set_refusal_reports`. A hook takes the place of that.
///
/// What the hook is told is counted under the allocator's lock, in time in proportion to the number of blocks. A
/// program that goes on after a refusal, as with `try_reserve`, may be refused often, and pays that each time. The hook
/// itself runs outside of the lock. It may allocate with `std`: the system serves that, as it serves a thread that
/// panics. Without `std` it must not. It must not unwind; if it does, the program ends.
///
/// ```
/// use mem_alloc_rust::{FreeList, Locked, set_refusal_hook};
///
/// #[global_allocator]
/// static A: Locked<FreeList> = Locked::new();
///
/// fn main() {
///     set_refusal_hook(|refusal| println!("{refusal}"));
///     assert!(Vec::<u8>::new().try_reserve(2 << 20).is_err());
/// }
/// ```
pub fn set_refusal_hook(hook: fn(&Refusal)) {
    HOOK.set(hook);
}

/// Whether somebody is to be told of the next refusal: not of one that happens while it is told of another.
pub(crate) fn is_wanted() -> bool {
    #[cfg(feature = "std")]
    return !attention::is_telling() && (HOOK.get().is_some() || by_default::is_wanted());
    #[cfg(not(feature = "std"))]
    HOOK.get().is_some()
}

/// Whether what is refused to the calling thread is to be had from the system, because it is taking a call stack.
#[cfg(feature = "std")]
#[inline]
pub(crate) fn is_in_call_stack() -> bool {
    crate::call_stack::is_wanted() && crate::call_stack::is_being_taken()
}

/// Tells of a refusal. Never unwinds: a panic of the hook's stops at this function.
#[allow(improper_ctypes_definitions, reason = "extern \"C\" only for its rule that no panic leaves it")]
pub(crate) extern "C" fn tell(refusal: &Refusal) {
    #[cfg(feature = "std")]
    match HOOK.get() {
        Some(hook) => attention::while_telling(|| hook(refusal)),
        None => by_default::tell(refusal),
    }
    #[cfg(not(feature = "std"))]
    if let Some(hook) = HOOK.get() {
        hook(refusal);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    fn layout(bytes: usize) -> Layout {
        Layout::from_size_align(bytes, 8).unwrap()
    }

    /// An arena of 1 MiB of which so much is free, and in pieces of so much.
    fn stats(free_bytes: usize, largest_free_bytes: usize) -> Stats {
        let mut stats = Stats {
            arena_bytes: 1 << 20,
            live_bytes: (1 << 20) - free_bytes,
            peak_bytes: 900 << 10,
            free_bytes,
            free_blocks: 3,
            free_slot_bytes: 100,
            largest_free_bytes,
            ..Stats::default()
        };
        stats.live_by_size.add(24, 3000, 72_000);
        stats.live_by_size.add(1000, 60, 60_480);
        stats
    }

    fn judged(
        layout: Layout,
        stats: &Stats,
        memory: Memory,
        growth: Option<GrowthLimit>,
        asked_system: bool,
    ) -> Refusal {
        let mut refusal = Refusal { stats: *stats, growth, ..Refusal::of(layout) };
        refusal.judge(memory, asked_system);
        refusal
    }

    fn refusal(bytes: usize, stats: &Stats) -> Refusal {
        judged(layout(bytes), stats, Memory::Arena(1 << 20, 1 << 30), None, false)
    }

    #[test]
    fn what_is_free_decides_the_verdict() {
        let verdict = |bytes, free, largest| refusal(bytes, &stats(free, largest)).verdict;
        assert_eq!(verdict(100_000, 99_999, 99_999), Verdict::Exhausted);
        // A block has a header.
        assert_eq!(verdict(100_000, 100_003, 100_003), Verdict::Exhausted);
        assert_eq!(verdict(100_000, 100_004, 50_000), Verdict::Fragmented);
        // Crumbs are nothing.
        assert_eq!(verdict(24, 60_000, 16), Verdict::Exhausted);
        assert_eq!(verdict(24, 70_000, 16), Verdict::Fragmented);
        let growing = |bytes, free, cap_bytes, committed_bytes| {
            let growth = Some(GrowthLimit { cap_bytes, committed_bytes });
            judged(layout(bytes), &stats(free, 0), Memory::Growing(64 << 10), growth, false)
        };
        assert_eq!(growing(50_000, 50_000, 1 << 20, 1 << 20).verdict, Verdict::Exhausted);
        assert_eq!(growing(50_000, 70_000, 1 << 20, 1 << 20).verdict, Verdict::Fragmented);
        // The system gives pages: what is left of the cap need not be enough.
        assert_eq!(growing(50_000, 70_000, 1 << 20, (1 << 20) - 60_000).verdict, Verdict::Fragmented);
        assert_eq!(growing(50_000, 120_000, 1 << 20, (1 << 20) - 120_000).verdict, Verdict::SystemRefused);
        assert_eq!(growing(50_000, 0, 1 << 20, 1 << 20).remedy, Remedy::HigherCap { bytes: 1152 << 10 });
        // The cap was made less than there is.
        assert_eq!(growing(50_000, 0, 1 << 20, 2 << 20).remedy, Remedy::HigherCap { bytes: 2304 << 10 });
        let none = judged(layout(1), &Stats::default(), Memory::Regions, None, false);
        assert_eq!((none.verdict, none.remedy), (Verdict::NoMemoryYet, Remedy::LargerRegion { bytes: 1024 }));
        let asked = judged(layout(1), &stats(0, 0), Memory::Arena(1 << 20, 1 << 30), None, true);
        assert_eq!((asked.verdict, asked.remedy), (Verdict::SystemRefused, Remedy::None));
    }

    #[test]
    fn a_remedy_is_a_round_number_that_is_enough() {
        for (bytes, round) in [(1, 1024), (1025, 2048), (17 << 10, 18 << 10), ((1 << 20) + 1, 1152 << 10)] {
            assert_eq!(round_up(bytes), round);
        }
        assert_eq!(round_up(usize::MAX), usize::MAX);
        let remedy = |bytes| refusal(bytes, &stats(0, 0)).remedy;
        assert_eq!(remedy(2 << 20), Remedy::LargerArena { bytes: 3328 << 10 });
        // Requests of so many bytes are none on 32 bits.
        #[cfg(target_pointer_width = "64")]
        {
            assert_eq!(remedy(2 << 30), Remedy::Growing);
            assert_eq!(remedy(isize::MAX as usize - 7), Remedy::None);
        }
    }

    #[test]
    fn a_refusal_is_a_report() {
        assert_eq!(
            refusal(200_000, &stats(400 << 10, 9004)).to_string(),
            "\
no memory for 200000 bytes: fragmented, 400.0 KiB are free, but not in one piece
  in use   624.0 KiB of 1.0 MiB, 60.9 %; 900.0 KiB at most
  by size  from 16 B: 70.3 KiB in 3,000 blocks
           from 512 B: 59.0 KiB in 60 blocks
  free     400.0 KiB in 3 blocks, and in slots 100 B; the largest block holds 9000 bytes
  remedy   FreeList<{ 1408 << 10 }> should have sufficed so far; OrSystem takes the rest from the system"
        );
        let mut cached = stats(70_000, 9004);
        (cached.live_bytes, cached.cached_bytes) = (cached.live_bytes - 5000, 5000);
        let text = refusal(3 << 29, &cached).to_string();
        assert!(text.contains("; in caches 4.8 KiB"), "{text}");
        assert!(text.ends_with("\n  remedy   Growing is as large as the cap that it is given"), "{text}");
        let aligned = Layout::from_size_align(5000, 1 << 16).unwrap();
        let stats = stats(100_000, 90_000);
        let text = judged(aligned, &stats, Memory::Arena(1 << 20, 1 << 30), None, false).to_string();
        assert!(text.starts_with("no memory for 5000 bytes at a multiple of 65536: fragmented, 97.6 KiB are free, but not there\n"), "{text}");
    }

    #[test]
    fn other_sources_have_other_remedies() {
        let text = |memory, growth, asked| {
            let layout = Layout::from_size_align(5000, 4096).unwrap();
            judged(layout, &stats(0, 0), memory, growth, asked).to_string()
        };
        let growth = |cap_bytes| Some(GrowthLimit { cap_bytes, committed_bytes: 1 << 20 });
        let capped = text(Memory::Growing(64 << 10), growth(1 << 20), false);
        assert!(capped.starts_with("no memory for 5000 bytes at a multiple of 4096: exhausted"), "{capped}");
        assert!(capped.contains("\n  system   1.0 MiB of a cap of 1.0 MiB\n"), "{capped}");
        assert!(
            capped.contains(
                "\n  remedy   a cap of 1,152 KiB: Growing<{ 1152 << 10 }>, set_cap, or MEM_ALLOC_RUST_CAP"
            ),
            "{capped}"
        );
        let nothing = Some(GrowthLimit { cap_bytes: 0, committed_bytes: 0 });
        let tiny = judged(layout(5000), &Stats::default(), Memory::Growing(64 << 10), nothing, false);
        assert_eq!((tiny.verdict, tiny.remedy), (Verdict::Exhausted, Remedy::HigherCap { bytes: 80 << 10 }));
        let layout = Layout::from_size_align(5000, 4096).unwrap();
        let refused =
            judged(layout, &stats(80_000, 0), Memory::Growing(64 << 10), growth(1 << 30), false).to_string();
        assert!(refused.contains(": the system gives no more"), "{refused}");
        assert!(text(Memory::Arena(1 << 20, 1 << 30), None, true).contains(": the system gives no more"));
        let region = text(Memory::Regions, None, false);
        assert!(
            region.contains("\n  remedy   a region with 1,152 KiB, or one more with room for it"),
            "{region}"
        );
    }
}
