//! `diff`: what changed between two traces.

use super::{print_json, say_if_cut_short};
use crate::bytes::{grouped, percent};
use crate::comparison::{Compared, Summary, Totals, compare};
use crate::names;
use crate::trouble::Trouble;
use serde::Serialize;
use std::io::{self, Write};
use std::path::PathBuf;

/// How many frames of a stack are shown in the table.
const FRAMES: usize = 4;

/// Compares two traces: the peak, what was asked for in all, and the call sites that changed most.
///
/// Call sites are compared by their functions, so that the traces can be of different builds; without symbols by their
/// place in the program's file, which has to be the same build then. Those come first whose bytes at the peak changed
/// most.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The trace before the change
    before: PathBuf,
    /// The trace after the change
    after: PathBuf,
    /// The most call sites that are shown
    #[arg(long, value_name = "COUNT", default_value_t = 20)]
    sites: usize,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Json<'a> {
    before: Totals,
    after: Totals,
    call_sites: &'a [Compared],
}

/// # Errors
///
/// A trace cannot be read.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Trouble> {
    let (before, after) = (Summary::read(&arguments.before)?, Summary::read(&arguments.after)?);
    say_if_cut_short(&arguments.before, before.ended);
    say_if_cut_short(&arguments.after, after.ended);
    let all = compare(&before, &after);
    let mut missing = [before.missing, after.missing].concat();
    missing.dedup();
    missing.iter().for_each(|sentence| eprintln!("insight: {sentence}"));
    let shown = &all[..all.len().min(arguments.sites)];
    let out = &mut io::stdout().lock();
    if arguments.json {
        let json = Json { before: before.totals, after: after.totals, call_sites: shown };
        return print_json(&json, out);
    }
    print(&before.totals, &after.totals, shown, all.len(), out).map_err(Trouble::Output)
}

fn print(
    before: &Totals,
    after: &Totals,
    shown: &[Compared],
    all: usize,
    out: &mut dyn Write,
) -> io::Result<()> {
    writeln!(out, "{:22}{:>18}{:>18}{:>19}", "", "before", "after", "change")?;
    let mut row = |name: &str, figure: fn(&Totals) -> u64| {
        let (before, after) = (figure(before), figure(after));
        let difference = i128::from(after) - i128::from(before);
        let share = percent(difference.unsigned_abs() as u64, before);
        let sign = if difference < 0 { '-' } else { '+' };
        let share = if before == 0 { String::new() } else { format!("{sign}{share}") };
        let (before, after, difference) = (grouped(before), grouped(after), signed(difference));
        writeln!(out, "{name:22}{before:>18}{after:>18}{difference:>19}{share:>11}")
    };
    row("peak bytes", |totals| totals.peak_bytes)?;
    row("  in blocks", |totals| totals.peak_blocks)?;
    row("bytes at the end", |totals| totals.end_bytes)?;
    row("bytes asked for", |totals| totals.total_bytes)?;
    row("allocations", |totals| totals.allocations)?;
    row("changes of size", |totals| totals.reallocations)?;
    row("refused", |totals| totals.refusals)?;
    writeln!(out)?;
    let differ = match all {
        1 => "1 call site differs".to_owned(),
        _ => format!("{} call sites differ", grouped(all as u64)),
    };
    if shown.is_empty() {
        return writeln!(out, "{differ}.");
    }
    writeln!(out, "{differ}; what changed most of the peak:")?;
    writeln!(out, "{:>16}{:>16}{:>16}{:>13}  asked for by", "at the peak", "in all", "before", "calls")?;
    for compared in shown {
        let Compared { stack, place, before, after } = compared;
        let total = i128::from(after.total_bytes) - i128::from(before.total_bytes);
        let calls = i128::from(after.calls) - i128::from(before.calls);
        let name = names::line(stack, place, FRAMES);
        writeln!(
            out,
            "{:>16}{:>16}{:>16}{:>13}  {name}",
            signed(compared.change()),
            signed(total),
            grouped(before.peak_bytes),
            signed(calls),
        )?;
    }
    Ok(())
}

/// A difference with its sign; none is 0.
fn signed(difference: i128) -> String {
    let amount = grouped(difference.unsigned_abs() as u64);
    match difference {
        ..=-1 => format!("-{amount}"),
        0 => amount,
        1.. => format!("+{amount}"),
    }
}
