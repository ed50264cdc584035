//! Threads that share nothing but the allocator.

use std::alloc::GlobalAlloc;
use std::thread;

use fastrand::Rng;

use super::client::{Client, Failure, SMALLEST, Watch};
use super::start_line::{Finish, StartLine, joined};
use super::table::Table;
use super::{STRETCH, Task};

/// Slots of each thread.
pub(super) const SLOTS: usize = 1000;
/// Largest block.
const LARGEST: u32 = 512;
/// The sizes, for the report.
pub(super) const SIZES: &str = "16 to 512 bytes, mostly small: first a limit is drawn, then a size up to it";

/// Each thread prepares with as many calls as make its table half full, and some more.
const WARM_UP: usize = 10 * SLOTS;

pub(super) fn run<A: GlobalAlloc + Sync, W: Watch>(task: &Task<'_, A>) -> Result<Finish<W>, Failure> {
    let line = StartLine::new(task.threads);
    let (ended, elapsed) = thread::scope(|scope| {
        let threads: Vec<_> = (0..task.threads)
            .map(|number| {
                let line = &line;
                scope.spawn(move || one_thread::<A, W>(task, number as u64, line))
            })
            .collect();
        let running = line.give_signal();
        let ended: Vec<_> = threads.into_iter().map(|thread| joined(thread.join())).collect();
        (ended, running.stop())
    });
    let mut clients = Vec::new();
    for end in ended {
        let (client, mut table) = end?;
        table.clear::<A, W>(task.allocator)?;
        clients.push(client);
    }
    Ok(Finish::new(elapsed, clients))
}

fn one_thread<'a, A: GlobalAlloc + Sync, W: Watch>(
    task: &Task<'a, A>,
    number: u64,
    line: &StartLine,
) -> Result<(Client<'a, A, W>, Table), Failure> {
    let mut client = Client::new(task.allocator);
    let mut table = Table::new(SLOTS);
    let mut random = Rng::with_seed(0x5EED_0100 + number);
    let prepared = (0..WARM_UP).try_for_each(|_| one_call(&mut client, &mut table, &mut random));
    client.restart();
    line.wait();
    prepared?;
    for call in 0..task.calls_per_thread() {
        if call.is_multiple_of(STRETCH) && task.is_late() {
            break;
        }
        one_call(&mut client, &mut table, &mut random)?;
    }
    Ok((client, table))
}

/// Frees the block in a random slot, or allocates one into it.
#[inline(always)]
fn one_call<A: GlobalAlloc, W: Watch>(
    client: &mut Client<'_, A, W>,
    table: &mut Table,
    random: &mut Rng,
) -> Result<(), Failure> {
    let slot = table.slot(random.usize(..SLOTS));
    match slot.take() {
        Some(block) => client.free(block),
        None => {
            let limit = random.u32(SMALLEST..=LARGEST);
            *slot = Some(client.alloc(random.u32(SMALLEST..=limit))?);
            Ok(())
        }
    }
}
