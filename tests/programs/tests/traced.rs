//! What a `Traced` allocator writes: everything, whatever becomes of the program.
//!
//! Each case is a process of its own: it is traced from its first allocation on.

#![cfg(unix)]

mod process;
#[path = "traced/trace.rs"]
mod trace;

use mem_alloc_rust::trace::{CallSites, Event, Note};
use mem_alloc_rust::watch::{Counted, Sampled, Traced};
use mem_alloc_rust::{FreeList, ThreadCached};
use std::alloc::{GlobalAlloc, Layout};
use std::hint::black_box;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use trace::Trace;

/// Whatever else watches, the trace is the same.
#[global_allocator]
static A: Traced<Sampled<Counted<ThreadCached<FreeList<ARENA>>>, { 4 << 10 }>> =
    Traced::new(Sampled::new(Counted::new(ThreadCached::new())));

/// Bytes of the arena; the tests read whole traces in it.
const ARENA: usize = 64 << 20;

/// A size that nothing else in the process asks for.
const MARK: usize = 54_321;

/// A folder of a test's own, which is removed in the end.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("traced-{}-{test}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn files(&self) -> Vec<PathBuf> {
        let mut files: Vec<_> =
            std::fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs a test's child with a file to write, and returns how it ended.
fn run(test: &str, file: &Path, more: &[(&str, &str)]) -> assert_cmd::assert::Assert {
    let mut environment = vec![("MEM_ALLOC_RUST_TRACE", file.to_str().unwrap())];
    environment.extend(more);
    process::run_test(test, &environment)
}

/// Runs a test's child, which must succeed, and reads what it wrote.
fn trace_of(test: &str, more: &[(&str, &str)]) -> Trace {
    let folder = Folder::new(test);
    let file = folder.0.join("program.trace");
    run(test, &file, more).success();
    Trace::read(&file)
}

fn layout(size: usize, align: usize) -> Layout {
    Layout::from_size_align(size, align).unwrap()
}

#[test]
fn every_call_is_written_with_its_result() {
    let test = "every_call_is_written_with_its_result";
    let play = || {
        // SAFETY: the layouts are of more than no bytes, and each block is given back once.
        unsafe {
            let first = A.alloc(layout(MARK, 1));
            let second = A.alloc_zeroed(layout(MARK + 1, 4096));
            let first = A.realloc(first, layout(MARK, 1), MARK + 2);
            assert!(A.alloc(layout(2 * ARENA, 8)).is_null());
            assert!(A.realloc(first, layout(MARK + 2, 1), 2 * ARENA).is_null());
            A.dealloc(second, layout(MARK + 1, 4096));
            A.dealloc(first, layout(MARK + 2, 1));
        }
    };
    if process::plays(test, play) {
        return;
    }
    let trace = trace_of(test, &[]);
    assert_eq!(trace.header.call_sites, CallSites::None);
    assert!(trace.program.contains(test), "{}", trace.program);
    let is_first = |event: &Event| matches!(event, Event::Allocation { size, .. } if *size == MARK as u64);
    let first = trace.events.iter().find(|entry| is_first(&entry.event)).unwrap();
    // Other threads do what they do meanwhile.
    let own = trace.events.iter().filter(|entry| entry.thread == first.thread);
    let events: Vec<_> = own.map(|entry| entry.event).collect();
    let start = events.iter().position(is_first).unwrap();
    // The refusal is told on stderr in between, which allocates nothing here.
    let [a, b, c, d, e, f, g] = events[start..start + 7] else { panic!("{:?}", &events[start..]) };
    let Event::Allocation { address: first, align: 1, is_zeroed: false, site: 0, .. } = a else {
        panic!("{a:?}")
    };
    let Event::Allocation { address: second, align: 4096, is_zeroed: true, size, .. } = b else {
        panic!("{b:?}")
    };
    assert_eq!((size, second % 4096), (MARK as u64 + 1, 0));
    let Event::Reallocation { new_size, old_address, address, align: 1, .. } = c else { panic!("{c:?}") };
    assert_eq!((new_size, old_address), (MARK as u64 + 2, first));
    assert_eq!(d, Event::Refused { size: 2 * ARENA as u64, align: 8, site: 0 });
    assert_eq!(
        e,
        Event::RefusedReallocation { new_size: 2 * ARENA as u64, align: 1, old_address: address, site: 0 }
    );
    assert_eq!([f, g], [Event::Release { address: second }, Event::Release { address }]);
    trace.assert_consistent();
}

