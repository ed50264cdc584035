//! What changed between two traces: in all, and at each call site.

use crate::call_sites::CallSites;
use crate::live::Live;
use crate::names::Names;
use crate::progress::Progress;
use crate::trace_file::{Entry, TraceFile};
use crate::trouble::Trouble;
use mem_alloc_rust::trace::Event;
use rustc_hash::FxHashMap;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;

/// How many entries are read between two looks at the progress bar.
const ENTRIES_BETWEEN_UPDATES: u64 = 1 << 16;

/// A trace in figures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) totals: Totals,
    /// What each call site has done, by its functions: the one first that is responsible.
    pub(crate) sites: BTreeMap<Vec<String>, Site>,
    /// File and line of the first function of each, as far as they are known: those that come first, if there are
    /// several.
    pub(crate) places: BTreeMap<Vec<String>, String>,
    /// Why functions have no names, a sentence each, if they have none.
    pub(crate) missing: Vec<String>,
    /// Why the recording ended before the program.
    pub(crate) ended: Option<u64>,
}

/// The figures of a whole trace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Totals {
    /// The most bytes that were live, as they were asked for.
    pub(crate) peak_bytes: u64,
    /// Blocks that were live then.
    pub(crate) peak_blocks: u64,
    /// Bytes that are live at the end.
    pub(crate) end_bytes: u64,
    /// Allocations, without changes of size.
    pub(crate) allocations: u64,
    /// Changes of size.
    pub(crate) reallocations: u64,
    /// Requests that were refused.
    pub(crate) refusals: u64,
    /// All bytes that were ever asked for: with a change of size, what a block became longer.
    pub(crate) total_bytes: u64,
}

/// The figures of a call site.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Site {
    /// Bytes that it had when the whole program's were most.
    pub(crate) peak_bytes: u64,
    /// All bytes that it ever asked for.
    pub(crate) total_bytes: u64,
    /// Allocations and changes of size.
    pub(crate) calls: u64,
}

impl Summary {
    /// Reads a trace twice: until its peak is known, and up to the peak.
    ///
    /// # Errors
    ///
    /// It cannot be read, is none, has samples only, or has no event.
    pub(crate) fn read(path: &Path) -> Result<Self, Trouble> {
        let mut counting = Counting::default();
        let began = TraceFile::open(path)?.header().began;
        let mut count = 0u64;
        let mut progress = Progress::new(format!("reading {}", path.display()));
        for_each(path, &mut progress, |entry| {
            counting.note(entry);
            count += u64::from(matches!(entry, Entry::Event { .. }));
            true
        })?;
        if count == 0 {
            return Err(Trouble::NoEvents { path: path.to_owned() });
        }
        let mut at_the_peak = Live::default();
        for_each(path, &mut progress, |entry| {
            if let Entry::Event { sequence, thread, time, event, .. } = entry {
                at_the_peak.apply(*sequence, *thread, *time, event);
                return *sequence != counting.peak_sequence;
            }
            true
        })?;
        for block in at_the_peak.iter() {
            counting.by_site.entry(block.site).or_default().peak_bytes += block.size;
        }
        Ok(counting.finish(began))
    }
}

/// Calls a function with each entry of a trace, until it returns false.
fn for_each(
    path: &Path,
    progress: &mut Progress,
    mut take: impl FnMut(&Entry) -> bool,
) -> Result<(), Trouble> {
    let mut trace = TraceFile::open(path)?;
    trace.whole()?;
    let mut entries = 0u64;
    while let Some(entry) = trace.next()? {
        if !take(&entry) {
            break;
        }
        entries += 1;
        if entries % ENTRIES_BETWEEN_UPDATES == 0 {
            let (whole, done) = trace.progress();
            progress.update(done, whole);
        }
    }
    Ok(())
}

#[derive(Default)]
struct Counting {
    totals: Totals,
    live: Live,
    peak_sequence: u64,
    call_sites: CallSites,
    by_site: FxHashMap<u64, Site>,
    ended: Option<u64>,
}

impl Counting {
    fn note(&mut self, entry: &Entry) {
        self.call_sites.note(entry);
        if let Entry::End(reason) = entry {
            self.ended = Some(*reason);
        }
        let Entry::Event { sequence, thread, time, event, .. } = entry else { return };
        let change = self.live.apply(*sequence, *thread, *time, event);
        let totals = &mut self.totals;
        match *event {
            Event::Allocation { .. } => totals.allocations += 1,
            Event::Reallocation { .. } => totals.reallocations += 1,
            Event::Refused { .. } | Event::RefusedReallocation { .. } => totals.refusals += 1,
            Event::Release { .. } => {}
        }
        if let Some(after) = change.after {
            let more = after.size.saturating_sub(change.before.map_or(0, |before| before.size));
            totals.total_bytes = totals.total_bytes.saturating_add(more);
            let site = self.by_site.entry(after.site).or_default();
            site.total_bytes = site.total_bytes.saturating_add(more);
            site.calls += 1;
        }
        if self.live.bytes() > totals.peak_bytes {
            (totals.peak_bytes, totals.peak_blocks) = (self.live.bytes(), self.live.len() as u64);
            self.peak_sequence = *sequence;
        }
        totals.end_bytes = self.live.bytes();
    }

