//! What a std program sees when a 1 MiB arena is full: errors it can handle, and a panic that can still
//! report itself. And what it is told if a signal handler calls the allocator that it interrupted.
//!
//! How a whole process ends is what is asked: each case runs as a child of this program, which is not one
//! of the usual test harness, because the child's main thread has to be the one that panics, and its only one.

#[cfg(unix)]
mod interrupted;
mod process;

use libtest_mimic::{Arguments, Trial};
use mem_alloc_rust::{FreeList, Locked};
use predicates::prelude::PredicateBooleanExt;
use predicates::str::{contains, ends_with, starts_with};
use std::backtrace::Backtrace;
use std::io::Write;

#[global_allocator]
static A: Locked<FreeList> = Locked::new();

/// Takes what is left of the arena, down to the last block.
fn fill_the_arena() -> Vec<Vec<u8>> {
    let mut taken = Vec::with_capacity(64);
    let mut size = 1 << 20;
    while size > 0 && taken.len() < taken.capacity() {
        let mut part = Vec::new();
        if part.try_reserve_exact(size).is_ok() { taken.push(part) } else { size /= 2 }
    }
    taken
}

/// What the children do. A function of its own, because a backtrace is to name it.
#[inline(never)]
fn play(role: &str) {
    match role {
        "panic" => {
            let taken = fill_the_arena();
            panic!("the arena is full after {} parts", taken.len());
        }
        "panic in a thread" => {
            let thread = std::thread::spawn(|| {
                let _taken = fill_the_arena();
                panic!("the arena is full");
            });
            let report = thread.join().expect_err("the thread panicked");
            assert_eq!(report.downcast_ref::<&str>(), Some(&"the arena is full"));
            drop(report);
            A.audit().unwrap();
            let again = vec![7u8; 500_000];
            println!("went on with {} bytes", again.len());
        }
        "caught panic" => {
            let before = A.stats().live_bytes;
            std::panic::catch_unwind(|| panic!("caught")).expect_err("it panicked");
            println!("{}", A.stats().live_bytes - before);
        }
        "goes on" => {
            let mut large = Vec::<u8>::new();
            let error = large.try_reserve(2 << 20).expect_err("two mebibytes are too many");
            println!("refused: {error}");
            let taken = fill_the_arena();
            let mut one_more = Vec::<u64>::new();
            assert!(one_more.try_reserve(1000).is_err());
            drop(taken);
            assert!(one_more.try_reserve(1000).is_ok());
            A.audit().unwrap();
            println!("went on");
        }
        #[cfg(unix)]
        "interrupted" => interrupted::interrupted(|| interrupted::exercise(&A)),
        "must have it" => drop(std::hint::black_box(vec![1u8; 2 << 20])),
        "must have one more" => {
            let taken = fill_the_arena();
            drop(std::hint::black_box(vec![1u8; 5000]));
            drop(taken);
        }
        "is told by somebody else" => {
            let _taken = fill_the_arena();
            std::alloc::handle_alloc_error(std::alloc::Layout::new::<[u8; 4321]>());
        }
        "captures" => {
            // The first time it looks at the environment, which takes memory.
            drop(Backtrace::capture());
            let taken = fill_the_arena();
            let backtrace = Backtrace::capture();
            drop(taken);
            println!("{backtrace}");
        }
        "prints" => {
            let (backtrace, mut stdout) = (Backtrace::capture(), std::io::stdout());
            let taken = fill_the_arena();
            // Only to find symbols takes memory.
            write!(stdout, "{backtrace}").unwrap();
            drop(taken);
        }
        #[cfg(target_os = "linux")]
        other if other.starts_with(NO_MORE) => with_no_more_than(other),
        other => panic!("no such role: {other}"),
    }
}

/// A child that may have some more address space, so many KiB, which the role names.
#[cfg(target_os = "linux")]
const NO_MORE: &str = "no more than ";

/// Is refused something that it can do without, and makes a mistake.
#[cfg(target_os = "linux")]
fn with_no_more_than(role: &str) {
    let more: u64 = role[NO_MORE.len()..].parse().unwrap();
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = pages.split(' ').next().unwrap().parse().unwrap();
    // SAFETY: a plain system call, and the size of a page.
    unsafe {
        let most = pages * libc::sysconf(libc::_SC_PAGESIZE) as u64 + (more << 10);
        libc::setrlimit(libc::RLIMIT_AS, &libc::rlimit { rlim_cur: most, rlim_max: most });
    }
    assert!(Vec::<u8>::new().try_reserve(2 << 20).is_err());
    eprintln!("went on");
    let block = Box::into_raw(Box::new([0u8; 5000]));
    // SAFETY: the second release is the mistake, which ends the program.
    unsafe {
        drop(Box::from_raw(block));
        drop(Box::from_raw(block));
    }
}

/// What `RUST_BACKTRACE` can be.
const BACKTRACES: [&str; 3] = ["0", "1", "full"];

fn a_panic_with_a_full_arena_reports_itself() {
    for backtrace in BACKTRACES {
        let child = process::run_child("panic", &[], &[("RUST_BACKTRACE", backtrace)]);
        let child = child.code(101).stderr(contains("the arena is full after"));
        let stderr = process::stderr(&child);
        assert_eq!(stderr.contains("stack backtrace:"), backtrace != "0", "{stderr}");
        assert_eq!(stderr.contains("exhaustion::play"), backtrace != "0", "symbols are resolved: {stderr}");
    }
}

