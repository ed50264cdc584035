//! The workloads: ordinary std code, each with an answer that a second way confirms.

mod boxes;
mod btreemap;
mod build;
mod exhaust;
mod hashmap;
mod rc;
mod sort;
mod string;
mod threads;
mod vec;
mod words;

use crate::stage::Stage;
use crate::trouble::Trouble;
use std::path::Path;

/// A piece of ordinary code to run in the arena.
pub(crate) struct Workload {
    /// What it is called on the command line.
    pub(crate) name: &'static str,
    /// What it does, in a few words.
    pub(crate) about: &'static str,
    /// The code.
    pub(crate) run: Run,
}

/// The code of a workload.
pub(crate) enum Run {
    /// It needs nothing.
    Plain(fn(&mut Stage<'_>) -> Result<(), Trouble<'static>>),
    /// It reads a text: the file, or the bundled one.
    OverText(for<'f> fn(&mut Stage<'_>, Option<&'f Path>) -> Result<(), Trouble<'f>>),
}

/// All workloads, in the order in which they are shown.
pub(crate) const ALL: &[Workload] = &[
    plain("vec", "a Vec that grows by one element at a time", vec::run),
    plain("string", "ten thousand Strings", string::run),
    plain("box", "a search tree of Boxes", boxes::run),
    plain("hashmap", "a HashMap that remembers intermediate results", hashmap::run),
    plain("btreemap", "a BTreeMap that is filled, thinned out and searched", btreemap::run),
    plain("rc", "a family tree of Rc, with Weak pointers upwards", rc::run),
    plain("sort", "sorting by merging and with a binary heap", sort::run),
    plain("build", "one long String, built piece by piece", build::run),
    plain("threads", "threads that send what they found through a channel", threads::run),
    Workload { name: "words", about: "how often each word occurs in a text", run: Run::OverText(words::run) },
    plain("exhaust", "allocations that the arena refuses, and life after them", exhaust::run),
];

const fn plain(
    name: &'static str,
    about: &'static str,
    run: fn(&mut Stage<'_>) -> Result<(), Trouble<'static>>,
) -> Workload {
    Workload { name, about, run: Run::Plain(run) }
}

/// `count` numbers without visible order, the same ones in every run.
fn scrambled(count: usize) -> impl Iterator<Item = u32> {
    std::iter::successors(Some(2_463_534_242_u32), |&last| {
        let mut next = last ^ (last << 13);
        next ^= next >> 17;
        Some(next ^ (next << 5))
    })
    .take(count)
}

/// A number that changes when the elements or their order do.
fn fingerprint(numbers: &[u32]) -> u64 {
    (1..)
        .zip(numbers)
        .fold(0, |sum: u64, (place, &number)| sum.wrapping_add(u64::from(number).wrapping_mul(place)))
}
