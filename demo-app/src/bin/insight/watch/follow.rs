//! A trace that is still being written: its chunks become fuller, and new ones come.

use crate::chunk::{Chunk, Place, Stamped};
use crate::trace_file::{Entry, entry_of, read_at};
use crate::trouble::Trouble;
use mem_alloc_rust::trace::{CHUNK, CHUNK_HEADER, ChunkHeader, Decoder, FILE_HEADER, FileHeader, Record};
use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Events are told in order. If one is missing for so long, another thread is not just about to write it: the trace has
/// a gap.
const PATIENCE: Duration = Duration::from_millis(300);

/// A trace that is being written, as far as it was read.
pub(crate) struct Follower {
    path: PathBuf,
    file: File,
    /// Where the next chunk begins that was not looked at.
    end: u64,
    /// Chunks that had not been begun when they were looked at.
    blank: Vec<u64>,
    first: Decoder,
    writers: BTreeMap<u32, Tail>,
    /// What is told before the next event.
    notes: VecDeque<Entry>,
    /// The sequence number that comes next.
    expected: u64,
    polled: Instant,
}

/// The chunks of one writer that were not read yet.
struct Tail {
    chunks: VecDeque<u64>,
    /// The one that is read.
    chunk: Chunk,
    /// What was read and not told, and when.
    events: VecDeque<(Stamped, Instant)>,
    /// There may be more to read.
    may_have_more: bool,
}

impl Follower {
    /// Opens a trace.
    ///
    /// # Errors
    ///
    /// It cannot be read, or is none.
    pub(crate) fn open(path: &Path, now: Instant) -> Result<Self, Trouble> {
        let unreadable = |error| Trouble::unreadable(path, error);
        let mut file = File::open(path).map_err(unreadable)?;
        let mut header = [0; FILE_HEADER];
        let len = read_at(&mut file, 0, &mut header).map_err(unreadable)?;
        FileHeader::decode(&header[..len]).map_err(|error| Trouble::malformed(path, 0, &error))?;
        let mut follower = Self {
            path: path.to_owned(),
            file,
            end: CHUNK as u64,
            blank: Vec::new(),
            first: Decoder::new(&ChunkHeader::FIRST),
            writers: BTreeMap::new(),
            notes: VecDeque::new(),
            expected: 1,
            polled: now,
        };
        follower.poll(now)?;
        Ok(follower)
    }

    /// Looks for what was written since the last time.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or is malformed.
    pub(crate) fn poll(&mut self, now: Instant) -> Result<(), Trouble> {
        self.polled = now;
        let mut first = vec![0; CHUNK - FILE_HEADER];
        self.read(FILE_HEADER as u64, &mut first)?;
        while let Some(record) = self
            .first
            .next(&first)
            .map_err(|error| Trouble::malformed(&self.path, FILE_HEADER as u64, &error))?
        {
            if let Record::Note(note) = record {
                self.notes.extend(entry_of(&note));
            }
        }
        let len = self.file.seek(SeekFrom::End(0)).map_err(|error| Trouble::unreadable(&self.path, error))?;
        let fresh = (self.end..len).step_by(CHUNK);
        let chunks: Vec<u64> = self.blank.drain(..).chain(fresh).collect();
        self.end = self.end.max(len.div_ceil(CHUNK as u64) * CHUNK as u64);
        for start in chunks {
            let mut bytes = [0; CHUNK_HEADER];
            let len = self.read(start, &mut bytes)?;
            match ChunkHeader::decode(&bytes[..len])
                .map_err(|error| Trouble::malformed(&self.path, start, &error))?
            {
                Some(header) => {
                    let tail = self.writers.entry(header.writer).or_insert_with(Tail::new);
                    tail.chunks.push_back(start);
                }
                None => self.blank.push(start),
            }
        }
        self.writers.values_mut().for_each(|tail| tail.may_have_more = true);
        Ok(())
    }

