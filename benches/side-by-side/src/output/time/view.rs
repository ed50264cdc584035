//! The rows of one past: tables per class, and a chart.

use super::super::{Bar, Chart, Group, Table, nanoseconds, times};
use crate::allocators::{Allocator, Class};
use crate::measure::{Outcome, Past, Row};
use bench_common::statistics::geometric_mean;

pub(super) struct View<'a> {
    pub(super) past: Past,
    pub(super) rows: Vec<&'a Row>,
    pub(super) allocators: &'a [Allocator],
}

impl View<'_> {
    /// Positions of the allocators of a class.
    fn class(&self, class: Class) -> impl Iterator<Item = usize> + Clone {
        (0..self.allocators.len()).filter(move |&index| self.allocators[index].class() == class)
    }

    /// The families of the rows, in their order.
    pub(super) fn families(&self) -> Vec<&'static str> {
        let mut families: Vec<&str> = self.rows.iter().map(|row| row.family).collect();
        families.dedup();
        families
    }

    fn ours(&self) -> Option<usize> {
        self.allocators.iter().position(|&allocator| allocator == Allocator::Ours)
    }

    /// Best median of a row among some of the allocators.
    fn best(row: &Row, among: impl Iterator<Item = usize>) -> Option<f64> {
        among.filter_map(|index| row.outcomes[index].median()).reduce(f64::min)
    }

    /// Our median over the best peer of some classes on that row.
    pub(super) fn ours_over_best_peer(&self, row: &Row, classes: &[Class]) -> Option<f64> {
        self.over_best_peer(self.ours()?, row, classes)
    }

    /// As [`View::ours_over_best_peer`], of our allocator with caches.
    pub(super) fn cached_over_best_peer(&self, row: &Row, classes: &[Class]) -> Option<f64> {
        let cached = self.allocators.iter().position(|&one| Some(one) == Allocator::thread_cached())?;
        self.over_best_peer(cached, row, classes)
    }

    /// The median at `own` over the best peer of some classes on that row; this project's own are
    /// no peers of each other.
    fn over_best_peer(&self, own: usize, row: &Row, classes: &[Class]) -> Option<f64> {
        let peers = (0..self.allocators.len()).filter(|&index| {
            !self.allocators[index].is_own() && classes.contains(&self.allocators[index].class())
        });
        Some(row.outcomes[own].median()? / Self::best(row, peers)?)
    }

    pub(super) fn table(&self, class: Class, caption: &str) -> Option<Table> {
        self.class(class).next()?;
        let caption = format!("{}: {caption}", capitalised(self.past.name()));
        let competitors: Vec<usize> = match class {
            Class::General => self.ours().into_iter().chain(self.class(class)).collect(),
            _ => self.class(class).collect(),
        };
        let columns: Vec<usize> = self.class(Class::Loop).chain(competitors.iter().copied()).collect();
        let mut header = vec!["workload".to_owned()];
        header.extend(columns.iter().map(|&index| self.allocators[index].name().to_owned()));
        header.push("ours / best peer".to_owned());
        let mut rows: Vec<Vec<String>> = Vec::new();
        for row in &self.rows {
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
        let ours =
            geometric_mean(self.rows.iter().filter_map(|&row| self.ours_over_best_peer(row, &[class])));
        means.push(ours.map_or_else(String::new, |mean| format!("**{}**", times(mean))));
        rows.push(means);
        Some(Table { caption, header, rows })
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

    pub(super) fn chart(&self) -> Chart {
        let families = self.families();
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
                            label: self.allocators[index].name().to_owned(),
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
            name: format!("time-{}", self.past.name().replace(' ', "-")),
            title: format!(
                "Time per operation, {}, relative to the fastest of each family (shorter is better)",
                self.past.name()
            ),
            groups,
            limit: 5.0,
        }
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

fn capitalised(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
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
