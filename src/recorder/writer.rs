//! One thread's part of the file: the chunk that it fills.

use super::call_sites::{self, NewSite, Path};
use super::stack::{self, Stack};
use super::{file, modules};
use crate::raw_lock::preserving_errno;
use crate::trace::{CHUNK, CHUNK_HEADER, ChunkHeader, Encoder, Event, MAX_EVENT, Note};
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU8, Ordering};

/// After so many events a writer looks at the clock.
const EVENTS_PER_LOOK: u32 = 64;

/// The clock's steps that are noted, in nanoseconds.
const TIME_STEP: u64 = 1_000_000;

/// What writes one thread's events.
pub(super) struct Writer {
    part: Part,
    stack: Stack,
    /// What is on the stack just now. Here, so that it is not cleared for each event.
    frames: [usize; stack::MAX_DEPTH],
    path: Path,
}

/// The part of the file that a writer has at a time.
struct Part {
    /// The writer's number.
    writer: u32,
    /// The chunk that is mapped, if there is one, and where the next record goes.
    chunk: Option<NonNull<[u8; CHUNK]>>,
    place: usize,
    encoder: Encoder,
    /// The last event's.
    sequence: u64,
    events_until_look: u32,
    time: u64,
    /// How many libraries were known when this writer looked last.
    loaded: u64,
}

impl Writer {
    /// The writer of that number.
    pub(super) fn new(number: u32) -> Self {
        Self {
            part: Part {
                writer: number,
                chunk: None,
                place: CHUNK,
                encoder: Encoder::new(&ChunkHeader::FIRST),
                sequence: 0,
                events_until_look: EVENTS_PER_LOOK,
                time: 0,
                loaded: 0,
            },
            stack: Stack::unknown(),
            frames: [0; stack::MAX_DEPTH],
            path: Path::new(),
        }
    }

    /// From here on it is the calling thread's.
    pub(super) fn begin_thread(&mut self) {
        self.stack = Stack::of_this_thread();
        self.path.clear();
        self.part.begin_thread();
    }

    /// Notes that the thread ends, behind the event of that number.
    pub(super) fn end_thread(&mut self, last: u64) {
        // (Where the file gets no further chunk, the next event ends the recording.)
        if self.part.make_room().is_ok() {
            self.part.note(&Note::ThreadEnd(last));
        }
    }

    /// Writes an event with the next number of all.
    pub(super) fn event(&mut self, next_number: impl FnOnce() -> u64, event: &Event) -> Result<(), u64> {
        self.part.event(next_number, event)
    }

    /// The number of the call site of whoever allocates; 0 if nobody wants to know.
    #[inline]
    pub(super) fn call_site(&mut self) -> Result<u64, u64> {
        if !stack::is_wanted() {
            return Ok(0);
        }
        let Self { path, part, stack, frames } = self;
        let depth = stack.walk(frames);
        path.find(&call_sites::RECORDED, &frames[..depth], |site| part.site(&site))
    }
}

impl Part {
    fn begin_thread(&mut self) {
        // The thread that a chunk begins with stands in its header.
        if self.room() >= MAX_EVENT {
            self.note(&Note::Thread(this_thread().into()));
        } else {
            self.close();
        }
    }

    #[inline(always)]
    fn event(&mut self, next_number: impl FnOnce() -> u64, event: &Event) -> Result<(), u64> {
        self.events_until_look -= 1;
        if self.events_until_look == 0 {
            self.events_until_look = EVENTS_PER_LOOK;
            self.look_at_clock()?;
        }
        self.make_room()?;
        self.sequence = next_number();
        let mut record = [0; MAX_EVENT];
        let len = self.encoder.event(self.sequence, event, &mut record);
        // What is behind the record is zero here and there. A copy of constant length is a handful of instructions.
        self.put(&record, len);
        Ok(())
    }

    fn site(&mut self, site: &NewSite) -> Result<(), u64> {
        // A new call site may lie in a library that is new as well. A chunk begins with those that there are.
        if modules::loaded() == self.loaded {
            self.make_room()?;
        } else if self.room() < CHUNK / 2 {
            self.begin_chunk()?;
        } else {
            self.note_new_modules();
        }
        self.note(&Note::Site { number: site.number, caller: site.caller, address: site.address });
        Ok(())
    }

