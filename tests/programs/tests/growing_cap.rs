//! A program that wants more than its cap: it is refused within a page of that, whoever set it, and goes on.
//!
//! Where the environment or a limit of the process decides, the case is a process of its own.

#![cfg(all(feature = "std", unix))]

#[expect(dead_code, reason = "other tests use more of it")]
mod growing;
mod process;

use growing::{Chain, Growable, MIB, PAGE};
use mem_alloc_rust::{Growing, Locked, Refusal, Remedy, ThreadCached, Verdict, set_refusal_hook};
use std::alloc::{GlobalAlloc, Layout};
use std::sync::Mutex;

const CAP: usize = 64 * MIB;

/// 8 GiB, where there are so many.
const BUILT_IN: usize = 1 << if usize::BITS > u32::BITS { 33 } else { 30 };

/// The program's own allocator, which has the caches, and whose cap others set.
#[global_allocator]
static A: ThreadCached<Growing<BUILT_IN>> = ThreadCached::new();

/// Fills an allocator to its cap in one way after the other, and empties it in between.
fn fill(allocator: &dyn Growable, cap: usize) {
    let ways: [&[usize]; 5] =
        [&[40], &[3000, 40], &[MIB, 40], &[5 * MIB + 1, 70_000, 16], &[100_000, MIB, 16]];
    for sizes in ways {
        let mut chain = Chain::new(allocator);
        for &size in sizes {
            chain.fill(size);
            let committed = allocator.committed_bytes();
            assert!(committed <= cap && cap - committed < size + 2 * PAGE, "{committed} of {cap}, {size}");
        }
        let committed = allocator.committed_bytes();
        assert!(cap - committed <= PAGE, "{committed} of {cap} with {sizes:?}");
        // What holds as much as the cap less a share for headers, holes at the ends of pages, and bookkeeping.
        assert!(chain.bytes > cap / 8 * 7, "{} of {cap} bytes with {sizes:?}", chain.bytes);
        assert!(chain.count > 10);
        // The program goes on with what it gives back.
        while chain.bytes > cap / 2 {
            chain.pop();
        }
        assert!([MIB, 100, 9 * MIB].into_iter().all(|size| chain.push(size)), "{sizes:?}");
        allocator.audit().unwrap();
    }
}

/// The program's allocator is asked in the usual ways, among others for so much that it is refused.
fn try_usual_ways(too_much: usize) {
    let mut numbers = Vec::<u8>::new();
    assert!(numbers.try_reserve_exact(too_much).is_err());
    assert!(numbers.try_reserve_exact(too_much / 4).is_ok());
    // Written and compared a page at a time: byte by byte takes long without optimisation.
    while numbers.len() < too_much / 4 {
        numbers.extend_from_slice(&[7; PAGE]);
    }
    assert!(numbers.try_reserve_exact(too_much).is_err());
    assert!(numbers.chunks(PAGE).all(|page| page == [7; PAGE]));
    drop(numbers);
    let text = (0..10_000).map(|number| number.to_string()).collect::<Vec<_>>();
    assert_eq!(text.len(), 10_000);
    let threads: Vec<_> = (0..4).map(|_| std::thread::spawn(|| vec![1u8; 3 * MIB].len())).collect();
    assert!(threads.into_iter().all(|thread| thread.join().unwrap() == 3 * MIB));
    A.audit().unwrap();
}

fn told(test: &str, environment: &[(&str, &str)]) -> String {
    process::stderr(&process::run_test(test, environment).success()).to_owned()
}

#[test]
fn a_cap_of_the_type_is_kept() {
    static B: Locked<Growing<CAP>> = Locked::new();
    fill(&B, CAP);
}

#[test]
fn a_cap_of_the_environment_is_kept() {
    let test = "a_cap_of_the_environment_is_kept";
    let play = || {
        set_refusal_hook(|_| {});
        assert_eq!(A.cap(), CAP);
        fill(&A, CAP);
        try_usual_ways(CAP);
    };
    if process::plays(test, play) {
        return;
    }
    assert_eq!(told(test, &[("MEM_ALLOC_RUST_CAP", "64M")]), "");
}

