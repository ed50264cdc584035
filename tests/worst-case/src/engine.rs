//! The allocator's calls, as functions with one address each, and the ways to count one.

use crate::count::{Arguments, Count, rewrite, step};
use anyhow::{Context, Result};
use mem_alloc_rust::{Locked, Region};
use std::alloc::{GlobalAlloc, Layout};

/// Defines a function that is called for nothing but its instructions.
macro_rules! counted {
    ($(#[$doc:meta])* $name:ident($allocator:ident, $($argument:ident: $type:ty),*) -> $result:ty, $call:expr) => {
        $(#[$doc])*
        ///
        /// # Safety
        ///
        /// - As for the function of [`GlobalAlloc`] that it calls; size and alignment make a
        ///   layout.
        #[unsafe(no_mangle)]
        #[inline(never)]
        unsafe extern "C" fn $name($allocator: &Locked<Region>, $($argument: $type),*) -> $result {
            // SAFETY: the caller's contract.
            unsafe { $call }
        }
    };
}

counted! {
    /// An allocation.
    worst_case_alloc(allocator, size: usize, align: usize) -> *mut u8,
    allocator.alloc(Layout::from_size_align_unchecked(size, align))
}

counted! {
    /// An allocation of zeroes.
    worst_case_alloc_zeroed(allocator, size: usize, align: usize) -> *mut u8,
    allocator.alloc_zeroed(Layout::from_size_align_unchecked(size, align))
}

counted! {
    /// A release.
    worst_case_dealloc(allocator, block: *mut u8, size: usize, align: usize) -> (),
    allocator.dealloc(block, Layout::from_size_align_unchecked(size, align))
}

counted! {
    /// A change of size.
    worst_case_realloc(allocator, block: *mut u8, size: usize, align: usize, new_size: usize) -> *mut u8,
    allocator.realloc(block, Layout::from_size_align_unchecked(size, align), new_size)
}

/// Does something while the process has a thread more than this one, so that the allocator's lock takes its
/// atomic instructions, and counts are the same whatever other threads begin and end.
pub fn beside_another_thread<T>(work: impl FnOnce() -> T) -> T {
    std::thread::scope(|scope| {
        let (end, ended) = std::sync::mpsc::channel::<()>();
        // It waits until the other end of the channel is gone.
        scope.spawn(move || ended.recv());
        let result = work();
        drop(end);
        result
    })
}

/// How calls are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// By a copy of the code that counts.
    Rewritten,
    /// By the trap flag.
    Stepped,
    /// Not at all: somebody outside counts.
    Uncounted,
}

/// An allocator over a region, whose calls are counted.
pub struct Engine<'a> {
    allocator: &'a Locked<Region>,
    way: Way,
}

impl<'a> Engine<'a> {
    /// Counts the calls of an allocator that way.
    #[must_use]
    pub fn new(allocator: &'a Locked<Region>, way: Way) -> Self {
        Self { allocator, way }
    }

    /// # Safety
    ///
    /// - The function is one of those above, and may be called with the arguments.
    unsafe fn call(&self, function: usize, arguments: Arguments) -> Result<(usize, Count)> {
        // SAFETY: the caller's contract; nothing in the allocator unwinds.
        unsafe {
            match self.way {
                Way::Rewritten => rewrite::count(function, arguments),
                Way::Stepped => step::count(function, arguments),
                Way::Uncounted => {
                    type Function = extern "C" fn(usize, usize, usize, usize, usize) -> usize;
                    let function: Function = std::mem::transmute(function);
                    let [first, second, third, fourth, fifth] = arguments;
                    Ok((function(first, second, third, fourth, fifth), Count::default()))
                }
            }
        }
        .context("cannot count a call")
    }

    /// Bytes of the largest free block.
    #[must_use]
    pub fn largest_free(&self) -> usize {
        self.allocator.stats().largest_free_bytes
    }

    fn address(&self) -> usize {
        std::ptr::from_ref(self.allocator).addr()
    }

    /// Allocates a block; null if that is refused.
    ///
    /// # Errors
    ///
    /// If the call cannot be counted.
    pub fn alloc(&self, layout: Layout, zeroed: bool) -> Result<(*mut u8, Count)> {
        let function: unsafe extern "C" fn(&Locked<Region>, usize, usize) -> *mut u8 =
            if zeroed { worst_case_alloc_zeroed } else { worst_case_alloc };
        let arguments = [self.address(), layout.size(), layout.align(), 0, 0];
        // SAFETY: these are a layout's size and alignment; the engine gives even one of no bytes a
        // block.
        let (block, count) = unsafe { self.call(function as usize, arguments)? };
        Ok((std::ptr::with_exposed_provenance_mut(block), count))
    }

    /// Gives a block back.
    ///
    /// # Errors
    ///
    /// If the call cannot be counted.
    ///
    /// # Safety
    ///
    /// - As for [`GlobalAlloc::dealloc`].
    pub unsafe fn dealloc(&self, block: *mut u8, layout: Layout) -> Result<Count> {
        let function: unsafe extern "C" fn(&Locked<Region>, *mut u8, usize, usize) = worst_case_dealloc;
        let arguments = [self.address(), block.expose_provenance(), layout.size(), layout.align(), 0];
        // SAFETY: the caller's contract.
        Ok(unsafe { self.call(function as usize, arguments)?.1 })
    }

    /// Changes a block's size; null if that is refused.
    ///
    /// # Errors
    ///
    /// If the call cannot be counted.
    ///
    /// # Safety
    ///
    /// - As for [`GlobalAlloc::realloc`].
    pub unsafe fn realloc(
        &self,
        block: *mut u8,
        layout: Layout,
        new_size: usize,
    ) -> Result<(*mut u8, Count)> {
        let function: unsafe extern "C" fn(&Locked<Region>, *mut u8, usize, usize, usize) -> *mut u8 =
            worst_case_realloc;
        let arguments = [self.address(), block.expose_provenance(), layout.size(), layout.align(), new_size];
        // SAFETY: the caller's contract.
        let (block, count) = unsafe { self.call(function as usize, arguments)? };
        Ok((std::ptr::with_exposed_provenance_mut(block), count))
    }
}
