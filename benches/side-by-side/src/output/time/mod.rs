//! The section about time per operation.

use super::{Bar, Chart, Csv, Group, Section, Table, nanoseconds, times};
use crate::allocators::{Allocator, Class};
use crate::measure::{Effort, Outcome, Row};
use bench_common::statistics::geometric_mean;

/// Puts the rows into tables.
#[must_use]
pub fn section(rows: &[Row], allocators: &[Allocator], effort: Effort) -> Section {
    let view = View { rows, allocators };
    Section {
        slug: "time",
        title: "Time",
        method: method(effort),
        tables: [
            view.table(
                Class::Arena,
                "Fixed-arena class. Nanoseconds per operation and ratio to the best of the class.",
            ),
            view.table(
                Class::General,
                "General-purpose class, with this project's allocator beside it. Ratio to the best of this table.",
            ),
            Some(view.summary()),
            Some(view.spreads()),
        ]
        .into_iter()
        .flatten()
        .collect(),
        charts: vec![view.chart()],
        csv: view.csv(),
    }
}

fn method(effort: Effort) -> String {
    format!(
        "Every workload is a list of operations, generated from a fixed seed and the same for all. One process runs it \
         on all allocators in turn, round after round ({} rounds after one that does not count; the order rotates). \
         Each allocator starts every round afresh over the same, already touched memory; the general class keeps its \
         stock from round to round; `thread_cached`, one static for all, merges what is free between \
         workloads. What is counted is the processor time of the measuring thread. Each block is written to: its first byte \
         and one byte per page. Calls are made the way a program makes them: through one call that is not \
         inlined. *(loop alone)* is what remains without an allocator, and is contained in every number. Before the \
         first round, each allocator runs the workload with checks: alignment, bounds, zeros, and a pattern at both \
         ends of every block.\n\n\
         Numbers are medians. *(so many)*: cut off after {:.0} s, the mean so far; *too slow*: cut off before the timed \
         part began. Geometric means are over the rows that were completed; \
         their number is in brackets if those are not all.",
        effort.rounds,
        effort.patience.as_secs_f64(),
    )
}

struct View<'a> {
    rows: &'a [Row],
    allocators: &'a [Allocator],
}

