//! What can be asked without the lock: how much is in use, what lies in the arena, how long a block is.

mod at_end;
#[cfg(all(feature = "std", unix))]
#[expect(dead_code, reason = "other tests use more of it")]
mod process;

use at_end::SetAtEnd;
use mem_alloc_rust::lock_api::{GuardSend, RawMutex};
use mem_alloc_rust::{FreeList, Heap, Locked, Region, ThreadCached};
#[cfg(all(feature = "std", unix))]
use mem_alloc_rust::{MapCell, Stats};
use serial_test::serial;
use std::alloc::{GlobalAlloc, Layout};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};
use std::thread;

fn layout(bytes: usize, align: usize) -> Layout {
    Layout::from_size_align(bytes, align).unwrap()
}

/// A block of so many bytes, which has to be given back.
fn block_of(allocator: &impl GlobalAlloc, layout: Layout) -> *mut u8 {
    // SAFETY: no layout of these tests is of zero bytes.
    let block = unsafe { allocator.alloc(layout) };
    assert!(!block.is_null(), "{layout:?}");
    block
}

/// Memory that nothing else uses.
fn memory(bytes: usize) -> *mut u8 {
    Box::leak(vec![0u64; bytes / 8].into_boxed_slice()).as_mut_ptr().cast()
}

#[test]
fn figures_are_those_of_the_statistics() {
    static A: Locked<FreeList> = Locked::new();
    let agree = || {
        let stats = A.stats();
        assert_eq!((A.live_bytes(), A.peak_bytes()), (stats.live_bytes, stats.peak_bytes));
        stats.live_bytes
    };
    assert_eq!(agree(), 0);
    // Enough of the small ones for runs.
    let layouts: Vec<_> =
        (0..2000).map(|n| if n % 20 == 0 { layout(n + 1, 8) } else { layout(24, 8) }).collect();
    let blocks: Vec<_> = layouts.iter().map(|&layout| (block_of(&A, layout), layout)).collect();
    assert!(agree() >= layouts.iter().map(Layout::size).sum());
    for (number, (block, layout)) in blocks.into_iter().enumerate() {
        // SAFETY: each block is given back once, with its layout.
        unsafe { A.dealloc(block, layout) };
        if number % 100 == 0 {
            agree();
        }
    }
    assert_eq!(agree(), 0);
    assert!(A.peak_bytes() > 0);
}

#[test]
fn the_peak_begins_anew_from_what_is_in_use() {
    static A: Locked<FreeList> = Locked::new();
    let (kept, large) = (layout(1000, 8), layout(100_000, 8));
    let _kept = block_of(&A, kept);
    let live = A.live_bytes();
    for _ in 0..2 {
        // SAFETY: the block is given back once, with its layout.
        unsafe { A.dealloc(block_of(&A, large), large) };
        assert_eq!((A.live_bytes(), A.peak_bytes()), (live, live + 100_008));
        assert_eq!(A.stats().peak_bytes, live + 100_008);
        A.reset_peak();
        assert_eq!((A.live_bytes(), A.peak_bytes(), A.stats().peak_bytes), (live, live, live));
    }
}

/// A lock for which nobody ever waits: who would have to ends the test. What is there to be read is read while it is
/// held.
struct Unshared {
    is_locked: AtomicBool,
}

static UNSHARED: Locked<FreeList, Unshared> = Locked::new();

/// What was read while the lock was held: how often, and what at last.
static READINGS: AtomicUsize = AtomicUsize::new(0);
static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

/// A block in use, or null.
static BLOCK: AtomicPtr<u8> = AtomicPtr::new(std::ptr::null_mut());

// SAFETY: only who has set `is_locked` goes on.
unsafe impl RawMutex for Unshared {
    const INIT: Self = Self { is_locked: AtomicBool::new(false) };
    type GuardMarker = GuardSend;

    fn lock(&self) {
        assert!(self.try_lock(), "this would be waiting for the lock forever");
    }

    fn try_lock(&self) -> bool {
        !self.is_locked.swap(true, Ordering::Acquire)
    }

