//! Each misuse that is told by default ends the program with one exact sentence and an abort.
//!
//! Every test starts itself again as a child process, with the allocator as the global one, and reads how it
//! died.

mod process;

use assert_cmd::assert::Assert;
use mem_alloc_rust::{FreeList, Locked, Regions};
use predicates::prelude::PredicateBooleanExt;
use predicates::str::{contains, starts_with};
use std::alloc::{GlobalAlloc, Layout};

#[global_allocator]
static A: Locked<FreeList> = Locked::new();

const BLOCK: Layout = Layout::new::<[u64; 6]>();

/// As the child, does `misuse`, which first gets a place to say which address it is about. As the test, runs
/// the child and holds that it aborted with exactly the expected sentence, in which `{}` stands for that
/// address.
#[cfg(unix)]
fn dies_with(test: &str, sentence: &str, misuse: fn()) {
    if process::role().as_deref() == Some(test) {
        misuse();
        return;
    }
    let child = run_test(test);
    process::assert_aborted(&child);
    let mut lines = process::stderr(&child).lines();
    let address =
        lines.next().and_then(|line| line.strip_prefix("about ")).expect("the child says the address");
    let complaint: Vec<_> = lines.collect();
    assert_eq!(complaint, [sentence.replace("{}", address)]);
}

/// Runs one test of this program as a child.
fn run_test(test: &str) -> Assert {
    process::run_child(test, &[test, "--exact", "--nocapture", "--test-threads=1"], &[])
}

fn about(block: *mut u8) -> *mut u8 {
    eprintln!("about {block:p}");
    block
}

fn block() -> *mut u8 {
    // SAFETY: the layout is not of zero bytes.
    let block = unsafe { A.alloc(BLOCK) };
    assert!(!block.is_null());
    block
}

#[inline(never)]
fn the_one_who_frees(block: *mut u8) {
    free(block);
    std::hint::black_box(block);
}

#[test]
#[cfg(unix)]
fn a_backtrace_names_who_freed_twice_also_in_a_full_arena() {
    let test = "a_backtrace_names_who_freed_twice_also_in_a_full_arena";
    let play = || {
        let [_left, middle, _right] = [(); 3].map(|()| block());
        let reserve = Vec::<u8>::with_capacity(64 << 10);
        let fill = |bytes| {
            let layout = Layout::array::<u8>(bytes).unwrap();
            // SAFETY: the layout is not of zero bytes.
            while !unsafe { A.alloc(layout) }.is_null() {}
        };
        mem_alloc_rust::set_refusal_reports(mem_alloc_rust::RefusalReports::Never);
        [1 << 16, 1 << 12, 1 << 10, 100].into_iter().for_each(fill);
        // For the test harness, whose thread goes on meanwhile. A call stack takes far more.
        drop(reserve);
        the_one_who_frees(middle);
        the_one_who_frees(middle);
    };
    if process::plays(test, play) {
        return;
    }
    let child = process::run_test(test, &[("RUST_BACKTRACE", "1")]);
    process::assert_aborted(&child);
    let stderr = process::stderr(&child);
    let (sentence, call_stack) = stderr.split_once('\n').expect("a sentence is a line");
    assert!(sentence.starts_with("double free: ") && sentence.ends_with(" was already free"), "{stderr}");
    assert!(call_stack.starts_with("stack backtrace:\n"), "{stderr}");
    assert!(call_stack.contains("misuse::the_one_who_frees"), "{stderr}");
}

static R: Locked<Regions> = Locked::new();

/// A block of the second region of two, with one that is in use on either side.
fn in_second_region() -> *mut u8 {
    let memory = Box::leak(vec![0u64; 200].into_boxed_slice());
    let start: *mut u8 = memory.as_mut_ptr().cast();
    // SAFETY: the memory is leaked, and used by nothing else. The layouts are not of zero bytes.
    unsafe {
        R.add_region(start, 100).unwrap();
        R.add_region(start.add(800), 800).unwrap();
        assert!(!R.alloc(Layout::new::<[u8; 80]>()).is_null());
        let [_left, middle, _right] = [(); 3].map(|()| R.alloc(BLOCK));
        middle
    }
}

/// Frees a block, or what is not one: that is what the children are for.
fn free(block: *mut u8) {
    // SAFETY: none in general. The child has to be stopped before it does damage.
    unsafe { A.dealloc(block, BLOCK) }
}

