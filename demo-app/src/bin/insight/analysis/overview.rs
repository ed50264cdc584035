//! The first reading of a trace: how much there is, when most was in use, and where.

use super::space::{Addresses, Space};
use super::walk::{self, Change, Module, Moment, Observer, Site};
use crate::trace_file::TraceFile;
use crate::trouble::Trouble;
use mem_alloc_rust::trace::FileHeader;
use std::path::Path;

/// What a trace is about.
pub(crate) struct Overview {
    pub(crate) header: FileHeader,
    /// The command line.
    pub(crate) program: Option<String>,
    /// Why the recording ended before the program.
    pub(crate) ended: Option<u64>,
    /// By number; what is there for 0 has no meaning.
    pub(crate) sites: Vec<Site>,
    pub(crate) modules: Vec<Module>,
    pub(crate) threads: usize,
    pub(crate) events: u64,
    pub(crate) counts: Counts,
    /// The first moment at which most bytes were in use.
    pub(crate) peak: Moment,
    /// The last event.
    pub(crate) end: Moment,
    /// The addresses that are used.
    pub(crate) space: Space,
}

/// How often a program asked for what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) allocations: u64,
    pub(crate) releases: u64,
    pub(crate) reallocations: u64,
    pub(crate) refusals: u64,
    /// Bytes that were asked for, by `realloc` as well.
    pub(crate) bytes: u64,
    /// Releases of what was allocated before the recording, and blocks whose release is missing.
    pub(crate) unmatched: u64,
}

impl Overview {
    /// Reads a trace for the first time.
    ///
    /// # Errors
    ///
    /// The trace cannot be read.
    pub(crate) fn read(path: &Path) -> Result<Self, Trouble> {
        let header = *TraceFile::open(path)?.header();
        let mut first = First::default();
        let around = walk::walk(path, "reading", &mut first)?;
        Ok(Self {
            header,
            program: around.program,
            ended: around.end,
            sites: around.sites,
            modules: around.modules,
            threads: around.threads,
            events: first.end.ordinal,
            counts: first.counts,
            peak: first.peak,
            end: first.end,
            space: first.addresses.finish(),
        })
    }
}

#[derive(Default)]
struct First {
    counts: Counts,
    peak: Moment,
    end: Moment,
    addresses: Addresses,
}

impl Observer for First {
    fn observe(&mut self, now: &Moment, change: &Change<'_>) {
        let counts = &mut self.counts;
        match change {
            Change::Allocated(block) => {
                counts.allocations += block.blocks;
                counts.bytes += block.bytes;
                self.addresses.add(block.address, block.size);
            }
            Change::Resized { new, .. } => {
                counts.reallocations += new.blocks;
                counts.bytes += new.bytes;
                self.addresses.add(new.address, new.size);
            }
            Change::Released(block) => counts.releases += block.blocks,
            Change::Refused { .. } => counts.refusals += 1,
            Change::Lost(_) | Change::Unknown => counts.unmatched += 1,
        }
        if now.live_bytes > self.peak.live_bytes {
            self.peak = *now;
        }
        self.end = *now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic::Synthetic;

    #[test]
    fn the_peak_is_the_first_moment_with_most_bytes() {
        let mut file = Synthetic::new();
        file.allocation(0, 1, 0x1000, 100, 0);
        file.allocation(0, 2, 0x2000, 50, 0);
        file.release(0, 3, 0x2000);
        file.allocation(0, 4, 0x2000, 50, 0);
        file.reallocation(0, 5, (0x1000, 0x1000), 80, 0);
        file.refused(0, 6, 1000);
        file.release(0, 7, 0x7777);
        let overview = Overview::read(&file.write("overview")).unwrap();
        assert_eq!((overview.peak.ordinal, overview.peak.live_bytes, overview.peak.live_blocks), (2, 150, 2));
        assert_eq!((overview.end.ordinal, overview.end.live_bytes, overview.end.live_blocks), (7, 130, 2));
        let expected = Counts {
            allocations: 3,
            releases: 1,
            reallocations: 1,
            refusals: 1,
            bytes: 100 + 50 + 50 + 80,
            unmatched: 1,
        };
        assert_eq!(overview.counts, expected);
    }
}
