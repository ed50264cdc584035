//! Runs a program and sees what it cost.

use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use bench_common::process;
use programs::Report;
use programs::workloads::Workload;

use crate::measure::Sample;

/// A program that takes longer hangs.
const LIMIT: Duration = Duration::from_secs(60);

/// What one run of a program cost, and what it worked out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    /// What it cost.
    pub(crate) sample: Sample,
    /// The checksum of its results.
    pub(crate) checksum: u64,
}

impl Run {
    /// From what the program says of itself, and the processor time of the whole process.
    fn of(report: &Report, process: Duration) -> Self {
        let [first, later @ ..] = report.runs;
        let cpu = later.iter().sum::<Duration>() / later.len() as u32;
        let sample = Sample { cpu, further: [first, process], peak_kib: report.peak_kib };
        Self { sample, checksum: report.checksum }
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
    // What it prints is one line: the pipe holds it until the program has ended.
    let mut output = child.stdout.take().context("the output is piped")?;
    let end = process::wait_within(child, LIMIT).context("cannot wait for the program")?;
    let (usage, text) = match end {
        None => return Ok(Err(format!("took longer than {} s", LIMIT.as_secs()))),
        Some((status, _)) if !status.success() => return Ok(Err(status.to_string())),
        Some((_, usage)) => (usage, io::read_to_string(&mut output)?),
    };
    // The kernel's peak would begin with what this process occupied, hence the program's own.
    let run = text.parse().map(|report| Run::of(&report, usage.cpu));
    Ok(run.map_err(|_| format!("printed {text:?}")))
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
    fn the_first_run_is_told_apart_from_the_later_ones() {
        let milliseconds = Duration::from_millis;
        let report = Report { checksum: 5, runs: [6, 1, 3].map(milliseconds), peak_kib: 2048 };
        let Run { sample, checksum } = Run::of(&report, milliseconds(20));
        assert_eq!((checksum, sample.peak_kib), (5, 2048));
        assert_eq!((sample.cpu, sample.further), (milliseconds(2), [6, 20].map(milliseconds)));
    }
}
