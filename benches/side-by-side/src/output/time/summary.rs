//! What the tables of both pasts come to.

use super::super::{Table, header, times};
use super::view::View;
use crate::allocators::Class;
use crate::measure::{Outcome, Row};
use bench_common::statistics::{Spread, geometric_mean};

/// This project's mean ratios, family by family.
pub(super) fn peers(views: &[View<'_>; 2]) -> Table {
    let line = |name: String, family: Option<&str>| {
        let mut cells = vec![name];
        for view in views {
            let members =
                || view.rows.iter().copied().filter(|row| family.is_none_or(|family| family == row.family));
            let ours =
                |class| members().filter_map(move |row| view.ours_over_best_peer(row, &[class])).collect();
            let cached =
                members().filter_map(|row| view.cached_over_best_peer(row, &[Class::General])).collect();
            let worst = members().filter_map(|row| view.ours_over_best_peer(row, &[Class::Arena]));
            cells.push(mean(ours(Class::Arena)));
            cells.push(worst.reduce(f64::max).map_or_else(String::new, times));
            cells.extend([mean(ours(Class::General)), mean(cached)]);
        }
        cells
    };
    let mut rows: Vec<Vec<String>> =
        views[0].families().into_iter().map(|family| line(family.to_owned(), Some(family))).collect();
    rows.push(line("**all**".to_owned(), None));
    let columns =
        ["best arena peer", "its worst row", "best general peer", "thread_cached / best general peer"];
    let mut header = vec!["family".to_owned()];
    header.extend(
        views.iter().flat_map(|view| columns.map(|column| format!("{}: {column}", view.past.name()))),
    );
    Table {
        caption: "This project's time over that of the best peer on the same row (geometric means; below 1.00 it is the \
                  fastest): mem_alloc_rust, and in every fourth column thread_cached."
            .to_owned(),
        header,
        rows,
    }
}

fn mean(values: Vec<f64>) -> String {
    geometric_mean(values).map_or_else(String::new, times)
}

/// How much longer an operation takes after a history.
pub(super) fn price(views: &[View<'_>; 2]) -> Table {
    let [alone, after] = views;
    let line = |name: String, family: Option<&str>| {
        let cells = (0..alone.allocators.len()).map(|index| {
            let pairs = std::iter::zip(&alone.rows, &after.rows);
            let members = pairs.filter(|(row, _)| family.is_none_or(|family| family == row.family));
            let ratio = |(alone, after): (&&Row, &&Row)| {
                Some(after.outcomes[index].median()? / alone.outcomes[index].median()?)
            };
            mean(members.filter_map(ratio).collect())
        });
        std::iter::once(name).chain(cells).collect()
    };
    let mut rows: Vec<Vec<String>> =
        alone.families().into_iter().map(|family| line(family.to_owned(), Some(family))).collect();
    rows.push(line("**all**".to_owned(), None));
    Table {
        caption: "What the history costs: time after it over time alone (geometric means over the rows completed in both).".to_owned(),
        header: header("family", alone.allocators),
        rows,
    }
}

/// How much the rounds differ.
pub(super) fn spreads(views: &[View<'_>; 2]) -> Table {
    let rows = views.iter().map(|view| {
        let cells = (0..view.allocators.len()).map(|index| {
            let width = |row: &&Row| match &row.outcomes[index] {
                Outcome::Time(spread) => Some(100.0 * spread.relative_width()),
                _ => None,
            };
            let widths = Spread::of(view.rows.iter().filter_map(width));
            widths.map_or_else(String::new, |widths| format!("{:.1} %", widths.median))
        });
        std::iter::once(view.past.name().to_owned()).chain(cells).collect()
    });
    Table {
        caption: "Spread: distance between the quartiles of the rounds, as a share of the median; the middle one of all rows."
            .to_owned(),
        header: header("", views[0].allocators),
        rows: rows.collect(),
    }
}
