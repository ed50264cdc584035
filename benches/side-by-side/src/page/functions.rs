//! What the template can call.
//!
//! | function | returns |
//! | :-- | :-- |
//! | `rows(grid)` | the names of its rows |
//! | `value(grid, row, column)` | a number |
//! | `best(grid, row, columns)` | the name of the column that is best in that row |
//! | `ratio(grid, row, column, columns)` | a number over the best of its row among some columns |
//! | `mean(grid, column, columns)` | the geometric mean of these ratios, or without `columns`, of the numbers |
//! | `worst(grid, column, columns)` | the least favourable of them |
//! | `mean_over(grid, column, other)` | the geometric mean of a column over the same of another grid |
//!
//! A number as text: `number | decimals(2)`. A number that is not there is `none`, where a single one
//! is asked for; a mean or an extreme of nothing, and what has no such name, is an error.

use std::sync::Arc;

use bench_common::statistics::geometric_mean;
use minijinja::{Environment, Error, ErrorKind};

use super::Grids;
use super::grid::Grid;

type Result<T> = std::result::Result<T, Error>;

fn error(what: String) -> Error {
    Error::new(ErrorKind::InvalidOperation, what)
}

/// Adds all functions and filters.
pub(super) fn add(environment: &mut Environment<'_>, grids: Grids) {
    let grids = Arc::new(grids);
    macro_rules! function {
        ($name:literal, |$grid:ident $(, $argument:ident: $type:ty)*| $result:expr) => {{
            let grids = Arc::clone(&grids);
            environment.add_function($name, move |name: String $(, $argument: $type)*| {
                let $grid = named(&grids, &name)?;
                $result
            });
        }};
    }
    function!("rows", |grid| Ok::<_, Error>(grid.rows().to_vec()));
    function!("value", |grid, row: String, column: String| Ok::<_, Error>(grid.value(&row, &column)));
    function!("best", |grid, row: String, columns: Vec<String>| {
        let best = grid.best(&row, &columns).map(|(name, _)| name.to_owned());
        best.ok_or_else(|| error(format!("{}: nothing in {row:?}", grid.name)))
    });
    function!("ratio", |grid, row: String, column: String, columns: Vec<String>| {
        Ok::<_, Error>(grid.ratio(&row, &column, &columns))
    });
    function!("mean", |grid, column: String, columns: Option<Vec<String>>| {
        geometric_mean(numbers(grid, &column, columns)).ok_or_else(|| nothing(grid, &column))
    });
    function!("worst", |grid, column: String, columns: Option<Vec<String>>| {
        grid.worst(numbers(grid, &column, columns)).ok_or_else(|| nothing(grid, &column))
    });
    let both = Arc::clone(&grids);
    function!("mean_over", |grid, column: String, other: String| {
        let other = named(&both, &other)?;
        let ratio = |row: &String| Some(grid.value(row, &column)? / other.value(row, &column)?);
        geometric_mean(grid.rows().iter().filter_map(ratio)).ok_or_else(|| nothing(grid, &column))
    });
    environment.add_filter("decimals", |number: f64, decimals: usize| format!("{number:.decimals$}"));
}

/// The ratios of a column to the best among others, or its numbers if there are no others.
fn numbers(grid: &Grid, column: &str, columns: Option<Vec<String>>) -> Vec<f64> {
    columns.map_or_else(|| grid.column(column), |columns| grid.ratios(column, &columns))
}

fn named<'a>(grids: &'a Grids, name: &str) -> Result<&'a Grid> {
    grids.get(name).ok_or_else(|| error(format!("there is no grid {name:?}")))
}

fn nothing(grid: &Grid, column: &str) -> Error {
    error(format!("{} has no numbers for {column:?}", grid.name))
}
