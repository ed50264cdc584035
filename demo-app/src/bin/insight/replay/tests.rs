use super::*;
use crate::replay::arena::LockedArena;
use crate::replay::player::Player;
use crate::script::{Action, Step};
use mem_alloc_rust::{FreeList, Locked};
use std::alloc::{GlobalAlloc, Layout};

fn allocate(block: u32, size: u64, align_log2: u8) -> Step {
    Step::event(Action::Allocate { block, size, align_log2, is_zeroed: block % 2 == 0 })
}

/// Performs steps in an arena of so many bytes.
fn perform(arena: u64, cells: usize, steps: &[Step]) -> Outcome {
    let mut memory = LockedArena::default();
    let allocator = memory.allocator(arena, 0).unwrap();
    let mut player = Player::new(&allocator, 0);
    let _ = steps.iter().try_for_each(|step| player.perform(step));
    player.outcome(Plan { cells, ..Plan::all(arena) })
}

#[test]
fn what_is_taken_beforehand_is_in_use_and_nothing_that_was_asked_for() {
    let mut memory = LockedArena::default();
    let allocator = memory.allocator(400, 0).unwrap();
    let mut player = Player::new(&allocator, 50);
    assert_eq!(allocator.live_bytes(), 0);
    assert!(player.perform(&allocate(0, 100, 3)).is_continue());
    assert!(player.perform(&allocate(1, 20, 3)).is_continue());
    let figures = player.outcome(Plan::all(400)).figures;
    assert_eq!((figures.asked, figures.live, figures.blocks), (120, 56 + 104 + 24, 3));
    // Where it does not fit, nothing does.
    let allocator = memory.allocator(400, 0).unwrap();
    let mut player = Player::new(&allocator, 500);
    assert!(player.perform(&allocate(0, 100, 3)).is_break());
    let refused = player.outcome(Plan::all(400)).refused.unwrap();
    assert_eq!(refused.bytes, 500);
}

#[test]
fn figures_are_those_of_the_blocks_that_are_held() {
    // An arena of less than 1 KiB has no pages, so that each block has a header: 104, 56 and 24 bytes.
    let steps = [
        allocate(0, 100, 3),
        allocate(1, 50, 3),
        allocate(2, 20, 3),
        Step::event(Action::Release { block: 1 }),
        Step::event(Action::Reallocate { block: 0, size: 98 }),
    ];
    let outcome = perform(800, 0, &steps);
    let figures = outcome.figures;
    assert_eq!((outcome.events, outcome.refused), (5, None));
    assert_eq!((outcome.peak_asked, outcome.peak_event), (170, 3));
    assert_eq!((figures.blocks, figures.asked, figures.headers), (2, 118, 2));
    assert_eq!((figures.capacity, figures.live), (100 + 20, 104 + 24));
    assert_eq!((figures.peak, figures.cached()), (104 + 56 + 24, 0));
    // One granule at most at either end of the arena cannot be used.
    assert_eq!(figures.usable, figures.live + figures.free);
    assert!((784..=800).contains(&figures.usable));
    assert_eq!((figures.free_blocks, figures.largest_free), (2, figures.free - 56));
}

#[test]
fn a_refusal_ends_a_replay_and_has_its_reason() {
    // Eight blocks of 104 bytes fill it; every other one is given back.
    let mut steps: Vec<_> = (0..9).map(|block| allocate(block, 100, 3)).collect();
    let outcome = perform(900, 0, &steps);
    let refused = outcome.refused.unwrap();
    assert_eq!((outcome.events, outcome.figures.blocks), (9, 8));
    assert_eq!(refused, Refused { bytes: 100, align: 8, former_bytes: None });
    assert_eq!(outcome.figures.verdict(&refused), Verdict::Exhausted);
    steps.pop();
    steps.extend([0, 2, 4, 6].map(|block| Step::event(Action::Release { block })));
    steps.push(Step::event(Action::Reallocate { block: 1, size: 400 }));
    let outcome = perform(900, 0, &steps);
    let refused = outcome.refused.unwrap();
    assert_eq!((outcome.events, refused.former_bytes), (13, Some(100)));
    assert_eq!(outcome.figures.verdict(&refused), Verdict::Fragmented);
    assert!(outcome.figures.free >= 4 * 104 && outcome.figures.largest_free < 400);
}

