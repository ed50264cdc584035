//! `programs`: runs the program of each allocator with each workload, and compares what they cost.

mod allocators;
mod child;
mod cli;
mod files;
mod measure;
mod tables;

use std::process::ExitCode;

use anyhow::{Context, Result};
use bench_common::comparison::Comparison;
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use programs::workloads::NOTHING;

use cli::Cli;
use measure::FURTHER;
use tables::Results;

fn main() -> Result<ExitCode> {
    let options = Cli::parse();
    let (allocators, workloads) = options.chosen()?;
    let rounds = options.rounds();
    let own = std::env::current_exe().context("this program does not know where it lies")?;
    let folder = own.parent().context("a program lies in a folder")?;

    let style = ProgressStyle::with_template("{prefix:>12} [{bar:40}] {percent:>3} % {elapsed} {msg}")?;
    let bar = ProgressBar::new(0).with_style(style.progress_chars("=> ")).with_prefix("programs");
    // The first run of a program reads its file, hence before anything is measured.
    measure::run(folder, &[NOTHING], &allocators, 1, &ProgressBar::hidden())?;
    let rows = measure::run(folder, &[&*workloads, &[NOTHING]].concat(), &allocators, rounds, &bar)?;
    bar.finish_and_clear();

    let columns: Vec<&str> = allocators.iter().map(|allocator| allocator.name).collect();
    let all = Comparison { what: "workload", columns: &columns, further: FURTHER, rows: &rows };
    let (start, rows) = rows.split_last().context("at least one workload was run")?;
    let working = Comparison { rows, ..all };
    let results = Results { allocators: &allocators, workloads: &workloads, all, working, start, rounds };
    for table in results.tables() {
        println!("{}", table.terminal());
    }
    if let Some(folder) = &options.out {
        results.write(folder, &command_line())?;
        eprintln!("written to {}", folder.display());
    }
    let failures: Vec<String> = all.failures().collect();
    for failure in &failures {
        eprintln!("FAILED: {failure}");
    }
    Ok(if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The command that makes these results again.
fn command_line() -> String {
    let cargo = "cargo run --release --".to_owned();
    std::iter::once(cargo).chain(std::env::args().skip(1)).collect::<Vec<String>>().join(" ")
}
