//! The command line.

use anyhow::{Error, Result};
use bench_common::cli::Options;
use bench_common::filters;
use clap::Parser;

use crate::allocators::{self, Allocator, SYSTEM};
use crate::works::{self, Work};

/// Measures published programs, each with every allocator: processor time and peak memory.
#[derive(Clone, Debug, Parser)]
#[command(version)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) common: Options,
    /// Leave out the allocators that are built from C and C++
    #[arg(long)]
    pub(crate) without_c_peers: bool,
    /// Instead of measuring: record the works, ask `insight size` how large their arenas have to be, and see whether
    /// that is so
    #[arg(long, conflicts_with_all = ["quick", "rounds"])]
    pub(crate) sizes: bool,
    /// With `--sizes`: how often each work is recorded; threads do not repeat exactly
    #[arg(long, value_name = "N", default_value_t = 3, requires = "sizes")]
    #[arg(value_parser = clap::value_parser!(u8).range(1..))]
    pub(crate) recordings: u8,
    /// Build the programs and make the inputs, but run nothing
    #[arg(long)]
    pub(crate) build_only: bool,
}

impl Cli {
    /// How often each program is run.
    pub(crate) fn rounds(&self) -> usize {
        self.common.rounds(7, 3)
    }

    /// The allocators and the works that the options leave. The unmodified programs are always
    /// among them, since the others are compared with them.
    pub(crate) fn chosen(&self) -> Result<(Vec<Allocator>, Vec<Work>)> {
        let mut allocators = allocators::ALL.to_vec();
        allocators.retain(|allocator| !(self.without_c_peers && allocator.is_c));
        let (chosen, works) = filters::chosen(
            &self.common.only,
            (&allocators, |allocator| allocator.name),
            (&works::ALL, |work| work.name),
        )
        .map_err(Error::msg)?;
        allocators.retain(|allocator| allocator.name == SYSTEM || chosen.contains(allocator));
        Ok((allocators, works))
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn names(arguments: &[&str]) -> Vec<&'static str> {
        let cli = Cli::parse_from([&["real-programs"], arguments].concat());
        cli.chosen().unwrap().0.iter().map(|allocator| allocator.name).collect()
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn allocators_from_c_can_be_left_out() {
        assert_eq!(names(&[]).len(), allocators::ALL.len());
        let rust = ["locked", "thread_cached", "growing", "talc", "system", "rusty_alloc"];
        assert_eq!(names(&["--without-c-peers"]), rust);
        assert_eq!(names(&["--only", "alloc", "--without-c-peers"]), ["system", "rusty_alloc"]);
    }
}
