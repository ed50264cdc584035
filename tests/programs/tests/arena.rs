//! Collections in arenas of their own, and what the trait `Allocator` promises them.

#[cfg(unix)]
mod process;

use allocator_api2::alloc::{AllocError, Allocator};
use allocator_api2::boxed::Box;
use allocator_api2::vec::Vec;
use hashbrown::{DefaultHashBuilder, HashMap};
#[cfg(unix)]
use mem_alloc_rust::Mapped;
use mem_alloc_rust::{Arena, Borrowed, Boxed, FreeList, Locked, ThreadCached};
use std::alloc::Layout;
use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind};

const ARENA: usize = 256 << 10;

static LOCKED: Locked<FreeList> = Locked::new();

static CACHED: ThreadCached<FreeList> = ThreadCached::new();

fn layout(size: usize, align: usize) -> Layout {
    Layout::from_size_align(size, align).unwrap()
}

/// Lists, boxes and maps that grow, shrink and are dropped in the middle of others.
fn use_collections<A: Allocator + Copy>(allocator: A) {
    let mut numbers = Vec::new_in(allocator);
    let mut names: HashMap<u32, Box<[u8], A>, DefaultHashBuilder, A> = HashMap::new_in(allocator);
    for n in 0..500u32 {
        numbers.push(n);
        let mut name = Vec::with_capacity_in(20, allocator);
        name.extend_from_slice(n.to_string().as_bytes());
        names.insert(n, name.into_boxed_slice());
    }
    names.retain(|n, _| n % 3 == 0);
    names.shrink_to_fit();
    numbers.retain(|n| n % 2 == 0);
    numbers.shrink_to_fit();
    assert!(numbers.iter().copied().eq((0..500).step_by(2)));
    assert_eq!(names.len(), 167);
    assert!(names.iter().all(|(n, name)| name[..] == *n.to_string().as_bytes()));
}

/// Uses an arena by reference and, when nothing is in it any more, as the allocator of one list.
fn use_arena<M>(arena: Arena<M>) {
    use_collections(&arena);
    assert!(arena.stats().peak_bytes > 10_000);
    assert_eq!(arena.stats().live_blocks, 0);
    arena.audit().unwrap();
    let mut list = Vec::new_in(arena);
    list.extend(0..1000u32);
    let mut list = std::boxed::Box::new(list);
    list.extend(1000..2000);
    assert!(list.iter().copied().eq(0..2000), "the arena has moved, and its blocks have not");
    list.allocator().audit().unwrap();
    assert_eq!(list.allocator().stats().live_blocks, 1);
}

#[test]
fn collections_live_in_a_borrowed_buffer() {
    let mut buffer = vec![MaybeUninit::uninit(); ARENA];
    for misalignment in [0, 1, 7, 64] {
        use_arena(Arena::over(&mut buffer[misalignment..]).unwrap());
    }
}

#[test]
fn collections_live_in_a_boxed_arena() {
    use_arena(Arena::boxed(ARENA).unwrap());
}

#[test]
#[cfg(unix)]
fn collections_live_in_a_mapped_arena() {
    use_arena(Arena::mapped(ARENA).unwrap());
}

#[test]
fn collections_live_in_a_static_of_several_threads() {
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                use_collections(&LOCKED);
                use_collections(&CACHED);
            });
        }
    });
    // Unlike those of an arena, these values may go to another thread.
    let list = Vec::<u8, _>::with_capacity_in(1000, &LOCKED);
    std::thread::spawn(move || drop(list)).join().unwrap();
    LOCKED.audit().unwrap();
    assert_eq!(LOCKED.stats().live_blocks, 0);
    CACHED.audit().unwrap();
}

#[test]
fn a_value_takes_its_arena_to_another_thread() {
    fn is_send<T: Send>() {}
    is_send::<Arena<Borrowed<'_>>>();
    is_send::<Arena<Boxed>>();
    #[cfg(unix)]
    is_send::<Arena<Mapped>>();
    let list = {
        let mut list = Vec::new_in(Arena::boxed(ARENA).unwrap());
        list.extend(0..1000);
        list
    };
    let list = std::thread::spawn(move || {
        let mut list = list;
        list.extend(1000..2000);
        list
    });
    assert!(list.join().unwrap().into_iter().eq(0..2000));
}

