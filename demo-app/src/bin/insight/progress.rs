//! A bar on the terminal for work that takes longer than a second.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::time::{Duration, Instant};

/// Work that ends sooner shows nothing.
const PATIENCE: Duration = Duration::from_secs(1);

/// How far some work is. What is drawn goes to stderr, and only if that is a terminal.
pub(crate) struct Progress {
    bar: ProgressBar,
    began: Instant,
    is_shown: bool,
}

impl Progress {
    /// Work that nothing is shown of yet.
    pub(crate) fn new(what: &'static str) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        let style = ProgressStyle::with_template("{msg:>12} {wide_bar} {bytes}/{total_bytes} {eta:>4}");
        bar.set_style(style.expect("the template is well-formed"));
        bar.set_message(what);
        Self { bar, began: Instant::now(), is_shown: false }
    }

    /// So many bytes of so many are done.
    pub(crate) fn set(&mut self, (bytes, done): (u64, u64)) {
        if !self.is_shown && self.began.elapsed() > PATIENCE {
            self.is_shown = true;
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        if self.is_shown {
            self.bar.set_length(bytes);
            self.bar.set_position(done);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
