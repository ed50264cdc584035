//! What children do: this program, started anew for a single measurement.

use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use side_by_side::allocators::Allocator;
use side_by_side::cases::{self, Case};
use side_by_side::workloads::{Workload, recorded_traces};
use side_by_side::{instructions, latency, measure, memory, threads};

/// The child's side of `time`.
pub(crate) fn serve(
    allocator: &str,
    workload: &str,
    purpose: &str,
    patience: Duration,
    traces: &Path,
) -> Result<()> {
    let allocator = Allocator::named(allocator)?;
    let workload = Workload::named(workload, traces)?;
    let sequence = workload.generate()?;
    if workload.has_idle_thread {
        thread::spawn(|| {
            loop {
                thread::park();
            }
        });
    }
    let purpose = measure::Purpose::named(purpose).with_context(|| format!("what is {purpose:?} for?"))?;
    match purpose {
        measure::Purpose::Check => println!("{}", measure::check(allocator, &sequence, patience / 2)?),
        measure::Purpose::Measure(past) => {
            let traces = if past == measure::Past::None { Vec::new() } else { recorded_traces(traces)? };
            let (requests, answers) = (io::stdin().lock(), io::stdout().lock());
            measure::serve(allocator, &sequence, past, traces, patience, requests, answers)?;
        }
    }
    Ok(())
}

/// The child's side of `latency`.
pub(crate) fn calls(allocator: &str) -> Result<()> {
    latency::serve(Allocator::named(allocator)?, io::stdin().lock(), io::stdout().lock())
}

/// The child's side of `threads`.
pub(crate) fn perform(allocator: &str, workload: &str, threads: usize, check: bool) -> Result<()> {
    let allocator = Allocator::named(allocator)?;
    let workload = threads::Workload::named(workload)
        .with_context(|| format!("no workload for threads is called {workload:?}"))?;
    ensure!(threads > 0, "no threads make no calls");
    let purpose = if check { threads::Purpose::Check } else { threads::Purpose::Measure };
    println!("{}", threads::perform(allocator, workload, threads, purpose)?);
    Ok(())
}

/// The child's side of a case.
pub(crate) fn case(allocator: &str, case: impl Case) -> Result<()> {
    println!("{}", cases::perform(Allocator::named(allocator)?, case)?);
    Ok(())
}

/// The child's side of `memory`, for caches.
pub(crate) fn replay(trace: &Path, kind: &str, arena: usize, threads: usize) -> Result<ExitCode> {
    let completed = memory::attempt_with_caches(trace, kind, arena, threads)?;
    Ok(if completed { ExitCode::SUCCESS } else { memory::REFUSED.into() })
}

/// The child's side of `instructions`.
pub(crate) fn drive(allocator: &str, sequence: &str) -> Result<()> {
    let allocator = Allocator::named(allocator)?;
    let adversary = instructions::adversaries()?
        .into_iter()
        .find(|candidate| candidate.sequence.name == sequence)
        .with_context(|| format!("no sequence is called {sequence:?}"))?;
    print!("{}", instructions::drive(allocator, &adversary)?);
    Ok(())
}
