//! The tree of call sites, and the modules in which their code lies.

use crate::trace_file::Entry;
use rustc_hash::FxHashMap;
use std::path::{Path, PathBuf};

/// What gives a return address a name that a person can read.
pub(crate) trait Name {
    /// The name of the code that a function returns to.
    fn name(&mut self, return_address: u64) -> String;
}

/// All call sites of a trace, as far as it was read.
#[derive(Clone, Debug, Default)]
pub(crate) struct CallSites {
    /// The caller and the return address of each, by its number.
    sites: FxHashMap<u64, (u64, u64)>,
    modules: Modules,
}

impl CallSites {
    /// Notes what an entry tells of call sites and modules.
    pub(crate) fn note(&mut self, entry: &Entry) {
        match entry {
            Entry::Site { number, caller, address } => {
                self.sites.insert(*number, (*caller, *address));
            }
            Entry::Module { bias, start, end, path } => self.modules.add(*bias, *start, *end, path),
            Entry::Event { .. } | Entry::Program(_) | Entry::End(_) => {}
        }
    }

    /// The modules.
    pub(crate) fn modules(&self) -> &Modules {
        &self.modules
    }

    /// The return addresses from a call site outwards. None for the number 0, which is that of no call site.
    pub(crate) fn addresses(&self, site: u64) -> impl Iterator<Item = u64> + '_ {
        let mut next = site;
        // A damaged trace may have a circle.
        std::iter::from_fn(move || {
            let &(caller, address) = self.sites.get(&next)?;
            next = caller;
            Some(address)
        })
        .take(MOST_FRAMES)
    }
}

/// A stack is no deeper than this.
const MOST_FRAMES: usize = 1 << 10;

/// The files whose code is part of the process.
#[derive(Clone, Debug, Default)]
pub(crate) struct Modules {
    modules: Vec<Module>,
}

/// A file whose code is part of the process.
#[derive(Clone, Debug)]
struct Module {
    bias: u64,
    start: u64,
    end: u64,
    path: PathBuf,
}

impl Modules {
    fn add(&mut self, bias: u64, start: u64, end: u64, path: &Path) {
        self.modules.push(Module { bias, start, end, path: path.to_owned() });
    }

    /// The module of an address, and the address in its file.
    pub(crate) fn find(&self, address: u64) -> Option<(&Path, u64)> {
        // A later one may lie where an earlier one was.
        let module =
            self.modules.iter().rev().find(|module| (module.start..module.end).contains(&address))?;
        Some((&module.path, address.wrapping_sub(module.bias)))
    }
}

/// The file's name and the distance in it: what is known without the program's symbols, and the same in each run.
impl Name for Modules {
    fn name(&mut self, return_address: u64) -> String {
        match self.find(return_address) {
            Some((path, offset)) => {
                let file = path.file_name().unwrap_or(path.as_os_str());
                format!("{}+{offset:#x}", file.to_string_lossy())
            }
            None => format!("{return_address:#x}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_site_is_a_path_in_a_tree() {
        let mut sites = CallSites::default();
        for (number, caller, address) in [(1, 0, 0x5010), (2, 1, 0x5020), (3, 2, 0x9000), (8, 8, 0x1)] {
            sites.note(&Entry::Site { number, caller, address });
        }
        sites.note(&Entry::Module {
            bias: 0x5000,
            start: 0x5000,
            end: 0x6000,
            path: "/usr/bin/program".into(),
        });
        assert_eq!(sites.addresses(3).collect::<Vec<_>>(), [0x9000, 0x5020, 0x5010]);
        assert_eq!(sites.addresses(0).count(), 0);
        assert_eq!(sites.addresses(8).count(), MOST_FRAMES);
        let mut names = sites.modules().clone();
        assert_eq!(names.name(0x5020), "program+0x20");
        assert_eq!(names.name(0x9000), "0x9000");
        assert_eq!(names.name(0x6000), "0x6000");
    }
}
