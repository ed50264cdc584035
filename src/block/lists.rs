//! Lists of free blocks: putting one in, taking one out, and turning a list.
//!
//! `next` of the last block is [`Index::NONE`], `prev` of the first one is the last one, so that both ends are
//! at hand wherever the first one is known.

use super::Arena;
use crate::size::Index;

impl Arena {
    /// Puts a free block in front of a list, whose first one is `first`, or that is empty.
    ///
    /// # Safety
    ///
    /// - `index` is a free block on no list, and `first` is the first one of a list, or [`Index::NONE`].
    #[inline(always)]
    pub(crate) unsafe fn link_first(self, first: Index, index: Index) {
        // SAFETY: the links of free blocks are the heap's own (contract).
        unsafe {
            self.set_next(index, first);
            if first.is_none() {
                self.set_prev(index, index);
            } else {
                self.set_prev(index, self.links(first).1);
                self.set_prev(first, index);
            }
        }
    }

    /// Puts a free block on a list, behind its first one.
    ///
    /// # Safety
    ///
    /// - `index` is a free block on no list, and `first` is the first one of a list.
    #[inline(always)]
    pub(crate) unsafe fn link_second(self, first: Index, index: Index) {
        // SAFETY: the links of free blocks are the heap's own (contract).
        unsafe {
            let second = self.next(first);
            self.set_next(index, second);
            self.set_prev(index, first);
            self.set_next(first, index);
            self.set_prev(if second.is_none() { first } else { second }, index);
        }
    }

    /// Takes a free block off the list whose first one is `first`. Returns which one is the first now.
    ///
    /// # Safety
    ///
    /// - `index` is a free block on that list.
    #[inline(always)]
    pub(crate) unsafe fn unlink(self, first: Index, index: Index) -> Index {
        // SAFETY: a listed block's links lead to blocks of the same list, or nowhere (contract).
        unsafe {
            let (next, prev) = self.links(index);
            if index == first {
                if !next.is_none() {
                    self.set_prev(next, prev);
                }
                return next;
            }
            self.set_next(prev, next);
            self.set_prev(if next.is_none() { first } else { next }, prev);
            first
        }
    }

    /// Makes another block the first one of the list whose first one is `first`: what was in front of it is
    /// behind the last one then, in the same order.
    ///
    /// # Safety
    ///
    /// - `index` is a free block on that list, and not `first`.
    pub(crate) unsafe fn rotate(self, first: Index, index: Index) {
        // SAFETY: a listed block's links lead to blocks of the same list, or nowhere (contract).
        unsafe {
            let last = self.links(first).1;
            let new_last = self.links(index).1;
            self.set_next(last, first);
            self.set_next(new_last, Index::NONE);
        }
    }

    /// Whether a free block is the first one of its list.
    ///
    /// # Safety
    ///
    /// - `index` is a free block on a list.
    #[inline(always)]
    pub(crate) unsafe fn is_first(self, index: Index) -> bool {
        // SAFETY: a listed block's links lead to blocks of the same list (contract).
        unsafe { self.next(self.links(index).1) != index }
    }
}
