//! Heaps beyond the first one, for what its positions do not reach.
//!
//! A block's size has 32 bits, so one heap manages 4 GiB at most, and less where address space is scarce. When that is
//! full, and the cap leaves room, another span is reserved, with a heap of its own that lies at its beginning. Its
//! blocks are served under the same lock, and are in no thread's cache.

use super::Budget;
use crate::heap::{Heap, Resized};
use crate::mapping;
use core::alloc::Layout;
use core::ptr::{NonNull, null_mut};

/// The heaps, the newest first; all zero bytes when there are none.
pub(super) struct Further {
    first: *mut Annex,
}

/// What lies at the beginning of a span.
struct Annex {
    heap: Heap,
    next: *mut Annex,
    /// Bytes of the span, and of those in front of the heap's region.
    reserved: usize,
    in_front: usize,
}

impl Further {
    pub(super) const fn new() -> Self {
        Self { first: null_mut() }
    }

    /// All heaps, from the newest on.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Heap> {
        // SAFETY: the list's members are initialised, and changed through `self` only.
        unsafe { core::iter::successors(self.first.as_ref(), |annex| annex.next.as_ref()) }
            .map(|annex| &annex.heap)
    }

    /// Bytes of blocks in use.
    pub(super) fn live_bytes(&self) -> usize {
        self.iter().map(Heap::live_bytes).sum()
    }

    /// Bytes that are committed.
    pub(super) fn committed_bytes(&self) -> usize {
        // SAFETY: as in `iter`.
        let all = unsafe { core::iter::successors(self.first.as_ref(), |annex| annex.next.as_ref()) };
        all.map(|annex| annex.in_front + annex.heap.committed_bytes()).sum()
    }

    /// A block of one of the heaps, or of a new one, and how many bytes at its beginning are not known to be zero.
    pub(super) fn alloc(&mut self, layout: Layout, budget: Budget) -> Option<(NonNull<u8>, usize)> {
        let mut annex = self.first;
        // SAFETY: the list's members are initialised, and changed through `self` only.
        while let Some(Annex { heap, next, .. }) = unsafe { annex.as_mut() } {
            budget.limit(heap);
            let found = heap.alloc_to_clear(layout);
            if found.is_some() {
                return found;
            }
            annex = *next;
        }
        let new = Annex::reserve(layout, budget)?;
        // SAFETY: it was just made.
        unsafe {
            let found = (*new).heap.alloc_to_clear(layout);
            if found.is_none() {
                mapping::unmap(new.cast(), (*new).reserved);
                return None;
            }
            (*new).next = self.first;
            self.first = new;
            found
        }
    }

    /// The heap that an address lies in.
    fn annex_with(&mut self, address: usize) -> Option<NonNull<Annex>> {
        let mut annex = NonNull::new(self.first)?;
        loop {
            // SAFETY: as in `alloc`.
            let this = unsafe { annex.as_ref() };
            let (start, end) = this.heap.bounds();
            if (start..end).contains(&address) {
                return Some(annex);
            }
            annex = NonNull::new(this.next)?;
        }
    }

    /// Bytes of a block that may be used, if it is in one of the heaps.
    ///
    /// # Safety
    ///
    /// - As for [`Heap::usable_size`].
    pub(super) unsafe fn usable_size(&self, block: *mut u8) -> Option<usize> {
        let heap = self.iter().find(|heap| heap.is_live(block))?;
        // SAFETY: the caller's contract.
        unsafe { heap.usable_size(block) }.ok()
    }

    pub(super) fn is_live(&self, block: *mut u8) -> bool {
        self.iter().any(|heap| heap.is_live(block))
    }

    /// The heap that an address lies in.
    pub(super) fn with(&self, address: usize) -> Option<&Heap> {
        self.iter().find(|heap| heap.has_in_region(address))
    }

    /// Gives a block back. `None` if it is in none of the heaps, or the span that is to be unmapped now, which may be
    /// empty. The first heap without a block stays for the next one.
    ///
    /// # Safety
    ///
    /// - As for [`Heap::dealloc`].
    pub(super) unsafe fn dealloc(&mut self, block: *mut u8) -> Option<(*mut u8, usize)> {
        let annex = self.annex_with(block.addr())?;
        // SAFETY: as in `alloc`; the caller's contract.
        unsafe {
            (*annex.as_ptr()).heap.dealloc(block).ok()?;
            let is_empty = |heap: &&Heap| heap.live_bytes() == 0;
            if !is_empty(&&annex.as_ref().heap) || self.iter().filter(is_empty).count() == 1 {
                return Some((null_mut(), 0));
            }
            let mut link = &raw mut self.first;
            while *link != annex.as_ptr() {
                link = &raw mut (**link).next;
            }
            *link = annex.as_ref().next;
            Some((annex.as_ptr().cast(), annex.as_ref().reserved))
        }
    }

    /// Unmaps the spans of heaps without a block.
    pub(super) fn unmap_empty(&mut self) {
        let mut link = &raw mut self.first;
        // SAFETY: as in `alloc`. Nobody uses a block of a heap that has none.
        unsafe {
            while let Some(Annex { heap, next, reserved, .. }) = (*link).as_mut() {
                if heap.live_bytes() > 0 {
                    link = next;
                    continue;
                }
                let (annex, reserved) = (*link, *reserved);
                *link = *next;
                mapping::unmap(annex.cast(), reserved);
            }
        }
    }

    /// Does something to each of the heaps.
    pub(super) fn each(&mut self, mut what: impl FnMut(&mut Heap)) {
        let mut annex = self.first;
        // SAFETY: as in `alloc`.
        while let Some(Annex { heap, next, .. }) = unsafe { annex.as_mut() } {
            what(heap);
            annex = *next;
        }
    }

    /// Changes a block's size within its heap. `None` if it is in none of them.
    ///
    /// # Safety
    ///
    /// - As for [`Heap::realloc`].
    pub(super) unsafe fn resize(
        &mut self,
        block: *mut u8,
        layout: Layout,
        new_size: usize,
        budget: Budget,
    ) -> Option<Resized> {
        let annex = self.annex_with(block.addr())?;
        // SAFETY: as in `alloc`; the caller's contract.
        unsafe {
            let heap = &mut (*annex.as_ptr()).heap;
            budget.limit(heap);
            Some(heap.resize(block, layout, new_size))
        }
    }
}

