//! The command line.

use crate::trouble::Trouble;
use crate::workloads::{ALL, Run, Workload};
use clap::builder::PathBufValueParser;
use clap::error::ErrorKind;
use clap::{Arg, ArgMatches, Command};
use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;

/// The most bytes that the arguments may have together. clap copies them, several times when it complains.
///
/// Arguments that are larger than the arena cannot be refused: std copies them before anyone can look at them.
const MAX_ARGUMENT_BYTES: usize = 16 * 1024;

/// What the user wants.
pub(crate) enum Request {
    /// Help or the version, which clap has laid out.
    Page(Box<clap::Error>),
    /// The names of the workloads.
    List,
    /// Some of the workloads.
    Run {
        /// Those to run, in order.
        workloads: &'static [Workload],
        /// The text for the workload that reads one.
        file: Option<PathBuf>,
    },
}

/// Reads the command line.
///
/// # Errors
///
/// `Usage` with one sentence.
pub(crate) fn parse() -> Result<Request, Trouble<'static>> {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let bytes: usize = arguments.iter().map(|argument| argument.len()).sum();
    if bytes > MAX_ARGUMENT_BYTES {
        return Err(Trouble::Usage(format!(
            "the arguments have {bytes} bytes, and at most {MAX_ARGUMENT_BYTES} are taken"
        )));
    }
    match command().try_get_matches_from(arguments) {
        Ok(matches) => Ok(request(&matches)),
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            Ok(Request::Page(Box::new(error)))
        }
        Err(error) => Err(Trouble::Usage(sentence(&error.to_string()))),
    }
}

/// Writes the names of the workloads, and what each shows.
pub(crate) fn list(out: &mut dyn Write) -> Result<(), Trouble<'static>> {
    for workload in ALL {
        writeln!(out, "{:10} {}", workload.name, workload.about)?;
    }
    Ok(())
}

/// The command line's grammar: a subcommand for each workload, `all` and `list`.
fn command() -> Command {
    let workloads = ALL.iter().map(|workload| {
        let command = Command::new(workload.name).about(workload.about);
        match workload.run {
            Run::Plain(_) => command,
            Run::OverText(_) => command.arg(file_argument()),
        }
    });
    Command::new("demo-app")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Runs ordinary std code in a fixed arena of 1 MiB, and shows what the arena looks like")
        .subcommand(Command::new("all").about("all of the following, one after the other (the default)"))
        .subcommands(workloads)
        .subcommand(Command::new("list").about("the names of the workloads"))
        .disable_help_subcommand(true)
}

fn file_argument() -> Arg {
    Arg::new("FILE")
        .help("a text in UTF-8; without one, the bundled book of Genesis")
        .value_parser(PathBufValueParser::new())
}

fn request(matches: &ArgMatches) -> Request {
    let Some((name, arguments)) = matches.subcommand() else {
        return Request::Run { workloads: ALL, file: None };
    };
    if name == "list" {
        return Request::List;
    }
    let file = arguments.try_get_one::<PathBuf>("FILE").ok().flatten().cloned();
    match ALL.iter().position(|workload| workload.name == name) {
        Some(index) => Request::Run { workloads: &ALL[index..=index], file },
        None => Request::Run { workloads: ALL, file },
    }
}

/// One sentence out of clap's several paragraphs: what is wrong, and its tip if it has one.
fn sentence(paragraphs: &str) -> String {
    let mut lines = paragraphs.lines().map(str::trim);
    let wrong = lines.next().unwrap_or_default();
    let wrong = wrong.strip_prefix("error: ").unwrap_or(wrong);
    match lines.find_map(|line| line.strip_prefix("tip: ")) {
        Some(tip) => format!("{wrong}, {tip}; --help tells more"),
        None => format!("{wrong}; --help tells more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn all_is_the_default() {
        for arguments in [&["demo-app"][..], &["demo-app", "all"]] {
            let request = request(&command().try_get_matches_from(arguments).unwrap());
            let Request::Run { workloads, file: None } = request else { panic!("{arguments:?}") };
            assert_eq!(workloads.len(), ALL.len());
        }
    }

    #[test]
    fn a_complaint_is_one_sentence() {
        let complaint = "error: unrecognized subcommand 'wrds'\n\n  tip: a similar subcommand exists: 'words'\n\nUsage: ...\n";
        assert_eq!(
            sentence(complaint),
            "unrecognized subcommand 'wrds', a similar subcommand exists: 'words'; --help tells more"
        );
        assert_eq!(sentence("error: no"), "no; --help tells more");
    }
}
