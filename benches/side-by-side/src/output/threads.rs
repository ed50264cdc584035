//! The section about several threads at once.

use super::{Bar, Chart, Csv, Group, Section, Table, nanoseconds, times};
use crate::allocators::Allocator;
use crate::threads::{ARENA, Outcome, Row, Summary, THREADS, Workload};
use bench_common::statistics::geometric_mean;

/// Puts the rows into tables.
#[must_use]
pub fn section(rows: &[Row], allocators: &[Allocator], rounds: usize) -> Section {
    let view = View { rows, allocators };
    let mut tables: Vec<Table> = view.workloads().map(|workload| view.throughput(workload)).collect();
    tables.extend([view.own_over_peers(), view.scaling(), view.processor()]);
    let most = THREADS[THREADS.len() - 1];
    tables.push(view.with_most_threads(
        format!("Single calls with {most} threads: p99.9 / longest, descheduling included."),
        |summary| format!("{} / {}", time(summary.latency[1]), time(summary.latency[2])),
    ));
    tables.push(view.with_most_threads(
        format!(
            "Memory with {most} threads, in MiB: what the whole process needed more than before the run."
        ),
        |summary| summary.memory.map_or_else(String::new, |bytes| format!("{:.2}", bytes / MEBIBYTE)),
    ));
    Section {
        slug: "threads",
        title: "Threads",
        method: method(rounds),
        tables,
        charts: view.workloads().map(|workload| view.chart(workload)).collect(),
        csv: view.csv(),
    }
}

const MEBIBYTE: f64 = (1 << 20) as f64;

fn method(rounds: usize) -> String {
    let workloads: String = Workload::ALL
        .iter()
        .map(|workload| format!("- *{}*: {}.\n", workload.name(), workload.description()))
        .collect();
    format!(
        "Every number comes from a process of its own, so that nobody's background threads or leftovers disturb the next \
         one: round after round ({rounds} of them) each allocator gets a new process, in rotating order. It warms up, \
         performs a fixed number of calls (stopped after a second), then a smaller number in which every call is timed; \
         before the first round a process checks each block's mark when it is freed. Fixed-arena allocators get {} MiB that \
         nobody has touched. Every block is written to. All threads begin at one signal; the wall clock runs from there to \
         the last thread's end.\n\n{workloads}\n\
         Numbers are medians over the rounds, the longest calls too. *Peers* are all but this project's own two. Memory \
         contains the stacks and tables of the threads, which are the same for all; the kernel counts it in steps of up to \
         a quarter of a MiB.",
        ARENA >> 20,
    )
}

struct View<'a> {
    rows: &'a [Row],
    allocators: &'a [Allocator],
}

