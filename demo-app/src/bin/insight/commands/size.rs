//! `size`: the smallest arena that completes a trace, and one to take.

use super::{print_json, say_if_cut_short, say_what_is_lost};
use crate::bytes::{grouped, percent};
use crate::progress::Progress;
use crate::replay::{Allocator, LARGEST_STATIC, Replayer};
use crate::script::{MOST_IN_MEMORY, Script};
use crate::sizing::{self, Parts, Recommendation, Smallest};
use crate::trouble::Trouble;
use serde::Serialize;
use std::io::{self, Write};
use std::path::PathBuf;

/// Finds the smallest arena that completes a trace, and recommends one.
///
/// Each allocation and release of the trace is performed again, in order and with the cache of its
/// thread, in arenas of one size after the other, until the smallest is found in which nothing is
/// refused, wherever in its page it begins (or in as much as the largest alignment is).
///
/// The overhead is what that arena has beside the bytes that the program asked for, at the moment
/// when those are most:
///
///   headers        4 bytes for each block that has one, and the map of the arena's pages
///   rounding       what blocks are longer than what was asked for
///   fragmentation  what is free then, but not where it would be of use: holes, free slots, room
///                  for blocks that move as they grow
///   caches         what is in the caches of threads
///
/// A larger arena is not always enough: where blocks lie depends on its size, and large ones need
/// luck to find a place. So arenas of up to a quarter more are tried, too, and the recommended one
/// is larger than all that fail.
#[derive(clap::Args)]
#[command(
    verbatim_doc_comment,
    about = "Finds the smallest arena that completes a trace, and recommends one"
)]
pub(crate) struct Arguments {
    /// The traces: files that a program with `Traced` wrote. Of several runs the worst one counts
    #[arg(required = true, value_name = "TRACE")]
    traces: Vec<PathBuf>,
    /// Only for this allocator
    #[arg(long, value_enum)]
    allocator: Option<Allocator>,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

/// What `--json` prints for each allocator; all in bytes, but the line to paste.
#[derive(Serialize)]
struct Json {
    allocator: &'static str,
    /// For each trace, in the order of the arguments.
    traces: Vec<Smallest>,
    recommended: u64,
    line: String,
}

/// # Errors
///
/// A trace cannot be read, or no arena is enough.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Trouble> {
    let mut scripts = Vec::new();
    let mut room = MOST_IN_MEMORY;
    for path in &arguments.traces {
        let script = Script::read(path, room)?;
        say_if_cut_short(path, script.recording_ended);
        say_what_is_lost(path, script.missing);
        room -= script.steps_in_memory();
        scripts.push(script);
    }
    let allocators = match arguments.allocator {
        Some(allocator) => vec![allocator],
        None => vec![Allocator::Locked, Allocator::ThreadCached],
    };
    let mut answers = Vec::new();
    let mut guesses = Guesses::default();
    for allocator in allocators {
        answers.push(answer(&scripts, allocator, &mut guesses)?);
    }
    let out = &mut io::stdout().lock();
    if arguments.json {
        let json: Vec<Json> = answers.into_iter().map(Json::from).collect();
        return print_json(&json, out);
    }
    print(&scripts, &answers, out).map_err(Trouble::Output)
}

/// What one allocator needs.
struct Answer {
    allocator: Allocator,
    /// For each trace.
    smallest: Vec<Smallest>,
    recommendation: Recommendation,
}

impl Answer {
    /// The trace that needs most, and what it needs.
    fn worst(&self) -> Option<(usize, &Smallest)> {
        self.smallest.iter().enumerate().max_by_key(|(_, smallest)| smallest.reliable)
    }
}

impl From<Answer> for Json {
    fn from(answer: Answer) -> Self {
        let recommended = answer.recommendation.arena;
        Self {
            allocator: answer.allocator.name(),
            traces: answer.smallest,
            recommended,
            line: answer.allocator.line(recommended),
        }
    }
}

/// What was found for the allocator before, over the peak.
#[derive(Default)]
struct Guesses {
    over_the_peak: Option<f64>,
}

fn answer(scripts: &[Script], allocator: Allocator, guesses: &mut Guesses) -> Result<Answer, Trouble> {
    let mut replayer = Replayer::default();
    let mut progress = Progress::new("");
    let mut smallest = Vec::new();
    // Nobody knows how many sizes will have to be tried; this many, mostly.
    let (mut tried, expected) = (0, 40 * scripts.len() as u64);
    for script in scripts {
        let guess = guesses.over_the_peak.map(|factor| (script.peak_bytes as f64 * factor) as u64);
        let found = sizing::smallest(&mut replayer, script, allocator, guess, |arena| {
            tried += 1;
            progress.say(format!("{} with {} bytes", allocator.name(), grouped(arena)));
            progress.update(tried, expected.max(tried));
        })?;
        guesses.over_the_peak = Some(found.arena as f64 / script.peak_bytes.max(1) as f64);
        smallest.push(found);
    }
    let arenas: Vec<u64> = smallest.iter().map(|smallest| smallest.reliable).collect();
    let has_threads = scripts.iter().any(|script| script.threads() > 1);
    let recommendation = sizing::recommend(&arenas, has_threads, |arena| {
        for script in scripts {
            if !sizing::completes(&mut replayer, script, allocator, arena)? {
                return Ok(false);
            }
        }
        Ok::<_, Trouble>(true)
    })?;
    Ok(Answer { allocator, smallest, recommendation })
}

