//! Everything that can go wrong, one sentence each.

use crate::bytes::grouped;
use mem_alloc_rust::RegionError;
use mem_alloc_rust::trace::DecodeError;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
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
    /// A trace tells of nothing.
    NoEvents {
        /// Its path.
        path: PathBuf,
    },
    /// A trace has samples, and all events are needed.
    SamplesOnly {
        /// Its path.
        path: PathBuf,
    },
    /// There is no memory for an arena.
    NoMemory {
        /// Bytes of the arena.
        bytes: u64,
    },
    /// An arena cannot be of that size.
    NoArena {
        /// Bytes of the arena.
        bytes: u64,
        /// What the allocator says.
        error: RegionError,
    },
    /// No arena that the allocator can have is enough.
    NotEnough {
        /// Bytes live at the peak.
        peak: u64,
        /// The largest arena.
        largest: u64,
    },
    /// The process that replays for an allocator with caches broke down.
    Child {
        /// What it says.
        what: String,
    },
    /// The output cannot be written.
    Output(io::Error),
    /// The terminal does not do what it is asked to.
    Terminal(io::Error),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { path, error } | Self::Unwritable { path, error } => {
                write!(f, "{}: {error}", path.display())
            }
            Self::Malformed { path, offset, what } => write!(f, "{}: byte {offset}: {what}", path.display()),
            Self::NoEvents { path } => {
                write!(f, "{}: the trace tells of no allocation and no release", path.display())
            }
            Self::SamplesOnly { path } => write!(
                f,
                "{}: this is a heap profile of `Sampled`, and this command needs every event: record a trace with `Traced`. \
                 (`report`, `flamegraph` and `pprof` take heap profiles.)",
                path.display()
            ),
            Self::NoMemory { bytes } => {
                write!(f, "the system has no memory for an arena of {} bytes", grouped(*bytes))
            }
            Self::NoArena { bytes, error } => write!(f, "an arena of {} bytes: {error}", grouped(*bytes)),
            Self::NotEnough { peak, largest } => write!(
                f,
                "no arena is enough: {} bytes are live at the peak, and the largest that was tried has {}",
                grouped(*peak),
                grouped(*largest)
            ),
            Self::Child { what } => write!(f, "the process that replays with caches broke down: {what}"),
            Self::Output(error) => write!(f, "the output cannot be written: {error}"),
            Self::Terminal(error) => write!(f, "the terminal cannot be used: {error}"),
        }
    }
}

impl Trouble {
    /// A file's contents are none of a trace: what was decoded begins at `start`.
    pub(crate) fn malformed(path: &Path, start: u64, error: &DecodeError) -> Self {
        Self::Malformed {
            path: path.to_owned(),
            offset: start + error.offset as u64,
            what: error.to_string(),
        }
    }

    /// A file cannot be read.
    pub(crate) fn unreadable(path: &Path, error: io::Error) -> Self {
        Self::Unreadable { path: path.to_owned(), error }
    }

    /// Says it on stderr. Not if whoever reads the output has gone: that is no error.
    pub(crate) fn report(&self) -> ExitCode {
        if matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe) {
            return ExitCode::SUCCESS;
        }
        eprintln!("insight: {self}");
        ExitCode::from(EXIT_CODE)
    }
}
