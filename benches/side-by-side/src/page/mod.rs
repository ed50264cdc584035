//! The page for readers, `BENCHMARKS.md`: made of a template and of the CSV files of the results.
//!
//! Nothing is measured, and no number stands in the template: whoever measures anew, or changes the
//! words, makes the page anew.

mod chart;
mod functions;
mod grid;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, UndefinedBehavior, context};

use crate::output::MACHINE;
use grid::Better::{Less, More};
use grid::Columns::{Allocators, Fields};
use grid::{Grid, Source, of};

/// The template, in the folder of the results.
pub const TEMPLATE: &str = "BENCHMARKS.md.jinja";

/// The machine that `threads` was run on, if that was another one than for the rest.
const THREADS_MACHINE: &str = "threads-machine.csv";

/// What the template can ask for.
const SOURCES: &[Source] = &[
    of("time alone", "time", &["workload"], Less, Allocators("median_ns"))
        .only(&[("past", "alone"), ("outcome", "completed")]),
    of("time after a history", "time", &["workload"], Less, Allocators("median_ns"))
        .only(&[("past", "after a history"), ("outcome", "completed")]),
    of("threads", "threads", &["workload", "threads"], More, Allocators("million_calls_per_second")),
    of("std programs: time", "programs", &["workload"], Less, Allocators("cpu_median_ms"))
        .without(&["nothing"]),
    of("std programs: memory", "programs", &["workload"], Less, Allocators("peak_median_mib"))
        .without(&["nothing"]),
    of("published programs: time", "real-programs", &["work"], Less, Allocators("cpu_median_ms")),
    of("published programs: memory", "real-programs", &["work"], Less, Allocators("peak_median_mib")),
    of("fill", "fill", &["arena", "sizes"], More, Allocators("live_share")),
    of("smallest arena", "smallest-arena", &["trace"], Less, Allocators("ratio")),
    of(
        "smallest arena with caches",
        "smallest-arena-with-caches",
        &["trace", "threads"],
        Less,
        Fields(&["ratio"]),
    ),
    of("phases", "phases", &["first_bytes", "second_bytes", "order", "sizes"], More, Allocators("share")),
    of("near the bound", "near", &["threads", "sizes", "permille"], Less, Allocators("ns_per_operation")),
    of("placement", "placement", &["run", "stage"], More, Allocators("share_near")),
    of("latency: median", "latency", &["kind"], Less, Allocators("p50_ns")),
    of("latency: p99.9", "latency", &["kind"], Less, Allocators("p99_9_ns")),
    of("bounds", "bounds", &["call"], Less, Fields(&["instructions", "bound"])),
];

/// All grids by their names.
type Grids = BTreeMap<&'static str, Grid>;

/// Makes the page of the results in a folder, and draws the chart that goes with it.
///
/// # Errors
///
/// If a file cannot be read or written, or the template asks for what is not there.
pub fn write(results: &Path, page: &Path) -> Result<()> {
    let grids = grids(results)?;
    chart::of_whole_programs(&grids)?.draw(&results.join("whole-programs.svg"))?;
    fs::write(page, render(results, grids)?).with_context(|| format!("cannot write {}", page.display()))
}

fn grids(results: &Path) -> Result<Grids> {
    SOURCES.iter().map(|source| Ok((source.name, source.read(results)?))).collect()
}

fn render(results: &Path, grids: Grids) -> Result<String> {
    let read = |name: &str| {
        let file = results.join(name);
        fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))
    };
    let template = read(TEMPLATE)?;
    let machine = facts(&read(MACHINE)?)?;
    let has_own_machine = results.join(THREADS_MACHINE).exists();
    let threads_machine = if has_own_machine { Some(facts(&read(THREADS_MACHINE)?)?) } else { None };
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    let mut syntax = SyntaxConfig::builder();
    syntax.trim_blocks(true).lstrip_blocks(true).keep_trailing_newline(true);
    environment.set_syntax(syntax.build().context("the syntax is Jinja's own")?);
    functions::add(&mut environment, grids);
    environment
        .render_str(&template, context! { machine, threads_machine })
        .context("the template cannot be filled in")
}

/// What a file says of a machine.
fn facts(csv: &str) -> Result<BTreeMap<String, String>> {
    let facts: csv::Result<_> = csv::Reader::from_reader(csv.as_bytes()).deserialize().collect();
    Ok(facts?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The folder of the repository.
    fn root() -> &'static Path {
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
    }

    #[test]
    fn the_page_is_what_the_template_and_the_results_make_of_it() {
        let results = root().join("benches/results");
        let page = fs::read_to_string(root().join("BENCHMARKS.md")).unwrap();
        let made = render(&results, grids(&results).unwrap()).unwrap();
        assert!(made == page, "`cargo run --release -- page` makes BENCHMARKS.md anew");
        assert!(page.lines().count() <= 200, "{} lines: too many for a reader", page.lines().count());
    }

    #[test]
    fn everything_that_the_page_links_to_is_there() {
        let page = fs::read_to_string(root().join("BENCHMARKS.md")).unwrap();
        let links: Vec<&str> =
            page.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link).collect();
        assert!(links.len() > 20, "{links:?}");
        for link in links {
            assert!(link.starts_with('#') || root().join(link).exists(), "{link} is not there");
        }
    }
}
