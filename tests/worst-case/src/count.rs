//! Counting the instructions of one call, in this process.
//!
//! Two counters that know nothing of each other:
//!
//! - [`rewrite`] copies the allocator's machine code and puts into each basic block of the copy the
//!   addition of that block's number of instructions. The copy is not much slower than
//!   the original, so that *every* call of a sequence is counted, millions of them in a second.
//! - [`step`] sets the processor's trap flag and counts one signal per instruction of the original.
//!   It is slow (1 to 15 µs an instruction) and simple: it is there to check the other one.
//!
//! Both leave out what happens inside of `memcpy`, `memmove` and `memset`, and both count an
//! instruction with a `rep` prefix once. The call of such a function counts.

pub mod rewrite;
pub mod step;

use std::ops::AddAssign;

/// What one call came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Instructions from the entry function's first one to its return, copying and clearing aside.
    pub instructions: u64,
    /// Calls of functions outside of this program that do something else than copy or clear: their
    /// instructions are not in the count, so there should be none.
    pub foreign_calls: u64,
}

impl AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.instructions += other.instructions;
        self.foreign_calls += other.foreign_calls;
    }
}

/// The C library's functions that copy and clear: their addresses as calls of them reach them.
pub(crate) fn copying_functions() -> [u64; 3] {
    [c"memcpy", c"memmove", c"memset"].map(|name| {
        // SAFETY: the name ends with a zero. (For a function with several versions, one for each
        // kind of processor, the answer is the one that was chosen for this one.)
        unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) }.addr() as u64
    })
}

/// The arguments of a counted function, which is one of `extern "C"`.
pub type Arguments = [usize; 5];
