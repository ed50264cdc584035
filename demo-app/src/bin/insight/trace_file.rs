//! A trace's records in the order in which things happened.
//!
//! Each writer's chunks are in order, and the writers are merged by sequence numbers. There is one chunk in memory for
//! each writer, and a few bytes for each chunk of the file, so that traces of any length can be read.

use crate::chunk::{Chunk, Place, Stamped};
use crate::trouble::Trouble;
use mem_alloc_rust::trace::{
    CHUNK, CHUNK_HEADER, ChunkHeader, DecodeError, Decoder, Event, FILE_HEADER, FileHeader, Note, Record,
};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// What a trace tells next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// Something that the program asked of its allocator.
    Event {
        /// Its number in the order of all events.
        sequence: u64,
        /// The thread that asked.
        thread: u64,
        /// When, in nanoseconds since the recording began: as precise as the notes of the time.
        time: u64,
        /// What it asked for.
        event: Event,
        /// How many bytes it stands for, if it is one of a sample.
        weight: Option<u64>,
    },
    /// A call site.
    Site {
        /// Its number, from 1 on.
        number: u64,
        /// The number of the one that called it; 0 if it is the outermost.
        caller: u64,
        /// The return address.
        address: u64,
    },
    /// A file whose code is part of the process.
    Module {
        /// What is to be subtracted from an address to get the one in the file.
        bias: u64,
        /// The first address.
        start: u64,
        /// The address behind the last.
        end: u64,
        /// The file's path.
        path: PathBuf,
    },
    /// The command line.
    Program(String),
    /// The recording ended before the program, for a reason: see [`Note::End`].
    End(u64),
    /// That thread ended.
    ThreadEnd(u64),
}

/// A trace that is being read.
pub(crate) struct TraceFile {
    path: PathBuf,
    file: File,
    header: FileHeader,
    /// Bytes of the file when it was opened.
    bytes: u64,
    writers: Vec<Writer>,
    /// The writers that have something to tell, by its place.
    heads: BinaryHeap<Reverse<(Place, usize)>>,
    /// What is told before the next event.
    notes: VecDeque<Entry>,
    chunks_read: u64,
}

/// The chunks of one writer, in order.
struct Writer {
    /// Where they begin in the file, the last one first.
    chunks: Vec<u64>,
    /// The one that is read.
    chunk: Chunk,
    /// What is next.
    next: Option<Stamped>,
}

impl TraceFile {
    /// Opens a trace, and looks at the beginnings of its chunks.
    ///
    /// # Errors
    ///
    /// It cannot be read, or is none.
    pub(crate) fn open(path: &Path) -> Result<Self, Trouble> {
        let unreadable = |error| Trouble::unreadable(path, error);
        let mut file = File::open(path).map_err(unreadable)?;
        let bytes = file.seek(SeekFrom::End(0)).map_err(unreadable)?;
        let mut first = vec![0; CHUNK];
        let len = read_at(&mut file, 0, &mut first).map_err(unreadable)?;
        first.truncate(len);
        let malformed = |start, error: DecodeError| Trouble::malformed(path, start, &error);
        let header = FileHeader::decode(&first).map_err(|error| malformed(0, error))?;

        let mut by_writer: BTreeMap<u32, Vec<(u64, u64)>> = BTreeMap::new();
        for start in (CHUNK as u64..bytes).step_by(CHUNK) {
            let mut bytes = [0; CHUNK_HEADER];
            let len = read_at(&mut file, start, &mut bytes).map_err(unreadable)?;
            let header = ChunkHeader::decode(&bytes[..len]).map_err(|error| malformed(start, error))?;
            if let Some(header) = header {
                by_writer.entry(header.writer).or_default().push((header.sequence, start));
            }
        }
        let mut trace = Self {
            path: path.to_owned(),
            file,
            header,
            bytes,
            writers: Vec::new(),
            heads: BinaryHeap::new(),
            notes: VecDeque::new(),
            chunks_read: 0,
        };
        let mut decoder = Decoder::new(&ChunkHeader::FIRST);
        while let Some(record) =
            decoder.next(&first[FILE_HEADER..]).map_err(|error| malformed(FILE_HEADER as u64, error))?
        {
            if let Record::Note(note) = record {
                trace.notes.extend(entry_of(&note));
            }
        }
        for (number, chunks) in by_writer.into_values().enumerate() {
            let chunks = chunks.into_iter().rev().map(|(_, start)| start).collect();
            trace.writers.push(Writer { chunks, chunk: Chunk::none(), next: None });
            trace.advance(number)?;
        }
        Ok(trace)
    }

    /// What the file says about itself.
    pub(crate) fn header(&self) -> &FileHeader {
        &self.header
    }

    /// What the file says about itself, if it has all events.
    ///
    /// # Errors
    ///
    /// It has samples only.
    pub(crate) fn whole(&self) -> Result<FileHeader, Trouble> {
        if self.header.is_sampled {
            return Err(Trouble::SamplesOnly { path: self.path.clone() });
        }
        Ok(self.header)
    }

    /// Bytes of the file, and how many of those were read.
    pub(crate) fn progress(&self) -> (u64, u64) {
        (self.bytes, ((self.chunks_read + 1) * CHUNK as u64).min(self.bytes))
    }

