//! Children: this program started anew, so that a measurement has a process for itself.

use std::ffi::OsString;
use std::process::{Command, Output};

use anyhow::{Context, Result};

/// Runs this program with other arguments, to its end.
///
/// # Errors
///
/// If it cannot be started.
pub fn run(arguments: &[OsString]) -> Result<Output> {
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    Command::new(program).args(arguments).output().context("cannot start this program anew")
}

/// Ends this process after so many seconds: an allocator that hangs must not stop the whole report.
pub fn end_after(seconds: u32) {
    #[cfg(unix)]
    // SAFETY: takes a number; nobody handles the signal, so that it ends the process.
    unsafe {
        libc::alarm(seconds);
    }
    #[cfg(not(unix))]
    let _ = seconds;
}
