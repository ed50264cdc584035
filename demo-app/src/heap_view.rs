//! What the arena looks like at one moment, as figures and as a picture.

use anstyle::{AnsiColor, Style};
use mem_alloc_rust::{MapCell, Stats};
use std::fmt;

/// Rows of a picture.
pub(crate) const ROWS: usize = 4;

/// The most cells in a row.
const MAX_COLUMNS: usize = 64;

/// Figures and picture of the heap at one moment.
///
/// It lives on the stack: looking at the heap must not change it, so nothing is formatted before the snapshot is
/// complete.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Snapshot {
    stats: Stats,
    /// The picture has `ROWS` rows of `columns` cells.
    cells: [MapCell; ROWS * MAX_COLUMNS],
    columns: usize,
}

impl Snapshot {
    /// Looks at the heap, for a terminal that has room for `columns` cells in a row. Does not allocate.
    pub(crate) fn take(columns: usize) -> Self {
        let columns = columns.clamp(1, MAX_COLUMNS);
        let mut cells = [MapCell::default(); ROWS * MAX_COLUMNS];
        crate::A.map(&mut cells[..ROWS * columns]);
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

/// One row of a picture: a character for each cell, higher or darker the more of it is in use.
pub(crate) struct Row<'a>(&'a [MapCell]);

impl fmt::Display for Row<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for stretch in self.0.chunk_by(|a, b| drawn(a) == drawn(b)) {
            let (character, style) = drawn(&stretch[0]);
            write!(f, "{style}")?;
            for _ in stretch {
                write!(f, "{character}")?;
            }
            write!(f, "{style:#}")?;
        }
        Ok(())
    }
}

/// How a cell is drawn. What is free there is of use for less where it is scattered, and has another colour then.
fn drawn(cell: &MapCell) -> (char, Style) {
    let style = match cell.character() {
        '·' => Style::new().dimmed(),
        '█' => AnsiColor::Cyan.on_default().bold(),
        _ if cell.is_scattered() => AnsiColor::Yellow.on_default(),
        _ => AnsiColor::Cyan.on_default(),
    };
    (cell.character(), style)
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

    /// With a hole behind each block, the picture is another one than with as much in use and free in one piece each.
    #[test]
    fn fragmentation_is_seen() {
        const BLOCKS: usize = 800;
        let scattered = |snapshot: &Snapshot| {
            let picture = snapshot.rows().map(|row| row.to_string()).collect::<String>();
            picture.chars().filter(|character| ['░', '▒', '▓'].contains(character)).count()
        };
        let whole = vec![1u8; BLOCKS / 2 * 1024];
        let in_one_piece = Snapshot::take(MAX_COLUMNS);
        drop(whole);
        let mut blocks: Vec<_> = (0..BLOCKS).map(|_| Some(Box::new([1u8; 1020]))).collect();
        blocks.iter_mut().step_by(2).for_each(|block| *block = None);
        let with_holes = Snapshot::take(MAX_COLUMNS);
        assert_eq!(blocks.iter().flatten().count(), BLOCKS / 2);
        drop(blocks);
        let [before, after] = [in_one_piece, with_holes].map(|snapshot| snapshot.stats);
        assert!(before.fragmentation() < 0.2 && after.fragmentation() > 0.48, "{before}\n{after}");
        let [before, after] = [in_one_piece, with_holes].map(|snapshot| scattered(&snapshot));
        assert!(before < 20 && after > 180, "{before} and {after}");
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
