//! What a `Sampled` allocator keeps in mind: blocks that are in use, in proportion to their bytes.

#![cfg(unix)]

mod at_end;
#[allow(dead_code, reason = "not every test asks everything")]
#[path = "traced/trace.rs"]
mod trace;

use at_end::SetAtEnd;
use mem_alloc_rust::trace::Event;
use mem_alloc_rust::watch::Sampled;
use mem_alloc_rust::{FreeList, ThreadCached};
use serial_test::serial;
use std::alloc::{GlobalAlloc, Layout};
use std::fs::File;
use std::hint::black_box;
use trace::Trace;

const ARENA: usize = 96 << 20;

#[global_allocator]
static A: Sampled<ThreadCached<FreeList<ARENA>>, { 16 << 10 }> = Sampled::new(ThreadCached::new());

/// The sample as it is now.
fn profile(test: &str) -> Trace {
    let path = std::env::temp_dir().join(format!("sampled-{}-{test}.heap", std::process::id()));
    A.write_profile(&File::create(&path).unwrap()).unwrap();
    let trace = Trace::read(&path);
    std::fs::remove_file(path).unwrap();
    assert!(trace.header.is_sampled);
    assert_eq!(trace.header.sample_interval, 16 << 10);
    trace
}

/// How many blocks of a size the sample has, and how many bytes they stand for.
fn share(trace: &Trace, wanted: usize) -> (usize, u64) {
    let of_size = trace.events.iter().filter(|entry| match entry.event {
        Event::Allocation { size, .. } => size == wanted as u64,
        _ => false,
    });
    of_size.fold((0, 0), |(blocks, bytes), entry| (blocks + 1, bytes + entry.weight.unwrap()))
}

fn blocks(count: usize, size: usize) -> Vec<Vec<u8>> {
    (0..count).map(|_| black_box(vec![1u8; size])).collect()
}

#[test]
#[serial]
fn the_sample_stands_for_what_is_in_use() {
    // Of 160,000 blocks of 100 bytes about a thousand are in the sample, so that a tenth is three times its deviation.
    let small = blocks(160_000, 100);
    let large = blocks(300, 50_001);
    let trace = profile("in_use");
    let (count, bytes) = share(&trace, 100);
    assert!((700..1300).contains(&count), "{count}");
    assert!((13_000_000..19_000_000).contains(&bytes), "{bytes}");
    let (count, bytes) = share(&trace, 50_001);
    assert!(count > 250, "{count}: nearly every block that is larger than the interval");
    assert!((14_000_000..16_500_000).contains(&bytes), "{bytes}");

    drop(small);
    let trace = profile("released");
    assert_eq!(share(&trace, 100).0, 0, "what was released is in no profile");
    assert!(share(&trace, 50_001).0 > 250);
    drop(large);
    assert_eq!(share(&profile("all_released"), 50_001).0, 0);
}

#[inline(never)]
fn the_one_who_asks() -> Vec<Vec<u8>> {
    // (Not the last thing that it does, so that it is called and not jumped to.)
    black_box(blocks(100, 40_003))
}

#[test]
#[serial]
fn a_profile_has_the_call_sites() {
    let kept = the_one_who_asks();
    let trace = profile("call_sites");
    let function = the_one_who_asks as fn() -> Vec<Vec<u8>> as usize as u64;
    let sites: Vec<u64> = trace
        .events
        .iter()
        .filter_map(|entry| match entry.event {
            Event::Allocation { size: 40_003, site, .. } => Some(site),
            _ => None,
        })
        .collect();
    assert!(sites.len() > 50);
    for site in sites {
        let path = trace.path_to(site);
        assert!(path.iter().any(|address| (function..function + 500).contains(address)), "{path:x?}");
    }
    drop(kept);
}

#[test]
#[serial]
fn a_realloc_counts_anew_and_a_refused_one_changes_nothing() {
    let layout = Layout::from_size_align(3_000_011, 8).unwrap();
    // SAFETY: the layout is of more than no bytes, and the block is given back once.
    unsafe {
        let block = A.alloc(layout);
        assert_eq!(share(&profile("before"), layout.size()).0, 1);
        // Whether or not a report of it asks for memory, too, for a call stack.
        assert!(A.realloc(block, layout, 2 * ARENA).is_null());
        assert_eq!(share(&profile("refused"), layout.size()).0, 1);
        let block = A.realloc(block, layout, 4_000_013);
        let trace = profile("moved");
        assert_eq!((share(&trace, layout.size()).0, share(&trace, 4_000_013).0), (0, 1));
        A.dealloc(block, Layout::from_size_align(4_000_013, 8).unwrap());
    }
    assert_eq!(share(&profile("after"), 4_000_013).0, 0);
}

#[test]
#[serial]
fn what_is_refused_does_not_count() {
    // Three of them in a row would turn a countdown that is less than nothing into one that takes forever.
    let huge = Layout::from_size_align(1 << (usize::BITS - 2), 8).unwrap();
    let small = Layout::new::<[u8; 24]>();
    let expect_samples = |test| {
        let kept = blocks(100, 30_029);
        let count = share(&profile(test), 30_029).0;
        assert!(count > 50, "{count}");
        drop(kept);
    };
    expect_samples("before_any");
    // SAFETY: the layouts are of more than no bytes, and the block is given back once.
    unsafe {
        assert!((0..3).all(|_| A.alloc(huge).is_null()));
        expect_samples("refused");
        assert!((0..3).all(|_| A.alloc_zeroed(huge).is_null()));
        expect_samples("refused_zeroed");
        let block = A.alloc(small);
        assert!((0..3).all(|_| A.realloc(block, small, huge.size()).is_null()));
        A.dealloc(block, small);
    }
    expect_samples("refused_realloc");
}

