//! What is told when a request is refused: once on stderr, or to a hook, and where.
//!
//! Each case is a process of its own: what is told once in a process is what is asked.

mod process;

use mem_alloc_rust::{FreeList, Locked, Refusal, ThreadCached, Verdict, set_refusal_hook};
use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
#[cfg(unix)]
use std::{
    io::{Read, Write},
    os::{fd::AsRawFd, unix::net::UnixStream},
    sync::atomic::AtomicBool,
    time::Duration,
};

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
    process::stderr(&process::run_test(test, environment).success()).to_owned()
}

/// Makes a socket to which nothing more can be written the standard error, and returns its other end.
#[cfg(unix)]
fn full_stderr() -> UnixStream {
    let (reader, mut writer) = UnixStream::pair().unwrap();
    writer.set_nonblocking(true).unwrap();
    while writer.write(&[b'.'; 4096]).is_ok() {}
    writer.set_nonblocking(false).unwrap();
    // SAFETY: both files are open.
    assert_eq!(unsafe { libc::dup2(writer.as_raw_fd(), libc::STDERR_FILENO) }, libc::STDERR_FILENO);
    reader
}

/// Otherwise the second thread may end the program before the first has told anything.
#[test]
#[cfg(unix)]
fn a_second_thread_gets_null_when_the_first_has_told() {
    let test = "a_second_thread_gets_null_when_the_first_has_told";
    let play = || {
        let mut reader = full_stderr();
        let is_read = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let ask = || is_refused(2 * ARENA) && is_read.load(Relaxed);
            let threads = [(); 2].map(|()| scope.spawn(ask));
            std::thread::sleep(Duration::from_millis(200));
            is_read.store(true, Relaxed);
            let (mut text, mut part) = (Vec::new(), [0; 4096]);
            while !text.ends_with(b"it has to be\n") {
                let len = reader.read(&mut part).unwrap();
                text.extend_from_slice(&part[..len]);
                text.drain(..text.len().saturating_sub(100));
            }
            assert!(threads.into_iter().all(|thread| thread.join().unwrap()));
        });
    };
    if !plays(test, play) {
        process::run_test(test, &[]).success();
    }
}

/// The report's lines, with what is counted in them taken out: numbers with their units.
fn without_numbers(report: &str) -> Vec<String> {
    let is_counted = |word: &str| word.starts_with(|first: char| first.is_ascii_digit());
    let word_of = |word: &str| if is_counted(word) { "N".to_owned() } else { word.replace("KiB", "B") };
    let words = |line: &str| line.split(' ').map(word_of).collect::<Vec<_>>().join(" ");
    report.lines().map(words).collect()
}

#[test]
fn the_first_refusal_is_reported_on_stderr() {
    let test = "the_first_refusal_is_reported_on_stderr";
    let play = || {
        let _held = vec![1u8; 300_000];
        assert!((0..3).all(|_| is_refused(2 * ARENA)));
    };
    if plays(test, play) {
        return;
    }
    let stderr = told(test, &[]);
    let lines = without_numbers(&stderr);
    let (by_size, rest): (Vec<_>, Vec<_>) = lines
        .iter()
        .partition(|line| line.starts_with("  by size  ") || line.starts_with("           from "));
    assert_eq!(
        rest,
        [
            "mem_alloc_rust: no memory for N bytes: exhausted, only N B are free",
            "  in use   N B of N B, N %; N B at most; in caches N B",
            "  free     N B in N blocks, and in slots N B; the largest block holds N bytes",
            "  remedy   FreeList<{ N << N }> should have sufficed so far; OrSystem takes the rest from the system",
            "  more     RUST_BACKTRACE=1 shows where; MEM_ALLOC_RUST_REFUSALS=each or never shows all, or none;",
            "           watch::Traced and the tool insight tell how large it has to be",
        ],
        "{stderr}"
    );
    assert!(
        stderr.contains("no memory for 2097152 bytes") && stderr.contains("FreeList<{ 3328 << 10 }>"),
        "{stderr}"
    );
    assert!(stderr.contains("\n  by size  from 256.0 KiB: 292.9 KiB in 1 block\n"), "{stderr}");
    assert!((1..=4).contains(&by_size.len()), "{stderr}");
}

#[test]
fn reports_come_as_often_as_the_program_or_the_environment_says() {
    use mem_alloc_rust::{RefusalReports, set_refusal_reports};
    const SAID: &str = "MEM_ALLOC_RUST_SAID";
    const VARIABLE: &str = "MEM_ALLOC_RUST_REFUSALS";
    let test = "reports_come_as_often_as_the_program_or_the_environment_says";
    let play = || {
        match std::env::var(SAID).unwrap().as_str() {
            "once" => set_refusal_reports(RefusalReports::Once),
            "each" => set_refusal_reports(RefusalReports::Each),
            "never" => set_refusal_reports(RefusalReports::Never),
            _ => {}
        }
        assert!((0..3).all(|_| is_refused(2 * ARENA)));
    };
    if plays(test, play) {
        return;
    }
    let count = |stderr: &str| stderr.matches("mem_alloc_rust: no memory").count();
    for (said, reports) in [("nothing", 1), ("once", 1), ("each", 3), ("never", 0)] {
        assert_eq!(count(&told(test, &[(SAID, said)])), reports, "{said}");
        for (variable, reports) in [("once", 1), ("each", 3), ("never", 0)] {
            assert_eq!(
                count(&told(test, &[(SAID, said), (VARIABLE, variable)])),
                reports,
                "{said}, {variable}"
            );
        }
    }
    let stderr = told(test, &[(SAID, "nothing"), (VARIABLE, "always")]);
    assert_eq!(count(&stderr), 1, "{stderr}");
    assert!(
        stderr.starts_with("mem_alloc_rust: MEM_ALLOC_RUST_REFUSALS is none of once, each and never\n"),
        "{stderr}"
    );
}

