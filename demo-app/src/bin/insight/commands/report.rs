//! `insight report`: one page that shows where the memory went.

use crate::trouble::Trouble;
use std::path::PathBuf;
/// What can be said on the command line.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    trace: PathBuf,
}
pub(crate) fn run(arguments: &Arguments) -> Result<(), Trouble> {
    let _ = &arguments.trace;
    Ok(())
}
