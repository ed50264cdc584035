//! What is known of a traced program at one moment.

use super::series::Series;
use super::spans::Spans;
use crate::call_sites::CallSites;
use crate::live::Live;
use crate::trace_file::Entry;
use mem_alloc_rust::trace::Event;
use rustc_hash::FxHashMap;
use std::collections::VecDeque;

/// The rate of calls is that of the last second.
const RATE_NANOS: u64 = 1_000_000_000;

/// How often in that time calls are counted.
const RATE_POINTS: u64 = 10;

/// Everything that is shown.
pub(crate) struct Model {
    live: Live,
    pub(super) call_sites: CallSites,
    /// Bytes and blocks of each call site that has any.
    by_site: FxHashMap<u64, Holding>,
    spans: Spans,
    pub(super) live_over_time: Series,
    pub(super) peak: u64,
    pub(super) events: u64,
    pub(super) refusals: u64,
    /// The last request that was refused.
    pub(super) refused: Option<u64>,
    /// In nanoseconds since the recording began.
    pub(super) time: u64,
    /// Why the recording ended, if it did so before the program.
    pub(super) end: Option<u64>,
    /// Times, and how many events there had been.
    counts: VecDeque<(u64, u64)>,
}

/// What a call site has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Holding {
    pub(super) bytes: u64,
    pub(super) blocks: u64,
}

impl Model {
    /// Nothing has happened.
    pub(crate) fn new() -> Self {
        Self {
            live: Live::default(),
            call_sites: CallSites::default(),
            by_site: FxHashMap::default(),
            spans: Spans::default(),
            live_over_time: Series::new(),
            peak: 0,
            events: 0,
            refusals: 0,
            refused: None,
            time: 0,
            end: None,
            counts: VecDeque::new(),
        }
    }

    /// Notes what happened next.
    pub(crate) fn apply(&mut self, entry: &Entry) {
        self.call_sites.note(entry);
        match entry {
            Entry::Event { sequence, thread, time, event, .. } => {
                self.event(*sequence, *thread, *time, event)
            }
            Entry::End(reason) => self.end = Some(*reason),
            Entry::Site { .. } | Entry::Module { .. } | Entry::Program(_) | Entry::ThreadEnd(_) => {}
        }
    }

    fn event(&mut self, sequence: u64, thread: u64, time: u64, event: &Event) {
        self.events += 1;
        self.time = self.time.max(time);
        let change = self.live.apply(sequence, thread, time, event);
        for block in change.overwritten.iter().chain(&change.before) {
            if let Some(holding) = self.by_site.get_mut(&block.site) {
                holding.bytes -= block.size;
                holding.blocks -= 1;
                if holding.blocks == 0 {
                    self.by_site.remove(&block.site);
                }
            }
        }
        if let Some(block) = &change.after {
            let holding = self.by_site.entry(block.site).or_default();
            holding.bytes += block.size;
            holding.blocks += 1;
        }
        self.spans.apply(&change);
        if let Event::Refused { size, .. } | Event::RefusedReallocation { new_size: size, .. } = *event {
            self.refusals += 1;
            self.refused = Some(size);
        }
        self.peak = self.peak.max(self.live.bytes());
        self.live_over_time.note(self.time, self.live.bytes());
        if self.counts.back().is_none_or(|&(last, _)| self.time >= last + RATE_NANOS / RATE_POINTS) {
            self.counts.push_back((self.time, self.events));
        }
        while self.counts.get(1).is_some_and(|&(second, _)| second + RATE_NANOS <= self.time) {
            self.counts.pop_front();
        }
    }

    /// All call sites so far.
    pub(crate) fn call_sites(&self) -> &CallSites {
        &self.call_sites
    }

    /// Bytes that are live, as they were asked for.
    pub(super) fn live_bytes(&self) -> u64 {
        self.live.bytes()
    }

    /// Blocks that are live.
    pub(super) fn live_blocks(&self) -> usize {
        self.live.len()
    }