    unsafe fn unlock(&self) {
        LIVE.store(UNSHARED.live_bytes(), Ordering::Relaxed);
        PEAK.store(UNSHARED.peak_bytes(), Ordering::Relaxed);
        assert_eq!(UNSHARED.free_bytes(), UNSHARED.arena_bytes() - UNSHARED.live_bytes());
        assert!(!UNSHARED.is_in_arena((&raw const LIVE).cast()));
        let block = BLOCK.load(Ordering::Relaxed);
        if !block.is_null() {
            assert!(UNSHARED.is_in_arena(block));
            // SAFETY: the block is in use.
            assert_eq!(unsafe { UNSHARED.usable_size(block) }, Some(1004));
        }
        READINGS.fetch_add(1, Ordering::Relaxed);
        self.is_locked.store(false, Ordering::Release);
    }
}

#[test]
fn nothing_waits_for_the_lock() {
    let (kept, other) = (layout(1000, 8), layout(3000, 8));
    BLOCK.store(block_of(&UNSHARED, kept), Ordering::Relaxed);
    assert_eq!(LIVE.load(Ordering::Relaxed), 1008);
    assert_eq!(UNSHARED.arena_bytes(), UNSHARED.stats().arena_bytes);
    assert!(UNSHARED.arena_bytes() > 1_000_000);
    let second = block_of(&UNSHARED, other);
    assert_eq!([&LIVE, &PEAK].map(|figure| figure.load(Ordering::Relaxed)), [4016, 4016]);
    // SAFETY: the block is given back once, with its layout.
    unsafe { UNSHARED.dealloc(second, other) };
    assert_eq!([&LIVE, &PEAK].map(|figure| figure.load(Ordering::Relaxed)), [1008, 4016]);
    assert!(READINGS.load(Ordering::Relaxed) >= 3);
}

/// Has threads allocate and release, while others read all there is.
fn read_meanwhile<A: GlobalAlloc + Sync>(
    allocator: &A,
    figures: impl Fn() -> (usize, usize) + Sync,
    usable_size: impl Fn(*mut u8) -> Option<usize> + Sync,
) {
    const KEPT: usize = 50_000;
    const ROUNDS: usize = 20_000;
    let kept = AtomicPtr::new(block_of(allocator, layout(KEPT, 8)));
    let before = figures().0;
    let (is_done, most_seen) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        let _end = SetAtEnd(&is_done);
        let workers = [0, 1].map(|thread| {
            scope.spawn(move || {
                let mut blocks = std::collections::VecDeque::new();
                for round in 0..ROUNDS {
                    let layout = layout(1 + (round * 37 + thread) % 3000, 8);
                    blocks.push_back((block_of(allocator, layout).expose_provenance(), layout));
                    if round % 3 == 0 || blocks.len() > 40 {
                        let (block, layout) = blocks.pop_front().unwrap();
                        // SAFETY: each block is given back once, with its layout.
                        unsafe { allocator.dealloc(std::ptr::with_exposed_provenance_mut(block), layout) };
                    }
                }
                for (block, layout) in blocks {
                    // SAFETY: as above.
                    unsafe { allocator.dealloc(std::ptr::with_exposed_provenance_mut(block), layout) };
                }
            })
        });
        for _ in 0..2 {
            scope.spawn(|| {
                while !is_done.load(Ordering::Relaxed) {
                    let (live, peak) = figures();
                    assert!(live >= KEPT && peak >= KEPT && live < 16 << 20, "{live} of {peak}");
                    most_seen.fetch_max(live, Ordering::Relaxed);
                    // SAFETY: the block is in use.
                    assert_eq!(usable_size(kept.load(Ordering::Relaxed)), Some(KEPT + 4));
                }
            });
        }
        workers.into_iter().for_each(|worker| worker.join().unwrap());
    });
    let (live, peak) = figures();
    assert!(peak >= live && peak >= most_seen.into_inner() && live >= before);
    // SAFETY: the block is given back once, with its layout.
    unsafe { allocator.dealloc(kept.into_inner(), layout(KEPT, 8)) };
}

#[test]
fn figures_hold_while_other_threads_allocate() {
    static A: Locked<FreeList<{ 16 << 20 }>> = Locked::new();
    // SAFETY: the block is in use.
    read_meanwhile(&A, || (A.live_bytes(), A.peak_bytes()), |block| unsafe { A.usable_size(block) });
    assert_eq!(A.live_bytes(), 0);
    A.audit().unwrap();
}

/// The one allocator of this process that has caches. Its tests take turns.
static CACHED: ThreadCached<FreeList<{ 16 << 20 }>> = ThreadCached::new();

