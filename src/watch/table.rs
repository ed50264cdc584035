//! The blocks that were allocated while somebody looks for leaks: a table of a fixed size, which all threads use
//! without a lock.
//!
//! A block is entered after it was allocated, and removed before it is released, by whoever does that: so nobody else
//! touches an entry that is in use. Entries lie where their address hashes to, or shortly behind. Those that are left
//! from an earlier search are taken like free ones.

use super::slot::Slot;
use super::{exempt, threads};
use core::alloc::{GlobalAlloc, Layout};
use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use std::alloc::System;

/// A block that was allocated since somebody looks.
#[derive(Clone, Copy, Default)]
pub(super) struct Entry {
    pub(super) address: usize,
    pub(super) bytes: usize,
    /// Which one it was since the process began looking, over all threads.
    pub(super) number: usize,
    /// The thread that allocated it, as the address of its slot, or zero.
    pub(super) thread: usize,
    /// Which one it was of that thread's; see [`number_on`].
    pub(super) number_on_thread: usize,
}

/// Which allocation of its thread's the last one was.
pub(super) fn number_on(slot: &Slot) -> usize {
    slot.alloc_calls.get().wrapping_add(slot.alloc_zeroed_calls.get()) as usize
}

struct Cell {
    /// Of the block, or one of the values below.
    address: AtomicUsize,
    bytes: AtomicUsize,
    number: AtomicUsize,
    thread: AtomicUsize,
    number_on_thread: AtomicUsize,
}

/// Never used: nothing that hashes to a place before lies behind it.
const EMPTY: usize = 0;
/// Used before, and free.
const REMOVED: usize = 1;
/// Just being written.
const BUSY: usize = 2;

/// Blocks that can be entered at one time. 5 MiB of address space, of which only what is used becomes memory.
const CELLS: usize = 1 << 17;
/// So many places behind the one that it hashes to, a block is looked for.
const REACH: usize = 64;

/// How many are looking for leaks.
static IN_USE: AtomicUsize = AtomicUsize::new(0);
/// The table: all zero bytes at first, and never given back, because a thread may still be looking into it.
static TABLE: AtomicPtr<Cell> = AtomicPtr::new(null_mut());
/// The number of the next entry.
static NEXT: AtomicUsize = AtomicUsize::new(0);
/// Entries with smaller numbers are from an earlier search.
static FIRST: AtomicUsize = AtomicUsize::new(0);
/// Blocks that there was no room for.
static OVERFLOWED: AtomicUsize = AtomicUsize::new(0);

/// Whether somebody is looking for leaks.
pub(super) fn is_in_use() -> bool {
    IN_USE.load(Ordering::SeqCst) != 0
}

/// Blocks that there was no room for so far.
pub(super) fn overflowed() -> usize {
    OVERFLOWED.load(Ordering::Relaxed)
}

/// Begins a search, and returns the number of the first block that is entered from now on.
pub(super) fn begin() -> usize {
    if TABLE.load(Ordering::Acquire).is_null() {
        // SAFETY: the layout is of more than no bytes.
        let table = unsafe { System.alloc_zeroed(Layout::new::<[Cell; CELLS]>()) };
        let exchanged = TABLE.compare_exchange(null_mut(), table.cast(), Ordering::AcqRel, Ordering::Acquire);
        if exchanged.is_err() && !table.is_null() {
            // SAFETY: another thread was faster, and nobody has this one.
            unsafe { System.dealloc(table, Layout::new::<[Cell; CELLS]>()) };
        }
    }
    // Before it is in use: whatever is entered then has this number or a larger one.
    let first = NEXT.load(Ordering::SeqCst);
    if IN_USE.fetch_add(1, Ordering::SeqCst) == 0 {
        FIRST.store(first, Ordering::Relaxed);
    }
    threads::slots().for_each(Slot::call_attention);
    NEXT.load(Ordering::SeqCst)
}

/// Ends a search.
pub(super) fn end() {
    IN_USE.fetch_sub(1, Ordering::SeqCst);
}

/// The table; if there was no memory for one, it has no cells.
fn cells() -> &'static [Cell] {
    let table = TABLE.load(Ordering::Acquire);
    if table.is_null() {
        return &[];
    }
    // SAFETY: so many were allocated, all zero bytes are free ones, and they are never given back.
    unsafe { core::slice::from_raw_parts(table, CELLS) }
}

