//! Slots and the runs that they lie in.

use super::*;

impl Bench {
    pub(super) fn runs(&self) -> usize {
        self.heap.blocks().filter(|(_, header)| header.is_run()).count()
    }

    /// Blocks and slots of so many bytes, until there are so many runs.
    pub(super) fn until_runs(&mut self, bytes: usize, runs: usize) -> Vec<*mut u8> {
        let mut found = Vec::new();
        while self.runs() < runs {
            found.push(self.alloc(bytes));
            assert!(found.len() < 10_000 && !found[found.len() - 1].is_null());
        }
        found
    }

    /// Slots, until one lies in a new run.
    pub(super) fn fill_run(&mut self, bytes: usize) -> Vec<*mut u8> {
        let runs = self.runs();
        let mut found = Vec::new();
        while self.runs() == runs {
            found.push(self.alloc(bytes));
        }
        found
    }
}

#[test]
fn slots_lie_side_by_side_and_cost_what_they_hold() {
    for (bytes, slot) in [(1, 8), (8, 8), (24, 24), (33, 40), (256, 256)] {
        let mut bench = Bench::with_runs(1 << 20);
        bench.until_runs(bytes, 1);
        let live = bench.heap.figures.live();
        let slots = bench.fill_run(bytes);
        assert!(slots.windows(2).rev().skip(1).all(|pair| pair[1].addr() - pair[0].addr() == slot));
        assert_eq!(bench.heap.figures.live() - live, (slots.len() * slot / GRANULE) as u32, "{bytes} bytes");
    }
}

#[test]
fn slots_are_aligned_as_asked() {
    for align in [16, 32, 64, 128] {
        for bytes in [align, 2 * align, 384] {
            let mut bench = Bench::with_runs(1 << 20);
            for _ in 0..200 {
                assert_eq!(bench.alloc_aligned(bytes, align).addr() % align, 0);
            }
            assert!(bench.runs() > 0, "{bytes} bytes at {align}");
        }
    }
}

#[test]
fn a_second_free_of_a_slot_is_a_fault_whatever_became_of_its_run() {
    let mut bench = Bench::with_runs(1 << 20);
    let blocks = bench.until_runs(40, 3);
    let slot = *blocks.last().unwrap();
    let double = |result: Result<(), Fault>| matches!(result, Err(Fault::AlreadyFree { address, .. }) if address == slot.addr());
    bench.free(slot);
    assert!(double(bench.try_free(slot)));
    assert_eq!(bench.alloc(40), slot, "the lowest free slot is taken");
    bench.free(slot);
    assert!(double(bench.try_free(slot)), "the slot was used again and freed");
    for &block in &blocks[..blocks.len() - 1] {
        bench.free(block);
    }
    assert_eq!(bench.runs(), 0);
    assert!(double(bench.try_free(slot)), "the run is gone");
    assert_eq!(bench.heap.stats().free_blocks, 1);
}

#[test]
fn what_was_never_used_of_a_long_run_is_not_touched_when_it_is_given_up() {
    let mut bench = Bench::with_runs(64 << 20);
    let blocks = bench.until_runs(500, 1);
    let slot = *blocks.last().unwrap();
    assert!(bench.try_free(slot.wrapping_add(10 * 512)).is_err(), "nothing was handed out there");
    blocks.iter().for_each(|&block| bench.free(block));
    assert_eq!(bench.runs(), 0);
    assert!(bench.try_free(slot).is_err());
    // Those of one page of the system's were ready.
    let behind = (slot.addr() + 4096 - bench.memory.as_ptr().addr()) / 8;
    assert!(bench.memory[behind..].iter().all(|&word| word == 0));
}

#[test]
fn a_pointer_into_a_slot_or_between_slots_is_a_fault() {
    let mut bench = Bench::with_runs(1 << 20);
    let slot = *bench.until_runs(40, 1).last().unwrap();
    for offset in [8, 16, 32, 8000] {
        let fault = bench.try_free(slot.wrapping_add(offset)).unwrap_err();
        let is_free_slot = offset == 8000;
        let expected = matches!(fault, Fault::NotABlock { .. }) && !is_free_slot;
        assert!(expected || is_free_slot, "{offset}: {fault}");
    }
    let page = bench.heap.pages.run_at(slot.addr()).unwrap().0.index(bench.heap.arena);
    let page = core::ptr::without_provenance_mut(bench.heap.arena.address(page));
    assert!(matches!(bench.try_free(page), Err(Fault::NotABlock { .. })), "the run header");
    assert!(matches!(bench.try_free(slot.wrapping_add(4)), Err(Fault::Misaligned { .. })));
    bench.free(slot);
}

