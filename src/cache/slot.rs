//! One thread's cache: lists of blocks by size class, behind a gate that its owner passes without waiting.
//!
//! A cached block is one in use, as far as the heap knows: its header says so, and only whoever has the heap's lock writes headers.
//! That it is cached is written into its payload:
//!
//! ```text
//!       p-4      p      p+4
//!  ┌────────┬──────┬──────┬ … unused … ┐
//!  │ header │ next │ key  │            │
//!  └────────┴──────┴──────┴────────────┘
//! ```
//!
//! - `next` is the position of the next cached block of the class, zero for the last one.
//! - `key` is a number that is unlikely to stand there by chance. A block that is freed and has it is looked for in all
//!   caches before anybody is accused of freeing it twice.
//!
//! # The gate
//!
//! The owner enters by a plain store to `busy` and leaves by another; in between it looks at `closed`. Who takes blocks out of
//! another thread's cache has the heap's lock, closes the gate, waits for a barrier that reaches all threads, and then until the owner
//! is not busy. Either the owner sees that the gate is closed, or the other one sees that the owner is inside. The owner itself may also
//! touch the lists without entering while it has the heap's lock.

use super::barrier;
use crate::bins::Bin;
use crate::block::{Arena, Tag};
use crate::raw_lock::Backoff;
use crate::size::{BlockSize, GRANULE, HEADER, Index};
use core::cell::UnsafeCell;
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, Ordering, compiler_fence, fence};

/// Blocks from this size on are not cached: 1 KiB.
const TOO_LARGE: BlockSize = Bin::LOOKED_UP;

/// The largest request that the caches serve, in bytes: all that the smallest block of the last class holds.
pub(super) const LARGEST_PAYLOAD: usize = Bin::numbered(CLASSES as u32 - 1).smallest().payload();

/// One list for each bin of blocks below that size.
const CLASSES: usize = Bin::of(TOO_LARGE).number();

/// The number of the first class: that of the smallest blocks.
const SMALLEST: u8 = Bin::of(BlockSize::MIN).number() as u8;

/// A size class: a bin, whose blocks in caches all have the smallest size of that bin or more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Class(u8);

impl Class {
    /// The class that serves requests of so many bytes, at most [`LARGEST_PAYLOAD`].
    #[inline(always)]
    pub(super) fn serving(bytes: usize) -> Self {
        /// By granules, header included.
        static SERVING: [u8; TOO_LARGE.granules() as usize] = {
            let mut classes = [SMALLEST; TOO_LARGE.granules() as usize];
            let mut granules = BlockSize::MIN.granules();
            while granules < TOO_LARGE.granules() {
                let fitting = Bin::fitting(BlockSize::from_granules(granules)).number();
                classes[granules as usize] =
                    if fitting < CLASSES { fitting as u8 } else { CLASSES as u8 - 1 };
                granules += 1;
            }
            classes
        };
        debug_assert!(bytes <= LARGEST_PAYLOAD);
        Self(SERVING[(bytes + HEADER).div_ceil(GRANULE) % SERVING.len()])
    }

    /// The class of a block of this size, below [`TOO_LARGE`].
    #[inline(always)]
    fn of(size: BlockSize) -> Self {
        Self(Bin::of_small(size).number() as u8)
    }

    /// Bytes to request from the heap for a block of this class: all that its smallest block can hold, so that whatever request the
    /// class serves fits.
    pub(super) fn payload(self) -> usize {
        Bin::numbered(u32::from(self.0)).smallest().payload()
    }

    #[inline(always)]
    fn index(self) -> usize {
        self.0 as usize % CLASSES
    }
}

/// Whether the gate is open to the owner, as bits.
mod closed {
    /// There is no barrier that reaches all threads, so that the owner has to use one of its own.
    pub(super) const FENCED: u8 = 1;
    /// Somebody takes blocks out.
    pub(super) const DRAINING: u8 = 2;
}

/// What became of a block that was given to a cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Given {
    /// It is in the cache.
    Taken,
    /// Its class is full.
    Full(Class),
    /// It cannot be cached now, or at all; it may not even be a block.
    Not,
}

/// The lists of one thread.
#[derive(Debug)]
struct Lists {
    /// The first block of each class.
    heads: [Index; CLASSES],
    /// How many more blocks each class may take.
    room: [u16; CLASSES],
}

