//! Call sites become stacks of functions, as people know them: inlined ones included, without what lies below `main`
//! and without the allocator itself.

use super::walk::Site;
use crate::symbols::Symbols;
use rustc_hash::FxHashMap;

/// What std calls a program's `main` and a thread's closure by; its own backtraces begin there, too.
const OUTERMOST: &str = "__rust_begin_short_backtrace";

/// What the names of functions begin with that hand a request to the allocator. What they call is the allocator, or
/// whoever records what it does.
const PLUMBING: [&str; 8] = [
    "__rust_alloc",
    "__rust_realloc",
    "__rustc::__rust_",
    "__rg_",
    "__rdl_",
    "alloc::alloc::",
    "<alloc::alloc::Global",
    "mem_alloc_rust::recorder::",
];

/// What the names of an allocator's own methods have in them.
const ALLOCATOR: &str = "GlobalAlloc>::";

/// The same for viewers of profiles, as a regular expression: they leave out functions with such names, and what they call.
pub(crate) const PLUMBING_PATTERN: &str = r"(__rustc::)?__r(ust|g|dl)_(alloc|realloc|alloc_zeroed).*|alloc::alloc::.*|.*GlobalAlloc>::.*|mem_alloc_rust::recorder::.*";

/// Whether a function is the one in which std calls the program: what lies beyond is left out, and so is itself.
pub(crate) fn is_outermost(function: &str) -> bool {
    function.contains(OUTERMOST)
}

/// Whether a function is the allocator's, or hands requests to it: what it calls is left out, and so is itself.
pub(crate) fn is_of_allocator(function: &str) -> bool {
    PLUMBING.iter().any(|plumbing| function.starts_with(plumbing)) || function.contains(ALLOCATOR)
}

/// The stacks of a trace, as a tree: who called whom.
pub(crate) struct Stacks {
    /// The root is first, and has no frame; others stand behind the one that called them.
    pub(crate) nodes: Vec<Node>,
    /// The innermost node of each call site, by number.
    pub(crate) of_site: Vec<u32>,
}

/// A frame of a stack, and all frames that called it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    /// The node that called it.
    pub(crate) caller: u32,
    /// Which frame of [`Symbols`] it is.
    pub(crate) frame: u32,
}

impl Stacks {
    /// The stacks of those call sites that are wanted, and of all that called them.
    pub(crate) fn new(sites: &[Site], symbols: &mut Symbols, is_wanted: impl Fn(usize) -> bool) -> Self {
        let mut builder = Builder {
            stacks: Self {
                nodes: vec![Node { caller: 0, frame: 0 }],
                of_site: vec![u32::MAX; sites.len().max(1)],
            },
            known: FxHashMap::default(),
            is_within: vec![false; sites.len().max(1)],
        };
        builder.stacks.of_site[0] = 0;
        let mut chain = Vec::new();
        for site in (0..sites.len()).filter(|&site| is_wanted(site)) {
            // Up to a call site that is done, and down again. One that is its own caller, which no program has, ends it
            // as well.
            let mut up = site;
            while builder.stacks.of_site[up] == u32::MAX {
                builder.stacks.of_site[up] = 0;
                chain.push(up);
                up = sites.get(sites[up].caller as usize).map_or(0, |_| sites[up].caller as usize);
            }
            let mut way = (builder.stacks.of_site[up], builder.is_within[up]);
            while let Some(site) = chain.pop() {
                way = builder.extend(way, symbols.frames_of(sites[site].address), symbols);
                (builder.stacks.of_site[site], builder.is_within[site]) = way;
            }
        }
        builder.stacks.of_site.iter_mut().filter(|node| **node == u32::MAX).for_each(|node| *node = 0);
        builder.stacks
    }
}

struct Builder {
    stacks: Stacks,
    /// Nodes by the one that called them and the frame.
    known: FxHashMap<(u32, u32), u32>,
    /// Of each call site, by number, whether it is in the allocator.
    is_within: Vec<bool>,
}

impl Builder {
    /// The node that is reached from another by frames, which are given from the innermost on; and whether it is in the
    /// allocator.
    fn extend(
        &mut self,
        (mut node, mut is_within): (u32, bool),
        frames: std::ops::Range<usize>,
        symbols: &Symbols,
    ) -> (u32, bool) {
        for frame in frames.rev().map(|index| symbols.frame_number(index)) {
            let function = symbols.function(frame);
            if is_outermost(function) {
                (node, is_within) = (0, false);
                continue;
            }
            is_within = is_within || is_of_allocator(function);
            if is_within {
                continue;
            }
            let nodes = &mut self.stacks.nodes;
            node = *self.known.entry((node, frame)).or_insert_with(|| {
                nodes.push(Node { caller: node, frame });
                nodes.len() as u32 - 1
            });
        }
        (node, is_within)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(stacks: &Stacks, symbols: &Symbols, site: usize) -> Vec<String> {
        let mut names = Vec::new();
        let mut node = stacks.of_site[site];
        while node != 0 {
            names.push(symbols.function(stacks.nodes[node as usize].frame).to_owned());
            node = stacks.nodes[node as usize].caller;
        }
        names
    }

    #[test]
    fn stacks_share_what_called_them_and_leave_out_what_nobody_asked_for() {
        let functions: &[(u64, &[&str])] = &[
            (0x10, &["main"]),
            (
                0x20,
                &[
                    "std::sys::backtrace::__rust_begin_short_backtrace::<fn(), ()>",
                    "core::ops::FnOnce::call_once",
                ],
            ),
            (0x30, &["app::parse"]),
            (0x40, &["alloc::alloc::alloc", "inlined::into", "app::node"]),
            (0x60, &["app::leaf"]),
            (0x50, &["LocalKey::with", "<app::Watch as core::alloc::global::GlobalAlloc>::alloc"]),
        ];
        let mut symbols = Symbols::of_names(functions);
        let site = |caller, address| Site { caller, address };
        // 1 main, 2 short backtrace, 3 parse, 4 node, 5 the allocator; 6 is called by 8, which has a higher number.
        let sites = [
            site(0, 0),
            site(0, 0x10),
            site(1, 0x20),
            site(2, 0x30),
            site(3, 0x40),
            site(4, 0x50),
            site(8, 0x60),
            site(7, 0x30),
            site(3, 0x60),
        ];
        let stacks = Stacks::new(&sites, &mut symbols, |site| site == 5 || site == 6 || site == 7);
        assert_eq!(names(&stacks, &symbols, 5), ["inlined::into", "app::node", "app::parse"]);
        assert_eq!(stacks.of_site[5], stacks.of_site[4]);
        assert_eq!(names(&stacks, &symbols, 6), ["app::leaf", "app::leaf", "app::parse"]);
        // Its own caller.
        assert_eq!(names(&stacks, &symbols, 7), ["app::parse"]);
        assert!(
            stacks.nodes.iter().enumerate().skip(1).all(|(number, node)| (node.caller as usize) < number)
        );
    }
}
