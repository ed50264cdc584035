//! A terminal view of a trace: what is live, where it lies, and who asked for it.

mod follow;
mod model;
mod playback;
mod screen;
mod series;
mod spans;

pub(crate) use follow::Follower;
pub(crate) use model::Model;
pub(crate) use playback::Playback;
pub(crate) use screen::{Header, Mode, draw};