#[test]
#[serial]
fn figures_hold_while_caches_are_used() {
    // What caches have of other tests' blocks counts, and may be given back at any time.
    CACHED.drain();
    // SAFETY: the block is in use.
    read_meanwhile(
        &CACHED,
        || (CACHED.live_bytes(), CACHED.peak_bytes()),
        |block| unsafe { CACHED.usable_size(block) },
    );
    CACHED.audit().unwrap();
}

/// Allocates blocks of every size and alignment, three at a time, and writes to all that may be used of each. Returns
/// how many were longer than asked for by less than a header and a granule, as blocks are, and how many of the sizes
/// that slots have.
fn use_all<A: GlobalAlloc>(allocator: &A, usable_size: impl Fn(*mut u8) -> Option<usize>) -> (usize, usize) {
    let (mut in_blocks, mut in_slots) = (0, 0);
    let sizes = (1..=1100).chain((1100..40_000).step_by(997));
    for (bytes, align) in sizes.flat_map(|bytes| [1, 8, 16, 64, 128, 512, 4096].map(|align| (bytes, align))) {
        let layout = layout(bytes, align);
        let blocks = [1, 2, 3].map(|mark: u8| {
            let block = block_of(allocator, layout);
            let usable = usable_size(block).expect("it is no block of the system's");
            assert!(usable >= bytes, "{usable} of {bytes} at {align}");
            // SAFETY: so many bytes are the test's.
            unsafe { block.write_bytes(mark, usable) };
            in_slots += usize::from(usable % 8 == 0);
            in_blocks += usize::from(usable % 8 == 4 && usable < bytes.max(12) + 16);
            (block, usable, mark)
        });
        for (block, usable, mark) in blocks {
            assert_eq!(usable_size(block), Some(usable));
            // SAFETY: as above; each block is given back once, with its layout.
            unsafe {
                let contents = std::slice::from_raw_parts(block, usable);
                assert!(contents.iter().all(|&byte| byte == mark), "{bytes} at {align}");
                allocator.dealloc(block, layout);
            }
        }
    }
    (in_blocks, in_slots)
}

#[test]
fn all_that_is_usable_can_be_written() {
    static A: Locked<FreeList<{ 16 << 20 }>> = Locked::new();
    // So many of a size have runs.
    let _small: Vec<_> = (0..20_000).map(|n| block_of(&A, layout(1 + n % 700, 8))).collect();
    // SAFETY: the block is in use.
    let (in_blocks, in_slots) = use_all(&A, |block| unsafe { A.usable_size(block) });
    assert!(in_blocks > 1000 && in_slots > 1000, "{in_blocks} and {in_slots}");
    A.audit().unwrap();
}

#[test]
#[serial]
fn all_that_is_usable_can_be_written_where_there_are_caches() {
    // SAFETY: the block is in use.
    let (in_blocks, in_slots) = use_all(&CACHED, |block| unsafe { CACHED.usable_size(block) });
    assert!(in_blocks > 1000 && in_slots > 1000, "{in_blocks} and {in_slots}");
    CACHED.audit().unwrap();
}

/// Resizes blocks that say of themselves that they are as long as they may be used.
fn resize_all<A: GlobalAlloc>(allocator: &A, usable_size: impl Fn(*mut u8) -> Option<usize>) {
    for (bytes, factor) in (1..900).flat_map(|bytes| [2, 20].map(|factor| (bytes, factor))) {
        let block = block_of(allocator, layout(bytes, 8));
        let usable = usable_size(block).unwrap();
        // SAFETY: so many bytes are the test's; each block is given back once, with a layout that fits.
        unsafe {
            block.write_bytes(7, usable);
            let grown = allocator.realloc(block, layout(usable, 8), usable * factor);
            assert!(std::slice::from_raw_parts(grown, usable).iter().all(|&byte| byte == 7), "{bytes}");
            allocator.dealloc(grown, layout(usable_size(grown).unwrap(), 8));
        }
    }
}

#[test]
#[serial]
fn a_block_may_be_resized_and_given_back_as_long_as_it_is() {
    static A: Locked<FreeList> = Locked::new();
    // SAFETY: the block is in use.
    resize_all(&A, |block| unsafe { A.usable_size(block) });
    assert_eq!(A.live_bytes(), 0);
    A.audit().unwrap();
    // SAFETY: as above.
    resize_all(&CACHED, |block| unsafe { CACHED.usable_size(block) });
    CACHED.audit().unwrap();
}

