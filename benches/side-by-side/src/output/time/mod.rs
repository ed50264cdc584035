//! The section about time per operation.

mod summary;
mod view;

use super::{Csv, Section};
use crate::allocators::{Allocator, Class};
use crate::measure::{Effort, HISTORY_BLOCKS, HISTORY_LIVE, HISTORY_TRACES, Outcome, Past, ROUND, Row};
use view::View;

/// Puts the rows into tables.
#[must_use]
pub fn section(rows: &[Row], allocators: &[Allocator], effort: Effort) -> Section {
    let views = Past::ALL.map(|past| View {
        past,
        rows: rows.iter().filter(|row| row.past == past).collect(),
        allocators,
    });
    let of_class = |class, caption| views.each_ref().map(|view| view.table(class, caption));
    let arena = of_class(
        Class::Arena,
        "fixed-arena class. Nanoseconds per operation and ratio to the best of the class.",
    );
    let general = of_class(
        Class::General,
        "general-purpose class, with this project's allocator beside it. Ratio to the best of this table.",
    );
    let mut tables: Vec<_> = arena.into_iter().chain(general).flatten().collect();
    tables.extend([summary::peers(&views), summary::price(&views), summary::spreads(&views)]);
    Section {
        slug: "time",
        title: "Time",
        method: method(effort),
        tables,
        charts: views.iter().map(View::chart).collect(),
        csv: csv(rows, allocators),
    }
}

fn method(effort: Effort) -> String {
    format!(
        "Every workload is a list of operations, generated from a fixed seed and the same for all. Each allocator has a process of \
         its own for each workload, so that all heaps are fresh when it begins; what lies in an arena has not been touched. The \
         processes take turns, round after round ({} rounds after one that does not count; the order rotates). Between rounds all \
         blocks are freed and nothing is reset: the heap of the last round is that of the next one. Workloads of less than \
         {ROUND} operations are performed several times in a round. *After a history*: before the first round the heap serves a \
         churn of {HISTORY_BLOCKS} small blocks, {HISTORY_LIVE} of them at a time, all freed in random order, and the {HISTORY_TRACES} \
         longest traces. Sizes are skewed where nothing else is said: half of them at most 32 bytes, four in five at most 128, one in \
         a hundred up to 32 KiB (in the replacement rows, none above 512 bytes). Random requests, replacements, skewed bursts and \
         requests among holes are aligned to 16 bytes in 5 % of all cases, 32 in 2 %, 64 and 128 in 1 % each, to 8 otherwise. *With \
         an idle thread*: the process has a second thread, which sleeps; so locks that leave their atomics out as long as a process \
         has one thread take them. What is counted is the processor time of the measuring thread. Each block is written to: its \
         first byte and one byte per page. Calls are made the way a program makes them: through one call that is not inlined. *(loop \
         alone)* is what remains without an allocator, and is contained in every number. Before the first round, each allocator runs \
         the workload twice on one heap with checks, in another process: alignment, bounds, zeros, and a pattern at both ends of \
         every block.\n\n\
         Numbers are medians. *(so many)*: cut off after {:.0} s, the mean so far; *too slow*: cut off before the timed \
         part began, or during the history. Geometric means are over the rows that were completed; \
         their number is in brackets if those are not all.",
        effort.rounds,
        effort.patience.as_secs_f64(),
    )
}

fn csv(rows: &[Row], allocators: &[Allocator]) -> Csv {
    let mut csv = Csv::new(&[
        "workload",
        "family",
        "past",
        "operations",
        "allocator",
        "class",
        "outcome",
        "min_ns",
        "lower_quartile_ns",
        "median_ns",
        "upper_quartile_ns",
    ]);
    for row in rows {
        for (allocator, outcome) in std::iter::zip(allocators, &row.outcomes) {
            let (name, values) = match outcome {
                Outcome::Time(spread) => {
                    let values = [spread.min, spread.lower, spread.median, spread.upper];
                    ("completed", values.map(|value| format!("{value:.2}")))
                }
                Outcome::TooSlow(so_far) => {
                    let mean = so_far.map_or_else(String::new, |value| format!("{value:.2}"));
                    ("too slow", [String::new(), String::new(), mean, String::new()])
                }
                Outcome::Refused => ("refused", Default::default()),
                Outcome::Wrong(_) => ("wrong", Default::default()),
            };
            let head = [
                row.workload.clone(),
                row.family.to_owned(),
                row.past.name().to_owned(),
                row.operations.to_string(),
                allocator.name().to_owned(),
                format!("{:?}", allocator.class()),
                name.to_owned(),
            ];
            csv.push(head.into_iter().chain(values));
        }
    }
    csv
}
