//! The heap without threads: by hand, over regions, in random sequences, and in every short one.
//!
//! One program, because each of their own is built and linked for a second, and because what searches for long fills all
//! processors together.

mod density;
mod exhaustive;
#[path = "../extent/mod.rs"]
mod extent;
mod field_bugs;
mod model;
mod region;
mod regions;
mod regions_model;
#[path = "../support/mod.rs"]
mod support;
