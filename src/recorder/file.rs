//! The file: its name, its first chunk, and one more chunk at a time.

use super::environment::Wish;
use super::{Line, end, modules};
use crate::stderr::write_formatted;
use crate::trace::{CHUNK, CallSites, ChunkHeader, Encoder, FILE_HEADER, FileHeader, MAX_EVENT, Note};
use core::ffi::c_int;
use core::fmt::Write;
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::{AtomicI32, AtomicPtr, AtomicU8, AtomicU64, Ordering};

/// The file's descriptor; negative if there is none.
static DESCRIPTOR: AtomicI32 = AtomicI32::new(-1);

/// Which file it is, by its device and its number there: a program that closes all descriptors, as a daemon does, may
/// open a file of its own with the same one.
static DEVICE: AtomicU64 = AtomicU64::new(0);
static NUMBER: AtomicU64 = AtomicU64::new(0);

/// The first chunk, which stays mapped: how the recording ended can be noted without a descriptor.
static FIRST: AtomicPtr<u8> = AtomicPtr::new(null_mut());

/// How many chunks the file has, the first one included.
static CHUNKS: Line<AtomicU64> = Line(AtomicU64::new(1));

/// When the recording began, in nanoseconds of the clock that only goes forward.
static BEGAN: AtomicU64 = AtomicU64::new(0);

/// Where the next record of the first chunk goes.
static PLACE: AtomicU64 = AtomicU64::new(0);

/// The most bytes of a path.
pub(super) const MAX_PATH: usize = 4096;

/// Opens the file, and writes what it says about itself. False if it cannot be written, which is told on stderr.
pub(super) fn open(wish: &Wish) -> bool {
    let is_open = begin(wish).is_some();
    if !is_open {
        close();
        let path = core::str::from_utf8(wish.path).unwrap_or("its path");
        write_formatted(&format_args!(
            "mem_alloc_rust: the file that MEM_ALLOC_RUST_TRACE names cannot be written, and nothing is recorded: {path}"
        ));
    }
    is_open
}

fn begin(wish: &Wish) -> Option<()> {
    // SAFETY: asking for it has no conditions.
    let process = unsafe { libc::getpid() } as u32;
    let descriptor = open_free_name(wish.path, process)?;
    let (device, number) = identity(descriptor);
    DEVICE.store(device, Ordering::Relaxed);
    NUMBER.store(number, Ordering::Relaxed);
    DESCRIPTOR.store(descriptor, Ordering::Relaxed);
    BEGAN.store(clock(libc::CLOCK_MONOTONIC), Ordering::Relaxed);
    let mut chunk = write_and_map(descriptor, 0).ok()?;
    // SAFETY: the chunk was just mapped, and nobody else knows it.
    let place = describe(unsafe { chunk.as_mut() }, &mut [0; MAX_PATH], wish.call_sites, None);
    PLACE.store(place as u64, Ordering::Relaxed);
    FIRST.store(chunk.as_ptr().cast(), Ordering::Relaxed);
    Some(())
}

/// Which file a descriptor is of: nothing else in the system has the same two numbers. Zeroes if the system does not
/// tell.
#[allow(clippy::unnecessary_cast, reason = "the numbers are of other types on other systems")]
fn identity(descriptor: c_int) -> (u64, u64) {
    let mut status = core::mem::MaybeUninit::<libc::stat>::uninit();
    // SAFETY: the system writes to the place, which is as large as it has to be, and is read only if that succeeded.
    unsafe {
        if libc::fstat(descriptor, status.as_mut_ptr()) != 0 {
            return (0, 0);
        }
        let status = status.assume_init_ref();
        (status.st_dev as u64, status.st_ino as u64)
    }
}

/// The file's descriptor, unless the program has closed it: then the number may be that of another file.
fn descriptor() -> Option<c_int> {
    let descriptor = DESCRIPTOR.load(Ordering::Relaxed);
    let is_ours = descriptor >= 0
        && identity(descriptor) == (DEVICE.load(Ordering::Relaxed), NUMBER.load(Ordering::Relaxed));
    is_ours.then_some(descriptor)
}

/// Writes what a file says about itself into its first chunk, which is all zero, and returns where the next record
/// goes. With an interval it is a file of samples. The place is for the paths that are asked for on the way.
pub(super) fn describe(
    chunk: &mut [u8; CHUNK],
    path: &mut [u8; MAX_PATH],
    call_sites: CallSites,
    sample_interval: Option<u64>,
) -> usize {
    let header = FileHeader {
        // SAFETY: asking for it has no conditions.
        process: unsafe { libc::getpid() } as u32,
        pointer_bytes: size_of::<usize>() as u8,
        is_sampled: sample_interval.is_some(),
        call_sites,
        began: clock(libc::CLOCK_REALTIME),
        sample_interval: sample_interval.unwrap_or(0),
    };
    let mut encoder = Encoder::new(&ChunkHeader::FIRST);
    let mut place = FILE_HEADER;
    let mut note = |what: &Note<'_>| place += encoder.note(what, &mut chunk[place..]).unwrap_or(0);
    note(&Note::Program(command_line(path)));
    modules::for_each(path, |module| note(&Note::Module(module)));
    // Last: what is read by another process meanwhile is either no trace or a whole one.
    chunk[..FILE_HEADER].copy_from_slice(&header.encode());
    place
}

