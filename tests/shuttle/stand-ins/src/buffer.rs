//! Stores that nobody else sees yet: at most one of each thread.

use crate::execution::{self, Stores};
use shuttle::rand::{RngCore, thread_rng};

/// A value on its way to an atomic, and what makes it arrive.
#[derive(Clone, Copy)]
pub(crate) struct Buffered {
    thread: usize,
    address: usize,
    value: u64,
    arrive: unsafe fn(usize, u64),
}

impl Buffered {
    fn arrive(self) {
        // SAFETY: whoever stored it gave the address of an atomic that `arrive` is for. It is in a static.
        unsafe { (self.arrive)(self.address, self.value) }
    }
}

/// Stores a value in an atomic, if need be later.
///
/// # Safety
///
/// - `arrive` may be called with that address and value as long as the execution lasts.
pub(crate) unsafe fn store(address: usize, value: u64, arrive: unsafe fn(usize, u64)) {
    let thread = execution::this_thread();
    flush(thread);
    let buffered = Buffered { thread, address, value, arrive };
    if execution::with(|execution| execution.stores) == Stores::Late {
        execution::with(|execution| execution.buffered.push(buffered));
    } else {
        buffered.arrive();
    }
}

/// What this thread has stored at an address, if that has not arrived yet.
pub(crate) fn own(address: usize) -> Option<u64> {
    execution::with(|execution| {
        if execution.buffered.is_empty() {
            return None;
        }
        let thread = execution::this_thread();
        let is_own = |store: &&Buffered| (store.thread, store.address) == (thread, address);
        execution.buffered.iter().find(is_own).map(|store| store.value)
    })
}

/// What that thread has stored arrives.
pub(crate) fn flush(thread: usize) {
    arrive_if(|store| store.thread == thread);
}

/// What this thread has stored arrives.
pub(crate) fn flush_own() {
    flush(execution::this_thread());
}

/// What all threads have stored arrives.
pub(crate) fn flush_all() {
    arrive_if(|_| true);
}

/// Any of what was stored may arrive now.
pub(crate) fn come_by_chance() {
    if execution::with(|execution| execution.buffered.is_empty()) {
        return;
    }
    // One in sixteen, so that some stores are late for many steps of others.
    let mut chances = thread_rng().next_u64();
    arrive_if(|_| {
        chances >>= 4;
        chances & 15 == 0
    });
}

fn arrive_if(mut arrives: impl FnMut(&Buffered) -> bool) {
    execution::with(|execution| {
        execution.buffered.retain(|store| {
            let arrives = arrives(store);
            if arrives {
                store.arrive();
            }
            !arrives
        });
    });
}
