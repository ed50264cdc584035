//! `insight flamegraph`: who asked for the memory, as a picture.

use super::{expect_writable, say_if_cut_short, say_what_is_missing, write_file};
use crate::analysis::{self, Holder, Overview, Stacks};
use crate::symbols::Symbols;
use crate::trouble::Trouble;
use inferno::flamegraph::color::MultiPalette;
use inferno::flamegraph::{Options, Palette};
use rustc_hash::FxHashMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// What stands for those who are not known.
const UNKNOWN: &str = "an unknown call site";

/// Draws who asked for the memory, as a flame graph.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The trace, or the heap profile of a program with `Sampled`
    trace: PathBuf,
    /// Where the picture goes [default: flamegraph.svg; for folded stacks: stdout]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// What makes a function wide
    #[arg(long, value_enum, default_value_t = By::Peak)]
    by: By,
    /// Write the stacks as text instead, a line each: functions with semicolons between, the outermost first, and a
    /// number
    #[arg(long)]
    folded: bool,
}

/// What is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum By {
    /// Bytes asked for in all.
    Bytes,
    /// Blocks asked for in all.
    Allocations,
    /// Bytes in use when most were.
    Peak,
    /// Bytes in use at the end.
    End,
}

impl By {
    fn amount(self, holder: &Holder) -> u64 {
        match self {
            Self::Bytes => holder.asked.bytes,
            Self::Allocations => holder.asked.blocks,
            Self::Peak => holder.peak.bytes,
            Self::End => holder.end.bytes,
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Bytes => "Bytes asked for in all",
            Self::Allocations => "Blocks asked for in all",
            Self::Peak => "Bytes in use when most were",
            Self::End => "Bytes in use at the end",
        }
    }

    fn unit(self) -> &'static str {
        if self == Self::Allocations { "blocks" } else { "bytes" }
    }
}

/// Draws.
///
/// # Errors
///
/// The trace cannot be read, or the picture cannot be written.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Trouble> {
    let path = match &arguments.output {
        Some(path) => Some(path.as_path()),
        None if arguments.folded => None,
        None => Some(Path::new("flamegraph.svg")),
    };
    path.map_or(Ok(()), |path| expect_writable(path, &arguments.trace))?;
    let overview = Overview::read(&arguments.trace)?;
    say_if_cut_short(&arguments.trace, overview.ended);
    let holders = analysis::holders(&arguments.trace, &overview)?;
    let mut symbols = Symbols::new(&overview.modules, overview.header.began);
    let lines = fold(&overview, &holders, &mut symbols, arguments.by);
    say_what_is_missing(&symbols);
    let text = |out: &mut dyn Write| lines.iter().try_for_each(|line| writeln!(out, "{line}"));
    match path {
        None => text(&mut io::stdout().lock()).map_err(Trouble::Output),
        Some(path) if arguments.folded => write_file(path, |file| text(file)),
        Some(path) => write_file(path, |file| draw(&lines, arguments.by, overview.program.as_deref(), file)),
    }
}

fn draw(lines: &[String], by: By, program: Option<&str>, out: impl Write) -> io::Result<()> {
    let mut options = Options::default();
    options.title = by.title().to_owned();
    options.subtitle = program.map(str::to_owned);
    options.count_name = by.unit().to_owned();
    options.colors = Palette::Multi(MultiPalette::Rust);
    let nothing = [format!("nothing {}", 1)];
    let lines = if lines.is_empty() { &nothing } else { lines };
    inferno::flamegraph::from_lines(&mut options, lines.iter().map(String::as_str), out)
        .map_err(io::Error::other)
}

