//! Progress bars for work that takes longer than a second, on a terminal.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::time::{Duration, Instant};

/// What takes less time than this has no bar.
const PATIENCE: Duration = Duration::from_secs(1);

/// How many times in a second a bar is drawn.
const RATE: u8 = 10;

/// A bar that appears when the work has taken a second, if stderr is a terminal, and goes when it is dropped.
pub(crate) struct Progress {
    bar: ProgressBar,
    began: Instant,
    is_shown: bool,
}

impl Progress {
    /// A bar for what the message says.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        let bar = ProgressBar::with_draw_target(Some(1), ProgressDrawTarget::hidden());
        // (The template is sound: a test makes a bar.)
        if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {percent:>3} %  {elapsed}") {
            bar.set_style(style);
        }
        bar.set_message(message.into());
        Self { bar, began: Instant::now(), is_shown: false }
    }

    /// Notes what is being done now.
    pub(crate) fn say(&self, message: impl Into<String>) {
        self.bar.set_message(message.into());
    }

    /// Notes that so many of `whole` are done.
    pub(crate) fn update(&mut self, done: u64, whole: u64) {
        self.bar.set_length(whole);
        self.bar.set_position(done);
        if !self.is_shown && self.began.elapsed() >= PATIENCE {
            // (Hidden all the same if stderr is no terminal.)
            self.bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(RATE));
            self.is_shown = true;
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_appears_when_work_takes_long() {
        let mut progress = Progress::new("reading");
        progress.update(1, 10);
        assert!(!progress.is_shown);
        progress.began -= PATIENCE;
        progress.update(2, 10);
        assert!(progress.is_shown);
        assert_eq!((progress.bar.position(), progress.bar.length()), (2, Some(10)));
        assert!(ProgressStyle::with_template("{msg} {wide_bar} {percent:>3} %  {elapsed}").is_ok());
    }
}