#[test]
fn without_the_variable_nothing_is_written() {
    let test = "without_the_variable_nothing_is_written";
    let folder = Folder::new(test);
    if process::plays(test, || assert_eq!(std::env::var_os("MEM_ALLOC_RUST_TRACE"), None)) {
        return;
    }
    process::run_test(test, &[]).success();
    assert!(folder.files().is_empty());
}

#[test]
fn an_empty_variable_is_none() {
    let test = "an_empty_variable_is_none";
    if process::plays(test, || {}) {
        return;
    }
    let child = process::run_test(test, &[("MEM_ALLOC_RUST_TRACE", "")]).success();
    assert_eq!(process::stderr(&child), "");
}

/// Allocates blocks of ascending sizes from `MARK` on, and releases every other one.
fn allocate_and_release(blocks: usize) {
    let mut kept = Vec::with_capacity(blocks);
    for n in 0..blocks {
        let block = black_box(vec![0u8; MARK % 100 + n % 50]);
        if n % 2 == 0 {
            kept.push(block);
        }
    }
}

/// Events of the last one of which the address is told by the child on stdout.
fn assert_has_last_words(trace: &Trace) {
    let has = |size| {
        trace.events.iter().any(|entry| matches!(entry.event, Event::Allocation { size: s, .. } if s == size))
    };
    assert!(has(MARK as u64), "the last allocation is there");
    assert!(trace.events.len() > 20_000, "{}", trace.events.len());
    trace.assert_consistent();
}

#[test]
fn a_program_that_aborts_leaves_all_of_it() {
    let test = "a_program_that_aborts_leaves_all_of_it";
    let play = || {
        allocate_and_release(20_000);
        black_box(vec![1u8; MARK]);
        std::process::abort();
    };
    if process::plays(test, play) {
        return;
    }
    let folder = Folder::new(test);
    let file = folder.0.join("program.trace");
    process::assert_aborted(&run(test, &file, &[]));
    assert_has_last_words(&Trace::read(&file));
}

#[test]
fn a_program_that_is_killed_leaves_all_of_it() {
    let test = "a_program_that_is_killed_leaves_all_of_it";
    let play = || {
        std::thread::spawn(|| {
            loop {
                allocate_and_release(100);
            }
        });
        allocate_and_release(20_000);
        black_box(vec![1u8; MARK]);
        // SAFETY: this process is to be killed.
        unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
    };
    if process::plays(test, play) {
        return;
    }
    let folder = Folder::new(test);
    let file = folder.0.join("program.trace");
    let child = run(test, &file, &[]);
    assert_eq!(child.get_output().status.signal(), Some(libc::SIGKILL));
    let trace = Trace::read(&file);
    assert!(trace.events.len() > 20_000);
    // The other thread may have been in the middle of one.
    assert!(trace.missing() <= 1, "{} events are missing", trace.missing());
}

#[test]
fn threads_are_told_apart_and_their_events_are_in_one_order() {
    let test = "threads_are_told_apart_and_their_events_are_in_one_order";
    let play = || {
        let (sender, receiver) = std::sync::mpsc::channel::<Vec<u8>>();
        let receiving =
            std::thread::spawn(move || receiver.into_iter().map(|block| block.len()).sum::<usize>());
        std::thread::scope(|scope| {
            for _ in 0..4 {
                let sender = sender.clone();
                scope.spawn(move || {
                    for n in 0..5_000 {
                        let mut block = Vec::with_capacity(10);
                        block.resize(n % 300, 1);
                        sender.send(block).unwrap();
                    }
                });
            }
        });
        // The clock has gone on, and it is looked at now and then.
        std::thread::sleep(std::time::Duration::from_millis(20));
        allocate_and_release(1_000);
        drop(sender);
        receiving.join().unwrap();
    };
    if process::plays(test, play) {
        return;
    }
    let trace = trace_of(test, &[]);
    trace.assert_consistent();
    let mut threads: Vec<_> = trace.events.iter().map(|entry| entry.thread).collect();
    threads.sort_unstable();
    threads.dedup();
    assert!(
        threads.len() >= 6,
        "the main one, the test's, four that send and one that receives: {threads:?}"
    );
    assert!(trace.events.iter().any(|entry| entry.time > 0));
}

