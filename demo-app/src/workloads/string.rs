//! Many small allocations of a few bytes each: a block costs 4 bytes more than its contents, and at least 16.

use crate::stage::Stage;
use crate::trouble::Trouble;

const COUNT: u32 = 10_000;

/// Looks for numbers that read the same from both ends.
pub(crate) fn run(stage: &mut Stage<'_>) -> Result<(), Trouble<'static>> {
    let texts: Vec<String> = (0..COUNT).map(|number| number.to_string()).collect();
    stage.snapshot();
    let palindromes = texts.iter().filter(|text| **text == text.chars().rev().collect::<String>()).count();
    let again = (0..COUNT).filter(|&number| reversed(number) == number).count();
    stage.check("palindromes among the numbers below 10000", palindromes, "by arithmetic", again)
}

/// The number with its decimal digits in reverse order.
fn reversed(mut number: u32) -> u32 {
    let mut reversed = 0;
    while number > 0 {
        reversed = reversed * 10 + number % 10;
        number /= 10;
    }
    reversed
}
