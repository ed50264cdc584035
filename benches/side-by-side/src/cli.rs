//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use side_by_side::allocators::{Allocator, Class};
use side_by_side::cases::{creep::Creep, near::Near, phases::Phases, placement::Placement};
use side_by_side::measure::Effort;
use side_by_side::threads;

/// Measures memory allocators side by side.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) options: Options,
}

/// What to measure.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Command {
    /// Everything (the default).
    Report,
    /// Time per operation.
    Time,
    /// Fill to refusal, the smallest arena per trace, and what caches add to it.
    Memory,
    /// Throughput, processor time, single calls and memory with 1 to 8 threads.
    Threads,
    /// What is left of an arena to blocks of other sizes than before.
    Phases,
    /// What is refused to a program that keeps its heap more than half full.
    Creep,
    /// Time per operation when hardly anything is free, and of a refusal.
    Near,
    /// Where strings lie that are built one after the other.
    Placement,
    /// Percentiles of single calls.
    Latency,
    /// Instructions per call (needs valgrind).
    Instructions,
    /// The names that --only knows.
    List,
    /// Makes BENCHMARKS.md of what was measured; measures nothing.
    Page {
        /// Folder of the results and of the template
        #[arg(long, value_name = "FOLDER", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../results"))]
        results: PathBuf,
        /// The page
        #[arg(long, value_name = "FILE", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../../BENCHMARKS.md"))]
        page: PathBuf,
    },
    #[command(flatten)]
    Child(Child),
}

/// Single measurements, each in a process of its own: started by the commands above.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Child {
    /// Performs rounds of a workload; started by `time`.
    #[command(hide = true)]
    Serve {
        /// Name of the allocator.
        allocator: String,
        /// Name of the workload.
        workload: String,
        /// What for.
        purpose: String,
        /// Milliseconds for a round.
        patience: u64,
    },
    /// Times single calls; started by `latency`.
    #[command(hide = true)]
    Calls {
        /// Name of the allocator.
        allocator: String,
    },
    /// Performs one measurement of `phases`; started by it.
    #[command(hide = true)]
    Phase {
        /// Name of the allocator.
        allocator: String,
        /// What is measured.
        #[command(flatten)]
        case: Phases,
    },
    /// Performs one measurement of `creep`; started by it.
    #[command(hide = true)]
    CreepOnce {
        /// Name of the allocator.
        allocator: String,
        /// What is measured.
        #[command(flatten)]
        case: Creep,
    },
    /// Performs one measurement of `near`; started by it.
    #[command(hide = true)]
    NearOnce {
        /// Name of the allocator.
        allocator: String,
        /// What is measured.
        #[command(flatten)]
        case: Near,
    },
    /// Performs the measurement of `placement`; started by it.
    #[command(hide = true)]
    Place {
        /// Name of the allocator.
        allocator: String,
        /// What is measured.
        #[command(flatten)]
        case: Placement,
    },
    /// Performs one measurement of `threads` and prints the answer; started by `threads`.
    #[command(hide = true)]
    Perform {
        /// Name of the allocator.
        allocator: String,
        /// Name of the workload.
        workload: String,
        /// Number of threads.
        threads: usize,
        /// Check marks instead of measuring.
        #[arg(long)]
        check: bool,
    },
    /// Replays a trace in one arena with or without caches; started by `memory`.
    #[command(hide = true)]
    Replay {
        /// File of the trace.
        trace: PathBuf,
        /// `locked` or `cached`.
        kind: String,
        /// Bytes of the arena.
        arena: usize,
        /// Number of threads.
        threads: usize,
    },
    /// Performs one sequence of `instructions`; started under valgrind.
    #[command(hide = true)]
    Drive {
        /// Name of the allocator.
        allocator: String,
        /// Name of the sequence.
        sequence: String,
    },
}

