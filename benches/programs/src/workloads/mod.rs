//! The workloads: small programs of the kind that people write, each with the same result in every run.

mod btreemap;
mod channels;
mod hashmap;
mod json;
mod regex;
mod strings;
mod syntax_tree;
mod vectors;

use crate::Checksum;

/// Something to do for a program.
#[derive(Clone, Copy, Debug)]
pub struct Workload {
    /// The name in tables and on the command line.
    pub name: &'static str,
    /// What it does.
    pub what: &'static str,
    perform: fn(&mut Checksum),
}

/// What a program costs that does nothing.
pub const NOTHING: Workload = Workload { name: "nothing", what: "starts and ends", perform: |_| {} };

/// Every workload that does something, in the order of the tables.
pub const ALL: [Workload; 8] = [
    Workload {
        name: "btreemap",
        what: "a sorted table of strings: insertions, removals, ranges",
        perform: btreemap::perform,
    },
    Workload {
        name: "hashmap",
        what: "a search index over documents, words counted, queries answered",
        perform: hashmap::perform,
    },
    Workload {
        name: "json",
        what: "documents parsed, changed, and printed, by serde_json",
        perform: json::perform,
    },
    Workload { name: "regex", what: "patterns compiled and matched against a log", perform: regex::perform },
    Workload {
        name: "strings",
        what: "text split, formatted, sorted, and joined",
        perform: strings::perform,
    },
    Workload {
        name: "syntax-tree",
        what: "Rust source parsed by syn, names collected",
        perform: syntax_tree::perform,
    },
    Workload {
        name: "channels",
        what: "four threads that answer each other's messages",
        perform: channels::perform,
    },
    Workload {
        name: "vectors",
        what: "vectors of vectors: growing, sorting, thinning out",
        perform: vectors::perform,
    },
];

/// The workload of that name.
#[must_use]
pub fn by_name(name: &str) -> Option<Workload> {
    ALL.into_iter().chain([NOTHING]).find(|workload| workload.name == name)
}

impl Workload {
    /// Performs the workload and returns the checksum of its results.
    #[must_use]
    pub fn checksum(&self) -> u64 {
        let mut checksum = Checksum::default();
        (self.perform)(&mut checksum);
        checksum.value()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_workload_has_the_same_result_twice() {
        for workload in ALL {
            assert_eq!(workload.checksum(), workload.checksum(), "{}", workload.name);
        }
    }

    #[test]
    fn every_workload_has_a_result() {
        for workload in ALL {
            assert_ne!(workload.checksum(), NOTHING.checksum(), "{}", workload.name);
        }
    }

    #[test]
    fn names_are_unique() {
        for (index, workload) in ALL.iter().enumerate() {
            assert!(ALL[..index].iter().chain([&NOTHING]).all(|other| other.name != workload.name));
        }
    }
}