impl View<'_> {
    fn workloads(&self) -> impl Iterator<Item = Workload> {
        Workload::ALL.into_iter().filter(|&workload| self.rows.iter().any(|row| row.workload == workload))
    }

    fn row(&self, workload: Workload, threads: usize) -> Option<&Row> {
        self.rows.iter().find(|row| row.workload == workload && row.threads == threads)
    }

    /// What an allocator achieved in a cell.
    fn outcome(&self, workload: Workload, threads: usize, index: usize) -> Option<&Outcome> {
        self.row(workload, threads).map(|row| &row.outcomes[index])
    }

    /// The throughput of the best peer on a row.
    fn best_peer(&self, row: &Row) -> Option<f64> {
        let peers = (0..self.allocators.len()).filter(|&index| !self.allocators[index].is_own());
        peers.filter_map(|index| row.outcomes[index].throughput()).reduce(f64::max)
    }

    /// An allocator's throughput over that of the best peer, on every row with so many threads that both completed.
    fn over_best_peer(&self, index: usize, threads: usize) -> impl Iterator<Item = f64> {
        self.rows
            .iter()
            .filter(move |row| row.threads == threads)
            .filter_map(move |row| Some(row.outcomes[index].throughput()? / self.best_peer(row)?))
    }

    /// One line per allocator, made of its position.
    fn lines(&self, cells: impl Fn(usize) -> Vec<String>) -> Vec<Vec<String>> {
        let line = |index: usize| {
            let name = self.allocators[index].name().to_owned();
            std::iter::once(name).chain(cells(index)).collect()
        };
        (0..self.allocators.len()).map(line).collect()
    }

    fn throughput(&self, workload: Workload) -> Table {
        let mut caption = format!(
            "{}: million calls per second, and ratio to the best peer (more is better).",
            capitalised(workload.name())
        );
        if let Some(calls) = workload.calls_per_life() {
            caption.push_str(&format!(
                " {calls} calls are one life: 1.00 are {} lives per second.",
                1_000_000 / calls
            ));
        }
        let cell = |index: usize, threads: usize| {
            let Some(row) = self.row(workload, threads) else { return String::new() };
            let peer = self.best_peer(row);
            let best = row.outcomes.iter().filter_map(Outcome::throughput).reduce(f64::max);
            match &row.outcomes[index] {
                Outcome::Measured(Summary { throughput, .. }) => {
                    let mut text = format!("{:.2}", throughput.median);
                    if Some(throughput.median) == best {
                        text = format!("**{text}**");
                    }
                    peer.map_or(text.clone(), |peer| format!("{text} {}", times(throughput.median / peer)))
                }
                Outcome::Refused => "refused".to_owned(),
                Outcome::Wrong(what) => format!("wrong: {what}"),
            }
        };
        let unit = if workload == Workload::Handover { "pair" } else { "thread" };
        Table {
            caption,
            header: header(THREADS.map(|threads| counted(threads, unit))),
            rows: self.lines(|index| THREADS.map(|threads| cell(index, threads)).to_vec()),
        }
    }

    /// This project's own against the best peer, over all workloads.
    fn own_over_peers(&self) -> Table {
        let own = (0..self.allocators.len()).filter(|&index| self.allocators[index].is_own());
        let mean = |values: Vec<f64>| geometric_mean(values).map_or_else(String::new, times);
        let rows = own
            .map(|index| {
                let of = |threads: usize| self.over_best_peer(index, threads);
                let mut cells = vec![self.allocators[index].name().to_owned()];
                cells.extend(THREADS.map(|threads| mean(of(threads).collect())));
                cells.push(mean(THREADS.into_iter().flat_map(of).collect()));
                cells
            })
            .collect();
        let columns = THREADS.map(|threads| counted(threads, "thread")).into_iter();
        Table {
            caption: "This project's throughput over that of the best peer (geometric means over the workloads; above 1.00 it is \
                      the fastest)."
                .to_owned(),
            header: header(columns.chain(["all".to_owned()])),
            rows,
        }
    }

    fn scaling(&self) -> Table {
        let cell = |workload, index| {
            let throughput = |threads| self.outcome(workload, threads, index)?.throughput();
            throughput(2).zip(throughput(1)).map_or_else(String::new, |(two, one)| times(two / one))
        };
        Table {
            caption: "Scaling: throughput with two threads (or pairs) over that with one.".to_owned(),
            header: header(self.workloads().map(|workload| workload.name().to_owned())),
            rows: self.lines(|index| self.workloads().map(|workload| cell(workload, index)).collect()),
        }
    }

    fn processor(&self) -> Table {
        let rows = self.rows.iter().map(|row| {
            let name = format!("{}, {}", row.workload.name(), row.threads);
            let cell = |outcome: &Outcome| {
                outcome.summary().map_or_else(String::new, |summary| nanoseconds(summary.processor))
            };
            std::iter::once(name).chain(row.outcomes.iter().map(cell)).collect()
        });
        let names = self.allocators.iter().map(|allocator| allocator.name().to_owned());
        Table {
            caption: "Processor time of all threads together per call, in nanoseconds; waiting for a lock without sleeping \
                      counts."
                .to_owned(),
            header: std::iter::once("workload, threads".to_owned()).chain(names).collect(),
            rows: rows.collect(),
        }
    }

    /// A table about the largest number of threads: allocators down, workloads across.
    fn with_most_threads(&self, caption: String, text: impl Fn(&Summary) -> String) -> Table {
        let most = THREADS[THREADS.len() - 1];
        let cell = |workload, index| {
            let summary = self.outcome(workload, most, index).and_then(Outcome::summary);
            summary.map_or_else(String::new, &text)
        };
        Table {
            caption,
            header: header(self.workloads().map(|workload| workload.name().to_owned())),
            rows: self.lines(|index| self.workloads().map(|workload| cell(workload, index)).collect()),
        }
    }

    fn chart(&self, workload: Workload) -> Chart {
        let unit = if workload == Workload::Handover { "pair" } else { "thread" };
        let bar = |threads: usize, index: usize| {
            let value = self.outcome(workload, threads, index).and_then(Outcome::throughput);
            Bar {
                label: self.allocators[index].name().to_owned(),
                value,
                text: value.map_or_else(|| "not completed".to_owned(), |value| format!("{value:.2} M/s")),
                ours: self.allocators[index].is_own(),
            }
        };
        let group = |threads: usize| Group {
            heading: counted(threads, unit),
            bars: (0..self.allocators.len()).map(|index| bar(threads, index)).collect(),
        };
        let file_name = workload.name().replace(|c: char| !c.is_ascii_alphabetic(), "-");
        Chart {
            name: format!("threads-{file_name}"),
            title: format!("{}: million calls per second (longer is better)", capitalised(workload.name())),
            groups: THREADS.map(group).to_vec(),
            limit: f64::INFINITY,
        }
    }

    fn csv(&self) -> Csv {
        let mut csv = Csv::new(&[
            "workload",
            "threads",
            "allocator",
            "outcome",
            "million_calls_per_second",
            "lower_quartile",
            "upper_quartile",
            "processor_ns_per_call",
            "p99_ns",
            "p99_9_ns",
            "max_ns",
            "memory_bytes",
        ]);
        for row in self.rows {
            for (allocator, outcome) in std::iter::zip(self.allocators, &row.outcomes) {
                let (name, numbers) = match outcome {
                    Outcome::Measured(summary) => ("measured", numbers(summary)),
                    Outcome::Refused => ("refused", Default::default()),
                    Outcome::Wrong(_) => ("wrong", Default::default()),
                };
                let head = [
                    row.workload.name().to_owned(),
                    row.threads.to_string(),
                    allocator.name().to_owned(),
                    name.to_owned(),
                ];
                csv.push(head.into_iter().chain(numbers));
            }
        }
        csv
    }
}