#[test]
fn a_refusal_tells_the_cap() {
    let test = "a_refusal_tells_the_cap";
    let play = || {
        let _half = vec![1u8; 32 * MIB];
        assert!(Vec::<u8>::new().try_reserve_exact(40 * MIB).is_err());
    };
    if process::plays(test, play) {
        return;
    }
    let stderr = told(test, &[("MEM_ALLOC_RUST_CAP", "64M")]);
    assert!(stderr.starts_with("mem_alloc_rust: no memory for 41943040 bytes: exhausted, only "), "{stderr}");
    assert!(stderr.contains(" of 64.0 MiB, "), "{stderr}");
    assert!(stderr.contains("\n  by size  from 32.0 MiB: 32.0 MiB in 1 block\n"), "{stderr}");
    assert!(stderr.contains(" MiB of a cap of 64.0 MiB\n"), "{stderr}");
    let (_, remedy) = stderr.split_once("\n  remedy   a cap of ").unwrap_or_else(|| panic!("{stderr}"));
    let (kib, code) = remedy.split_once(" KiB: Growing<{ ").unwrap_or_else(|| panic!("{stderr}"));
    let kib: usize = kib.replace(',', "").parse().unwrap();
    assert!((104 << 10..=120 << 10).contains(&kib), "{stderr}");
    assert!(code.starts_with(&format!("{} << 20 }}>", kib >> 10)), "{stderr}");
}

#[test]
fn a_malformed_cap_is_one_sentence_and_the_built_in_one_stays() {
    let test = "a_malformed_cap_is_one_sentence_and_the_built_in_one_stays";
    if process::plays(test, || assert_eq!(A.cap(), BUILT_IN)) {
        return;
    }
    for value in ["", "64MB"] {
        let stderr = told(test, &[("MEM_ALLOC_RUST_CAP", value)]);
        let line = stderr.strip_suffix('\n').unwrap_or_default();
        assert!(line.starts_with("mem_alloc_rust: MEM_ALLOC_RUST_CAP is no number of bytes"), "{stderr}");
        assert!(!line.contains('\n'), "{stderr}");
    }
}

/// While more is in use than a cap that was lowered, nothing is served, whatever comes back into caches meanwhile; not
/// to a thread that begins then, either.
#[test]
fn nothing_is_served_while_more_is_in_use_than_the_cap() {
    let test = "nothing_is_served_while_more_is_in_use_than_the_cap";
    let play = || {
        set_refusal_hook(|_| {});
        let [mut mine, mut theirs] = [(); 2].map(|()| {
            let mut chain = Chain::new(&A);
            assert!((0..20_000).all(|number| chain.push(16 + number % 500)));
            chain
        });
        let served = std::thread::scope(|scope| {
            let other = scope.spawn(|| serves_in_turn(&mut theirs));
            A.set_cap(2 * MIB);
            let served = serves_in_turn(&mut mine);
            (served, other.join().unwrap())
        });
        A.set_cap(1 << 30);
        assert_eq!(served, (0, 0), "requests of two threads were served");
    };
    if process::plays(test, play) {
        return;
    }
    assert_eq!(told(test, &[]), "");
}

/// What is recommended there is enough to begin with.
#[test]
fn a_cap_that_is_too_small_for_anything_is_told_of() {
    let test = "a_cap_that_is_too_small_for_anything_is_told_of";
    if process::plays(test, || ()) {
        return;
    }
    for cap in ["0", "4K", "63K"] {
        let child = process::run_test(test, &[("MEM_ALLOC_RUST_CAP", cap)]);
        process::assert_aborted(&child);
        let stderr = process::stderr(&child);
        assert!(stderr.contains("exhausted, only 0 B are free\n"), "{stderr}");
        let remedy = "\n  remedy   a cap of 72 KiB: Growing<{ 72 << 10 }>, set_cap, or MEM_ALLOC_RUST_CAP\n";
        assert!(stderr.contains(remedy), "{stderr}");
    }
    let begun = process::run_test(test, &[("MEM_ALLOC_RUST_CAP", "72K")]);
    assert!(!process::stderr(&begun).contains("only 0 B"), "{}", process::stderr(&begun));
}

/// Frees blocks and asks for others in turn. Returns how often that was served.
fn serves_in_turn(chain: &mut Chain) -> usize {
    // The cap is lowered when this sees it, in whichever thread.
    while A.cap() > 2 * MIB {
        std::thread::yield_now();
    }
    let mut served = 0;
    for _ in 0..40 {
        // So many in a row, without a request that is refused, that a cache takes memory not to be short any more.
        let mut size = 0;
        for _ in 0..100 {
            let before = chain.bytes;
            chain.pop();
            size = before - chain.bytes;
        }
        let layout = Layout::from_size_align(size, 8).unwrap();
        // SAFETY: the layout is of more than no bytes.
        let block = unsafe { A.alloc(layout) };
        served += usize::from(!block.is_null());
    }
    served
}

