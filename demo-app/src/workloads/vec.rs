//! A `Vec` that grows by one element at a time: nearly every time that it runs out of capacity, the block behind it is
//! free, and it grows where it is.

use crate::stage::Stage;
use crate::trouble::Trouble;

const COUNT: u64 = 40_000;

/// Adds up squares.
pub(crate) fn run(stage: &mut Stage<'_>) -> Result<(), Trouble<'static>> {
    let mut squares = Vec::new();
    for number in 1..=COUNT {
        squares.push(number * number);
    }
    stage.snapshot();
    let formula = COUNT * (COUNT + 1) * (2 * COUNT + 1) / 6;
    stage.check("sum of the first 40000 squares", squares.iter().sum(), "by the formula", formula)
}