fn numbers(summary: &Summary) -> [String; 8] {
    let Summary { throughput, processor, latency: [p99, p99_9, longest], memory } = *summary;
    [
        format!("{:.3}", throughput.median),
        format!("{:.3}", throughput.lower),
        format!("{:.3}", throughput.upper),
        format!("{processor:.2}"),
        format!("{p99:.1}"),
        format!("{p99_9:.1}"),
        format!("{longest:.0}"),
        memory.map_or_else(String::new, |bytes| format!("{bytes:.0}")),
    ]
}

fn header(columns: impl IntoIterator<Item = String>) -> Vec<String> {
    std::iter::once("allocator".to_owned()).chain(columns).collect()
}

fn counted(threads: usize, unit: &str) -> String {
    format!("{threads} {unit}{}", if threads == 1 { "" } else { "s" })
}

fn capitalised(name: &str) -> String {
    name.chars().take(1).flat_map(char::to_uppercase).chain(name.chars().skip(1)).collect()
}

/// A time with its unit: single calls take from some nanoseconds to many milliseconds.
fn time(value: f64) -> String {
    match value {
        ..1e4 => format!("{value:.0} ns"),
        ..1e7 => format!("{:.0} µs", value / 1e3),
        _ => format!("{:.0} ms", value / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bench_common::statistics::Spread;

    fn measured(throughput: f64) -> Outcome {
        Outcome::Measured(Summary {
            throughput: Spread::of([throughput]).unwrap(),
            processor: 10.0,
            latency: [50.0, 20_000.0, 3e7],
            memory: Some(MEBIBYTE),
        })
    }

    #[test]
    fn this_projects_own_are_compared_with_peers_only() {
        let allocators: Vec<Allocator> =
            [Some(Allocator::Ours), Allocator::thread_cached(), Some(Allocator::System)]
                .into_iter()
                .flatten()
                .collect();
        let outcomes = |factor: f64| {
            let throughput = |allocator: &Allocator| if *allocator == Allocator::System { 4.0 } else { 8.0 };
            allocators.iter().map(|allocator| measured(throughput(allocator) * factor)).collect()
        };
        let row =
            |threads: usize, factor| Row { workload: Workload::Larson, threads, outcomes: outcomes(factor) };
        let section = section(&[row(1, 1.0), row(2, 1.5)], &allocators, 3);
        let (throughput, own, scaling) = (&section.tables[0], &section.tables[1], &section.tables[2]);
        assert_eq!(throughput.rows[0][1], "**8.00** 2.00×");
        assert_eq!(throughput.rows[0][3], "", "4 threads were not measured");
        assert_eq!(own.rows.len(), allocators.len() - 1);
        assert_eq!(own.rows[0][5], "2.00×");
        assert_eq!(scaling.rows[0][1], "1.50×");
        assert_eq!(section.charts[0].name, "threads-larson");
    }

    #[test]
    fn times_have_the_unit_that_suits() {
        assert_eq!([950.4, 25_000.0, 3.2e7].map(time), ["950 ns", "25 µs", "32 ms"]);
    }
}
