//! What can be wrong with a pointer that comes back, each as one exact sentence, and what happens then.
//!
//! A misuse that is seen is never repaired and never ignored. [`raise`] tells the user's hook, writes the
//! sentence to stderr without allocating and, with `RUST_BACKTRACE=1`, the call stack (feature `std`), and aborts.
//! Without `std` it panics inside a function that no panic can leave, because unwinding out of a `GlobalAlloc` is
//! undefined behaviour.

#[cfg(feature = "std")]
use crate::call_stack;
use crate::hook::Hook;
use crate::text::{Sink, display, fill};
use core::fmt;

/// What the caller wanted to do with the pointer.
///
/// ```
/// use core::alloc::Layout;
/// use mem_alloc_rust::{Action, Fault, Heap};
///
/// let (mut heap, mut elsewhere) = (Heap::new(), 0u8);
/// // SAFETY: a heap without a region has no blocks: it touches nothing, and tells what is wrong.
/// let resized = unsafe { heap.realloc(&mut elsewhere, Layout::new::<u8>(), 2) };
/// assert!(matches!(resized, Err(Fault::OutsideArena { action: Action::Realloc, .. })));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// Give the block back.
    Free,
    /// Change the block's size.
    Realloc,
    /// Ask for the block's usable size.
    UsableSize,
}

/// A misuse of the allocator, found while a pointer was given back or resized, or its block's usable size asked for.
///
/// Its [`Display`](fmt::Display) is one sentence that names the address.
///
/// ```
/// use core::alloc::Layout;
/// use mem_alloc_rust::{Fault, Heap};
///
/// let mut arena = [0u64; 512];
/// let mut heap = Heap::new();
/// // SAFETY: only the heap uses the arena, which is all zero. Giving the block back twice is what shall be found.
/// let fault = unsafe {
///     heap.init(arena.as_mut_ptr().cast(), size_of_val(&arena), true).unwrap();
///     let block = heap.alloc(Layout::new::<[u8; 100]>()).unwrap().as_ptr();
///     heap.dealloc(block).unwrap();
///     heap.dealloc(block).unwrap_err()
/// };
/// assert!(matches!(fault, Fault::AlreadyFree { bytes: 100, .. }));
/// let Fault::AlreadyFree { address, .. } = fault else { unreachable!() };
/// assert_eq!(fault.to_string(), format!("double free: {address:#x} (100 bytes) was already free"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The block is free already: a double free, or a `realloc` after a free.
    #[non_exhaustive]
    AlreadyFree {
        /// What the caller wanted to do.
        action: Action,
        /// The pointer.
        address: usize,
        /// The bytes that the caller says the block has or, without a layout, the bytes of its payload.
        bytes: usize,
    },
    /// The pointer does not point into the arena.
    #[non_exhaustive]
    OutsideArena {
        /// What the caller wanted to do.
        action: Action,
        /// The pointer.
        address: usize,
        /// The arena's first byte.
        start: usize,
        /// The first byte behind the arena.
        end: usize,
    },
    /// The pointer is not a multiple of 8, as the address of every block is.
    #[non_exhaustive]
    Misaligned {
        /// What the caller wanted to do.
        action: Action,
        /// The pointer.
        address: usize,
    },
    /// The pointer points into the part of the arena that was never used.
    #[non_exhaustive]
    NeverAllocated {
        /// What the caller wanted to do.
        action: Action,
        /// The pointer.
        address: usize,
    },
    /// A block starts there, and what lies in front of it, or behind it, is no header any more: something was written
    /// over it.
    #[non_exhaustive]
    Overwritten {
        /// What the caller wanted to do.
        action: Action,
        /// The pointer.
        address: usize,
        /// The block that ends there, if that is in use: a write past its end is the likely cause. Its address, and
        /// the bytes of its payload.
        left: Option<(usize, usize)>,
        /// Whether it may as well be the header behind the block, by a write past its own end.
        or_behind: bool,
    },
    /// The pointer leads into the middle of a block, or to one whose size was overwritten with something that
    /// its neighbours deny.
    #[non_exhaustive]
    NotABlock {
        /// What the caller wanted to do.
        action: Action,
        /// The pointer.
        address: usize,
        /// Whether it may be one of a block that was freed, whose memory has become part of another block. What would
        /// tell is overwritten then, or may be the other block's contents.
        may_have_been_freed: bool,
    },
    /// The allocator was called by a thread that is inside of it already: by a signal handler that
    /// interrupted it. Waiting for the lock would be waiting forever.
    Reentry,
}