#[test]
fn the_arena_is_no_part_of_the_program_file() {
    // One byte of the static that is not zero, and all of it would be in the file.
    let file = std::env::current_exe().unwrap().metadata().unwrap();
    assert!(file.len() < ARENA as u64, "{}", file.len());
}

#[test]
#[serial]
fn threads_share_one_sample_and_release_what_others_allocated() {
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let sender = sender.clone();
            scope.spawn(move || (0..500).for_each(|_| sender.send(blocks(1, 20_011)).unwrap()));
        }
    });
    drop(sender);
    let received: Vec<_> = receiver.into_iter().collect();
    let trace = profile("threads");
    assert!(share(&trace, 20_011).0 > 1_000);
    let mut threads: Vec<_> = trace.events.iter().map(|entry| entry.thread).collect();
    threads.sort_unstable();
    threads.dedup();
    assert!(threads.len() >= 4, "{threads:?}");
    drop(received);
    assert_eq!(share(&profile("threads_released"), 20_011).0, 0);
}

#[test]
#[serial]
fn profiles_are_written_while_threads_allocate() {
    let is_done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _end = SetAtEnd(&is_done);
        for size in [30_011, 50_021] {
            let is_done = &is_done;
            scope.spawn(move || {
                while !is_done.load(std::sync::atomic::Ordering::Relaxed) {
                    drop(blocks(20, size));
                }
            });
        }
        for _ in 0..50 {
            let trace = profile("meanwhile");
            for entry in &trace.events {
                let Event::Allocation { size, align, address, .. } = entry.event else { panic!() };
                assert!(address > 4096 && size > 0 && align > 0 && entry.weight.unwrap() >= size);
            }
        }
    });
}

/// Allocates at the end of a path of calls that the bits of a number make.
#[inline(never)]
fn by_way_of(bits: u32, depth: u32) -> Vec<u8> {
    match (depth, bits & 1) {
        (0, _) => black_box(vec![1u8; 60_000]),
        (_, 0) => black_box(by_way_of(bits >> 1, depth - 1)),
        _ => {
            let mut block = by_way_of(bits >> 1, depth - 1);
            block[0] = 2;
            black_box(block)
        }
    }
}

#[test]
#[serial]
fn call_sites_that_are_new_while_a_profile_is_written_are_in_it() {
    let is_done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let is_done = &is_done;
        let end = SetAtEnd(is_done);
        let allocate = |seed| {
            let mut kept = std::collections::VecDeque::new();
            let mut random = fastrand::Rng::with_seed(seed);
            while !is_done.load(std::sync::atomic::Ordering::Relaxed) {
                kept.push_back(by_way_of(random.u32(..), 16));
                if kept.len() > 100 {
                    kept.pop_front();
                }
            }
        };
        (1..=2).for_each(|seed| drop(scope.spawn(move || allocate(seed))));
        let traces: Vec<_> = (0..20).map(|_| profile("new_call_sites")).collect();
        drop(end);
        for trace in traces {
            for entry in &trace.events {
                let Event::Allocation { site, .. } = entry.event else { panic!() };
                assert!(!trace.path_to(site).is_empty());
            }
        }
    });
}

#[test]
#[serial]
fn what_cannot_be_written_is_an_error() {
    let read_only = File::open("/dev/null").unwrap();
    assert_eq!(A.write_profile(&read_only).unwrap_err().raw_os_error(), Some(libc::EBADF));
}

/// What the handler below writes to.
static IN_HANDLER: std::sync::OnceLock<File> = std::sync::OnceLock::new();

extern "C" fn write_in_handler(_: libc::c_int) {
    let file = IN_HANDLER.get().unwrap();
    A.write_profile(file).unwrap();
}

#[test]
#[serial]
fn a_signal_handler_can_write_a_profile_on_the_stack_that_std_gives_it() {
    let kept = blocks(100, 40_009);
    let path = std::env::temp_dir().join(format!("sampled-{}-handler.heap", std::process::id()));
    IN_HANDLER.set(File::create(&path).unwrap()).unwrap();
    // A thread of its own, so that the stack is not that of other tests.
    let thread = std::thread::spawn(|| {
        // As large as std's own, with a page below that nobody can touch.
        // SAFETY: the system finds a place where nothing is, the stack is as large as it says and stays for as long as
        // the thread, and the handler does nothing that a handler may not do.
        unsafe {
            let page = libc::sysconf(libc::_SC_PAGESIZE) as usize;
            let size = libc::SIGSTKSZ.max(page).next_multiple_of(page);
            let flags = libc::MAP_PRIVATE | libc::MAP_ANON;
            let start = libc::mmap(
                std::ptr::null_mut(),
                page + size,
                libc::PROT_READ | libc::PROT_WRITE,
                flags,
                -1,
                0,
            );
            assert_ne!(start, libc::MAP_FAILED);
            assert_eq!(libc::mprotect(start, page, libc::PROT_NONE), 0);
            let stack =
                libc::stack_t { ss_sp: start.cast::<u8>().add(page).cast(), ss_flags: 0, ss_size: size };
            let mut before: libc::stack_t = std::mem::zeroed();
            assert_eq!(libc::sigaltstack(&raw const stack, &raw mut before), 0);
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = write_in_handler as *const () as usize;
            action.sa_flags = libc::SA_ONSTACK;
            assert_eq!(libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut()), 0);
            assert_eq!(libc::raise(libc::SIGUSR1), 0);
            assert_eq!(libc::sigaltstack(&raw const before, std::ptr::null_mut()), 0);
            libc::munmap(start, page + size);
        }
    });
    thread.join().unwrap();
    assert!(share(&Trace::read(&path), 40_009).0 > 50);
    std::fs::remove_file(path).unwrap();
    drop(kept);
}