#[test]
fn an_exhausted_arena_says_so_and_serves_on() {
    let arena = Arena::boxed(4096).unwrap();
    let mut list = Vec::new_in(&arena);
    list.extend(0..200u64);
    let before = list.as_ptr();
    assert!(list.try_reserve_exact(1000).is_err());
    assert_eq!(list.as_ptr(), before);
    assert!(list.iter().copied().eq(0..200));
    let mut rest = std::vec::Vec::new();
    while let Ok(block) = Box::try_new_in([7u8; 100], &arena) {
        rest.push(block);
    }
    assert!(rest.len() > 10);
    assert_eq!(arena.allocate(layout(100, 1)), Err(AllocError));
    assert_eq!(arena.allocate_zeroed(layout(100, 1)), Err(AllocError));
    arena.audit().unwrap();
    rest.pop();
    assert!(Box::try_new_in([8u8; 100], &arena).is_ok(), "what was given back serves again");
    assert!(rest.iter().all(|block| **block == [7; 100]));
}

#[test]
fn what_no_arena_holds_is_refused() {
    let arena = Arena::boxed(ARENA).unwrap();
    for size in [ARENA, isize::MAX as usize - 8192, isize::MAX as usize] {
        assert_eq!(arena.allocate(layout(size, 1)), Err(AllocError));
        assert_eq!((&LOCKED).allocate(layout(size.max(1 << 20), 1)), Err(AllocError));
    }
    for align in [1 << (usize::BITS - 3), 1 << (usize::BITS - 2)] {
        assert_eq!(arena.allocate(layout(1, align)), Err(AllocError));
    }
    assert_eq!(arena.stats().live_blocks, 0);
}

/// Asks for no bytes in every way.
fn use_no_bytes(allocator: impl Allocator, live_blocks: impl Fn() -> usize) {
    let before = live_blocks();
    for align in [1, 8, 4096, 1 << (usize::BITS - 3)] {
        let nothing = layout(0, align);
        let block = allocator.allocate(nothing).unwrap();
        assert_eq!(block.len(), 0);
        assert_eq!(block.cast::<u8>().addr().get() % align, 0);
        // SAFETY: each block is resized or given back once, with the layout that it has then.
        unsafe {
            allocator.deallocate(block.cast(), nothing);
            let block = allocator.allocate_zeroed(nothing).unwrap();
            let block = allocator.grow(block.cast(), nothing, layout(0, 16)).unwrap();
            let block = allocator.grow_zeroed(block.cast(), layout(0, 16), nothing).unwrap();
            let block = allocator.shrink(block.cast(), nothing, nothing).unwrap();
            assert_eq!(live_blocks(), before, "no memory is taken");
            let block = allocator.grow_zeroed(block.cast(), nothing, layout(40, 8)).unwrap();
            assert_eq!((block.len(), live_blocks()), (40, before + 1));
            assert_eq!(block.cast::<[u8; 40]>().read(), [0; 40]);
            let block = allocator.shrink(block.cast(), layout(40, 8), nothing).unwrap();
            assert_eq!((block.len(), live_blocks()), (0, before));
            let block = allocator.grow(block.cast(), nothing, layout(40, 64)).unwrap();
            assert_eq!(block.cast::<u8>().addr().get() % 64, 0);
            allocator.deallocate(block.cast(), layout(40, 64));
        }
    }
    let mut list = Vec::new_in(&allocator);
    list.extend([(); 100]);
    assert_eq!((list.len(), live_blocks()), (100, before));
}

#[test]
fn no_bytes_take_no_memory() {
    static QUIET: Locked<FreeList> = Locked::new();
    let arena = Arena::boxed(ARENA).unwrap();
    use_no_bytes(&arena, || arena.stats().live_blocks);
    use_no_bytes(&QUIET, || QUIET.stats().live_blocks);
}

