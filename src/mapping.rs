//! Memory of the operating system's, in whole pages: the few calls that reserve, commit and give back.
//!
//! Every one of them can be refused, and says so; nothing is lost then. The crate's own tests have them refused in
//! turn. None of them changes `errno`: an allocator's caller may be about to look at it.

use crate::raw_lock::preserving_errno;
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::{AtomicUsize, Ordering};
use libc::{c_int, c_void};

/// Bytes of a page of the system's.
pub(crate) fn page() -> usize {
    static PAGE: AtomicUsize = AtomicUsize::new(0);
    let known = PAGE.load(Ordering::Relaxed);
    if known != 0 {
        return known;
    }
    // SAFETY: any name may be asked for.
    let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096);
    PAGE.store(page, Ordering::Relaxed);
    page
}

/// The least multiple of a page that is not less; `None` if there is none.
pub(crate) fn whole_pages(bytes: usize) -> Option<usize> {
    bytes.checked_next_multiple_of(page())
}

/// Makes a call, unless a test has it refused.
fn unless_refused<T>(refused: T, call: impl FnOnce() -> T) -> T {
    #[cfg(test)]
    if refusals::is_next_refused() {
        return refused;
    }
    let mut outcome = refused;
    preserving_errno(|| outcome = call());
    outcome
}

/// Maps `bytes` of memory that is all zero, with that protection.
fn map_with(bytes: usize, protection: c_int) -> Option<NonNull<u8>> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANON;
    let start = unless_refused(libc::MAP_FAILED, || {
        // SAFETY: the system finds a place where nothing is.
        unsafe { libc::mmap(null_mut(), bytes, protection, flags, -1, 0) }
    });
    if start == libc::MAP_FAILED { None } else { NonNull::new(start.cast()) }
}

/// Reserves address space: it can be read, and is all zero. What is only readable does not count as memory, however
/// strictly the system counts.
pub(crate) fn reserve(bytes: usize) -> Option<NonNull<u8>> {
    map_with(bytes, libc::PROT_READ)
}

/// Maps `bytes` of memory that is all zero, at a multiple of `align`. Both are multiples of a page.
pub(crate) fn map(bytes: usize, align: usize) -> Option<NonNull<u8>> {
    const USABLE: c_int = libc::PROT_READ | libc::PROT_WRITE;
    if align <= page() {
        return map_with(bytes, USABLE);
    }
    let more = bytes.checked_add(align - page())?;
    let start = map_with(more, USABLE)?;
    let in_front = start.addr().get().wrapping_neg() % align;
    let aligned = start.as_ptr().wrapping_add(in_front);
    // SAFETY: what was just mapped is nobody's, and this is what is not returned of it.
    unsafe {
        if in_front > 0 {
            unmap(start.as_ptr(), in_front);
        }
        if more - in_front > bytes {
            unmap(aligned.wrapping_add(bytes), more - in_front - bytes);
        }
    }
    NonNull::new(aligned)
}

/// Unmaps whole pages. If the system refuses, which it does when it has no room to note a hole, they stay, and are
/// given back otherwise.
///
/// # Safety
///
/// - They were mapped here, and nobody uses them any more.
pub(crate) unsafe fn unmap(start: *mut u8, bytes: usize) {
    // SAFETY: the caller's contract.
    unsafe {
        if !try_unmap(start, bytes) {
            discard(start, bytes);
        }
    }
}

/// Unmaps whole pages. False, and nothing is done, if the system refuses.
///
/// # Safety
///
/// - As for [`unmap`].
pub(crate) unsafe fn try_unmap(start: *mut u8, bytes: usize) -> bool {
    // SAFETY: the caller's contract.
    unless_refused(-1, || unsafe { libc::munmap(start.cast::<c_void>(), bytes) }) == 0
}

/// Makes reserved pages usable. False, and nothing is done, if the system refuses.
///
/// # Safety
///
/// - They are part of what was [reserved](reserve).
pub(crate) unsafe fn commit(start: *mut u8, bytes: usize) -> bool {
    // SAFETY: the caller's contract.
    unless_refused(-1, || unsafe { libc::mprotect(start.cast(), bytes, libc::PROT_READ | libc::PROT_WRITE) })
        == 0
}

/// Makes usable pages reserved ones again, all zero. False if the system refuses; what they contain is lost.
///
/// # Safety
///
/// - They are part of what was [reserved](reserve), and nobody uses them any more.
pub(crate) unsafe fn uncommit(start: *mut u8, bytes: usize) -> bool {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANON | libc::MAP_FIXED;
    // A new mapping in the place of the old one: only so the memory does not count any more.
    // SAFETY: the caller's contract.
    let mapped = unless_refused(libc::MAP_FAILED, || unsafe {
        libc::mmap(start.cast(), bytes, libc::PROT_READ, flags, -1, 0)
    });
    mapped == start.cast()
}

