//! Reads traces of programs, and says how large an arena has to be, who holds the memory, and what was asked for.
//!
//! | file | job |
//! |---|---|
//! | `bytes` | numbers as people read and write them |
//! | `trouble` | everything that can go wrong, one sentence each |
//! | `progress` | progress bars |
//! | `chunk` | one chunk of a trace that is being read |
//! | `trace_file` | a trace's records in the order in which things happened, in bounded memory |
//! | `live`, `overwritten` | the blocks that are live at a moment, and those that are told late to have moved |
//! | `script` | a trace as steps that can be performed again |
//! | `replay` | performing them on an arena of a given size; the one that touches memory, in `replay/arena` and `replay/player` |
//! | `search`, `sizing` | the smallest arena that is enough, and what it is needed for |
//! | `analysis` | what a trace tells when it is read as a whole |
//! | `call_sites`, `symbols`, `names` | the tree of call sites; return addresses become functions, files and lines; a call site in a few words |
//! | `comparison` | what changed between two traces |
//! | `watch` | what the terminal view shows |
//! | `commands` | the subcommands, one file each |

#![deny(unsafe_code)]

mod analysis;
mod bytes;
mod call_sites;
mod chunk;
mod commands;
mod comparison;
mod live;
mod names;
mod overwritten;
mod progress;
mod replay;
mod script;
mod search;
mod sizing;
mod symbols;
#[cfg(test)]
mod synthetic;
mod trace_file;
mod trouble;
mod watch;

use clap::{Parser, Subcommand};
use commands::{diff, flamegraph, pprof, replay as replay_command, report, size, watch as watch_command};
use mem_alloc_rust::{Growing, Locked, RefusalReports};
use std::process::ExitCode;

/// The tool takes its own medicine. It has no caches: one allocator of a process can have some, and that is the one
/// that a trace is replayed on.
#[global_allocator]
static A: Locked<Growing> = Locked::new();

/// Reads what programs with a `Traced` allocator wrote: how large must the arena be, and why did it run out?
#[derive(Parser)]
#[command(name = "insight", version, after_help = FIRST_STEPS)]
#[command(disable_help_subcommand = true, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const FIRST_STEPS: &str = "First steps:
  1. Wrap the program's allocator:    static A: Traced<System> = Traced::new(System);
  2. Run it with a trace:             MEM_ALLOC_RUST_TRACE=program.trace ./program
  3. Ask how large its arena must be: insight size program.trace

With MEM_ALLOC_RUST_TRACE_CALL_SITES=unwind as well, `report` and others tell who holds the memory.

Exit codes: 0 it is done; 1 the arena of `replay` is too small; 2 it cannot be done, and stderr says why.";

#[derive(Subcommand)]
enum Command {
    Size(size::Arguments),
    Replay(replay_command::Arguments),
    Diff(diff::Arguments),
    Watch(watch_command::Arguments),
    /// The tool's own process with caches.
    #[command(name = replay::PROCESS, hide = true)]
    ReplaySteps {
        arena: u64,
        place: u64,
        beforehand: u64,
        events: u64,
        cells: usize,
    },
    Report(report::Arguments),
    Flamegraph(flamegraph::Arguments),
    Pprof(pprof::Arguments),
}

fn main() -> ExitCode {
    // A replay is refused memory all the time; what came of it says so.
    mem_alloc_rust::set_refusal_reports(RefusalReports::Never);
    let outcome = match Arguments::parse().command {
        Command::Size(arguments) => size::run(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Replay(arguments) => replay_command::run(&arguments),
        Command::Diff(arguments) => diff::run(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Watch(arguments) => watch_command::run(&arguments).map(|()| ExitCode::SUCCESS),
        Command::ReplaySteps { arena, place, beforehand, events, cells } => {
            let plan = replay::Plan { arena, place, beforehand, events, cells };
            replay::serve(plan).map(|()| ExitCode::SUCCESS)
        }
        Command::Report(arguments) => report::run(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Flamegraph(arguments) => flamegraph::run(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Pprof(arguments) => pprof::run(&arguments).map(|()| ExitCode::SUCCESS),
    };
    outcome.unwrap_or_else(|trouble| trouble.report())
}