#[test]
fn threads_one_after_the_other_share_a_chunk() {
    let test = "threads_one_after_the_other_share_a_chunk";
    if process::plays(test, || {
        (0..200).for_each(|n| drop(std::thread::spawn(move || black_box(vec![1u8; n + 1])).join()))
    }) {
        return;
    }
    let trace = trace_of(test, &[]);
    trace.assert_consistent();
    assert!(trace.chunks < 12, "{} chunks", trace.chunks);
    let mut threads: Vec<_> = trace.events.iter().map(|entry| entry.thread).collect();
    threads.sort_unstable();
    threads.dedup();
    assert!(threads.len() >= 200, "{}", threads.len());
    assert!(trace.ends.len() >= 200, "{}", trace.ends.len());
}

#[test]
fn a_thread_ends_when_it_does_and_one_that_waits_does_not() {
    let test = "a_thread_ends_when_it_does_and_one_that_waits_does_not";
    let play = || {
        let (sender, receiver) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            sender.send(black_box(vec![1u8; MARK + 1])).unwrap();
            loop {
                std::thread::park();
            }
        });
        let kept = receiver.recv().unwrap();
        std::thread::spawn(|| drop(black_box(vec![1u8; MARK + 2]))).join().unwrap();
        drop(black_box(vec![1u8; MARK + 3]));
        drop(kept);
    };
    if process::plays(test, play) {
        return;
    }
    let trace = trace_of(test, &[]);
    trace.assert_consistent();
    let of_size = |bytes: usize| {
        let is_it = |event: &Event| matches!(event, Event::Allocation { size, .. } if *size == bytes as u64);
        trace.events.iter().find(|entry| is_it(&entry.event)).unwrap()
    };
    let [waiting, ended, after] = [MARK + 1, MARK + 2, MARK + 3].map(of_size);
    let ends_of = |thread| trace.ends.iter().filter(move |(of, _)| *of == thread).map(|(_, last)| *last);
    assert_eq!(ends_of(waiting.thread).count(), 0);
    let last_of_ended = trace.events.iter().rfind(|entry| entry.thread == ended.thread).unwrap();
    // Destructors that are called later may have begun the thread once more.
    assert_eq!(ends_of(ended.thread).max().map(|last| last >= last_of_ended.sequence), Some(true));
    assert!(ends_of(ended.thread).all(|last| (ended.sequence..after.sequence).contains(&last)));
}

#[test]
fn a_forked_child_leaves_its_parents_trace_alone() {
    let test = "a_forked_child_leaves_its_parents_trace_alone";
    let play = || {
        allocate_and_release(1_000);
        for _ in 0..5 {
            // SAFETY: the child allocates, which a `ThreadCached` lets it, and ends at once.
            let child = unsafe { libc::fork() };
            if child == 0 {
                allocate_and_release(50_000);
                // SAFETY: as above.
                unsafe { libc::_exit(0) };
            }
            allocate_and_release(5_000);
            let mut status = 0;
            // SAFETY: the status has room.
            assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
            assert_eq!(status, 0);
        }
    };
    if process::plays(test, play) {
        return;
    }
    let trace = trace_of(test, &[]);
    trace.assert_consistent();
    assert!((26_000..100_000).contains(&trace.events.len()), "{}", trace.events.len());
}

