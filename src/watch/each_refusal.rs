//! One run for each request that may be refused.

use super::policy::Policy;
use super::probe;
use super::refusing::refuse_on_this_thread;

/// Runs something again and again, and refuses the first request that it makes on this thread, then the second, and so
/// on, until a run comes through without one refused. Returns how many runs had one: so many places there are at which
/// memory can run out.
///
/// What runs has to do the same each time, and to go on after a refusal: it returns the error of a `try_reserve`, or
/// does something else instead. Whether it did right is for it to assert; a [`LeakCheck`](super::LeakCheck) inside
/// tells whether it cleaned up. If it panics, a line on stderr says which request was refused. (Without `std` it does
/// not. What cannot fail, such as `Box::new`, ends the program.)
///
/// ```
/// use mem_alloc_rust::watch::{Counted, LeakCheck, Refusing, for_each_refusal};
/// use std::alloc::System;
/// use std::collections::TryReserveError;
///
/// #[global_allocator]
/// static A: Counted<Refusing<System>> = Counted::new(Refusing::new(System));
///
/// /// Copies lines without ever ending the program.
/// fn copied(lines: &[&str]) -> Result<Vec<String>, TryReserveError> {
///     let mut copies = Vec::new();
///     copies.try_reserve(lines.len())?;
///     for line in lines {
///         let mut copy = String::new();
///         copy.try_reserve(line.len())?;
///         copy.push_str(line);
///         copies.push(copy);
///     }
///     Ok(copies)
/// }
///
/// fn main() {
///     let refusals = for_each_refusal(|| {
///         let check = LeakCheck::new();
///         drop(copied(&["one", "two", "three"]));
///         check.assert_none();
///     });
///     assert_eq!(refusals, 4);
/// }
/// ```
///
/// # Panics
///
/// If the program's allocations do not come to a [`Refusing`](super::Refusing): nothing would be refused.
#[track_caller]
pub fn for_each_refusal(mut run: impl FnMut()) -> usize {
    let guard = refuse_on_this_thread(Policy::nth(1));
    let is_refused = probe::allocate();
    drop(guard);
    assert!(
        is_refused,
        "`for_each_refusal` needs the program's allocations to come to a `mem_alloc_rust::watch::Refusing`: its \
         `#[global_allocator]` has to be one, or to have one inside"
    );
    let mut runs = 0;
    loop {
        #[cfg(feature = "std")]
        let _told = ToldIfPanicking(runs + 1);
        let guard = refuse_on_this_thread(Policy::nth(runs + 1));
        run();
        if guard.refused() == 0 {
            return runs;
        }
        runs += 1;
    }
}

/// Tells which request was refused, if the run panics.
#[cfg(feature = "std")]
struct ToldIfPanicking(usize);

#[cfg(feature = "std")]
impl Drop for ToldIfPanicking {
    fn drop(&mut self) {
        if std::thread::panicking() {
            crate::stderr::write_formatted(&format_args!(
                "mem_alloc_rust: that was with request {} of the run refused",
                self.0
            ));
        }
    }
}
