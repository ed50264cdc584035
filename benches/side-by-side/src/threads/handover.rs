//! Pairs of threads: one allocates, the other one frees.

use std::alloc::GlobalAlloc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use fastrand::Rng;

use super::Task;
use super::client::{Block, Client, Failure, Watch};
use super::start_line::{Finish, StartLine, joined};

/// Blocks that are handed over at a time.
pub(super) const BATCH: usize = 64;
/// Batches that a pair has on the way at most. They go back empty, so that the queue itself does not allocate.
const BATCHES: usize = 8;

/// Either side's way to the other one.
struct Side {
    take: Receiver<Vec<Block>>,
    give: SyncSender<Vec<Block>>,
}

/// The sides of a producer and a consumer; all batches are empty and with the producer.
fn pair() -> (Side, Side) {
    let (to_consumer, from_producer) = sync_channel(BATCHES);
    let (to_producer, from_consumer) = sync_channel(BATCHES);
    for _ in 0..BATCHES {
        to_producer.send(Vec::with_capacity(BATCH)).expect("the receiver is right here");
    }
    let producer = Side { take: from_consumer, give: to_consumer };
    (producer, Side { take: from_producer, give: to_producer })
}

pub(super) fn run<A: GlobalAlloc + Sync, W: Watch>(task: &Task<'_, A>) -> Result<Finish<W>, Failure> {
    let line = StartLine::new(2 * task.threads);
    let (ended, elapsed) = thread::scope(|scope| {
        let mut threads = Vec::new();
        for number in 0..task.threads {
            let (line, (producer, consumer)) = (&line, pair());
            threads.push(scope.spawn(move || produce(task, number as u64, &producer, line)));
            threads.push(scope.spawn(move || consume(task, &consumer, line)));
        }
        let running = line.give_signal();
        let ended: Vec<Result<Client<'_, A, W>, Failure>> =
            threads.into_iter().map(|thread| joined(thread.join())).collect();
        (ended, running.stop())
    });
    let clients: Vec<_> = ended.into_iter().collect::<Result<_, _>>()?;
    Ok(Finish::new(elapsed, clients))
}

fn produce<'a, A: GlobalAlloc + Sync, W: Watch>(
    task: &Task<'a, A>,
    number: u64,
    side: &Side,
    line: &StartLine,
) -> Result<Client<'a, A, W>, Failure> {
    let mut random = Rng::with_seed(0x5EED_0300 + number);
    let batches = (task.calls_per_thread() / 2).div_ceil(BATCH);
    let mut client = Client::new(task.allocator);
    line.wait();
    for _ in 0..batches {
        let Ok(mut batch) = side.take.recv() else { break };
        for _ in 0..BATCH {
            batch.push(client.alloc(random.u32(16..=256))?);
        }
        if side.give.send(batch).is_err() || task.is_late() {
            break;
        }
    }
    Ok(client)
}

fn consume<'a, A: GlobalAlloc + Sync, W: Watch>(
    task: &Task<'a, A>,
    side: &Side,
    line: &StartLine,
) -> Result<Client<'a, A, W>, Failure> {
    let mut client = Client::new(task.allocator);
    line.wait();
    for mut batch in &side.take {
        batch.drain(..).try_for_each(|block| client.free(block))?;
        // A producer that has made its last batch needs none back.
        let _ = side.give.send(batch);
    }
    Ok(client)
}
