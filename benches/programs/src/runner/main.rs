//! `programs`: runs the program of each allocator with each workload, and compares what they cost.

mod allocators;
mod child;
mod cli;
mod introduction;
mod measure;
mod tables;
mod waves;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use bench_common::cli::{command_line, progress};
use bench_common::comparison::Comparison;
use bench_common::results::publish;
use clap::Parser;
use indicatif::ProgressBar;
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

    if let Some(seconds) = options.waves {
        let length = Duration::from_secs(seconds);
        return waves::run(folder, &allocators, length, &command_line(), options.common.out.as_deref());
    }
    let bar = progress("programs");
    // The first run of a program reads its file, hence before anything is measured.
    measure::run(folder, &[NOTHING], &allocators, 1, &ProgressBar::hidden())?;
    let rows = measure::run(folder, &[&*workloads, &[NOTHING]].concat(), &allocators, rounds, &bar)?;
    bar.finish_and_clear();

    let columns: Vec<&str> = allocators.iter().map(|allocator| allocator.name).collect();
    let all = Comparison { what: "workload", columns: &columns, further: FURTHER, rows: &rows };
    let (start, rows) = rows.split_last().context("at least one workload was run")?;
    let working = Comparison { rows, ..all };
    let results = Results { allocators: &allocators, workloads: &workloads, all, working, start, rounds };
    let introduction = results.introduction(&command_line());
    publish("programs", &all, &results.tables(), &introduction, options.common.out.as_ref())
}
