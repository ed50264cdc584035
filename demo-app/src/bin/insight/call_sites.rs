//! The tree of call sites, and the modules in which their code lies.

use crate::analysis::Module;
use crate::trace_file::Entry;
use rustc_hash::FxHashMap;

/// All call sites of a trace, as far as it was read.
#[derive(Clone, Debug, Default)]
pub(crate) struct CallSites {
    /// The caller and the return address of each, by its number.
    sites: FxHashMap<u64, (u64, u64)>,
    modules: Vec<Module>,
}

impl CallSites {
    /// Notes what an entry tells of call sites and modules.
    pub(crate) fn note(&mut self, entry: &Entry) {
        match entry {
            Entry::Site { number, caller, address } => {
                self.sites.insert(*number, (*caller, *address));
            }
            Entry::Module { bias, start, end, path } => {
                self.modules.push(Module { bias: *bias, start: *start, end: *end, path: path.clone() });
            }
            Entry::Event { .. } | Entry::Program(_) | Entry::End(_) | Entry::ThreadEnd(_) => {}
        }
    }

    /// The modules.
    pub(crate) fn modules(&self) -> &[Module] {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_site_is_a_path_in_a_tree() {
        let mut sites = CallSites::default();
        for (number, caller, address) in [(1, 0, 0x5010), (2, 1, 0x5020), (3, 2, 0x9000), (8, 8, 0x1)] {
            sites.note(&Entry::Site { number, caller, address });
        }
        assert_eq!(sites.addresses(3).collect::<Vec<_>>(), [0x9000, 0x5020, 0x5010]);
        assert_eq!(sites.addresses(0).count(), 0);
        assert_eq!(sites.addresses(8).count(), MOST_FRAMES);
    }
}