    /// What happened next; `None` at the end.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or a record is malformed.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>, Trouble> {
        if let Some(note) = self.notes.pop_front() {
            return Ok(Some(note));
        }
        let Some(Reverse((_, number))) = self.heads.pop() else { return Ok(None) };
        let Some(event) = self.writers[number].next.take() else { return Ok(None) };
        self.advance(number)?;
        Ok(Some(event.into()))
    }

    /// Looks for what a writer tells next.
    fn advance(&mut self, number: usize) -> Result<(), Trouble> {
        let Self { path, file, writers, .. } = self;
        let writer = &mut writers[number];
        loop {
            if let Some(event) = writer.chunk.next(path, &mut self.notes)? {
                self.heads.push(Reverse((event.place, number)));
                writer.next = Some(event);
                return Ok(());
            }
            let Some(start) = writer.chunks.pop() else {
                writer.chunk = Chunk::none();
                return Ok(());
            };
            let bytes = &mut writer.chunk.bytes;
            bytes.resize(CHUNK, 0);
            let len = read_at(file, start, bytes).map_err(|error| Trouble::unreadable(path, error))?;
            bytes.truncate(len);
            self.chunks_read += 1;
            let header = ChunkHeader::decode(bytes).ok().flatten().unwrap_or(ChunkHeader::FIRST);
            writer.chunk.begin(start, &header);
        }
    }
}

/// What a note tells, if it is about more than its own chunk.
pub(crate) fn entry_of(note: &Note<'_>) -> Option<Entry> {
    match *note {
        Note::Site { number, caller, address } => Some(Entry::Site { number, caller, address }),
        Note::Module(module) => Some(Entry::Module {
            bias: module.bias,
            start: module.start,
            end: module.end,
            path: PathBuf::from(String::from_utf8_lossy(module.path).into_owned()),
        }),
        Note::Program(line) => Some(Entry::Program(String::from_utf8_lossy(line).into_owned())),
        Note::End(reason) => Some(Entry::End(reason)),
        // (Of the time, the thread and the sample: those are about what follows in the chunk. A thread's end has a
        // place among the events.)
        _ => None,
    }
}

/// Why a recording ended before its program, in words: see [`Note::End`].
pub(crate) fn reason_of_end(reason: u64) -> &'static str {
    match reason {
        1 => "the disk was full",
        2 => "there was no memory for one more thread",
        3 => "there were too many call sites",
        4 => "the program closed the file",
        _ => "of a reason that this version does not know",
    }
}

/// Reads as many bytes from a place of a file as there are, and returns how many.
pub(crate) fn read_at(file: &mut File, start: u64, bytes: &mut [u8]) -> std::io::Result<usize> {
    file.seek(SeekFrom::Start(start))?;
    let mut len = 0;
    while len < bytes.len() {
        match file.read(&mut bytes[len..])? {
            0 => break,
            more => len += more,
        }
    }
    Ok(len)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic::Synthetic;

    fn allocation(address: u64) -> Event {
        Event::Allocation { size: 24, align: 8, address, is_zeroed: false, site: 0 }
    }

    fn sequences(trace: &mut TraceFile) -> Vec<(u64, u64)> {
        let mut found = Vec::new();
        while let Some(entry) = trace.next().unwrap() {
            if let Entry::Event { sequence, thread, .. } = entry {
                found.push((sequence, thread));
            }
        }
        found
    }

    #[test]
    fn the_events_of_several_writers_are_in_order() {
        let mut file = Synthetic::new();
        for sequence in 1..=30_000 {
            file.event(sequence % 3, sequence, &allocation(0x1000 + sequence * 32));
        }
        let path = file.write("several_writers");
        let mut trace = TraceFile::open(&path).unwrap();
        let expected: Vec<_> = (1..=30_000).map(|sequence| (sequence, sequence % 3)).collect();
        assert_eq!(sequences(&mut trace), expected);
        assert_eq!(trace.progress().0, trace.progress().1);
    }

    #[test]
    fn a_file_that_is_cut_off_is_read_as_far_as_it_goes() {
        let mut file = Synthetic::new();
        (1..=10_000).for_each(|sequence| file.event(0, sequence, &allocation(0x1000 + sequence * 32)));
        let path = file.write("cut_off");
        let bytes = std::fs::read(&path).unwrap();
        // In the first chunk with events: what is left of a record there is no event.
        let count = |bytes_of_records: usize| {
            std::fs::write(&path, &bytes[..CHUNK + CHUNK_HEADER + bytes_of_records]).unwrap();
            sequences(&mut TraceFile::open(&path).unwrap()).len()
        };
        // The first record has four bytes, because its address is far from zero; the others have three.
        assert_eq!([3, 4, 6, 7, 8, 4 + 3 * 999].map(count), [0, 1, 1, 2, 2, 1000]);
    }

    #[test]
    fn what_is_malformed_is_told_with_its_place() {
        let mut file = Synthetic::new();
        file.event(0, 1, &allocation(0x1000));
        let path = file.write("malformed");
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[CHUNK + CHUNK_HEADER] = 0x08;
        std::fs::write(&path, bytes).unwrap();
        let trouble = TraceFile::open(&path).err().unwrap().to_string();
        assert!(
            trouble.ends_with("byte 65568: a record begins with the byte 0x08, which none does"),
            "{trouble}"
        );
    }
}
