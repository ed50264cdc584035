//! The report of a refusal, as text.

use super::{Refusal, Remedy, Verdict};
use crate::size::GRANULE;
use crate::text::{Sink, display, fill, share};
use core::fmt;

/// So many size classes are named at most: those with most bytes in use, if that is more than this share of all, 1/64.
const CLASSES: u32 = 4;
const LITTLE_SHARE_LOG2: u32 = 6;

/// Numbers of bytes to be pasted are shifted by ten so many times at most: they are gibibytes then.
const MOST_SHIFTS: u32 = 3;

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        display(f, |out| self.write_to(out))
    }
}

impl Refusal {
    /// Writes the report, without a newline at its end.
    pub(super) fn write_to(&self, out: &mut Sink<'_>) {
        let stats = &self.stats;
        let mut line = |template, values: &[usize]| fill(out, template, values);
        line("no memory for ^ bytes", &[self.layout.size()]);
        if self.layout.align() > GRANULE {
            line(" at a multiple of ^", &[self.layout.align()]);
        }
        let verdict = match self.verdict {
            Verdict::Exhausted => ": exhausted, only @ are free",
            Verdict::Fragmented if self.largest_free_bytes >= self.layout.size() => {
                ": fragmented, @ are free, but not there"
            }
            Verdict::Fragmented => ": fragmented, @ are free, but not in one piece",
            Verdict::NoMemoryYet => ": the allocator was given none yet",
            Verdict::SystemRefused => ": the system gives no more",
        };
        line(verdict, &[stats.free_bytes]);
        line(
            "\n  in use   @ of @, ! %; @ at most",
            &[
                stats.live_bytes,
                stats.arena_bytes,
                share(stats.live_bytes, stats.arena_bytes),
                stats.peak_bytes,
            ],
        );
        let in_caches = stats.cached_bytes + stats.held_bytes;
        if in_caches > 0 {
            line("; in caches @", &[in_caches]);
        }
        let (mut label, mut below) = ("\n  by size  from @: @ in # block*", usize::MAX);
        for _ in 0..CLASSES {
            let class = stats.live_by_size.largest_below(below);
            if class.bytes <= stats.live_bytes >> LITTLE_SHARE_LOG2 {
                break;
            }
            line(label, &[class.smallest_bytes, class.bytes, class.blocks]);
            (label, below) = ("\n           from @: @ in # block*", class.bytes);
        }
        line(
            "\n  free     @ in # block*, and in slots @; the largest block holds ^ bytes",
            &[stats.free_bytes, stats.free_blocks, stats.free_slot_bytes, self.largest_free_bytes],
        );
        if let Some(growth) = self.growth {
            line("\n  system   @ of a cap of @", &[growth.committed_bytes, growth.cap_bytes]);
        }
        // As a number of the largest unit that divides it.
        let shift = |bytes: usize| (bytes.trailing_zeros() / 10).min(MOST_SHIFTS) as usize * 10;
        let (remedy, values) = match self.remedy {
            Remedy::LargerArena { bytes } => (
                "\n  remedy   FreeList<{ ^ << ^ }> should have sufficed so far; OrSystem takes the rest from the system",
                [bytes >> shift(bytes), shift(bytes), 0],
            ),
            Remedy::LargerRegion { bytes } => {
                ("\n  remedy   a region with # KiB, or one more with room for it", [bytes >> 10, 0, 0])
            }
            Remedy::HigherCap { bytes } => (
                "\n  remedy   a cap of # KiB: Growing<{ ^ << ^ }>, set_cap, or MEM_ALLOC_RUST_CAP",
                [bytes >> 10, bytes >> shift(bytes), shift(bytes)],
            ),
            Remedy::Growing => ("\n  remedy   Growing is as large as the cap that it is given", [0; 3]),
            Remedy::None => ("", [0; 3]),
        };
        line(remedy, &values);
    }
}
