//! Medium blocks, and what is aligned to more than a granule.

use super::*;
use core::ptr::NonNull;
use std::vec;

/// How many medium blocks the calling thread's cache has.
fn medium_blocks() -> u32 {
    let (slot, _heap) = (A.own_slot().unwrap(), A.heap());
    // SAFETY: this thread is the owner, and has the lock.
    unsafe {
        slot.with_lock(|lists| {
            lists.all().filter(|list| !list.class.is_small()).map(|list| list.blocks).sum()
        })
    }
}

/// Blocks of many sizes that are released are served again, though no size has come to the lock for more than one.
#[test]
fn medium_blocks_of_many_sizes_are_kept_and_served_again() {
    alone(|| {
        A.drain();
        let layouts = (2..16).flat_map(|kibibytes| Layout::from_size_align(kibibytes << 10, 8));
        // SAFETY: the layouts are of more than no bytes, and each block is given back once.
        unsafe {
            let blocks: Vec<_> = layouts.map(|layout| (A.alloc(layout), layout)).collect();
            let count = blocks.len();
            blocks.iter().for_each(|&(block, layout)| A.dealloc(block, layout));
            assert_eq!(medium_blocks() as usize, count);
            // Somebody has the lock until they are there again.
            let slot = A.own_slot().unwrap();
            let again: Vec<_> = {
                let _heap = A.heap();
                let take = |&(_, layout): &(*mut u8, Layout)| {
                    slot.take_aligned(A.identity(), class_serving(layout).unwrap(), 8)
                };
                blocks.iter().map(take).collect()
            };
            assert!(
                again.iter().flatten().map(|block| block.as_ptr()).eq(blocks.iter().map(|&(block, _)| block))
            );
            blocks.iter().for_each(|&(block, layout)| A.dealloc(block, layout));
        }
        A.drain();
        A.audit().unwrap();
    });
}

/// Medium blocks at multiples of more than a granule are kept, and served again at such a multiple.
#[test]
fn aligned_medium_blocks_are_kept_and_served_again() {
    alone(|| {
        A.drain();
        for layout in [(1000, 16), (2000, 64), (9000, 128), (4096, 4096)]
            .map(|(bytes, align)| Layout::from_size_align(bytes, align).unwrap())
        {
            // SAFETY: the layout is of more than no bytes, and each block is given back once.
            unsafe {
                let block = A.alloc(layout);
                A.dealloc(block, layout);
                let class = class_serving(layout).unwrap();
                let again = {
                    let _heap = A.heap();
                    A.own_slot().unwrap().take_aligned(A.identity(), class, layout.align())
                };
                assert_eq!(again.map(NonNull::as_ptr), Some(block), "{layout:?}");
                assert_eq!(block.addr() % layout.align(), 0);
                A.dealloc(block, layout);
            }
        }
        A.drain();
        A.audit().unwrap();
    });
}

/// A small block at a multiple of much is for the heap to make one with its neighbours: those that are served from
/// lists would have it for good, and others of its alignment would need new places.
#[test]
fn small_blocks_far_apart_are_not_kept() {
    alone(|| {
        A.drain();
        let kept = || A.caches().bytes + A.depot.bytes();
        let [near, far] = [8, 4096].map(|align| Layout::from_size_align(96, align).unwrap());
        // SAFETY: the layouts are of more than no bytes, and each block is given back once.
        unsafe {
            // Lists of their class get room for all of them.
            let mut others = [(); 100].map(|()| A.alloc(near));
            others.iter().for_each(|&block| A.dealloc(block, near));
            others = others.map(|_| A.alloc(near));
            let before = kept();
            let blocks = [(); 8].map(|()| A.alloc(far));
            blocks.iter().for_each(|&block| A.dealloc(block, far));
            assert_eq!(kept(), before);
            others.iter().for_each(|&block| A.dealloc(block, near));
            assert!(kept() >= before + 8 * 96, "there was room");
        }
        A.drain();
    });
}

/// What a medium block leaves behind when it grows is for the heap to make larger ones of.
#[test]
fn what_grows_does_not_fill_the_cache() {
    alone(|| {
        A.drain();
        let layout = |bytes| Layout::from_size_align(bytes, 8).unwrap();
        // SAFETY: the layouts are of more than no bytes, and each block is given back once.
        unsafe {
            let mut blocks = [(); 2].map(|()| A.alloc(layout(2000)));
            let before = (medium_blocks(), blocks);
            for bytes in (2000..30_000).step_by(2000) {
                // They are in each other's way.
                blocks = blocks.map(|block| A.realloc(block, layout(bytes), bytes + 2000));
            }
            assert!(blocks != before.1, "they moved");
            assert_eq!(medium_blocks(), before.0);
            blocks.iter().for_each(|&block| A.dealloc(block, layout(30_000)));
        }
        A.drain();
        assert_eq!(A.stats().live_bytes, 0);
    });
}

/// Medium blocks that a cache has no room for are put into the depot, and had from there again, without the heap's
/// lock.
#[test]
fn medium_blocks_are_passed_on_without_the_lock() {
    alone(|| {
        A.drain();
        // More than a cache keeps, of several sizes.
        let layouts: Vec<_> =
            (0..30).flat_map(|k| Layout::from_size_align((16 + k % 8 * 2) << 10, 8)).collect();
        let bytes: usize = layouts.iter().map(Layout::size).sum();
        assert!(bytes > A.budget(&A.heap()));
        let allocate = |layouts: &[Layout]| {
            layouts.iter().map(|&layout| (allocate_one(layout), layout)).collect::<Vec<_>>()
        };
        let blocks = allocate(&layouts);
        let pass_on = || {
            free_all(blocks);
            // Requests of one class may take what others could have.
            allocate(&layouts[..15])
        };
        free_all(while_the_lock_is_held(pass_on).expect("nobody waited"));
        A.drain();
        A.audit().unwrap();
        assert_eq!(A.stats().live_bytes, 0);
    });
}