/// Resizes a block, or what is not one.
fn resize(block: *mut u8) {
    // SAFETY: none in general, as for `free`.
    unsafe { A.realloc(block, BLOCK, 1000) };
}

/// Asks how long a block is, or what is not one.
fn measure(block: *mut u8) {
    // SAFETY: none in general, as for `free`.
    unsafe { A.usable_size(block) };
}

macro_rules! misuses {
    ($($name:ident: $sentence:literal, $misuse:expr;)*) => {$(
        #[test]
        fn $name() {
            dies_with(stringify!($name), $sentence, $misuse);
        }
    )*};
}

misuses! {
    double_free_beside_live_neighbours: "double free: {} (48 bytes) was already free", || {
        let [_left, middle, _right] = [block(), block(), block()];
        about(middle);
        free(middle);
        free(middle);
    };
    double_free_after_melting_into_the_left_neighbour: "double free: {} (48 bytes) was already free", || {
        let [left, middle, _right] = [block(), block(), block()];
        about(middle);
        free(left);
        free(middle);
        free(middle);
    };
    double_free_after_melting_into_the_right_neighbour: "double free: {} (48 bytes) was already free", || {
        let [middle, right, _guard] = [block(), block(), block()];
        about(middle);
        free(right);
        free(middle);
        free(middle);
    };
    double_free_of_the_right_neighbour_that_melted_away: "double free: {} (48 bytes) was already free", || {
        let [middle, right, _guard] = [block(), block(), block()];
        about(right);
        free(right);
        free(middle);
        free(right);
    };
    double_free_after_melting_into_the_top: "double free: {} (48 bytes) was already free", || {
        // A block at the end of the arena, with nothing but the top behind it.
        static B: Locked<FreeList<4096>> = Locked::new();
        // SAFETY: the layout is not of zero bytes. The second free is what the child has to die of.
        unsafe {
            let block = about(B.alloc(BLOCK));
            B.dealloc(block, BLOCK);
            B.dealloc(block, BLOCK);
        }
    };
    double_free_in_another_region: "double free: {} (48 bytes) was already free", || {
        let block = in_second_region();
        // SAFETY: the second free is what the child has to die of.
        unsafe {
            R.dealloc(about(block), BLOCK);
            R.dealloc(block, BLOCK);
        }
    };
    realloc_of_a_freed_block_in_another_region: "realloc after free: {} (48 bytes) was already free", || {
        let block = in_second_region();
        // SAFETY: the change of size is what the child has to die of.
        unsafe {
            R.dealloc(about(block), BLOCK);
            R.realloc(block, BLOCK, 1000);
        }
    };
    realloc_of_a_freed_block: "realloc after free: {} (48 bytes) was already free", || {
        let [_left, middle, _right] = [block(), block(), block()];
        about(middle);
        free(middle);
        resize(middle);
    };
    free_of_a_misaligned_pointer: "invalid free: {} is not a multiple of 8, as every block is", || {
        free(about(block().wrapping_add(4)));
    };
    usable_size_of_a_freed_slot: "usable_size after free: {} (48 bytes) was already free", || {
        // In so small an arena, so few of a size have a run.
        static B: Locked<FreeList<4096>> = Locked::new();
        // SAFETY: the layout is not of zero bytes. The question is what the child has to die of.
        unsafe {
            let [_left, middle, _right] = [(); 3].map(|()| B.alloc(BLOCK));
            about(middle);
            B.dealloc(middle, BLOCK);
            B.usable_size(middle);
        }
    };
    usable_size_of_a_misaligned_pointer: "invalid usable_size: {} is not a multiple of 8, as every block is", || {
        measure(about(block().wrapping_add(2)));
    };
    realloc_of_a_misaligned_pointer: "invalid realloc: {} is not a multiple of 8, as every block is", || {
        resize(about(block().wrapping_add(1)));
    };
}

#[test]
fn free_of_a_pointer_to_the_stack() {
    foreign("free_of_a_pointer_to_the_stack", "invalid free", || {
        let mut local = [0u64; 6];
        free(about(local.as_mut_ptr().cast()));
    });
}

#[test]
fn free_of_null() {
    foreign("free_of_null", "invalid free", || free(about(std::ptr::null_mut())));
}

#[test]
fn realloc_of_a_pointer_to_the_stack() {
    foreign("realloc_of_a_pointer_to_the_stack", "invalid realloc", || {
        let mut local = [0u64; 6];
        resize(about(local.as_mut_ptr().cast()));
    });
}

#[test]
fn usable_size_of_null() {
    foreign("usable_size_of_null", "invalid usable_size", || measure(about(std::ptr::null_mut())));
}

