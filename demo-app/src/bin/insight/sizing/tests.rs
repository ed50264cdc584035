use super::*;
use crate::synthetic::Synthetic;
use mem_alloc_rust::trace::Event;
use std::convert::Infallible;

/// So many blocks of a size, all live at one time, then all released.
fn plain(name: &str, blocks: u64, size: u64) -> Script {
    let mut trace = Synthetic::new();
    let address = |block: u64| 0x10000 + block * size.next_multiple_of(16);
    (0..blocks).for_each(|block| trace.allocation(7, 1 + block, address(block), size, 0));
    (0..blocks).for_each(|block| trace.release(7, 1 + blocks + block, address(block)));
    Script::read(&trace.write(name), 1 << 20).unwrap()
}

fn smallest_of(script: &Script) -> Smallest {
    smallest(&mut Replayer::default(), script, Allocator::Locked, None, |_| {}).unwrap()
}

#[test]
fn the_parts_of_a_small_arena_are_as_computed_by_hand() {
    // Blocks of 100 bytes take 104; the arena of less than 1 KiB has no map of pages, and up to 15 bytes at its ends
    // that cannot be used.
    let script = plain("by_hand", 8, 100);
    let Smallest { arena, parts, .. } = smallest_of(&script);
    let at_the_ends = arena - 8 * 104;
    assert!(at_the_ends <= 16, "{arena}");
    let headers = 8 * 4 + at_the_ends;
    assert_eq!(parts, Parts { asked: 800, headers, rounding: 0, fragmentation: 0, caches: 0 });
    // Of blocks of 97 bytes, each has three that were not asked for.
    let rounded = smallest_of(&plain("rounded", 8, 97));
    assert_eq!((rounded.arena, rounded.parts.asked, rounded.parts.rounding), (arena, 776, 24));
}

#[test]
fn the_parts_are_the_arena() {
    let mut trace = Synthetic::new();
    let mut sequence = 0;
    // Blocks of growing sizes, of which every other one goes before larger ones come.
    for round in 1..=6 {
        for block in 0..100u64 {
            sequence += 1;
            trace.allocation(7, sequence, (round << 20) + block * 4096, round * 40 + block % 7, 0);
        }
        for block in (0..100u64).step_by(2) {
            sequence += 1;
            trace.release(7, sequence, (round << 20) + block * 4096);
        }
    }
    let script = Script::read(&trace.write("parts"), 1 << 20).unwrap();
    let Smallest { arena, parts, .. } = smallest_of(&script);
    assert_eq!(parts.asked + parts.headers + parts.rounding + parts.fragmentation + parts.caches, arena);
    assert_eq!(parts.asked, script.peak_bytes);
    assert!(parts.fragmentation > 0 && parts.rounding > 0 && parts.headers > 0);
}

#[test]
fn the_smallest_arena_completes_and_three_percent_less_does_not() {
    let script = plain("three_percent", 500, 300);
    let Smallest { arena, .. } = smallest_of(&script);
    let mut replayer = Replayer::default();
    let mut completes =
        |arena| replayer.replay(&script, Allocator::Locked, Plan::all(arena)).unwrap().refused.is_none();
    assert!(completes(arena) && !completes(arena * 97 / 100 / 8 * 8));
}

#[test]
fn an_arena_is_enough_at_whatever_multiple_of_a_large_alignment_it_begins() {
    const ALIGN: u64 = 1 << 20;
    let mut trace = Synthetic::new();
    let block = Event::Allocation { size: 4096, align: ALIGN, address: ALIGN, site: 0, is_zeroed: false };
    trace.event(7, 1, &block);
    let script = Script::read(&trace.write("aligned"), 100).unwrap();
    let Smallest { arena, .. } = smallest_of(&script);
    // At the worst of the places that are tried, the next multiple is 5/6 of the alignment away.
    assert!((ALIGN * 5 / 6..=ALIGN + 8192).contains(&arena), "{arena}");
    for place in [0, ALIGN / 3, ALIGN / 2] {
        let plan = Plan { place, ..Plan::all(arena) };
        let outcome = Replayer::default().replay(&script, Allocator::Locked, plan).unwrap();
        assert!(outcome.refused.is_none(), "at {place}");
    }
}

#[test]
fn a_script_that_is_read_from_its_file_gives_the_same() {
    let script = plain("from_file", 500, 300);
    let from_file = Script::read(script.path(), 0).unwrap();
    assert_eq!(smallest_of(&script), smallest_of(&from_file));
}

#[test]
fn no_arena_is_enough_for_everything() {
    let mut trace = Synthetic::new();
    trace.allocation(7, 1, 0x1000, 1 << 40, 0);
    let script = Script::read(&trace.write("everything"), 100).unwrap();
    let trouble = smallest(&mut Replayer::default(), &script, Allocator::Locked, None, |_| {}).unwrap_err();
    assert!(
        trouble.to_string().starts_with("no arena is enough: 1,099,511,627,776 bytes are live"),
        "{trouble}"
    );
}

#[test]
fn an_arena_is_reliable_if_all_larger_ones_are_enough() {
    let reliable = |is_enough: fn(u64) -> bool| {
        let Ok(found) = reliable(1000, 8, |arenas| {
            Ok::<_, Infallible>(arenas.iter().map(|&arena| is_enough(arena)).collect())
        });
        found
    };
    assert_eq!(reliable(|_| true), 1000);
    // 1040 and 1080 are tried, 1064 is not; the next one is 1104.
    assert_eq!(reliable(|arena| arena != 1040), 1064);
    assert_eq!(reliable(|arena| arena != 1040 && arena != 1080), 1104);
    assert_eq!(reliable(|arena| arena < 1200), 1250);
}

/// What is recommended, if all arenas complete all runs.
fn recommended(smallest: &[u64], has_threads: bool) -> Recommendation {
    let Ok(found) = recommend(smallest, has_threads, |_| Ok::<_, Infallible>(true));
    found
}

#[test]
fn the_margin_is_what_runs_differ_by_and_not_less_than_a_twentieth() {
    // Round numbers have steps of a 512th at most.
    let found = recommended(&[1_000_000], false);
    assert_eq!((found.arena, found.margin, found.spread), (1_050_624, 50, 0));
    assert_eq!(recommended(&[1_000_000], true).arena, 1_251_328);
    let found = recommended(&[1_000_000, 920_000, 990_000], true);
    assert_eq!((found.arena, found.margin, found.spread), (1_081_344, 81, 80));
    assert_eq!(recommended(&[1_000_000, 999_000], true).arena, 1_050_624);
}

#[test]
fn what_does_not_complete_is_not_recommended() {
    let Ok(found) = recommend(&[1_000_000], false, |arena| Ok::<_, Infallible>(arena > 1_080_000));
    assert!((1_080_000..1_100_000).contains(&found.arena), "{}", found.arena);
    assert_eq!(recommend(&[1_000_000], false, |_| Err("broken")), Err("broken"));
}