/// One thread's cache. All zero bytes in the beginning.
#[repr(C, align(128))]
#[derive(Debug)]
pub(super) struct Slot {
    /// The allocator whose cache this is; null while it belongs to no thread.
    owner: AtomicPtr<()>,
    /// The owner is inside.
    busy: AtomicBool,
    /// Bits of [`closed`].
    closed: AtomicU8,
    /// Where blocks can be: the arena, and the position behind its last granule. Written under the heap's lock before the owner knows
    /// of the slot.
    place: UnsafeCell<(Arena, Index)>,
    /// Touched by the owner inside of the gate, and under the heap's lock by the owner or by whoever has closed the gate.
    lists: UnsafeCell<Lists>,
}

// SAFETY: what is not atomic is touched by one thread at a time (see the gate).
unsafe impl Sync for Slot {}

impl Slot {
    /// A slot that belongs to nobody; all zero bytes.
    pub(super) const fn new() -> Self {
        Self {
            owner: AtomicPtr::new(null_mut()),
            busy: AtomicBool::new(false),
            closed: AtomicU8::new(0),
            place: UnsafeCell::new((Arena::empty(), Index::NONE)),
            lists: UnsafeCell::new(Lists { heads: [Index::NONE; CLASSES], room: [0; CLASSES] }),
        }
    }

    /// Whether this is a cache of that allocator.
    #[inline(always)]
    pub(super) fn belongs_to(&self, allocator: *const ()) -> bool {
        core::ptr::eq(self.owner.load(Ordering::Relaxed), allocator)
    }

    /// Whether this is nobody's cache.
    pub(super) fn is_vacant(&self) -> bool {
        self.owner.load(Ordering::Relaxed).is_null()
    }

    /// Gives the empty slot to the calling thread. `budget` is how many bytes it may keep.
    ///
    /// # Safety
    ///
    /// - The slot is vacant, and the caller has the lock of the heap over that arena.
    pub(super) unsafe fn occupy(&self, allocator: *const (), arena: Arena, end: Index, budget: usize) {
        // SAFETY: nobody else uses a vacant slot while this thread has the lock (contract).
        let (place, lists) = unsafe { (&mut *self.place.get(), &mut *self.lists.get()) };
        *place = (arena, end);
        for class in Self::classes() {
            lists.room[class.index()] = capacity(class, budget);
        }
        let fenced = if barrier::is_available() { 0 } else { closed::FENCED };
        self.closed.store(fenced, Ordering::Relaxed);
        self.owner.store(allocator.cast_mut(), Ordering::Release);
    }

    /// Makes the slot vacant.
    ///
    /// # Safety
    ///
    /// - Its lists are empty, its owner does not use it any more, and the caller has the heap's lock.
    pub(super) unsafe fn vacate(&self) {
        self.owner.store(null_mut(), Ordering::Release);
    }

    /// Takes a block of a class out of the owner's cache.
    ///
    /// # Safety
    ///
    /// - The caller is the owner.
    #[inline(always)]
    pub(super) unsafe fn take(&self, class: Class) -> Option<NonNull<u8>> {
        // SAFETY: the caller's contract.
        unsafe { self.inside(|arena, lists| pop(arena, lists, class))? }
    }

    /// Puts a block into the owner's cache.
    ///
    /// # Safety
    ///
    /// - The caller is the owner.
    /// - If it is a block of the allocator's in use, nobody uses its bytes any more. Anything else is told, or taken for one as `dealloc`
    ///   would.
    #[inline(always)]
    pub(super) unsafe fn give(&self, block: *mut u8) -> Given {
        let Some((class, index)) = self.cacheable(block) else { return Given::Not };
        // SAFETY: the caller's contract; the block's bytes are the cache's now.
        unsafe { self.inside(|arena, lists| push(arena, lists, class, index)) }.unwrap_or(Given::Not)
    }

    /// As [`give`](Self::give), for when that did nothing because the gate is never plainly open.
    ///
    /// # Safety
    ///
    /// - As for [`give`](Self::give).
    pub(super) unsafe fn give_behind_a_fence(&self, block: *mut u8) -> Given {
        let Some((class, index)) = self.cacheable(block) else { return Given::Not };
        // SAFETY: the caller's contract; the block's bytes are the cache's now.
        unsafe { self.inside_behind_a_fence(|arena, lists| push(arena, lists, class, index)) }
            .unwrap_or(Given::Not)
    }

    /// The class and the position of what looks like a block in use that is small enough and in no cache.
    #[inline(always)]
    fn cacheable(&self, block: *mut u8) -> Option<(Class, Index)> {
        // SAFETY: the place does not change while the slot has an owner.
        let (arena, end) = unsafe { *self.place.get() };
        let position = arena.index_of(block.addr());
        // The smallest block has two granules, so that a second word behind the position lies in the arena, too.
        if position + 1 >= end.get() as usize || position < Index::FIRST.get() as usize {
            return None;
        }
        let index = Index::new(position as u32);
        // SAFETY: the words lie in the arena. They are the header and the second word of the block, or something else that is looked
        // at to find out.
        let (tag, has_key) = unsafe { (arena.tag(index), arena.has_key(index)) };
        let is_block = is_cacheable(tag) && position + tag.granules() as usize <= end.get() as usize;
        (is_block && !has_key).then(|| (Class::of(tag.size()), index))
    }