impl Further {
    /// Unmaps all spans.
    ///
    /// # Safety
    ///
    /// - Nobody uses a block of theirs any more.
    pub(super) unsafe fn unmap_all(&mut self) {
        let mut annex = core::mem::replace(&mut self.first, null_mut());
        // SAFETY: as in `alloc`; the caller's contract.
        while let Some(&Annex { next, reserved, .. }) = unsafe { annex.as_ref() } {
            // SAFETY: the span was reserved for this heap.
            unsafe { mapping::unmap(annex.cast(), reserved) };
            annex = next;
        }
    }
}

impl Annex {
    /// A new heap, which has room for such a block, in a span of its own.
    fn reserve(layout: Layout, budget: Budget) -> Option<*mut Self> {
        let in_front = mapping::whole_pages(size_of::<Self>())?;
        let block = layout.size().checked_add(layout.align())?;
        let least = in_front.checked_add(mapping::whole_pages(block)?)?.checked_add(mapping::page())?;
        if least > budget.left {
            return None;
        }
        let (start, reserved) = super::reserve(budget.left, least)?;
        let len = reserved - in_front;
        let committed = mapping::whole_pages(Heap::least_committed(len))?;
        let annex: *mut Self = start.cast();
        // SAFETY: the span was just reserved. Its beginning is committed before it is written to.
        unsafe {
            if in_front + committed > budget.left.min(reserved)
                || !mapping::commit(start, in_front + committed)
            {
                mapping::unmap(start, reserved);
                return None;
            }
            annex.write(Self { heap: Heap::new(), next: null_mut(), reserved, in_front });
            let heap = &mut (*annex).heap;
            let region = start.wrapping_add(in_front);
            if super::init(heap, region, len, committed, budget.huge_pages).is_err() {
                mapping::unmap(start, reserved);
                return None;
            }
            budget.less(in_front + committed).limit(heap);
        }
        Some(annex)
    }
}
