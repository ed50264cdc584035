//! What the benchmark packages have in common: their command lines ([`cli`], [`filters`]),
//! [`inputs`] for programs, processor time ([`clock`]) and the [`peak`] of memory, child
//! [`process`]es, [`statistics`] and percentiles ([`Latencies`]), a [`comparison`] of allocators,
//! and [`results`] as a [`Table`], as [`Csv`] and as [`files`].

pub mod cli;
pub mod clock;
pub mod comparison;
mod csv;
pub mod files;
pub mod filters;
pub mod inputs;
mod latency;
pub mod peak;
pub mod process;
pub mod results;
pub mod statistics;
mod table;

pub use csv::Csv;
pub use latency::Latencies;
pub use table::Table;