/// Gives the memory of usable pages back; they stay usable, and are all zero. False if the system refuses.
///
/// # Safety
///
/// - They are private and anonymous, and nobody uses what they contain any more.
pub(crate) unsafe fn discard(start: *mut u8, bytes: usize) -> bool {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    // SAFETY: the caller's contract.
    return unless_refused(-1, || unsafe { libc::madvise(start.cast(), bytes, libc::MADV_DONTNEED) }) == 0;
    // Elsewhere that is an advice without a promise, and a new mapping keeps one.
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANON | libc::MAP_FIXED;
        // SAFETY: the caller's contract.
        let mapped = unless_refused(libc::MAP_FAILED, || unsafe {
            libc::mmap(start.cast(), bytes, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0)
        });
        mapped == start.cast()
    }
}

/// As [`discard`], and counts the bytes that were in memory.
///
/// # Safety
///
/// - As for [`discard`].
pub(crate) unsafe fn discard_counted(start: *mut u8, bytes: usize, count: &mut usize) -> bool {
    let in_memory = resident_bytes(start, bytes);
    // SAFETY: the caller's contract.
    let is_discarded = unsafe { discard(start, bytes) };
    if is_discarded {
        *count += in_memory;
    }
    is_discarded
}

/// Whether the system tells which pages are in memory.
pub(crate) const TELLS_WHAT_IS_RESIDENT: bool = cfg!(any(target_os = "linux", target_os = "android"));

/// How many bytes of whole pages are in memory; all of them, where the system does not tell.
pub(crate) fn resident_bytes(start: *mut u8, bytes: usize) -> usize {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        let mut pages = [0u8; 1024];
        let most = pages.len() * page();
        let in_memory = (0..bytes).step_by(most).map(|from| {
            let part = most.min(bytes - from);
            let mut outcome = -1;
            // SAFETY: the system writes one byte for each page, and there is room for that.
            preserving_errno(|| unsafe {
                outcome = libc::mincore(start.wrapping_add(from).cast(), part, pages.as_mut_ptr().cast());
            });
            let told = pages.iter().take(part / page());
            if outcome == 0 { told.filter(|&page| page & 1 != 0).count() * page() } else { part }
        });
        in_memory.sum()
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    {
        let _ = start;
        bytes
    }
}

/// Whether more than that part of a span is in memory, as far as some pieces of it tell, and the system: more than a
/// half for 2, than a quarter for 4.
#[inline(never)]
pub(crate) fn is_resident(start: *mut u8, bytes: usize, part_of: usize) -> bool {
    const PIECES: usize = 16;
    const LONGEST_PIECE: usize = 128 << 10;
    let first = start.wrapping_add(start.addr().wrapping_neg() % page());
    let step = (start.addr() + bytes).saturating_sub(first.addr()) / page() / PIECES;
    let piece = (LONGEST_PIECE / page()).clamp(1, step.max(1));
    let mut resident = 0;
    for number in 0..PIECES {
        // In the middle of each step: a table is often used from its beginning.
        let in_front = number * step + step.saturating_sub(piece) / 2;
        resident += resident_bytes(first.wrapping_add(in_front * page()), piece * page());
    }
    resident * part_of > PIECES * piece * page()
}

/// Whether a mapping can become longer, and move with what it contains.
pub(crate) const CAN_MOVE: bool = cfg!(target_os = "linux");

/// Changes the length of a mapping, which may move, with what it contains; what is new is all zero. `None`, and nothing
/// is done, if the system refuses, or cannot do that.
///
/// # Safety
///
/// - It is whole pages that were [mapped](map), and nobody uses them meanwhile, nor the old ones afterwards. If the
///   system has them as more than one mapping, it refuses to make them more.
pub(crate) unsafe fn remap(start: *mut u8, bytes: usize, new_bytes: usize) -> Option<NonNull<u8>> {
    #[cfg(target_os = "linux")]
    {
        // SAFETY: the caller's contract.
        let moved = unless_refused(libc::MAP_FAILED, || unsafe {
            libc::mremap(start.cast(), bytes, new_bytes, libc::MREMAP_MAYMOVE)
        });
        if moved == libc::MAP_FAILED { None } else { NonNull::new(moved.cast()) }
    }
    #[cfg(not(target_os = "linux"))]
    {
        if new_bytes > bytes {
            return None;
        }
        // SAFETY: the caller's contract.
        unsafe { unmap(start.wrapping_add(new_bytes), bytes - new_bytes) };
        NonNull::new(start)
    }
}

/// So much is copied at once by [`copy_to_more`], at most.
const COPIED: usize = 1 << 20;