/// How to measure.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    pub(crate) common: bench_common::cli::Options,
    /// Folder of the recorded traces
    #[arg(long, global = true, value_name = "FOLDER", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/traces"))]
    pub(crate) traces: PathBuf,
}

impl Options {
    /// Effort for the timed rounds.
    pub(crate) fn effort(&self) -> Effort {
        let seconds = if self.common.quick { 2 } else { 3 };
        Effort { rounds: self.common.rounds(11, 3), patience: Duration::from_secs(seconds) }
    }

    /// Measured rounds with several threads.
    pub(crate) fn rounds_with_threads(&self) -> usize {
        self.common.rounds(7, 3)
    }

    /// Measured rounds near the bound.
    pub(crate) fn rounds_near_the_bound(&self) -> usize {
        self.common.rounds(3, 1)
    }

    /// How long an allocator may take for one cell of the fill table.
    pub(crate) fn fill_patience(&self) -> Duration {
        Duration::from_secs(if self.common.quick { 1 } else { 12 })
    }

    /// How long an allocator may take to replay a trace once, when the smallest arena is searched.
    pub(crate) fn replay_patience(&self) -> Duration {
        Duration::from_millis(if self.common.quick { 100 } else { 1000 })
    }

    /// The allocators that the filters leave.
    pub(crate) fn allocators(&self) -> Vec<Allocator> {
        let named = self.matching(Allocator::ALL, |allocator| allocator.name());
        if named.is_empty() { Allocator::ALL.to_vec() } else { named.into_iter().copied().collect() }
    }

    /// The allocators that are measured with several threads: those that the filters name; if they
    /// name none, all that a program with threads would choose from.
    pub(crate) fn allocators_with_threads(&self) -> Vec<Allocator> {
        let named = !self.matching(Allocator::ALL, |allocator| allocator.name()).is_empty();
        let takes_part = |allocator: &Allocator| match allocator.class() {
            Class::Loop => false,
            Class::Arena => named || allocator.is_own() || *allocator == Allocator::Talc,
            Class::General => true,
        };
        self.allocators().into_iter().filter(takes_part).collect()
    }

    /// The workloads for several threads that the filters leave.
    pub(crate) fn workloads_with_threads(&self) -> Vec<threads::Workload> {
        let named = self.matching(&threads::Workload::ALL, |workload| workload.name());
        if named.is_empty() { threads::Workload::ALL.to_vec() } else { named.into_iter().copied().collect() }
    }

    /// Those of the items whose name contains one of the filters.
    pub(crate) fn matching<'a, T>(&self, items: &'a [T], name: impl Fn(&T) -> &str) -> Vec<&'a T> {
        items
            .iter()
            .filter(|item| self.common.only.iter().any(|filter| name(item).contains(filter.as_str())))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn filters_choose_allocators_by_part_of_their_name() {
        let options = Cli::parse_from(["side-by-side", "time", "--only", "talc", "--only", "holes"]).options;
        assert_eq!(options.allocators(), [Allocator::Talc]);
        let options = Cli::parse_from(["side-by-side", "--only", "holes"]).options;
        assert_eq!(options.allocators(), Allocator::ALL);
    }

    #[test]
    fn other_arenas_meet_threads_only_if_named() {
        let options = Cli::parse_from(["side-by-side", "threads", "--only", "larson"]).options;
        assert_eq!(options.workloads_with_threads(), [threads::Workload::Larson]);
        let allocators = options.allocators_with_threads();
        assert!(allocators.contains(&Allocator::Ours) && allocators.contains(&Allocator::System));
        assert!(!allocators.contains(&Allocator::Rlsf) && !allocators.contains(&Allocator::LoopAlone));
        let options = Cli::parse_from(["side-by-side", "threads", "--only", "rlsf"]).options;
        assert_eq!(options.allocators_with_threads(), [Allocator::Rlsf]);
        assert_eq!(options.workloads_with_threads(), threads::Workload::ALL);
    }
}
