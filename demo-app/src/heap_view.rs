//! What the arena looks like at one moment, as figures and as a picture.

use anstyle::{AnsiColor, Style};
use mem_alloc_rust::Stats;
use std::fmt;

/// Rows of a picture.
const ROWS: usize = 2;

/// The most cells in a row.
const MAX_COLUMNS: usize = 64;

/// Figures and picture of the heap at one moment.
///
/// It lives on the stack: looking at the heap must not change it, so nothing is formatted before the snapshot is complete.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Snapshot {
    stats: Stats,
    /// Percent in use per cell; the picture has `ROWS` rows of `columns` cells.
    cells: [u8; ROWS * MAX_COLUMNS],
    columns: usize,
}

impl Snapshot {
    /// Looks at the heap, for a terminal that has room for `columns` cells in a row. Does not allocate.
    pub(crate) fn take(columns: usize) -> Self {
        let columns = columns.clamp(1, MAX_COLUMNS);
        let mut cells = [0; ROWS * MAX_COLUMNS];
        crate::A.occupancy(&mut cells[..ROWS * columns]);
        Self { stats: crate::A.stats(), cells, columns }
    }

    /// The figures, each with its name.
    pub(crate) fn figures(&self) -> [String; 6] {
        let stats = &self.stats;
        [
            format!("live {}", Bytes(stats.live_bytes)),
            format!("peak so far {}", Bytes(stats.peak_bytes)),
            format!("free {}", Bytes(stats.free_bytes)),
            format!("largest free block {}", Bytes(stats.largest_free_bytes)),
            format!("blocks {} live, {} free", stats.live_blocks, stats.free_blocks),
            format!("fragmentation {:.1} %", 100.0 * stats.fragmentation()),
        ]
    }

    /// The picture's rows, lowest addresses first.
    pub(crate) fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.cells[..ROWS * self.columns].chunks(self.columns).map(Row)
    }

    /// Bytes of the arena that one cell stands for.
    pub(crate) fn cell_bytes(&self) -> Bytes {
        Bytes(self.stats.arena_bytes.div_ceil(ROWS * self.columns))
    }
}

/// One row of a picture: a character for each cell, darker the more of it is in use.
pub(crate) struct Row<'a>(&'a [u8]);

impl fmt::Display for Row<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for stretch in self.0.chunk_by(|a, b| shade(*a) == shade(*b)) {
            let (character, style) = shade(stretch[0]);
            write!(f, "{style}")?;
            for _ in stretch {
                write!(f, "{character}")?;
            }
            write!(f, "{style:#}")?;
        }
        Ok(())
    }
}

/// How a cell is drawn of which `percent` are in use.
fn shade(percent: u8) -> (char, Style) {
    let used = AnsiColor::Cyan.on_default();
    match percent {
        0 => ('·', Style::new().dimmed()),
        1..=33 => ('░', used),
        34..=66 => ('▒', used),
        67..=99 => ('▓', used),
        _ => ('█', used.bold()),
    }
}

/// A number of bytes: exact when small, in KiB otherwise.
#[derive(Clone, Copy)]
pub(crate) struct Bytes(pub(crate) usize);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0..1024 => write!(f, "{} B", self.0),
            bytes => write!(f, "{:.1} KiB", bytes as f64 / 1024.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_darker_the_more_of_it_is_in_use() {
        assert_eq!([0, 1, 34, 67, 99, 100].map(|percent| shade(percent).0), ['·', '░', '▒', '▓', '▓', '█']);
    }

    #[test]
    fn a_picture_has_as_many_cells_as_there_is_room_for() {
        for (room, drawn) in [(0, 1), (1, 1), (10, 10), (64, 64), (500, 64)] {
            let snapshot = Snapshot::take(room);
            assert!(snapshot.rows().all(|row| row.0.len() == drawn));
            assert_eq!(snapshot.rows().count(), ROWS);
        }
    }

    #[test]
    fn small_numbers_of_bytes_are_exact() {
        assert_eq!(
            [0, 1023, 1024, 1536].map(|n| Bytes(n).to_string()),
            ["0 B", "1023 B", "1.0 KiB", "1.5 KiB"]
        );
    }
}
