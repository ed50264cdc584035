//! The audit: walks every block and every list, and checks every invariant of the heap.

use super::Heap;
use super::slots::SlotClasses;
use crate::bins::Bin;
use crate::block::{Child, Tag};
#[cfg(all(feature = "std", unix))]
use crate::run::Owner;
use crate::run::{HEAP, Run};
use crate::size::{BlockSize, Index, SlotSize};
use core::fmt;

/// The first violation of an invariant that an audit found: the heap's bookkeeping was overwritten.
///
/// ```
/// use core::alloc::Layout;
/// use mem_alloc_rust::{AuditError, Heap};
///
/// let mut arena = [0u64; 512];
/// let mut heap = Heap::new();
/// // SAFETY: only the heap uses the arena, which is all zero. Four bytes too many are written into the first block,
/// // over the header of the second one: it is what the audit shall find.
/// let found = unsafe {
///     heap.init(arena.as_mut_ptr().cast(), size_of_val(&arena), true).unwrap();
///     let [block, _next] = [(); 2].map(|()| heap.alloc(Layout::new::<[u8; 100]>()).unwrap());
///     assert_eq!(heap.audit(), Ok(()));
///     block.write_bytes(b'A', 104);
///     heap.audit()
/// };
/// let AuditError { violation, .. } = found.unwrap_err();
/// assert_eq!(violation, "its size does not lead to another block or to the top");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuditError {
    /// The block at which it was found, as the distance of its payload from the arena's origin in bytes.
    pub offset: usize,
    /// What is wrong there.
    pub violation: &'static str,
}

impl fmt::Display for AuditError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "block at offset {}: {}", self.offset, self.violation)
    }
}

impl core::error::Error for AuditError {}

impl AuditError {
    /// What was found at a position.
    pub(crate) const fn at(index: Index, violation: &'static str) -> Self {
        Self { offset: index.byte_offset(), violation }
    }
}

/// What the walk over all blocks adds up.
struct Totals {
    /// Granules of blocks and slots in use.
    live: u32,
    free_blocks: u32,
    runs: u32,
    /// Runs of the heap's that have room, and runs of caches that have.
    with_room: u32,
    owned_with_room: u32,
    /// Blocks in use that could be slots, by their class.
    small_blocks: [u32; SlotSize::TABLE],
}

impl Heap {
    /// Checks the invariants of the heap's bookkeeping; takes time in proportion to the number of blocks and
    /// slots.
    ///
    /// # Errors
    ///
    /// The first violation that is found. It means that bytes outside of a live block were written: the heap
    /// can no longer be trusted.
    pub fn audit(&self) -> Result<(), AuditError> {
        self.audit_beside(|| Ok(0))
    }

    /// The same, while caches own runs: they tell how many of these have room, once each of them was found sound.
    ///
    /// # Errors
    ///
    /// As for [`audit`](Self::audit), and what they tell.
    pub(crate) fn audit_beside(
        &self,
        owned_with_room: impl FnOnce() -> Result<u32, AuditError>,
    ) -> Result<(), AuditError> {
        if !self.is_initialized() {
            return Ok(());
        }
        if self.top < Index::FIRST
            || self.top > self.end
            || self.used_up_to < self.top
            || self.used_up_to > self.committed
            || self.committed > self.end
        {
            return violation(self.top, "the top lies outside of the arena, or of what of it may be used");
        }
        let totals = self.audit_chain()?;
        if owned_with_room()? != totals.owned_with_room {
            return violation(
                self.top,
                "a run that has room is neither the heap's nor on a list of its owner",
            );
        }
        self.audit_bins(&totals)?;
        self.audit_classes(&totals)?;
        if totals.live != self.figures.live() || totals.live > self.figures.peak() {
            return violation(self.top, "the count of live bytes is not what the blocks add up to");
        }
        Ok(())
    }

    /// The run at a position that somebody else has noted, if there is one of that owner's.
    #[cfg(all(feature = "std", unix))]
    pub(crate) fn run_of(&self, owner: Owner, index: Index) -> Result<Run, AuditError> {
        let run = Run::at(self.arena, index);
        let is_run = self.can_be_listed(index)
            && self.pages.run_at(self.arena.address(index)) == Some((run, 0))
            && self.pages.owner_of(run) == owner;
        if is_run {
            Ok(run)
        } else {
            violation(index, "it is on a list of a cache's, and no run of that cache's")
        }
    }

    /// A violation that somebody else has found, at a block of this heap's.
    #[cfg(all(feature = "std", unix))]
    pub(crate) fn violation_at(&self, block: *mut u8, violation: &'static str) -> AuditError {
        AuditError { offset: self.arena.offset_of(block.addr()), violation }
    }