    /// What happened next; `None` if nothing more was written when this was [polled](Self::poll) last.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or is malformed.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>, Trouble> {
        let waiting = self.writers.iter().filter(|(_, tail)| tail.may_have_more && tail.events.is_empty());
        for number in waiting.map(|(&number, _)| number).collect::<Vec<_>>() {
            self.fill(number)?;
        }
        if let Some(note) = self.notes.pop_front() {
            return Ok(Some(note));
        }
        let last = Place { sequence: u64::MAX, is_behind: true };
        let head = |tail: &Tail| tail.events.front().map_or(last, |(event, _)| event.place);
        let Some(tail) = self.writers.values_mut().min_by_key(|tail| head(tail)) else { return Ok(None) };
        let Some((event, seen)) = tail.events.pop_front() else { return Ok(None) };
        // (A place behind an event is one in front of the next.)
        let sequence = event.place.sequence + u64::from(event.place.is_behind);
        if sequence > self.expected && self.polled < seen + PATIENCE {
            tail.events.push_front((event, seen));
            return Ok(None);
        }
        self.expected = self.expected.max(event.place.sequence + 1);
        Ok(Some(event.into()))
    }

    /// Reads what a writer has written since the last time, up to the end of a chunk.
    fn fill(&mut self, number: u32) -> Result<(), Trouble> {
        let Some(mut tail) = self.writers.remove(&number) else { return Ok(()) };
        let outcome = self.fill_tail(&mut tail);
        self.writers.insert(number, tail);
        outcome
    }

    fn fill_tail(&mut self, tail: &mut Tail) -> Result<(), Trouble> {
        while tail.events.is_empty() {
            if let Some(start) = tail.chunk.start() {
                let bytes = &mut tail.chunk.bytes;
                bytes.resize(CHUNK, 0);
                let len = self.read(start, bytes)?;
                bytes.truncate(len);
                while let Some(event) = tail.chunk.next(&self.path, &mut self.notes)? {
                    tail.events.push_back((event, self.polled));
                }
            }
            if !tail.events.is_empty() {
                break;
            }
            let Some(start) = tail.chunks.pop_front() else {
                tail.may_have_more = false;
                break;
            };
            let mut bytes = [0; CHUNK_HEADER];
            self.read(start, &mut bytes)?;
            let header = ChunkHeader::decode(&bytes).ok().flatten().unwrap_or(ChunkHeader::FIRST);
            tail.chunk.begin(start, &header);
        }
        Ok(())
    }

    fn read(&mut self, start: u64, bytes: &mut [u8]) -> Result<usize, Trouble> {
        read_at(&mut self.file, start, bytes).map_err(|error| Trouble::unreadable(&self.path, error))
    }
}

impl Tail {
    fn new() -> Self {
        Self { chunks: VecDeque::new(), chunk: Chunk::none(), events: VecDeque::new(), may_have_more: true }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic::Synthetic;

    /// The sequence numbers of all that can be read now.
    fn sequences(follower: &mut Follower) -> Vec<u64> {
        let mut found = Vec::new();
        while let Some(entry) = follower.next().unwrap() {
            if let Entry::Event { sequence, .. } = entry {
                found.push(sequence);
            }
        }
        found
    }

    #[test]
    fn what_is_written_later_is_read_later_and_in_order() {
        let mut trace = Synthetic::new();
        trace.allocation(1, 1, 0x1000, 10, 0);
        let path = trace.write("follow");
        let now = Instant::now();
        let mut follower = Follower::open(&path, now).unwrap();
        assert_eq!(sequences(&mut follower), [1]);
        // The second thread is faster than the first one in writing down what it did later.
        trace.allocation(2, 3, 0x3000, 30, 0);
        trace.write("follow");
        follower.poll(now).unwrap();
        assert!(sequences(&mut follower).is_empty());
        trace.allocation(1, 2, 0x2000, 20, 0);
        (4..=30_000)
            .for_each(|sequence| trace.allocation(sequence % 2 + 1, sequence, 0x1000 * sequence, 8, 0));
        trace.write("follow");
        follower.poll(now).unwrap();
        assert_eq!(sequences(&mut follower), (2..=30_000).collect::<Vec<_>>());
        follower.poll(now).unwrap();
        assert!(sequences(&mut follower).is_empty());
    }

    #[test]
    fn a_gap_is_passed_after_a_while() {
        let mut trace = Synthetic::new();
        trace.allocation(1, 1, 0x1000, 10, 0);
        trace.allocation(1, 5, 0x2000, 10, 0);
        let path = trace.write("gap");
        let now = Instant::now();
        let mut follower = Follower::open(&path, now).unwrap();
        assert_eq!(sequences(&mut follower), [1]);
        follower.poll(now + PATIENCE / 2).unwrap();
        assert!(sequences(&mut follower).is_empty());
        follower.poll(now + PATIENCE).unwrap();
        assert_eq!(sequences(&mut follower), [5]);
    }

    #[test]
    fn a_chunk_that_was_not_begun_is_looked_at_again() {
        let mut trace = Synthetic::new();
        trace.allocation(1, 1, 0x1000, 10, 0);
        let path = trace.write("blank");
        let whole = std::fs::read(&path).unwrap();
        let mut blank = whole.clone();
        blank[CHUNK..].fill(0);
        std::fs::write(&path, &blank).unwrap();
        let now = Instant::now();
        let mut follower = Follower::open(&path, now).unwrap();
        assert!(sequences(&mut follower).is_empty());
        std::fs::write(&path, &whole).unwrap();
        follower.poll(now).unwrap();
        assert_eq!(sequences(&mut follower), [1]);
    }
}
