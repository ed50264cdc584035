//! What a std program sees when a 1 MiB arena is full: errors it can handle, and a panic that can still
//! report itself.
//!
//! A program of its own, without the test harness, because how a whole process ends is what is asked: each
//! case runs as a child of this one.

mod process;

use mem_alloc_rust::{FreeList, Locked};

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
        "must have it" => drop(std::hint::black_box(vec![1u8; 2 << 20])),
        other => panic!("no such role: {other}"),
    }
}

fn stderr_of(output: &std::process::Output) -> &str {
    std::str::from_utf8(&output.stderr).expect("stderr is UTF-8")
}

fn a_panic_with_a_full_arena_reports_itself() {
    for backtrace in ["0", "1", "full"] {
        let output = process::run_child("panic", &[], &[("RUST_BACKTRACE", backtrace)]);
        let stderr = stderr_of(&output);
        assert_eq!(output.status.code(), Some(101), "RUST_BACKTRACE={backtrace}: {stderr}");
        assert!(stderr.contains("the arena is full after"), "RUST_BACKTRACE={backtrace}: {stderr}");
        assert_eq!(stderr.contains("stack backtrace:"), backtrace != "0", "{stderr}");
        assert_eq!(stderr.contains("exhaustion::play"), backtrace != "0", "symbols are resolved: {stderr}");
    }
}

fn a_thread_that_panics_with_a_full_arena_leaves_the_program_running() {
    for backtrace in ["0", "1", "full"] {
        let output = process::run_child("panic in a thread", &[], &[("RUST_BACKTRACE", backtrace)]);
        assert_eq!(output.status.code(), Some(0), "RUST_BACKTRACE={backtrace}: {}", stderr_of(&output));
        assert_eq!(output.stdout, b"went on with 500000 bytes\n");
    }
}

fn a_caught_panic_with_a_backtrace_leaves_the_arena_to_the_program() {
    for backtrace in ["0", "1", "full"] {
        let output = process::run_child("caught panic", &[], &[("RUST_BACKTRACE", backtrace)]);
        let kept: usize = String::from_utf8_lossy(&output.stdout).trim().parse().expect("a number of bytes");

        assert!(kept < 10_000, "RUST_BACKTRACE={backtrace}: {kept} bytes of the arena are gone");
    }
}

fn a_refused_reservation_is_an_error_and_the_program_goes_on() {
    let output = process::run_child("goes on", &[], &[]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr_of(&output));
    let stdout = String::from_utf8(output.stdout).expect("stdout is UTF-8");
    assert!(stdout.starts_with("refused: ") && stdout.ends_with("went on\n"), "{stdout}");
}

#[cfg(unix)]
fn an_allocation_that_must_succeed_ends_the_program() {
    use std::os::unix::process::ExitStatusExt;

    for backtrace in ["0", "1", "full"] {
        let output = process::run_child("must have it", &[], &[("RUST_BACKTRACE", backtrace)]);
        assert_eq!(output.status.signal(), Some(6), "RUST_BACKTRACE={backtrace}: {}", stderr_of(&output));
        assert!(
            stderr_of(&output).contains("memory allocation of 2097152 bytes failed"),
            "{}",
            stderr_of(&output)
        );
    }
}

fn main() {
    if let Some(role) = process::role() {
        play(&role);
        return;
    }
    let cases: [(&str, fn()); 5] = [
        ("a_panic_with_a_full_arena_reports_itself", a_panic_with_a_full_arena_reports_itself),
        (
            "a_thread_that_panics_with_a_full_arena_leaves_the_program_running",
            a_thread_that_panics_with_a_full_arena_leaves_the_program_running,
        ),
        (
            "a_caught_panic_with_a_backtrace_leaves_the_arena_to_the_program",
            a_caught_panic_with_a_backtrace_leaves_the_arena_to_the_program,
        ),
        (
            "a_refused_reservation_is_an_error_and_the_program_goes_on",
            a_refused_reservation_is_an_error_and_the_program_goes_on,
        ),
        #[cfg(unix)]
        (
            "an_allocation_that_must_succeed_ends_the_program",
            an_allocation_that_must_succeed_ends_the_program,
        ),
    ];
    for (name, case) in &cases {
        case();
        println!("test {name} ... ok");
    }
    println!("\ntest result: ok. {} passed; 0 failed; 0 ignored; 0 measured; 0 filtered out", cases.len());
}
