//! Children: this program started anew, so that a measurement has a process for itself.

use std::ffi::OsString;
use std::fmt;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use bench_common::process::{Output, end_within, output_within};

/// A child that did not do what it was started for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It was killed because it took longer than it may: an allocator that hangs must not stop the
    /// whole report.
    TookTooLong(Duration),
    /// It ended with an error.
    Ended {
        /// The number that it ended with; none if a signal ended it.
        code: Option<i64>,
        /// Its status, and the last line of its complaints.
        complaint: String,
    },
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TookTooLong(limit) => write!(f, "took longer than {} s", limit.as_secs_f64()),
            Self::Ended { complaint, .. } => f.write_str(complaint),
        }
    }
}

/// Runs this program with other arguments to its end, and returns what it printed.
///
/// # Errors
///
/// If it cannot be started, or prints something else than text.
pub fn run(arguments: &[OsString], limit: Duration) -> Result<Result<String, Failure>> {
    let mut command = itself()?;
    let output = output_within(command.args(arguments), limit).context("cannot start this program anew")?;
    match success(output, limit) {
        Ok(printed) => {
            Ok(Ok(String::from_utf8(printed).context("the child printed something else than text")?))
        }
        Err(failure) => Ok(Err(failure)),
    }
}

/// What a child printed, unless it failed.
fn success(output: Option<Output>, limit: Duration) -> Result<Vec<u8>, Failure> {
    let Output { status, stdout, stderr } = output.ok_or(Failure::TookTooLong(limit))?;
    if status.success() {
        return Ok(stdout);
    }
    let complaints = String::from_utf8_lossy(&stderr);
    let complaint = format!("{status} {}", complaints.lines().last().unwrap_or_default());
    Err(Failure::Ended { code: status.code(), complaint: complaint.trim_end().to_owned() })
}

fn itself() -> Result<Command> {
    let mut child = Command::new(std::env::current_exe().context("cannot find this program's own file")?);
    // With it, a refusal looks whether it is part of a backtrace.
    child.env_remove("RUST_BACKTRACE").env_remove("RUST_LIB_BACKTRACE");
    Ok(child)
}

/// A child that stays, and answers each line that it is sent with a line.
pub struct Partner {
    child: Child,
    requests: Option<ChildStdin>,
    answers: Receiver<String>,
    limit: Duration,
    took_too_long: bool,
}

impl Partner {
    /// Starts this program with other arguments. No answer may take longer than `limit`.
    ///
    /// # Errors
    ///
    /// If it cannot be started.
    pub fn start(arguments: &[OsString], limit: Duration) -> Result<Self> {
        let mut command = itself()?;
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().context("cannot start this program anew")?;
        let requests = child.stdin.take();
        let output = BufReader::new(child.stdout.take().context("the output is piped")?);
        let (sender, answers) = sync_channel(1);
        // It sleeps until there is an answer, and ends when the child does.
        thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Ok(Self { child, requests, answers, limit, took_too_long: false })
    }

    /// The next line that it prints; none if it has ended. A child that takes too long is killed.
    ///
    /// # Errors
    ///
    /// If it cannot be killed.
    pub fn answer(&mut self) -> Result<Option<String>> {
        match self.answers.recv_timeout(self.limit) {
            Ok(line) => Ok(Some(line)),
            Err(RecvTimeoutError::Disconnected) => Ok(None),
            Err(RecvTimeoutError::Timeout) => {
                self.took_too_long = true;
                self.child.kill().context("cannot kill a child that takes too long")?;
                Ok(None)
            }
        }
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

    /// Lets it end, and says how it failed, if it did.
    ///
    /// # Errors
    ///
    /// If it cannot be waited for.
    pub fn end(mut self) -> Result<Result<(), Failure>> {
        self.requests = None;
        // What it still prints is not read; with nobody to take it, it must not wait for that.
        drop(self.answers);
        let output = end_within(self.child, self.limit).context("cannot wait for a child")?;
        Ok(success(output.filter(|_| !self.took_too_long), self.limit).map(|_| ()))
    }
}
