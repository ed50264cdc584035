//! `Traced`: writing a trace, from a program's first allocation to its last; and `Sampled`, which keeps one allocation
//! of many in mind, and writes those that are in use on demand.
//!
//! # A trace
//!
//! The file's chunks are mapped into memory, one for each thread, and a record is written in place. So nothing has to
//! be flushed, and nothing is lost when the program aborts, exits in the middle of its threads, or is killed: what is
//! in memory is in the file. A chunk's bytes are written as zeroes before they are mapped, so that a full disk is found
//! out by a system call that fails and not by a signal.
//!
//! Threads share the sequence number, the number of the next chunk, and the table of call sites; none waits for
//! another. Nothing in here allocates. (heaptrack's table of call sites is such a tree, too: Milian Wolff, *heaptrack*,
//! 2014.)

mod call_sites;
mod environment;
mod file;
mod modules;
mod profile;
mod sample_table;
mod sampled;
mod samples;
mod site_index;
mod stack;
mod traced;
mod writer;
mod writers;

pub use sampled::Sampled;
pub use traced::Traced;

use crate::attention;
use crate::mapping;
use crate::raw_lock::{SingleThread, preserving_errno};
use crate::static_memory;
use crate::stderr::write_line;
use crate::trace::{CallSites, Event};
use core::alloc::Layout;
use core::cell::Cell;
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::{AtomicPtr, AtomicU8, AtomicU64, Ordering};
use environment::Wish;
use writer::Writer;

/// How far the process is with its recording.
mod state {
    /// Nobody has looked at the environment.
    pub(super) const UNKNOWN: u8 = 0;
    /// Nothing is recorded, now or later.
    pub(super) const OFF: u8 = 1;
    /// A thread opens the file.
    pub(super) const BEGINNING: u8 = 2;
    /// Everything is recorded.
    pub(super) const ON: u8 = 3;
}

static STATE: AtomicU8 = AtomicU8::new(state::UNKNOWN);

/// The number of the last event.
static SEQUENCE: Line<AtomicU64> = Line(AtomicU64::new(0));

/// Whether the process has one thread, as the C library knows.
static SINGLE_THREAD: SingleThread = SingleThread::new();

/// A value that shares its cache line with no other.
#[repr(align(128))]
struct Line<T>(T);

/// Why a recording ended before the program did; see [`Note::End`](crate::trace::Note::End).
mod end {
    pub(super) const DISK_IS_FULL: u64 = 1;
    pub(super) const NO_MEMORY: u64 = 2;
    pub(super) const TOO_MANY_CALL_SITES: u64 = 3;
    pub(super) const FILE_WAS_CLOSED: u64 = 4;
}

struct Local {
    /// The writer that is this thread's, or null.
    writer: Cell<*mut Writer>,
    /// Whether this thread is in the recorder: a signal handler that allocates there is not recorded.
    is_inside: Cell<bool>,
}

std::thread_local! {
    // Initialised by a constant and without a destructor: an access is a plain load.
    static LOCAL: Local = const { Local { writer: Cell::new(null_mut()), is_inside: Cell::new(false) } };
}

/// Whether nothing is recorded: the only question that a program pays for which does not want a trace.
#[inline(always)]
fn is_off() -> bool {
    STATE.load(Ordering::Relaxed) == state::OFF
}

/// Records an event that has happened, or is just about to.
#[inline(never)]
fn record(event: Event) {
    LOCAL.with(|local| {
        if local.is_inside.replace(true) {
            return;
        }
        record_in(local, event);
        local.is_inside.set(false);
    });
}

#[inline(always)]
fn record_in(local: &Local, mut event: Event) {
    if STATE.load(Ordering::Acquire) != state::ON && !begin() {
        return;
    }
    if local.writer.get().is_null() {
        begin_thread(local);
    }
    // SAFETY: a writer that was adopted is this thread's until it ends, and never unmapped. The thread is in here
    // once only.
    let Some(writer) = (unsafe { local.writer.get().as_mut() }) else { return stop(end::NO_MEMORY) };
    if let Event::Allocation { site, .. }
    | Event::Reallocation { site, .. }
    | Event::Refused { site, .. }
    | Event::RefusedReallocation { site, .. } = &mut event
    {
        match writer.call_site() {
            Ok(number) => *site = number,
            Err(reason) => return stop(reason),
        }
    }
    if let Err(reason) = writer.event(next_number, &event) {
        stop(reason);
    }
}

/// Gives the calling thread a writer, if there is memory for one.
#[cold]
#[inline(never)]
fn begin_thread(local: &Local) {
    preserving_errno(|| {
        local.writer.set(writers::adopt().map_or(null_mut(), NonNull::as_ptr));
    });
}

/// The number of an event that happens now.
#[inline]
fn next_number() -> u64 {
    // SAFETY: asked when the recording began, which this thread has seen.
    if unsafe { SINGLE_THREAD.is_certain() } {
        // No other thread can come between the two: this very one would have to make it.
        let number = SEQUENCE.0.load(Ordering::Relaxed) + 1;
        SEQUENCE.0.store(number, Ordering::Relaxed);
        return number;
    }
    SEQUENCE.0.fetch_add(1, Ordering::Relaxed) + 1
}

