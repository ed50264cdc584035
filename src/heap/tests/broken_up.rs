//! Runs that are broken up for the sake of a request that would be refused otherwise.

use super::*;

/// Objects of so many bytes that fill most of the arena, of which each of so many is left.
fn few_of_many(bench: &mut Bench, bytes: usize, every: usize) -> Vec<*mut u8> {
    let all: Vec<_> =
        core::iter::from_fn(|| Some(bench.alloc(bytes)).filter(|block| !block.is_null())).collect();
    let (left, freed): (Vec<_>, Vec<_>) =
        all.into_iter().enumerate().partition(|(number, _)| number % every == 0);
    freed.into_iter().for_each(|(_, block)| bench.free(block));
    left.into_iter().map(|(_, block)| block).collect()
}

#[test]
fn runs_with_few_slots_in_use_are_broken_up_before_a_refusal() {
    const FEW: u8 = 0x5A;
    for (bytes, every, larger) in
        [(8, 300, 2000), (16, 100, 1500), (24, 9, 80), (64, 64, 1000), (200, 9, 750), (600, 5, 1500)]
    {
        let mut bench = Bench::with_runs(1 << 18);
        let few = few_of_many(&mut bench, bytes, every);
        // SAFETY: each of them is in use, and has so many bytes.
        few.iter().for_each(|&object| unsafe { object.write_bytes(FEW, bytes) });
        let runs = bench.runs();
        let free = bench.heap.stats().free_bytes + bench.heap.stats().free_slot_bytes;
        let mut served = Vec::new();
        loop {
            let block = bench.alloc(larger);
            if block.is_null() {
                break;
            }
            // SAFETY: it was just served.
            unsafe { block.write_bytes(0xFF, larger) };
            served.push(block);
        }
        let part = served.len() * larger * 100 / free;
        assert!(
            part >= if bench.runs() < runs / 2 { 40 } else { 60 },
            "{bytes} bytes: {part} % of what is free, {} of {runs} runs",
            bench.runs()
        );
        // What is left is where it was, and can be resized and freed.
        for &object in &few {
            // SAFETY: as above.
            assert!((0..bytes).all(|at| unsafe { object.add(at).read() } == FEW));
        }
        served.into_iter().for_each(|block| bench.free(block));
        let (moved, freed) = few.split_at(few.len() / 2);
        freed.iter().for_each(|&object| bench.free(object));
        for &object in freed {
            let fault = bench.try_free(object);
            assert!(
                matches!(
                    fault,
                    Err(Fault::AlreadyFree { .. } | Fault::NotABlock { .. } | Fault::NeverAllocated { .. })
                ),
                "{fault:?}"
            );
        }
        let moved: Vec<_> = moved.iter().map(|&object| bench.realloc(object, bytes, 3 * bytes)).collect();
        for object in moved {
            // SAFETY: it holds as many bytes as before, and more.
            assert!((0..bytes).all(|at| unsafe { object.add(at).read() } == FEW));
            bench.free(object);
        }
        assert_eq!((bench.heap.stats().live_bytes, bench.heap.stats().free_blocks), (0, 1));
    }
}

#[test]
fn slots_that_lie_side_by_side_keep_their_run() {
    let mut bench = Bench::with_runs(1 << 18);
    let all: Vec<_> =
        core::iter::from_fn(|| Some(bench.alloc(64)).filter(|block| !block.is_null())).collect();
    for (number, &object) in all.iter().enumerate() {
        if number % 16 > 1 {
            bench.free(object);
        }
    }
    let runs = bench.runs();
    while !bench.alloc(2000).is_null() {}
    assert!(bench.runs() + 1 >= runs, "{} of {runs}", bench.runs());
}

/// What was looked for in vain is not looked for again before there is more that is free.
#[test]
fn a_refusal_does_not_look_for_what_was_not_there() {
    let mut bench = Bench::with_runs(1 << 14);
    let few = few_of_many(&mut bench, 64, 2);
    while !bench.alloc(200).is_null() {}
    let sought = |bench: &Bench| {
        let sought = bench.heap.classes.sought_in_vain;
        (sought.granules, sought.live)
    };
    let mut before = sought(&bench);
    assert!(before.0 > 0);
    let layout = Layout::from_size_align(200, 8).unwrap();
    assert!(bench.heap.has_refused_for_good(layout));
    bench.free(few[0]);
    assert!(!bench.alloc(64).is_null());
    assert!(bench.alloc(200).is_null() && !bench.heap.has_refused_for_good(layout), "there was no search");
    // There is one now and then, as what is in use may be elsewhere.
    bench.free(few[1]);
    let again = (0..16).filter(|_| {
        assert!(bench.alloc(200).is_null());
        let before = core::mem::replace(&mut before, sought(&bench));
        sought(&bench) != before
    });
    assert_eq!(again.count(), 1);
    few[2..].iter().take(100).for_each(|&object| bench.free(object));
    assert!(!bench.alloc(200).is_null());
}