    /// Calls in the last second of the trace.
    pub(super) fn calls_per_second(&self) -> u64 {
        let Some(&(time, events)) = self.counts.front() else { return 0 };
        let (elapsed, calls) = (self.time - time, self.events - events);
        if elapsed == 0 { 0 } else { (u128::from(calls) * 1_000_000_000 / u128::from(elapsed)) as u64 }
    }

    /// The span of the arena's addresses, as far as it was used.
    pub(super) fn arena(&self) -> Option<(u64, u64)> {
        self.spans.densest()
    }

    /// The arena in so many cells: for each, how many percent are in use; one at least, if anything is.
    pub(super) fn cells(&self, count: usize) -> Vec<u8> {
        let mut used = vec![0u64; count];
        let Some((low, high)) = self.arena().filter(|_| count > 0) else { return vec![0; count] };
        let cell = (high - low).div_ceil(count as u64).max(1);
        for block in self.live.iter().filter(|block| block.address >= low && block.address < high) {
            let (mut from, to) = (block.address - low, (block.address - low).saturating_add(block.size));
            while from < to {
                let place = from / cell;
                let until = to.min((place + 1) * cell);
                let Some(used) = used.get_mut(place as usize) else { break };
                *used += until - from;
                from = until;
            }
        }
        used.iter().map(|&used| (used * 100).div_ceil(cell).min(100) as u8).collect()
    }

    /// The call sites that hold most, the first one most.
    pub(super) fn holders(&self, count: usize) -> Vec<(u64, Holding)> {
        let mut all: Vec<_> = self.by_site.iter().map(|(&site, &holding)| (site, holding)).collect();
        all.sort_unstable_by_key(|&(site, holding)| (std::cmp::Reverse(holding.bytes), site));
        all.truncate(count);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(sequence: u64, time: u64, event: Event) -> Entry {
        Entry::Event { sequence, thread: 1, time, event, weight: None }
    }

    fn allocation(address: u64, size: u64, site: u64) -> Event {
        Event::Allocation { size, align: 8, address, is_zeroed: false, site }
    }

    #[test]
    fn counters_follow_the_events() {
        let mut model = Model::new();
        let second = 1_000_000_000;
        model.apply(&event(1, 0, allocation(0x1000, 100, 5)));
        model.apply(&event(2, second / 2, allocation(0x1064, 300, 6)));
        model.apply(&event(3, second, allocation(0x1190, 50, 5)));
        assert_eq!(model.calls_per_second(), 2, "of the first second, not counting the first call");
        model.apply(&event(4, 2 * second, Event::Release { address: 0x1064 }));
        model.apply(&event(5, 2 * second, Event::Refused { size: 77, align: 8, site: 0 }));
        assert_eq!((model.live_bytes(), model.live_blocks(), model.peak), (150, 2, 450));
        assert_eq!((model.events, model.refusals, model.refused), (5, 1, Some(77)));
        assert_eq!(model.calls_per_second(), 2, "of the last one");
        assert_eq!(model.holders(9), [(5, Holding { bytes: 150, blocks: 2 })]);
        // 450 bytes from 0x1000 on: the first 100 and the last 50 of them are in use.
        assert_eq!(model.arena(), Some((0x1000, 0x11C2)));
        assert_eq!(model.cells(9), [100, 100, 0, 0, 0, 0, 0, 0, 100]);
        assert_eq!(model.cells(2), [45, 23]);
    }

    #[test]
    fn who_holds_most_is_first() {
        let mut model = Model::new();
        for (sequence, (size, site)) in (1..).zip([(10, 1), (500, 2), (20, 3), (30, 1)]) {
            model.apply(&event(sequence, 0, allocation(0x1000 * sequence, size, site)));
        }
        let holding = |bytes, blocks| Holding { bytes, blocks };
        assert_eq!(model.holders(2), [(2, holding(500, 1)), (1, holding(40, 2))]);
        let resize =
            Event::Reallocation { new_size: 5, align: 8, old_address: 0x2000, address: 0x2000, site: 3 };
        model.apply(&event(5, 0, resize));
        assert_eq!(model.holders(9), [(1, holding(40, 2)), (3, holding(25, 2))]);
    }
}