#[test]
fn a_block_grows_and_shrinks_where_it_is() {
    let arena = Arena::boxed(ARENA).unwrap();
    let mut list = Vec::<u8, _>::with_capacity_in(1000, &arena);
    list.extend_from_slice(&[7; 1000]);
    let start = list.as_ptr();
    list.reserve_exact(50_000);
    assert_eq!(list.as_ptr(), start, "all behind it is free");
    assert!(arena.stats().live_bytes > 50_000);
    list.shrink_to_fit();
    assert_eq!(list.as_ptr(), start);
    assert!(arena.stats().live_bytes < 1010, "what is cut off is free again");
    assert_eq!(list[..], [7; 1000]);
}

#[test]
fn only_what_is_new_is_cleared() {
    let arena = Arena::boxed(ARENA).unwrap();
    let (small, large) = (layout(1000, 8), layout(3000, 8));
    // SAFETY: the bytes are those of blocks in use, each of which is given back once.
    unsafe {
        let dirty = arena.allocate(layout(10_000, 8)).unwrap().cast::<u8>();
        dirty.write_bytes(0xDB, 10_000);
        arena.deallocate(dirty, layout(10_000, 8));
        let block = arena.allocate(small).unwrap().cast::<u8>();
        assert_eq!(block, dirty, "the memory is dirty");
        block.write_bytes(1, 1000);
        let grown = arena.grow_zeroed(block, small, large).unwrap();
        assert_eq!((grown.len(), grown.cast()), (3000, block), "it grows in place");
        let bytes = std::slice::from_raw_parts(block.as_ptr(), 3000);
        assert!(bytes[..1000].iter().all(|&byte| byte == 1) && bytes[1000..].iter().all(|&byte| byte == 0));
        arena.deallocate(block, large);
    }
}

/// Changes the alignment of a block back and forth.
fn use_alignments(allocator: impl Allocator) {
    let mut current = layout(64, 8);
    let mut block = allocator.allocate(current).unwrap().cast::<u8>();
    // SAFETY: the block is in use, has so many bytes, and is given back once, with the layout that it has then.
    unsafe {
        block.write_bytes(3, 64);
        for (size, align) in [(64, 4096), (64, 1), (100, 256), (100, 8), (100, 512), (64, 1024), (64, 2)] {
            let new = layout(size, align);
            let resized = if size < current.size() {
                allocator.shrink(block, current, new)
            } else {
                allocator.grow(block, current, new)
            };
            block = resized.unwrap().cast();
            current = new;
            assert_eq!(block.addr().get() % align, 0);
            assert_eq!(block.cast::<[u8; 64]>().read(), [3; 64]);
        }
        allocator.deallocate(block, current);
    }
}

#[test]
fn a_block_may_change_its_alignment() {
    let arena = Arena::boxed(ARENA).unwrap();
    let other = arena.stats();
    use_alignments(&arena);
    assert_eq!(arena.stats().live_blocks, other.live_blocks);
    use_alignments(&LOCKED);
    use_alignments(&CACHED);
}

#[test]
fn a_reset_takes_everything_back() {
    let mut arena = Arena::boxed(ARENA).unwrap();
    let mut counts = std::vec::Vec::new();
    for round in 0..3u8 {
        let mut first = Vec::with_capacity_in(10, &arena);
        first.extend_from_slice(&[round; 10]);
        let mut count = 0;
        // So many that their size has runs, which are given up with their slots.
        while let Ok(block) = Box::try_new_in([u64::from(round); 5], &arena) {
            assert_eq!(Box::leak(block), &[u64::from(round); 5]);
            count += 1;
        }
        assert_eq!(first[..], [round; 10]);
        std::mem::forget(first);
        assert!(arena.stats().live_blocks > 5000);
        let peak = arena.stats().peak_bytes;
        arena.reset();
        let stats = arena.stats();
        assert_eq!((stats.live_blocks, stats.live_bytes, stats.free_blocks), (0, 0, 1));
        assert_eq!(stats.peak_bytes, peak);
        arena.audit().unwrap();
        counts.push(count);
    }
    assert_eq!(counts, [counts[0]; 3], "each round has as much room");
    let zeroed = arena.allocate_zeroed(layout(ARENA / 2, 8)).unwrap();
    // SAFETY: the block has so many bytes.
    let bytes = unsafe { std::slice::from_raw_parts(zeroed.cast::<u8>().as_ptr(), zeroed.len()) };
    assert!(bytes.iter().all(|&byte| byte == 0), "what was used before the reset is cleared");
}