fn print(scripts: &[Script], answers: &[Answer], out: &mut dyn Write) -> io::Result<()> {
    for script in scripts {
        let threads = if script.threads() == 1 { "thread" } else { "threads" };
        writeln!(
            out,
            "{}: {} events on {} {threads}, {} bytes live at the peak",
            script.path().display(),
            grouped(script.events),
            script.threads(),
            grouped(script.peak_bytes),
        )?;
        if let Some(end) = script.end {
            let (bytes, event) = (grouped(end.bytes), grouped(end.event));
            if end.others_went_on {
                writeln!(
                    out,
                    "  A thread of the recorded program was refused {bytes} bytes at event {event} and asked for \
                     hardly anything after that, while others went on. The sizes are those that serve this request, \
                     too.",
                )?;
            } else {
                writeln!(
                    out,
                    "  The recorded program was refused {bytes} bytes at event {event} and asked for hardly anything \
                     after that. What it would have asked for is not known: the sizes are those that serve this \
                     request, too, and no more. \
                     Take the recommended one, and record again.",
                )?;
            }
        }
        if script.refusals > 0 {
            writeln!(
                out,
                "  {} {} refused, and the program went on; what was refused need not be served.",
                grouped(script.refusals),
                if script.refusals == 1 { "request was" } else { "requests were" }
            )?;
        }
        if script.unknown_releases > 0 {
            writeln!(
                out,
                "  {} released of whose beginning the trace does not tell; left out here.",
                if script.unknown_releases == 1 {
                    "1 block is".to_owned()
                } else {
                    format!("{} blocks are", grouped(script.unknown_releases))
                }
            )?;
        }
    }
    writeln!(out)?;
    table(answers, out)?;
    for answer in answers {
        explain(scripts, answer, out)?;
    }
    Ok(())
}

/// One column for each allocator.
fn table(answers: &[Answer], out: &mut dyn Write) -> io::Result<()> {
    let mut row = |name: &str, figure: &dyn Fn(&Answer, &Smallest) -> String| {
        let mut line = format!("{name:24}");
        for answer in answers {
            let text = answer.worst().map_or_else(String::new, |(_, worst)| figure(answer, worst));
            line += &format!("{text:>24}");
        }
        writeln!(out, "{}", line.trim_end())
    };
    let part = |part: fn(&Parts) -> u64| {
        move |_: &Answer, smallest: &Smallest| {
            let bytes = part(&smallest.parts);
            format!("{} {:>8}", grouped(bytes), percent(bytes, smallest.arena))
        }
    };
    row("bytes", &|answer, _| format!("{:9}", answer.allocator.name()))?;
    row("smallest arena", &|_, smallest| format!("{}         ", grouped(smallest.arena)))?;
    row("  asked for at the peak", &part(|parts| parts.asked))?;
    row("  overhead", &part(Parts::overhead))?;
    row("    headers", &part(|parts| parts.headers))?;
    row("    rounding", &part(|parts| parts.rounding))?;
    row("    fragmentation", &part(|parts| parts.fragmentation))?;
    row("    caches", &part(|parts| parts.caches))?;
    row("reliable from", &|_, smallest| format!("{}         ", grouped(smallest.reliable)))?;
    row("recommended arena", &|answer, _| format!("{}         ", grouped(answer.recommendation.arena)))
}

/// Where the recommendation comes from, and the line to paste.
fn explain(scripts: &[Script], answer: &Answer, out: &mut dyn Write) -> io::Result<()> {
    let Recommendation { arena, margin, spread } = answer.recommendation;
    let per_cent = |thousandths: u64| format!("{}.{} %", thousandths / 10, thousandths % 10);
    writeln!(out)?;
    let than = match answer.worst() {
        Some((_, worst)) if worst.reliable > worst.arena => "the reliable one",
        _ => "the smallest",
    };
    write!(out, "{}: {} more than {than}", answer.allocator.name(), per_cent(margin))?;
    let has_threads = scripts.iter().any(|script| script.threads() > 1);
    if let ([_, _, ..], Some((worst, _))) = (scripts, answer.worst()) {
        let path = scripts[worst].path().display();
        write!(out, " of the worst of {} runs, {path}; they differ by {}", scripts.len(), per_cent(spread))?;
    } else if has_threads {
        write!(
            out,
            "; threads do not repeat exactly: with traces of several runs, the margin is what they differ by"
        )?;
    }
    writeln!(out, ".")?;
    if arena <= LARGEST_STATIC {
        writeln!(out, "    {}", answer.allocator.line(arena))
    } else {
        writeln!(
            out,
            "    A `FreeList` has 512 MiB at most: take `Growing<{{ {} }}>`, or hand {} bytes to a `Region`.",
            crate::bytes::literal(arena),
            grouped(arena)
        )
    }
}
