//! What an allocator looks like, written to a file descriptor without an allocation: its figures and a picture.

mod on_signal;
mod timer;

pub(crate) use on_signal::install;

use crate::stats::{MapCell, Stats};
use crate::stderr::Output;
use crate::text::fill;
use std::io;
use std::os::fd::BorrowedFd;

/// Rows of a picture, and characters of each: with a margin of two they fit into 80 columns.
const ROWS: usize = 4;
const COLUMNS: usize = 64;

/// An allocator that can be looked at.
pub(crate) trait Look {
    /// Looks at it, after waiting for whoever is at it.
    fn look(&self, seen: &mut Seen);

    /// Looks at it, if nobody is at it, and nobody has to be waited for for long: also from a signal handler, whatever
    /// that has interrupted. False, and nothing was seen, if somebody is.
    fn try_look(&self, seen: &mut Seen) -> bool;

    /// How many bytes are in use, and the most that were.
    fn figures(&self) -> (usize, usize);
}

/// What was seen.
pub(crate) struct Seen {
    pub(crate) stats: Stats,
    pub(crate) map: [MapCell; ROWS * COLUMNS],
}

impl Seen {
    const NOTHING: Self = Self { stats: Stats::NOTHING, map: [MapCell::NOTHING; ROWS * COLUMNS] };

    fn write_to(&self, output: &mut Output) {
        self.stats.write_to(output);
        fill(
            output,
            "\n\n  Of the arena, @ are a character: · free, ▂ ▄ ▆ partly in use, and ░ ▒ ▓ where what\n  \
             is free there lies scattered, █ in use.\n",
            &[self.map.first().map_or(0, |cell| cell.bytes)],
        );
        for row in self.map.chunks(COLUMNS) {
            output.write("  ");
            row.iter().for_each(|cell| output.write(cell.character().encode_utf8(&mut [0; 4])));
            output.write("\n");
        }
    }
}

/// Writes figures and picture of an allocator to a file.
///
/// # Errors
///
/// What the system says if not all could be written.
pub(crate) fn write(allocator: &impl Look, to: BorrowedFd<'_>) -> io::Result<()> {
    let mut seen = Seen::NOTHING;
    allocator.look(&mut seen);
    let mut output = Output::stderr();
    output.begin(to);
    seen.write_to(&mut output);
    if output.flush() { Ok(()) } else { Err(io::Error::last_os_error()) }
}