#[test]
fn free_of_a_pointer_from_another_arena() {
    foreign("free_of_a_pointer_from_another_arena", "invalid free", || {
        static B: Locked<FreeList<4096>> = Locked::new();
        // SAFETY: the layout is not of zero bytes.
        free(about(unsafe { B.alloc(BLOCK) }));
    });
}

/// As `dies_with`, for pointers outside of the arena, whose bounds the sentence names: they lie in the
/// allocator's static, and are 256 bytes closer than the arena's size: its ends cost 8, and the map of its 248
/// pages 248.
#[cfg(unix)]
fn foreign(test: &str, what: &str, misuse: fn()) {
    if process::role().as_deref() == Some(test) {
        eprintln!("static {:p}", &raw const A);
        misuse();
        return;
    }
    let child = run_test(test);
    process::assert_aborted(&child);
    let stderr = process::stderr(&child);
    let lines: Vec<_> = stderr.lines().collect();
    let [place, address, sentence] = lines[..] else { panic!("three lines expected: {stderr}") };
    let hexadecimal = |text: &str| usize::from_str_radix(text.strip_prefix("0x").unwrap(), 16).unwrap();
    let place = hexadecimal(place.strip_prefix("static ").unwrap());
    let address = address.strip_prefix("about ").unwrap();
    let start = format!("{what}: {address} is outside the arena ");
    let bounds = sentence.strip_prefix(&start).unwrap_or_else(|| panic!("{sentence}"));
    let (first, end) = bounds.split_once("..").unwrap();
    let (first, end) = (hexadecimal(first), hexadecimal(end));
    assert_eq!(end - first, (1 << 20) - 256);
    assert!(first >= place && end <= place + size_of_val(&A));
    assert!(!(first..end).contains(&hexadecimal(address)));
}

#[test]
fn a_hook_is_told_and_may_end_the_program_its_own_way() {
    let test = "a_hook_is_told_and_may_end_the_program_its_own_way";
    if process::role().as_deref() == Some(test) {
        mem_alloc_rust::set_fault_hook(|fault| {
            eprintln!("the hook says: {fault}");
            std::process::exit(77);
        });
        free(block().wrapping_add(4));
        return;
    }
    let child = run_test(test).code(77).stderr(starts_with("the hook says: invalid free: 0x"));
    assert_eq!(process::stderr(&child).lines().count(), 1);
}

#[test]
#[cfg(unix)]
fn a_hook_that_makes_a_mistake_is_not_told_of_that() {
    let test = "a_hook_that_makes_a_mistake_is_not_told_of_that";
    if process::role().as_deref() == Some(test) {
        mem_alloc_rust::set_fault_hook(|_| free(block().wrapping_add(4)));
        free(block().wrapping_add(4));
        return;
    }
    let child = run_test(test);
    process::assert_aborted(&child);
    assert!(process::stderr(&child).starts_with("invalid free: 0x"));
}

#[test]
#[cfg(unix)]
fn a_hook_that_panics_cannot_unwind() {
    let test = "a_hook_that_panics_cannot_unwind";
    if process::role().as_deref() == Some(test) {
        mem_alloc_rust::set_fault_hook(|_| panic!("from the hook"));
        let caught = std::panic::catch_unwind(|| free(block().wrapping_add(4)));
        eprintln!("came back: {}", caught.is_err());
        return;
    }
    let child = run_test(test);
    process::assert_aborted(&child);
    child.stderr(contains("from the hook").and(contains("came back").not()));
}

/// Its large blocks are mapped on their own.
#[cfg(unix)]
static G: Locked<mem_alloc_rust::Growing> = Locked::new();

#[cfg(unix)]
misuses! {
    free_of_the_middle_of_a_block_with_pages_of_its_own: "invalid free: {} is not the start of a live block", || {
        let large = Layout::new::<[u8; 3 << 20]>();
        // SAFETY: the layout is not of zero bytes. The release of what is no block is what the child has to die of.
        unsafe {
            let block = G.alloc(large);
            G.dealloc(about(block.add(4096)), large);
        }
    };
    free_near_the_start_of_a_block_with_pages_of_its_own: "invalid free: {} is not a multiple of 8, as every block is", || {
        let large = Layout::new::<[u8; 3 << 20]>();
        // SAFETY: as above.
        unsafe {
            let block = G.alloc(large);
            G.dealloc(about(block.add(4)), large);
        }
    };
}
