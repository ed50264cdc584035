//! Runs that threads own: what is freed twice is found wherever it lies, and what threads that end leave is in order.

#![cfg(unix)]

mod process;

use mem_alloc_rust::{FreeList, ThreadCached};
use std::alloc::{GlobalAlloc, Layout};
use std::sync::Barrier;

static A: ThreadCached<FreeList<{ 16 << 20 }>> = ThreadCached::new();

/// More than a list takes, of a class of which one run has fewer.
const COUNT: usize = 400;

/// One of the first that are freed, so that it is on a list, but none of the first that are asked for, which are
/// blocks with headers.
const LISTED: usize = 25;

fn layout(bytes: usize) -> Layout {
    Layout::from_size_align(bytes, 8).unwrap()
}

/// Slots by their addresses: threads pass them on.
fn slots(count: usize) -> Vec<usize> {
    // SAFETY: the layout is of more than no bytes.
    (0..count).map(|_| unsafe { A.alloc(layout(64)) }.expose_provenance()).collect()
}

/// # Safety
///
/// - It is one of `slots`, and nobody uses it; or it is a misuse that shall be found.
unsafe fn free(slot: usize) {
    // SAFETY: the caller's contract.
    unsafe { A.dealloc(std::ptr::with_exposed_provenance_mut(slot), layout(64)) }
}

/// Frees the first half, so that some are on a list and the others back in their runs.
fn half_free() -> Vec<usize> {
    let slots = slots(COUNT);
    // SAFETY: each is given back once.
    slots[..COUNT / 2].iter().for_each(|&slot| unsafe { free(slot) });
    slots
}

fn by_another_thread(slot: usize) {
    std::thread::scope(|scope| {
        scope.spawn(move || {
            // The thread has a cache of its own before.
            slots(1);
            // SAFETY: the misuse is what shall be found.
            unsafe { free(slot) }
        });
    });
}

/// Runs in a process of its own, in which nobody takes over what others have left.
fn succeeds(test: &str, play: fn()) {
    if process::role().as_deref() == Some(test) {
        play();
        return;
    }
    process::run_child(test, &[test, "--exact", "--nocapture", "--test-threads=1"], &[]).success();
}

fn dies_with(test: &str, sentence: &str, misuse: fn()) {
    if process::role().as_deref() == Some(test) {
        misuse();
        return;
    }
    let child = process::run_child(test, &[test, "--exact", "--nocapture", "--test-threads=1"], &[]);
    process::assert_aborted(&child);
    assert!(process::stderr(&child).starts_with(sentence), "{}", process::stderr(&child));
}

#[test]
fn a_second_free_of_the_first_one_on_a_list_that_is_full_by_now() {
    // SAFETY: the misuse is what shall be found.
    dies_with("a_second_free_of_the_first_one_on_a_list_that_is_full_by_now", "double free", || unsafe {
        free(half_free()[LISTED]);
    });
}

#[test]
fn a_second_free_of_what_went_back_into_its_run() {
    // SAFETY: as above.
    dies_with("a_second_free_of_what_went_back_into_its_run", "double free", || unsafe {
        free(half_free()[COUNT / 2 - 1]);
    });
}

#[test]
fn a_second_free_by_another_thread_of_what_is_on_a_list() {
    dies_with("a_second_free_by_another_thread_of_what_is_on_a_list", "double free", || {
        by_another_thread(half_free()[LISTED]);
    });
}

#[test]
fn a_second_free_by_another_thread_of_what_went_back_into_its_run() {
    dies_with("a_second_free_by_another_thread_of_what_went_back_into_its_run", "double free", || {
        by_another_thread(half_free()[COUNT / 2 - 1]);
    });
}

#[test]
fn a_second_free_of_what_another_thread_freed() {
    dies_with("a_second_free_of_what_another_thread_freed", "double free", || {
        let slots = slots(COUNT);
        by_another_thread(slots[LISTED]);
        // SAFETY: as above.
        unsafe { free(slots[LISTED]) }
    });
}

#[test]
fn a_pointer_into_the_middle_of_a_slot_of_ones_own() {
    // SAFETY: as above.
    dies_with("a_pointer_into_the_middle_of_a_slot_of_ones_own", "invalid free", || unsafe {
        free(slots(COUNT)[LISTED] + 8);
    });
}

#[test]
fn slots_of_a_thread_that_has_ended_change_their_size_and_come_back() {
    succeeds("slots_of_a_thread_that_has_ended_change_their_size_and_come_back", resize_what_was_left);
}

