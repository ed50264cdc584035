//! What a trace tells when it is read as a whole, in memory that depends on what is live at once and on the number of
//! call sites, but not on the number of events.
//!
//! A trace is read twice. The first time says when most was in use, and which addresses are used at all; the second
//! time collects what depends on that.
//!
//! | file | job |
//! |---|---|
//! | `walk` | events become changes of blocks |
//! | `overview` | the first reading |
//! | `space` | the addresses that are used at all, put side by side |
//! | `occupancy` | which of those are in use now |
//! | `holders` | who holds the memory, by call site |
//! | `growth` | blocks that grew step by step |
//! | `histogram` | sizes and lifetimes |
//! | `series` | what was in use over time |
//! | `stacks` | call sites become stacks of functions |

mod growth;
mod histogram;
mod holders;
mod occupancy;
mod overview;
mod series;
mod space;
mod stacks;
mod walk;

pub(crate) use growth::{Growth, Growths};
pub(crate) use histogram::{Histogram, Lifetimes};
pub(crate) use holders::{Holder, Holders, SHORT_LIVED};
pub(crate) use occupancy::{CELLS, LEVELS, Occupancy, Snapshot};
pub(crate) use overview::Overview;
pub(crate) use series::{Point, Series};
pub(crate) use stacks::{PLUMBING_PATTERN, Stacks, is_of_allocator, is_outermost};
pub(crate) use walk::{Change, Module, Moment, Observer};

use crate::trouble::Trouble;
use std::path::Path;

/// Who holds the memory that a trace is about: what all of it was read for the second time for.
///
/// # Errors
///
/// The trace cannot be read.
pub(crate) fn holders(path: &Path, overview: &Overview) -> Result<Vec<Holder>, Trouble> {
    let mut holders = Holders::new(overview.sites.len(), overview.peak.ordinal);
    walk::walk(path, "collecting", &mut holders)?;
    Ok(holders.finish())
}

/// All that a report shows.
pub(crate) struct Details {
    /// By number of the call site.
    pub(crate) holders: Vec<Holder>,
    /// By number of the call site.
    pub(crate) growths: Vec<(u32, Growth)>,
    pub(crate) sizes: Histogram,
    pub(crate) lifetimes: Lifetimes,
    pub(crate) points: Vec<Point>,
    pub(crate) snapshots: Vec<Snapshot>,
    /// Bytes of a page, in which the footprint is counted.
    pub(crate) page: u64,
    /// Bytes of a cell of a snapshot.
    pub(crate) cell: u64,
}

/// Reads a trace for the second time, for all that a report shows.
///
/// # Errors
///
/// The trace cannot be read.
pub(crate) fn details(path: &Path, overview: &Overview) -> Result<Details, Trouble> {
    let mut collector = Collector {
        holders: Holders::new(overview.sites.len(), overview.peak.ordinal),
        growths: Growths::default(),
        sizes: Histogram::halves(),
        lifetimes: Lifetimes::default(),
        series: Series::new(overview.events),
        occupancy: Occupancy::new(&overview.space),
        moments: occupancy::moments(overview.events, overview.peak.ordinal),
        snapshots: Vec::new(),
    };
    walk::walk(path, "collecting", &mut collector)?;
    Ok(Details {
        holders: collector.holders.finish(),
        growths: collector.growths.finish(),
        sizes: collector.sizes,
        lifetimes: collector.lifetimes,
        points: collector.series.finish(),
        page: collector.occupancy.page(),
        cell: collector.occupancy.cell(),
        snapshots: collector.snapshots,
    })
}

struct Collector<'a> {
    holders: Holders,
    growths: Growths,
    sizes: Histogram,
    lifetimes: Lifetimes,
    series: Series,
    occupancy: Occupancy<'a>,
    /// When snapshots are still to be taken, the last one first.
    moments: Vec<u64>,
    snapshots: Vec<Snapshot>,
}

impl Observer for Collector<'_> {
    fn observe(&mut self, now: &Moment, change: &Change<'_>) {
        self.holders.observe(now, change);
        self.growths.observe(now, change);
        self.lifetimes.observe(now, change);
        self.occupancy.observe(now, change);
        match change {
            Change::Allocated(block) | Change::Resized { new: block, .. } => {
                self.sizes.add(block.size, block.blocks, block.bytes);
            }
            Change::Released(_) | Change::Lost(_) | Change::Refused { .. } | Change::Unknown => {}
        }
        self.series.add(now, self.occupancy.footprint());
        if self.moments.last() == Some(&now.ordinal) && !matches!(change, Change::Lost(_)) {
            self.moments.pop();
            self.snapshots.push(self.occupancy.snapshot(now));
        }
    }
}
