//! Few small objects that are left of many keep no memory from requests of other sizes: runs with few slots in use are
//! broken up, while other threads ask how large their objects are, and free them.

use mem_alloc_rust::{FreeList, Locked, RefusalReports, ThreadCached, set_refusal_reports};
use std::alloc::{GlobalAlloc, Layout};
use std::sync::atomic::{AtomicBool, Ordering};

const ARENA: usize = 4 << 20;
const SMALL: Layout = Layout::new::<[u8; 64]>();
const LARGER: Layout = Layout::new::<[u8; 1000]>();

/// Addresses of objects, as many as there is memory for.
fn until_refused(allocator: &impl GlobalAlloc, layout: Layout) -> Vec<usize> {
    // A thread that asks may be interrupted meanwhile: then no run is broken up.
    let next = || {
        (0..1000).find_map(|_| {
            // SAFETY: the layouts are of more than no bytes.
            let block = unsafe { allocator.alloc(layout) };
            if block.is_null() {
                std::thread::yield_now();
            }
            (!block.is_null()).then_some(block)
        })
    };
    std::iter::from_fn(next)
        .map(|block| {
            // SAFETY: the block was just handed out.
            unsafe { block.write_bytes(layout.size() as u8, layout.size()) };
            block.expose_provenance()
        })
        .collect()
}

fn free(allocator: &impl GlobalAlloc, layout: Layout, objects: impl IntoIterator<Item = usize>) {
    for object in objects {
        let object = std::ptr::with_exposed_provenance_mut::<u8>(object);
        // SAFETY: each object is freed once, and holds what was written to it.
        unsafe {
            let bytes = std::slice::from_raw_parts(object, layout.size());
            assert!(bytes.iter().all(|&byte| byte == layout.size() as u8));
            allocator.dealloc(object, layout);
        }
    }
}

/// Fills the arena with small objects, leaves each 64th, and expects as many larger ones as the rest is good for.
fn fill_twice<A: GlobalAlloc + Sync>(allocator: &A, usable_size: impl Fn(*mut u8) -> Option<usize> + Sync) {
    set_refusal_reports(RefusalReports::Never);
    for _ in 0..3 {
        let (left, freed): (Vec<_>, Vec<_>) = {
            let all = until_refused(allocator, SMALL).into_iter().enumerate();
            all.partition(|(number, _)| number % 64 == 0)
        };
        free(allocator, SMALL, freed.into_iter().map(|(_, object)| object));
        let left: Vec<_> = left.into_iter().map(|(_, object)| object).collect();
        let is_over = AtomicBool::new(false);
        let larger = std::thread::scope(|scope| {
            for part in left.chunks(left.len() / 2 + 1) {
                let (is_over, usable_size) = (&is_over, &usable_size);
                scope.spawn(move || {
                    while !is_over.load(Ordering::Relaxed) {
                        for &object in part {
                            let usable = usable_size(std::ptr::with_exposed_provenance_mut(object));
                            let usable = usable.expect("it is in use");
                            assert!((SMALL.size()..SMALL.size() + 24).contains(&usable), "{usable} bytes");
                        }
                    }
                    free(allocator, SMALL, part.iter().copied());
                });
            }
            let larger = until_refused(allocator, LARGER);
            is_over.store(true, Ordering::Relaxed);
            larger
        });
        let part = larger.len() * LARGER.size() * 100 / ARENA;
        assert!(part >= 65, "{part} % of the arena");
        free(allocator, LARGER, larger);
    }
}

#[test]
fn few_objects_of_one_size_keep_nothing_from_others() {
    static A: Locked<FreeList<ARENA>> = Locked::new();
    // SAFETY: it is asked for objects in use only.
    fill_twice(&A, |object| unsafe { A.usable_size(object) });
    A.audit().unwrap();
    assert_eq!((A.stats().live_bytes, A.stats().free_blocks), (0, 1));
}

#[test]
fn few_objects_of_one_size_keep_nothing_from_others_with_caches() {
    static A: ThreadCached<FreeList<ARENA>> = ThreadCached::new();
    // SAFETY: as above.
    fill_twice(&A, |object| unsafe { A.usable_size(object) });
    A.audit().unwrap();
    assert_eq!(A.stats().live_bytes, 0);
}
