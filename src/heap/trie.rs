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

/// Puts a free block into the trie with that root.
///
/// # Safety
///
/// - `index` is a free block of `size`, which is of `bin`, and in no trie. The trie is that bin's.
pub(super) unsafe fn insert(arena: Arena, bin: Bin, root: Index, index: Index, size: BlockSize) {
    // SAFETY: the block is large enough for a node, and the nodes of the trie are free blocks (contract).
    unsafe {
        match descend(arena, bin, root, size) {
            Way::To(node) => arena.link_second(node, index),
            Way::Ends(parent, side) => {
                arena.set_child(parent, side, index);
                make_node(arena, index, parent);
            }
        }
    }
}

/// Where a size is, or belongs, in a trie.
enum Way {
    /// The node of that size.
    To(Index),
    /// Below this node, on that side.
    Ends(Index, Child),
}

/// # Safety
///
/// - The trie is that bin's, the size is of that bin.
#[inline(never)]
unsafe fn descend(arena: Arena, bin: Bin, root: Index, size: BlockSize) -> Way {
    let mut node = root;
    let mut path = Path::of(bin, size);
    // SAFETY: a node's children are nodes.
    unsafe {
        while arena.tag(node).size() != size {
            let (side, rest) = path.step();
            let child = arena.child(node, side);
            if child.is_none() {
                return Way::Ends(node, side);
            }
            (node, path) = (child, rest);
        }
    }
    Way::To(node)
}

/// Makes a free block a node without children and without others of its size.
///
/// # Safety
///
/// - `index` is a free block of a mixed bin.
#[inline(always)]
pub(super) unsafe fn make_node(arena: Arena, index: Index, parent: Index) {
    // SAFETY: the caller's contract.
    unsafe {
        arena.link_first(Index::NONE, index);
        arena.set_child(index, Child::Zero, Index::NONE);
        arena.set_child(index, Child::One, Index::NONE);
        arena.set_parent(index, parent);
    }
}

/// Whether the root of a trie is all that is in it, which it is most often.
///
/// # Safety
///
/// - It is the root of a trie.
#[inline(always)]
pub(super) unsafe fn is_alone(arena: Arena, root: Index) -> bool {
    // SAFETY: a root is a node.
    unsafe {
        arena.next(root).is_none()
            & arena.child(root, Child::Zero).is_none()
            & arena.child(root, Child::One).is_none()
    }
}

/// Takes a free block out of the trie with that root. Returns the root that the trie has now, or
/// [`Index::NONE`].
///
/// # Safety
///
/// - The block is one of `size` in that trie, which is that bin's.
#[inline(never)]
pub(super) unsafe fn remove(arena: Arena, bin: Bin, root: Index, index: Index, size: BlockSize) -> Index {
    // SAFETY: the links of a block in a trie lead to blocks of the same trie (contract).
    unsafe {
        if arena.is_first(index) {
            let next = arena.unlink(index, index);
            let heir = if next.is_none() { unhook_leaf_below(arena, index) } else { next };
            return put_in_place(arena, root, index, heir);
        }
        // Which one is the first matters for the last one only.
        let mut first = Index::NONE;
        if arena.next(index).is_none() {
            if let Way::To(node) = descend(arena, bin, root, size) {
                first = node;
            }
        }
        arena.unlink(first, index);
        root
    }
}

/// The node that follows another one when a trie is gone through, parents first.
///
/// # Safety
///
/// - It is a node of the trie with that root.
#[inline(never)]
pub(super) unsafe fn next_node(arena: Arena, root: Index, mut node: Index) -> Option<Index> {
    // SAFETY: a node's children and its parent are nodes.
    unsafe {
        let below = [Child::Zero, Child::One].map(|side| arena.child(node, side));
        if let Some(&child) = below.iter().find(|child| !child.is_none()) {
            return Some(child);
        }
        while node != root {
            let parent = arena.parent(node);
            let one = arena.child(parent, Child::One);
            if node != one && !one.is_none() {
                return Some(one);
            }
            node = parent;
        }
    }
    None
}

/// Makes another block of the same size the node, so that it is found first. Returns the root that the trie
/// has now.
///
/// # Safety
///
/// - The block is one of `size` in that trie, which is that bin's, and no node.
pub(super) unsafe fn rotate(arena: Arena, bin: Bin, root: Index, index: Index, size: BlockSize) -> Index {
    // SAFETY: the links of a block in a trie lead to blocks of the same trie (contract).
    unsafe {
        let Way::To(node) = descend(arena, bin, root, size) else { return root };
        arena.rotate(node, index);
        put_in_place(arena, root, node, index)
    }
}

/// Puts a node in the place of another one, or nothing in that of a leaf. Returns the root that the trie has
/// now.
///
/// # Safety
///
/// - `index` is a node of the trie, and `heir` is not, or not any more, or it is [`Index::NONE`] and the node
///   is a leaf.
unsafe fn put_in_place(arena: Arena, root: Index, index: Index, heir: Index) -> Index {
    // SAFETY: a node's children and its parent are nodes (contract).
    unsafe {
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
            return heir;
        }
        let is_zero = arena.child(parent, Child::Zero) == index;
        arena.set_child(parent, if is_zero { Child::Zero } else { Child::One }, heir);
        root
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
#[inline(never)]
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
unsafe fn smallest(arena: Arena, node: Index) -> Option<(Index, BlockSize)> {
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
