//! Sleeping on a word, and waking who does.

use crate::atomic::{AtomicU32, Ordering};
use crate::{Stores, buffer, execution, point};

/// Sleeps until somebody is woken, unless the word is another one than expected. Where stores come [late](Stores::Late),
/// it may end by itself; otherwise nobody but a waker ends it, and if there is none, the execution is stuck, which is
/// found.
pub fn wait<T>(word: &AtomicU32, expected: u32, _: &'static T) {
    buffer::flush_own();
    // To look and to lie down is one step, as it is the kernel's.
    if word.load(Ordering::SeqCst) != expected {
        return;
    }
    let (address, me) = (std::ptr::from_ref(word).addr(), shuttle::thread::current());
    let is_me =
        |sleeper: &(usize, shuttle::thread::Thread)| (sleeper.0, sleeper.1.id()) == (address, me.id());
    execution::with(|execution| execution.sleepers.push((address, me.clone())));
    let is_asleep = || execution::with(|execution| execution.sleepers.iter().any(is_me));
    if execution::with(|execution| execution.stores) == Stores::Late {
        shuttle::thread::yield_now();
        execution::with(|execution| execution.sleepers.retain(|sleeper| !is_me(sleeper)));
        return;
    }
    while is_asleep() {
        shuttle::thread::park();
    }
}

/// Wakes the first one that sleeps on the word. Returns how many were woken.
pub fn wake_one(word: &AtomicU32) -> usize {
    point();
    buffer::flush_own();
    let address = std::ptr::from_ref(word).addr();
    let first = execution::with(|execution| {
        let first = execution.sleepers.iter().position(|sleeper| sleeper.0 == address)?;
        Some(execution.sleepers.remove(first).1)
    });
    first.map_or(0, |sleeper| {
        sleeper.unpark();
        1
    })
}