fn a_thread_that_panics_with_a_full_arena_leaves_the_program_running() {
    for backtrace in BACKTRACES {
        let child = process::run_child("panic in a thread", &[], &[("RUST_BACKTRACE", backtrace)]);
        child.success().stdout("went on with 500000 bytes\n");
    }
}

fn a_caught_panic_with_a_backtrace_leaves_the_arena_to_the_program() {
    for backtrace in BACKTRACES {
        let child = process::run_child("caught panic", &[], &[("RUST_BACKTRACE", backtrace)]).success();
        let stdout = String::from_utf8_lossy(&child.get_output().stdout);
        let kept: usize = stdout.trim().parse().expect("a number of bytes");
        assert!(kept < 10_000, "RUST_BACKTRACE={backtrace}: {kept} bytes of the arena are gone");
    }
}

fn a_refused_reservation_is_an_error_and_the_program_goes_on() {
    let child = process::run_child("goes on", &[], &[]).success();
    child.stdout(starts_with("refused: ").and(ends_with("went on\n")));
}

#[cfg(unix)]
fn an_allocation_that_must_succeed_ends_the_program() {
    for backtrace in BACKTRACES {
        let child = process::run_child("must have it", &[], &[("RUST_BACKTRACE", backtrace)]);
        process::assert_aborted(&child);
        child.stderr(contains("memory allocation of 2097152 bytes failed"));
    }
}

/// Not one block is free. The report needs none, and the backtrace is served by the system.
#[cfg(unix)]
fn a_refusal_by_a_full_arena_names_its_call_site() {
    for backtrace in BACKTRACES {
        let child = process::run_child("must have one more", &[], &[("RUST_BACKTRACE", backtrace)]);
        process::assert_aborted(&child);
        let stderr = process::stderr(&child);
        let first = stderr.lines().next().unwrap_or_default();
        assert!(
            first.starts_with("mem_alloc_rust: no memory for ") && first.contains(": exhausted, only "),
            "{stderr}"
        );
        assert_eq!(stderr.contains("stack backtrace:"), backtrace != "0", "{stderr}");
        assert_eq!(stderr.contains("exhaustion::play"), backtrace != "0", "{stderr}");
        assert!(stderr.contains("memory allocation of 5000 bytes failed"), "{stderr}");
    }
}

/// Std has a lock while it takes or writes a call stack, and allocates meanwhile. Who is refused then must not ask
/// for a second one: its thread would wait for itself. That is served by the system, as panics are.
#[cfg(unix)]
fn a_call_stack_is_written_when_the_arena_is_full() {
    for role in ["captures", "prints"] {
        for reports in ["once", "each", "never"] {
            let environment = [("RUST_BACKTRACE", "1"), ("MEM_ALLOC_RUST_REFUSALS", reports)];
            process::run_child(role, &[], &environment).success().stdout(contains("exhaustion::play"));
        }
    }
}

/// Where the system has no memory for a call stack, std would tell of that under the lock which it has while it writes
/// one, and wait for itself.
#[cfg(target_os = "linux")]
fn without_memory_for_a_call_stack_there_is_none() {
    for more in [0, 300, 3000, 10_000, 20_000, 40_000, 67_000, 100_000] {
        for backtrace in BACKTRACES {
            let role = format!("{NO_MORE}{more}");
            let child = process::run_child(&role, &[], &[("RUST_BACKTRACE", backtrace)]);
            process::assert_aborted(&child);
            child.stderr(
                starts_with("mem_alloc_rust: no memory for ").and(contains("\nwent on\ndouble free: 0x")),
            );
        }
    }
}

/// As a wrapper's refusal is, of which the allocator knows nothing.
#[cfg(unix)]
fn a_refusal_by_somebody_else_ends_the_program() {
    for backtrace in BACKTRACES {
        for reports in ["once", "each", "never"] {
            let environment = [("RUST_BACKTRACE", backtrace), ("MEM_ALLOC_RUST_REFUSALS", reports)];
            let child = process::run_child("is told by somebody else", &[], &environment);
            process::assert_aborted(&child);
            child.stderr(contains("memory allocation of 4321 bytes failed"));
        }
    }
}

/// Where the harness of the other tests has two threads, this child has one: the lock does not know its holder
/// by a number then.
#[cfg(unix)]
fn a_handler_that_interrupts_the_only_thread_is_told() {
    let child = process::run_child("interrupted", &[], &[]);
    process::assert_aborted(&child);
    child.stderr(starts_with(interrupted::TOLD));
}

/// The cases with their names.
macro_rules! trials {
    ($($(#[$attribute:meta])* $case:ident,)*) => {
        vec![$($(#[$attribute])* Trial::test(stringify!($case), || {
            $case();
            Ok(())
        }),)*]
    };
}

fn main() {
    if let Some(role) = process::role() {
        play(&role);
        return;
    }
    let trials = trials![
        a_panic_with_a_full_arena_reports_itself,
        a_thread_that_panics_with_a_full_arena_leaves_the_program_running,
        a_caught_panic_with_a_backtrace_leaves_the_arena_to_the_program,
        a_refused_reservation_is_an_error_and_the_program_goes_on,
        #[cfg(unix)]
        an_allocation_that_must_succeed_ends_the_program,
        #[cfg(unix)]
        a_refusal_by_a_full_arena_names_its_call_site,
        #[cfg(unix)]
        a_call_stack_is_written_when_the_arena_is_full,
        #[cfg(target_os = "linux")]
        without_memory_for_a_call_stack_there_is_none,
        #[cfg(unix)]
        a_refusal_by_somebody_else_ends_the_program,
        #[cfg(unix)]
        a_handler_that_interrupts_the_only_thread_is_told,
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}