/// Takes the arena, and gives every other block of so many bytes back.
#[inline(never)]
#[expect(clippy::vec_box, reason = "each is to be a block of its own")]
fn fragment() -> Vec<Box<[u8; 3000]>> {
    let mut blocks = Vec::with_capacity(ARENA / 3500);
    while blocks.len() < ARENA / 3500 {
        blocks.push(Box::new([1; 3000]));
    }
    let mut kept = Vec::with_capacity(blocks.len());
    for (number, block) in blocks.into_iter().enumerate() {
        if number % 2 == 0 {
            kept.push(block);
        }
    }
    assert!(is_refused(200_000));
    kept
}

/// Takes the arena as it comes, with blocks of many sizes, until one is refused.
#[inline(never)]
fn fill() -> Vec<Vec<u8>> {
    let mut kept = Vec::with_capacity(20_000);
    let mut rng = fastrand::Rng::with_seed(3);
    loop {
        let mut block = Vec::new();
        if block.try_reserve_exact(rng.usize(1..500)).is_err() {
            return kept;
        }
        kept.push(block);
    }
}

#[test]
fn an_arena_that_was_fragmented_on_purpose_is_told_from_one_that_is_full() {
    let test = "an_arena_that_was_fragmented_on_purpose_is_told_from_one_that_is_full";
    let play = || match std::env::var("MEM_ALLOC_RUST_HOW").as_deref() {
        Ok("fragment") => drop(fragment()),
        _ => drop(fill()),
    };
    if plays(test, play) {
        return;
    }
    let fragmented = told(test, &[("MEM_ALLOC_RUST_HOW", "fragment")]);
    let first = fragmented.lines().next().unwrap();
    assert!(first.starts_with("mem_alloc_rust: no memory for 200000 bytes: fragmented, "), "{fragmented}");
    assert!(fragmented.contains("\n  by size  from 2.0 KiB: "), "{fragmented}");
    let full = told(test, &[("MEM_ALLOC_RUST_HOW", "fill")]);
    assert!(full.lines().next().unwrap().contains(" bytes: exhausted, only "), "{full}");
}

#[test]
fn what_is_recommended_is_enough() {
    static SMALL: Locked<FreeList<{ 256 << 10 }>> = Locked::new();
    static RECOMMENDED: AtomicUsize = AtomicUsize::new(0);
    let test = "what_is_recommended_is_enough";
    let play = || {
        set_refusal_hook(|refusal| match refusal.remedy {
            mem_alloc_rust::Remedy::LargerArena { bytes } => RECOMMENDED.store(bytes, Relaxed),
            other => panic!("{other:?}"),
        });
        for seed in 0..40 {
            // The same sequence in the arena that is too small, and in one of the size that is recommended then.
            let run = |allocator: &dyn Fn(Layout) -> *mut u8, free: &dyn Fn(*mut u8, Layout)| {
                let mut rng = fastrand::Rng::with_seed(seed);
                let mut live: Vec<(*mut u8, Layout)> = Vec::with_capacity(4000);
                for step in 0.. {
                    let bytes = if rng.usize(..20) == 0 { rng.usize(1..40_000) } else { rng.usize(1..900) };
                    let layout = Layout::from_size_align(bytes, 8).unwrap();
                    let block = allocator(layout);
                    if block.is_null() {
                        live.into_iter().for_each(|(block, layout)| free(block, layout));
                        return step;
                    }
                    live.push((block, layout));
                    if rng.usize(..3) == 0 {
                        let (block, layout) = live.swap_remove(rng.usize(..live.len()));
                        free(block, layout);
                    }
                }
                unreachable!()
            };
            // SAFETY: the layouts are of more than no bytes, and each block is given back once.
            let refused_at = run(&|layout| unsafe { SMALL.alloc(layout) }, &|block, layout| unsafe {
                SMALL.dealloc(block, layout)
            });
            let mut memory = vec![0u64; RECOMMENDED.load(Relaxed) / 8];
            let heap = std::cell::RefCell::new(mem_alloc_rust::Heap::new());
            // SAFETY: the memory is the heap's alone; as above.
            unsafe { heap.borrow_mut().init(memory.as_mut_ptr().cast(), size_of_val(&memory[..]), true) }
                .unwrap();
            let alloc =
                |layout| heap.borrow_mut().alloc(layout).map_or(std::ptr::null_mut(), |block| block.as_ptr());
            // SAFETY: as above.
            let reached = run(&alloc, &|block, _| unsafe { heap.borrow_mut().dealloc(block) }.unwrap());
            assert!(reached > refused_at, "seed {seed}: {} bytes", RECOMMENDED.load(Relaxed));
        }
    };
    if !plays(test, play) {
        assert_eq!(told(test, &[]), "");
    }
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
    let child = process::run_test(test, &[("RUST_BACKTRACE", "1")]);
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
        let stats = &refusal.stats;
        assert_eq!((stats.live_bytes, stats.arena_bytes), (refusal.live_bytes, refusal.arena_bytes));
        let others = stats.cached_bytes + stats.held_bytes + stats.overhead_bytes;
        assert_eq!(stats.live_bytes + others + stats.free_bytes, stats.arena_bytes);
        assert_eq!(refusal.verdict, Verdict::Exhausted);
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