    /// CHAIN, COALESCED and FLAGS, and each run by itself.
    fn audit_chain(&self) -> Result<Totals, AuditError> {
        let mut totals = Totals {
            live: 0,
            free_blocks: 0,
            runs: 0,
            with_room: 0,
            owned_with_room: 0,
            small_blocks: [0; SlotSize::TABLE],
        };
        let mut index = Index::FIRST;
        let mut left: Option<Tag> = None;
        let mut has_victim = self.victim.is_none();
        while index < self.top {
            // SAFETY: CHAIN as checked up to here: a header starts at `index`, before the top.
            let tag = unsafe { self.arena.tag(index) };
            if tag.granules() < BlockSize::MIN.granules() || tag.granules() > self.top.granules_since(index) {
                return violation(index, "its size does not lead to another block or to the top");
            }
            let left_is_free = left.is_some_and(Tag::is_free);
            if tag.is_free() && left_is_free {
                return violation(index, "it is free, and so is the block to its left");
            }
            if tag.is_left_free() != left_is_free {
                return violation(index, "its flag about the block to its left is wrong");
            }
            // SAFETY: a block lies to the left.
            if left_is_free && Some(unsafe { self.arena.left_footer(index) }) != left.map(Tag::granules) {
                return violation(index, "the footer to its left does not repeat that block's size");
            }
            has_victim |= index == self.victim && tag.is_free();
            self.audit_block(index, tag, &mut totals)?;
            left = Some(tag);
            index = index + tag.size();
        }
        if left.is_some_and(Tag::is_free) {
            return violation(self.top, "the block in front of the top is free and not part of it");
        }
        if !has_victim {
            return violation(self.victim, "the victim is no free block");
        }
        Ok(totals)
    }

    /// One block of the chain: whether it is a run exactly if the map of pages says so, and a sound one.
    fn audit_block(&self, index: Index, tag: Tag, totals: &mut Totals) -> Result<(), AuditError> {
        let mapped = self.pages.run_at(self.arena.address(index));
        if !tag.is_run() || tag.is_free() {
            if mapped.is_some() {
                return violation(index, "it is not a run, and the map of pages says that it is");
            }
            if tag.is_free() {
                totals.free_blocks += u32::from(index != self.victim);
            } else {
                totals.live += tag.granules();
                if let Some(slot) = SlotClasses::of_block(tag.size()) {
                    totals.small_blocks[slot.number()] += 1;
                }
            }
            return Ok(());
        }
        if mapped.is_none() && self.is_map(index) {
            return Ok(());
        }
        let run = Run::at(self.arena, index);
        // A free block that was a granule longer than a page stays in one piece, and another granule may have been left
        // over where two heaps became one.
        let beyond_page = tag.granules().wrapping_sub(self.pages.block().granules());
        if mapped != Some((run, 0)) || beyond_page > 2 {
            return violation(index, "it is marked as a run, and the map of pages says that it is none");
        }
        // SAFETY: it is a block of the arena that is a page.
        unsafe {
            let owner = self.pages.owner_of(run);
            let free = run.audit(owner, self.pages.block()).or_else(|what| violation(index, what))?;
            totals.owned_with_room += u32::from(owner != HEAP && free > 0);
            // A cache's slots all count as in use.
            let used = if owner == HEAP { run.used() } else { run.slots() };
            totals.live += used * run.slot_size().granules();
            totals.runs += 1;
            totals.with_room += u32::from(run.has_room());
        }
        Ok(())
    }

    /// LISTED: what the bins hold is as much as the walk found, and each block is in the right place.
    fn audit_bins(&self, totals: &Totals) -> Result<(), AuditError> {
        let mut listed = 0;
        for bin in self.free.bins() {
            let head = self.free.head(bin);
            if head.is_none() {
                return violation(Index::NONE, "the bitmap has a bin that is empty");
            }
            if bin.is_exact() {
                self.audit_list(bin, head, totals, &mut listed)?;
            } else {
                let node =
                    Node { index: head, parent: Index::NONE, bits_left: bin.width_log2(), prefix: None };
                self.audit_trie(bin, node, totals, &mut listed)?;
            }
        }
        if listed != totals.free_blocks {
            return violation(Index::NONE, "a free block is in no bin");
        }
        Ok(())
    }

