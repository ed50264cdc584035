//! A picture of an arena: how much of each stretch is in use.

use super::Plan;

/// A picture that blocks are added to.
pub(super) struct Picture {
    start: u64,
    arena: u64,
    /// Bytes in use, for each cell.
    used: Vec<u64>,
}

impl Picture {
    /// A picture of an arena of which nothing is in use.
    pub(super) fn new(start: u64, plan: Plan) -> Self {
        Self { start, arena: plan.arena, used: vec![0; plan.cells] }
    }

    /// Adds what is in use from an address on.
    pub(super) fn add(&mut self, address: u64, bytes: u64) {
        if self.used.is_empty() {
            return;
        }
        let mut from = address.saturating_sub(self.start).min(self.arena);
        let to = (from + bytes).min(self.arena);
        while from < to {
            let cell = self.cell_at(from);
            let until = to.min(self.start_of(cell + 1));
            self.used[cell] += until - from;
            from = until;
        }
    }

    /// For each cell, how many percent are in use; at least one, if anything is.
    pub(super) fn cells(&self) -> Vec<u8> {
        let percent = |(cell, &used): (usize, &u64)| {
            let bytes = self.start_of(cell + 1) - self.start_of(cell);
            (used * 100).div_ceil(bytes.max(1)).min(100) as u8
        };
        self.used.iter().enumerate().map(percent).collect()
    }

    /// Where a cell begins, from the arena's beginning on.
    fn start_of(&self, cell: usize) -> u64 {
        (u128::from(self.arena) * cell as u128).div_ceil(self.used.len() as u128) as u64
    }

    /// The cell that a byte lies in.
    fn cell_at(&self, offset: u64) -> usize {
        (u128::from(offset) * self.used.len() as u128 / u128::from(self.arena)) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cell_has_its_share() {
        let mut picture = Picture::new(1000, Plan { cells: 4, ..Plan::all(400) });
        picture.add(1000, 100);
        picture.add(1150, 100);
        picture.add(1399, 1);
        assert_eq!(picture.cells(), [100, 50, 50, 1]);
        picture.add(1350, 500);
        assert_eq!(picture.cells()[3], 51);
    }

    #[test]
    fn cells_need_not_be_equally_long() {
        let mut picture = Picture::new(0, Plan { cells: 3, ..Plan::all(256) });
        (0..256).for_each(|byte| picture.add(byte, 1));
        assert_eq!(picture.cells(), [100, 100, 100]);
        assert!(Picture::new(0, Plan::all(256)).cells().is_empty());
    }
}
