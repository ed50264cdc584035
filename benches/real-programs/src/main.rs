//! `real-programs`: builds published programs with each allocator, has them work, and compares what
//! they cost.

mod allocators;
mod child;
mod cli;
mod folders;
mod inputs;
mod patch;
mod programs;
mod report;
mod works;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Error, Result};
use bench_common::comparison::{Comparison, in_turn};
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};

use allocators::{ALL, Allocator, SYSTEM};
use cli::Cli;
use folders::Folders;
use programs::Program;
use report::Report;
use works::Work;

fn main() -> Result<ExitCode> {
    let options = Cli::parse();
    let (allocators, works) = options.chosen()?;
    let rounds = options.rounds();
    let folders = Folders::of(Path::new(env!("CARGO_MANIFEST_DIR")));

    programs::download(&folders)?;
    inputs::make(&folders)?;
    build(&folders, &works, &allocators)?;
    if options.build_only {
        return Ok(ExitCode::SUCCESS);
    }

    let bar = bar("measuring", rounds * works.len() * allocators.len())?;
    let expected = expected(&folders, &works)?;
    let names: Vec<&str> = works.iter().map(|work| work.name).collect();
    let rows = in_turn(&names, allocators.len(), rounds, |row, column| {
        let (work, allocator) = (&works[row], &allocators[column]);
        bar.set_message(format!("{}, {}", work.name, allocator.name));
        let run = run(&folders, work, allocator)?;
        bar.inc(1);
        Ok::<_, Error>(run.and_then(|run| {
            if run.printed == expected[row] { Ok(run.sample) } else { Err("wrong output".to_owned()) }
        }))
    })?;
    bar.finish_and_clear();

    let columns: Vec<&str> = allocators.iter().map(|allocator| allocator.name).collect();
    let comparison = Comparison { what: "work", columns: &columns, further: [], rows: &rows };
    let report = Report { allocators: &allocators, works: &works, comparison, rounds };
    for table in report.tables() {
        println!("{}", table.terminal());
    }
    if let Some(folder) = &options.out {
        report.write(folder, &command_line())?;
        eprintln!("written to {}", folder.display());
    }
    let failures: Vec<String> = comparison.failures().collect();
    for failure in &failures {
        eprintln!("FAILED: {failure}");
    }
    Ok(if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Builds the programs that the works need, with every allocator.
fn build(folders: &Folders, works: &[Work], allocators: &[Allocator]) -> Result<()> {
    let mut programs: Vec<&Program> = works.iter().map(|work| work.program).collect();
    programs.dedup();
    let bar = bar("building", programs.len() * allocators.len())?;
    for program in programs {
        for allocator in allocators {
            bar.set_message(format!("{}, {}", program.package, allocator.name));
            program.build(folders, allocator)?;
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    Ok(())
}

/// What the unmodified programs print. They also bring the inputs into memory.
fn expected(folders: &Folders, works: &[Work]) -> Result<Vec<u64>> {
    let system = ALL.iter().find(|allocator| allocator.name == SYSTEM).context("the system is listed")?;
    works
        .iter()
        .map(|work| {
            let run = run(folders, work, system)?.map_err(Error::msg);
            Ok(run.with_context(|| format!("{}, unmodified", work.name))?.printed)
        })
        .collect()
}

fn run(folders: &Folders, work: &Work, allocator: &Allocator) -> Result<Result<child::Run, String>> {
    let file = work.program.file(folders, allocator);
    child::run(&file, work, &folders.target, &folders.output)
}

fn bar(what: &'static str, length: usize) -> Result<ProgressBar> {
    let style = ProgressStyle::with_template("{prefix:>12} [{bar:40}] {percent:>3} % {elapsed} {msg}")?;
    Ok(ProgressBar::new(length as u64).with_style(style.progress_chars("=> ")).with_prefix(what))
}

/// The command that makes these results again.
fn command_line() -> String {
    let cargo = "cargo run --release --".to_owned();
    std::iter::once(cargo).chain(std::env::args().skip(1)).collect::<Vec<String>>().join(" ")
}