impl View<'_> {
    /// Positions of the allocators of a class.
    fn class(&self, class: Class) -> impl Iterator<Item = usize> + Clone {
        (0..self.allocators.len()).filter(move |&index| self.allocators[index].class() == class)
    }

    fn ours(&self) -> Option<usize> {
        self.allocators.iter().position(|&allocator| allocator == Allocator::Ours)
    }

    /// Best median of a row among some of the allocators.
    fn best(row: &Row, among: impl Iterator<Item = usize>) -> Option<f64> {
        among.filter_map(|index| row.outcomes[index].median()).reduce(f64::min)
    }

    /// Our median over the best peer of some classes on that row.
    fn ours_over_best_peer(&self, row: &Row, classes: &[Class]) -> Option<f64> {
        self.over_best_peer(self.ours()?, row, classes)
    }

    /// As [`View::ours_over_best_peer`], of our allocator with caches.
    fn cached_over_best_peer(&self, row: &Row, classes: &[Class]) -> Option<f64> {
        let cached = self.allocators.iter().position(|&one| Some(one) == Allocator::thread_cached())?;
        self.over_best_peer(cached, row, classes)
    }

    /// The median at `own` over the best peer of some classes on that row; this project's own are no peers of each other.
    fn over_best_peer(&self, own: usize, row: &Row, classes: &[Class]) -> Option<f64> {
        let peers = (0..self.allocators.len()).filter(|&index| {
            !self.allocators[index].is_own() && classes.contains(&self.allocators[index].class())
        });
        Some(row.outcomes[own].median()? / Self::best(row, peers)?)
    }

    fn table(&self, class: Class, caption: &str) -> Option<Table> {
        self.class(class).next()?;
        let competitors: Vec<usize> = match class {
            Class::General => self.ours().into_iter().chain(self.class(class)).collect(),
            _ => self.class(class).collect(),
        };
        let columns: Vec<usize> = self.class(Class::Loop).chain(competitors.iter().copied()).collect();
        let mut header = vec!["workload".to_owned()];
        header.extend(columns.iter().map(|&index| self.allocators[index].name().to_owned()));
        header.push("ours / best peer".to_owned());
        let mut rows: Vec<Vec<String>> = Vec::new();
        for row in self.rows {
            let best = Self::best(row, competitors.iter().copied());
            let mut cells = vec![row.workload.clone()];
            cells.extend(columns.iter().map(|&index| {
                let competes = competitors.contains(&index);
                cell(&row.outcomes[index], best.filter(|_| competes))
            }));
            cells.push(self.ours_over_best_peer(row, &[class]).map_or_else(String::new, times));
            rows.push(cells);
        }
        let mut means = vec!["**geometric mean of the ratios**".to_owned()];
        means.extend(columns.iter().map(|&index| {
            if competitors.contains(&index) { self.mean_ratio(index, &competitors) } else { String::new() }
        }));
        let ours = geometric_mean(self.rows.iter().filter_map(|row| self.ours_over_best_peer(row, &[class])));
        means.push(ours.map_or_else(String::new, |mean| format!("**{}**", times(mean))));
        rows.push(means);
        Some(Table { caption: caption.to_owned(), header, rows })
    }

    fn mean_ratio(&self, index: usize, competitors: &[usize]) -> String {
        let ratios: Vec<f64> = self
            .rows
            .iter()
            .filter_map(|row| {
                Some(row.outcomes[index].median()? / Self::best(row, competitors.iter().copied())?)
            })
            .collect();
        let completed = ratios.len();
        let mean = geometric_mean(ratios).map_or_else(|| "–".to_owned(), times);
        if completed == self.rows.len() { mean } else { format!("{mean} ({completed})") }
    }

    /// Our mean ratios, family by family.
    fn summary(&self) -> Table {
        let mut families: Vec<&str> = self.rows.iter().map(|row| row.family).collect();
        families.dedup();
        let line = |name: String, rows: &[&Row]| {
            let ratios = |classes: &[Class]| -> Vec<f64> {
                rows.iter().filter_map(|row| self.ours_over_best_peer(row, classes)).collect()
            };
            let cached =
                rows.iter().filter_map(|row| self.cached_over_best_peer(row, &[Class::General])).collect();
            let mean = |values: Vec<f64>| geometric_mean(values).map_or_else(String::new, times);
            let worst = ratios(&[Class::Arena]).into_iter().reduce(f64::max);
            vec![
                name,
                rows.len().to_string(),
                mean(ratios(&[Class::Arena])),
                worst.map_or_else(String::new, times),
                mean(ratios(&[Class::General])),
                mean(ratios(&[Class::Arena, Class::General])),
                mean(cached),
            ]
        };
        let mut rows: Vec<Vec<String>> = families
            .iter()
            .map(|&family| {
                let members: Vec<&Row> = self.rows.iter().filter(|row| row.family == family).collect();
                line(family.to_owned(), &members)
            })
            .collect();
        rows.push(line("**all**".to_owned(), &self.rows.iter().collect::<Vec<_>>()));
        Table {
            caption: "This project's time over that of the best peer on the same row (geometric means; below 1.00 it is the \
                      fastest): mem_alloc_rust, and in the last column thread_cached."
                .to_owned(),
            header: [
                "family",
                "rows",
                "best arena peer",
                "its worst row",
                "best general peer",
                "best of all peers",
                "thread_cached / best general peer",
            ]
            .map(str::to_owned)
            .to_vec(),
            rows,
        }
    }

    fn spreads(&self) -> Table {
        let mut header = vec!["workload".to_owned()];
        header.extend(self.allocators.iter().map(|allocator| allocator.name().to_owned()));
        let rows = self
            .rows
            .iter()
            .map(|row| {
                let spread = |outcome: &Outcome| match outcome {
                    Outcome::Time(spread) => format!("{:.1} %", 100.0 * spread.relative_width()),
                    _ => String::new(),
                };
                std::iter::once(row.workload.clone()).chain(row.outcomes.iter().map(spread)).collect()
            })
            .collect();
        Table {
            caption: "Spread: distance between the quartiles of the rounds, as a share of the median."
                .to_owned(),
            header,
            rows,
        }
    }

    fn chart(&self) -> Chart {
        let mut families: Vec<&str> = self.rows.iter().map(|row| row.family).collect();
        families.dedup();
        let contestants: Vec<usize> = self.class(Class::Arena).chain(self.class(Class::General)).collect();
        let groups = families
            .iter()
            .map(|&family| Group {
                heading: family.to_owned(),
                bars: contestants
                    .iter()
                    .map(|&index| {
                        let members = self.rows.iter().filter(|row| row.family == family);
                        let times_of: Vec<Option<f64>> =
                            members.map(|row| row.outcomes[index].median()).collect();
                        let complete = times_of.iter().all(Option::is_some);
                        let value = geometric_mean(times_of.into_iter().flatten()).filter(|_| complete);
                        Bar {
                            label: self.allocators[index].name(),
                            value,
                            text: value.map_or_else(
                                || "not completed".to_owned(),
                                |ns| format!("{} ns", nanoseconds(ns)),
                            ),
                            ours: self.allocators[index].is_own(),
                        }
                    })
                    .collect(),
            })
            .map(relative_to_best)
            .collect();
        Chart {
            name: "time".to_owned(),
            title: "Time per operation, relative to the fastest of each family (shorter is better)"
                .to_owned(),
            groups,
            limit: 5.0,
        }
    }

    fn csv(&self) -> Csv {
        let mut csv = Csv::new(&[
            "workload",
            "family",
            "operations",
            "allocator",
            "class",
            "outcome",
            "min_ns",
            "lower_quartile_ns",
            "median_ns",
            "upper_quartile_ns",
        ]);
        for row in self.rows {
            for (allocator, outcome) in std::iter::zip(self.allocators, &row.outcomes) {
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
}

/// Scales the bars of a group so that the shortest has length 1; their texts stay.
fn relative_to_best(mut group: Group) -> Group {
    let best = group.bars.iter().filter_map(|bar| bar.value).reduce(f64::min);
    for bar in &mut group.bars {
        bar.value = bar.value.and_then(|value| Some(value / best?));
    }
    group
}

fn cell(outcome: &Outcome, best: Option<f64>) -> String {
    match outcome {
        Outcome::Time(spread) => match best {
            Some(best) if spread.median <= best => format!("**{}**", nanoseconds(spread.median)),
            Some(best) => format!("{} {}", nanoseconds(spread.median), times(spread.median / best)),
            None => nanoseconds(spread.median),
        },
        Outcome::TooSlow(Some(so_far)) => format!("({so_far:.0})"),
        Outcome::TooSlow(None) => "too slow".to_owned(),
        Outcome::Refused => "refused".to_owned(),
        Outcome::Wrong(what) => format!("wrong: {what}"),
    }
}
