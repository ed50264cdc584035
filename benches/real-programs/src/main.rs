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
mod sizes;
mod works;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Error, Result};
use bench_common::cli::{command_line, progress};
use bench_common::comparison::{Comparison, in_turn};
use bench_common::results::publish;
use clap::Parser;

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
    if options.sizes {
        let out = options.common.out.as_ref();
        return sizes::check(&folders, &works, options.recordings, &command_line(), out);
    }
    build(&folders, &works, &allocators)?;
    if options.build_only {
        return Ok(ExitCode::SUCCESS);
    }

    let bar = progress("measuring");
    bar.set_length((rounds * works.len() * allocators.len()) as u64);
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
    let introduction = report.introduction(&command_line());
    publish("real-programs", &comparison, &report.tables(), &introduction, options.common.out.as_ref())
}

/// Builds the programs that the works need, with every allocator.
fn build(folders: &Folders, works: &[Work], allocators: &[Allocator]) -> Result<()> {
    let mut programs: Vec<&Program> = works.iter().map(|work| work.program).collect();
    programs.dedup();
    let bar = progress("building");
    bar.set_length((programs.len() * allocators.len()) as u64);
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
    child::run(&file, work, &folders.target, &folders.output, &[])
}