/// Closes it where nothing is recorded: in a child that was forked, whose parent's stays open.
pub(super) fn close() {
    let descriptor = descriptor();
    DESCRIPTOR.store(-1, Ordering::Relaxed);
    if let Some(descriptor) = descriptor {
        // SAFETY: the descriptor is the recorder's own.
        unsafe { libc::close(descriptor) };
    }
}

/// Notes in the first chunk that the recording ended before the program, and why.
pub(super) fn end(reason: u64) {
    let mut record = [0; MAX_EVENT];
    let len = Encoder::new(&ChunkHeader::FIRST).note(&Note::End(reason), &mut record).unwrap_or(0);
    let (chunk, place) = (FIRST.load(Ordering::Relaxed), PLACE.load(Ordering::Relaxed) as usize);
    if chunk.is_null() || place + len > CHUNK {
        return;
    }
    let start = chunk.wrapping_add(place);
    // SAFETY: the chunk is mapped and has so many bytes from there on, which nobody else writes: a recording ends once.
    // The first one is written last, as in the other chunks.
    unsafe {
        core::ptr::copy_nonoverlapping(record[1..].as_ptr(), start.wrapping_add(1), len.saturating_sub(1));
        AtomicU8::from_ptr(start).store(record[0], Ordering::Release);
    }
}

/// One more chunk, all zero.
///
/// # Errors
///
/// Why the recording has to [end].
pub(super) fn next_chunk() -> Result<NonNull<[u8; CHUNK]>, u64> {
    let descriptor = descriptor().ok_or(end::FILE_WAS_CLOSED)?;
    write_and_map(descriptor, CHUNKS.0.fetch_add(1, Ordering::Relaxed))
}

/// Unmaps a chunk; what it contains is in the file.
///
/// # Safety
///
/// - It was mapped here, and nobody uses it any more.
pub(super) unsafe fn unmap(chunk: NonNull<[u8; CHUNK]>) {
    // SAFETY: the caller's contract.
    unsafe { libc::munmap(chunk.as_ptr().cast(), CHUNK) };
}

/// Nanoseconds since the recording began, to a few milliseconds.
pub(super) fn time() -> u64 {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    const CLOCK: libc::clockid_t = libc::CLOCK_MONOTONIC_COARSE;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    const CLOCK: libc::clockid_t = libc::CLOCK_MONOTONIC;
    clock(CLOCK).saturating_sub(BEGAN.load(Ordering::Relaxed))
}