#[test]
fn a_panic_leaves_the_arena_as_it_was() {
    let arena = Arena::boxed(ARENA).unwrap();
    let kept = Box::new_in(7, &arena);
    let caught = catch_unwind(AssertUnwindSafe(|| {
        let mut list = Vec::new_in(&arena);
        list.extend(
            (0..1000).map(|n| if n < 900 { Box::new_in(n, &arena) } else { panic!("in the middle") }),
        );
    }));
    assert!(caught.is_err());
    arena.audit().unwrap();
    assert_eq!((arena.stats().live_blocks, *kept), (1, 7));
}

#[test]
fn an_arena_prints_its_figures() {
    let arena = Arena::boxed(ARENA).unwrap();
    let _kept = Box::new_in(7, &arena);
    assert!(format!("{arena:?}").starts_with("Arena { stats: Stats { arena_bytes: 26"));
}

/// As the child, does `misuse` to a block of the arena. As the test, runs the child and holds that it aborted with one
/// sentence, which begins like that, with the block's address for `{}`.
#[cfg(unix)]
fn dies_with(test: &str, sentence: &str, misuse: fn(&Arena<Boxed>, std::ptr::NonNull<u8>)) {
    if process::role().as_deref() == Some(test) {
        let arena = Arena::boxed(ARENA).unwrap();
        let block = arena.allocate(BLOCK).unwrap().cast();
        eprintln!("about {block:p}");
        return misuse(&arena, block);
    }
    let child = process::run_test(test, &[]);
    process::assert_aborted(&child);
    let lines: std::vec::Vec<_> = process::stderr(&child).lines().collect();
    let [about, told] = lines[..] else { panic!("two lines expected: {lines:?}") };
    let expected = sentence.replace("{}", about.strip_prefix("about ").unwrap());
    assert!(told.starts_with(&expected), "{told:?} instead of {expected:?}");
}

#[cfg(unix)]
const BLOCK: Layout = Layout::new::<[u8; 1000]>();

#[test]
#[cfg(unix)]
fn a_block_of_another_arena_ends_the_program() {
    let sentence = "invalid free: {} is outside the arena 0x";
    dies_with("a_block_of_another_arena_ends_the_program", sentence, |_, block| {
        let another = Arena::boxed(ARENA).unwrap();
        // SAFETY: none. The process has to end before it does damage.
        unsafe { another.deallocate(block, BLOCK) };
    });
}

#[test]
#[cfg(unix)]
fn a_double_free_in_an_arena_ends_the_program() {
    let sentence = "double free: {} (1000 bytes) was already free";
    dies_with("a_double_free_in_an_arena_ends_the_program", sentence, |arena, block| {
        // SAFETY: none for the second one. The process has to end before it does damage.
        unsafe {
            arena.deallocate(block, BLOCK);
            arena.deallocate(block, BLOCK);
        }
    });
}

#[test]
#[cfg(unix)]
fn growing_what_was_freed_ends_the_program() {
    let sentence = "realloc after free: {} (1000 bytes) was already free";
    dies_with("growing_what_was_freed_ends_the_program", sentence, |arena, block| {
        // SAFETY: none for the second one. The process has to end before it does damage.
        unsafe {
            arena.deallocate(block, BLOCK);
            let _ = arena.grow(block, BLOCK, layout(2000, 1));
        }
    });
}

/// What becomes smaller stays where it is, at a smaller alignment, too.
#[test]
fn what_becomes_smaller_stays_at_a_smaller_alignment() {
    fn shrinks(allocator: impl Allocator) {
        let (old, new) = (layout(50_000, 8), layout(40_000, 4));
        let block = allocator.allocate(old).unwrap().cast::<u8>();
        // SAFETY: the block is in use, and given back once, with the layout that it has then.
        unsafe {
            let smaller = allocator.shrink(block, old, new).unwrap().cast();
            assert_eq!(smaller, block);
            allocator.deallocate(smaller, new);
        }
    }
    shrinks(&LOCKED);
    shrinks(&CACHED);
    shrinks(Arena::boxed(ARENA).unwrap());
}
