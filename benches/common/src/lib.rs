//! What the benchmark packages have in common: [`inputs`] for programs, [`statistics`], and results as a [`Table`] and as [`Csv`].

mod csv;
pub mod inputs;
pub mod statistics;
mod table;

pub use csv::Csv;
pub use table::Table;
