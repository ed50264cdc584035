//! The sections about [`crate::cases`].

mod creep;
mod near;
mod phases;
mod placement;

pub use creep::section as creep_section;
pub use near::section as near_section;
pub use phases::section as phases_section;
pub use placement::section as placement_section;

use super::{Csv, Section, Table, header, nanoseconds, times};
