//! The free blocks of a mixed bin, by size: a bitwise trie in which the best fit is found in a bounded
//! number of steps.
//!
//! All sizes of a bin differ in a few low bits only ([`Bin::width_log2`]). The root is any of its blocks;
//! below it, the highest of those bits decides to which side a block goes, below that the next one, and
//! so on, so that a path has at most as many steps as there are bits. Blocks of one size are one node: the
//! first is in the trie, the others follow it on a list.
//!
//! (The trees of Doug Lea's allocator: Lea, *A memory allocator*, 1996, and its source, 2.8.6.)

use crate::bins::Bin;
use crate::block::{Arena, Child};
use crate::size::{BlockSize, Index};

/// The bits of a size that decide the way below the root of a bin's trie, the next one on top.
#[derive(Clone, Copy)]
struct Path(u32);

impl Path {
    #[inline(always)]
    fn of(bin: Bin, size: BlockSize) -> Self {
        Self(size.granules() << (u32::BITS - bin.width_log2()))
    }

    /// The side to which the path goes now, and the rest of it.
    #[inline(always)]
    fn step(self) -> (Child, Self) {
        let child = if self.0 >> (u32::BITS - 1) == 0 { Child::Zero } else { Child::One };
        (child, Self(self.0 << 1))
    }
}

/// Makes a free block a trie of its own.
///
/// # Safety
///
/// - `index` is a free block of a mixed bin, and in no trie.
#[inline(always)]
pub(super) unsafe fn make_root(arena: Arena, index: Index) {
    // SAFETY: the caller's contract.
    unsafe { make_node(arena, index, Index::NONE) }
}

/// Puts a free block into the trie with that root.
///
/// # Safety
///
/// - `index` is a free block of `size`, which is of `bin`, and in no trie. The trie is that bin's.
pub(super) unsafe fn insert(arena: Arena, bin: Bin, root: Index, index: Index, size: BlockSize) {
    // SAFETY: the block is large enough for a node, and the nodes of the trie are free blocks (contract).
    unsafe {
        let mut node = root;
        let mut path = Path::of(bin, size);
        while arena.tag(node).size() != size {
            let (side, rest) = path.step();
            let child = arena.child(node, side);
            if child.is_none() {
                arena.set_child(node, side, index);
                make_node(arena, index, node);
                return;
            }
            (node, path) = (child, rest);
        }
        let next = arena.next(node);
        arena.set_next(index, next);
        arena.set_prev(index, node);
        arena.set_next(node, index);
        if !next.is_none() {
            arena.set_prev(next, index);
        }
    }
}

/// Makes a free block a node without children and without others of its size.
///
/// # Safety
///
/// - `index` is a free block of a mixed bin.
#[inline(always)]
unsafe fn make_node(arena: Arena, index: Index, parent: Index) {
    // SAFETY: the caller's contract.
    unsafe {
        arena.set_prev(index, Index::NONE);
        arena.set_next(index, Index::NONE);
        arena.set_child(index, Child::Zero, Index::NONE);
        arena.set_child(index, Child::One, Index::NONE);
        arena.set_parent(index, parent);
    }
}

/// Takes a free block out of the trie with that root; `Some` if the trie has another root, or none, now.
///
/// # Safety
///
/// - The block is in that trie.
pub(super) unsafe fn remove(arena: Arena, index: Index) -> Option<Index> {
    // SAFETY: the links of a block in a trie lead to blocks of the same trie (contract).
    unsafe {
        let next = arena.unlink(index)?;
        let heir = if next.is_none() { unhook_leaf_below(arena, index) } else { next };
        let parent = arena.parent(index);
        if !heir.is_none() {
            for side in [Child::Zero, Child::One] {
                let child = arena.child(index, side);
                arena.set_child(heir, side, child);
                if !child.is_none() {
                    arena.set_parent(child, heir);
                }
            }
            arena.set_parent(heir, parent);
        }
        if parent.is_none() {
            return Some(heir);
        }
        let is_zero = arena.child(parent, Child::Zero) == index;
        arena.set_child(parent, if is_zero { Child::Zero } else { Child::One }, heir);
        None
    }
}

/// Takes a leaf below a node off its parent, and returns it; [`Index::NONE`] if the node is a leaf itself.
///
/// # Safety
///
/// - `index` is a node of a trie.
unsafe fn unhook_leaf_below(arena: Arena, index: Index) -> Index {
    // SAFETY: a node's children are nodes.
    unsafe {
        let some_child = |node: Index| {
            let one = arena.child(node, Child::One);
            if one.is_none() { (Child::Zero, arena.child(node, Child::Zero)) } else { (Child::One, one) }
        };
        let (mut side, mut leaf) = some_child(index);
        if leaf.is_none() {
            return leaf;
        }
        let mut parent = index;
        loop {
            let (next_side, next) = some_child(leaf);
            if next.is_none() {
                arena.set_child(parent, side, Index::NONE);
                return leaf;
            }
            (parent, side, leaf) = (leaf, next_side, next);
        }
    }
}

/// The smallest block of the trie that has at least `size`, which is of the same bin.
///
/// # Safety
///
/// - The trie is that bin's.
pub(super) unsafe fn best_fit(
    arena: Arena,
    bin: Bin,
    root: Index,
    size: BlockSize,
) -> Option<(Index, BlockSize)> {
    let mut best: Option<(Index, BlockSize)> = None;
    // The last subtree passed by on the side of the larger sizes: its least is the least that is larger
    // than what shares the path.
    let mut larger = Index::NONE;
    let mut node = root;
    let mut path = Path::of(bin, size);
    // SAFETY: a node's children are nodes.
    unsafe {
        while !node.is_none() {
            let found = arena.tag(node).size();
            if found >= size && best.is_none_or(|(_, least)| found < least) {
                best = Some((node, found));
                if found == size {
                    return best;
                }
            }
            let (side, rest) = path.step();
            path = rest;
            let one = arena.child(node, Child::One);
            node = match side {
                Child::Zero => {
                    if !one.is_none() {
                        larger = one;
                    }
                    arena.child(node, Child::Zero)
                }
                Child::One => one,
            };
        }
        match smallest(arena, larger) {
            Some((node, found)) if best.is_none_or(|(_, least)| found < least) => Some((node, found)),
            _ => best,
        }
    }
}

/// The smallest block below a node, which may be none.
///
/// # Safety
///
/// - It is a node of a trie, or [`Index::NONE`].
pub(super) unsafe fn smallest(arena: Arena, node: Index) -> Option<(Index, BlockSize)> {
    let mut best: Option<(Index, BlockSize)> = None;
    let mut node = node;
    while !node.is_none() {
        // SAFETY: a node's children are nodes.
        unsafe {
            let found = arena.tag(node).size();
            if best.is_none_or(|(_, least)| found < least) {
                best = Some((node, found));
            }
            let zero = arena.child(node, Child::Zero);
            node = if zero.is_none() { arena.child(node, Child::One) } else { zero };
        }
    }
    best
}