#[test]
fn where_memory_is_tight_there_are_no_new_runs() {
    let mut bench = Bench::with_runs(1 << 20);
    bench.alloc(1_000_000);
    let blocks: Vec<_> = (0..300).map(|_| bench.alloc(28)).collect();
    assert_eq!(bench.runs(), 0);
    assert!(blocks.windows(2).any(|pair| pair[1].addr() - pair[0].addr() == 32), "to the byte");
}

#[test]
fn a_free_slot_serves_a_smaller_request_before_it_is_refused() {
    let mut bench = Bench::with_runs(1 << 20);
    bench.until_runs(200, 1);
    // One whose neighbours are in use.
    let slot = bench.fill_run(200)[3];
    while !bench.alloc(700).is_null() {}
    while !bench.alloc(8).is_null() {}
    bench.free(slot);
    let served = bench.alloc(100);
    assert_eq!(served, slot);
    assert!(bench.alloc(300).is_null());
}

#[test]
fn a_run_is_used_until_it_is_full_and_then_the_one_that_was_full_last() {
    let mut bench = Bench::with_runs(1 << 20);
    bench.until_runs(64, 1);
    let runs: Vec<_> = (0..3).map(|_| bench.fill_run(64)).collect();
    // The last slot taken is the first one of a further run: no run has room after this.
    (1..runs[2].len()).for_each(|_| _ = bench.alloc(64));
    // The first slots belong to the run of the ones before: take those in the middle of each run.
    let middle = |run: usize, after: usize| runs[run][runs[run].len() / 2 + after];
    bench.free(middle(0, 0));
    bench.free(middle(0, 1));
    bench.free(middle(1, 0));
    bench.free(middle(2, 0));
    assert_eq!(bench.alloc(64), middle(0, 0), "the one that had room first");
    assert_eq!(bench.alloc(64), middle(0, 1), "until it is full");
    assert_eq!(bench.alloc(64), middle(2, 0), "the one that was full last");
    assert_eq!(bench.alloc(64), middle(1, 0));
}

#[test]
fn a_class_that_is_busy_gets_a_run_though_little_is_in_use_at_a_time() {
    let mut bench = Bench::with_runs(1 << 20);
    bench.alloc(100_000);
    let (mut calls, most) = (0, 2 * 4224 / 24);
    while bench.runs() == 0 && calls < most {
        let block = bench.alloc(24);
        bench.free(block);
        calls += 1;
    }
    assert!((4224 / 32..most).contains(&calls), "{calls} calls");
    // It keeps it while it is empty, and gives it back before a request is refused.
    assert_eq!(bench.runs(), 1);
    let rest = bench.heap.stats().free_bytes - 4;
    assert!(!bench.alloc(rest).is_null(), "all that is free is one block");
    assert_eq!(bench.runs(), 0);
}

/// One block after the other, of each of the sizes in turn, so many times. Returns where those of the last turn were.
fn take_turns(bench: &mut Bench, sizes: &[usize], turns: usize) -> Vec<*mut u8> {
    let mut turn = || {
        let pass = |&size| {
            let block = bench.alloc(size);
            bench.free(block);
            block
        };
        sizes.iter().map(pass).collect()
    };
    (1..turns).for_each(|_| drop(turn()));
    turn()
}

#[test]
fn classes_that_take_turns_keep_their_runs() {
    let mut bench = Bench::with_runs(1 << 20);
    bench.alloc(100_000);
    let sizes = [24, 56, 120, 300];
    let blocks = take_turns(&mut bench, &sizes, 1000);
    assert_eq!(bench.runs(), sizes.len());
    for _ in 0..10 {
        assert_eq!(take_turns(&mut bench, &sizes, 1), blocks, "each is served from its own run");
    }
    bench.heap.audit().unwrap();
}