/// A block changes its size without the heap's lock where the cache has one of the other size.
#[test]
fn blocks_change_their_size_without_the_lock() {
    const SIZES: [usize; 8] = [3000, 9000, 500, 20_000, 1024, 700, 16_384, 3000];
    alone(|| {
        A.drain();
        for align in [8, 64] {
            let layout = |bytes| Layout::from_size_align(bytes, align).unwrap();
            let change = || {
                let mut block = allocate_one(layout(SIZES[0]));
                for bytes in SIZES.windows(2) {
                    // SAFETY: the block has the first of the two sizes, and each is given back once.
                    unsafe {
                        let pointer = core::ptr::with_exposed_provenance_mut::<u8>(block);
                        pointer.write_bytes(bytes[0] as u8, bytes[0]);
                        let moved = A.realloc(pointer, layout(bytes[0]), bytes[1]);
                        assert_eq!(moved.addr() % align, 0);
                        let same = core::slice::from_raw_parts(moved, bytes[0].min(bytes[1]));
                        assert!(same.iter().all(|&byte| byte == bytes[0] as u8));
                        block = moved.expose_provenance();
                    }
                }
                free_all(vec![(block, layout(SIZES[0]))]);
            };
            let warm_up = move || {
                free_all(SIZES.map(|bytes| (allocate_one(layout(bytes)), layout(bytes))).to_vec());
            };
            let both = move || {
                warm_up();
                change()
            };
            // The thread after this one has what that leaves.
            std::thread::scope(|scope| scope.spawn(both).join().unwrap());
            while_the_lock_is_held(change).expect("nobody waited");
        }
        A.drain();
        A.audit().unwrap();
        assert_eq!(A.stats().live_bytes, 0);
    });
}

/// Where a class has no slots, a request that none of its blocks is aligned for leaves them where they are.
#[test]
fn aligned_requests_leave_others_on_their_lists() {
    alone(|| {
        A.drain();
        let [near, far] = [8, 512].map(|align| Layout::from_size_align(900, align).unwrap());
        assert!(class_serving(far).is_some_and(|class| class.is_small() && class.slot_size().is_none()));
        let of_near = || [(); 8].map(|()| (allocate_one(near), near));
        // For lists that have room for them.
        free_all(of_near().to_vec());
        let blocks = of_near();
        free_all(blocks.to_vec());
        let aligned = allocate_one(far);
        assert_eq!(aligned % far.align(), 0);
        let again = [(); 7].map(|()| (allocate_one(near), near));
        assert!(again.iter().all(|block| blocks.contains(block)));
        free_all([again.as_slice(), &[(aligned, far)]].concat());
        A.drain();
        A.audit().unwrap();
    });
}

/// A block that holds what is asked for stays where it is, though requests of that size have a class of their own.
#[test]
fn what_is_large_enough_is_not_copied() {
    alone(|| {
        A.drain();
        let [small, large] = [9000, 10_000].map(|bytes| Layout::from_size_align(bytes, 8).unwrap());
        assert!(class_serving(small) < class_serving(large));
        // SAFETY: the layouts are of more than no bytes, and each block is given back once.
        unsafe {
            free_all([(); 2].map(|()| (allocate_one(large), large)).to_vec());
            // There is none of its class.
            let block = A.alloc(small);
            let again = A.realloc(block, small, small.size() + 8);
            assert_eq!(again, block);
            A.dealloc(again, Layout::from_size_align(small.size() + 8, 8).unwrap());
        }
        A.drain();
        A.audit().unwrap();
    });
}

/// What was too large for caches and becomes small leaves all of its block free: it would keep the place where it was
/// otherwise, in a cache or in use.
#[test]
fn what_shrinks_to_a_size_that_is_cached_moves() {
    alone(|| {
        A.drain();
        let large = Layout::from_size_align(64 << 10, 8).unwrap();
        // SAFETY: the layouts are of more than no bytes, and each block is given back once.
        unsafe {
            for size in [1, 100, 3000, 30_000] {
                let small = Layout::from_size_align(size, 8).unwrap();
                let block = A.alloc(large);
                block.write_bytes(7, size);
                let shrunk = A.realloc(block, large, size);
                assert_ne!(shrunk, block);
                assert!(core::slice::from_raw_parts(shrunk, size).iter().all(|&byte| byte == 7));
                let again = A.alloc(large);
                assert_eq!(again, block, "all of it is free");
                A.dealloc(again, large);
                A.dealloc(shrunk, small);
            }
        }
        A.drain();
        A.audit().unwrap();
    });
}

fn allocate_one(layout: Layout) -> usize {
    // SAFETY: the layout is of more than no bytes.
    unsafe { A.alloc(layout) }.expose_provenance()
}

fn free_all(blocks: Vec<(usize, Layout)>) {
    for (block, layout) in blocks {
        // SAFETY: it was allocated with that layout, and each is given back once.
        unsafe { A.dealloc(core::ptr::with_exposed_provenance_mut(block), layout) };
    }
}
