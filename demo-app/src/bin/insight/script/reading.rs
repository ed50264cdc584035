//! A trace's events, one after the other, as steps.

use super::step::{Action, Step};
use crate::live::Live;
use crate::trace_file::{Entry, TraceFile};
use crate::trouble::Trouble;
use mem_alloc_rust::trace::Event;
use rustc_hash::FxHashMap;
use std::collections::VecDeque;
use std::path::Path;

/// A trace that is being read.
pub(super) struct Reading {
    trace: TraceFile,
    live: Live,
    /// The numbers of threads, by those that the system gave them.
    threads: FxHashMap<u64, u32>,
    /// The thread whose turn it is.
    thread: u32,
    /// What follows before the next event is read.
    ready: VecDeque<Step>,
    unknown_releases: u64,
    /// Where the last block was allocated.
    address: u64,
    /// Bytes of the block whose change of size was refused last.
    former_bytes: u64,
    /// Why the recording ended before the program.
    ended: Option<u64>,
    /// Events that were read, and the number of the last one.
    events: u64,
    last: u64,
}

impl Reading {
    /// # Errors
    ///
    /// The trace cannot be read, is none, or has samples only.
    pub(super) fn open(path: &Path) -> Result<Self, Trouble> {
        let trace = TraceFile::open(path)?;
        trace.whole()?;
        Ok(Self {
            trace,
            live: Live::default(),
            threads: FxHashMap::default(),
            thread: u32::MAX,
            ready: VecDeque::new(),
            unknown_releases: 0,
            address: 0,
            former_bytes: 0,
            ended: None,
            events: 0,
            last: 0,
        })
    }

    /// Bytes live behind the step that was read last.
    pub(super) fn live_bytes(&self) -> u64 {
        self.live.bytes()
    }

    /// The thread whose step was read last.
    pub(super) fn thread(&self) -> u32 {
        self.thread
    }

    /// How many threads did something so far.
    pub(super) fn threads(&self) -> usize {
        self.threads.len()
    }

    /// Where the block lies that was allocated or resized last.
    pub(super) fn address(&self) -> u64 {
        self.address
    }

    /// Bytes of the block whose change of size was refused last.
    pub(super) fn former_bytes(&self) -> u64 {
        self.former_bytes
    }

    /// Why the recording ended before the program, if it did, as far as it was read.
    pub(super) fn ended(&self) -> Option<u64> {
        self.ended
    }

    /// How many events are missing between those that were read, but for one of each thread: what a thread was just
    /// doing when the program ended is not there.
    pub(super) fn missing(&self) -> u64 {
        self.last.saturating_sub(self.events).saturating_sub(self.threads.len() as u64)
    }

    /// How many blocks were released that were not known.
    pub(super) fn unknown_releases(&self) -> u64 {
        self.unknown_releases
    }

    /// Bytes of the file, and how many of those were read.
    pub(super) fn progress(&self) -> (u64, u64) {
        self.trace.progress()
    }

    /// The next step; `None` at the end.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or a record is malformed.
    pub(super) fn next(&mut self) -> Result<Option<Step>, Trouble> {
        while self.ready.is_empty() {
            match self.trace.next()? {
                Some(Entry::Event { sequence, thread, time, event, .. }) => {
                    self.take(sequence, thread, time, &event);
                }
                Some(Entry::End(reason)) => self.ended = Some(reason),
                Some(Entry::ThreadEnd(thread)) => self.end_thread(thread),
                Some(_) => {}
                None => return Ok(None),
            }
        }
        Ok(self.ready.pop_front())
    }

    /// A thread that has done nothing here has no number, and nothing to leave.
    fn end_thread(&mut self, thread: u64) {
        if let Some(&number) = self.threads.get(&thread) {
            self.ready.push_back(Step::no_event(Action::ThreadEnd(number)));
            if number == self.thread {
                self.thread = u32::MAX;
            }
        }
    }

    fn take(&mut self, sequence: u64, thread: u64, time: u64, event: &Event) {
        self.events += 1;
        self.last = self.last.max(sequence);
        let known = self.threads.len() as u32;
        let thread_number = *self.threads.entry(thread).or_insert(known);
        if thread_number != self.thread {
            self.thread = thread_number;
            self.ready.push_back(Step::no_event(Action::Thread(thread_number)));
        }
        if let Event::RefusedReallocation { old_address, .. } = *event {
            self.former_bytes = self.live.get(old_address).map_or(0, |block| block.size);
        }
        let change = self.live.apply(sequence, thread, time, event);
        if let Some(block) = change.after {
            self.address = block.address;
        }
        if let Some(block) = change.overwritten {
            self.ready.push_back(Step::no_event(Action::Release { block: block.number }));
        }
        let action = match *event {
            Event::Allocation { is_zeroed, .. } => change.after.map(|block| Action::Allocate {
                block: block.number,
                size: block.size,
                align_log2: log2(block.align),
                is_zeroed,
            }),
            Event::Release { .. } => change.before.map(|block| Action::Release { block: block.number }),
            Event::Reallocation { .. } => change.after.map(|after| match change.before {
                Some(_) => Action::Reallocate { block: after.number, size: after.size },
                None => Action::Allocate {
                    block: after.number,
                    size: after.size,
                    align_log2: log2(after.align),
                    is_zeroed: false,
                },
            }),
            Event::Refused { size, align, .. } => Some(Action::Refused { size, align_log2: log2(align) }),
            Event::RefusedReallocation { new_size: size, align, old_address, .. } => {
                Some(match self.live.get(old_address) {
                    Some(block) => Action::RefusedReallocation { block: block.number, size },
                    None => Action::Refused { size, align_log2: log2(align) },
                })
            }
        };
        match action {
            Some(action) => self.ready.push_back(Step::event(action)),
            None => self.unknown_releases += 1,
        }
    }
}

fn log2(align: u64) -> u8 {
    align.trailing_zeros() as u8
}