/// The run of a slot that grows may be the one that is broken up for that.
#[test]
fn slots_of_runs_that_are_broken_up_for_their_sake_move() {
    let mut state = 1u64;
    let mut random = |most: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % most
    };
    for every in 9..=15 {
        let mut bench = Bench::with_runs(64 << 10);
        let mut few = few_of_many(&mut bench, 48, every);
        for (number, &object) in few.iter().enumerate() {
            // SAFETY: each of them is in use, and has so many bytes.
            unsafe { object.write_bytes(number as u8, 48) };
        }
        for _ in 0..4 * few.len() {
            let number = random(few.len());
            let size = 500 + random(300);
            let moved = bench.realloc(few[number], 48, size);
            if moved.is_null() {
                continue;
            }
            // SAFETY: it has more than so many bytes.
            assert!((0..48).all(|at| unsafe { moved.add(at).read() } == number as u8), "{number}");
            few[number] = bench.realloc(moved, size, 48);
            bench.heap.audit().unwrap();
        }
    }
}

/// What was refused for its size says nothing of smaller requests.
#[test]
fn a_large_refusal_does_not_keep_runs_from_being_broken_up() {
    for refused in [0, 1 << 20, 40_000] {
        let mut bench = Bench::with_runs(64 << 10);
        bench.alloc(3000);
        assert!(refused == 0 || bench.alloc(refused).is_null() || refused < 64 << 10);
        let few = few_of_many(&mut bench, 48, 12);
        assert!(bench.alloc(refused.max(64 << 10)).is_null() && !bench.alloc(520).is_null());
        assert!(!bench.alloc(560).is_null() && !few.is_empty());
    }
}

/// A hole of a page and so many granules more becomes a run that is as long, between blocks in use.
fn run_in_hole(bench: &mut Bench, bytes: usize, more: u32) -> (Vec<*mut u8>, *mut u8) {
    let page = bench.heap.pages.granules();
    let gap = bench.heap.pages.gap(bench.heap.top);
    bench.alloc(BlockSize::from_granules(gap + page).payload());
    let hole = bench.alloc(BlockSize::from_granules(page + more).payload());
    let wall = bench.alloc(1000);
    // SAFETY: it was just served.
    unsafe { wall.write_bytes(0xAB, 1000) };
    (0..page as usize * GRANULE / bytes * 2 + 20).for_each(|_| _ = bench.alloc(bytes));
    bench.free(hole);
    let of_hole = hole.addr()..hole.addr() + page as usize * GRANULE;
    let slots = core::iter::repeat_with(|| bench.alloc(bytes)).take(300);
    let slots: Vec<_> = slots.filter(|slot| of_hole.contains(&slot.addr())).collect();
    assert!(slots.len() > 3 && slots[0] != hole, "{bytes} bytes, {more} granules more");
    (slots, wall)
}

#[test]
fn runs_that_are_longer_than_a_page_are_broken_up_as_a_whole() {
    for (bytes, more) in [24, 40].into_iter().flat_map(|bytes| [0, 1, 2].map(|more| (bytes, more))) {
        for kept_at in [0, 1, 3] {
            let mut bench = Bench::with_runs(64 << 10);
            let (slots, wall) = run_in_hole(&mut bench, bytes, more);
            let kept = slots[slots.len() - 1 - kept_at];
            slots.iter().filter(|&&slot| slot != kept).for_each(|&slot| bench.free(slot));
            let runs = bench.runs();
            while !bench.alloc(770).is_null() {}
            assert!(bench.runs() < runs, "{bytes} bytes, {more} granules more");
            // SAFETY: it is in use.
            assert!((0..1000).all(|at| unsafe { wall.add(at).read() } == 0xAB));
            [kept, wall].into_iter().for_each(|block| bench.free(block));
        }
    }
}

