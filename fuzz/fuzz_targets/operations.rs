//! Bytes as an arena and a sequence of operations, run against the shadow of the tests.

#![no_main]

#[path = "../../tests/support/mod.rs"]
mod support;

use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use support::memory::RegionShape;
use support::operation::Operation;
use support::shadow::{Failure, Shadow};

/// The longest region. Small ones are soon full, which is where the decisions are.
const LONGEST_REGION: usize = 1 << 16;

fuzz_target!(|bytes: &[u8]| {
    let mut source = Unstructured::new(bytes);
    let Ok(shape) = shape(&mut source) else {
        return;
    };
    if let Err(failure) = run(shape, &mut source) {
        panic!("{failure}");
    }
});

/// Runs operations until the bytes are used up.
fn run(shape: RegionShape, source: &mut Unstructured) -> std::result::Result<(), Failure> {
    let mut shadow = Shadow::new(shape)?;
    while !source.is_empty()
        && let Ok(operation) = operation(source)
    {
        shadow.apply(operation)?;
    }
    shadow.finish()
}

fn shape(source: &mut Unstructured) -> Result<RegionShape> {
    let len_log2 = source.int_in_range(0..=LONGEST_REGION.ilog2())?;
    Ok(RegionShape {
        len: source.int_in_range(0..=1 << len_log2)?,
        misalignment: source.int_in_range(0..=15)?,
        zeroed: source.arbitrary()?,
    })
}

fn operation(source: &mut Unstructured) -> Result<Operation> {
    Ok(match source.int_in_range(0..=7u8)? {
        0..=2 => Operation::Alloc { size: size(source)?, align: align(source)? },
        3 => Operation::AllocZeroed { size: size(source)?, align: align(source)? },
        4 | 5 => Operation::Free { which: source.arbitrary::<u8>()?.into() },
        _ => Operation::Realloc { which: source.arbitrary::<u8>()?.into(), new_size: size(source)? },
    })
}

/// Any size, but seldom one that no region could hold.
fn size(source: &mut Unstructured) -> Result<usize> {
    match source.int_in_range(0..=15u8)? {
        0..=9 => Ok(source.arbitrary::<u8>()?.into()),
        10..=14 => source.int_in_range(0..=8191),
        _ => source.arbitrary(),
    }
}

/// Half of the alignments are those that need no gap; some are such that few or no regions have them.
fn align(source: &mut Unstructured) -> Result<usize> {
    let log2 = match source.int_in_range(0..=31u8)? {
        0..=15 => source.int_in_range(0..=3)?,
        16..=30 => source.int_in_range(4..=12)?,
        _ => source.int_in_range(0..=usize::BITS - 1)?,
    };
    Ok(1 << log2)
}
