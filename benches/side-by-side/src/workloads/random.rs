//! Random actions: allocate, free, resize, with a number of live blocks that wanders between 0 and
//! 1,000.

use fastrand::Rng;

use super::{Requests, Sizes, Workload};
use crate::operation::Operation;

const ACTIONS: usize = 100_000;
const MOST_LIVE: usize = 1000;

pub(super) fn workloads() -> impl Iterator<Item = Workload> {
    let mixes = [
        ("skewed", Requests::mixed(Sizes::SKEWED)),
        ("≤ 1,000", Requests::mixed(Sizes::up_to(1000))),
        ("≤ 30,000", Requests::mixed(Sizes::up_to(30_000))),
    ];
    [false, true].into_iter().flat_map(move |realloc| {
        mixes.into_iter().map(move |(mix, requests)| {
            let (tail, family) = if realloc {
                ("with realloc", "random with realloc")
            } else {
                ("no realloc", "random without realloc")
            };
            Workload::new(format!("random {mix}, {tail}"), family, move || {
                actions(requests, realloc, ACTIONS)
            })
        })
    })
}

/// Setup and timed part of a run of random actions.
#[must_use]
pub fn actions(requests: Requests, realloc: bool, count: usize) -> (Vec<Operation>, Vec<Operation>) {
    let mut random = Rng::with_seed(0x5EED_0001);
    let mut live: Vec<u32> = Vec::new();
    let mut free: Vec<u32> = (0..MOST_LIVE as u32).rev().collect();
    let allocate = |random: &mut Rng, live: &mut Vec<u32>, free: &mut Vec<u32>| {
        let slot = free.pop()?;
        live.push(slot);
        Some(requests.allocate(slot, random))
    };
    let setup = (0..MOST_LIVE / 2).filter_map(|_| allocate(&mut random, &mut live, &mut free)).collect();
    let kinds = if realloc { 3 } else { 2 };
    let mut timed = Vec::with_capacity(count);
    while timed.len() < count {
        match random.u32(0..kinds) {
            0 => timed.extend(allocate(&mut random, &mut live, &mut free)),
            1 if !live.is_empty() => {
                let slot = live.swap_remove(random.usize(..live.len()));
                free.push(slot);
                timed.push(Operation::Free { slot });
            }
            2 if !live.is_empty() => {
                let slot = live[random.usize(..live.len())];
                let size = requests.draw_size(&mut random);
                timed.push(Operation::Reallocate { slot, size });
            }
            _ => {}
        }
    }
    (setup, timed)
}
