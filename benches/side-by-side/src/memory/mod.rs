//! How much of an arena a program can use.

mod caches;
mod fill;
mod search;
mod smallest;
mod turns;

pub use caches::{
    CachesRow, REFUSED, Smallest, THREADS as CACHES_THREADS, TURN, attempt as attempt_with_caches,
    run as cost_of_caches, size_with_caches,
};
pub use fill::{FillCell, FillRow, run as fill_to_refusal};
pub use smallest::{SmallestRow, run as smallest_arena};