/// A line for each stack of functions that has something.
fn fold(overview: &Overview, holders: &[Holder], symbols: &mut Symbols, by: By) -> Vec<String> {
    let amounts: Vec<u64> = holders.iter().map(|holder| by.amount(holder)).collect();
    let stacks = Stacks::new(&overview.sites, symbols, |site| amounts[site] != 0);
    let mut of_node = vec![0; stacks.nodes.len()];
    for (site, amount) in amounts.iter().enumerate() {
        of_node[stacks.of_site[site] as usize] += amount;
    }
    // Calls on different lines of the same function are one here.
    let mut known: FxHashMap<(u32, &str), u32> = FxHashMap::default();
    let mut names = vec![(0, "")];
    let mut merged = vec![0];
    for node in &stacks.nodes[1..] {
        let (caller, name) = (merged[node.caller as usize], symbols.function(node.frame));
        merged.push(*known.entry((caller, name)).or_insert_with(|| {
            names.push((caller, name));
            names.len() as u32 - 1
        }));
    }
    let mut sums = vec![0; names.len()];
    for (node, amount) in of_node.iter().enumerate() {
        sums[merged[node] as usize] += amount;
    }
    let used = (0..names.len() as u32).filter(|&node| sums[node as usize] != 0);
    used.map(|node| format!("{} {}", line(&names, node), sums[node as usize])).collect()
}

/// The functions of a stack.
fn line(names: &[(u32, &str)], node: u32) -> String {
    let mut functions = Vec::new();
    let mut here = node;
    while here != 0 {
        let (caller, name) = names[here as usize];
        // A semicolon separates functions, and array types have one.
        functions.push(name.replace("; ", " × ").replace(';', "×"));
        here = caller;
    }
    if functions.is_empty() {
        return UNKNOWN.to_owned();
    }
    functions.reverse();
    functions.join(";")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic::Synthetic;

    fn example(name: &str) -> PathBuf {
        let mut file = Synthetic::new();
        file.site(0, 1, 0, 0x10);
        file.site(0, 2, 1, 0x20);
        file.site(0, 3, 1, 0x30);
        // The same function as 2, another line.
        file.site(0, 4, 1, 0x21);
        file.allocation(0, 1, 0x1000, 100, 2);
        file.allocation(0, 2, 0x2000, 50, 3);
        file.allocation(0, 3, 0x3000, 5, 4);
        file.allocation(0, 4, 0x4000, 7, 0);
        file.release(0, 5, 0x1000);
        file.write(name)
    }

    fn folded(path: &Path, by: By) -> Vec<String> {
        let overview = Overview::read(path).unwrap();
        let holders = analysis::holders(path, &overview).unwrap();
        let names: &[(u64, &[&str])] = &[
            (0x10, &["app::main"]),
            (0x20, &["[u8; 4]::new"]),
            (0x21, &["[u8; 4]::new"]),
            (0x30, &["b", "a"]),
        ];
        let mut lines = fold(&overview, &holders, &mut Symbols::of_names(names), by);
        lines.sort_unstable();
        lines
    }

    #[test]
    fn stacks_are_folded_by_function() {
        let path = example("folded");
        let unknown = |amount| format!("{UNKNOWN} {amount}");
        let all = |new, ab, rest| {
            [unknown(rest), format!("app::main;[u8 × 4]::new {new}"), format!("app::main;a;b {ab}")]
        };
        assert_eq!(folded(&path, By::Bytes), all(105, 50, 7));
        assert_eq!(folded(&path, By::Allocations), all(2, 1, 1));
        assert_eq!(folded(&path, By::Peak), all(105, 50, 7));
        assert_eq!(folded(&path, By::End), all(5, 50, 7));
    }

    #[test]
    fn the_picture_names_functions_and_amounts() {
        let mut picture = Vec::new();
        draw(&folded(&example("drawn"), By::Bytes), By::Bytes, Some("app --fast"), &mut picture).unwrap();
        let picture = String::from_utf8(picture).unwrap();
        assert!(picture.contains("<title>[u8 × 4]::new (105 bytes, 64.81%)</title>"), "{picture}");
        assert!(picture.contains("app --fast"));
    }

    #[test]
    fn a_trace_without_events_has_a_picture_too() {
        let path = Synthetic::new().write("nothing_to_draw");
        let mut picture = Vec::new();
        draw(&folded(&path, By::Peak), By::Peak, None, &mut picture).unwrap();
        assert!(String::from_utf8(picture).unwrap().contains("<title>nothing"));
    }
}
