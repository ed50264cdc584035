//! What a program with growing memory has from the system: nothing for what is only reserved, little more than what is
//! in use after a peak, and no page anew each time that it frees and allocates in turn.

#![cfg(all(feature = "std", target_os = "linux"))]

#[path = "../../extent/mod.rs"]
mod extent;
#[expect(dead_code, reason = "other tests use more of it")]
mod growing;

use extent::is_full;
use growing::{Chain, Growable, MIB, PAGE};
use mem_alloc_rust::{Growing, Locked, ThreadCached};
use serial_test::serial;
use std::alloc::{GlobalAlloc, Layout};
use std::time::{Duration, Instant};

/// It takes a second; this is long enough on any machine.
const PATIENCE: Duration = Duration::from_secs(60);

static LOCKED: Locked<Growing<{ 1 << 30 }>> = Locked::new();
static CACHED: ThreadCached<Growing<{ 1 << 30 }>> = ThreadCached::new();

/// A figure of the process, in bytes.
#[cfg(target_pointer_width = "64")]
fn figure(name: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() << 10
}

/// Bytes of the process that are in memory.
fn resident() -> usize {
    // `statm` has counters that processors add to now and then, some hundred KiB late.
    let rollup = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap();
    let line = rollup.lines().find_map(|line| line.strip_prefix("Rss:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
}

/// How many pages this thread was given so far.
fn page_faults() -> usize {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the system writes to it only, and all of it may be zero.
    let usage = unsafe {
        assert_eq!(libc::getrusage(libc::RUSAGE_THREAD, usage.as_mut_ptr()), 0);
        usage.assume_init()
    };
    usize::try_from(usage.ru_minflt).unwrap()
}

#[test]
#[serial]
#[cfg(target_pointer_width = "64")]
fn what_is_only_reserved_is_no_memory() {
    static B: Locked<Growing<{ 64 << 30 }>> = Locked::new();
    // "VmData" is what the system counts as memory that the process may write to.
    let figures = || [figure("VmSize"), figure("VmData")];
    // The thread of the test before has ended, and its stack goes some time after that.
    let mut before = figures();
    while {
        std::thread::sleep(Duration::from_millis(50));
        let last = std::mem::replace(&mut before, figures());
        before != last
    } {}
    let mut chain = Chain::new(&B);
    assert!(chain.push(1000));
    let after = figures();
    let [reserved, counted] = [0, 1].map(|number| after[number] - before[number]);
    assert!(reserved > 3 << 30, "{reserved} bytes are reserved");
    assert!(counted < 2 * MIB, "{counted} bytes count");
    assert!(counted >= B.committed_bytes() && B.committed_bytes() > 1000);
}

#[test]
#[serial]
fn resident_memory_follows_what_is_in_use() {
    for allocator in [&LOCKED as &dyn Growable, &CACHED] {
        allocator.trim();
        let before = resident();
        let mut live = Chain::new(allocator);
        for number in 0..20_000 {
            assert!(live.push(16 + number % 900));
        }
        for (wave, peak) in [50 * MIB, 25 * MIB, 80 * MIB, 40 * MIB].into_iter().enumerate() {
            let mut chain = Chain::new(allocator);
            let sizes: [usize; 4] = [24, 300, 20_000, 2 * MIB];
            for number in 0.. {
                if chain.bytes >= peak {
                    break;
                }
                assert!(chain.push(sizes[number % if number % 1000 == 0 { 4 } else { 3 }]));
            }
            assert!(resident() - before > peak - MIB);
            drop(chain);
            let limit = live.bytes + live.bytes / 4 + 2 * MIB;
            let is_over = Instant::now();
            loop {
                let more = resident().saturating_sub(before);
                if more < limit {
                    break;
                }
                let waited = is_over.elapsed();
                assert!(
                    waited < PATIENCE,
                    "{more} bytes {waited:?} after wave {wave}, {} in use",
                    live.bytes
                );
                // What may be given back by now is, when somebody comes to the lock.
                std::thread::sleep(Duration::from_millis(20));
                assert!(Chain::new(allocator).push(100_000));
            }
        }
        allocator.audit().unwrap();
    }
}

#[test]
#[serial]
fn trim_tells_by_how_much_resident_memory_falls() {
    for allocator in [&LOCKED as &dyn Growable, &CACHED] {
        let mut live = Chain::new(allocator);
        while live.bytes < 90 * MIB {
            assert!(live.push(3000));
        }
        let mut hole = Chain::new(allocator);
        while hole.bytes < 4 * MIB {
            assert!(hole.push(3000));
        }
        assert!((0..10).all(|_| live.push(3000)));
        // Too little for memory to be given back without being asked.
        drop(hole);
        let before = resident();
        let given_back = allocator.trim();
        let fallen = before.saturating_sub(resident());
        assert!(given_back > 3 * MIB, "{given_back}");
        assert!(fallen.abs_diff(given_back) < MIB / 4, "{fallen}, and {given_back} were told");
        assert_eq!(allocator.trim(), 0);
        // What was given back is not told again when a little of it is in use.
        assert!(live.push(100));
        let given_back = allocator.trim();
        assert!(given_back < 8 * PAGE, "{given_back}");
        allocator.audit().unwrap();
    }
}

/// A block that a cache keeps may be all that its run is kept for. (What is resident would tell of the system's
/// allocator as well, which this program has.)
#[test]
#[serial]
fn what_caches_keep_does_not_keep_a_peak_in_memory() {
    static CACHED: ThreadCached<Growing<{ 1 << 30 }>> = ThreadCached::new();
    let peak = if is_full() { 200 * MIB } else { 80 * MIB };
    let (done, wait) = std::sync::mpsc::channel::<()>();
    let (hand_over, take) = std::sync::mpsc::channel();
    let make = move || {
        let mut blocks = Vec::new();
        for size in (16..=128).step_by(8) {
            for _ in 0..peak / 15 / size {
                let layout = Layout::from_size_align(size, 8).unwrap();
                // SAFETY: the layout is of more than no bytes.
                let block = unsafe { CACHED.alloc(layout) };
                assert!(!block.is_null());
                blocks.push((block.expose_provenance(), layout));
            }
        }
        hand_over.send(blocks).unwrap();
        wait.recv().unwrap();
    };
    let maker = std::thread::spawn(make);
    let mut blocks = take.recv().unwrap();
    fastrand::Rng::with_seed(1).shuffle(&mut blocks);
    for &(block, layout) in &blocks {
        // SAFETY: the block is in use, and is given back once.
        unsafe { CACHED.dealloc(std::ptr::with_exposed_provenance_mut(block), layout) };
    }
    drop(blocks);
    let stats = CACHED.stats();
    assert!(stats.held_bytes < peak / 10, "{stats:?}");
    CACHED.audit().unwrap();
    done.send(()).unwrap();
    maker.join().unwrap();
}

/// Bytes of the process for which huge pages are asked for.
fn with_huge_pages() -> usize {
    with_huge_pages_in(0..usize::MAX)
}

/// As [`with_huge_pages`], at these addresses.
fn with_huge_pages_in(addresses: std::ops::Range<usize>) -> usize {
    let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
    let mut mapping = 0..0;
    let mut sum = 0;
    for line in maps.lines() {
        let first = line.split(' ').next().unwrap();
        if let Some((start, end)) = first.split_once('-') {
            let [start, end] = [start, end].map(|address| usize::from_str_radix(address, 16).unwrap());
            mapping = start.max(addresses.start)..end.min(addresses.end);
        }
        if line.strip_prefix("VmFlags:").is_some_and(|flags| flags.split(' ').any(|flag| flag == "hg")) {
            sum += mapping.len();
        }
    }
    sum
}

#[test]
#[serial]
fn huge_pages_are_not_asked_for_unless_that_is_wanted() {
    let before = with_huge_pages();
    let allocator = Locked::<Growing<{ 1 << 30 }>>::new();
    let layouts = [(40 * MIB, 1), (MIB / 2, 100)];
    // SAFETY: the layouts are of more than no bytes, and each block is given back once.
    unsafe {
        let blocks = layouts.map(|(size, count)| {
            let layout = Layout::from_size_align(size, 8).unwrap();
            (0..count).map(|_| (allocator.alloc(layout), layout)).collect::<Vec<_>>()
        });
        assert!(blocks.iter().flatten().all(|(block, _)| !block.is_null()));
        assert_eq!(with_huge_pages(), before);
        blocks.into_iter().flatten().for_each(|(block, layout)| allocator.dealloc(block, layout));
    }
}

/// (Where the system knows no huge pages, there are none before and after.)
#[test]
#[serial]
fn huge_pages_are_asked_for_what_comes_back_as_well() {
    let allocator = Locked::<Growing<{ 1 << 30 }, true>>::new();
    let layout = Layout::from_size_align(900_000, 8).unwrap();
    let mut asked_for = Vec::new();
    for _ in 0..3 {
        // SAFETY: the layout is of more than no bytes, and each block is given back once.
        unsafe {
            let blocks: Vec<_> = (0..50).map(|_| allocator.alloc(layout)).collect();
            asked_for.push(with_huge_pages());
            blocks.into_iter().for_each(|block| allocator.dealloc(block, layout));
        }
        allocator.trim();
        asked_for.push(with_huge_pages());
    }
    assert!(asked_for.iter().all(|&bytes| bytes == asked_for[0]), "{asked_for:?}");
}

/// A vector that doubles, and one whose sizes are no multiples of anything.
#[test]
#[serial]
fn huge_pages_are_asked_for_blocks_that_grow() {
    for odd in [0, 123_456] {
        let allocator = Locked::<Growing<{ 1 << 30 }, true>>::new();
        let layout = |bytes| Layout::from_size_align(bytes, 8).unwrap();
        let mut size = MIB + odd;
        // SAFETY: the layouts are of more than no bytes; the block is in use, and is given back once.
        unsafe {
            let mut block = allocator.alloc(layout(size));
            let before = with_huge_pages();
            let are_known = before > 0;
            while size < 64 * MIB {
                block = allocator.realloc(block, layout(size), size * 2);
                size *= 2;
                assert!(!block.is_null());
                block.write_bytes(1, size);
                let whole = size.next_multiple_of(PAGE);
                assert_eq!(with_huge_pages() - before, if are_known { whole } else { 0 }, "{size} bytes");
                assert!((whole..whole + MIB).contains(&allocator.committed_bytes()), "{size} bytes");
            }
            allocator.dealloc(block, layout(size));
        }
        allocator.audit().unwrap();
    }
}

/// What is kept was of blocks too small for huge pages.
#[test]
#[serial]
fn huge_pages_are_asked_for_what_is_cut_from_pages_that_are_kept() {
    let allocator = Locked::<Growing<{ 1 << 30 }, true>>::new();
    let layout = |bytes| Layout::from_size_align(bytes, 8).unwrap();
    let small = layout(MIB + MIB / 2);
    // SAFETY: the layouts are of more than no bytes, and each block is given back once.
    unsafe {
        let begun = allocator.alloc(layout(100));
        let are_known = with_huge_pages() > 0;
        while allocator.committed_bytes() < 40 * MIB {
            let blocks: Vec<_> = (0..30).map(|_| allocator.alloc(small)).collect();
            assert!(blocks.iter().all(|block| !block.is_null()));
            blocks.into_iter().for_each(|block| allocator.dealloc(block, small));
        }
        let committed = allocator.committed_bytes();
        let mut block = allocator.alloc(layout(8 * MIB));
        for size in [8 * MIB, 12 * MIB, 20 * MIB] {
            assert!(!block.is_null());
            let asked_for = with_huge_pages_in(block.addr()..block.addr() + size);
            assert_eq!(asked_for, if are_known { size } else { 0 }, "{size} bytes");
            assert!(allocator.committed_bytes() < committed + MIB);
            if size < 20 * MIB {
                let larger = if size == 8 * MIB { 12 * MIB } else { 20 * MIB };
                block = allocator.realloc(block, layout(size), larger);
            }
        }
        allocator.dealloc(block, layout(20 * MIB));
        allocator.dealloc(begun, layout(100));
    }
    allocator.audit().unwrap();
}

/// Whether the system has mappings of so many bytes touch each other. Some (Linux 6.7 and a few more) do not, because
/// they place whatever is as long as a huge page at a multiple of one.
#[cfg(target_pointer_width = "64")]
fn are_neighbours(bytes: usize) -> bool {
    let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANON);
    // SAFETY: the system finds places where nothing is, and they are unmapped once.
    unsafe {
        let map = || libc::mmap(std::ptr::null_mut(), bytes, protection, flags, -1, 0);
        let starts: Vec<_> = (0..100).map(|_| map()).collect();
        starts.iter().for_each(|&start| assert!(libc::munmap(start, bytes) == 0));
        // The first ones fill holes.
        starts[90..].is_sorted_by(|one, next| one.addr() == next.addr() + bytes)
    }
}

/// A process has 65,530 mappings at most, unless the system is told otherwise.
#[test]
#[serial]
#[cfg(target_pointer_width = "64")]
fn large_blocks_do_not_use_up_the_mappings_of_the_process() {
    let mappings = || std::fs::read_to_string("/proc/self/maps").unwrap().lines().count();
    let allocator = Locked::<Growing<{ 1 << 40 }, true>>::new();
    // No multiple of a huge page: at multiples of one, there are gaps between them.
    let layout = Layout::from_size_align(733 * PAGE, 8).unwrap();
    if !are_neighbours(layout.size()) {
        return;
    }
    let mut blocks = Vec::new();
    let mut serve = |count| {
        while blocks.len() < count {
            // SAFETY: the layout is of more than no bytes.
            let block = unsafe { allocator.alloc(layout) };
            assert!(!block.is_null(), "{} blocks", blocks.len());
            blocks.push(block);
        }
        mappings()
    };
    let first = serve(16_500);
    let more = serve(19_000).saturating_sub(first);
    assert!(more < 100, "{more} mappings more for 2,500 blocks, after {first}");
    // SAFETY: each block is given back once.
    blocks.into_iter().for_each(|block| unsafe { allocator.dealloc(block, layout) });
    allocator.audit().unwrap();
    assert_eq!(allocator.stats().live_bytes, 0);
}

/// A large table of which little is used does not come into memory because it is cleared where one was before. (It did,
/// all of it, and took twenty times as long.)
#[test]
#[serial]
#[cfg(target_pointer_width = "64")]
fn sparse_tables_stay_sparse() {
    const TABLE: usize = 64 * MIB;
    let huge_pages = std::fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled");
    if huge_pages.is_ok_and(|when| when.contains("[always]")) {
        // One byte that is used is 2 MiB in memory.
        return;
    }
    for growable in [&LOCKED as &dyn Growable, &CACHED] {
        let layout = Layout::from_size_align(TABLE, 8).unwrap();
        let before = resident();
        for round in 0..20 {
            // SAFETY: the layout is not of zero bytes. The table is in use until it is freed, once.
            unsafe {
                let table = growable.alloc_zeroed(layout);
                assert!(!table.is_null());
                for number in 0..40 {
                    let at = table.add((number * 1_617_721 + round * 40_000) % TABLE);
                    assert_eq!(at.read(), 0);
                    at.write(1);
                }
                // What is used is often the beginning, but for what is nearly all of the table.
                table.write_bytes(1, MIB);
                let more = resident().saturating_sub(before);
                assert!(more < 3 * MIB, "{more} bytes are in memory in round {round}");
                growable.dealloc(table, layout);
            }
        }
    }
}

#[test]
#[serial]
fn who_frees_and_allocates_in_turn_does_not_pay_each_time() {
    const SIZE: usize = 10 * MIB;
    const ROUNDS: usize = 50;
    // Ones of its own: what they may give back in the next second is used up afterwards.
    static LOCKED: Locked<Growing<{ 1 << 30 }>> = Locked::new();
    static CACHED: ThreadCached<Growing<{ 1 << 30 }>> = ThreadCached::new();
    let layout = Layout::from_size_align(SIZE, 8).unwrap();
    for allocator in [&LOCKED as &dyn Growable, &CACHED] {
        let round = || {
            // SAFETY: the layout is of more than no bytes; the block holds as many, and is given back once.
            unsafe {
                let block = allocator.alloc(layout);
                assert!(!block.is_null());
                (0..SIZE).step_by(PAGE).for_each(|at| block.add(at).write(1));
                allocator.dealloc(block, layout);
            }
        };
        // All of what a program frees in the beginning is given back.
        (0..30).for_each(|_| round());
        // Then as much as the pace allows, which is more of it if another program has the processor meanwhile.
        let faults = (0..4).map(|_| {
            let before = page_faults();
            (0..ROUNDS).for_each(|_| round());
            page_faults() - before
        });
        let least = faults.min().unwrap();
        assert!(least < ROUNDS * (SIZE / PAGE) / 4, "{least} pages in {ROUNDS} rounds");
    }
}

/// One heap reaches as far as 4 GiB; what is more lies in further ones.
#[test]
#[serial]
#[cfg(target_pointer_width = "64")]
#[ignore = "takes 6 GiB of memory"]
fn more_small_blocks_than_one_heap_holds() {
    static B: ThreadCached<Growing<{ 64 << 30 }>> = ThreadCached::new();
    let before = resident();
    let allocator: &dyn Growable = &B;
    // The second time in what came back.
    for _ in 0..2 {
        let mut chain = Chain::new(allocator);
        while chain.bytes < 5 << 30 {
            assert!(chain.push(16 + chain.count % 1500));
        }
        allocator.audit().unwrap();
        let stats = allocator.stats();
        assert!(stats.live_blocks == chain.count && stats.live_bytes >= chain.bytes, "{stats:?}");
        let committed = allocator.committed_bytes();
        assert!(committed < chain.bytes / 8 * 9, "{committed} bytes for {}", chain.bytes);
        drop(chain);
        allocator.audit().unwrap();
        assert_eq!(allocator.stats().live_bytes, 0);
        allocator.trim();
        let (left, resident) = (allocator.committed_bytes(), resident().saturating_sub(before));
        assert!(left < 4 * MIB && resident < 8 * MIB, "{left} bytes are left, {resident} in memory");
    }
}
