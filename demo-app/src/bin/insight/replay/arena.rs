//! Memory that arenas are made of, and the allocators over it.

use crate::trouble::Trouble;
use mem_alloc_rust::{Locked, Region, ThreadCached};
use std::alloc::Layout;
use std::marker::PhantomData;
use std::ptr::NonNull;

/// Where in a stretch of so many bytes an arena begins is the linker's choice and the kernel's, and is one of a plan's
/// here. It makes a difference where runs are concerned, which are aligned to pages of 4 KiB, and blocks that are
/// aligned to more than that.
pub(crate) const STRETCH: usize = 2 << 20;

/// Memory for one arena at a time, which is used again for the next.
#[derive(Default)]
pub(super) struct LockedArena {
    memory: Option<Memory>,
}

/// A `Locked<Region>` whose region is borrowed. It places blocks as a `Locked<FreeList<N>>` of that size does: the two
/// have the same heap, over a region of as many bytes.
pub(super) struct Borrowing<'a> {
    allocator: Locked<Region>,
    start: NonNull<u8>,
    memory: PhantomData<&'a mut Memory>,
}

impl LockedArena {
    /// An allocator over so many bytes, of which nothing is in use, at that place in a stretch.
    ///
    /// # Errors
    ///
    /// There are not as many bytes, or too few for an arena.
    pub(super) fn allocator(&mut self, bytes: u64, place: u64) -> Result<Borrowing<'_>, Trouble> {
        let is_enough = |memory: &Memory| memory.bytes() >= bytes;
        if !self.memory.as_ref().is_some_and(is_enough) {
            self.memory = None;
            self.memory = Some(Memory::new(bytes)?);
        }
        let Some(memory) = &mut self.memory else { return Err(Trouble::NoMemory { bytes }) };
        be_silent();
        let allocator = Locked::new();
        let start = memory.at(place);
        // SAFETY: the memory is exclusively borrowed as long as the allocator lives, and has that many bytes from each
        // place on.
        unsafe { allocator.init(start.as_ptr(), bytes as usize) }
            .map_err(|error| Trouble::NoArena { bytes, error })?;
        Ok(Borrowing { allocator, start, memory: PhantomData })
    }
}

impl Borrowing<'_> {
    /// The arena's first address.
    pub(super) fn start(&self) -> u64 {
        self.start.addr().get() as u64
    }
}

impl std::ops::Deref for Borrowing<'_> {
    type Target = Locked<Region>;

    fn deref(&self) -> &Locked<Region> {
        &self.allocator
    }
}

/// A replay is refused memory all the time, and says itself what came of that.
fn be_silent() {
    mem_alloc_rust::set_refusal_hook(|_| {});
}

/// The one allocator of the process that has caches: no other `ThreadCached` is used in it.
static CACHED: ThreadCached<Region> = ThreadCached::new();

/// The allocator with caches over so many bytes at that place in a stretch, and where they begin. Only the first call
/// of a process succeeds.
///
/// # Errors
///
/// There are not as many bytes, too few for an arena, or this is the second call.
pub(super) fn thread_cached(bytes: u64, place: u64) -> Result<(&'static ThreadCached<Region>, u64), Trouble> {
    be_silent();
    let memory = std::mem::ManuallyDrop::new(Memory::new(bytes)?);
    let start = memory.at(place);
    // SAFETY: the memory is nobody else's, is never given back, and has that many bytes from each place on.
    unsafe { CACHED.init(start.as_ptr(), bytes as usize) }
        .map_err(|error| Trouble::NoArena { bytes, error })?;
    Ok((&CACHED, start.addr().get() as u64))
}

/// Bytes of the tool's own allocator, and a stretch more, which is not touched.
struct Memory {
    start: NonNull<u8>,
    layout: Layout,
}

// SAFETY: the memory is this value's alone, whichever thread has it.
unsafe impl Send for Memory {}

impl Memory {
    fn new(bytes: u64) -> Result<Self, Trouble> {
        let none = || Trouble::NoMemory { bytes };
        let size = usize::try_from(bytes).map_err(|_| none())?;
        let size = size.checked_add(STRETCH).ok_or_else(none)?;
        let layout = Layout::from_size_align(size, STRETCH).map_err(|_| none())?;
        // SAFETY: the layout is of more than no bytes.
        let start = NonNull::new(unsafe { std::alloc::alloc(layout) }).ok_or_else(none)?;
        Ok(Self { start, layout })
    }

    /// How many bytes there are from each place on.
    fn bytes(&self) -> u64 {
        (self.layout.size() - STRETCH) as u64
    }

    /// A place in the first stretch.
    fn at(&self, place: u64) -> NonNull<u8> {
        // SAFETY: the memory is longer than a stretch.
        unsafe { self.start.add(place as usize % STRETCH) }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: allocated with that layout, and no allocator is over it any more.
        unsafe { std::alloc::dealloc(self.start.as_ptr(), self.layout) }
    }
}
