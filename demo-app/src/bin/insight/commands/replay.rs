//! `replay`: whether an arena completes a trace, and if not, where and why.

use super::{print_json, say_if_cut_short, say_what_is_lost};
use crate::bytes::{self, grouped, percent, shade};
use crate::replay::{ARENA_LIMITS, Allocator, Figures, Outcome, Plan, Refused, Replayer, Verdict};
use crate::script::{MOST_IN_MEMORY, Script};
use crate::trouble::Trouble;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

/// Rows and columns of the arena's picture.
const PICTURE: (usize, usize) = (4, 64);

/// Performs a trace in an arena of a given size, and says whether it is enough.
///
/// Exits with 0 if the arena completes the trace, and with 1 if a request is refused.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The trace: the file that a program with `Traced` wrote
    trace: PathBuf,
    /// Bytes of the arena: 1_234_944, 512K or 1.5M; rounded down to a multiple of 8
    #[arg(long, value_name = "BYTES", value_parser = arena)]
    arena: u64,
    /// The allocator over it
    #[arg(long, value_enum, default_value = "locked")]
    allocator: Allocator,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

fn arena(text: &str) -> Result<u64, String> {
    let bytes = bytes::parse(text)? / 8 * 8;
    let (least, most) = ARENA_LIMITS;
    if (least..=most).contains(&bytes) {
        Ok(bytes)
    } else {
        Err(format!("an arena has from {least} to {} bytes", grouped(most)))
    }
}

/// # Errors
///
/// The trace cannot be read, or there is no memory for the arena.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Trouble> {
    let script = Script::read(&arguments.trace, MOST_IN_MEMORY)?;
    say_if_cut_short(&arguments.trace, script.recording_ended);
    say_what_is_lost(&arguments.trace, script.missing);
    let plan = Plan { cells: PICTURE.0 * PICTURE.1, ..Plan::all(arguments.arena) };
    let outcome = Replayer::default().replay(&script, arguments.allocator, plan)?;
    let out = &mut io::stdout().lock();
    if arguments.json {
        print_json(&outcome, out)?;
    } else {
        print(&script, arguments, &outcome, out).map_err(Trouble::Output)?;
    }
    Ok(if outcome.refused.is_none() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn print(script: &Script, arguments: &Arguments, outcome: &Outcome, out: &mut dyn Write) -> io::Result<()> {
    let (allocator, arena) = (arguments.allocator.name(), grouped(arguments.arena));
    match &outcome.refused {
        None => writeln!(
            out,
            "{allocator} with {arena} bytes completes {}: all {} events.",
            script.path().display(),
            grouped(outcome.events)
        )?,
        Some(refused) => {
            writeln!(
                out,
                "{allocator} with {arena} bytes does not complete {}: event {} of {} is refused.",
                script.path().display(),
                grouped(outcome.events),
                grouped(script.events)
            )?;
            writeln!(out, "{}", reason(refused, &outcome.figures))?;
        }
    }
    if let Some(end) = script.end {
        writeln!(
            out,
            "{} was refused {} bytes at event {} and asked for hardly anything after that.",
            if end.others_went_on { "A thread of the recorded program" } else { "The recorded program" },
            grouped(end.bytes),
            grouped(end.event)
        )?;
    }
    writeln!(out)?;
    figures(outcome, out)?;
    writeln!(out)?;
    let cell = outcome.figures.usable.div_ceil(outcome.cells.len().max(1) as u64);
    writeln!(out, "The arena, {} a character: · free, ░ ▒ ▓ partly in use, █ in use.", bytes::rough(cell))?;
    for row in outcome.cells.chunks(PICTURE.1) {
        writeln!(out, "  {}", row.iter().map(|&percent| shade(percent)).collect::<String>())?;
    }
    Ok(())
}

/// What was asked for, and why there was none.
fn reason(refused: &Refused, figures: &Figures) -> String {
    let mut asked = format!("It asks for {} bytes", grouped(refused.bytes));
    if refused.align > 8 {
        asked += &format!(" at a multiple of {}", refused.align);
    }
    if let Some(former) = refused.former_bytes {
        asked += &format!(", by `realloc` of a block of {}", grouped(former));
    }
    match figures.verdict(refused) {
        Verdict::Exhausted => {
            format!("{asked}. Exhausted: only {} bytes are free.", grouped(figures.free))
        }
        Verdict::Fragmented => format!(
            "{asked}. Fragmented: {} bytes are free, but the largest free block has {}.",
            grouped(figures.free),
            grouped(figures.largest_free)
        ),
    }
}

fn figures(outcome: &Outcome, out: &mut dyn Write) -> io::Result<()> {
    let figures = &outcome.figures;
    let of_the_arena = |bytes: u64| {
        format!("{:>16} bytes {:>7} of the arena", grouped(bytes), percent(bytes, figures.usable))
    };
    let mut row = |name: &str, text: String| writeln!(out, "{name:32}{text}");
    row("peak of what was asked for", of_the_arena(outcome.peak_asked))?;
    row("  at event", format!("{:>16}", grouped(outcome.peak_event)))?;
    row("peak of what was in use", of_the_arena(figures.peak))?;
    row("in the end: asked for", of_the_arena(figures.asked))?;
    row("  in use", of_the_arena(figures.live))?;
    row("  in caches", of_the_arena(figures.cached()))?;
    row("  blocks in use", format!("{:>16}", grouped(figures.blocks)))?;
    row("  free", of_the_arena(figures.free))?;
    row("  largest free block", of_the_arena(figures.largest_free))?;
    row("  free blocks", format!("{:>16}", grouped(figures.free_blocks)))
}
