//! Pages of blocks that are free, and that the system did not take back.
//!
//! It does not if that would cut a mapping in two while the process has as many of them as it may have (65,530 on
//! Linux, unless it is told otherwise). It takes what they contain then, and they serve later requests.

use crate::mapping;
use core::ptr::{NonNull, null_mut};

/// So many spans are looked at for one that fits.
const LOOKED_AT: usize = 16;

/// Spans of pages, which lead from one to the next; all zero bytes when there are none.
pub(super) struct Stayed {
    first: *mut Link,
    bytes: usize,
}

/// What lies at the beginning of a span.
struct Link {
    next: *mut Link,
    /// Bytes of the span, and how many at its beginning are not known to be zero.
    bytes: usize,
    dirty: usize,
}

impl Link {
    /// Bytes that are in memory.
    fn in_memory(&self) -> usize {
        self.dirty.max(mapping::page())
    }
}

impl Stayed {
    pub(super) const fn new() -> Self {
        Self { first: null_mut(), bytes: 0 }
    }

    /// Bytes of the spans that are in memory: a page of each, as a rule.
    #[inline(always)]
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Unmaps a span, or gives back what it contains and notes it.
    ///
    /// # Safety
    ///
    /// - It is whole pages that were mapped for a block, which nobody uses any more.
    pub(super) unsafe fn unmap_or_put(&mut self, start: *mut u8, bytes: usize) {
        // SAFETY: the caller's contract.
        unsafe {
            if !mapping::try_unmap(start, bytes) {
                let is_zero = mapping::discard(start, bytes);
                self.put(start, bytes, if is_zero { 0 } else { bytes });
            }
        }
    }

    /// Notes a span, of which so many bytes at the beginning are not known to be zero.
    ///
    /// # Safety
    ///
    /// - As for [`unmap_or_put`](Self::unmap_or_put).
    pub(super) unsafe fn put(&mut self, start: *mut u8, bytes: usize, dirty: usize) {
        let link = Link { next: self.first, bytes, dirty: dirty.max(size_of::<Link>()) };
        self.bytes += link.in_memory();
        self.first = start.cast();
        // SAFETY: the caller's contract; a page holds a link, and is aligned for it.
        unsafe { self.first.write(link) };
    }

    /// A span of at least so many bytes, and no more than an eighth too many: where it is, its bytes, and how many at
    /// its beginning are not known to be zero.
    pub(super) fn take(&mut self, bytes: usize) -> Option<(NonNull<u8>, usize, usize)> {
        let mut place = &raw mut self.first;
        for _ in 0..LOOKED_AT {
            // SAFETY: the list's members are spans that were noted, and changed through `self` only.
            unsafe {
                let link = (*place).as_mut()?;
                if link.bytes >= bytes && link.bytes - bytes <= bytes / 8 {
                    let found = (NonNull::new((*place).cast())?, link.bytes, link.dirty);
                    self.bytes -= link.in_memory();
                    *place = link.next;
                    return Some(found);
                }
                place = &raw mut link.next;
            }
        }
        None
    }

    /// Gives spans back, until the system refuses. Returns how many bytes of that were in memory.
    pub(super) fn give_back(&mut self) -> usize {
        let before = self.bytes;
        // SAFETY: as in `take`; nobody uses a span that is noted here.
        unsafe {
            while let Some(link) = self.first.as_ref() {
                let (next, in_memory) = (link.next, link.in_memory());
                if !mapping::try_unmap(self.first.cast(), link.bytes) {
                    break;
                }
                self.first = next;
                self.bytes -= in_memory;
            }
        }
        before - self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::refusals;

    /// A span of so many pages, all of which were written to.
    fn span(pages: usize) -> *mut u8 {
        let bytes = pages * mapping::page();
        let start = mapping::map(bytes, mapping::page()).unwrap().as_ptr();
        // SAFETY: it was just mapped.
        unsafe { start.write_bytes(7, bytes) };
        start
    }

    #[test]
    fn a_span_is_taken_if_it_fits_and_is_zero_but_for_its_beginning() {
        let page = mapping::page();
        let mut stayed = Stayed::new();
        let [small, large] = [span(8), span(30)];
        // SAFETY: the spans are this test's.
        unsafe {
            refusals::refuse_next(1);
            stayed.unmap_or_put(small, 8 * page);
            refusals::refuse_next(2);
            stayed.unmap_or_put(large, 30 * page);
        }
        assert_eq!(stayed.bytes(), 31 * page);
        assert_eq!(stayed.take(20 * page), None);
        let (start, bytes, dirty) = stayed.take(8 * page - 100).unwrap();
        assert_eq!((start.as_ptr(), bytes), (small, 8 * page));
        // SAFETY: the span is this test's again.
        assert!(dirty < 100 && (dirty..bytes).all(|at| unsafe { start.add(at).read() } == 0));
        assert_eq!(stayed.take(8 * page), None);
        // What the system took nothing of is not zero.
        let (start, bytes, dirty) = stayed.take(30 * page).unwrap();
        assert_eq!((start.as_ptr(), bytes, dirty), (large, 30 * page, 30 * page));
        assert_eq!(stayed.bytes(), 0);
        // SAFETY: as above.
        unsafe {
            mapping::unmap(small, 8 * page);
            mapping::unmap(large, 30 * page);
        }
    }

    #[test]
    fn spans_go_back_until_the_system_refuses() {
        let page = mapping::page();
        let mut stayed = Stayed::new();
        for pages in 1..=3 {
            // SAFETY: the spans are this test's.
            unsafe { stayed.put(span(pages), pages * page, 0) };
        }
        refusals::begin_after(1);
        assert_eq!(stayed.give_back(), page);
        refusals::end();
        assert_eq!(stayed.bytes(), 2 * page);
        assert_eq!(stayed.give_back(), 2 * page);
        assert_eq!(stayed.take(page), None);
    }
}
