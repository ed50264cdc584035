//! Rounds over all workloads and allocators.

use std::path::Path;

use anyhow::Result;
use bench_common::comparison::{self, in_turn};
use indicatif::ProgressBar;
use programs::workloads::Workload;

use crate::allocators::Allocator;
use crate::child;

/// What is taken of a program beside the processor time of a later run: that of the first run, and
/// that of the process from its start to its end.
pub(crate) const FURTHER: [&str; 2] = ["first_run", "process"];

/// What one run of a program cost.
pub(crate) type Sample = comparison::Sample<{ FURTHER.len() }>;

/// What came out for one allocator on one workload.
pub(crate) type Outcome = comparison::Outcome<{ FURTHER.len() }>;

/// A row of the tables: one workload, one outcome per allocator.
pub(crate) type Row = comparison::Row<{ FURTHER.len() }>;

/// How much longer a later run takes than the first, if the program completed.
pub(crate) fn growth(outcome: &Outcome) -> Option<f64> {
    match outcome {
        Outcome::Completed { cpu, further: [first, _], .. } => Some(cpu.median / first),
        Outcome::Failed(_) => None,
    }
}

/// Median of the processor time of the whole process in milliseconds, if the program completed.
pub(crate) fn process(outcome: &Outcome) -> Option<f64> {
    match outcome {
        Outcome::Completed { further: [_, process], .. } => Some(*process),
        Outcome::Failed(_) => None,
    }
}

/// Runs every workload with every allocator's program in `folder`, round after round.
///
/// # Errors
///
/// If a program cannot be started.
pub(crate) fn run(
    folder: &Path,
    workloads: &[Workload],
    allocators: &[Allocator],
    rounds: usize,
    bar: &ProgressBar,
) -> Result<Vec<Row>> {
    bar.set_length((rounds * workloads.len() * allocators.len()) as u64);
    // This process has Rust's default allocator, so it knows what the results should be.
    let expected: Vec<u64> = workloads.iter().map(Workload::checksum).collect();
    let names: Vec<&str> = workloads.iter().map(|workload| workload.name).collect();
    in_turn(&names, allocators.len(), rounds, |row, column| {
        let (workload, allocator) = (&workloads[row], &allocators[column]);
        bar.set_message(format!("{}, {}", workload.name, allocator.name));
        let run = child::run(&folder.join(allocator.name), workload)?;
        bar.inc(1);
        Ok(run.and_then(|run| {
            if run.checksum == expected[row] { Ok(run.sample) } else { Err("wrong results".to_owned()) }
        }))
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::time::Duration;

    use programs::workloads;

    use super::*;

    #[test]
    fn the_first_run_and_the_whole_process_are_told_apart() {
        let milliseconds = Duration::from_millis;
        let sample = Sample { cpu: milliseconds(2), further: [4, 20].map(milliseconds), peak_kib: 1024 };
        let outcome = Outcome::of(Ok(vec![sample]));
        assert_eq!((growth(&outcome), process(&outcome)), (Some(0.5), Some(20.0)));
    }

    #[test]
    fn wrong_results_and_failures_are_told_apart_from_right_results() {
        let folder = std::env::temp_dir().join(format!("programs-test-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let right = format!("echo {:016x} 2048 3 2 1", workloads::NOTHING.checksum());
        let scripts = [("right", right.as_str()), ("wrong", "echo 0 2048 3 2 1"), ("broken", "exit 3")];
        let allocators = scripts.map(|(name, script)| {
            let file = folder.join(name);
            fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
            Allocator { name, how: "" }
        });
        let rows = run(&folder, &[workloads::NOTHING], &allocators, 2, &ProgressBar::hidden()).unwrap();
        fs::remove_dir_all(&folder).unwrap();
        let outcomes = &rows[0].outcomes;
        assert_eq!(outcomes[0].peak(), Some(2.0));
        assert_eq!(outcomes[1], Outcome::Failed("wrong results".to_owned()));
        assert_eq!(outcomes[2], Outcome::Failed("exit status: 3".to_owned()));
    }
}