impl Fault {
    /// The same fault with the size that the caller's layout names, which is more to the point than the
    /// block's.
    pub(crate) fn with_requested_bytes(self, requested: usize) -> Self {
        match self {
            Self::AlreadyFree { action, address, .. } => {
                Self::AlreadyFree { action, address, bytes: requested }
            }
            other => other,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        display(f, |out| self.write_to(out))
    }
}

impl Fault {
    /// Writes the sentence.
    fn write_to(&self, out: &mut Sink<'_>) {
        let mut write = |template, values: &[usize]| fill(out, template, values);
        let (action, address, what) = match *self {
            Self::AlreadyFree { action, address, bytes } => {
                let what = match action {
                    Action::Free => "double free",
                    Action::Realloc => "realloc after free",
                    Action::UsableSize => "usable_size after free",
                };
                write(what, &[]);
                return write(": ? (^ bytes) was already free", &[address, bytes]);
            }
            Self::Reentry => {
                return write(
                    "re-entry: a thread that is inside the allocator called it again, as a signal handler may have done",
                    &[],
                );
            }
            Self::OutsideArena { action, address, .. } => (action, address, "outside the arena"),
            Self::Misaligned { action, address } => {
                (action, address, "not a multiple of 8, as every block is")
            }
            Self::NeverAllocated { action, address } => {
                (action, address, "in memory that was never allocated")
            }
            Self::NotABlock { action, address, .. } => (action, address, "not the start of a live block"),
            Self::Overwritten { action, address, .. } => {
                (action, address, "a block whose header was overwritten")
            }
        };
        let action = match action {
            Action::Free => "invalid free: ? is ",
            Action::Realloc => "invalid realloc: ? is ",
            Action::UsableSize => "invalid usable_size: ? is ",
        };
        write(action, &[address]);
        write(what, &[]);
        match *self {
            Self::OutsideArena { start, end, .. } => write(" ?..?", &[start, end]),
            Self::Overwritten { left, or_behind, .. } if or_behind || left.is_some() => {
                let template = match (or_behind, left) {
                    (false, _) => ", perhaps by a write past the end of ? (^ bytes)",
                    (true, None) => ", or the one behind it, perhaps by a write past its end",
                    (true, Some(_)) => {
                        ", or the one behind it, perhaps by a write past its end or the end of ? (^ bytes)"
                    }
                };
                let (left, bytes) = left.unwrap_or_default();
                write(template, &[left, bytes]);
            }
            Self::NotABlock { may_have_been_freed: true, .. } => write(", or not any more", &[]),
            _ => {}
        }
    }
}

impl core::error::Error for Fault {}

static HOOK: Hook<Fault> = Hook::new();

/// Sets a function that is told of a fault before the program ends.
///
/// A `no_std` program uses it to write the sentence to its own console and to stop the machine its own way.
/// The hook may diverge. If it returns, the program ends as it would have without a hook: with `std` by the
/// sentence on stderr, with `RUST_BACKTRACE=1` the call stack, and an abort, without by a panic that cannot unwind.
/// The hook runs outside the allocator's lock, but for [`Fault::Reentry`]; it should not allocate, because the
/// program's memory can no longer be trusted. With `std` it is told of the first fault of each thread only: not of
/// those that it makes itself.
///
/// ```
/// use mem_alloc_rust::{Fault, create_allocator, set_fault_hook};
///
/// fn stop(fault: &Fault) {
///     assert!(matches!(fault, Fault::OutsideArena { .. }));
///     println!("stopped by the program itself: {fault}");
///     std::process::exit(0);
/// }
///
/// set_fault_hook(stop);
/// let (mut allocator, mut elsewhere) = (create_allocator(), 0u8);
/// // SAFETY: the pointer is of no block, which is a misuse that is certain to be found: `dealloc` does not return.
/// unsafe {
///     allocator.init();
///     allocator.dealloc(&mut elsewhere);
/// }
/// unreachable!("without the hook, the program would have been aborted");
/// ```
pub fn set_fault_hook(hook: fn(&Fault)) {
    HOOK.set(hook);
}

/// Ends the program over a fault. Never unwinds: a panic, the hook's included, stops at this function.
#[cold]
#[inline(never)]
#[allow(improper_ctypes_definitions, reason = "extern \"C\" only for its rule that no panic leaves it")]
pub(crate) extern "C" fn raise(fault: Fault) -> ! {
    if let Some(hook) = HOOK.get().filter(|_| !is_repeated(&fault)) {
        hook(&fault);
    }
    #[cfg(feature = "std")]
    {
        crate::stderr::write_line_with(|out| fault.write_to(out));
        // Where this thread is inside the allocator, it cannot take a call stack, which allocates.
        if fault != Fault::Reentry {
            call_stack::write_if_wanted();
        }
        std::process::abort()
    }
    #[cfg(not(feature = "std"))]
    panic!("{fault}")
}

/// Whether the calling thread had a fault before: a hook that makes a mistake itself, as one that allocates where its
/// thread is inside the allocator does, would come back here without end.
#[cfg(feature = "std")]
fn is_repeated(_: &Fault) -> bool {
    std::thread_local! {
        static IS_AT_FAULT: core::cell::Cell<bool> = const { core::cell::Cell::new(false) };
    }
    IS_AT_FAULT.replace(true)
}

/// The same where there are no threads that could be told apart, whose hooks may diverge: as far as it is about being
/// inside the allocator.
#[cfg(not(feature = "std"))]
fn is_repeated(fault: &Fault) -> bool {
    use core::sync::atomic::{AtomicBool, Ordering};

    static IS_REENTERED: AtomicBool = AtomicBool::new(false);
    let is_repeated = *fault == Fault::Reentry && IS_REENTERED.load(Ordering::Relaxed);
    if *fault == Fault::Reentry {
        IS_REENTERED.store(true, Ordering::Relaxed);
    }
    is_repeated
}

/// Ends the program with one sentence on stderr.
#[cfg(feature = "std")]
#[inline(always)]
pub(crate) fn abort_with(write_sentence: impl FnOnce(&mut Sink<'_>)) -> ! {
    crate::stderr::write_line_with(write_sentence);
    std::process::abort()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn each_fault_is_one_exact_sentence() {
        let address = 0x7f00;
        let sentences = [
            (
                Fault::AlreadyFree { action: Action::Free, address, bytes: 48 },
                "double free: 0x7f00 (48 bytes) was already free",
            ),
            (
                Fault::AlreadyFree { action: Action::Realloc, address, bytes: 48 },
                "realloc after free: 0x7f00 (48 bytes) was already free",
            ),
            (
                Fault::AlreadyFree { action: Action::UsableSize, address, bytes: 48 },
                "usable_size after free: 0x7f00 (48 bytes) was already free",
            ),
            (
                Fault::NotABlock { action: Action::UsableSize, address, may_have_been_freed: false },
                "invalid usable_size: 0x7f00 is not the start of a live block",
            ),
            (
                Fault::OutsideArena { action: Action::Free, address, start: 0x1000, end: 0x2000 },
                "invalid free: 0x7f00 is outside the arena 0x1000..0x2000",
            ),
            (
                Fault::Misaligned { action: Action::Realloc, address: 0x7f01 },
                "invalid realloc: 0x7f01 is not a multiple of 8, as every block is",
            ),
            (
                Fault::NeverAllocated { action: Action::Free, address },
                "invalid free: 0x7f00 is in memory that was never allocated",
            ),
            (
                Fault::NotABlock { action: Action::Free, address, may_have_been_freed: true },
                "invalid free: 0x7f00 is not the start of a live block, or not any more",
            ),
            (
                Fault::Overwritten { action: Action::Free, address, left: None, or_behind: false },
                "invalid free: 0x7f00 is a block whose header was overwritten",
            ),
            (
                Fault::Overwritten {
                    action: Action::Free,
                    address,
                    left: Some((0x7e00, 100)),
                    or_behind: false,
                },
                "invalid free: 0x7f00 is a block whose header was overwritten, perhaps by a write past the end of \
                 0x7e00 (100 bytes)",
            ),
            (
                Fault::Overwritten { action: Action::Free, address, left: None, or_behind: true },
                "invalid free: 0x7f00 is a block whose header was overwritten, or the one behind it, perhaps by a \
                 write past its end",
            ),
            (
                Fault::Overwritten {
                    action: Action::Realloc,
                    address,
                    left: Some((0x7e00, 100)),
                    or_behind: true,
                },
                "invalid realloc: 0x7f00 is a block whose header was overwritten, or the one behind it, perhaps by a \
                 write past its end or the end of 0x7e00 (100 bytes)",
            ),
            (
                Fault::Reentry,
                "re-entry: a thread that is inside the allocator called it again, as a signal handler may have done",
            ),
        ];
        for (fault, sentence) in sentences {
            assert_eq!(fault.to_string(), sentence);
        }
    }
}
