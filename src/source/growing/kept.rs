//! Pages that blocks had, and that are kept for the next ones: as long as the pace does not allow to give them back.
//!
//! Blocks of any size are cut from them. What lies side by side is one, wherever it came from. So a program that
//! replaces large blocks of many sizes finds pages that are in memory, and maps none.

use super::Stayed;
use crate::mapping;
use core::ptr::{NonNull, null_mut};

/// So many spans are kept at most.
const MOST: usize = 32;

/// What goes back goes in pieces of so many bytes at most: as the pace allows, and if there is too much, one at a time,
/// since whoever gives it back has the lock.
const PIECE: usize = 8 << 20;

/// Spans of pages; all zero bytes when there are none. The first `count` of them are kept. No two of these touch.
pub(super) struct Kept {
    spans: [Span; MOST],
    count: usize,
    bytes: usize,
}

/// Where pages begin, and their bytes.
type Span = (*mut u8, usize);

impl Kept {
    pub(super) const fn new() -> Self {
        Self { spans: [(null_mut(), 0); MOST], count: 0, bytes: 0 }
    }

    #[inline(always)]
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Those that are kept, by their numbers.
    fn spans(&self) -> impl Iterator<Item = (usize, Span)> + '_ {
        self.spans.iter().copied().take(self.count).enumerate()
    }

    /// How many bytes of what is kept are in memory.
    pub(super) fn resident_bytes(&self) -> usize {
        self.spans().map(|(_, (start, bytes))| mapping::resident_bytes(start, bytes)).sum()
    }

    /// Keeps a span. False if there is no room.
    pub(super) fn put(&mut self, start: *mut u8, bytes: usize) -> bool {
        let (mut first, mut end) = (start, start.wrapping_add(bytes));
        let touching = |kept: &Self, first: *mut u8, end: *mut u8| {
            kept.spans().find(|&(_, (other, had))| other == end || other.wrapping_add(had) == first)
        };
        while let Some((number, (other, had))) = touching(self, first, end) {
            (first, end) = if other == end { (first, end.wrapping_add(had)) } else { (other, end) };
            self.forget(number);
        }
        let Some(span) = self.spans.get_mut(self.count) else { return false };
        *span = (first, end.addr() - first.addr());
        self.count += 1;
        self.bytes += bytes;
        true
    }

    /// Whether a span has so many bytes.
    pub(super) fn has(&self, bytes: usize) -> bool {
        self.spans().any(|(_, span)| span.1 >= bytes)
    }

    /// So many bytes, from the smallest span that has them.
    pub(super) fn take(&mut self, bytes: usize) -> Option<NonNull<u8>> {
        let with_enough = self.spans().filter(|(_, span)| span.1 >= bytes);
        let (number, _) = with_enough.min_by_key(|(_, span)| span.1)?;
        self.cut(number, bytes)
    }

    /// The longest span of those that are shorter than so many bytes, made that long, which is by `most` bytes at most.
    /// It may move, with the pages that it has in memory; returns also how many bytes it had. What the system does not
    /// make longer stays as it is: it may be of two mappings.
    pub(super) fn take_longer(&mut self, bytes: usize, most: usize) -> Option<(NonNull<u8>, usize)> {
        let shorter = self.spans().filter(|(_, span)| span.1 < bytes);
        let (number, (start, had)) = shorter.max_by_key(|(_, span)| span.1)?;
        if bytes - had > most {
            return None;
        }
        self.cut(number, had);
        // SAFETY: it was a block's, and nobody uses it.
        let longer = unsafe { mapping::remap(start, had, bytes) };
        if longer.is_none() {
            self.put(start, had);
        }
        longer.map(|start| (start, had))
    }

    /// So many bytes that lie behind a block, if they are kept. Returns whether they were.
    pub(super) fn take_behind(&mut self, end: *mut u8, bytes: usize) -> bool {
        let behind = self.spans().find(|&(_, (start, had))| start == end && had >= bytes);
        behind.and_then(|(number, _)| self.cut(number, bytes)).is_some()
    }

    /// Takes the beginning of a span that is long enough.
    fn cut(&mut self, number: usize, bytes: usize) -> Option<NonNull<u8>> {
        let span = self.spans.get_mut(number)?;
        let (start, had) = *span;
        *span = (start.wrapping_add(bytes), had - bytes);
        self.bytes -= bytes;
        if had == bytes {
            self.forget(number);
        }
        NonNull::new(start)
    }

    /// Gives pages back, those at the highest addresses first, as long as that is allowed for so many bytes. What the
    /// system does not take stays. Returns how many bytes that were.
    pub(super) fn give_back(
        &mut self,
        stayed: &mut Stayed,
        mut is_allowed: impl FnMut(usize) -> bool,
    ) -> usize {
        let before = self.bytes;
        while let Some((number, (start, had))) = self.spans().max_by_key(|(_, span)| span.0.addr()) {
            let piece = had.min(PIECE);
            if !is_allowed(piece) {
                break;
            }
            self.bytes -= piece;
            let rest = had - piece;
            if let Some(span) = self.spans.get_mut(number) {
                span.1 = rest;
            }
            if rest == 0 {
                self.forget(number);
            }
            // SAFETY: it was a block's, and nobody uses it.
            unsafe { stayed.unmap_or_put(start.wrapping_add(rest), piece) };
        }
        before - self.bytes
    }

    /// Gives so many bytes back, or a piece if that is less: the smallest spans, which are of least use, and last a
    /// part of one. What the system does not take stays. Returns whether there were any.
    pub(super) fn give_back_smallest(&mut self, stayed: &mut Stayed, bytes: usize) -> bool {
        let before = self.bytes;
        let mut left = bytes.min(PIECE);
        while left > 0 {
            let smallest = self.spans().min_by_key(|(_, span)| span.1);
            let Some((number, (_, had))) = smallest else { break };
            let bytes = had.min(left);
            left -= bytes;
            if let Some(start) = self.cut(number, bytes) {
                // SAFETY: it was a block's, and nobody uses it.
                unsafe { stayed.unmap_or_put(start.as_ptr(), bytes) };
            }
        }
        self.bytes < before
    }

    /// Puts the last span in the place of another.
    fn forget(&mut self, number: usize) {
        self.count -= 1;
        if let Some(&last) = self.spans.get(self.count) {
            if let Some(span) = self.spans.get_mut(number) {
                *span = last;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::refusals;
    use core::ptr::without_provenance_mut;

    /// Spans that begin there and have so many bytes.
    fn kept(spans: &[(usize, usize)]) -> Kept {
        let mut kept = Kept::new();
        for &(start, bytes) in spans {
            assert!(kept.put(without_provenance_mut(start), bytes));
        }
        kept
    }

    fn taken(kept: &mut Kept, bytes: usize) -> Option<usize> {
        kept.take(bytes).map(|start| start.addr().get())
    }

    #[test]
    fn a_block_is_cut_from_the_smallest_span_that_has_it() {
        let mut kept = kept(&[(9000, 900), (1000, 1000), (5000, 1100)]);
        assert_eq!([990, 990, 990].map(|bytes| taken(&mut kept, bytes)), [Some(1000), Some(5000), None]);
        let mut rest: std::vec::Vec<_> = kept.spans().map(|(_, span)| (span.0.addr(), span.1)).collect();
        rest.sort_unstable();
        assert_eq!(rest, [(1990, 10), (5990, 110), (9000, 900)]);
        assert_eq!((taken(&mut kept, 110), kept.count, kept.bytes()), (Some(5990), 2, 910));
    }

    #[test]
    fn where_none_has_enough_the_longest_becomes_longer() {
        let mut kept = Kept::new();
        let page = mapping::page();
        for pages in [2, 3, 1] {
            let start = mapping::map((pages + 1) * page, page).unwrap().as_ptr();
            // SAFETY: it was just mapped. The last page of each keeps the others apart.
            unsafe { start.write_bytes(7, pages * page) };
            assert!(kept.put(start, pages * page));
        }
        assert_eq!(kept.take(4 * page), None);
        assert_eq!(kept.take_longer(4 * page, page - 1), None);
        if mapping::CAN_MOVE {
            let (start, had) = kept.take_longer(4 * page, page).unwrap();
            assert_eq!((had, kept.count, kept.bytes()), (3 * page, 2, 3 * page));
            // SAFETY: it has so many bytes.
            let bytes = unsafe { core::slice::from_raw_parts(start.as_ptr(), 4 * page) };
            assert!(bytes.iter().enumerate().all(|(at, &byte)| byte == if at < had { 7 } else { 0 }));
            // What the system does not make longer stays.
            refusals::refuse_next(1);
            assert_eq!(kept.take_longer(4 * page, page), None);
            assert_eq!((kept.count, kept.bytes()), (2, 3 * page));
        }
    }

    #[test]
    fn what_lies_side_by_side_is_one() {
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let mut kept = kept(&order.map(|number| (1000 + number * 100, 100)));
            assert_eq!((kept.count, taken(&mut kept, 300)), (1, Some(1000)), "{order:?}");
            assert_eq!((kept.count, kept.bytes()), (0, 0));
        }
    }

    #[test]
    fn a_block_grows_into_what_is_kept_behind_it() {
        let mut kept = kept(&[(1000, 100), (2000, 300)]);
        let end = without_provenance_mut(2000);
        assert!(!kept.take_behind(end, 301) && kept.take_behind(end, 200) && !kept.take_behind(end, 50));
        assert!(kept.take_behind(without_provenance_mut(2200), 100));
        assert_eq!((kept.count, kept.bytes()), (1, 100));
    }

    #[test]
    fn so_many_are_kept_and_no_more_but_for_what_lies_beside_one() {
        let mut kept = Kept::new();
        let mut put = |number: usize| kept.put(without_provenance_mut(number * 100), 100);
        assert!((0..MOST).all(|number| put(2 * number + 2)) && !put(2 * MOST + 2));
        assert!(put(3) && put(2 * MOST + 2));
        assert_eq!((kept.count, kept.bytes()), (MOST, (MOST + 2) * 100));
    }

    #[test]
    fn the_smallest_spans_go_if_there_is_too_much() {
        let (mut kept, mut stayed) = (Kept::new(), Stayed::new());
        let page = mapping::page();
        let whole = mapping::map(10 * page, page).unwrap().as_ptr();
        // SAFETY: what was mapped is this test's, and two pages stay.
        unsafe {
            for (from, pages) in [(0, 4), (5, 1), (7, 3)] {
                assert!(kept.put(whole.add(from * page), pages * page));
            }
            kept.give_back_smallest(&mut stayed, 3 * page);
            assert_eq!((kept.count, kept.bytes()), (2, 5 * page));
            assert_eq!(taken(&mut kept, 4 * page), Some(whole.addr()));
            kept.give_back_smallest(&mut stayed, usize::MAX);
            for number in [0, 1, 2, 3, 4, 6] {
                mapping::unmap(whole.add(number * page), page);
            }
        }
        assert_eq!((kept.count, kept.bytes(), stayed.bytes()), (0, 0, 0));
    }

    #[test]
    fn what_has_the_highest_address_goes_first_piece_by_piece() {
        let (mut kept, mut stayed) = (Kept::new(), Stayed::new());
        let page = mapping::page();
        let [low, high] = [page, 2 * PIECE + page];
        let whole = mapping::map(high + 2 * page, page).unwrap().as_ptr();
        // SAFETY: what was mapped is this test's: a page, one that stays, and all others.
        unsafe {
            assert!(kept.put(whole, low) && kept.put(whole.add(2 * page), high));
            let mut allowed = [true, true, false].into_iter();
            assert_eq!(kept.give_back(&mut stayed, |_| allowed.next().unwrap()), 2 * PIECE);
            assert_eq!((kept.count, kept.bytes(), taken(&mut kept, 2 * page)), (2, 2 * page, None));
            assert_eq!(kept.give_back(&mut stayed, |bytes| bytes == page), 2 * page);
            mapping::unmap(whole.add(page), page);
        }
        assert_eq!((kept.count, kept.bytes(), stayed.bytes()), (0, 0, 0));
    }
}