    /// Whether a block in use has room for so many bytes, at most [`LARGEST_PAYLOAD`], and not for so many more that a smaller class
    /// would do. `None` if it is no block that could be cached.
    #[inline(always)]
    pub(super) fn suits(&self, block: *mut u8, bytes: usize) -> Option<bool> {
        let (class, index) = self.cacheable(block)?;
        // SAFETY: a cacheable block has a header.
        let payload = unsafe { (*self.place.get()).0.tag(index) }.size().payload();
        Some(bytes <= payload && Class::serving(bytes).0 >= class.0)
    }

    /// Runs an operation inside of the gate; `None` if it is not plainly open.
    ///
    /// # Safety
    ///
    /// - The caller is the owner and not inside already.
    #[inline(always)]
    unsafe fn inside<T>(&self, operation: impl FnOnce(Arena, &mut Lists) -> T) -> Option<T> {
        // SAFETY: the caller's contract.
        unsafe { self.pass(|| compiler_fence(Ordering::SeqCst), !0, operation) }
    }

    /// As [`inside`](Self::inside), where there is no barrier that reaches all threads: with one of the owner's own.
    ///
    /// # Safety
    ///
    /// - As for [`inside`](Self::inside).
    unsafe fn inside_behind_a_fence<T>(&self, operation: impl FnOnce(Arena, &mut Lists) -> T) -> Option<T> {
        if self.closed.load(Ordering::Relaxed) & closed::FENCED == 0 {
            return None;
        }
        // SAFETY: the caller's contract.
        unsafe { self.pass(|| fence(Ordering::SeqCst), closed::DRAINING, operation) }
    }

    /// Enters the gate, runs an operation if none of the `shut` bits of `closed` is set, and leaves. `barrier` keeps the announcement in
    /// front of the look.
    ///
    /// # Safety
    ///
    /// - As for [`inside`](Self::inside), and the barrier is one that the gate's other side can rely on.
    #[inline(always)]
    unsafe fn pass<T>(
        &self,
        barrier: impl FnOnce(),
        shut: u8,
        operation: impl FnOnce(Arena, &mut Lists) -> T,
    ) -> Option<T> {
        self.busy.store(true, Ordering::Relaxed);
        barrier();
        let is_open = self.closed.load(Ordering::Acquire) & shut == 0;
        // SAFETY: the gate is open and this thread is inside, so nobody else is (see the gate).
        let result = is_open.then(|| unsafe { operation((*self.place.get()).0, &mut *self.lists.get()) });
        self.busy.store(false, Ordering::Release);
        result
    }

    /// As [`take`](Self::take), for when that found nothing because the gate is never plainly open.
    ///
    /// # Safety
    ///
    /// - As for [`take`](Self::take).
    pub(super) unsafe fn take_behind_a_fence(&self, class: Class) -> Option<NonNull<u8>> {
        // SAFETY: the caller's contract.
        unsafe { self.inside_behind_a_fence(|arena, lists| pop(arena, lists, class))? }
    }

    /// Puts a block that the heap handed out for it into the cache, if there is room.
    ///
    /// # Safety
    ///
    /// - The caller is the owner and has the heap's lock. The block is one of this class that nobody uses.
    pub(super) unsafe fn stock(&self, class: Class, block: NonNull<u8>) -> bool {
        // SAFETY: the caller has the lock, so nobody drains, and is the owner.
        unsafe {
            let arena = (*self.place.get()).0;
            let index = Index::new(arena.index_of(block.addr().get()) as u32);
            push(arena, &mut *self.lists.get(), class, index) == Given::Taken
        }
    }

    /// Takes a block of a class out under the heap's lock.
    ///
    /// # Safety
    ///
    /// - The caller has the heap's lock, and is the owner or has [closed](Self::close) the gate and [waited](Self::wait).
    pub(super) unsafe fn unstock(&self, class: Class) -> Option<NonNull<u8>> {
        // SAFETY: the caller's contract.
        unsafe { pop((*self.place.get()).0, &mut *self.lists.get(), class) }
    }

    /// Half of what a class of a cache with that budget can take.
    pub(super) fn half(class: Class, budget: usize) -> usize {
        usize::from(capacity(class, budget)).div_ceil(2)
    }