/// The number of the last event so far; `None` where nothing is recorded.
fn last_number() -> Option<u64> {
    (STATE.load(Ordering::Acquire) == state::ON).then(|| SEQUENCE.0.load(Ordering::Relaxed))
}

/// Begins the recording, if the environment asks for one. False if there is none.
#[cold]
fn begin() -> bool {
    loop {
        match STATE.load(Ordering::Acquire) {
            state::ON => return true,
            state::OFF => return false,
            state::UNKNOWN => {
                let begun = STATE.compare_exchange(
                    state::UNKNOWN,
                    state::BEGINNING,
                    Ordering::Acquire,
                    Ordering::Relaxed,
                );
                if begun.is_ok() {
                    let mut is_begun = false;
                    preserving_errno(|| is_begun = begin_here());
                    STATE.store(if is_begun { state::ON } else { state::OFF }, Ordering::Release);
                }
            }
            // SAFETY: yielding has no conditions.
            _ => unsafe {
                libc::sched_yield();
            },
        }
    }
}

/// Looks at the environment and opens the file.
fn begin_here() -> bool {
    let Some(wish) = environment::read() else { return false };
    if !prepare(&wish) {
        write_line(
            "mem_alloc_rust: there is too little memory for what MEM_ALLOC_RUST_TRACE asks for, and nothing is recorded",
        );
        return false;
    }
    file::open(&wish)
}

/// What a recording needs besides its file. False if the system has too little for it.
fn prepare(wish: &Wish) -> bool {
    if wish.call_sites != CallSites::None && !call_sites::RECORDED.prepare() {
        return false;
    }
    stack::prepare(wish.call_sites);
    SINGLE_THREAD.look_up();
    // The handlers for a child and for a thread's end have to be there as long as the program.
    static_memory::keep_loaded(&STATE);
    // A child that is forked has the mappings, and must not write to them.
    // SAFETY: the callback never unwinds.
    let has_handler = unsafe { libc::pthread_atfork(None, None, Some(after_fork_in_child)) } == 0;
    has_handler && writers::prepare()
}

extern "C" fn after_fork_in_child() {
    STATE.store(state::OFF, Ordering::Relaxed);
    file::close();
}

/// Ends the recording for a reason, which the first who has one notes. What the file has stays.
#[cold]
fn stop(reason: u64) {
    if STATE.swap(state::OFF, Ordering::Relaxed) == state::ON {
        preserving_errno(|| file::end(reason));
    }
}

/// Whether this thread does what the program did not ask for: while it panics or tells of a refusal, the system serves
/// what std takes for a backtrace, which is tens of megabytes, and which is no part of any arena. What is released
/// meanwhile may be the program's.
fn is_in_distress() -> bool {
    std::thread::panicking() || attention::is_telling()
}

/// An allocation, or its refusal.
fn allocation(block: *mut u8, layout: Layout, is_zeroed: bool) {
    if is_in_distress() {
        return;
    }
    let (size, align) = (layout.size() as u64, layout.align() as u64);
    record(match block.addr() {
        0 => Event::Refused { size, align, site: 0 },
        address => Event::Allocation { size, align, address: address as u64, is_zeroed, site: 0 },
    });
}

/// A release that is about to happen.
fn release(block: *mut u8) {
    record(Event::Release { address: block.addr() as u64 });
}

/// A `realloc`, or its refusal.
fn reallocation(old: *mut u8, block: *mut u8, layout: Layout, new_size: usize) {
    if is_in_distress() {
        return;
    }
    let (new_size, align, old_address) = (new_size as u64, layout.align() as u64, old.addr() as u64);
    record(match block.addr() {
        0 => Event::RefusedReallocation { new_size, align, old_address, site: 0 },
        address => Event::Reallocation { new_size, align, old_address, address: address as u64, site: 0 },
    });
}

/// Memory for so many of what the recorder keeps: zeroes, for as long as the program runs.
fn everlasting<T>(count: usize) -> Option<NonNull<T>> {
    let bytes = mapping::whole_pages(size_of::<T>().checked_mul(count)?)?;
    mapping::map(bytes, mapping::page()).map(NonNull::cast)
}

/// Gives such memory back, if it turns out that nobody needs it.
///
/// # Safety
///
/// - It is for so many, and nobody uses it any more.
unsafe fn give_back<T>(start: NonNull<T>, count: usize) {
    if let Some(bytes) = mapping::whole_pages(size_of::<T>() * count) {
        // SAFETY: the caller's contract.
        unsafe { mapping::unmap(start.as_ptr().cast(), bytes) };
    }
}

/// Writes a pointer where there is none yet. False if another thread was faster.
fn set_once<T>(place: &AtomicPtr<T>, new: *mut T) -> bool {
    place.compare_exchange(null_mut(), new, Ordering::Release, Ordering::Relaxed).is_ok()
}
