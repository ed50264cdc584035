//! Threads that hardly live: what an allocator does at their beginning and their end is what counts.

use std::alloc::GlobalAlloc;

use fastrand::Rng;

use super::client::{Client, Failure, Watch};
use super::start_line::Finish;
use super::{Task, relay};

/// Blocks of one life.
pub(super) const BLOCKS: usize = 100;
/// Calls of one life.
pub(super) const CALLS: usize = 2 * BLOCKS;

/// What goes from thread to thread; no blocks.
struct Baton<'a, A, W> {
    client: Client<'a, A, W>,
    random: Rng,
}

pub(super) fn run<A: GlobalAlloc + Sync, W: Watch>(task: &Task<'_, A>) -> Result<Finish<W>, Failure> {
    let lives = task.calls_per_thread().div_ceil(CALLS);
    let batons = (0..task.threads).map(|number| Baton::<A, W> {
        client: Client::new(task.allocator),
        random: Rng::with_seed(0x5EED_0400 + number as u64),
    });
    let warm_up = |baton: &mut Baton<'_, A, W>| {
        baton.live()?;
        baton.client.restart();
        Ok(())
    };
    let (batons, elapsed) = relay::run(task, batons.collect(), lives, warm_up, Baton::live)?;
    Ok(Finish::new(elapsed, batons.into_iter().map(|baton| baton.client)))
}

impl<A: GlobalAlloc, W: Watch> Baton<'_, A, W> {
    /// One thread's life.
    fn live(&mut self) -> Result<(), Failure> {
        let mut blocks = [const { None }; BLOCKS];
        for block in &mut blocks {
            *block = Some(self.client.alloc(self.random.u32(16..=256))?);
        }
        blocks.into_iter().flatten().try_for_each(|block| self.client.free(block))
    }
}
