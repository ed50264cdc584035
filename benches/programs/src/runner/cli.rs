//! The command line.

use anyhow::{Error, Result};
use bench_common::cli::Options;
use bench_common::filters;
use clap::Parser;
use programs::workloads::{self, Workload};

use crate::allocators::{self, Allocator};

/// Measures whole programs, each with every allocator: processor time and peak memory.
#[derive(Clone, Debug, Parser)]
#[command(version)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) common: Options,
    /// Nothing but waves, which take so many seconds with each allocator: how resident memory follows what is in use
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) waves: Option<u64>,
}

impl Cli {
    /// How often each program is run.
    pub(crate) fn rounds(&self) -> usize {
        self.common.rounds(7, 3)
    }

    /// The allocators and the workloads that the filters leave.
    ///
    /// What a program costs that does nothing is measured in any case.
    pub(crate) fn chosen(&self) -> Result<(Vec<Allocator>, Vec<Workload>)> {
        filters::chosen(
            &self.common.only,
            (allocators::ALL, |allocator| allocator.name),
            (&workloads::ALL, |workload| workload.name),
        )
        .map_err(Error::msg)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn chosen(arguments: &[&str]) -> Result<(Vec<Allocator>, Vec<Workload>)> {
        Cli::parse_from([&["programs"], arguments].concat()).chosen()
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn filters_on_allocators_leave_all_workloads_and_the_other_way_round() {
        let (allocators, workloads) = chosen(&["--only", "thread_c"]).unwrap();
        assert_eq!((allocators.len(), workloads.len()), (1, workloads::ALL.len()));
        let (allocators, workloads) = chosen(&["--only", "json", "--only", "regex"]).unwrap();
        assert_eq!((allocators.len(), workloads.len()), (allocators::ALL.len(), 2));
    }
}
