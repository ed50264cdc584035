//! How much of an arena a program can use.

mod fill;
mod smallest;

pub use fill::{FillCell, FillRow, run as fill_to_refusal};
pub use smallest::{SmallestRow, run as smallest_arena};
