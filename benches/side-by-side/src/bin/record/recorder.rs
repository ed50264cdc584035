//! A global allocator that takes notes.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::HashMap;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use anyhow::{Result, ensure};

use side_by_side::operation::Operation;

/// Calls that fit into one recording.
const CAPACITY: usize = 1 << 20;

/// One call that succeeded.
#[derive(Clone, Copy, Debug)]
enum Note {
    Allocated { address: usize, layout: Layout, zeroed: bool },
    Reallocated { old: usize, new: usize, size: usize, layout: Layout },
    Freed { address: usize },
}

thread_local! {
    /// Whether this thread's calls are noted. Only the thread that runs the program sets it.
    static NOTING: Cell<bool> = const { Cell::new(false) };
}

/// Forwards to the system's allocator and notes the calls of the thread that records.
pub(crate) struct Recorder {
    notes: AtomicPtr<Note>,
    count: AtomicUsize,
}

impl Recorder {
    pub(crate) const fn new() -> Self {
        Self { notes: AtomicPtr::new(null_mut()), count: AtomicUsize::new(0) }
    }

    /// Runs a program and returns what it asked for.
    ///
    /// # Errors
    ///
    /// If it made more calls than fit.
    pub(crate) fn record(&self, program: impl FnOnce()) -> Result<Vec<Operation>> {
        let mut buffer: Vec<Note> = Vec::with_capacity(CAPACITY);
        self.count.store(0, Ordering::Relaxed);
        self.notes.store(buffer.as_mut_ptr(), Ordering::Relaxed);
        NOTING.set(true);
        program();
        NOTING.set(false);
        self.notes.store(null_mut(), Ordering::Relaxed);
        let count = self.count.load(Ordering::Relaxed);
        ensure!(count <= CAPACITY, "it made {count} calls, but only {CAPACITY} fit");
        // SAFETY: the buffer has that capacity, and its first `count` notes were written by this thread.
        unsafe { buffer.set_len(count) };
        Ok(operations(&buffer))
    }

    fn note(&self, note: Note) {
        // A thread that is being torn down has no flag any more, and is not the one that records.
        if !NOTING.try_with(Cell::get).unwrap_or(false) {
            return;
        }
        let index = self.count.fetch_add(1, Ordering::Relaxed);
        if index < CAPACITY {
            // SAFETY: while a thread notes, the buffer is there and holds `CAPACITY` notes; each index is used once.
            unsafe { self.notes.load(Ordering::Relaxed).add(index).write(note) };
        }
    }
}

// SAFETY: every call is forwarded to the system's allocator unchanged.
unsafe impl GlobalAlloc for Recorder {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: forwarded.
        let block = unsafe { System.alloc(layout) };
        if !block.is_null() {
            self.note(Note::Allocated { address: block as usize, layout, zeroed: false });
        }
        block
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: forwarded.
        let block = unsafe { System.alloc_zeroed(layout) };
        if !block.is_null() {
            self.note(Note::Allocated { address: block as usize, layout, zeroed: true });
        }
        block
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: forwarded.
        let block = unsafe { System.realloc(ptr, layout, new_size) };
        if !block.is_null() {
            self.note(Note::Reallocated { old: ptr as usize, new: block as usize, size: new_size, layout });
        }
        block
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        self.note(Note::Freed { address: ptr as usize });
        // SAFETY: forwarded.
        unsafe { System.dealloc(ptr, layout) }
    }
}

/// Names blocks by slots instead of addresses. Blocks from before the recording are left out, unless they are resized:
/// the resized block then counts as a new one.
fn operations(notes: &[Note]) -> Vec<Operation> {
    let mut slots: HashMap<usize, u32> = HashMap::new();
    let mut unused: Vec<u32> = Vec::new();
    let mut fresh = 0..;
    let mut operations = Vec::with_capacity(notes.len());
    let mut take = |unused: &mut Vec<u32>| unused.pop().or_else(|| fresh.next()).unwrap_or(u32::MAX);
    for &note in notes {
        match note {
            Note::Allocated { address, layout, zeroed } => {
                let slot = take(&mut unused);
                slots.insert(address, slot);
                operations.push(allocation(slot, layout.size(), layout, zeroed));
            }
            Note::Reallocated { old, new, size, layout } => match slots.remove(&old) {
                Some(slot) => {
                    slots.insert(new, slot);
                    operations.push(Operation::Reallocate { slot, size: size as u32 });
                }
                None => {
                    let slot = take(&mut unused);
                    slots.insert(new, slot);
                    operations.push(allocation(slot, size, layout, false));
                }
            },
            Note::Freed { address } => {
                if let Some(slot) = slots.remove(&address) {
                    unused.push(slot);
                    operations.push(Operation::Free { slot });
                }
            }
        }
    }
    operations
}

fn allocation(slot: u32, size: usize, layout: Layout, zeroed: bool) -> Operation {
    Operation::Allocate { slot, size: size as u32, align_log2: layout.align().trailing_zeros() as u8, zeroed }
}
