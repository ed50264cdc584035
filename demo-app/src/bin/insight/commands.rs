//! The subcommands, one file each, and what several of them do.

pub(crate) mod diff;
pub(crate) mod flamegraph;
pub(crate) mod pprof;
pub(crate) mod replay;
pub(crate) mod report;
pub(crate) mod size;
pub(crate) mod watch;

use crate::bytes::grouped;
use crate::symbols::Symbols;
use crate::trace_file;
use crate::trouble::Trouble;
use serde::Serialize;
use std::fs::{File, OpenOptions};
use std::io::{BufWriter, ErrorKind, Write};
use std::path::Path;

/// Looks whether a file can be written, and leaves it as it is: before a long trace is read. (What is no file, as a
/// pipe, is not opened: its reader would take that for the end.)
///
/// # Errors
///
/// It cannot be written, there is no folder for it, or it is the trace.
fn expect_writable(path: &Path, trace: &Path) -> Result<(), Trouble> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let found = match path.metadata() {
        Ok(found) if found.is_file() => OpenOptions::new().write(true).open(path).map(drop),
        Err(error) if error.kind() == ErrorKind::NotFound => folder.metadata().map(drop),
        found => found.map(drop),
    };
    let is_trace =
        || path.canonicalize().is_ok_and(|path| trace.canonicalize().is_ok_and(|trace| trace == path));
    let found = if is_trace() { Err(std::io::Error::other("this is the trace itself")) } else { found };
    found.map_err(|error| Trouble::Unwritable { path: path.to_owned(), error })
}

/// Writes a file.
///
/// # Errors
///
/// It cannot be written.
fn write_file(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> std::io::Result<()>,
) -> Result<(), Trouble> {
    let written = File::create(path).and_then(|file| {
        let mut file = BufWriter::new(file);
        write(&mut file)?;
        file.flush()
    });
    written.map_err(|error| Trouble::Unwritable { path: path.to_owned(), error })
}

/// Writes a value as JSON, with a line's end.
///
/// # Errors
///
/// It cannot be written.
fn print_json(value: &impl Serialize, out: &mut impl Write) -> Result<(), Trouble> {
    serde_json::to_writer_pretty(&mut *out, value)
        .map_err(std::io::Error::from)
        .and_then(|()| writeln!(out))
        .map_err(Trouble::Output)
}

/// Says on stderr that a trace does not have all of its program, and why, if that is so.
fn say_if_cut_short(path: &Path, ended: Option<u64>) {
    if let Some(reason) = ended {
        let (path, reason) = (path.display(), trace_file::reason_of_end(reason));
        eprintln!(
            "insight: {path}: the recording ended before the program: {reason}; what follows is of the part before"
        );
    }
}

/// Says on stderr that a trace has gaps, if so.
fn say_what_is_lost(path: &Path, events: u64) {
    if events > 0 {
        let (path, events) = (path.display(), grouped(events));
        eprintln!(
            "insight: {path}: {events} events are missing: the file is only a part of what was written"
        );
    }
}

/// Says on stderr why functions have no names, if they have none.
fn say_what_is_missing(symbols: &Symbols) {
    symbols.missing().iter().for_each(|sentence| eprintln!("insight: {sentence}"));
}
