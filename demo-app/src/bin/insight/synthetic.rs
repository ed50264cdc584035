//! Traces that no program wrote, for tests.

#![allow(dead_code, reason = "not every test needs everything")]

use mem_alloc_rust::trace::{
    CHUNK, CHUNK_HEADER, CallSites, ChunkHeader, Encoder, Event, FILE_HEADER, FileHeader, MAX_EVENT, Note,
};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A trace in memory. A writer's number is that of its thread, too.
pub(crate) struct Synthetic {
    /// All chunks, in order.
    bytes: Vec<u8>,
    first: (Encoder, usize),
    writers: BTreeMap<u64, Writer>,
}

struct Writer {
    encoder: Encoder,
    /// Where its next record goes.
    place: usize,
    end: usize,
    sequence: u64,
    time: u64,
}

impl Synthetic {
    /// A trace without events.
    pub(crate) fn new() -> Self {
        let mut bytes = vec![0; CHUNK];
        let header = FileHeader {
            process: 1,
            pointer_bytes: 8,
            is_sampled: false,
            call_sites: CallSites::FramePointers,
            began: 0,
            sample_interval: 0,
        };
        bytes[..FILE_HEADER].copy_from_slice(&header.encode());
        Self { bytes, first: (Encoder::new(&ChunkHeader::FIRST), FILE_HEADER), writers: BTreeMap::new() }
    }

    /// A note about the whole recording: a module or the command line.
    pub(crate) fn about(&mut self, note: &Note<'_>) {
        let (encoder, place) = &mut self.first;
        *place += encoder.note(note, &mut self.bytes[*place..CHUNK]).unwrap();
    }

    /// A note of a writer.
    pub(crate) fn note(&mut self, writer: u64, note: &Note<'_>) {
        if let Note::Time(time) = *note {
            self.writer(writer).time = time;
        }
        let (place, end) = self.room(writer, MAX_EVENT + 4096);
        let encoder = &mut self.writers.get_mut(&writer).unwrap().encoder;
        let len = encoder.note(note, &mut self.bytes[place..end]).unwrap();
        self.writer(writer).place += len;
    }

    /// An event of a writer.
    pub(crate) fn event(&mut self, writer: u64, sequence: u64, event: &Event) {
        let (place, _) = self.room(writer, MAX_EVENT);
        let writer = self.writers.get_mut(&writer).unwrap();
        let mut record = [0; MAX_EVENT];
        let len = writer.encoder.event(sequence, event, &mut record);
        self.bytes[place..place + len].copy_from_slice(&record[..len]);
        writer.place += len;
        writer.sequence = sequence;
    }

    /// A call site.
    pub(crate) fn site(&mut self, writer: u64, number: u64, caller: u64, address: u64) {
        self.note(writer, &Note::Site { number, caller, address });
    }

    /// An allocation of a writer, aligned to 8.
    pub(crate) fn allocation(&mut self, writer: u64, sequence: u64, address: u64, size: u64, site: u64) {
        let event = Event::Allocation { size, align: 8, address, is_zeroed: false, site };
        self.event(writer, sequence, &event);
    }

    /// A release of a writer.
    pub(crate) fn release(&mut self, writer: u64, sequence: u64, address: u64) {
        self.event(writer, sequence, &Event::Release { address });
    }

    /// A `realloc` of a writer, from the first address to the second.
    pub(crate) fn reallocation(
        &mut self,
        writer: u64,
        sequence: u64,
        (old_address, address): (u64, u64),
        new_size: u64,
        site: u64,
    ) {
        let event = Event::Reallocation { new_size, align: 8, old_address, address, site };
        self.event(writer, sequence, &event);
    }

    /// An allocation of a writer that was refused.
    pub(crate) fn refused(&mut self, writer: u64, sequence: u64, size: u64) {
        self.event(writer, sequence, &Event::Refused { size, align: 8, site: 0 });
    }

    /// Writes the file into the folder for temporary ones, and returns its path.
    pub(crate) fn write(&self, name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("insight-{}-{name}.trace", std::process::id()));
        std::fs::write(&path, &self.bytes).unwrap();
        path
    }

    fn writer(&mut self, number: u64) -> &mut Writer {
        self.writers.entry(number).or_insert_with(|| Writer {
            encoder: Encoder::new(&ChunkHeader::FIRST),
            place: 0,
            end: 0,
            sequence: 0,
            time: 0,
        })
    }

    /// Where a writer's record of at most so many bytes goes: in a new chunk, if there is no room.
    fn room(&mut self, number: u64, bytes: usize) -> (usize, usize) {
        let start = self.bytes.len();
        let writer = self.writer(number);
        let is_full = writer.end - writer.place < bytes;
        if is_full {
            let header = ChunkHeader {
                writer: number as u32,
                sequence: writer.sequence,
                time: writer.time,
                thread: number as u32,
            };
            writer.encoder = Encoder::new(&header);
            writer.place = start + CHUNK_HEADER;
            writer.end = start + CHUNK;
            self.bytes.resize(start + CHUNK, 0);
            self.bytes[start..start + CHUNK_HEADER].copy_from_slice(&header.encode());
        }
        let writer = &self.writers[&number];
        (writer.place, writer.end)
    }
}