    fn finish(self, began: u64) -> Summary {
        let mut names = Names::new(self.call_sites.modules(), began);
        let mut sites: BTreeMap<Vec<String>, Site> = BTreeMap::new();
        let mut places: BTreeMap<Vec<String>, String> = BTreeMap::new();
        for (number, found) in self.by_site {
            let named = names.of(&self.call_sites, number);
            let place = places.entry(named.stack.clone()).or_insert_with(|| named.place.clone());
            if named.place < *place {
                place.clone_from(&named.place);
            }
            let site = sites.entry(named.stack.clone()).or_default();
            site.peak_bytes += found.peak_bytes;
            site.total_bytes = site.total_bytes.saturating_add(found.total_bytes);
            site.calls += found.calls;
        }
        Summary { totals: self.totals, sites, places, missing: names.symbols().missing(), ended: self.ended }
    }
}

/// A call site in both traces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Compared {
    /// Its functions, the one first that is responsible; empty where call sites were not recorded.
    pub(crate) stack: Vec<String>,
    /// File and line of the first, in the later trace if they differ; empty if they are not known.
    pub(crate) place: String,
    pub(crate) before: Site,
    pub(crate) after: Site,
}

impl Compared {
    /// By how much it changed what is live at the peak.
    pub(crate) fn change(&self) -> i128 {
        i128::from(self.after.peak_bytes) - i128::from(self.before.peak_bytes)
    }

    fn change_of_total(&self) -> i128 {
        i128::from(self.after.total_bytes) - i128::from(self.before.total_bytes)
    }
}

/// The call sites of which anything differs: the one first whose share of the peak changed most; where that is the
/// same, the one whose total changed most.
pub(crate) fn compare(before: &Summary, after: &Summary) -> Vec<Compared> {
    let stacks: std::collections::BTreeSet<_> = before.sites.keys().chain(after.sites.keys()).collect();
    let site = |summary: &Summary, stack| summary.sites.get(stack).copied().unwrap_or_default();
    let mut all: Vec<Compared> = stacks
        .into_iter()
        .map(|stack| Compared {
            stack: stack.clone(),
            place: after.places.get(stack).or(before.places.get(stack)).cloned().unwrap_or_default(),
            before: site(before, stack),
            after: site(after, stack),
        })
        .filter(|compared| compared.before != compared.after)
        .collect();
    all.sort_by_key(|compared| {
        std::cmp::Reverse((compared.change().unsigned_abs(), compared.change_of_total().unsigned_abs()))
    });
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic::Synthetic;
    use mem_alloc_rust::trace::{Module, Note};

    fn trace(name: &str, bias: u64, second: u64) -> std::path::PathBuf {
        let mut trace = Synthetic::new();
        let module = Module { bias, start: bias, end: bias + 0x10000, path: b"/bin/program" };
        trace.about(&Note::Module(module));
        for (number, caller, offset) in [(1, 0, 0x10), (2, 1, 0x20), (3, 1, 0x30)] {
            trace.note(1, &Note::Site { number, caller, address: bias + offset });
        }
        let allocation =
            |address, size, site| Event::Allocation { size, align: 8, address, is_zeroed: false, site };
        trace.event(1, 1, &allocation(0x1000, 100, 2));
        trace.event(1, 2, &allocation(0x2000, second, 3));
        trace.release(1, 3, 0x1000);
        let resize = Event::Reallocation {
            new_size: second + 10,
            align: 8,
            old_address: 0x2000,
            address: 0x2000,
            site: 3,
        };
        trace.event(1, 4, &resize);
        trace.write(name)
    }

    fn stack(frames: &[&str]) -> Vec<String> {
        frames.iter().map(|frame| (*frame).to_owned()).collect()
    }

    #[test]
    fn a_trace_is_summed_up() {
        let summary = Summary::read(&trace("summary", 0x40_0000, 50)).unwrap();
        let totals = Totals {
            peak_bytes: 150,
            peak_blocks: 2,
            end_bytes: 60,
            allocations: 2,
            reallocations: 1,
            refusals: 0,
            total_bytes: 160,
        };
        assert_eq!(summary.totals, totals);
        let sites = [
            (stack(&["program+0x20", "program+0x10"]), Site { peak_bytes: 100, total_bytes: 100, calls: 1 }),
            (stack(&["program+0x30", "program+0x10"]), Site { peak_bytes: 50, total_bytes: 60, calls: 2 }),
        ];
        assert_eq!(summary.sites, BTreeMap::from(sites));
    }

    #[test]
    fn runs_at_other_addresses_are_compared_by_place() {
        let before = Summary::read(&trace("before", 0x40_0000, 50)).unwrap();
        let same = Summary::read(&trace("same", 0x7000_0000, 50)).unwrap();
        assert_eq!(compare(&before, &same), []);
        let after = Summary::read(&trace("after", 0x7000_0000, 250)).unwrap();
        let found = compare(&before, &after);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].stack, stack(&["program+0x30", "program+0x10"]));
        assert_eq!((found[0].change(), found[0].change_of_total()), (200, 200));
        assert_eq!(compare(&after, &before)[0].change(), -200);
    }

    #[test]
    fn what_changed_most_is_first() {
        let site = |peak_bytes, total_bytes| Site { peak_bytes, total_bytes, calls: 1 };
        let summary = |sites: &[(&str, Site)]| Summary {
            totals: Totals::default(),
            sites: sites.iter().map(|(name, site)| (stack(&[name]), *site)).collect(),
            ..Summary::default()
        };
        let before =
            summary(&[("a", site(10, 10)), ("b", site(500, 500)), ("c", site(0, 10)), ("d", site(7, 7))]);
        let after =
            summary(&[("a", site(30, 30)), ("c", site(0, 5000)), ("d", site(7, 7)), ("e", site(20, 1))]);
        let order: Vec<_> =
            compare(&before, &after).into_iter().map(|compared| compared.stack[0].clone()).collect();
        assert_eq!(order, ["b", "a", "e", "c"]);
    }
}
