//! A table that doubles: each time, the old and the new one exist side by side for a moment.

use crate::stage::Stage;
use crate::trouble::Trouble;
use std::collections::HashMap;

const LIMIT: u64 = 10_000;

/// Looks for the start below `LIMIT` from which the Collatz sequence takes the longest way down to 1.
pub(crate) fn run(stage: &mut Stage<'_>) -> Result<(), Trouble<'static>> {
    let mut steps_from: HashMap<u64, u32> = HashMap::from([(1, 0)]);
    for start in 2..LIMIT {
        let (mut number, mut steps) = (start, 0);
        let known = loop {
            match steps_from.get(&number) {
                Some(known) => break known,
                None => (number, steps) = (next(number), steps + 1),
            }
        };
        steps_from.insert(start, known + steps);
    }
    stage.snapshot();
    let longest =
        steps_from.iter().max_by_key(|(start, steps)| (**steps, **start)).map_or(0, |(start, _)| *start);
    let again = (1..LIMIT).max_by_key(|&start| (steps_without_table(start), start)).unwrap_or(0);
    stage.check("start below 10000 with the longest Collatz sequence", longest, "without a table", again)?;
    let steps = steps_from.get(&longest).copied().unwrap_or(0);
    stage.check("steps that it takes", steps, "without a table", steps_without_table(longest))
}

fn next(number: u64) -> u64 {
    if number % 2 == 0 { number / 2 } else { 3 * number + 1 }
}

fn steps_without_table(start: u64) -> u32 {
    let (mut number, mut steps) = (start, 0);
    while number > 1 {
        (number, steps) = (next(number), steps + 1);
    }
    steps
}
