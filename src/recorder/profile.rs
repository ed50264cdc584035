//! Writing a heap profile: the sample's allocations that are in use, as a trace.

use super::call_sites;
use super::stack::MAX_DEPTH;
use super::{file, sample_table};
use crate::mapping;
use crate::trace::{CHUNK, CHUNK_HEADER, CallSites, ChunkHeader, Encoder, Event, MAX_EVENT, Note};
use core::ffi::c_int;

/// Writes it to a file descriptor. Allocates nothing, takes no lock, and little of the stack.
///
/// # Errors
///
/// The system's error number.
pub(super) fn write(descriptor: c_int, interval: usize) -> Result<(), c_int> {
    let size = mapping::whole_pages(size_of::<Memory>()).ok_or(libc::ENOMEM)?;
    let memory = mapping::map(size, mapping::page()).ok_or(libc::ENOMEM)?;
    // SAFETY: so many zeroes were just mapped, and nobody else knows them.
    let outcome = write_by_way_of(unsafe { memory.cast::<Memory>().as_mut() }, descriptor, interval);
    // SAFETY: it was mapped here, and is not used any more.
    unsafe { mapping::unmap(memory.as_ptr(), size) };
    outcome
}

/// What writing takes. It is not on the stack because that of a signal handler has 8 KiB, of which the system takes up
/// to four for the registers.
struct Memory {
    /// The chunk that is being filled.
    chunk: [u8; CHUNK],
    /// A bit for each call site: whether it was told.
    told: [u8; call_sites::MOST / 8],
    /// A path, of the program or of one of its libraries.
    path: [u8; file::MAX_PATH],
}

fn write_by_way_of(memory: &mut Memory, descriptor: c_int, interval: usize) -> Result<(), c_int> {
    let Memory { chunk: bytes, told, path } = memory;
    file::describe(bytes, path, CallSites::Unwound, Some(interval as u64));
    write_all(descriptor, bytes)?;
    let mut out = Out {
        bytes,
        told,
        descriptor,
        encoder: Encoder::new(&ChunkHeader::FIRST),
        place: CHUNK,
        sequence: 0,
        thread: 0,
    };
    sample_table::for_each(|sample| {
        // Not all call sites before: there are more by the time that the samples are read.
        out.site(sample.site)?;
        if sample.thread != out.thread {
            out.thread = sample.thread;
            out.note(&Note::Thread(sample.thread.into()))?;
        }
        out.note(&Note::Sample(sample.weight))?;
        out.event(&Event::Allocation {
            size: sample.size as u64,
            align: sample.align as u64,
            address: sample.address as u64,
            is_zeroed: false,
            site: sample.site.into(),
        })
    })?;
    out.flush()
}

/// A chunk that is being filled.
struct Out<'a> {
    bytes: &'a mut [u8; CHUNK],
    told: &'a mut [u8; call_sites::MOST / 8],
    descriptor: c_int,
    encoder: Encoder,
    /// Where the next record goes; `CHUNK` before the first chunk is begun.
    place: usize,
    sequence: u64,
    thread: u32,
}

impl Out<'_> {
    /// Tells of a call site and of those that it was called from, the outermost first, as far as they were not told.
    fn site(&mut self, site: u32) -> Result<(), c_int> {
        let mut path = [0; MAX_DEPTH];
        let (mut depth, mut next) = (0, site);
        while next != 0 && depth < MAX_DEPTH && self.note_as_told(next) {
            path[depth] = next;
            depth += 1;
            next = call_sites::SAMPLED.get(next).map_or(0, |site| site.caller as u32);
        }
        for site in path[..depth].iter().rev().filter_map(|&number| call_sites::SAMPLED.get(number)) {
            self.note(&Note::Site { number: site.number, caller: site.caller, address: site.address })?;
        }
        Ok(())
    }

    /// False if it was noted before.
    fn note_as_told(&mut self, site: u32) -> bool {
        let bit = 1 << (site % 8);
        match self.told.get_mut(site as usize / 8) {
            Some(bits) if *bits & bit == 0 => {
                *bits |= bit;
                true
            }
            _ => false,
        }
    }

    fn note(&mut self, note: &Note<'_>) -> Result<(), c_int> {
        self.make_room()?;
        self.place += self.encoder.note(note, &mut self.bytes[self.place..]).unwrap_or(0);
        Ok(())
    }

    fn event(&mut self, event: &Event) -> Result<(), c_int> {
        self.sequence += 1;
        let mut record = [0; MAX_EVENT];
        let len = self.encoder.event(self.sequence, event, &mut record);
        self.bytes[self.place..self.place + len].copy_from_slice(&record[..len]);
        self.place += len;
        Ok(())
    }

    /// Makes room for a note and an event behind it: a sample's weight and its allocation have to be in the same chunk.
    fn make_room(&mut self) -> Result<(), c_int> {
        if CHUNK - self.place >= 2 * MAX_EVENT {
            return Ok(());
        }
        self.flush()?;
        let header = ChunkHeader { writer: 0, sequence: self.sequence, time: 0, thread: self.thread };
        self.bytes[..CHUNK_HEADER].copy_from_slice(&header.encode());
        self.encoder = Encoder::new(&header);
        self.place = CHUNK_HEADER;
        Ok(())
    }

    /// Writes the chunk, if one is begun, and clears it.
    fn flush(&mut self) -> Result<(), c_int> {
        if self.place != CHUNK {
            write_all(self.descriptor, self.bytes)?;
        }
        self.bytes.fill(0);
        Ok(())
    }
}

fn write_all(descriptor: c_int, mut rest: &[u8]) -> Result<(), c_int> {
    while !rest.is_empty() {
        // SAFETY: the pointer and the length are those of a slice.
        let written = unsafe { libc::write(descriptor, rest.as_ptr().cast(), rest.len()) };
        match usize::try_from(written) {
            Ok(written) => rest = &rest[written.min(rest.len())..],
            Err(_) => match std::io::Error::last_os_error().raw_os_error() {
                Some(libc::EINTR) => {}
                error => return Err(error.unwrap_or(libc::EIO)),
            },
        }
    }
    Ok(())
}
