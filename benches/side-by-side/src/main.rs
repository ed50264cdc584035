//! `side-by-side`: the program around the measurements.

mod children;
mod cli;
mod commands;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use bench_common::cli::command_line;
use clap::Parser;

use cli::{Cli, Command, Options};
use side_by_side::instructions;
use side_by_side::output::{Section, write_all};
use side_by_side::page;

fn main() -> Result<ExitCode> {
    // Many workloads go on until they are refused.
    mem_alloc_rust::set_refusal_reports(mem_alloc_rust::RefusalReports::Never);
    let Cli { command, options } = Cli::parse();
    let sections = match command.unwrap_or(Command::Report) {
        Command::Report => report(&options)?,
        Command::Time => vec![commands::time(&options)?],
        Command::Memory => commands::memory(&options)?,
        Command::Threads => vec![commands::threads(&options)?],
        Command::Phases => vec![commands::phases(&options)?],
        Command::Creep => vec![commands::creep(&options)?],
        Command::Near => vec![commands::near(&options)?],
        Command::Placement => vec![commands::placement(&options)?],
        Command::Latency => vec![commands::latency(&options)?],
        Command::Instructions => vec![commands::instructions(&options)?],
        Command::List => {
            commands::list(&options)?;
            Vec::new()
        }
        Command::Page { results, page } => {
            page::write(&results, &page)?;
            Vec::new()
        }
        Command::Child(child) => return run_child(child, &options),
    };
    for section in &sections {
        println!("\n{}\n", section.title);
        for table in &section.tables {
            println!("{}", table.terminal());
        }
    }
    if let Some(folder) = options.common.out.filter(|_| !sections.is_empty()) {
        write_all(&folder, &command_line(), &sections)?;
        eprintln!("written to {}", folder.display());
    }
    Ok(ExitCode::SUCCESS)
}

fn report(options: &Options) -> Result<Vec<Section>> {
    let mut sections = vec![commands::time(options)?];
    sections.push(commands::threads(options)?);
    sections.extend(commands::memory(options)?);
    // Those among the filtered that have no bound take no part in these.
    if options.allocators().into_iter().any(|allocator| allocator.can_be_bounded()) {
        sections.extend([commands::phases(options)?, commands::creep(options)?, commands::near(options)?]);
    }
    sections.push(commands::placement(options)?);
    sections.push(commands::latency(options)?);
    if instructions::is_available() {
        sections.push(commands::instructions(options)?);
    } else {
        eprintln!("valgrind was not found: the report has no instruction counts");
    }
    Ok(sections)
}

fn run_child(child: cli::Child, options: &Options) -> Result<ExitCode> {
    match child {
        cli::Child::Serve { allocator, workload, purpose, patience } => {
            let patience = Duration::from_millis(patience);
            children::serve(&allocator, &workload, &purpose, patience, &options.traces)?;
        }
        cli::Child::Calls { allocator } => children::calls(&allocator)?,
        cli::Child::Perform { allocator, workload, threads, check } => {
            children::perform(&allocator, &workload, threads, check)?;
        }
        cli::Child::Replay { trace, kind, arena, threads } => {
            return children::replay(&trace, &kind, arena, threads);
        }
        cli::Child::Phase { allocator, case } => children::case(&allocator, case)?,
        cli::Child::CreepOnce { allocator, case } => children::case(&allocator, case)?,
        cli::Child::NearOnce { allocator, case } => children::case(&allocator, case)?,
        cli::Child::Place { allocator, case } => children::case(&allocator, case)?,
        cli::Child::Drive { allocator, sequence } => children::drive(&allocator, &sequence)?,
    }
    Ok(ExitCode::SUCCESS)
}
