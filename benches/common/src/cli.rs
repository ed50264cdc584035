//! What the command lines have in common.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

/// What to measure, how often, and where the results go.
#[derive(Args, Clone, Debug)]
// Without a group: a program that flattens these into options of its own may call those as it likes.
#[group(skip)]
pub struct Options {
    /// Only allocators and workloads whose name contains this; may be given several times. Filters
    /// on allocators and filters on workloads narrow each other
    #[arg(long, global = true, value_name = "TEXT")]
    pub only: Vec<String>,
    /// Fewer rounds: rough numbers in less time
    #[arg(long, global = true)]
    pub quick: bool,
    /// How often everything is measured
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub rounds: Option<u16>,
    /// Folder for the results: Markdown, CSV files and charts
    #[arg(long, global = true, value_name = "FOLDER")]
    pub out: Option<PathBuf>,
}

impl Options {
    /// How often to measure something for which so many rounds are usual, and so many if it has to
    /// be quick.
    #[must_use]
    pub fn rounds(&self, usual: usize, quick: usize) -> usize {
        self.rounds.map_or(if self.quick { quick } else { usual }, usize::from)
    }
}

/// The command that makes the results of this run again.
#[must_use]
pub fn command_line() -> String {
    let cargo = "cargo run --release --".to_owned();
    std::iter::once(cargo).chain(std::env::args().skip(1)).collect::<Vec<String>>().join(" ")
}

/// A bar that tells how far it is. It is drawn when it is told something: a tick would wake a second
/// thread on the measuring machine.
///
/// # Panics
///
/// Never: the template is valid.
#[must_use]
pub fn progress(what: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template("{prefix:>12} [{bar:40}] {percent:>3} % {elapsed} {msg}");
    let style = style.expect("the template is valid").progress_chars("=> ");
    ProgressBar::new(0).with_style(style).with_prefix(what)
}

/// The same, with a tick: for what takes long and measures no time.
#[must_use]
pub fn ticking_progress(what: &'static str) -> ProgressBar {
    let bar = progress(what);
    bar.enable_steady_tick(Duration::from_secs(1));
    bar
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        options: Options,
    }

    #[test]
    fn the_command_line_is_consistent() {
        Program::command().debug_assert();
    }

    #[test]
    fn a_number_of_rounds_takes_precedence() {
        let rounds =
            |arguments: &[&str]| Program::parse_from([&["program"], arguments].concat()).options.rounds(7, 3);
        assert_eq!(rounds(&[]), 7);
        assert_eq!(rounds(&["--quick"]), 3);
        assert_eq!(rounds(&["--quick", "--rounds", "5"]), 5);
    }
}
