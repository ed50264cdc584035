//! One chunk of a trace that is being read, whether the file is complete or still written.

use crate::trace_file::{Entry, entry_of};
use crate::trouble::Trouble;
use mem_alloc_rust::trace::{CHUNK, CHUNK_HEADER, ChunkHeader, Decoder, Event, Note, Record};
use std::collections::VecDeque;
use std::path::Path;

/// Something that has its place in the order of all, and what its chunk told of it before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stamped {
    pub(crate) place: Place,
    thread: u64,
    time: u64,
    what: What,
}

/// A place in the order of all: at an event, by its number, or behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) sequence: u64,
    pub(crate) is_behind: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    Event(Event, Option<u64>),
    ThreadEnd,
}

impl From<Stamped> for Entry {
    fn from(Stamped { place, thread, time, what }: Stamped) -> Self {
        match what {
            What::Event(event, weight) => {
                Self::Event { sequence: place.sequence, thread, time, event, weight }
            }
            What::ThreadEnd => Self::ThreadEnd(thread),
        }
    }
}

/// A chunk, and how far it was decoded.
pub(crate) struct Chunk {
    /// Its bytes, as many as the file had of them.
    pub(crate) bytes: Vec<u8>,
    /// Where it begins in the file; 0 if there is none yet.
    start: u64,
    decoder: Decoder,
    thread: u64,
    time: u64,
    weight: Option<u64>,
}

impl Chunk {
    /// No chunk: it has no events.
    pub(crate) fn none() -> Self {
        Self {
            bytes: Vec::new(),
            start: 0,
            decoder: Decoder::new(&ChunkHeader::FIRST),
            thread: 0,
            time: 0,
            weight: None,
        }
    }

    /// Where it begins in the file; `None` if there is none yet.
    pub(crate) fn start(&self) -> Option<u64> {
        Some(self.start).filter(|&start| start > 0)
    }

    /// Goes on with the chunk that begins there; its bytes are to be had separately.
    pub(crate) fn begin(&mut self, start: u64, header: &ChunkHeader) {
        self.start = start;
        self.decoder = Decoder::new(header);
        (self.thread, self.time) = (header.thread.into(), header.time);
    }

    fn stamped(&self, place: Place, what: What) -> Stamped {
        Stamped { place, thread: self.thread, time: self.time, what }
    }

    /// The next event among its bytes, or the end of its thread. Other notes on the way are told at once: a call site
    /// is known before it is used, whoever uses it first.
    ///
    /// # Errors
    ///
    /// A record of the file at `path` is malformed.
    pub(crate) fn next(
        &mut self,
        path: &Path,
        notes: &mut VecDeque<Entry>,
    ) -> Result<Option<Stamped>, Trouble> {
        let records = self.bytes.get(CHUNK_HEADER..).unwrap_or_default();
        loop {
            match self.decoder.next(records) {
                Ok(Some(Record::Event { sequence, event })) => {
                    let what = What::Event(event, self.weight.take());
                    return Ok(Some(self.stamped(Place { sequence, is_behind: false }, what)));
                }
                Ok(Some(Record::Note(Note::ThreadEnd(sequence)))) => {
                    return Ok(Some(self.stamped(Place { sequence, is_behind: true }, What::ThreadEnd)));
                }
                Ok(Some(Record::Note(Note::Time(time)))) => self.time = time,
                Ok(Some(Record::Note(Note::Thread(thread)))) => self.thread = thread,
                Ok(Some(Record::Note(Note::Sample(weight)))) => self.weight = Some(weight),
                Ok(Some(Record::Note(note))) => notes.extend(entry_of(&note)),
                Ok(None) => return Ok(None),
                // The file ends here, in the middle of a record.
                Err(_) if self.bytes.len() < CHUNK => return Ok(None),
                Err(error) => {
                    return Err(Trouble::malformed(path, self.start + CHUNK_HEADER as u64, &error));
                }
            }
        }
    }
}
