//! `side-by-side`: the program around the measurements.

mod cli;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};

use cli::{Cli, Command, Options};
use side_by_side::allocators::{Allocator, Class};
use side_by_side::output::{Section, write_all};
use side_by_side::workloads::{self, Workload};
use side_by_side::{instructions, latency, measure, memory, output, threads};

fn main() -> Result<ExitCode> {
    let Cli { command, options } = Cli::parse();
    let options = &options;
    let sections = match command.unwrap_or(Command::Report) {
        Command::Report => {
            let mut sections = vec![time(options)?];
            sections.push(threads(options)?);
            sections.extend(memory(options)?);
            sections.push(latency(options)?);
            if instructions::is_available() {
                sections.push(instructions(options)?);
            } else {
                eprintln!("valgrind was not found: the report has no instruction counts");
            }
            sections
        }
        Command::Time => vec![time(options)?],
        Command::Memory => memory(options)?,
        Command::Threads => vec![threads(options)?],
        Command::Latency => vec![latency(options)?],
        Command::Instructions => vec![instructions(options)?],
        Command::List => return list(options).map(|()| ExitCode::SUCCESS),
        Command::Perform { allocator, workload, threads, check } => {
            return perform(&allocator, &workload, threads, check).map(|()| ExitCode::SUCCESS);
        }
        Command::Replay { trace, kind, arena, threads } => {
            let completed = memory::attempt_with_caches(&trace, &kind, arena, threads)?;
            return Ok(if completed { ExitCode::SUCCESS } else { memory::REFUSED.into() });
        }
        Command::Drive { allocator, sequence } => {
            return drive(&allocator, &sequence).map(|()| ExitCode::SUCCESS);
        }
    };
    for section in &sections {
        println!("\n{}\n", section.title);
        for table in &section.tables {
            println!("{}", table.terminal());
        }
    }
    if let Some(folder) = &options.out {
        write_all(folder, &command_line(), &sections)?;
        eprintln!("written to {}", folder.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// The command that makes this report again.
fn command_line() -> String {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    format!("cargo run --release -- {}", arguments.join(" "))
}

fn progress(what: &'static str) -> Result<ProgressBar> {
    let style = ProgressStyle::with_template("{prefix:>12} [{bar:40}] {percent:>3} % {elapsed} {msg}")?;
    let bar = ProgressBar::new(0).with_style(style.progress_chars("=> ")).with_prefix(what);
    bar.enable_steady_tick(Duration::from_secs(1));
    Ok(bar)
}

/// An error if a filter fits nothing at all.
fn ensure_known(options: &Options, workloads: &[Workload]) -> Result<()> {
    for filter in &options.only {
        let known = (workloads.iter().map(|workload| workload.name.as_str()))
            .chain(threads::Workload::ALL.iter().map(|workload| workload.name()))
            .chain(Allocator::ALL.iter().map(|allocator| allocator.name()))
            .any(|name| name.contains(filter.as_str()));
        ensure!(known, "no allocator and no workload is called {filter:?}; see `list`");
    }
    Ok(())
}

/// The workloads that the filters leave; an error if a filter fits nothing at all.
fn chosen_workloads(options: &Options) -> Result<Vec<Workload>> {
    let all = workloads::all(&options.traces)?;
    ensure_known(options, &all)?;
    let fits =
        |workload: &Workload| options.only.iter().any(|filter| workload.name.contains(filter.as_str()));
    if all.iter().any(fits) { Ok(all.into_iter().filter(fits).collect()) } else { Ok(all) }
}

fn time(options: &Options) -> Result<Section> {
    let (workloads, allocators) = (chosen_workloads(options)?, options.allocators());
    // A steady tick would wake a second thread on the measuring machine.
    let bar = progress("time")?;
    bar.disable_steady_tick();
    let rows = measure::run(&workloads, &allocators, options.effort(), &bar)?;
    bar.finish_and_clear();
    for row in &rows {
        for (allocator, outcome) in std::iter::zip(&allocators, &row.outcomes) {
            if let measure::Outcome::Wrong(what) = outcome {
                eprintln!("{} gave a wrong answer in {:?}: {what}", allocator.name(), row.workload);
            }
        }
    }
    Ok(output::time_section(&rows, &allocators, options.effort()))
}

fn threads(options: &Options) -> Result<Section> {
    ensure_known(options, &workloads::all(&options.traces)?)?;
    let (workloads, allocators) = (options.workloads_with_threads(), options.allocators_with_threads());
    ensure!(!allocators.is_empty(), "the loop alone is not measured with threads");
    let rounds = options.rounds_with_threads();
    // As for `time`.
    let bar = progress("threads")?;
    bar.disable_steady_tick();
    let rows = threads::race(&workloads, &allocators, rounds, perform_command, &bar)?;
    bar.finish_and_clear();
    for row in &rows {
        for (allocator, outcome) in std::iter::zip(&allocators, &row.outcomes) {
            if let threads::Outcome::Wrong(what) = outcome {
                let (allocator, workload) = (allocator.name(), row.workload.name());
                eprintln!("{allocator} gave a wrong answer in {workload:?} with {}: {what}", row.threads);
            }
        }
    }
    Ok(output::threads_section(&rows, &allocators, rounds))
}

/// The command line of a child of `threads`.
fn perform_command(
    allocator: Allocator,
    workload: threads::Workload,
    threads: usize,
    purpose: threads::Purpose,
) -> Vec<OsString> {
    let mut arguments =
        vec!["perform".into(), allocator.name().into(), workload.name().into(), threads.to_string().into()];
    if purpose == threads::Purpose::Check {
        arguments.push("--check".into());
    }
    arguments
}

/// The child's side of `threads`.
fn perform(allocator: &str, workload: &str, threads: usize, check: bool) -> Result<()> {
    let allocator = Allocator::named(allocator)?;
    let workload = threads::Workload::named(workload)
        .with_context(|| format!("no workload for threads is called {workload:?}"))?;
    ensure!(threads > 0, "no threads make no calls");
    let purpose = if check { threads::Purpose::Check } else { threads::Purpose::Measure };
    println!("{}", threads::perform(allocator, workload, threads, purpose)?);
    Ok(())
}

fn memory(options: &Options) -> Result<Vec<Section>> {
    let chosen = options.allocators();
    let has_caches = chosen.iter().any(|&allocator| Some(allocator) == Allocator::thread_cached());
    let allocators: Vec<Allocator> = chosen.into_iter().filter(|allocator| allocator.is_arena()).collect();
    ensure!(has_caches || !allocators.is_empty(), "memory is measured for fixed-arena allocators only");
    let mut sections = Vec::new();
    if !allocators.is_empty() {
        let bar = progress("fill")?;
        let fill = memory::fill_to_refusal(&allocators, options.quick, options.fill_patience(), &bar)?;
        bar.finish_and_clear();
        let traces = workloads::recorded_traces(&options.traces)?;
        let bar = progress("smallest")?;
        let smallest = memory::smallest_arena(&traces, &allocators, options.replay_patience(), &bar)?;
        bar.finish_and_clear();
        sections.push(output::fill_section(&fill, &allocators));
        sections.push(output::smallest_section(&smallest, &allocators));
    }
    if has_caches {
        let bar = progress("caches")?;
        let rows = memory::cost_of_caches(&workloads::trace_files(&options.traces)?, replay_command, &bar)?;
        bar.finish_and_clear();
        sections.push(output::caches_section(&rows));
    }
    Ok(sections)
}

/// The command line of a child that replays a trace.
fn replay_command(trace: &Path, kind: &str, arena: usize, threads: usize) -> Vec<OsString> {
    vec!["replay".into(), trace.into(), kind.into(), arena.to_string().into(), threads.to_string().into()]
}

fn latency(options: &Options) -> Result<Section> {
    let rounds = options.effort().rounds;
    let bar = progress("latency")?;
    bar.disable_steady_tick();
    let latency = latency::run(&options.allocators(), rounds, &bar)?;
    bar.finish_and_clear();
    Ok(output::latency_section(&latency, rounds))
}

fn instructions(options: &Options) -> Result<Section> {
    ensure!(instructions::is_available(), "valgrind is needed to count instructions");
    // Every call costs a dump, hence not everybody with --quick.
    let takes_part = |allocator: &Allocator| match allocator.class() {
        Class::Loop => true,
        Class::Arena => !options.quick || *allocator == Allocator::Ours || !options.only.is_empty(),
        Class::General => false,
    };
    let allocators: Vec<Allocator> = options.allocators().into_iter().filter(takes_part).collect();
    ensure!(!allocators.is_empty(), "instructions are counted for fixed-arena allocators only");
    let adversaries = instructions::adversaries()?;
    let bar = progress("instructions")?;
    bar.set_length((allocators.len() * adversaries.len()) as u64);
    let mut costs = Vec::new();
    for adversary in &adversaries {
        for &allocator in &allocators {
            bar.set_message(format!("{}, {}", adversary.sequence.name, allocator.name()));
            let child = ["drive", allocator.name(), &adversary.sequence.name].map(str::to_owned);
            let calls = instructions::count(&child, allocator, adversary)?;
            costs.extend(instructions::summarise(allocator, &adversary.sequence.name, &calls));
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    Ok(output::instructions_section(&costs, &adversaries, &allocators))
}

fn drive(allocator: &str, sequence: &str) -> Result<()> {
    let allocator = Allocator::named(allocator)?;
    let adversary = instructions::adversaries()?
        .into_iter()
        .find(|candidate| candidate.sequence.name == sequence)
        .with_context(|| format!("no sequence is called {sequence:?}"))?;
    print!("{}", instructions::drive(allocator, &adversary)?);
    Ok(())
}

fn list(options: &Options) -> Result<()> {
    println!("allocators");
    for allocator in Allocator::ALL {
        println!("  {:16} {}", allocator.name(), allocator.how());
    }
    println!("workloads");
    for workload in workloads::all(&options.traces)? {
        println!("  {}", workload.name);
    }
    println!("workloads for several threads");
    for workload in threads::Workload::ALL {
        println!("  {}", workload.name());
    }
    Ok(())
}
