//! A list of runs, through their headers.

use super::Run;
use crate::block::Arena;
use crate::size::Index;

/// A list of runs, by its first one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RunList(Index);

impl RunList {
    /// No runs; all zero bytes.
    pub(crate) const EMPTY: Self = Self(Index::NONE);

    #[inline(always)]
    pub(crate) const fn is_empty(self) -> bool {
        self.0.is_none()
    }

    /// The first run, or [`Index::NONE`].
    #[inline(always)]
    pub(crate) const fn first(self) -> Index {
        self.0
    }

    /// Puts a run on the list, behind the first one.
    ///
    /// The first one stays the first until it is full. If what has room again came first, each release would
    /// bring one that the next allocation makes full again, which no processor foresees.
    ///
    /// # Safety
    ///
    /// - It is a run in the arena, and on no list; those listed are runs, and the caller's to touch.
    #[inline(always)]
    pub(crate) unsafe fn push_behind_first(&mut self, arena: Arena, run: Run) {
        let index = run.index(arena);
        // SAFETY: all of them are runs (contract).
        unsafe {
            run.set_prev(self.0);
            if self.0.is_none() {
                run.set_next(Index::NONE);
                self.0 = index;
                return;
            }
            let first = Run::at(arena, self.0);
            let (second, _) = first.links();
            first.set_next(index);
            run.set_next(second);
            if !second.is_none() {
                Run::at(arena, second).set_prev(index);
            }
        }
    }

    /// Takes a run off the list.
    ///
    /// # Safety
    ///
    /// - It is on the list; those listed are the caller's to touch.
    #[inline(always)]
    pub(crate) unsafe fn remove(&mut self, arena: Arena, run: Run) {
        // SAFETY: a listed run's links lead to runs, or nowhere (contract).
        unsafe {
            let (next, prev) = run.links();
            if !next.is_none() {
                Run::at(arena, next).set_prev(prev);
            }
            if prev.is_none() {
                self.0 = next;
            } else {
                Run::at(arena, prev).set_next(next);
            }
        }
    }

    /// Takes the first run off the list.
    ///
    /// # Safety
    ///
    /// - Those listed are the caller's to touch.
    #[inline(always)]
    pub(crate) unsafe fn pop(&mut self, arena: Arena) -> Option<Run> {
        if self.0.is_none() {
            return None;
        }
        let run = Run::at(arena, self.0);
        // SAFETY: it is the first one, and listed.
        unsafe {
            let (next, _) = run.links();
            if !next.is_none() {
                Run::at(arena, next).set_prev(Index::NONE);
            }
            self.0 = next;
        }
        Some(run)
    }

    /// All runs of the list.
    ///
    /// # Safety
    ///
    /// - Those listed are the caller's to touch, and stay listed as long as the iterator is used.
    #[cfg(all(feature = "std", unix))]
    pub(crate) unsafe fn iter(self, arena: Arena) -> impl Iterator<Item = Run> {
        let at = move |index: Index| (!index.is_none()).then(|| Run::at(arena, index));
        // SAFETY: a listed run's links lead to runs, or nowhere (contract).
        core::iter::successors(at(self.0), move |run| at(unsafe { run.links() }.0))
    }
}
