//! Runs a program and sees what it cost.

use std::ffi::c_int;
use std::io::{self, Read};
use std::mem::MaybeUninit;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use programs::Report;
use programs::workloads::Workload;

/// What one run of a program cost and printed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    /// Processor time of all its threads, in the program and in the system, from the start to the
    /// end of the process.
    pub(crate) process: Duration,
    /// What it says of itself.
    pub(crate) report: Report,
}

impl Run {
    /// Processor time of the workload when it was performed before: the mean of all runs but the
    /// first.
    pub(crate) fn later(&self) -> Duration {
        let [_, later @ ..] = self.report.runs;
        later.iter().sum::<Duration>() / later.len() as u32
    }
}

/// Runs the workload with the program; says how the program failed, if it did.
///
/// # Errors
///
/// If the program cannot be started or waited for.
pub(crate) fn run(program: &Path, workload: &Workload) -> Result<Result<Run, String>> {
    let mut child = Command::new(program)
        .arg(workload.name)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| {
            format!("cannot start {}; `cargo build --release` makes all programs", program.display())
        })?;
    let mut text = String::new();
    child.stdout.take().context("the output is piped")?.read_to_string(&mut text)?;
    let (status, process) = wait(child).context("cannot wait for the program")?;
    if !status.success() {
        return Ok(Err(status.to_string()));
    }
    let report = text.parse().map(|report| Run { process, report });
    Ok(report.map_err(|_| format!("printed {text:?}")))
}

/// Waits for the end of a child process and returns its status and its processor time.
fn wait(child: Child) -> io::Result<(ExitStatus, Duration)> {
    let mut status: c_int = 0;
    let mut usage = MaybeUninit::<libc::rusage>::uninit();
    // SAFETY: both pointers are to variables of this function that `wait4` may write to.
    let waited = unsafe { libc::wait4(child.id().cast_signed(), &raw mut status, 0, usage.as_mut_ptr()) };
    if waited == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `wait4` succeeded, so it filled the structure in.
    let usage = unsafe { usage.assume_init() };
    Ok((ExitStatus::from_raw(status), duration(usage.ru_utime) + duration(usage.ru_stime)))
}

fn duration(time: libc::timeval) -> Duration {
    Duration::from_secs(time.tv_sec.unsigned_abs()) + Duration::from_micros(time.tv_usec.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use programs::workloads;

    use super::*;

    #[test]
    fn a_program_that_fails_or_prints_something_else_is_no_run() {
        for (program, reason) in [("false", "exit status: 1"), ("echo", "printed \"nothing\\n\"")] {
            let outcome = run(Path::new(program), &workloads::NOTHING).unwrap();
            assert_eq!(outcome.unwrap_err(), reason);
        }
    }

    #[test]
    fn a_program_that_does_not_exist_is_an_error() {
        assert!(run(Path::new("/no/such/program"), &workloads::NOTHING).is_err());
    }

    #[test]
    fn processor_time_is_taken_from_the_child() {
        let mut child = Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(300));
        child.kill().unwrap();
        let (status, cpu) = wait(child).unwrap();
        assert_eq!(status.signal(), Some(libc::SIGKILL));
        assert!(cpu > Duration::from_millis(20), "{cpu:?}");
    }
}