#[test]
fn idle_runs_are_little_beside_how_much_more_is_free_than_in_use() {
    let sizes: Vec<_> = (3..30).map(|granules| granules * GRANULE).collect();
    for (arena, most) in [(1 << 20, 7), (2 << 20, 15), (8 << 20, sizes.len())] {
        let mut bench = Bench::with_runs(arena);
        bench.alloc(1000);
        take_turns(&mut bench, &sizes, 2000);
        assert!((most - 1..=most).contains(&bench.runs()), "{} runs", bench.runs());
        bench.heap.audit().unwrap();
        // All of them are free for what needs them.
        let free = bench.heap.stats().free_bytes;
        assert!(!bench.alloc(free - 4).is_null() && bench.runs() == 0);
        // Where as much is in use as is free, one is enough.
        let mut bench = Bench::with_runs(arena);
        bench.alloc(arena / 2);
        let mut most = 0;
        for &bytes in &sizes {
            let many: Vec<_> = (0..40_000 / bytes).map(|_| bench.alloc(bytes)).collect();
            most = most.max(bench.runs());
            many.into_iter().for_each(|slot| bench.free(slot));
            assert!(bench.runs() <= 1, "{} runs", bench.runs());
        }
        assert!(most > 4);
    }
}

#[test]
fn when_nothing_is_in_use_the_heap_is_as_in_the_beginning() {
    let sizes: Vec<_> = (3..30).map(|granules| granules * GRANULE).collect();
    for last in [8, 24, 100, 5000, 400_000] {
        let mut bench = Bench::with_runs(8 << 20);
        let first = bench.alloc(100);
        let others: Vec<_> = (0..100).map(|number| bench.alloc(1000 + 8 * number)).collect();
        let blocks = take_turns(&mut bench, &sizes, 2000);
        let last = bench.alloc(last);
        bench.free(first);
        others.iter().step_by(2).chain(others.iter().skip(1).step_by(2)).for_each(|&block| bench.free(block));
        assert!(bench.runs() > 20);
        bench.free(last);
        let stats = bench.heap.stats();
        assert_eq!((bench.runs(), stats.live_bytes, stats.free_blocks), (0, 0, 1));
        bench.heap.audit().unwrap();
        for block in blocks.into_iter().chain([first, last]) {
            let fault = bench.try_free(block);
            assert!(matches!(fault, Err(Fault::AlreadyFree { .. })), "{fault:?}");
        }
        assert_eq!(bench.alloc(100), first);
    }
}

#[test]
fn a_slot_that_grows_keeps_its_contents() {
    let mut bench = Bench::with_runs(1 << 20);
    let mut block = *bench.until_runs(16, 1).last().unwrap();
    // SAFETY: the slot has 16 bytes.
    unsafe { block.write_bytes(7, 16) };
    let mut size = 16;
    for larger in [17, 24, 100, 256, 300, 1000, 3000] {
        block = bench.realloc(block, size, larger);
        size = larger;
        // SAFETY: the block has that many bytes.
        assert!((0..16).all(|offset| unsafe { block.add(offset).read() } == 7), "{larger}");
    }
    assert_eq!(bench.realloc(block, size, 16), block, "a block shrinks where it is");
}

/// A run that becomes larger keeps its short pages, of which some have one slot each of some sizes.
#[test]
fn empty_runs_of_one_slot_are_noted() {
    let mut memory = vec![0u64; 1 << 17];
    let start: *mut u8 = memory.as_mut_ptr().cast();
    let mut heap = Heap::new();
    // SAFETY: the vector lives as long as the heap and is not touched otherwise. What is given back came from the heap.
    unsafe {
        heap.init(start, 2048, true).unwrap();
        let layout = |bytes| Layout::from_size_align(bytes, 8).unwrap();
        let alloc = |heap: &mut Heap, bytes: usize, count: usize| -> Vec<*mut u8> {
            (0..count).map(|_| heap.alloc(layout(bytes)).unwrap().as_ptr()).collect()
        };
        let small = alloc(&mut heap, 8, 40);
        small[..32].iter().for_each(|&block| heap.dealloc(block).unwrap());
        heap.extend(start.add(2048), (1 << 20) - 2048, true).unwrap();
        let of_one_slot = alloc(&mut heap, 208, 8);
        of_one_slot.into_iter().for_each(|block| heap.dealloc(block).unwrap());
        small[32..].iter().for_each(|&block| heap.dealloc(block).unwrap());
        heap.audit().unwrap();
        assert_eq!((heap.stats().live_bytes, heap.stats().free_blocks), (0, 1));
        let larger = alloc(&mut heap, 1000, 40);
        heap.audit().unwrap();
        larger.into_iter().for_each(|block| heap.dealloc(block).unwrap());
    }
}
