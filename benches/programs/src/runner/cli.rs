//! The command line.

use std::path::PathBuf;

use anyhow::{Error, Result};
use bench_common::filters;
use clap::Parser;
use programs::workloads::{self, Workload};

use crate::allocators::{self, Allocator};

/// Measures whole programs, each with every allocator: processor time and peak memory.
#[derive(Clone, Debug, Parser)]
#[command(version)]
pub(crate) struct Cli {
    /// Only allocators and workloads whose name contains this; may be given several times. Filters
    /// on allocators and filters on workloads narrow each other
    #[arg(long, value_name = "TEXT")]
    pub(crate) only: Vec<String>,
    /// Three rounds: rough numbers
    #[arg(long)]
    pub(crate) quick: bool,
    /// How often each program is run [default: 7]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) rounds: Option<u16>,
    /// Folder for programs.md and programs.csv
    #[arg(long, value_name = "FOLDER")]
    pub(crate) out: Option<PathBuf>,
}

impl Cli {
    /// How often each program is run.
    pub(crate) fn rounds(&self) -> usize {
        self.rounds.map_or(if self.quick { 3 } else { 7 }, usize::from)
    }

    /// The allocators and the workloads that the filters leave.
    ///
    /// What a program costs that does nothing is measured in any case.
    pub(crate) fn chosen(&self) -> Result<(Vec<Allocator>, Vec<Workload>)> {
        filters::chosen(
            &self.only,
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

    #[test]
    fn a_number_of_rounds_takes_precedence() {
        assert_eq!(Cli::parse_from(["programs"]).rounds(), 7);
        assert_eq!(Cli::parse_from(["programs", "--quick"]).rounds(), 3);
        assert_eq!(Cli::parse_from(["programs", "--quick", "--rounds", "5"]).rounds(), 5);
    }
}
