//! The collections of std in arenas, by the unstable trait `Allocator`; for a nightly compiler.

#![cfg(test)]
#![feature(allocator_api, btreemap_alloc)]

use mem_alloc_rust::{Arena, FreeList, Locked, ThreadCached};
use std::alloc::{AllocError, Allocator, Layout};
use std::collections::{BTreeMap, VecDeque};
use std::mem::MaybeUninit;
use std::rc::Rc;

/// Lists, boxes, maps and counted references, which grow, shrink and are dropped.
fn use_collections<A: Allocator + Copy>(allocator: A) {
    let mut names = BTreeMap::new_in(allocator);
    let mut queue = VecDeque::new_in(allocator);
    for n in 0..500u32 {
        let mut name = Vec::with_capacity_in(20, allocator);
        name.extend_from_slice(n.to_string().as_bytes());
        names.insert(n, name.into_boxed_slice());
        queue.push_back(Rc::new_in(n, allocator));
    }
    names.retain(|n, _| n % 3 == 0);
    assert!(names.iter().all(|(n, name)| name[..] == *n.to_string().as_bytes()));
    queue.retain(|n| **n % 2 == 0);
    queue.shrink_to_fit();
    assert!(queue.iter().map(|n| **n).eq((0..500).step_by(2)));
}

#[test]
fn collections_of_std_live_in_arenas() {
    let mut buffer = [MaybeUninit::uninit(); 128 << 10];
    let borrowed = Arena::over(&mut buffer).unwrap();
    use_collections(&borrowed);
    borrowed.audit().unwrap();
    assert_eq!(borrowed.stats().live_blocks, 0);
    let boxed = Arena::boxed(128 << 10).unwrap();
    use_collections(&boxed);
    assert_eq!(boxed.stats().live_blocks, 0);
    let mut list = Vec::new_in(boxed);
    list.extend(0..1000);
    assert!(std::thread::spawn(move || list.into_iter().eq(0..1000)).join().unwrap());
}

#[test]
fn collections_of_std_live_in_statics() {
    static LOCKED: Locked<FreeList> = Locked::new();
    static CACHED: ThreadCached<FreeList> = ThreadCached::new();
    use_collections(&LOCKED);
    assert_eq!(LOCKED.stats().live_blocks, 0);
    use_collections(&CACHED);
    CACHED.audit().unwrap();
}

#[test]
fn an_exhausted_arena_says_so_and_serves_on() {
    let arena = Arena::boxed(4096).unwrap();
    assert_eq!(arena.allocate(Layout::new::<[u8; 5000]>()), Err(AllocError));
    let mut list = Vec::new_in(&arena);
    list.extend(0..200u64);
    assert!(list.try_reserve(1000).is_err());
    list.push(200);
    assert!(list.into_iter().eq(0..201));
}

/// Neither of the two features takes the other one's trait away.
#[test]
fn both_traits_work_on_one_arena() {
    let arena = Arena::boxed(4096).unwrap();
    let ours = Box::new_in(7, &arena);
    let theirs = allocator_api2::boxed::Box::new_in(8, &arena);
    assert_eq!((*ours, *theirs, arena.stats().live_blocks), (7, 8, 2));
}