    /// Every class.
    pub(super) fn classes() -> impl Iterator<Item = Class> {
        (SMALLEST..CLASSES as u8).map(Class)
    }

    /// Whether a block is in the cache, by its address.
    ///
    /// # Safety
    ///
    /// - As for [`unstock`](Self::unstock).
    pub(super) unsafe fn contains(&self, address: usize) -> bool {
        // SAFETY: the caller's contract.
        let ((arena, _), lists) = unsafe { (*self.place.get(), &*self.lists.get()) };
        lists.heads.iter().any(|&head| {
            let next = |&index: &Index| {
                // SAFETY: the lists hold blocks of the arena, linked through their first words.
                Some(unsafe { arena.next(index) }).filter(|next| !next.is_none())
            };
            let first = Some(head).filter(|head| !head.is_none());
            core::iter::successors(first, next).any(|index| arena.address(index) == address)
        })
    }

    /// Closes the gate to the owner. It may still be inside until [`wait`](Self::wait) returns.
    pub(super) fn close(&self) {
        self.closed.fetch_or(closed::DRAINING, Ordering::Relaxed);
    }

    /// Waits until the owner is not inside. To be called after the gate was closed and a barrier everywhere.
    pub(super) fn wait(&self) {
        let mut backoff = Backoff::new();
        while self.busy.load(Ordering::Acquire) {
            backoff.pause();
        }
    }

    /// Forgets that the owner was inside, or about to look whether it may be.
    ///
    /// # Safety
    ///
    /// - The owner is not there any more: it is a thread of the process that this one was forked from.
    pub(super) unsafe fn forget_owner(&self) {
        self.busy.store(false, Ordering::Relaxed);
    }

    /// Opens the gate again.
    pub(super) fn open(&self) {
        self.closed.fetch_and(!closed::DRAINING, Ordering::Release);
    }
}

/// How many blocks of a class a cache with that budget in bytes may keep. The classes share the budget equally; in a small arena,
/// the larger ones keep nothing.
fn capacity(class: Class, budget: usize) -> u16 {
    /// More would only make the flushes longer.
    const MOST: usize = 128;
    let block = Bin::numbered(u32::from(class.0)).smallest().bytes();
    (budget / CLASSES / block).min(MOST) as u16
}

/// Whether this is the header of a block in use that is small enough.
#[inline(always)]
fn is_cacheable(tag: Tag) -> bool {
    tag.is_live()
        && tag.granules().wrapping_sub(BlockSize::MIN.granules())
            < TOO_LARGE.granules() - BlockSize::MIN.granules()
}

/// # Safety
///
/// - The lists' blocks are the cache's, in that arena.
#[inline(always)]
unsafe fn pop(arena: Arena, lists: &mut Lists, class: Class) -> Option<NonNull<u8>> {
    let head = &mut lists.heads[class.index()];
    let index = *head;
    if index.is_none() {
        return None;
    }
    // SAFETY: a cached block's first word links to the next one, and all of its bytes are the cache's.
    unsafe {
        *head = arena.next(index);
        arena.clear_key(index);
        lists.room[class.index()] += 1;
        Some(arena.payload(index))
    }
}

/// # Safety
///
/// - `index` is a block of this class in that arena whose bytes are the cache's now.
#[inline(always)]
unsafe fn push(arena: Arena, lists: &mut Lists, class: Class, index: Index) -> Given {
    let room = &mut lists.room[class.index()];
    if *room == 0 {
        return Given::Full(class);
    }
    *room -= 1;
    let head = &mut lists.heads[class.index()];
    // SAFETY: the block's bytes are the cache's (contract).
    unsafe {
        arena.set_next(index, *head);
        arena.set_key(index);
    }
    *head = index;
    Given::Taken
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_keeps_no_more_than_its_budget() {
        for budget in [0, 100, 2048, 32 << 10, 256 << 10] {
            let kept: usize = Slot::classes()
                .map(|class| usize::from(capacity(class, budget)) * (class.payload() + HEADER))
                .sum();
            assert!(kept <= budget, "{kept} of {budget}");
            assert!(budget < 2048 || kept > 0);
        }
    }

    #[test]
    fn a_class_holds_what_it_serves() {
        for bytes in 0..=LARGEST_PAYLOAD {
            let class = Class::serving(bytes);
            assert!(class.payload() >= bytes, "{bytes} bytes in {class:?}");
            assert_eq!(Class::of(BlockSize::for_payload(class.payload()).unwrap()), class, "{bytes}");
            assert!(class.payload() - bytes <= (bytes / 16 + 12), "{bytes} bytes in {class:?}");
        }
    }
}