#[test]
fn a_program_that_is_started_by_a_traced_one_has_a_file_of_its_own() {
    let test = "a_program_that_is_started_by_a_traced_one_has_a_file_of_its_own";
    let play = || {
        if std::env::var_os("MEM_ALLOC_RUST_GRANDCHILD").is_some() {
            return;
        }
        let program = std::env::current_exe().unwrap();
        let status = std::process::Command::new(program)
            .args(process::arguments(test))
            .env("MEM_ALLOC_RUST_GRANDCHILD", "1")
            .status();
        assert!(status.unwrap().success());
        black_box(vec![1u8; MARK]);
    };
    if process::plays(test, play) {
        return;
    }
    let folder = Folder::new(test);
    run(test, &folder.0.join("program.trace"), &[]).success();
    let files = folder.files();
    let [own, other] = &files[..] else { panic!("{files:?}") };
    let (own, grandchild) = (Trace::read(own), Trace::read(other));
    own.assert_consistent();
    grandchild.assert_consistent();
    assert_ne!(own.header.process, grandchild.header.process);
    let name = format!("program.trace.{}", grandchild.header.process);
    assert_eq!(other.file_name().unwrap(), name.as_str());
}

#[test]
fn a_name_can_have_the_process_number_and_an_old_file_is_replaced() {
    let test = "a_name_can_have_the_process_number_and_an_old_file_is_replaced";
    if process::plays(test, || {}) {
        return;
    }
    let folder = Folder::new(test);
    run(test, &folder.0.join("%p.trace"), &[]).success();
    let [file] = &folder.files()[..] else { panic!("one file") };
    let name = format!("{}.trace", Trace::read(file).header.process);
    assert_eq!(file.file_name().unwrap(), name.as_str());

    std::fs::write(file, vec![0xFF; 1 << 20]).unwrap();
    run(test, file, &[]).success();
    Trace::read(file).assert_consistent();
}

#[test]
fn the_recording_ends_and_the_program_goes_on_when_the_file_cannot_grow() {
    let test = "the_recording_ends_and_the_program_goes_on_when_the_file_cannot_grow";
    let play = || {
        let limit = libc::rlimit { rlim_cur: 700_000, rlim_max: 700_000 };
        // SAFETY: the limit is one.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_FSIZE, &raw const limit) }, 0);
        std::thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(|| allocate_and_release(60_000)))));
    };
    if process::plays(test, play) {
        return;
    }
    let trace = trace_of(test, &[]);
    assert!(trace.notes.contains(&Note::End(1)), "{} events", trace.events.len());
    assert!(trace.chunks <= 10 && trace.events.len() > 5_000);
}

#[test]
fn a_file_that_cannot_be_written_is_told_and_the_program_goes_on() {
    let test = "a_file_that_cannot_be_written_is_told_and_the_program_goes_on";
    if process::plays(test, || println!("went on")) {
        return;
    }
    let child = run(test, Path::new("/nonexistent/program.trace"), &[]).success();
    assert_eq!(
        process::stderr(&child),
        "mem_alloc_rust: the file that MEM_ALLOC_RUST_TRACE names cannot be written, and nothing is recorded: \
         /nonexistent/program.trace\n"
    );
    assert!(String::from_utf8_lossy(&child.get_output().stdout).contains("went on"));
}

#[test]
fn what_a_backtrace_takes_is_left_out() {
    let test = "what_a_backtrace_takes_is_left_out";
    let play = || {
        // Refused, with a report and its backtrace; and a panic, with its own.
        assert!(Vec::<u8>::new().try_reserve_exact(2 * ARENA).is_err());
        let kept = std::panic::catch_unwind(|| {
            let _released_while_unwinding = black_box(vec![1u8; MARK]);
            panic!("as planned");
        });
        drop(kept);
    };
    if process::plays(test, play) {
        return;
    }
    let trace = trace_of(test, &[("RUST_BACKTRACE", "1")]);
    let largest = trace.events.iter().filter_map(|entry| match entry.event {
        Event::Allocation { size, .. } | Event::Reallocation { new_size: size, .. } => Some(size),
        _ => None,
    });
    assert_eq!(largest.max(), Some(MARK as u64), "symbols take megabytes");
    let block = trace.events.iter().find_map(|entry| match entry.event {
        Event::Allocation { size, address, .. } if size == MARK as u64 => Some(address),
        _ => None,
    });
    let is_release = |event| matches!(event, Event::Release { address } if Some(address) == block);
    assert!(trace.events.iter().any(|entry| is_release(entry.event)));
    assert!(trace.events.iter().any(|entry| matches!(entry.event, Event::Refused { .. })));
}

