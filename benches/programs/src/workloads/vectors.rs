//! A program of growing vectors.

use fastrand::Rng;

use crate::Checksum;

const ROWS: usize = 2_000;
const PASSES: usize = 20;
/// Numbers that a pass appends to all rows together.
const APPENDED: usize = 150_000;

/// Appends numbers to rows, sorts and thins rows out, and moves parts of one row to another.
pub(super) fn perform(checksum: &mut Checksum) {
    let mut random = Rng::with_seed(8);
    let mut rows: Vec<Vec<u64>> = vec![Vec::new(); ROWS];
    for pass in 0..PASSES {
        for _ in 0..APPENDED {
            // The square prefers rows at the front: their lengths become very different.
            let share = random.f64();
            rows[(share * share * ROWS as f64) as usize].push(random.u64(..1 << 40));
        }
        for row in &mut rows {
            match random.u8(..8) {
                0 => row.sort(),
                1 => row.retain(|number| number % 3 != 0),
                2 => row.shrink_to_fit(),
                3 => *row = row.iter().step_by(2).copied().collect(),
                _ => {}
            }
        }
        for row in 0..ROWS / 2 {
            let middle = rows[row].len() / 2;
            let moved = rows[row].split_off(middle);
            rows[ROWS - 1 - row].extend(moved);
        }
        rows.sort_by_key(Vec::len);
        checksum.add((pass, &rows[ROWS / 2]));
    }
    checksum.add(rows.concat());
}