/// What is free behind a page and the granule that is left of it are not one: that belongs to the slot in front.
#[test]
fn nothing_is_broken_up_in_vain() {
    let mut bench = Bench::with_runs(1 << 20);
    let page = bench.heap.pages.granules();
    let gap = bench.heap.pages.gap(bench.heap.top);
    bench.alloc(BlockSize::from_granules(gap + page).payload());
    let whole = |granules| BlockSize::from_granules(granules).payload();
    let mut pairs = Vec::new();
    loop {
        let pair = [page, page - 2, 2].map(|granules| bench.alloc(whole(granules)));
        if pair.contains(&core::ptr::null_mut()) {
            break;
        }
        pairs.push(pair);
    }
    pairs.iter().for_each(|&[hole, ..]| bench.free(hole));
    // (They are too many for an audit after each.)
    let layout = Layout::from_size_align(16, 8).unwrap();
    let slots: Vec<_> = core::iter::from_fn(|| bench.heap.alloc(layout)).map(NonNull::as_ptr).collect();
    for &[hole, behind, _] in &pairs {
        let is_inside = |slot: &*mut u8| (hole.addr()..behind.addr()).contains(&slot.addr());
        let inside: Vec<_> = slots.iter().copied().filter(is_inside).collect();
        let last = inside.iter().max().unwrap();
        // SAFETY: they are freed once.
        let mut free = |slot: *mut u8| unsafe { bench.heap.dealloc(slot) }.unwrap();
        inside.iter().filter(|&slot| slot != last).for_each(|&slot| free(slot));
        bench.free(behind);
    }
    let before = bench.heap.stats();
    assert!(bench.runs() > 100);
    // A granule more than the largest free block has.
    assert!(bench.alloc(before.largest_free_bytes - 4 + GRANULE).is_null());
    assert_eq!(bench.heap.stats().free_slot_bytes, before.free_slot_bytes);
}

/// Runs that have room and many slots in use do not hide those that have few.
#[test]
fn runs_that_cannot_be_broken_up_hide_no_others() {
    let mut bench = Bench::with_runs(128 << 10);
    let half = bench.heap.arena_bytes() * 45 / 100;
    let mut fill = |bytes, until: usize| {
        let mut blocks = Vec::new();
        while bench.heap.live_bytes() < until {
            let block = bench.alloc(bytes);
            if block.is_null() {
                break;
            }
            blocks.push(block);
        }
        blocks
    };
    let (small, larger) = (fill(16, half), fill(48, usize::MAX));
    small.iter().step_by(50).for_each(|&slot| bench.free(slot));
    // Of each run, the slot in the middle is left, and what is in none.
    let is_left = |bench: &Bench, slot: *mut u8| {
        let run = bench.heap.run_at(slot);
        // SAFETY: RUNS.
        run.is_none_or(|(run, in_page)| unsafe { run.slot_at(in_page) == Some(run.slots() / 2) })
    };
    let gone: Vec<_> = larger.into_iter().filter(|&slot| !is_left(&bench, slot)).collect();
    gone.into_iter().for_each(|slot| bench.free(slot));
    assert!(bench.heap.stats().largest_free_bytes < 256);
    assert!(!bench.alloc(256).is_null());
}

/// Runs that cannot be broken up, more than one search looks at, do not hide others of their class.
#[test]
fn a_search_goes_on_where_the_last_one_ended() {
    let mut bench = Bench::with_runs(4 << 20);
    let layout = Layout::from_size_align(48, 8).unwrap();
    let slots: Vec<_> = core::iter::from_fn(|| bench.heap.alloc(layout)).map(NonNull::as_ptr).collect();
    let mut runs: Vec<Vec<*mut u8>> = Vec::new();
    let mut last = None;
    for slot in slots {
        let run = bench.heap.run_at(slot).map(|(run, _)| run.index(bench.heap.arena));
        if run.is_some() && run == last {
            runs.last_mut().unwrap().push(slot);
        } else if run.is_some() {
            runs.push(vec![slot]);
        }
        last = run;
    }
    let (sparse, dense) = runs.split_at(runs.len() / 2);
    assert!(dense.len() > 300);
    // SAFETY: each slot is freed once.
    let mut free = |slot: *mut u8| unsafe { bench.heap.dealloc(slot) }.unwrap();
    for run in sparse {
        run.iter()
            .enumerate()
            .filter(|&(number, _)| number != run.len() / 2)
            .for_each(|(_, &slot)| free(slot));
    }
    // Those that have room again come first.
    dense.iter().for_each(|run| free(run[1]));
    let large = Layout::from_size_align(1000, 8).unwrap();
    // (What was the first one before is it still.)
    let served = (0..400).filter(|_| bench.heap.alloc(large).is_some()).count();
    assert!(served > 20, "{served}");
}
