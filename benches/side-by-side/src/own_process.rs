//! Children: this program started anew, so that a measurement has a process for itself.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};

use anyhow::{Context, Result};

/// Runs this program with other arguments, to its end.
///
/// # Errors
///
/// If it cannot be started.
pub fn run(arguments: &[OsString]) -> Result<Output> {
    itself()?.args(arguments).output().context("cannot start this program anew")
}

fn itself() -> Result<Command> {
    Ok(Command::new(std::env::current_exe().context("cannot find this program's own file")?))
}

/// What there is to say of a child that ended other than it should: its status, and the last line
/// of its complaints.
#[must_use]
pub fn complaint(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    format!("{} {}", output.status, text.lines().last().unwrap_or_default()).trim_end().to_owned()
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

/// Whether a child was ended by [`end_after`].
#[must_use]
pub fn was_ended(output: &Output) -> bool {
    #[cfg(unix)]
    return std::os::unix::process::ExitStatusExt::signal(&output.status) == Some(libc::SIGALRM);
    #[cfg(not(unix))]
    return false;
}

/// A child that stays, and answers each line that it is sent with a line.
pub struct Partner {
    child: Child,
    requests: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Partner {
    /// Starts this program with other arguments.
    ///
    /// # Errors
    ///
    /// If it cannot be started.
    pub fn start(arguments: &[OsString]) -> Result<Self> {
        let pipes = |command: &mut Command| {
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
        };
        let mut child = pipes(itself()?.args(arguments)).context("cannot start this program anew")?;
        let requests = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().context("the output is piped")?);
        Ok(Self { child, requests, answers })
    }

    /// The next line that it prints; none if it has ended.
    ///
    /// # Errors
    ///
    /// If it prints something else than text.
    pub fn answer(&mut self) -> Result<Option<String>> {
        let mut line = String::new();
        let length =
            self.answers.read_line(&mut line).context("the child printed something else than text")?;
        Ok((length > 0).then_some(line))
    }

    /// Sends a line, and waits for the answer; none if the child has ended.
    ///
    /// # Errors
    ///
    /// As for [`Partner::answer`].
    pub fn ask(&mut self, request: &str) -> Result<Option<String>> {
        // Whoever has ended cannot be written to, which shows in the answer, too.
        let _ = self.requests.as_mut().map(|requests| writeln!(requests, "{request}"));
        self.answer()
    }

    /// Lets it end, and says how it did.
    ///
    /// # Errors
    ///
    /// If it cannot be waited for.
    pub fn end(mut self) -> Result<Output> {
        self.requests = None;
        self.answers.read_to_end(&mut Vec::new())?;
        self.child.wait_with_output().context("cannot wait for a child")
    }
}
