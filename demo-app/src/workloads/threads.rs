//! Memory that one thread allocates and another gives back.

use crate::stage::Stage;
use crate::trouble::Trouble;
use std::ops::Range;
use std::sync::mpsc;
use std::thread;

const WORKERS: u32 = 4;
const SHARE: u32 = 50_000;
const LIMIT: u32 = WORKERS * SHARE;

/// Lets four threads look for primes, each in its own range.
pub(crate) fn run(stage: &mut Stage<'_>) -> Result<(), Trouble<'static>> {
    let mut found = collect()?;
    stage.snapshot();
    found.sort_unstable();
    let primes = found.iter().map(|(_, primes)| primes.len()).sum();
    let largest = found.last().and_then(|(_, primes)| primes.last()).copied().unwrap_or(0);

    let sieve = sieve();
    let counted = sieve.iter().filter(|&&is_prime| is_prime).count();
    let last = (0..LIMIT)
        .zip(&sieve)
        .filter(|&(_, &is_prime)| is_prime)
        .map(|(number, _)| number)
        .max()
        .unwrap_or(0);
    stage.check("primes below 200000, found by four threads", primes, "with a sieve", counted)?;
    stage.check("the largest of them", largest, "with a sieve", last)
}

/// What each thread found, in the order in which they were done: the number of the thread, and its primes.
fn collect() -> Result<Vec<(u32, Vec<u32>)>, Trouble<'static>> {
    thread::scope(|scope| {
        let (sender, receiver) = mpsc::channel();
        let mut threads = Vec::new();
        for worker in 0..WORKERS {
            let sender = sender.clone();
            let search = move || {
                let primes = primes(worker * SHARE..(worker + 1) * SHARE);
                // The receiver is gone if a later thread could not be started.
                let _ = sender.send((worker, primes));
            };
            threads.push(thread::Builder::new().spawn_scoped(scope, search).map_err(Trouble::NoThread)?);
        }
        drop(sender);
        let found = receiver.iter().collect();
        for thread in threads {
            // A scope waits for the end of the closures only. What a thread frees after that is back when it was
            // joined. If one panicked, its primes are missing, and the check tells.
            let _ = thread.join();
        }
        Ok(found)
    })
}

/// The primes of a range, by trial division.
fn primes(range: Range<u32>) -> Vec<u32> {
    let is_prime =
        |&number: &u32| number >= 2 && (2..).take_while(|d| d * d <= number).all(|d| number % d != 0);
    range.filter(is_prime).collect()
}

/// Whether each number below the limit is prime, by the sieve of Eratosthenes.
fn sieve() -> Vec<bool> {
    let limit = LIMIT as usize;
    let mut is_prime = vec![true; limit];
    is_prime[..2].fill(false);
    for number in (2..).take_while(|number| number * number < limit) {
        if is_prime[number] {
            is_prime[number * number..].iter_mut().step_by(number).for_each(|multiple| *multiple = false);
        }
    }
    is_prime
}