    /// A list of free blocks of one bin, and of one size if that is an exact bin or a trie's node.
    fn audit_list(&self, bin: Bin, head: Index, totals: &Totals, listed: &mut u32) -> Result<(), AuditError> {
        let (mut prev, mut index, mut size) = (Index::NONE, head, None);
        let mut last = None;
        while !index.is_none() {
            if !self.can_be_listed(index) {
                return violation(prev, "its link leads out of the arena");
            }
            // SAFETY: between the first block and the top every word can be read, and both links lie there.
            let (tag, links) = unsafe { (self.arena.tag(index), self.arena.links(index)) };
            if !tag.is_free() || tag.granules() < BlockSize::MIN.granules() || Bin::of(tag.size()) != bin {
                return violation(index, "it is in a bin where it does not belong");
            }
            if *size.get_or_insert(tag.size()) != tag.size() {
                return violation(index, "it is on a list of blocks of another size");
            }
            // That of the first one leads to the last one.
            let is_right = if index == head { last.replace(links.1).is_none() } else { links.1 == prev };
            if !is_right {
                return violation(index, "its back link does not lead back");
            }
            *listed += 1;
            if *listed > totals.free_blocks {
                return violation(index, "the bins hold more blocks than are free");
            }
            prev = index;
            index = links.0;
        }
        if last != Some(prev) {
            return violation(head, "its back link does not lead to the end of its list");
        }
        Ok(())
    }

    /// A node of a bin's trie and all below it. It calls itself once for each bit of a size at most.
    fn audit_trie(&self, bin: Bin, node: Node, totals: &Totals, listed: &mut u32) -> Result<(), AuditError> {
        let Node { index, parent, bits_left, prefix } = node;
        if !self.can_be_listed(index) {
            return violation(parent, "its child lies outside of the arena");
        }
        self.audit_list(bin, index, totals, listed)?;
        // SAFETY: it is a free block of a mixed bin, as `audit_list` has seen, and so has room for a node.
        let (granules, found) = unsafe { (self.arena.tag(index).granules(), self.arena.parent(index)) };
        if found != parent {
            return violation(index, "its parent in the trie is another block");
        }
        if prefix.is_some_and(|prefix| granules >> bits_left != prefix) {
            return violation(index, "its size does not lead to its place in the trie");
        }
        for (side, bit) in [(Child::Zero, 0), (Child::One, 1)] {
            // SAFETY: as above.
            let child = unsafe { self.arena.child(index, side) };
            if child.is_none() {
                continue;
            }
            let Some(bits_left) = bits_left.checked_sub(1) else {
                return violation(index, "its children lie deeper than sizes have bits");
            };
            // Above the bits that decide, all sizes of the bin are the same.
            let prefix = (prefix.unwrap_or(granules >> (bits_left + 1)) << 1) | bit;
            let child = Node { index: child, parent: index, bits_left, prefix: Some(prefix) };
            self.audit_trie(bin, child, totals, listed)?;
        }
        Ok(())
    }

    /// RUNS: the lists of the classes hold exactly the runs that have room, and the counts are right.
    fn audit_classes(&self, totals: &Totals) -> Result<(), AuditError> {
        let (mut runs, mut listed) = (0, 0);
        for slot in SlotSize::all() {
            runs += self.classes.runs(slot);
            let head = self.classes.head(slot);
            if self.classes.is_with_room(slot) == head.is_none() {
                return violation(head, "the map of classes with room is wrong");
            }
            let (mut prev, mut index) = (Index::NONE, head);
            while !index.is_none() {
                // SAFETY: what the map says is a run was found sound.
                unsafe {
                    let run = Run::at(self.arena, index);
                    let is_right = self.pages.run_at(self.arena.address(index)) == Some((run, 0))
                        && run.slot_size() == slot
                        && run.has_room()
                        && run.links().1 == prev;
                    listed += 1;
                    if !is_right || listed > totals.with_room {
                        return violation(index, "it is on a list of runs where it does not belong");
                    }
                    (prev, index) = (index, run.links().0);
                }
            }
        }
        if listed != totals.with_room {
            return violation(Index::NONE, "a run that has room is on no list");
        }
        if runs != totals.runs || runs != self.pages.runs_before(self.top) {
            return violation(Index::NONE, "the count of runs is not what the blocks add up to");
        }
        if self.classes.block_counts() != &totals.small_blocks {
            return violation(Index::NONE, "the counts of small blocks are not what the blocks add up to");
        }
        Ok(())
    }

    /// Whether the links of a block at `index` would lie between the first block and the top.
    fn can_be_listed(&self, index: Index) -> bool {
        let end = u64::from(index.get()) + u64::from(BlockSize::MIN.granules());
        index >= Index::FIRST && end <= u64::from(self.top.get())
    }
}

/// A node of a trie, and where it has to be.
struct Node {
    index: Index,
    parent: Index,
    /// How many low bits of the size were not decided on the way here.
    bits_left: u32,
    /// What the bits above have to be; any for the root.
    prefix: Option<u32>,
}

fn violation<T>(index: Index, violation: &'static str) -> Result<T, AuditError> {
    Err(AuditError::at(index, violation))
}
