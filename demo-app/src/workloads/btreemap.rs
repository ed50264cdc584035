//! Tree nodes of two sizes that split when full and merge when thinned out.

use crate::stage::Stage;
use crate::trouble::Trouble;
use std::collections::BTreeMap;

/// A prime: its multiples visit every remainder once.
const PRIME: u64 = 20_011;

/// Fills a map in scrambled order, removes every third key, and adds up a range of the rest.
pub(crate) fn run(stage: &mut Stage<'_>) -> Result<(), Trouble<'static>> {
    let mut cubes: BTreeMap<u64, u64> = (1..PRIME)
        .map(|number| {
            let key = number * 7919 % PRIME;
            (key, key.pow(3))
        })
        .collect();
    cubes.retain(|key, _| key % 3 != 0);
    stage.snapshot();
    let by_counting = (1..PRIME).filter(|key| key % 3 != 0).count();
    stage.check("keys left", cubes.len(), "by counting", by_counting)?;
    let sum: u64 = cubes.range(1000..2000).map(|(_, cube)| cube).sum();
    let again =
        sum_of_cubes(1999) - sum_of_cubes(999) - 27 * (sum_of_cubes(1999 / 3) - sum_of_cubes(999 / 3));
    stage.check("sum of the cubes from 1000 to 1999 that are left", sum, "by the formula", again)
}

/// 1³ + 2³ + … + n³ is the square of 1 + 2 + … + n.
fn sum_of_cubes(last: u64) -> u64 {
    (last * (last + 1) / 2).pow(2)
}