fn clock(which: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the system writes to the time only.
    unsafe { libc::clock_gettime(which, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Opens the file under the name that was asked for, or, if another process is writing that one, with the process's
/// number behind it.
fn open_free_name(path: &[u8], process: u32) -> Option<c_int> {
    let mut name = Name { bytes: [0; MAX_PATH], len: 0 };
    name.expand(path, process)?;
    match open_unshared(&name) {
        Err(Unopened::IsWritten) => {
            write!(name, ".{process}").ok()?;
            open_unshared(&name).ok()
        }
        opened => opened.ok(),
    }
}

/// Why a file was not opened.
enum Unopened {
    /// Another process is writing it.
    IsWritten,
    /// It cannot be, or is no file.
    Refused,
}

/// Opens a file, and empties it, if no other process is writing it.
fn open_unshared(name: &Name) -> Result<c_int, Unopened> {
    let flags = libc::O_RDWR | libc::O_CREAT | libc::O_CLOEXEC;
    // SAFETY: the name ends with a zero byte, because it is shorter than its place.
    let descriptor = unsafe { libc::open(name.bytes.as_ptr().cast(), flags, 0o644 as libc::c_uint) };
    let descriptor = none_of_the_standard_streams(descriptor).ok_or(Unopened::Refused)?;
    // SAFETY: the descriptor was just opened.
    let is_locked = unsafe { libc::flock(descriptor, libc::LOCK_EX | libc::LOCK_NB) } == 0;
    // Not every file system has locks; where there are none, nobody is known to write it.
    let is_others = !is_locked && std::io::Error::last_os_error().kind() == std::io::ErrorKind::WouldBlock;
    // SAFETY: as above.
    let is_ours = !is_others && unsafe { libc::ftruncate(descriptor, 0) } == 0;
    if !is_ours {
        // SAFETY: as above.
        unsafe { libc::close(descriptor) };
        return Err(if is_others { Unopened::IsWritten } else { Unopened::Refused });
    }
    Ok(descriptor)
}

/// Exchanges a descriptor that was just opened, or was not, for one behind those of the standard streams: a program
/// that is started without them, or before std has seen to that, would write its output into the file.
fn none_of_the_standard_streams(descriptor: c_int) -> Option<c_int> {
    if !(0..=libc::STDERR_FILENO).contains(&descriptor) {
        return (descriptor >= 0).then_some(descriptor);
    }
    // SAFETY: the descriptor was just opened, and nobody else knows it.
    let other = unsafe {
        let other = libc::fcntl(descriptor, libc::F_DUPFD_CLOEXEC, libc::STDERR_FILENO + 1);
        libc::close(descriptor);
        other
    };
    (other >= 0).then_some(other)
}

/// Writes a chunk of zeroes, so that it has its place on the disk, and maps it.
///
/// # Errors
///
/// Why the recording has to [end].
fn write_and_map(descriptor: c_int, number: u64) -> Result<NonNull<[u8; CHUNK]>, u64> {
    static ZEROES: [u8; CHUNK] = [0; CHUNK];
    let start = number.checked_mul(CHUNK as u64).ok_or(end::DISK_IS_FULL)?;
    let offset = libc::off_t::try_from(start).map_err(|_| end::DISK_IS_FULL)?;
    if start + CHUNK as u64 > most_bytes() {
        return Err(end::DISK_IS_FULL);
    }
    let mut done = 0;
    while done < CHUNK {
        // SAFETY: the pointer and the length are those of a part of a static.
        let written = unsafe {
            libc::pwrite(
                descriptor,
                ZEROES[done..].as_ptr().cast(),
                CHUNK - done,
                offset + done as libc::off_t,
            )
        };
        match usize::try_from(written) {
            Ok(0) => return Err(end::DISK_IS_FULL),
            Ok(more) => done += more,
            // SAFETY: the C library gives each thread its error number.
            Err(_) if std::io::Error::last_os_error().kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return Err(end::DISK_IS_FULL),
        }
    }
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: the system finds a place where nothing is.
    let chunk = unsafe { libc::mmap(null_mut(), CHUNK, protection, libc::MAP_SHARED, descriptor, offset) };
    NonNull::new(chunk.cast()).filter(|_| chunk != libc::MAP_FAILED).ok_or(end::NO_MEMORY)
}

/// Bytes that the process's files may have. Whoever writes more is sent a signal that ends the program.
#[allow(clippy::unnecessary_cast, reason = "the limit is of another type on other systems")]
fn most_bytes() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: the system writes to the limit only.
    unsafe { libc::getrlimit(libc::RLIMIT_FSIZE, &raw mut limit) };
    limit.rlim_cur as u64
}

/// The program's command line, with spaces between its parts, as far as the system tells it and there is room.
fn command_line(line: &mut [u8; MAX_PATH]) -> &[u8] {
    // SAFETY: the path is a C string, the pointer and the length are those of a place that is written to.
    let read = unsafe {
        let descriptor = libc::open(c"/proc/self/cmdline".as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC);
        let read = libc::read(descriptor, line.as_mut_ptr().cast(), line.len());
        libc::close(descriptor);
        read
    };
    let line = &mut line[..usize::try_from(read).unwrap_or(0)];
    line.iter_mut().filter(|byte| **byte == 0).for_each(|byte| *byte = b' ');
    line.trim_ascii_end()
}

/// A path of limited length; the byte behind it is zero.
struct Name {
    bytes: [u8; MAX_PATH],
    len: usize,
}

impl Name {
    /// Appends a pattern, in which `%p` is the process's number. `None` if that is too long.
    fn expand(&mut self, mut pattern: &[u8], process: u32) -> Option<()> {
        while let Some(&byte) = pattern.first() {
            if let Some(rest) = pattern.strip_prefix(b"%p") {
                write!(self, "{process}").ok()?;
                pattern = rest;
            } else {
                self.push(&[byte]).ok()?;
                pattern = &pattern[1..];
            }
        }
        Some(())
    }

    fn push(&mut self, text: &[u8]) -> core::fmt::Result {
        let end = self.len + text.len();
        if end >= MAX_PATH {
            return Err(core::fmt::Error);
        }
        self.bytes[self.len..end].copy_from_slice(text);
        self.len = end;
        Ok(())
    }
}

impl Write for Name {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        self.push(text.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(pattern: &[u8]) -> Option<std::vec::Vec<u8>> {
        let mut name = Name { bytes: [0; MAX_PATH], len: 0 };
        name.expand(pattern, 42)?;
        Some(name.bytes[..name.len].to_vec())
    }

    #[test]
    fn a_pattern_has_the_process_number_where_it_wants_it() {
        assert_eq!(expanded(b"a-%p-b%p%").unwrap(), b"a-42-b42%");
        assert_eq!(expanded(b"").unwrap(), b"");
        assert!(expanded(&[b'x'; MAX_PATH - 1]).is_some());
        assert_eq!(expanded(&[b'x'; MAX_PATH]), None);
    }
}
