//! What is told when a request is refused: once on stderr, or to a hook, and where.
//!
//! Each case is a process of its own: what is told once in a process is what is asked.

mod process;

use mem_alloc_rust::{FreeList, Locked, Refusal, ThreadCached, set_refusal_hook};
use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

const ARENA: usize = 1 << 20;

#[global_allocator]
static A: ThreadCached<FreeList<ARENA>> = ThreadCached::new();

/// A request that no arena of that size can serve.
fn is_refused(bytes: usize) -> bool {
    Vec::<u8>::new().try_reserve_exact(bytes).is_err()
}

/// A function whose name a backtrace has.
#[inline(never)]
fn the_one_who_asks() {
    assert!(is_refused(2 * ARENA));
}

/// What a child does, and whether this process is one.
fn plays(test: &str, play: fn()) -> bool {
    let is_child = process::role().as_deref() == Some(test);
    if is_child {
        play();
    }
    is_child
}

/// What a child writes to stderr that plays this test's part.
fn told(test: &str, environment: &[(&str, &str)]) -> String {
    let child = process::run_child(test, &[test, "--exact", "--nocapture", "--test-threads=1"], environment);
    let child = child.success();
    process::stderr(&child).to_owned()
}

#[test]
fn the_first_refusal_is_one_sentence_on_stderr() {
    let test = "the_first_refusal_is_one_sentence_on_stderr";
    if plays(test, || assert!((0..3).all(|_| is_refused(2 * ARENA)))) {
        return;
    }
    let stderr = told(test, &[]);
    let line = stderr.strip_suffix('\n').unwrap();
    assert!(line.starts_with("mem_alloc_rust: no memory for 2097152 bytes: of "), "{line}");
    assert!(line.contains(" are in use, and the largest free block holds "), "{line}");
    assert!(!line.contains('\n'), "once, and without a backtrace: {stderr}");
}

#[test]
fn a_backtrace_tells_who_asked() {
    let test = "a_backtrace_tells_who_asked";
    let play = || {
        let before = A.stats().live_bytes;
        the_one_who_asks();
        let kept = A.stats().live_bytes - before;
        assert!(kept < 4096, "the symbols are not in the arena: {kept}");
    };
    if plays(test, play) {
        return;
    }
    let stderr = told(test, &[("RUST_BACKTRACE", "1")]);
    assert!(stderr.contains("refusal::the_one_who_asks"), "{stderr}");
    assert_eq!(stderr.matches("mem_alloc_rust: no memory").count(), 1, "{stderr}");
}

#[test]
fn an_allocation_that_must_succeed_names_its_call_site_before_the_end() {
    let test = "an_allocation_that_must_succeed_names_its_call_site_before_the_end";
    if plays(test, || drop(std::hint::black_box(vec![1u8; 2 * ARENA]))) {
        return;
    }
    let arguments = [test, "--exact", "--nocapture", "--test-threads=1"];
    let child = process::run_child(test, &arguments, &[("RUST_BACKTRACE", "1")]);
    let stderr = process::stderr(&child);
    #[cfg(unix)]
    process::assert_aborted(&child);
    assert!(
        stderr.contains("refusal::plays") && stderr.contains("memory allocation of 2097152 bytes"),
        "{stderr}"
    );
}

#[test]
fn a_hook_gets_each_refusal_as_a_value_and_takes_the_place_of_stderr() {
    static REFUSALS: AtomicUsize = AtomicUsize::new(0);
    fn note(refusal: &Refusal) {
        assert_eq!(refusal.layout.size(), 2 * ARENA);
        assert!(refusal.live_bytes < refusal.arena_bytes && refusal.arena_bytes < ARENA);
        assert!(refusal.largest_free_bytes < refusal.arena_bytes);
        let largest = Layout::from_size_align(refusal.largest_free_bytes, 8).unwrap();
        // What the hook allocates is served by the system, as long as it is more than a slot: the arena has room.
        // SAFETY: the layout is of more than no bytes, and the block is given back once.
        unsafe {
            let block = A.alloc(largest);
            assert!(!block.is_null());
            A.dealloc(block, largest);
        }
        REFUSALS.fetch_add(1, Relaxed);
    }
    let test = "a_hook_gets_each_refusal_as_a_value_and_takes_the_place_of_stderr";
    let play = || {
        set_refusal_hook(note);
        assert!((0..3).all(|_| is_refused(2 * ARENA)));
        assert_eq!(REFUSALS.load(Relaxed), 3);
    };
    if plays(test, play) {
        return;
    }
    assert_eq!(told(test, &[("RUST_BACKTRACE", "1")]), "");
}

#[test]
fn a_hook_that_is_refused_itself_is_not_told_of_that() {
    thread_local!(static DEPTH: Cell<u32> = const { Cell::new(0) });
    let test = "a_hook_that_is_refused_itself_is_not_told_of_that";
    let play = || {
        set_refusal_hook(|_| {
            DEPTH.set(DEPTH.get() + 1);
            // More than anybody has.
            assert!(DEPTH.get() > 1 || is_refused(isize::MAX as usize));
        });
        assert!(is_refused(2 * ARENA));
        assert_eq!(DEPTH.get(), 1);
    };
    if plays(test, play) {
        return;
    }
    assert_eq!(told(test, &[]), "");
}

#[test]
fn the_largest_free_block_is_what_can_be_had() {
    static B: Locked<FreeList<{ 64 << 10 }>> = Locked::new();
    static LARGEST: AtomicUsize = AtomicUsize::new(0);
    let test = "the_largest_free_block_is_what_can_be_had";
    let play = || {
        set_refusal_hook(|refusal| LARGEST.store(refusal.largest_free_bytes, Relaxed));
        let layout = |bytes| Layout::from_size_align(bytes, 8).unwrap();
        let largest = || {
            // SAFETY: the layout is of more than no bytes.
            assert!(unsafe { B.alloc(layout(64 << 10)) }.is_null());
            LARGEST.load(Relaxed)
        };
        // Holes of many sizes, of which some are merged, and a top that becomes smaller and smaller.
        let mut rng = fastrand::Rng::with_seed(7);
        let mut live = Vec::new();
        for step in 0..2000 {
            if live.is_empty() || rng.usize(..3) > 0 {
                let layout = layout(rng.usize(1..3000));
                // SAFETY: as above.
                let block = unsafe { B.alloc(layout) };
                if !block.is_null() {
                    live.push((block, layout));
                }
            } else {
                let (block, layout) = live.swap_remove(rng.usize(..live.len()));
                // SAFETY: the block is given back once.
                unsafe { B.dealloc(block, layout) };
            }
            let bytes = largest();
            assert!(bytes + 4 <= B.stats().largest_free_bytes.max(4), "step {step}");
            if bytes == 0 {
                continue;
            }
            // SAFETY: as above.
            unsafe {
                let block = B.alloc(layout(bytes));
                assert!(!block.is_null(), "step {step}: {bytes} bytes");
                B.dealloc(block, layout(bytes));
            }
        }
    };
    if plays(test, play) {
        return;
    }
    assert_eq!(told(test, &[]), "");
}