    fn look_at_clock(&mut self) -> Result<(), u64> {
        let now = file::time();
        if now.saturating_sub(self.time) >= TIME_STEP {
            self.make_room()?;
            self.time = now;
            self.note(&Note::Time(now));
        }
        Ok(())
    }

    /// Bytes of the chunk that were not written; none, if there is no chunk.
    fn room(&self) -> usize {
        CHUNK - self.place
    }

    /// Makes room for a record.
    #[inline]
    fn make_room(&mut self) -> Result<(), u64> {
        if self.room() < MAX_EVENT { self.begin_chunk() } else { Ok(()) }
    }

    #[cold]
    #[inline(never)]
    fn begin_chunk(&mut self) -> Result<(), u64> {
        let mut outcome = Ok(());
        preserving_errno(|| outcome = self.begin_chunk_here());
        outcome
    }

    fn begin_chunk_here(&mut self) -> Result<(), u64> {
        let chunk = file::next_chunk()?;
        self.close();
        self.time = file::time();
        let header = ChunkHeader {
            writer: self.writer,
            sequence: self.sequence,
            time: self.time,
            thread: this_thread(),
        };
        self.encoder = Encoder::new(&header);
        // SAFETY: the chunk was just mapped, and has room for its header.
        unsafe { chunk.cast::<[u8; CHUNK_HEADER]>().write(header.encode()) };
        self.chunk = Some(chunk);
        self.place = CHUNK_HEADER;
        if stack::is_wanted() {
            self.note_new_modules();
        }
        Ok(())
    }

    /// Libraries that were loaded since this writer looked last are noted.
    fn note_new_modules(&mut self) {
        let loaded = modules::loaded();
        if core::mem::replace(&mut self.loaded, loaded) != loaded {
            self.note_modules();
        }
    }

    /// Apart, so that the path is on the stack for no longer: some threads have little.
    #[cold]
    #[inline(never)]
    fn note_modules(&mut self) {
        modules::for_each(&mut [0; file::MAX_PATH], |module| {
            self.note_with::<{ MAX_EVENT + file::MAX_PATH }>(&Note::Module(module));
        });
    }

    fn close(&mut self) {
        if let Some(chunk) = self.chunk.take() {
            // SAFETY: it was mapped as a whole, and is not used any more.
            unsafe { file::unmap(chunk) };
        }
        self.place = CHUNK;
    }

    /// Writes a note without a text, if there is room.
    fn note(&mut self, note: &Note<'_>) {
        self.note_with::<MAX_EVENT>(note);
    }

    /// As [`note`](Self::note), with so many bytes at most, which are on the stack meanwhile.
    fn note_with<const MOST: usize>(&mut self, note: &Note<'_>) {
        let mut record = [0; MOST];
        let room = self.room().min(record.len());
        if let Some(len) = self.encoder.note(note, &mut record[..room]) {
            self.put(&record[..len], len);
        }
    }

    /// Writes a record of so many bytes, the first one last: until then it is not there for whoever reads the file, or
    /// finds it after the program was killed. `record` may go on with zeroes.
    #[inline(always)]
    fn put(&mut self, record: &[u8], len: usize) {
        let Some(chunk) = self.chunk.filter(|_| (1..=self.room()).contains(&record.len())) else { return };
        let start = chunk.cast::<u8>().as_ptr().wrapping_add(self.place);
        // SAFETY: the chunk is mapped, has so many bytes from there on, and is this thread's.
        unsafe {
            core::ptr::copy_nonoverlapping(record[1..].as_ptr(), start.wrapping_add(1), record.len() - 1);
            AtomicU8::from_ptr(start).store(record[0], Ordering::Release);
        }
        self.place += len;
    }
}

/// The calling thread, as the system numbers threads.
pub(super) fn this_thread() -> u32 {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    // SAFETY: asking for it has no conditions.
    return unsafe { libc::syscall(libc::SYS_gettid) } as u32;
    // Elsewhere the address by which the C library knows it tells threads apart.
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    // SAFETY: as above.
    return unsafe { libc::pthread_self() } as usize as u32;
}
