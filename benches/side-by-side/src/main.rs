//! `side-by-side`: the program around the measurements.

mod cli;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};

use cli::{Cli, Command, Options};
use side_by_side::allocators::{Allocator, Class};
use side_by_side::output::{Section, write_all};
use side_by_side::workloads::{self, Workload};
use side_by_side::{instructions, latency, measure, memory, output};

fn main() -> Result<()> {
    let Cli { command, options } = Cli::parse();
    let options = &options;
    let sections = match command.unwrap_or(Command::Report) {
        Command::Report => {
            let mut sections = vec![time(options)?];
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
        Command::Latency => vec![latency(options)?],
        Command::Instructions => vec![instructions(options)?],
        Command::List => return list(options),
        Command::Drive { allocator, sequence } => return drive(&allocator, &sequence),
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
    Ok(())
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

/// The workloads that the filters leave; an error if a filter fits nothing at all.
fn chosen_workloads(options: &Options) -> Result<Vec<Workload>> {
    let all = workloads::all(&options.traces)?;
    for filter in &options.only {
        let known = all
            .iter()
            .map(|workload| workload.name.as_str())
            .chain(Allocator::ALL.iter().map(|allocator| allocator.name()))
            .any(|name| name.contains(filter.as_str()));
        ensure!(known, "no allocator and no workload is called {filter:?}; see `list`");
    }
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

fn memory(options: &Options) -> Result<Vec<Section>> {
    let allocators: Vec<Allocator> =
        options.allocators().into_iter().filter(|allocator| allocator.is_arena()).collect();
    ensure!(!allocators.is_empty(), "memory is measured for fixed-arena allocators only");
    let bar = progress("fill")?;
    let fill = memory::fill_to_refusal(&allocators, options.quick, options.fill_patience(), &bar)?;
    bar.finish_and_clear();
    let traces = workloads::recorded_traces(&options.traces)?;
    let bar = progress("smallest")?;
    let smallest = memory::smallest_arena(&traces, &allocators, options.replay_patience(), &bar)?;
    bar.finish_and_clear();
    Ok(vec![output::fill_section(&fill, &allocators), output::smallest_section(&smallest, &allocators)])
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
    let allocator = *Allocator::ALL
        .iter()
        .find(|candidate| candidate.name() == allocator)
        .with_context(|| format!("no allocator is called {allocator:?}"))?;
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
    Ok(())
}