#[test]
fn the_arena_is_exactly_what_the_allocator_was_given() {
    const BYTES: usize = 4096;
    static A: Locked<FreeList<BYTES>> = Locked::new();
    let is_in = |ptr: *const u8| A.is_in_arena(ptr);
    let block = block_of(&A, layout(100, 8));
    let around = |distance: isize| is_in(block.wrapping_offset(distance));
    assert!(around(0) && around(99) && around(BYTES as isize - 200));
    assert!(!around(BYTES as isize) && !around(-(BYTES as isize)));
    let inside = (-(BYTES as isize)..=BYTES as isize).filter(|&distance| around(distance)).count();
    assert_eq!(inside, BYTES);
    assert!(!is_in(std::ptr::null()) && !is_in(std::ptr::without_provenance(usize::MAX)));

    let region = Locked::<Region>::new();
    let start = memory(BYTES);
    assert!(!region.is_in_arena(start), "it is not its own yet");
    // SAFETY: the memory is leaked, and nothing else uses it.
    unsafe { region.init(start, BYTES) }.unwrap();
    let behind = start.wrapping_add(BYTES);
    assert!(region.is_in_arena(start) && region.is_in_arena(behind.wrapping_sub(1)));
    assert!(!region.is_in_arena(start.wrapping_sub(1)) && !region.is_in_arena(behind));
    let other = memory(BYTES);
    // SAFETY: as above; a second region is refused.
    unsafe { region.init(other, BYTES) }.unwrap_err();
    assert!(region.is_in_arena(start) && !region.is_in_arena(other));
    let block = block_of(&region, layout(101, 8));
    // SAFETY: the block is in use.
    assert_eq!(unsafe { region.usable_size(block) }, Some(108));
}

#[test]
fn wrong_pointers_are_told_by_the_heap() {
    use mem_alloc_rust::{Action, Fault};
    let (mut heap, start) = (Heap::new(), memory(4096));
    // SAFETY: the memory is leaked, and nothing else uses it. Of wrong pointers it is told that they are; the blocks in
    // use are given back once.
    unsafe {
        assert!(matches!(
            heap.usable_size(start),
            Err(Fault::OutsideArena { action: Action::UsableSize, .. })
        ));
        heap.init(start, 4096, true).unwrap();
        let [first, last] = [(); 2].map(|()| heap.alloc(layout(1001, 8)).unwrap().as_ptr());
        assert_eq!([first, last].map(|block| heap.usable_size(block)), [Ok(1004); 2]);
        let fault = |ptr: *mut u8| heap.usable_size(ptr).unwrap_err().to_string();
        assert!(fault(first.wrapping_add(4)).ends_with("is not a multiple of 8, as every block is"));
        assert!(fault(last.wrapping_add(1008)).ends_with("is in memory that was never allocated"));
        assert!(fault(start.wrapping_sub(8)).contains("is outside the arena"));
        assert!(fault(start.wrapping_add(4096)).contains("is outside the arena"));
        first.write_bytes(0, 101);
        assert!(fault(first.wrapping_add(16)).ends_with("is not the start of a live block"));
        // A header that would lead beyond the last block, or to the next header.
        let header = last.wrapping_sub(4).cast::<u32>();
        let intact = header.read();
        for overwritten in [4096, 8, 0] {
            header.write(overwritten);
            assert!(matches!(heap.usable_size(last), Err(Fault::Overwritten { .. })), "{overwritten}");
        }
        header.write(intact);
        heap.dealloc(first).unwrap();
        assert!(matches!(heap.usable_size(first), Err(Fault::AlreadyFree { bytes: 1004, .. })));
        heap.dealloc(last).unwrap();
        assert!(matches!(heap.usable_size(last), Err(Fault::AlreadyFree { .. })));
    }
}

