//! Everything that can go wrong, one sentence each.

use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::path::Path;
use std::process::ExitCode;

/// Why the program ends early.
///
/// It borrows the file's name instead of owning it: when the arena is full there may be no room for a copy.
#[derive(Debug)]
pub(crate) enum Trouble<'f> {
    /// The command line makes no sense; the sentence says why.
    Usage(String),
    /// Standard output took no more.
    Output(io::Error),
    /// The file cannot be opened or read.
    Unreadable {
        /// The file that was asked for.
        file: &'f Path,
        /// What the operating system said.
        error: io::Error,
    },
    /// The file does not fit into the arena.
    TooLarge {
        /// The file that was asked for.
        file: &'f Path,
        /// Its length, or as much of it as was seen.
        bytes: u64,
        /// The largest allocation that succeeds.
        room: usize,
    },
    /// The file is not UTF-8.
    NotUtf8 {
        /// The file that was asked for.
        file: &'f Path,
        /// Where the first byte lies that belongs to no character.
        offset: usize,
    },
    /// The text fits into the arena, the table of its words does not.
    TooManyWords {
        /// The file that was asked for; the bundled text, if none was.
        file: Option<&'f Path>,
        /// Different words counted until then.
        counted: usize,
    },
    /// A small allocation was refused that should have succeeded.
    Refused,
    /// The operating system gave no thread.
    NoThread(io::Error),
    /// Two ways of getting the same answer gave different ones.
    Disagreement,
    /// More is live at the end than at the start.
    NotGivenBack {
        /// Live blocks at the start and at the end.
        blocks: (usize, usize),
        /// Live bytes at the start and at the end.
        bytes: (usize, usize),
    },
}

impl From<io::Error> for Trouble<'_> {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

impl Trouble<'_> {
    /// Says on stderr what is wrong and turns it into the program's exit code: 2 for the command line, otherwise 1.
    ///
    /// A reader that has closed the pipe has seen what it wanted: that is no failure and gets no sentence.
    pub(crate) fn report(&self) -> ExitCode {
        match self {
            Self::Output(error) if error.kind() == ErrorKind::BrokenPipe => return ExitCode::SUCCESS,
            _ => {
                // Nobody is left to tell if stderr is closed as well.
                let _ = writeln!(io::stderr().lock(), "demo-app: {self}");
            }
        }
        match self {
            Self::Usage(_) => ExitCode::from(2),
            _ => ExitCode::FAILURE,
        }
    }
}

impl fmt::Display for Trouble<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(sentence) => f.write_str(sentence),
            Self::Output(error) => write!(f, "cannot write the output: {error}"),
            // Debug quotes the name, and keeps it on one line whatever it contains.
            Self::Unreadable { file, error } => write!(f, "cannot read {file:?}: {error}"),
            Self::TooLarge { file, bytes, room } => write!(
                f,
                "{file:?} is too large: it has at least {bytes} bytes, and no more than {room} fit into the arena now"
            ),
            Self::NotUtf8 { file, offset } => {
                write!(f, "{file:?} is not UTF-8 text: the byte at offset {offset} belongs to no character")
            }
            Self::TooManyWords { file: Some(file), counted } => {
                write!(
                    f,
                    "the words of {file:?} do not fit: the arena was full with {counted} different ones found"
                )
            }
            Self::TooManyWords { file: None, counted } => {
                write!(
                    f,
                    "the words of the bundled text do not fit: the arena was full with {counted} different ones found"
                )
            }
            Self::Refused => f.write_str("an allocation was refused although the arena has room for it"),
            Self::NoThread(error) => write!(f, "cannot start a thread: {error}"),
            Self::Disagreement => {
                f.write_str("two ways of getting the same answer disagree, see the line with the cross")
            }
            Self::NotGivenBack { blocks, bytes } => write!(
                f,
                "not everything was given back: {} blocks ({} bytes) were live at the start and {} ({}) at the end",
                blocks.0, bytes.0, blocks.1, bytes.1
            ),
        }
    }
}