#[inline(never)]
fn the_one_who_asks() -> Vec<u8> {
    black_box(vec![1u8; MARK])
}

#[test]
fn call_sites_are_the_return_addresses_of_whoever_asked() {
    let test = "call_sites_are_the_return_addresses_of_whoever_asked";
    let play = || {
        // Forms one path from this function, and one a level deeper.
        drop(the_one_who_asks());
        println!("at {} in", the_one_who_asks as fn() -> Vec<u8> as usize);
    };
    if process::plays(test, play) {
        return;
    }
    let folder = Folder::new(test);
    let file = folder.0.join("program.trace");
    let child = run(test, &file, &[("MEM_ALLOC_RUST_TRACE_CALL_SITES", "unwind")]).success();
    let stdout = String::from_utf8_lossy(&child.get_output().stdout);
    let function: u64 = stdout.split("at ").find_map(|rest| rest.split(" in").next()?.parse().ok()).unwrap();
    let trace = Trace::read(&file);
    trace.assert_consistent();
    assert_eq!(trace.header.call_sites, CallSites::Unwound);
    let site = trace.events.iter().find_map(|entry| match entry.event {
        Event::Allocation { size, site, .. } if size == MARK as u64 => Some(site),
        _ => None,
    });
    let path = trace.path_to(site.unwrap());
    assert!(path.len() > 5, "{path:x?}");
    assert!(
        path.iter().any(|address| (function..function + 200).contains(address)),
        "{function:x} in {path:x?}"
    );
    let own = trace.notes.iter().any(|note| match note {
        Note::Module(module) => (module.start..module.end).contains(&function),
        _ => false,
    });
    assert!(own, "the program is one of its modules");
}

#[test]
fn frame_pointers_that_are_none_do_no_harm() {
    let test = "frame_pointers_that_are_none_do_no_harm";
    if process::plays(test, || allocate_and_release(10_000)) {
        return;
    }
    let trace = trace_of(test, &[("MEM_ALLOC_RUST_TRACE_CALL_SITES", "frame-pointers")]);
    trace.assert_consistent();
    assert_eq!(trace.header.call_sites, CallSites::FramePointers);
}

#[test]
fn a_wish_that_is_none_is_told() {
    let test = "a_wish_that_is_none_is_told";
    if process::plays(test, || {}) {
        return;
    }
    let folder = Folder::new(test);
    let file = folder.0.join("program.trace");
    let child = run(test, &file, &[("MEM_ALLOC_RUST_TRACE_CALL_SITES", "frames")]).success();
    assert_eq!(
        process::stderr(&child),
        "mem_alloc_rust: MEM_ALLOC_RUST_TRACE_CALL_SITES is none of none, frame-pointers and unwind: the trace has no \
         call sites\n"
    );
    Trace::read(&file).assert_consistent();
}

#[test]
#[cfg(target_os = "linux")]
fn the_error_number_stays_while_files_grow() {
    let test = "the_error_number_stays_while_files_grow";
    let play = || {
        let limit = libc::rlimit { rlim_cur: 400_000, rlim_max: 400_000 };
        // SAFETY: the limit is one, and the C library has an error number for each thread.
        unsafe {
            libc::setrlimit(libc::RLIMIT_FSIZE, &raw const limit);
            *libc::__errno_location() = 77;
            for n in 1..100_000 {
                let layout = layout(n % 100 + 1, 8);
                A.dealloc(A.alloc(layout), layout);
                assert_eq!(*libc::__errno_location(), 77);
            }
        }
    };
    if process::plays(test, play) {
        return;
    }
    assert!(trace_of(test, &[]).events.len() > 50_000);
}
