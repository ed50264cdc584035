//! Some of the workloads again, in a process that has a second thread.
//!
//! A program with threads pays for atomics in every call, wherever an allocator or the C library
//! would leave them out as long as there is one thread only; it is enough that the other thread
//! exists.

use std::rc::Rc;

use super::Workload;

/// One for each way of using an allocator.
const ROWS: [&str; 5] = [
    "random skewed, with realloc",
    "replacement among 10,000 live",
    "burst of 24 B, LIFO",
    "burst of skewed, LIFO",
    "trace: request handling",
];

/// Those of the workloads that get such a row.
pub(super) fn workloads(all: &[Workload]) -> Vec<Workload> {
    let chosen = all.iter().filter(|workload| ROWS.contains(&workload.name.as_str()));
    chosen
        .map(|workload| Workload {
            name: format!("{}, with an idle thread", workload.name),
            family: "with an idle thread",
            has_idle_thread: true,
            generate: Rc::clone(&workload.generate),
        })
        .collect()
}
