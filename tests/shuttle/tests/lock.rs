//! The lock alone: threads that exclude each other, and wait.

use mem_alloc_rust::SpinThenSleep;
use mem_alloc_rust::lock_api::RawMutex;
use mem_alloc_rust_stand_ins::explore::{Exploration, Fresh};
use mem_alloc_rust_stand_ins::{Exclusive, Stores, thread};

/// A lock, and what is behind it.
struct Shared {
    lock: SpinThenSleep,
    turns: Exclusive<u32>,
}

// SAFETY: the number is touched by whoever has the lock, which is what is tested.
unsafe impl Sync for Shared {}

impl Shared {
    const fn new() -> Self {
        Self { lock: SpinThenSleep::INIT, turns: Exclusive::new(0) }
    }

    fn take_turn(&self) {
        self.lock.lock();
        // SAFETY: this thread has the lock.
        unsafe {
            self.turns.with(|turns| *turns += 1);
            self.lock.unlock();
        }
    }
}

const THREADS: u32 = 3;
const TURNS: u32 = 3;

fn take_turns(shared: &'static Shared) {
    let threads: Vec<_> =
        (0..THREADS).map(|_| thread::spawn(|| (0..TURNS).for_each(|_| shared.take_turn()))).collect();
    if shared.lock.try_lock() {
        // SAFETY: this thread has the lock.
        unsafe { shared.lock.unlock() };
    }
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert!(!shared.lock.is_locked());
    // SAFETY: the others have ended.
    assert_eq!(unsafe { shared.turns.with(|turns| *turns) }, THREADS * TURNS);
}

fn explore(shared: &'static Fresh<Shared>, stores: Stores) {
    Exploration { stores, has_membarrier: true, times: 5000 }.explore(shared, take_turns);
}

#[test]
fn threads_exclude_each_other_and_each_gets_its_turn() {
    static SHARED: Fresh<Shared> = Fresh::new(Shared::new(), Shared::new());
    explore(&SHARED, Stores::InOrder);
}

#[test]
fn threads_exclude_each_other_where_stores_come_late() {
    static SHARED: Fresh<Shared> = Fresh::new(Shared::new(), Shared::new());
    explore(&SHARED, Stores::Late);
}
