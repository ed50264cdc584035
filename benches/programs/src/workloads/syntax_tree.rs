//! A program that reads Rust.

use std::collections::{BTreeMap, VecDeque};

use proc_macro2::Ident;
use syn::File;
use syn::visit::{self, Visit};

use crate::Checksum;

/// What is parsed: files of the benchmarks. A change to one of them changes the workload.
const SOURCES: [&str; 6] = [
    include_str!("../../../common/src/inputs.rs"),
    include_str!("../program.rs"),
    include_str!("hashmap.rs"),
    include_str!("json.rs"),
    include_str!("mod.rs"),
    include_str!("syntax_tree.rs"),
];

const PASSES: usize = 75;
/// So many trees are kept, as by a program that looks at several files.
const KEPT: usize = 40;

/// Counts names.
#[derive(Default)]
struct Names(BTreeMap<String, usize>);

impl<'ast> Visit<'ast> for Names {
    fn visit_ident(&mut self, name: &'ast Ident) {
        *self.0.entry(name.to_string()).or_default() += 1;
        visit::visit_ident(self, name);
    }
}

/// Parses files again and again, keeps the latest trees, and counts the names in each.
pub(super) fn perform(checksum: &mut Checksum) {
    let mut kept: VecDeque<File> = VecDeque::new();
    for source in SOURCES.into_iter().cycle().take(PASSES * SOURCES.len()) {
        let file = syn::parse_file(source).expect("this package compiles");
        let mut names = Names::default();
        names.visit_file(&file);
        checksum.add(names.0);
        kept.push_back(file);
        if kept.len() > KEPT {
            kept.pop_front();
        }
    }
}
