//! What the results look like: tables on the terminal, Markdown, CSV, and charts.

mod caches;
mod cases;
mod chart;
mod instructions;
mod latency;
mod machine;
mod markdown;
mod memory;
mod threads;
mod time;

pub use bench_common::{Csv, Table};
pub use caches::section as caches_section;
pub use cases::{creep_section, near_section, phases_section, placement_section};
pub use chart::{Bar, Chart, Group};
pub use instructions::section as instructions_section;
pub use latency::section as latency_section;
pub use markdown::{MACHINE, write_all};
pub use memory::{fill_section, smallest_section};
pub use threads::section as threads_section;
pub use time::section as time_section;

use crate::allocators::Allocator;

/// One part of the report: how something was measured, and what came out.
#[derive(Clone, Debug)]
pub struct Section {
    /// Names the files of the section.
    pub slug: &'static str,
    /// Its heading.
    pub title: &'static str,
    /// How it was measured, in Markdown.
    pub method: String,
    /// The results for readers.
    pub tables: Vec<Table>,
    /// The results as pictures.
    pub charts: Vec<Chart>,
    /// The results for programs.
    pub csv: Csv,
}

/// A first column, and one per allocator.
fn header(first: &str, allocators: &[Allocator]) -> Vec<String> {
    let names = allocators.iter().map(|allocator| allocator.name().to_owned());
    std::iter::once(first.to_owned()).chain(names).collect()
}

/// A ratio with two decimals.
fn times(ratio: f64) -> String {
    format!("{ratio:.2}×")
}

/// Nanoseconds with as many decimals as carry meaning.
fn nanoseconds(value: f64) -> String {
    if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.1}") }
}
