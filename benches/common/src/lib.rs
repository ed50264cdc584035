//! What the benchmark packages have in common: [`inputs`] for programs, what a [`process`] cost,
//! [`statistics`], a [`comparison`] of allocators, and results as a [`Table`] and as [`Csv`].

pub mod comparison;
mod csv;
pub mod filters;
pub mod inputs;
pub mod process;
pub mod statistics;
mod table;

pub use csv::Csv;
pub use table::Table;
