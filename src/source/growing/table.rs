//! The blocks that have pages of their own, found by address.

use crate::mapping;
use core::ptr::null_mut;

/// A hash table of spans by where they begin, with open addressing, in pages of its own. All zero bytes when empty.
///
/// (Linear probing, and deletion without tombstones by moving later entries up: Knuth, *The Art of Computer
/// Programming*, volume 3, algorithm R of section 6.4.)
pub(super) struct Table {
    entries: *mut Entry,
    /// Their number is a power of two, or zero.
    len: usize,
    /// How many are taken, and how many more have to find room whatever happens.
    taken: usize,
    held: usize,
}

/// A block and the bytes of its pages. There is none where both are zero.
#[derive(Clone, Copy)]
struct Entry {
    start: *mut u8,
    bytes: usize,
}

impl Table {
    pub(super) const fn new() -> Self {
        Self { entries: null_mut(), len: 0, taken: 0, held: 0 }
    }

    /// Bytes of the table's own pages.
    pub(super) fn own_bytes(&self) -> usize {
        self.len * size_of::<Entry>()
    }

    /// How many blocks there are.
    pub(super) fn count(&self) -> usize {
        self.taken
    }

    /// For how many more room is held.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// Bytes that the table would have to have more for one block more.
    pub(super) fn wanted_bytes(&self) -> usize {
        let is_enough = (self.taken + self.held + 1) * 2 <= self.len;
        if is_enough { 0 } else { self.own_bytes().max(mapping::page()) }
    }

    /// Makes room for one block more. False, and nothing is done, if there is no memory for that.
    pub(super) fn make_room(&mut self) -> bool {
        let more = self.wanted_bytes();
        if more == 0 {
            return true;
        }
        let bytes = self.own_bytes() + more;
        let Some(pages) = mapping::map(bytes, mapping::page()) else { return false };
        let len = bytes / size_of::<Entry>();
        let larger = Self { entries: pages.as_ptr().cast(), len, taken: 0, held: self.held };
        let mut old = core::mem::replace(self, larger);
        for number in 0..old.len {
            let Entry { start, bytes } = old.get(number);
            if bytes > 0 {
                self.insert(start, bytes);
            }
        }
        old.unmap();
        true
    }

    /// Gives the table's own pages back.
    pub(super) fn unmap(&mut self) {
        if self.len > 0 {
            // SAFETY: the pages were mapped for this table alone.
            unsafe { mapping::unmap(self.entries.cast(), self.own_bytes()) };
            *self = Self::new();
        }
    }

    /// Notes a block. There [is room](Self::make_room).
    pub(super) fn insert(&mut self, start: *mut u8, bytes: usize) {
        invariant!(bytes > 0 && self.taken < self.len);
        let mut number = self.home(start.addr());
        while self.get(number).bytes > 0 {
            number = self.behind(number);
        }
        self.set(number, Entry { start, bytes });
        self.taken += 1;
    }

    /// The block at an address, as it was noted, and the bytes of its pages.
    pub(super) fn find(&self, address: usize) -> Option<(*mut u8, usize)> {
        let Entry { start, bytes } = self.get(self.number_of(address)?);
        Some((start, bytes))
    }

    /// Forgets the block at an address, and returns the bytes of its pages. Room for one is held if `hold` says so,
    /// until [`insert_held`](Self::insert_held).
    pub(super) fn remove(&mut self, address: usize, hold: bool) -> Option<(*mut u8, usize)> {
        let mut hole = self.number_of(address)?;
        let Entry { start, bytes } = self.get(hole);
        let mut number = hole;
        loop {
            number = self.behind(number);
            let entry = self.get(number);
            if entry.bytes == 0 {
                break;
            }
            // It may move up to the hole if that is not in front of where it would best lie.
            let distance = |from: usize| number.wrapping_sub(from) & (self.len - 1);
            if distance(self.home(entry.start.addr())) >= distance(hole) {
                self.set(hole, entry);
                hole = number;
            }
        }
        self.set(hole, Entry { start: null_mut(), bytes: 0 });
        self.taken -= 1;
        self.held += usize::from(hold);
        Some((start, bytes))
    }

    /// Notes a block for which room was held.
    pub(super) fn insert_held(&mut self, start: *mut u8, bytes: usize) {
        self.held -= 1;
        self.insert(start, bytes);
    }

    /// All blocks and the bytes of their pages.
    pub(super) fn iter(&self) -> impl Iterator<Item = (*mut u8, usize)> + '_ {
        let entries = (0..self.len).map(|number| self.get(number));
        entries.filter(|entry| entry.bytes > 0).map(|Entry { start, bytes }| (start, bytes))
    }

    /// The number of the entry of a block.
    fn number_of(&self, address: usize) -> Option<usize> {
        if self.len == 0 {
            return None;
        }
        let mut number = self.home(address);
        loop {
            let entry = self.get(number);
            if entry.bytes == 0 {
                return None;
            }
            if entry.start.addr() == address {
                return Some(number);
            }
            number = self.behind(number);
        }
    }

    /// Where a block at an address would best lie.
    fn home(&self, address: usize) -> usize {
        // Fibonacci hashing (Knuth, section 6.4) of what is above the smallest page.
        const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
        let hash = ((address >> 12) as u64).wrapping_mul(GOLDEN) >> 32;
        hash as usize & (self.len - 1)
    }

    fn behind(&self, number: usize) -> usize {
        (number + 1) & (self.len - 1)
    }

    fn get(&self, number: usize) -> Entry {
        invariant!(number < self.len);
        // SAFETY: the table has that many entries, all zero in the beginning, which is an empty one.
        unsafe { self.entries.wrapping_add(number).read() }
    }

    fn set(&mut self, number: usize, entry: Entry) {
        invariant!(number < self.len);
        // SAFETY: the table has that many entries.
        unsafe { self.entries.wrapping_add(number).write(entry) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn it_finds_what_was_noted_and_not_forgotten() {
        let mut table = Table::new();
        let mut shadow = BTreeMap::new();
        let mut random = 1u64;
        for _ in 0..20_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            // Few enough addresses that they come again, and close enough that they collide.
            let address = ((random >> 40) as usize % 900 + 1) << 12;
            let start = core::ptr::without_provenance_mut(address);
            let known = shadow.get(&address).copied();
            assert_eq!(table.find(address), known.map(|bytes| (start, bytes)));
            if known.is_some() {
                assert_eq!(table.remove(address, false), Some((start, shadow.remove(&address).unwrap())));
            } else {
                assert!(table.make_room());
                table.insert(start, address / 2);
                shadow.insert(address, address / 2);
            }
            assert_eq!(table.count(), shadow.len());
        }
        assert!(
            table.iter().map(|(start, bytes)| (start.addr(), bytes)).collect::<BTreeMap<_, _>>() == shadow
        );
        table.unmap();
    }

    #[test]
    fn room_that_is_held_is_not_given_to_others() {
        let mut table = Table::new();
        let block = |number: usize| core::ptr::without_provenance_mut(number << 12);
        assert!(table.make_room());
        table.insert(block(1), 4096);
        table.remove(1 << 12, true).unwrap();
        let first = table.len;
        for number in 2..first / 2 + 1 {
            assert!(table.make_room());
            table.insert(block(number), 4096);
        }
        assert_eq!((table.len, table.count()), (first, first / 2 - 1));
        assert!(table.wanted_bytes() > 0);
        table.insert_held(block(1), 4096);
        assert_eq!(table.find(1 << 12), Some((block(1), 4096)));
        table.unmap();
    }
}
