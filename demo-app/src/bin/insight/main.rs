//! Reads traces of programs, and says how large an arena has to be, who holds the memory, and what was asked for.
//!
//! | file | job |
//! |---|---|
//! | `trouble` | everything that can go wrong, one sentence each |
//! | `trace_file` | a trace's records in the order in which things happened, in bounded memory |
//! | `progress` | a bar for work that takes long |
//! | `analysis` | what a trace tells when it is read as a whole |
//! | `symbols` | return addresses become functions, files and lines |
//! | `commands` | what can be asked for, a file each |

#![forbid(unsafe_code)]

mod analysis;
mod commands;
mod progress;
mod symbols;
#[cfg(test)]
mod synthetic;
mod trace_file;
mod trouble;

use clap::{Parser, Subcommand};
use mem_alloc_rust::{Growing, ThreadCached};
use std::path::PathBuf;
use std::process::ExitCode;
use trace_file::{Entry, TraceFile};
use trouble::Trouble;

/// The tool takes its own medicine.
#[global_allocator]
static A: ThreadCached<Growing> = ThreadCached::new();

/// Reads what programs with a `Traced` allocator wrote.
#[derive(Parser)]
#[command(version, disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Counts a trace's events.
    Count {
        /// The file that a traced program wrote.
        trace: PathBuf,
    },
    /// Writes a page that shows where the memory went, and opens in any browser without a network.
    Report(commands::report::Arguments),
    /// Draws who asked for the memory, as a flame graph.
    Flamegraph(commands::flamegraph::Arguments),
    /// Writes who asked for the memory as a profile for `pprof` and other viewers.
    Pprof(commands::pprof::Arguments),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match arguments.command {
        Command::Count { trace } => count(&trace),
        Command::Report(arguments) => commands::report::run(&arguments),
        Command::Flamegraph(arguments) => commands::flamegraph::run(&arguments),
        Command::Pprof(arguments) => commands::pprof::run(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(trouble) => trouble.report(),
    }
}

fn count(path: &std::path::Path) -> Result<(), Trouble> {
    let mut trace = TraceFile::open(path)?;
    let mut events = 0u64;
    while let Some(entry) = trace.next()? {
        events += u64::from(matches!(entry, Entry::Event { .. }));
    }
    println!("{events} events");
    Ok(())
}
