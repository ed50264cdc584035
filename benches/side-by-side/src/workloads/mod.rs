//! The sequences that are measured. All are generated from fixed seeds: two runs see the same
//! operations.

mod bursts;
mod holes;
mod idle;
mod random;
mod replacement;
mod requests;
mod sizes;
mod traces;
mod vectors;

use std::path::Path;
use std::rc::Rc;

use anyhow::{Context, Result};

pub use requests::Requests;
pub use sizes::Sizes;

use crate::operation::{Operation, Sequence};

/// A workload that can be generated on demand.
pub struct Workload {
    /// Name of its row.
    pub name: String,
    /// Which family it belongs to; the charts show one mean per family.
    pub family: &'static str,
    /// Whether the process has a second thread, which sleeps.
    pub has_idle_thread: bool,
    generate: Rc<dyn Fn() -> Result<Sequence>>,
}

impl Workload {
    fn new(
        name: impl Into<String>,
        family: &'static str,
        parts: impl Fn() -> (Vec<Operation>, Vec<Operation>) + 'static,
    ) -> Self {
        let name = name.into();
        let row = name.clone();
        Self {
            name,
            family,
            has_idle_thread: false,
            generate: Rc::new(move || {
                let (setup, timed) = parts();
                Sequence::new(row.clone(), setup, timed)
                    .with_context(|| format!("the workload {row} is inconsistent"))
            }),
        }
    }

    /// The workload of that name; `traces` is the folder of recorded ones.
    ///
    /// # Errors
    ///
    /// If there is none, or the folder cannot be read.
    pub fn named(name: &str, traces: &Path) -> Result<Self> {
        let found = all(traces)?.into_iter().find(|workload| workload.name == name);
        found.with_context(|| format!("no workload is called {name:?}"))
    }

    /// Generates the operations.
    ///
    /// # Errors
    ///
    /// If a trace cannot be read.
    pub fn generate(&self) -> Result<Sequence> {
        let mut sequence = (self.generate)()?;
        sequence.name.clone_from(&self.name);
        Ok(sequence)
    }
}

/// Every workload, in the order of the tables; `traces` is the folder of recorded ones.
///
/// # Errors
///
/// If the folder cannot be read.
pub fn all(traces: &Path) -> Result<Vec<Workload>> {
    let mut workloads = Vec::new();
    workloads.extend(random::workloads());
    workloads.extend(replacement::workloads());
    workloads.extend(bursts::workloads());
    workloads.extend(vectors::workloads());
    workloads.extend(holes::workloads());
    workloads.extend(traces::workloads(traces)?);
    workloads.extend(idle::workloads(&workloads));
    Ok(workloads)
}

pub use random::actions as random_actions;
pub use traces::{files as trace_files, read as read_trace, read_all as recorded_traces};

#[cfg(test)]
mod tests {
    use super::*;

    /// Everything but the rows that take seconds to generate.
    fn quick_ones() -> impl Iterator<Item = Workload> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("traces");
        all(&folder).unwrap().into_iter().filter(|workload| !workload.name.contains("1,000,000"))
    }

    #[test]
    fn every_workload_is_consistent_and_does_something() {
        for workload in quick_ones() {
            let sequence = workload.generate().unwrap();
            assert_eq!(sequence.name, workload.name);
            assert!(sequence.timed.len() >= 1000, "{}", workload.name);
        }
    }

    #[test]
    fn five_rows_have_an_idle_thread() {
        assert_eq!(quick_ones().filter(|workload| workload.has_idle_thread).count(), 5);
    }

    #[test]
    fn the_same_operations_come_out_every_time() {
        for workload in quick_ones() {
            let (first, second) = (workload.generate().unwrap(), workload.generate().unwrap());
            assert!(first.setup == second.setup && first.timed == second.timed, "{}", workload.name);
        }
    }
}