fn resize_what_was_left() {
    let left = std::thread::scope(|scope| scope.spawn(|| slots(5000)).join().unwrap());
    let fill = |block: *mut u8, byte: u8, bytes: usize| {
        // SAFETY: the block has so many bytes.
        unsafe { block.write_bytes(byte, bytes) }
    };
    let has = |block: *mut u8, byte: u8| {
        // SAFETY: each block has 64 bytes that were filled.
        unsafe { std::slice::from_raw_parts(block, 64) }.iter().all(|&found| found == byte)
    };
    let pointers: Vec<*mut u8> =
        left.iter().map(|&slot| std::ptr::with_exposed_provenance_mut(slot)).collect();
    pointers.iter().for_each(|&slot| fill(slot, 0xAB, 64));
    A.audit().unwrap();
    let (moving, staying) = pointers.split_at(2000);
    // SAFETY: each slot is in use, and given back by that.
    let moved: Vec<_> = moving.iter().map(|&slot| unsafe { A.realloc(slot, layout(64), 2000) }).collect();
    assert!(moved.iter().all(|&block| has(block, 0xAB)));
    A.audit().unwrap();
    let fresh = slots(3000);
    fresh.iter().for_each(|&slot| fill(std::ptr::with_exposed_provenance_mut(slot), 0xCD, 64));
    assert!(staying.iter().all(|&slot| has(slot, 0xAB)));
    // SAFETY: each block is given back once.
    unsafe {
        moved.into_iter().for_each(|block| A.dealloc(block, layout(2000)));
        staying.iter().for_each(|&slot| A.dealloc(slot, layout(64)));
        fresh.into_iter().for_each(|slot| free(slot));
    }
    A.audit().unwrap();
}

#[test]
fn an_audit_is_right_while_threads_are_at_their_runs() {
    const THREADS: usize = 4;
    let together = &Barrier::new(THREADS + 1);
    std::thread::scope(|scope| {
        for seed in 0..THREADS {
            scope.spawn(move || {
                let mut rng = fastrand::Rng::with_seed(seed as u64);
                let mut live: Vec<usize> = Vec::new();
                together.wait();
                for _ in 0..20_000 {
                    if live.len() < 500 && rng.bool() {
                        live.extend(slots(1));
                    } else if !live.is_empty() {
                        // SAFETY: each is given back once.
                        unsafe { free(live.swap_remove(rng.usize(..live.len()))) }
                    }
                }
                // SAFETY: as above.
                live.into_iter().for_each(|slot| unsafe { free(slot) });
            });
        }
        together.wait();
        for _ in 0..200 {
            A.audit().unwrap();
            let stats = A.stats();
            assert!(stats.live_bytes <= stats.peak_bytes);
        }
    });
}

#[test]
fn an_audit_finds_what_was_written_to_after_it_was_freed() {
    succeeds("an_audit_finds_what_was_written_to_after_it_was_freed", write_to_what_was_freed);
}

fn write_to_what_was_freed() {
    let freed: *mut u8 = std::ptr::with_exposed_provenance_mut(half_free()[LISTED]);
    // What is on a list has a link of eight bytes and a key of four.
    const FINDABLE: usize = 12;
    for at in 0..FINDABLE {
        assert_eq!(A.audit(), Ok(()));
        // SAFETY: the slot has so many bytes. Writing there is the misuse that shall be found, and is undone before the
        // slot is used by whoever has it.
        let found = unsafe {
            let byte = freed.add(at).replace(0x5A);
            // A byte that was the same, as those of a link that is the list's last may be, is not changed.
            let is_changed = byte != 0x5A;
            let found = A.audit();
            freed.add(at).write(byte);
            found.is_err() == is_changed
        };
        assert!(found, "byte {at} was written to");
    }
    assert_eq!(A.audit(), Ok(()));
    // A list that leads back to its beginning.
    // SAFETY: as above; a link is eight bytes.
    let found = unsafe {
        let link = freed.cast::<[u8; 8]>().replace(freed.addr().to_ne_bytes());
        let found = A.audit().unwrap_err();
        freed.cast::<[u8; 8]>().write(link);
        found
    };
    assert_eq!(found.violation, "it is in a cache, on a list that is longer than what was put there");
    // A list that leaves one of its blocks out.
    let next = |slot: *mut u8| {
        // SAFETY: what is on a list has a link.
        unsafe { slot.cast::<*mut u8>().read() }
    };
    // SAFETY: as above; what follows twice is on the list, too, if it is not null.
    let found = unsafe {
        let link = next(freed);
        freed.cast::<*mut u8>().write(next(link));
        let found = A.audit().is_err();
        freed.cast::<*mut u8>().write(link);
        found
    };
    assert!(found);
    assert_eq!(A.audit(), Ok(()));
}
