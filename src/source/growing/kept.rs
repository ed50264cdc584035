//! Pages that a block had, and that are kept for the next one: as long as the pace does not allow to give them back.

use super::Stayed;
use crate::mapping;
use core::ptr::{NonNull, null_mut};

/// So many spans are kept at most.
const MOST: usize = 8;

/// Spans of pages; all zero bytes when there are none. The first `count` of them are kept.
pub(super) struct Kept {
    spans: [(*mut u8, usize); MOST],
    count: usize,
    bytes: usize,
}

impl Kept {
    pub(super) const fn new() -> Self {
        Self { spans: [(null_mut(), 0); MOST], count: 0, bytes: 0 }
    }

    #[inline(always)]
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many bytes of what is kept are in memory.
    pub(super) fn resident_bytes(&self) -> usize {
        let kept = self.spans.iter().take(self.count);
        kept.map(|&(start, bytes)| mapping::resident_bytes(start, bytes)).sum()
    }

    /// Keeps a span. False if there is no room.
    pub(super) fn put(&mut self, start: *mut u8, bytes: usize) -> bool {
        let Some(span) = self.spans.get_mut(self.count) else { return false };
        *span = (start, bytes);
        self.count += 1;
        self.bytes += bytes;
        true
    }

    /// The smallest span of at least so many bytes, if it has no more than an eighth too many.
    pub(super) fn take(&mut self, bytes: usize) -> Option<(NonNull<u8>, usize)> {
        let fits = |&(_, had): &(*mut u8, usize)| had >= bytes && had - bytes <= bytes / 8;
        let kept = self.spans.get(..self.count)?.iter().enumerate();
        let (number, &(start, had)) = kept.filter(|(_, span)| fits(span)).min_by_key(|(_, span)| span.1)?;
        self.forget(number, had);
        NonNull::new(start).map(|start| (start, had))
    }

    /// Gives spans back, the one that was kept first before the others, as long as that is allowed for so many bytes.
    /// What the system does not take stays. Returns how many bytes that were.
    pub(super) fn give_back(
        &mut self,
        stayed: &mut Stayed,
        mut is_allowed: impl FnMut(usize) -> bool,
    ) -> usize {
        let before = self.bytes;
        while let Some(&(start, bytes)) = self.spans.first().filter(|_| self.count > 0) {
            if !is_allowed(bytes) {
                break;
            }
            self.forget(0, bytes);
            // SAFETY: it was a block's, and nobody uses it.
            unsafe { stayed.unmap_or_put(start, bytes) };
        }
        before - self.bytes
    }

    fn forget(&mut self, number: usize, bytes: usize) {
        self.spans.copy_within(number + 1.., number);
        self.count -= 1;
        self.bytes -= bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_taken_if_it_is_not_much_too_large() {
        let mut kept = Kept::new();
        let span = |number: usize| core::ptr::without_provenance_mut::<u8>(number << 20);
        for (number, bytes) in (1..).zip([900, 1000, 1100, 5000]) {
            assert!(kept.put(span(number), bytes));
        }
        assert_eq!(kept.take(990).map(|(start, bytes)| (start.as_ptr(), bytes)), Some((span(2), 1000)));
        assert_eq!(kept.take(990).map(|(start, bytes)| (start.as_ptr(), bytes)), Some((span(3), 1100)));
        assert_eq!((kept.take(990), kept.bytes()), (None, 5900));
    }

    #[test]
    fn what_was_kept_first_goes_first() {
        let mut kept = Kept::new();
        let page = mapping::page();
        let spans = [1, 2, 3].map(|pages| mapping::map(pages * page, page).unwrap().as_ptr());
        for (pages, start) in (1..).zip(spans) {
            assert!(kept.put(start, pages * page));
        }
        let mut stayed = Stayed::new();
        assert_eq!(kept.give_back(&mut stayed, |bytes| bytes < 3 * page), 3 * page);
        assert_eq!(kept.take(3 * page).map(|(start, _)| start.as_ptr()), Some(spans[2]));
        // SAFETY: it is this test's now.
        unsafe { mapping::unmap(spans[2], 3 * page) };
    }
}
