//! `insight report`: one page that shows where the memory went.
//!
//! | file | job |
//! |---|---|
//! | `data` | what the page shows, as JSON |
//! | `page` | the page around it, from the files in the folder of that name |

mod data;
mod page;

use super::{expect_writable, say_if_cut_short, say_what_is_missing, write_file};
use crate::analysis::{self, Overview, Stacks};
use crate::symbols::Symbols;
use crate::trouble::Trouble;
use data::Data;
use std::path::PathBuf;

/// Writes a page that shows where the memory went, and opens in any browser without a network.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The trace, or the heap profile of a program with `Sampled`
    trace: PathBuf,
    /// Where the page goes
    #[arg(short, long, value_name = "FILE", default_value = "report.html")]
    output: PathBuf,
}

/// Writes the page.
///
/// # Errors
///
/// The trace cannot be read, or the page cannot be written.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Trouble> {
    expect_writable(&arguments.output, &arguments.trace)?;
    let overview = Overview::read(&arguments.trace)?;
    say_if_cut_short(&arguments.trace, overview.ended);
    let details = analysis::details(&arguments.trace, &overview)?;
    let mut symbols = Symbols::new(&overview.modules, overview.header.began);
    let is_used = |site: usize| details.holders[site].asked.blocks != 0;
    let stacks = Stacks::new(&overview.sites, &mut symbols, is_used);
    say_what_is_missing(&symbols);
    let data = Data::new(&overview, &details, &symbols, &stacks);
    write_file(&arguments.output, |file| page::write(&data, file))
}
