//! The search for the smallest arena that is enough.
//!
//! Whether an arena is enough is not monotonic: a larger one may lay blocks out worse. So when the boundary was found
//! by bisection, sizes below it are tried, too, close to it and further away, and the search goes on from the smallest
//! that is enough.

use std::collections::BTreeMap;

/// Where and how finely to search.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Range {
    /// Nothing less is enough.
    pub(crate) lower: u64,
    /// Where to begin.
    pub(crate) guess: u64,
    /// Nothing more is to be tried.
    pub(crate) upper: u64,
    /// All sizes are multiples of this.
    pub(crate) step: u64,
}

/// How far below the boundary sizes are tried, as shares of it.
const BELOW: [f64; 8] = [0.002, 0.004, 0.008, 0.012, 0.016, 0.022, 0.03, 0.05];

/// How many sizes right below the boundary are tried, one step apart.
const CLOSE: u64 = 3;

/// The first step from the guess is this share of it; each further one is twice as long.
const FIRST_STRIDE: u64 = 64;

/// The smallest size that is enough, as far as this finds it; `None` if none up to the upper limit is.
///
/// # Errors
///
/// What `is_enough` says.
pub(crate) fn smallest<E>(
    range: Range,
    mut is_enough: impl FnMut(u64) -> Result<bool, E>,
) -> Result<Option<u64>, E> {
    let Range { lower, guess, upper, step } = range;
    let mut tried = BTreeMap::new();
    let mut is_enough = move |size: u64| match tried.get(&size) {
        Some(&known) => Ok(known),
        None => {
            let found = is_enough(size)?;
            tried.insert(size, found);
            Ok(found)
        }
    };
    let (lower, upper) = (lower.next_multiple_of(step), upper / step * step);
    if lower > upper {
        return Ok(None);
    }
    let aligned = |size: u64| (size / step * step).clamp(lower, upper);
    let mut stride = (guess / FIRST_STRIDE).max(step);
    let (mut fails, mut works);
    let first = aligned(guess.next_multiple_of(step));
    if is_enough(first)? {
        works = first;
        loop {
            if works == lower {
                return Ok(Some(lower));
            }
            let less = aligned(works.saturating_sub(stride));
            if !is_enough(less)? {
                fails = less;
                break;
            }
            works = less;
            stride *= 2;
        }
    } else {
        fails = first;
        loop {
            if fails == upper {
                return Ok(None);
            }
            let more = aligned(fails.saturating_add(stride).next_multiple_of(step));
            if is_enough(more)? {
                works = more;
                break;
            }
            fails = more;
            stride *= 2;
        }
    }
    loop {
        while works - fails > step {
            let middle = aligned(fails + (works - fails) / 2);
            if is_enough(middle)? {
                works = middle;
            } else {
                fails = middle;
            }
        }
        let close = (1..=CLOSE).map(|steps| works.saturating_sub(steps * step));
        let further = BELOW.iter().map(|share| aligned(works - (works as f64 * share) as u64));
        let mut smaller = None;
        for size in close.chain(further).filter(|&size| size >= lower && size < works) {
            if is_enough(size)? {
                smaller = Some(size);
            }
        }
        match smaller {
            None => return Ok(Some(works)),
            Some(size) => {
                works = size;
                // All below that was tried fails; the nearest of those is the other end.
                fails = lower.saturating_sub(step);
                let mut size = works;
                while size > lower {
                    size = aligned(size.saturating_sub((works / 256).max(step)));
                    if !is_enough(size)? {
                        fails = size;
                        break;
                    }
                    works = size;
                }
                if works == lower {
                    return Ok(Some(works));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    /// The result, and how many sizes were tried.
    fn search(range: Range, is_enough: impl Fn(u64) -> bool) -> (Option<u64>, usize) {
        let mut tried = 0;
        let found = smallest(range, |size| {
            assert!(size % range.step == 0 && size >= range.lower && size <= range.upper, "{size}");
            tried += 1;
            Ok::<_, Infallible>(is_enough(size))
        });
        let Ok(found) = found;
        (found, tried)
    }

    #[test]
    fn a_threshold_is_found_exactly_and_in_few_steps() {
        for guess in [100_000, 110_000, 300_000] {
            for threshold in [100_000, 100_008, 104_000, 131_072, 299_992] {
                let range = Range { lower: 100_000, guess, upper: 1 << 20, step: 8 };
                let (found, tried) = search(range, |size| size >= threshold);
                assert_eq!(found, Some(threshold), "guess {guess}");
                assert!(tried <= 34, "{tried} tried");
            }
        }
    }

    #[test]
    fn an_island_below_the_threshold_is_found() {
        // As wide as a hundredth of it.
        let island = 64_000..64_640;
        let range = Range { lower: 50_000, guess: 70_000, upper: 1 << 20, step: 64 };
        let (found, _) = search(range, |size| size >= 65_536 || island.contains(&size));
        assert_eq!(found, Some(64_000));
    }

    #[test]
    fn what_is_never_enough_is_none() {
        let range = Range { lower: 1000, guess: 2000, upper: 10_000, step: 64 };
        assert_eq!(search(range, |_| false).0, None);
        assert_eq!(search(Range { upper: 900, ..range }, |_| true).0, None);
        assert_eq!(search(range, |_| true).0, Some(1024));
    }

    #[test]
    fn trouble_ends_the_search() {
        let range = Range { lower: 1000, guess: 2000, upper: 10_000, step: 64 };
        assert_eq!(smallest(range, |_| Err("broken")), Err("broken"));
    }
}