/// As [`remap`] to more bytes, by a copy: for what the system has as more than one mapping, which it does not make
/// longer. What is copied goes back at once, so that there are never more than `new_bytes` in memory, unless the
/// program has locked them there. Returns also whether the old pages were unmapped; if not, what they contained is
/// lost.
///
/// # Safety
///
/// - As for [`remap`], and the pages can be read.
pub(crate) unsafe fn copy_to_more(
    start: *mut u8,
    bytes: usize,
    new_bytes: usize,
) -> Option<(NonNull<u8>, bool)> {
    let step = new_bytes.checked_sub(bytes).filter(|&more| more > 0)?.min(COPIED);
    let to = map(new_bytes, page())?;
    for from in (0..bytes).step_by(step) {
        let (old, part) = (start.wrapping_add(from), step.min(bytes - from));
        // SAFETY: the caller's contract; what was just mapped is nobody's, and has more bytes. What was copied is not
        // used again. If the system does not take it, it goes with the rest.
        unsafe {
            to.as_ptr().wrapping_add(from).copy_from_nonoverlapping(old, part);
            discard(old, part);
        }
    }
    // SAFETY: the caller's contract.
    Some((to, unsafe { try_unmap(start, bytes) }))
}

/// As [`remap`] to more bytes, by way of `through`, which are no fewer than these. Returns how many bytes there are
/// then: `through` if the system does not take the rest back.
///
/// A mapping as long as some huge pages gets a place at a multiple of one from newer systems (Linux 6.7), whatever its
/// own was.
///
/// # Safety
///
/// - As for [`remap`].
pub(crate) unsafe fn remap_through(
    start: *mut u8,
    bytes: usize,
    new_bytes: usize,
    through: usize,
) -> Option<(NonNull<u8>, usize)> {
    // SAFETY: the caller's contract; what is behind `new_bytes` was never anybody's.
    unsafe {
        let longer = if through > new_bytes { remap(start, bytes, through) } else { None };
        let Some(moved) = longer else { return Some((remap(start, bytes, new_bytes)?, new_bytes)) };
        let is_cut = try_unmap(moved.as_ptr().wrapping_add(new_bytes), through - new_bytes);
        Some((moved, if is_cut { new_bytes } else { through }))
    }
}

/// Whether huge pages can be asked for.
pub(crate) const HAS_HUGE_PAGES: bool = cfg!(any(target_os = "linux", target_os = "android"));

/// Asks for huge pages where they are to be had on request.
///
/// # Safety
///
/// - The pages were mapped or reserved here.
pub(crate) unsafe fn prefer_huge_pages(start: *mut u8, bytes: usize) {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    // SAFETY: the caller's contract; an advice changes nothing that a program can see.
    preserving_errno(|| unsafe {
        libc::madvise(start.cast(), bytes, libc::MADV_HUGEPAGE);
    });
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let _ = (start, bytes);
}

/// Bytes of address space that the process may have; `usize::MAX` if there is no limit.
pub(crate) fn most_address_space() -> usize {
    let mut limit = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: the system writes to the limit only.
    preserving_errno(|| unsafe {
        libc::getrlimit(libc::RLIMIT_AS, &raw mut limit);
    });
    usize::try_from(limit.rlim_cur).unwrap_or(usize::MAX)
}

/// A time that only grows, in milliseconds.
pub(crate) fn milliseconds() -> u64 {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    const CLOCK: libc::clockid_t = libc::CLOCK_MONOTONIC_COARSE;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    const CLOCK: libc::clockid_t = libc::CLOCK_MONOTONIC;
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the system writes to the time only.
    preserving_errno(|| unsafe {
        libc::clock_gettime(CLOCK, &raw mut time);
    });
    time.tv_sec as u64 * 1000 + time.tv_nsec as u64 / 1_000_000
}

/// The system's refusals in turn, for tests.
#[cfg(test)]
pub(crate) mod refusals {
    use core::cell::Cell;

    std::thread_local! {
        static UNTIL: Cell<u32> = const { Cell::new(u32::MAX) };
        static NEXT: Cell<u32> = const { Cell::new(0) };
    }

    /// Has the call refused after so many of this thread's that are made, and all that follow, until that is
    /// [ended](end).
    pub(crate) fn begin_after(calls: u32) {
        UNTIL.set(calls);
    }

    /// Ends the refusals, and returns whether there were any.
    pub(crate) fn end() -> bool {
        UNTIL.replace(u32::MAX) == 0
    }

    /// Has so many calls refused, and no others.
    pub(crate) fn refuse_next(calls: u32) {
        NEXT.set(calls);
    }

    pub(super) fn is_next_refused() -> bool {
        if let Some(less) = NEXT.get().checked_sub(1) {
            NEXT.set(less);
            return true;
        }
        let until = UNTIL.get();
        if until != u32::MAX && until > 0 {
            UNTIL.set(until - 1);
        }
        until == 0
    }
}
