//! What std allocates once and keeps until the process ends, and the balance at the end.

use crate::heap_view::Bytes;
use crate::stage::{Blocks, Stage};
use crate::trouble::Trouble;
use mem_alloc_rust::Stats;
use std::io::{self, Write};
use std::sync::mpsc;
use std::time::Duration;

/// What a block has in front of its contents.
const HEADER: usize = 4;

/// The heap after each of the things that std keeps was allocated.
///
/// They are provoked at the start of `main`, so that they lie side by side at the bottom of the arena. Allocated at
/// first use, they would stay behind somewhere in the middle and cut the free memory in two.
pub(crate) struct StdKeeps {
    steps: [(&'static str, Stats); 3],
}

impl StdKeeps {
    /// Makes std allocate what it keeps; `before_main` is the heap as `main` found it.
    pub(crate) fn provoke(before_main: Stats) -> Self {
        // The buffer comes with the first use. If the output is closed, the first line that is written will tell.
        let _ = io::stdout().flush();
        let with_stdout = crate::A.stats();

        // A thread that waits at a channel gets a place to wait, and keeps it for the next time.
        let (sender, receiver) = mpsc::channel::<()>();
        let _ = receiver.recv_timeout(Duration::from_millis(1));
        drop((sender, receiver));
        let with_channel = crate::A.stats();

        Self {
            steps: [
                ("the main thread, before main", before_main),
                ("the buffer of stdout", with_stdout),
                ("the main thread's place to wait at channels", with_channel),
            ],
        }
    }

    /// Shows that nothing else is left in the heap.
    ///
    /// # Errors
    ///
    /// `NotGivenBack` if something is.
    pub(crate) fn compare(&self, stage: &mut Stage<'_>) -> Result<(), Trouble<'static>> {
        let end = crate::A.stats();
        stage.heading("end", "what is left")?;
        stage.say("What std allocates once and keeps, made to do so at the start of main:")?;
        let mut before = Stats::default();
        for (what, after) in &self.steps {
            let blocks = Blocks(after.live_blocks.saturating_sub(before.live_blocks), "block");
            let bytes = Bytes(after.live_bytes.saturating_sub(before.live_bytes));
            stage.say(&format!("- {what}: {blocks}, {bytes}"))?;
            before = *after;
        }
        if (end.live_blocks, end.live_bytes) != (before.live_blocks, before.live_bytes) {
            return Err(Trouble::NotGivenBack {
                blocks: (before.live_blocks, end.live_blocks),
                bytes: (before.live_bytes, end.live_bytes),
            });
        }
        stage.say(&format!(
            "Everything was given back: live are these {} of std and nothing else.",
            Blocks(end.live_blocks, "block")
        ))?;
        let largest = end.largest_free_bytes;
        let rest = Vec::<u8>::new().try_reserve_exact(largest - HEADER).is_ok();
        let granted = if rest { "was granted" } else { "was refused" };
        let free = Blocks(crate::A.stats().free_blocks, "free block");
        stage.say(&format!(
            "All of the largest free block ({}) {granted}; free afterwards: {free}.",
            Bytes(largest)
        ))?;
        stage.heap_now()?;
        Ok(())
    }
}
