//! The section about phases.

use super::{Csv, Section, Table, header};
use crate::allocators::Allocator;
use crate::cases::ARENA;
use crate::cases::phases::{Cell, FIRST, INCREASES, Order};

/// Cells that are shown one by one.
const WORST: usize = 12;

/// Puts the cells into tables.
#[must_use]
pub fn section(cells: &[Cell], allocators: &[Allocator]) -> Section {
    Section {
        slug: "phases",
        title: "Memory: a phase of one size, then one of another",
        method: format!(
            "Blocks of one size fill 15/16 of an arena of {} MiB, or what fits, and are all freed; then blocks of another size are \
             asked for until the first refusal. The first size is one of {FIRST:?} bytes, the second one is larger by one of \
             {INCREASES:?} percent. *Mixed*: sizes from half to one and a half of that. Every cell has a process of its own, and \
             what it serves is divided by what the second phase is served on a fresh heap. Who takes longer than two seconds \
             for a cell is not asked for smaller sizes in that order; the number of cells that were completed is in brackets \
             if those are not all.",
            ARENA >> 20
        ),
        tables: vec![summary(cells, allocators), worst(cells, allocators)],
        charts: Vec::new(),
        csv: csv(cells, allocators),
    }
}

fn summary(cells: &[Cell], allocators: &[Allocator]) -> Table {
    let line = |name: String, fits: &dyn Fn(&Cell) -> bool| {
        let columns = (0..allocators.len()).map(|index| {
            let members: Vec<&Cell> = cells.iter().filter(|cell| fits(cell)).collect();
            let shares: Vec<f64> = members.iter().filter_map(|cell| cell.shares[index]).collect();
            let Some(least) = shares.iter().copied().reduce(f64::min) else { return "–".to_owned() };
            let mean = shares.iter().sum::<f64>() / shares.len() as f64;
            let text = format!("{:.1} / {:.1}", 100.0 * least, 100.0 * mean);
            if shares.len() == members.len() { text } else { format!("{text} ({})", shares.len()) }
        });
        std::iter::once(name).chain(columns).collect()
    };
    let kinds = Order::ALL.into_iter().flat_map(|order| [(order, false), (order, true)]);
    let mut rows: Vec<Vec<String>> = kinds
        .map(|(order, mixed)| {
            line(kind(order, mixed), &|cell| cell.case.order == order && cell.case.mixed == mixed)
        })
        .collect();
    rows.push(line("**all**".to_owned(), &|_| true));
    Table {
        caption: "What the second phase is served, in percent of what a fresh heap serves: the least of all cells / their mean \
                  (more is better)."
            .to_owned(),
        header: header("order of release, sizes", allocators),
        rows,
    }
}

fn kind(order: Order, mixed: bool) -> String {
    format!("{}, {}", order.name().replace('-', " "), if mixed { "mixed" } else { "fixed" })
}

/// The cells in which this project's own are worst; the first one's if none takes part.
fn worst(cells: &[Cell], allocators: &[Allocator]) -> Table {
    let mut whose: Vec<usize> = (0..allocators.len()).filter(|&index| allocators[index].is_own()).collect();
    if whose.is_empty() {
        whose.push(0);
    }
    let least = |cell: &Cell| whose.iter().filter_map(|&index| cell.shares[index]).reduce(f64::min);
    let mut sorted: Vec<(f64, &Cell)> = cells.iter().filter_map(|cell| Some((least(cell)?, cell))).collect();
    sorted.sort_by(|(left, _), (right, _)| left.total_cmp(right));
    let rows = sorted.iter().take(WORST).map(|(_, cell)| {
        let case = &cell.case;
        let name = format!("{} then {} B, {}", case.first, case.second, kind(case.order, case.mixed));
        let shares = cell
            .shares
            .iter()
            .map(|share| share.map_or_else(|| "–".to_owned(), |share| format!("{:.1}", 100.0 * share)));
        std::iter::once(name).chain(shares).collect()
    });
    let names: Vec<&str> = whose.iter().map(|&index| allocators[index].name()).collect();
    Table {
        caption: format!("The worst cells of {}, in percent.", names.join(" and ")),
        header: header("sizes and order", allocators),
        rows: rows.collect(),
    }
}

fn csv(cells: &[Cell], allocators: &[Allocator]) -> Csv {
    let mut csv = Csv::new(&["first_bytes", "second_bytes", "order", "sizes", "allocator", "share"]);
    for Cell { case, shares } in cells {
        for (allocator, share) in std::iter::zip(allocators, shares) {
            csv.push([
                case.first.to_string(),
                case.second.to_string(),
                case.order.name().to_owned(),
                if case.mixed { "mixed" } else { "fixed" }.to_owned(),
                allocator.name().to_owned(),
                share.map_or_else(String::new, |share| format!("{share:.5}")),
            ]);
        }
    }
    csv
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cases::phases::Phases;

    #[test]
    fn the_least_and_the_mean_are_shown_and_the_worst_first() {
        let cell = |second, ours, talc| Cell {
            case: Phases { first: 500, second, order: Order::Random, mixed: false },
            shares: vec![Some(ours), talc],
        };
        let cells = [cell(520, 1.0, Some(0.5)), cell(600, 0.6, None)];
        let section = section(&cells, &[Allocator::Ours, Allocator::Talc]);
        let [summary, worst] = &section.tables[..] else { panic!() };
        assert_eq!(summary.rows.last().unwrap()[1..], ["60.0 / 80.0", "50.0 / 50.0 (1)"]);
        assert_eq!(worst.rows[0], ["500 then 600 B, random, fixed", "60.0", "–"]);
    }
}
