//! One `String` that is built piece by piece, and grows in place for most of its life.

use crate::stage::Stage;
use crate::trouble::Trouble;

const LINES: u64 = 10_000;

/// Writes a table, and reads it back.
pub(crate) fn run(stage: &mut Stage<'_>) -> Result<(), Trouble<'static>> {
    let mut table = String::new();
    for number in 1..=LINES {
        table.push_str(&number.to_string());
        table.push_str(" squared is ");
        table += &format!("{:>9}", number * number);
        table.push('\n');
    }
    stage.snapshot();
    let squares = table.lines().filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
    let formula = LINES * (LINES + 1) * (2 * LINES + 1) / 6;
    stage.check("sum of the squares in the table", squares.sum(), "by the formula", formula)?;
    let digits = |number: u64| number.ilog10() as usize + 1;
    let length = (1..=LINES).map(|number| digits(number) + " squared is ".len() + 9 + 1).sum();
    stage.check("bytes of the table", table.len(), "by counting digits", length)
}