/// The cells that an address may be in.
fn candidates(address: usize) -> impl Iterator<Item = &'static Cell> {
    // (Knuth's multiplicative hashing: the upper bits are the good ones.)
    let hash = (address as u64 >> 3).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (64 - CELLS.trailing_zeros());
    let cells = cells();
    (0..REACH.min(cells.len())).map(move |step| &cells[(hash as usize + step) % CELLS])
}

fn cell_of(address: usize) -> Option<&'static Cell> {
    candidates(address)
        .map(|cell| (cell, cell.address.load(Ordering::Acquire)))
        .take_while(|(_, found)| *found != EMPTY)
        .find(|(_, found)| *found == address)
        .map(|(cell, _)| cell)
}

/// Enters a block, unless it is for the watching itself; with what it was `before`, if it only lies elsewhere now.
pub(super) fn insert(block: *mut u8, bytes: usize, own: Option<&Slot>, before: Option<Entry>) {
    if before.is_none() && exempt::is_exempt() {
        return;
    }
    let address = block.addr();
    let entry = before.unwrap_or_else(|| Entry {
        number: NEXT.fetch_add(1, Ordering::SeqCst),
        thread: own.map_or(0, |slot| core::ptr::from_ref(slot).addr()),
        number_on_thread: own.map_or(0, number_on),
        ..Entry::default()
    });
    // What an earlier search left of another block there.
    if let Some(cell) = cell_of(address) {
        cell.free(address);
    }
    let first = FIRST.load(Ordering::Relaxed);
    for cell in candidates(address) {
        let found = cell.address.load(Ordering::Acquire);
        let is_left = found > BUSY && cell.number.load(Ordering::Relaxed) < first;
        let is_free = found == EMPTY || found == REMOVED || is_left;
        if is_free && cell.address.compare_exchange(found, BUSY, Ordering::Acquire, Ordering::Relaxed).is_ok()
        {
            cell.bytes.store(bytes, Ordering::Relaxed);
            cell.number.store(entry.number, Ordering::Relaxed);
            cell.thread.store(entry.thread, Ordering::Relaxed);
            cell.number_on_thread.store(entry.number_on_thread, Ordering::Relaxed);
            cell.address.store(address, Ordering::Release);
            return;
        }
    }
    OVERFLOWED.fetch_add(1, Ordering::Relaxed);
}

/// Removes a block that is about to be released or resized, if it was entered.
pub(super) fn remove(block: *mut u8) -> Option<Entry> {
    let cell = cell_of(block.addr())?;
    let entry = cell.read(block.addr());
    cell.free(block.addr());
    Some(entry).filter(|entry| entry.number >= FIRST.load(Ordering::Relaxed))
}

impl Cell {
    /// Frees it, unless another thread has just taken it, because what it had was left from an earlier search.
    fn free(&self, address: usize) {
        let _ = self.address.compare_exchange(address, REMOVED, Ordering::Release, Ordering::Relaxed);
    }

    fn read(&self, address: usize) -> Entry {
        Entry {
            address,
            bytes: self.bytes.load(Ordering::Relaxed),
            number: self.number.load(Ordering::Relaxed),
            thread: self.thread.load(Ordering::Relaxed),
            number_on_thread: self.number_on_thread.load(Ordering::Relaxed),
        }
    }
}

/// The blocks that are entered now.
pub(super) fn entries() -> impl Iterator<Item = Entry> {
    let entry = |cell: &Cell| {
        let address = cell.address.load(Ordering::Acquire);
        let entry = cell.read(address);
        // Unless it was just removed, and perhaps another one entered.
        core::sync::atomic::fence(Ordering::Acquire);
        (address > BUSY && cell.address.load(Ordering::Relaxed) == address).then_some(entry)
    };
    cells().iter().filter_map(entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_thread_has_entered_in_the_place_of_an_old_block_stays() {
        let cell = Cell {
            address: AtomicUsize::new(BUSY),
            bytes: AtomicUsize::new(0),
            number: AtomicUsize::new(0),
            thread: AtomicUsize::new(0),
            number_on_thread: AtomicUsize::new(0),
        };
        // One thread has found the old block at 64 here, and another one is just entering its own.
        cell.free(64);
        assert_eq!(cell.address.load(Ordering::Relaxed), BUSY);
        cell.address.store(128, Ordering::Relaxed);
        cell.free(64);
        assert_eq!(cell.address.load(Ordering::Relaxed), 128);
        cell.free(128);
        assert_eq!(cell.address.load(Ordering::Relaxed), REMOVED);
    }
}