/// Runs this program again as a child with a role that may have so many bytes, and no more, of what the shell's
/// `ulimit` calls by that option: `-v` is address space, `-d` is memory that can be written to. Returns what it wrote
/// to stderr.
#[cfg(target_os = "linux")]
fn told_with_limit(test: &str, option: &str, bytes: usize) -> String {
    let program = std::env::current_exe().unwrap();
    let child = assert_cmd::Command::new("sh")
        .args(["-c", &format!("ulimit {option} {} && exec \"$0\" \"$@\"", bytes >> 10)])
        .arg(program)
        .args(process::arguments(test))
        .env(process::ROLE, test)
        .env_remove("RUST_BACKTRACE")
        .timeout(std::time::Duration::from_secs(120))
        .assert()
        .success();
    process::stderr(&child).to_owned()
}

/// Fills what a limit of the process leaves, in one way after the other, and goes on.
#[cfg(target_os = "linux")]
fn fill_to_limit(limit: usize) {
    set_refusal_hook(|_| {});
    assert_eq!(A.cap(), BUILT_IN);
    for sizes in [[MIB, 40], [70_000, 40], [3000, 16]] {
        let mut chain = Chain::new(&A);
        sizes.iter().for_each(|&size| chain.fill(size));
        assert!(chain.bytes > limit / 2 && chain.bytes < limit, "{} bytes of {sizes:?}", chain.bytes);
        A.audit().unwrap();
        while chain.bytes > limit / 16 {
            chain.pop();
        }
        // There is room for threads' stacks again.
        try_usual_ways(limit);
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_limit_of_the_address_space_refuses_and_the_program_goes_on() {
    let test = "a_limit_of_the_address_space_refuses_and_the_program_goes_on";
    const LIMIT: usize = 300 * MIB;
    if !process::plays(test, || fill_to_limit(LIMIT)) {
        assert_eq!(told_with_limit(test, "-v", LIMIT), "");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_limit_of_memory_refuses_steps_and_the_program_goes_on() {
    let test = "a_limit_of_memory_refuses_steps_and_the_program_goes_on";
    const LIMIT: usize = 100 * MIB;
    if !process::plays(test, || fill_to_limit(LIMIT)) {
        assert_eq!(told_with_limit(test, "-d", LIMIT), "");
    }
}

/// Half of it is free, in holes, and is not the system's to give.
#[test]
fn a_cap_that_is_reached_can_be_fragmented() {
    let test = "a_cap_that_is_reached_can_be_fragmented";
    if !process::plays(test, fragment) {
        assert_eq!(told(test, &[]), "");
    }
}

fn fragment() {
    static A: Locked<Growing<{ 4 * MIB }>> = Locked::new();
    static SEEN: Mutex<Option<Refusal>> = Mutex::new(None);
    set_refusal_hook(|refusal| *SEEN.lock().unwrap() = Some(*refusal));
    let layout = Layout::new::<[u8; 3000]>();
    // SAFETY: the layout is of more than no bytes.
    let blocks: Vec<_> =
        std::iter::repeat_with(|| unsafe { A.alloc(layout) }).take_while(|block| !block.is_null()).collect();
    // SAFETY: each block is given back once.
    blocks.iter().step_by(2).for_each(|&block| unsafe { A.dealloc(block, layout) });
    let verdict_for = |bytes| {
        // SAFETY: no more is asked for than there can be.
        assert!(unsafe { A.alloc(Layout::from_size_align(bytes, 8).unwrap()) }.is_null());
        SEEN.lock().unwrap().take().unwrap()
    };
    assert_eq!(verdict_for(200_000).verdict, Verdict::Fragmented);
    assert_eq!(verdict_for(3 * MIB).verdict, Verdict::Exhausted);
    // Where the cap is less than what is in use, no free block holds anything.
    A.set_cap(MIB);
    let refusal = verdict_for(100);
    assert_eq!((refusal.verdict, refusal.largest_free_bytes), (Verdict::Exhausted, 0));
    assert!(matches!(refusal.remedy, Remedy::HigherCap { bytes } if bytes > 4 * MIB), "{refusal}");
    assert_eq!(A.stats().fragmentation(), 0.0);
}
