//! A trace as a whole, for tests: all events in order, and what else is told.

use mem_alloc_rust::trace::{
    CHUNK, CHUNK_HEADER, ChunkHeader, Decoder, Event, FILE_HEADER, FileHeader, Note, Record,
};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// An event, and whose it is.
pub struct Entry {
    pub sequence: u64,
    pub thread: u64,
    pub time: u64,
    pub event: Event,
    /// How many bytes it stands for, in a heap profile.
    pub weight: Option<u64>,
}

pub struct Trace {
    pub header: FileHeader,
    pub program: String,
    /// In the order of their numbers.
    pub events: Vec<Entry>,
    /// Threads that ended, each with the number of the event behind which it did.
    pub ends: Vec<(u64, u64)>,
    /// All other notes but the times and threads, which the entries have.
    pub notes: Vec<Note<'static>>,
    /// Those with events.
    pub chunks: usize,
    sites: BTreeMap<u64, (u64, u64)>,
}

impl Trace {
    #[track_caller]
    pub fn read(path: &Path) -> Self {
        let bytes: &'static [u8] = std::fs::read(path).unwrap().leak();
        let mut trace = Self {
            header: FileHeader::decode(bytes).unwrap(),
            program: String::new(),
            events: Vec::new(),
            ends: Vec::new(),
            notes: Vec::new(),
            chunks: 0,
            sites: BTreeMap::new(),
        };
        trace.read_chunk(&bytes[FILE_HEADER..CHUNK], &ChunkHeader::FIRST);
        for chunk in bytes[CHUNK..].chunks(CHUNK) {
            if let Some(header) = ChunkHeader::decode(chunk).unwrap() {
                trace.chunks += 1;
                trace.read_chunk(&chunk[CHUNK_HEADER..], &header);
            }
        }
        trace.events.sort_by_key(|entry| entry.sequence);
        trace
    }

    fn read_chunk(&mut self, records: &'static [u8], header: &ChunkHeader) {
        let mut decoder = Decoder::new(header);
        let (mut thread, mut time, mut weight) = (u64::from(header.thread), header.time, None);
        while let Some(record) = decoder.next(records).unwrap() {
            match record {
                Record::Event { sequence, event } => {
                    self.events.push(Entry { sequence, thread, time, event, weight: weight.take() });
                }
                Record::Note(Note::Sample(bytes)) => weight = Some(bytes),
                Record::Note(Note::Thread(other)) => thread = other,
                Record::Note(Note::ThreadEnd(last)) => self.ends.push((thread, last)),
                Record::Note(Note::Time(later)) => {
                    assert!(later >= time);
                    time = later;
                }
                Record::Note(Note::Site { number, caller, address }) => {
                    assert!(caller < number, "a caller is known before");
                    assert_eq!(self.sites.insert(number, (caller, address)), None);
                }
                Record::Note(Note::Program(line)) => {
                    self.program = String::from_utf8_lossy(line).into_owned()
                }
                Record::Note(note) => self.notes.push(note),
            }
        }
    }

    /// How many events are not there, of those before the last one.
    pub fn missing(&self) -> u64 {
        self.events.last().map_or(0, |last| last.sequence) - self.events.len() as u64
    }

    /// The return addresses of a call site, the innermost first.
    pub fn path_to(&self, mut site: u64) -> Vec<u64> {
        let mut path = Vec::new();
        while site != 0 {
            let (caller, address) = self.sites[&site];
            path.push(address);
            site = caller;
        }
        path
    }

    /// Each event has a number, no block is where another one is, and only blocks are released.
    #[track_caller]
    pub fn assert_consistent(&self) {
        assert!(self.events.len() > 10);
        assert_eq!((self.events[0].sequence, self.missing()), (1, 0));
        assert!(self.events.iter().all(|entry| entry.weight.is_none()), "only samples stand for more");
        let mut live = BTreeSet::new();
        // Another thread may get a block's old place before a `realloc` is told that gave it up.
        let mut early = BTreeSet::new();
        for Entry { sequence, event, .. } in &self.events {
            let mut enter = |address: u64| {
                if !live.insert(address) {
                    assert!(early.insert(address), "event {sequence}: {event:?} where two blocks are");
                }
            };
            match *event {
                Event::Allocation { address, .. } => enter(address),
                Event::Reallocation { old_address, address, .. } => {
                    if old_address != address {
                        enter(address);
                        let was_there = early.remove(&old_address) || live.remove(&old_address);
                        assert!(was_there, "event {sequence}: {event:?} of no block");
                    }
                }
                Event::Release { address } => {
                    assert!(live.remove(&address), "event {sequence}: {event:?} of no block");
                    if early.remove(&address) {
                        live.insert(address);
                    }
                }
                Event::Refused { .. } | Event::RefusedReallocation { .. } => {}
            }
        }
        assert!(early.is_empty(), "{early:x?} were never given up");
        let unknown = self.events.iter().filter_map(|entry| match entry.event {
            Event::Allocation { site, .. } | Event::Reallocation { site, .. } => Some(site),
            _ => None,
        });
        for site in unknown.filter(|&site| site != 0) {
            assert!(self.sites.contains_key(&site), "call site {site}");
        }
    }
}
