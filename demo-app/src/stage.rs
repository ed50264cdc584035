//! Where a workload shows its answers, and what its heap looked like.

use crate::heap_view::{Bytes, Snapshot};
use crate::trouble::Trouble;
use anstyle::{AnsiColor, Style};
use mem_alloc_rust::Stats;
use std::fmt::Display;
use std::io::{self, Write};

/// Spaces in front of everything but headings.
const INDENT: usize = 2;

/// The width of a line where there is no terminal.
const DEFAULT_WIDTH: usize = 100;

/// The output of the program: headings, answers that were checked, pictures of the heap.
pub(crate) struct Stage<'o> {
    out: &'o mut dyn Write,
    width: usize,
    /// The moment that the running workload found worth showing.
    moment: Option<Snapshot>,
}

impl<'o> Stage<'o> {
    /// A stage on `out`, as wide as the terminal.
    pub(crate) fn new(out: &'o mut dyn Write) -> Self {
        let width = terminal_size::terminal_size_of(io::stdout()).map(|(width, _)| usize::from(width.0));
        Self { out, width: width.unwrap_or(DEFAULT_WIDTH), moment: None }
    }

    /// Tells what the program is about and how to read its pictures.
    pub(crate) fn introduce(&mut self) -> io::Result<()> {
        let now = Snapshot::take(self.columns());
        self.say("Every allocation of this program, std's own included, lies in one static arena of 1 MiB.")?;
        let cell = now.cell_bytes();
        self.say(&format!(
            "A character of a picture is {cell} of it: · free, ▂ ▄ ▆ partly in use, ░ ▒ ▓ the same where what is free \
             is no piece as long as that, █ in use."
        ))
    }

    /// Starts the part of the output that belongs to one workload.
    pub(crate) fn heading(&mut self, name: &str, about: &str) -> io::Result<()> {
        let bold = Style::new().bold();
        writeln!(self.out, "\n{bold}{name}{bold:#}: {about}")
    }

    /// Keeps what the heap looks like now, to be shown when the workload is over. To be called while the workload's
    /// data is alive, and before anything is formatted; does not allocate.
    pub(crate) fn snapshot(&mut self) {
        self.moment = Some(Snapshot::take(self.columns()));
    }

    /// Shows an answer, and that a second way leads to the same one.
    ///
    /// # Errors
    ///
    /// `Disagreement` if it does not.
    pub(crate) fn check<T: Display + PartialEq>(
        &mut self,
        question: &str,
        answer: T,
        second_way: &str,
        again: T,
    ) -> Result<(), Trouble<'static>> {
        if answer == again {
            let line = format!("✓ {question}: {answer} ({second_way}: the same)");
            self.flow(AnsiColor::Green.on_default(), line.split(' '), " ")?;
            Ok(())
        } else {
            let line = format!("✗ {question}: {answer} ({second_way}: {again})");
            self.flow(AnsiColor::Red.on_default(), line.split(' '), " ")?;
            Err(Trouble::Disagreement)
        }
    }

    /// Writes a sentence.
    pub(crate) fn say(&mut self, sentence: &str) -> io::Result<()> {
        self.flow(Style::new(), sentence.split(' '), " ")
    }

    /// Writes items side by side.
    pub(crate) fn items(&mut self, items: &[String]) -> io::Result<()> {
        self.flow(Style::new(), items.iter().map(String::as_str), "  ")
    }

    /// Shows the heap at the moment that the workload chose, and that the workload has left nothing behind.
    pub(crate) fn heap_during_and_after(&mut self, before: &Stats, after: &Stats) -> io::Result<()> {
        if let Some(moment) = self.moment.take() {
            self.show(&moment)?;
        }
        let live = format!("live {} in {}", Bytes(after.live_bytes), Blocks(after.live_blocks, "block"));
        let compared = if (before.live_bytes, before.live_blocks) == (after.live_bytes, after.live_blocks) {
            "as before".to_owned()
        } else {
            format!("before it was {} in {}", Bytes(before.live_bytes), Blocks(before.live_blocks, "block"))
        };
        let free = Blocks(after.free_blocks, "free block");
        self.say(&format!("afterwards: {live}, {compared}; {free}"))
    }

    /// Shows the heap as it is now.
    pub(crate) fn heap_now(&mut self) -> io::Result<()> {
        let now = Snapshot::take(self.columns());
        self.show(&now)
    }

    fn show(&mut self, snapshot: &Snapshot) -> io::Result<()> {
        self.items(&snapshot.figures())?;
        for row in snapshot.rows() {
            writeln!(self.out, "{:INDENT$}{row}", "")?;
        }
        Ok(())
    }

    /// Writes the pieces one behind the other with `gap` between them, in as many lines as the width demands; a piece
    /// is never broken.
    fn flow<'p>(&mut self, style: Style, pieces: impl Iterator<Item = &'p str>, gap: &str) -> io::Result<()> {
        write!(self.out, "{:INDENT$}{style}", "")?;
        let (mut column, mut first) = (INDENT, true);
        for piece in pieces {
            let length = piece.chars().count();
            if first {
                first = false;
            } else if column + gap.len() + length <= self.width {
                write!(self.out, "{gap}")?;
                column += gap.len();
            } else {
                write!(self.out, "\n{:INDENT$}", "")?;
                column = INDENT;
            }
            write!(self.out, "{piece}")?;
            column += length;
        }
        writeln!(self.out, "{style:#}")
    }

    /// How many cells of a picture fit beside the indent.
    fn columns(&self) -> usize {
        self.width.saturating_sub(INDENT)
    }
}

/// A number of blocks in words.
pub(crate) struct Blocks(pub(crate) usize, pub(crate) &'static str);

impl Display for Blocks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let plural = if self.0 == 1 { "" } else { "s" };
        write!(f, "{} {}{plural}", self.0, self.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::heap_view::ROWS;

    /// What `act` writes on a terminal of the given width, without colours.
    fn written(width: usize, act: impl FnOnce(&mut Stage<'_>)) -> String {
        let mut bytes = Vec::new();
        act(&mut Stage { out: &mut anstream::StripStream::new(&mut bytes), width, moment: None });
        String::from_utf8(bytes).expect("the program writes UTF-8")
    }

    #[test]
    fn a_line_is_as_wide_as_the_terminal_and_no_wider() {
        let text = written(12, |stage| stage.say("one two three four").expect("a Vec takes everything"));
        assert_eq!(text, "  one two\n  three four\n");
        let text = written(11, |stage| stage.say("one two three four").expect("a Vec takes everything"));
        assert_eq!(text, "  one two\n  three\n  four\n");
    }

    #[test]
    fn a_picture_fits_into_a_narrow_terminal() {
        for width in [3, 10, 40, 66, 200] {
            let text = written(width, |stage| stage.heap_now().expect("a Vec takes everything"));
            let rows: Vec<&str> =
                text.lines().filter(|line| line.contains(['·', '▂', '▄', '▆', '░', '▒', '▓', '█'])).collect();
            assert_eq!(rows.len(), ROWS, "{text}");
            assert!(rows.iter().all(|row| row.chars().count() == width.min(66)), "{text}");
        }
    }

    #[test]
    fn a_wrong_answer_is_marked_and_ends_the_program() {
        let text = written(80, |stage| {
            assert!(stage.check("sum", 4, "by hand", 4).is_ok());
            assert!(matches!(stage.check("sum", 4, "by hand", 5), Err(Trouble::Disagreement)));
        });
        assert_eq!(text, "  ✓ sum: 4 (by hand: the same)\n  ✗ sum: 4 (by hand: 5)\n");
    }
}