/// What caches have counts as in use without the lock. Counted, it is told apart, and nothing that counts changes it.
#[cfg(all(feature = "std", unix))]
#[test]
#[serial]
fn what_caches_have_is_told_apart_and_stays_there() {
    let layout = layout(200, 8);
    // So often that the cache takes blocks, even if an earlier test ran short of memory.
    // SAFETY: the layout is not of zero bytes, and each block is given back once.
    (0..20_000).for_each(|_| unsafe { CACHED.dealloc(CACHED.alloc(layout), layout) });
    CACHED.drain();
    let before = CACHED.stats();
    let kept: Vec<_> = (0..200).map(|_| block_of(&CACHED, layout)).collect();
    let given_back: Vec<_> = (0..200).map(|_| block_of(&CACHED, layout)).collect();
    // SAFETY: each block is given back once, with its layout.
    given_back.iter().for_each(|&block| unsafe { CACHED.dealloc(block, layout) });
    let (undrained, peak) = (CACHED.live_bytes(), CACHED.peak_bytes());
    let stats = CACHED.stats();
    let mut map = [MapCell::default(); 64];
    CACHED.map(&mut map);
    let cached = CACHED.caches().bytes;
    assert!(cached > 0 && stats.cached_bytes > 0);
    assert_eq!((CACHED.live_bytes(), CACHED.peak_bytes()), (undrained, peak), "nothing drains");
    assert_eq!(CACHED.stats(), stats, "nothing is changed by looking");
    assert_eq!(undrained, stats.live_bytes + stats.cached_bytes + stats.held_bytes);
    assert_eq!(stats.arena_bytes, undrained + stats.free_bytes + stats.overhead_bytes);
    // Each has a slot of 200 bytes, or a block of 208.
    assert_eq!(stats.live_blocks - before.live_blocks, kept.len());
    let live_bytes = stats.live_bytes - before.live_bytes;
    assert!((200 * kept.len()..=208 * kept.len()).contains(&live_bytes), "{live_bytes}");
    let of_size =
        |stats: &Stats| stats.live_by_size.iter().find(|class| class.smallest_bytes == 128).unwrap();
    assert_eq!(of_size(&stats).blocks - of_size(&before).blocks, kept.len());
    // What was given back last is had again first: it did not leave the cache.
    let again = block_of(&CACHED, layout);
    assert!(given_back.contains(&again));
    // SAFETY: as above.
    unsafe { CACHED.dealloc(again, layout) };
    CACHED.drain();
    let drained = CACHED.stats();
    assert_eq!((drained.cached_bytes, drained.cached_blocks, drained.held_bytes), (0, 0, 0));
    assert_eq!((drained.live_bytes, drained.live_blocks), (stats.live_bytes, stats.live_blocks));
    assert_eq!(drained.live_by_size, stats.live_by_size);
    assert_eq!(CACHED.live_bytes(), drained.live_bytes);
    CACHED.reset_peak();
    assert_eq!(CACHED.peak_bytes(), CACHED.live_bytes());
    // SAFETY: as above.
    kept.into_iter().for_each(|block| unsafe { CACHED.dealloc(block, layout) });
}

/// The addresses that a thread gets in a process of its own, from the first one on, with somebody looking at the
/// allocator after each call, and without.
#[cfg(all(feature = "std", unix))]
#[test]
fn looking_changes_no_address() {
    static A: ThreadCached<FreeList<{ 64 << 20 }>> = ThreadCached::new();
    const LOOKS: &str = "MEM_ALLOC_RUST_LOOKS";
    let test = "looking_changes_no_address";
    let trace = |looks: bool| {
        let (mut live, mut addresses) = (Vec::new(), Vec::new());
        let mut rng = fastrand::Rng::with_seed(11);
        for _ in 0..5000 {
            if live.is_empty() || rng.usize(..50) < 26 {
                let layout = layout(rng.usize(1..400), 8);
                let block = block_of(&A, layout);
                addresses.push(block.addr() - (&raw const A).addr());
                live.push((block, layout));
            } else {
                let (block, layout) = live.swap_remove(rng.usize(..live.len()));
                // SAFETY: each block is given back once, with its layout.
                unsafe { A.dealloc(block, layout) };
            }
            if looks {
                A.map(&mut [MapCell::default(); 16]);
                assert_eq!(A.stats().live_blocks, live.len());
                A.report_to(std::fs::File::options().write(true).open("/dev/null").unwrap()).unwrap();
            }
        }
        assert!(A.caches().bytes > 0);
        addresses
    };
    if process::plays(test, || eprintln!("{:?}", trace(std::env::var_os(LOOKS).is_some()))) {
        return;
    }
    let [alone, again, looked_at] = [&[][..], &[], &[(LOOKS, "1")]].map(|environment| {
        let child = process::run_test(test, environment).success();
        process::stderr(&child).to_owned()
    });
    assert!(alone == again, "it repeats by itself");
    assert!(alone == looked_at, "looking changes where blocks lie");
}
