//! What the threads do, and how often in a second.

use crate::block::Block;
use fastrand::Rng;
use std::alloc::GlobalAlloc;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

/// Blocks between two looks at whether the time is over.
const STRETCH: usize = 256;

/// Blocks that a thread keeps for a while.
const KEPT: usize = 512;

/// What a number of threads do at the same time.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Work {
    /// Each for itself.
    Own,
    /// Each for the next one.
    HandOver,
}

impl Work {
    pub(crate) const ALL: [Self; 2] = [Self::Own, Self::HandOver];

    /// One sentence about it.
    pub(crate) fn about(self) -> &'static str {
        match self {
            Self::Own => "Each thread allocates and releases blocks of its own, of 16 to 271 bytes",
            Self::HandOver => "Each thread allocates blocks that the next one releases",
        }
    }
}

/// Lets the threads work for a while and counts the allocations and releases of all.
///
/// # Errors
///
/// If a thread cannot be started, a request is refused, or a block's contents have changed.
pub(crate) fn operations_per_second(
    work: Work,
    allocator: &'static (dyn GlobalAlloc + Sync),
    threads: usize,
    each: Duration,
) -> io::Result<f64> {
    let is_over = AtomicBool::new(false);
    let is_over = &is_over;
    let start = Instant::now();
    let operations = thread::scope(|scope| {
        let (mut senders, receivers): (Vec<_>, Vec<_>) = (0..threads).map(|_| sync_channel(8)).unzip();
        // Each thread's blocks go to the next one.
        senders.rotate_left(1);
        let workers: io::Result<Vec<_>> = std::iter::zip(senders, receivers)
            .enumerate()
            .map(|(number, (next, mailbox))| {
                let worker =
                    Worker { allocator, is_over, mark: number as u8, random: Rng::with_seed(number as u64) };
                let run = move || match work {
                    Work::Own => worker.own(),
                    Work::HandOver => worker.hand_over(&next, &mailbox),
                };
                thread::Builder::new().spawn_scoped(scope, run)
            })
            .collect();
        thread::sleep(each);
        is_over.store(true, Ordering::Relaxed);
        let results = workers?.into_iter().map(|worker| worker.join().expect("no worker panics"));
        results.sum::<Option<usize>>().ok_or_else(|| io::Error::other("a block was refused or overwritten"))
    })?;
    Ok(operations as f64 / start.elapsed().as_secs_f64())
}

/// One thread.
struct Worker<'a> {
    allocator: &'static (dyn GlobalAlloc + Sync),
    is_over: &'a AtomicBool,
    mark: u8,
    random: Rng,
}

impl Worker<'_> {
    fn block(&mut self) -> Option<Block> {
        let bytes = self.random.usize(16..272);
        Block::new(self.allocator, bytes, self.mark)
    }

    /// Replaces blocks of its own until the time is over. Returns the number of allocations and releases; `None` if
    /// something went wrong.
    fn own(mut self) -> Option<usize> {
        let mut kept: Vec<Option<Block>> = (0..KEPT).map(|_| None).collect();
        let mut operations = 0;
        while !self.is_over.load(Ordering::Relaxed) {
            for _ in 0..STRETCH {
                let place = self.random.usize(..KEPT);
                kept[place] = match kept[place].take() {
                    Some(block) if !block.is_intact() => return None,
                    Some(_) => None,
                    None => Some(self.block()?),
                };
                operations += 1;
            }
        }
        Some(operations)
    }

    /// Sends blocks to the next thread, and releases those that come from the one before, until the time is over.
    fn hand_over(mut self, next: &SyncSender<Vec<Block>>, mailbox: &Receiver<Vec<Block>>) -> Option<usize> {
        let mut operations = 0;
        while !self.is_over.load(Ordering::Relaxed) {
            let blocks: Option<Vec<Block>> = (0..STRETCH).map(|_| self.block()).collect();
            operations += STRETCH;
            // If the mailbox is full, the thread releases them itself.
            drop(next.try_send(blocks?));
            for blocks in mailbox.try_iter() {
                if !blocks.iter().all(Block::is_intact) {
                    return None;
                }
                operations += blocks.len();
            }
        }
        Some(operations)
    }
}
