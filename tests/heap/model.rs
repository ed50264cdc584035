//! Random sequences of operations over random arenas, run against a shadow that knows every live byte.
//!
//! What is checked after each step is written in `tests/support/shadow.rs`. proptest shortens a sequence that
//! fails, by leaving operations out and by making sizes smaller, and prints what is left.

use crate::random_sequences::config;
use crate::support::memory::RegionShape;
use crate::support::operation::Operation;
use crate::support::shadow::{Failure, Shadow};
use proptest::collection::vec;
use proptest::prelude::*;

/// Sequences per test, if all are run.
const CASES: u32 = 6000;

/// Operations in a sequence, at most.
const LENGTH: usize = 160;

/// Runs a sequence in an arena of that shape, to the end where everything is freed.
fn run(shape: RegionShape, operations: &[Operation]) -> Result<(), TestCaseError> {
    let outcome = || {
        let mut shadow = Shadow::new(shape)?;
        for &operation in operations {
            shadow.apply(operation)?;
        }
        shadow.finish()
    };
    outcome().map_err(|failure: Failure| TestCaseError::fail(failure.to_string()))
}

fn shapes(len: impl Strategy<Value = usize>) -> impl Strategy<Value = RegionShape> {
    let misalignment = prop_oneof![8 => 0..16usize, 1 => 0..4096usize];
    (len, misalignment, any::<bool>()).prop_map(|(len, misalignment, zeroed)| RegionShape {
        len,
        misalignment,
        zeroed,
    })
}

/// From an arena without room for a block up to 64 KiB; most are so small that they are soon full.
fn small_arenas() -> impl Strategy<Value = RegionShape> {
    shapes(prop_oneof![5 => 0..512usize, 4 => 512..8192usize, 1 => 8192..=65536usize])
}

/// Large enough for blocks of several bins that mix sizes.
fn large_arenas() -> impl Strategy<Value = RegionShape> {
    shapes(8192..=65536usize)
}

/// Alignments that programs ask for, with one in ten up to a page, and one in fifty that no small arena has.
fn alignments() -> impl Strategy<Value = usize> {
    prop_oneof![
        35 => (0..=4u32).prop_map(|log2| 1 << log2),
        14 => (5..=12u32).prop_map(|log2| 1 << log2),
        1 => (13..usize::BITS).prop_map(|log2| 1 << log2),
    ]
}

/// Allocations, frees and resizes in such a proportion that an arena fills up.
fn operations(
    sizes: impl Strategy<Value = usize> + 'static,
    alignments: impl Strategy<Value = usize> + 'static,
) -> impl Strategy<Value = Vec<Operation>> {
    let (sizes, alignments) = (sizes.boxed(), alignments.boxed());
    let request = || (sizes.clone(), alignments.clone());
    let operation = prop_oneof![
        5 => request().prop_map(|(size, align)| Operation::Alloc { size, align }),
        2 => request().prop_map(|(size, align)| Operation::AllocZeroed { size, align }),
        4 => any::<u8>().prop_map(|which| Operation::Free { which: which.into() }),
        3 => (any::<u8>(), sizes).prop_map(|(which, new_size)| Operation::Realloc { which: which.into(), new_size }),
    ];
    vec(operation, 0..LENGTH)
}

/// An arena full of blocks that share a bin with larger and smaller ones, then holes between them, so many
/// that a quick look at the bin does not see them all, then anything.
fn holes_of_one_bin() -> impl Strategy<Value = Vec<Operation>> {
    const ONE_BIN: std::ops::RangeInclusive<usize> = 1213..=1276;
    let fill = vec(ONE_BIN.prop_map(|size| Operation::Alloc { size, align: 8 }), 12..40);
    // As the ranks of those behind move up by one, this frees every other block.
    let holes = (0..20usize).prop_map(|holes| (0..holes).map(|which| Operation::Free { which }));
    let alignments = prop_oneof![3 => Just(8usize), 1 => Just(16)];
    (fill, holes, operations(ONE_BIN, alignments)).prop_map(|(mut sequence, holes, rest)| {
        sequence.extend(holes);
        sequence.extend(rest);
        sequence
    })
}

/// Small blocks of a few sizes, so many that their classes get runs and lose them again, and now and then a
/// large one.
fn few_sizes() -> impl Strategy<Value = Vec<Operation>> {
    let sizes = prop_oneof![6 => Just(16usize), 6 => Just(40), 6 => 57..=64usize, 1 => 0..4000usize];
    let alignments = prop_oneof![12 => Just(8usize), 3 => Just(16), 2 => Just(64), 1 => Just(128)];
    let fill = (
        vec(Just(Operation::Alloc { size: 40, align: 8 }), 0..60),
        vec(Just(Operation::Alloc { size: 64, align: 16 }), 0..60),
    );
    (fill, operations(sizes, alignments)).prop_map(|((mut first, second), rest)| {
        first.extend(second);
        first.extend(rest);
        first
    })
}

/// Sizes at which something changes: the smallest block is full, the exact bins end, a division of a bin
/// begins.
fn boundary_sizes() -> impl Strategy<Value = usize> {
    let around_powers =
        (0..15u32, -13..=13isize).prop_map(|(log2, off)| (1usize << log2).saturating_add_signed(off));
    prop_oneof![10..=22usize, 490..=526usize, around_powers]
}

/// Sizes that no arena has, and those that would wrap around if they were rounded up carelessly.
fn huge_sizes() -> impl Strategy<Value = usize> {
    let limit = isize::MAX as usize;
    prop_oneof![
        2 => 0..200usize,
        1 => (limit - 64)..=limit,
        1 => any::<usize>(),
        1 => (u32::MAX as usize - 8192)..=(u32::MAX as usize).saturating_add(64),
        1 => (28..usize::BITS).prop_map(|log2| (1 << log2) - 4),
    ]
}

/// The seeds of sequences that once failed.
const REGRESSIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/proptest-regressions/model.txt");

proptest! {
    #![proptest_config(config(CASES, REGRESSIONS))]

    #[test]
    fn tiny_blocks(shape in small_arenas(), operations in operations(0..64usize, alignments())) {
        run(shape, &operations)?;
    }

    #[test]
    fn blocks_of_all_sizes(shape in large_arenas(), operations in operations(0..=4096usize, alignments())) {
        run(shape, &operations)?;
    }

    #[test]
    fn blocks_of_one_bin(shape in shapes(16384..=49152usize), operations in holes_of_one_bin()) {
        run(shape, &operations)?;
    }

    #[test]
    fn slots_of_runs(shape in shapes(1024..=65536usize), operations in few_sizes()) {
        run(shape, &operations)?;
    }

    #[test]
    fn slots_of_long_runs(shape in shapes(Just(300_000)), operations in few_sizes()) {
        run(shape, &operations)?;
    }

    #[test]
    fn sizes_at_boundaries(shape in large_arenas(), operations in operations(boundary_sizes(), alignments())) {
        run(shape, &operations)?;
    }

    #[test]
    fn over_aligned_blocks(
        shape in small_arenas(),
        operations in operations(0..200usize, (4..=9u32).prop_map(|log2| 1 << log2)),
    ) {
        run(shape, &operations)?;
    }

    #[test]
    fn huge_requests(shape in small_arenas(), operations in operations(huge_sizes(), alignments())) {
        run(shape, &operations)?;
    }
}
