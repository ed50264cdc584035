//! Runs a program and sees what it cost.

use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use bench_common::comparison::Sample;
use bench_common::process;
use programs::Report;
use programs::workloads::Workload;

use crate::variants::Variant;

/// A program that takes longer hangs.
const LIMIT: Duration = Duration::from_secs(300);

/// Each run has an environment of another length, up to a page: that moves the stack, and where the stack lies can be
/// worth two percent.
fn padding() -> String {
    static RUNS: AtomicUsize = AtomicUsize::new(0);
    // A prime number, so that all lengths come, and neighbours are far apart.
    "x".repeat(RUNS.fetch_add(1, Ordering::Relaxed) * 1237 % 4096)
}

/// What one run cost, and what it worked out.
pub(crate) struct Run {
    /// What it cost.
    pub(crate) sample: Sample,
    /// The checksum of its results.
    pub(crate) checksum: u64,
}

/// Runs the workload with the program of a variant; says how it failed, if it did.
///
/// # Errors
///
/// If it cannot be started or waited for.
pub(crate) fn run(folder: &Path, variant: &Variant, workload: &Workload) -> Result<Result<Run, String>> {
    let program = folder.join(variant.binary);
    let written = std::env::temp_dir().join(format!("watching-{}.trace", std::process::id()));
    let mut command = match variant.runner {
        None => Command::new(&program),
        Some([runner, arguments @ ..]) => {
            let mut command = Command::new(runner);
            command.args(arguments).arg(&written).arg(&program);
            command
        }
        Some([]) => Command::new(&program),
    };
    command.env("PADDING", padding());
    command.arg(workload.name).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    if let Some(call_sites) = variant.trace {
        command.env("MEM_ALLOC_RUST_TRACE", &written).env("MEM_ALLOC_RUST_TRACE_CALL_SITES", call_sites);
    }
    let mut child = command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
    // What it prints is a few lines: the pipe holds them until the program has ended.
    let mut output = child.stdout.take().context("the output is piped")?;
    let end = process::wait_within(child, LIMIT).context("cannot wait for the program")?;
    let outcome = match end {
        None => Err(format!("took longer than {} s", LIMIT.as_secs())),
        Some((status, _)) if !status.success() => Err(status.to_string()),
        Some((_, usage)) => {
            let text = io::read_to_string(&mut output)?;
            // A runner prints lines of its own.
            let report = text.lines().find_map(|line| line.parse::<Report>().ok());
            report.ok_or(format!("printed {text:?}")).map(|report| Run {
                sample: Sample { cpu: usage.cpu, further: [], peak_kib: report.peak_kib },
                checksum: report.checksum,
            })
        }
    };
    for ending in ["", ".raw.zst", ".raw.gz", ".raw"] {
        let _ = std::fs::remove_file(format!("{}{ending}", written.display()));
    }
    Ok(outcome)
}
