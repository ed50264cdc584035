//! Everything that can go wrong, one sentence each.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

/// What the tool exits with if it could not do what it was asked to. (As clap does for arguments that make no sense.)
const EXIT_CODE: u8 = 2;

/// Why the tool cannot do what it was asked to.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// A file cannot be read.
    Unreadable {
        /// Its path.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// A file cannot be written.
    Unwritable {
        /// Its path.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// A file's contents are none of a trace.
    Malformed {
        /// Its path.
        path: PathBuf,
        /// Distance in bytes from the file's beginning.
        offset: u64,
        /// What is wrong there.
        what: String,
    },
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { path, error } | Self::Unwritable { path, error } => {
                write!(f, "{}: {error}", path.display())
            }
            Self::Malformed { path, offset, what } => write!(f, "{}: byte {offset}: {what}", path.display()),
        }
    }
}

impl Trouble {
    /// Says it on stderr.
    pub(crate) fn report(&self) -> ExitCode {
        eprintln!("insight: {self}");
        ExitCode::from(EXIT_CODE)
    }
}
