//! Blocks that outlive the thread that allocated them, after the benchmark of Larson and Krishnan (*Memory allocation
//! for long-running server applications*, 1998).

use std::alloc::GlobalAlloc;

use fastrand::Rng;

use super::client::{Client, Failure, Watch};
use super::start_line::Finish;
use super::table::Table;
use super::{Task, relay};

/// Blocks that a thread takes over.
pub(super) const SLOTS: usize = 1000;
/// Blocks that a thread replaces before it ends.
pub(super) const REPLACEMENTS: usize = 5000;

/// What a thread leaves to its successor.
struct Inheritance<'a, A, W> {
    client: Client<'a, A, W>,
    table: Table,
    random: Rng,
}

pub(super) fn run<A: GlobalAlloc + Sync, W: Watch>(task: &Task<'_, A>) -> Result<Finish<W>, Failure> {
    let lives = task.calls_per_thread().div_ceil(2 * REPLACEMENTS);
    let inheritances =
        (0..task.threads).map(|number| Inheritance::<A, W>::first(task.allocator, number as u64));
    let inheritances: Vec<_> = inheritances.collect::<Result<_, _>>()?;
    let warm_up = |inheritance: &mut Inheritance<'_, A, W>| {
        inheritance.replace()?;
        inheritance.client.restart();
        Ok(())
    };
    let (mut inheritances, elapsed) = relay::run(task, inheritances, lives, warm_up, Inheritance::replace)?;
    for inheritance in &mut inheritances {
        inheritance.table.clear::<A, W>(task.allocator)?;
    }
    Ok(Finish::new(elapsed, inheritances.into_iter().map(|inheritance| inheritance.client)))
}

impl<'a, A: GlobalAlloc, W: Watch> Inheritance<'a, A, W> {
    /// A full table; the thread that starts everything fills it.
    fn first(allocator: &'a A, number: u64) -> Result<Self, Failure> {
        let mut random = Rng::with_seed(0x5EED_0200 + number);
        let mut client = Client::new(allocator);
        let mut table = Table::new(SLOTS);
        for slot in table.slots() {
            *slot = Some(client.alloc(size(&mut random))?);
        }
        Ok(Self { client, table, random })
    }

    /// One thread's life.
    fn replace(&mut self) -> Result<(), Failure> {
        for _ in 0..REPLACEMENTS {
            let slot = self.table.slot(self.random.usize(..SLOTS));
            if let Some(block) = slot.take() {
                self.client.free(block)?;
            }
            *slot = Some(self.client.alloc(size(&mut self.random))?);
        }
        Ok(())
    }
}

#[inline(always)]
fn size(random: &mut Rng) -> u32 {
    random.u32(16..=512)
}
