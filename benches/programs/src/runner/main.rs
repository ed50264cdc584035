//! `programs`: runs the program of each allocator with each workload, and compares what they cost.

mod allocators;
mod child;
mod cli;
mod files;
mod measure;
mod tables;

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use programs::workloads::NOTHING;

use cli::Cli;
use measure::Outcome;
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
    let rows = measure::run(folder, &[&[NOTHING], &*workloads].concat(), &allocators, rounds, &bar)?;
    bar.finish_and_clear();
    let (start, rows) = rows.split_first().context("at least one workload was run")?;

    let results = Results { allocators: &allocators, workloads: &workloads, rows, start, rounds };
    for table in results.tables() {
        println!("{}", table.terminal());
    }
    if let Some(folder) = &options.out {
        results.write(folder, &command_line())?;
        eprintln!("written to {}", folder.display());
    }
    Ok(if complain(&results) { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Lists on stderr what went wrong, if anything did.
fn complain(results: &Results<'_>) -> bool {
    let mut any = false;
    for row in results.rows.iter().chain([results.start]) {
        for (allocator, outcome) in std::iter::zip(results.allocators, &row.outcomes) {
            if let Outcome::Failed(reason) = outcome {
                eprintln!("FAILED: {} with {}: {reason}", row.workload, allocator.name);
                any = true;
            }
        }
    }
    any
}

/// The command that makes these results again.
fn command_line() -> String {
    let cargo = "cargo run --release --".to_owned();
    std::iter::once(cargo).chain(std::env::args().skip(1)).collect::<Vec<String>>().join(" ")
}
