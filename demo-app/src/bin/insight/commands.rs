//! The subcommands, one file each.

pub(crate) mod diff;
pub(crate) mod replay;
pub(crate) mod size;
pub(crate) mod watch;