#[test]
fn what_the_program_was_refused_may_be_refused_unless_it_was_its_end() {
    let refused = Step::event(Action::Refused { size: 5000, align_log2: 3 });
    let resize = Step::event(Action::RefusedReallocation { block: 0, size: 5000 });
    let steps = [allocate(0, 100, 3), refused, resize, allocate(1, 100, 3)];
    let outcome = perform(1000, 0, &steps);
    assert_eq!((outcome.refused, outcome.figures.asked, outcome.events), (None, 200, 4));
    // Where there is room, it is the same in the end.
    let outcome = perform(20_000, 0, &steps);
    assert_eq!((outcome.refused, outcome.figures.asked, outcome.figures.blocks), (None, 200, 2));
    for last in [refused, resize] {
        let required = Step { is_required: true, ..last };
        let outcome = perform(1000, 0, &[allocate(0, 100, 3), required]);
        assert_eq!(outcome.refused.map(|refused| refused.bytes), Some(5000));
        let outcome = perform(20_000, 0, &[allocate(0, 100, 3), required]);
        assert_eq!(outcome.refused, None);
        assert!([5100, 5000].contains(&outcome.figures.asked));
    }
}

#[test]
fn steps_that_make_no_sense_do_no_harm() {
    let steps = [
        Step::event(Action::Release { block: 7 }),
        Step::event(Action::Reallocate { block: 7, size: 10 }),
        Step::event(Action::RefusedReallocation { block: 7, size: 10 }),
        allocate(0, 0, 3),
        Step::event(Action::Release { block: 0 }),
        Step::event(Action::Release { block: 0 }),
        allocate(1, 10, 3),
        allocate(1, 20, 3),
    ];
    let outcome = perform(2000, 0, &steps);
    assert_eq!((outcome.refused, outcome.figures.blocks, outcome.figures.asked), (None, 1, 20));
    for impossible in [allocate(0, u64::MAX, 3), allocate(0, 8, 63), allocate(0, 1 << 62, 62)] {
        assert!(perform(2000, 0, &[impossible]).refused.is_some());
    }
}

#[test]
fn the_picture_shows_where_blocks_lie() {
    let outcome = perform(64 << 10, 4, &[allocate(0, 30 << 10, 3)]);
    // In front of it lie the map of 64 pages, and the header.
    assert_eq!(outcome.cells, [100, 88, 0, 0]);
}

/// The same steps on the allocator that a program has, and on the one that replays: all blocks lie at the same
/// distances.
#[test]
fn blocks_lie_where_a_static_arena_has_them() {
    const ARENA: usize = 300_000;
    static A: Locked<FreeList<ARENA>> = Locked::new();
    let mut memory = LockedArena::default();
    let replayed = memory.allocator(ARENA as u64, 0).unwrap();
    let mut random = 1u64;
    let mut next = |below: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % below
    };
    let mut blocks: Vec<(*mut u8, *mut u8, Layout)> = Vec::new();
    let mut first = None;
    let (mut moved, mut refused) = (0, 0);
    for _ in 0..20_000 {
        let size = 1 + if next(50) == 0 { next(20_000) } else { next(300) } as usize;
        let align = 1 << [0, 3, 3, 3, 3, 4, 6, 7][next(8) as usize];
        let layout = Layout::from_size_align(size, align).unwrap();
        // SAFETY: layouts are of more than no bytes; blocks are released and resized with theirs, each in the allocator
        // that it came from.
        let (here, there) = unsafe {
            match next(5) {
                0 | 1 => (A.alloc(layout), replayed.alloc(layout)),
                2 => (A.alloc_zeroed(layout), replayed.alloc_zeroed(layout)),
                action => {
                    if blocks.is_empty() {
                        continue;
                    }
                    let (here, there, layout) = blocks.swap_remove(next(blocks.len() as u64) as usize);
                    if action == 3 {
                        A.dealloc(here, layout);
                        replayed.dealloc(there, layout);
                        continue;
                    }
                    let resized = (A.realloc(here, layout, size), replayed.realloc(there, layout, size));
                    if resized.0.is_null() {
                        assert!(resized.1.is_null());
                        blocks.push((here, there, layout));
                        continue;
                    }
                    moved += usize::from(resized.0 != here);
                    blocks.push((
                        resized.0,
                        resized.1,
                        Layout::from_size_align(size, layout.align()).unwrap(),
                    ));
                    assert_eq!(
                        resized.0.addr() - first.unwrap(),
                        resized.1.addr() - replayed.start() as usize
                    );
                    continue;
                }
            }
        };
        if here.is_null() {
            assert!(there.is_null());
            refused += 1;
            continue;
        }
        // Both begin at a multiple of 128, so that the first block lies equally far behind.
        let distance = there.addr() - replayed.start() as usize;
        let first = *first.get_or_insert(here.addr() - distance);
        assert_eq!(first % 128, 0);
        assert_eq!(here.addr() - first, distance);
        blocks.push((here, there, layout));
    }
    assert!(moved > 100 && refused > 100, "{moved} moved, {refused} refused");
    assert_eq!(A.stats(), replayed.stats());
}
