//! How long a cache's lists may be, and what goes back.
//!
//! All classes share one budget by use: each time a class comes to the lock or the depot its lists may become twice
//! as long, as long as something is left of the budget. Now and then the cache is *looked over*: classes that
//! were not used since the last time give back what they have. So what was not needed goes back, and who needs
//! it gets room. Now and then one of the others, each in its turn, gives back what it has to be *renewed*: blocks that
//! go round between a thread and its cache stay where an earlier phase has scattered them, and what comes from
//! the heap lies in a row.
//!
//! (The slow start and the looking over are like those of tcmalloc.)

use super::{FullList, LISTS, Lists, MOST_BLOCKS, Unneeded};
use crate::cache::class::{Class, MEDIUM_CLASSES};
use crate::cache::depot::Depot;
#[cfg(doc)]
use crate::cache::pressure::Pressure;
use crate::sync::unless_explored;
use core::ptr::{NonNull, null_mut};

/// No class is given more than this share of the budget: 1/8.
pub(in crate::cache) const LARGEST_SHARE_LOG2: u32 = 3;

/// Runs that slots are taken from may have so many times the budget of the lists: four times. They are half free in
/// the mean, and what is free in them is where the heap would have it, too.
const RUNS_SHARE_LOG2: u32 = 2;

/// After so many calls of its thread a cache is looked over, as far as they are known when it comes to the lock or to
/// the end of what is at hand. So what is looked for costs each call the same, however often a thread comes.
const CALLS: u32 = unless_explored(1024, 8) as u32;

/// With each so many looks one class is renewed. That costs the program more: it goes on with blocks that the processor
/// has not got in its cache.
const LOOKS_TO_RENEW: u8 = unless_explored(4, 1) as u8;

/// A cache falls asleep when it has served so much less than what makes it [of use](Pressure::served_per_visit), as
/// much as is expected of so many visits. One that has just woken must get to know its thread's sizes first. (What
/// counts is the sum: a thread that allocates more than its cache may have, and releases all of it, finds what there is
/// of use for a moment each time.)
const PATIENCE: u32 = unless_explored(1024, 16) as u32;

/// What a cache was found to be like when it was looked over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cache) struct Looked {
    /// The class that was renewed, or [`Class::NONE`].
    pub(in crate::cache) renewed: Class,
    /// Whether the cache spares its thread the way to the lock often enough.
    pub(in crate::cache) is_of_use: bool,
}

/// The bytes that a class is given for lists that are so many blocks longer: for both of a small one, for the blocks
/// that there are of a medium one.
#[inline(always)]
pub(super) fn bytes_of(class: Class, blocks: usize) -> isize {
    let lists = if class.is_small() { LISTS } else { 1 };
    (blocks * lists * class.bytes()) as isize
}

impl Lists {
    /// The owner has come to the lock for the sake of a class. If it is time, the cache is looked over, and what goes
    /// back is given to `give_back`; the cache may keep so many bytes from then on, and is of use if it serves so many
    /// calls for each visit. Returns what it was like then.
    pub(in crate::cache) fn visit(
        &mut self,
        class: Class,
        budget: usize,
        per_visit: u32,
        give_back: impl FnMut(Unneeded),
    ) -> Option<Looked> {
        *self.came.get_mut(class) = true;
        self.at_lock += 1;
        self.is_due().then(|| self.look_over(budget, per_visit, give_back))
    }

    /// Whether it is time to look the cache over, as far as is known.
    fn is_due(&self) -> bool {
        (self.visits + self.at_lock + self.begun).saturating_add_signed(self.served) + self.runs.served()
            >= CALLS
    }

    /// A class has come to the end of its slots at hand, or of its lists. False if it is to come to the lock: it is
    /// time to look the cache over.
    pub(in crate::cache) fn count_visit(&mut self, class: Class) -> bool {
        *self.came.get_mut(class) = true;
        self.visits += 1;
        !self.is_due()
    }

    /// A full list, of which each block came without a visit, is about to leave the cache.
    pub(in crate::cache) fn note_leaving(&mut self, list: FullList) {
        self.served = self.served.saturating_add(list.blocks() as i32);
    }

    /// A block was taken from a list that a visit has filled for its sake.
    pub(in crate::cache) fn note_filled(&mut self) {
        self.served -= 1;
    }

    /// How many allocations, and releases of what has gone to the depot, were served without a visit since the last
    /// time; and begins anew. Classes that were taken from are noted as used.
    fn take_served(&mut self) -> u32 {
        let mut taken = 0;
        for class in Class::all_small() {
            let of_class = self.room.get_mut(class).count_anew();
            // Lists that were enough did not make it come.
            *self.came.get_mut(class) |= of_class > 0;
            self.trim(class, of_class);
            taken += of_class;
        }
        let others = core::mem::take(&mut self.served);
        taken.saturating_add_signed(others).saturating_add(self.runs.take_served())
    }

    /// Whether the cache has more runs without a slot in use than it may.
    pub(in crate::cache) fn has_many_empty_runs(&self) -> bool {
        self.runs.bytes_of_empty() > self.budget << RUNS_SHARE_LOG2
    }

    /// Whether the cache may have another run.
    pub(in crate::cache) fn may_have_run(&self) -> bool {
        let bytes = self.runs.bytes_of_current() + self.runs.bytes_of_empty() + self.runs.usual_page();
        self.runs.may_be() && bytes <= self.budget << RUNS_SHARE_LOG2
    }

    /// Whether the current list of a medium class may have another block.
    #[inline(always)]
    pub(super) fn may_have_another(&self, class: Class) -> bool {
        self.is_enough_left(class) && self.is_short(class)
    }

    /// Whether a medium class may have a block, if others make room for it.
    #[inline(always)]
    pub(super) fn may_have_one(&self, class: Class) -> bool {
        class.bytes() <= self.budget / 2
    }

    /// Whether the budget leaves enough for another block of a medium class.
    #[inline(always)]
    fn is_enough_left(&self, class: Class) -> bool {
        self.left >= bytes_of(class, 1)
    }

    /// Whether the current list of a medium class is shorter than it may be.
    #[inline(always)]
    fn is_short(&self, class: Class) -> bool {
        let blocks = usize::from(self.batch.get(class));
        blocks == 0 && self.may_have_one(class)
            || blocks < MOST_BLOCKS && (blocks + 1) * class.bytes() <= self.budget >> LARGEST_SHARE_LOG2
    }

    /// The current list of a medium class gets another block.
    #[inline(always)]
    pub(super) fn note_given(&mut self, class: Class) {
        self.left -= bytes_of(class, 1);
        *self.batch.get_mut(class) += 1;
        self.may_have_medium = true;
    }

    /// The current list of a medium class has a block less.
    #[inline(always)]
    fn note_gone(&mut self, class: Class) {
        self.left += bytes_of(class, 1);
        *self.batch.get_mut(class) -= 1;
    }

    /// Takes a block of a medium class that nobody asked for.
    fn evict(&mut self, class: Class) -> Option<NonNull<u8>> {
        self.begin_spare(class);
        self.unlink(class).inspect(|_| self.note_gone(class))
    }

    /// Takes a block that nobody asked for.
    fn pop_unasked(&mut self, class: Class) -> Option<NonNull<u8>> {
        if class.is_small() { self.pop_either(class) } else { self.evict(class) }
    }

    /// A block was taken from the current list of a medium class.
    #[inline(always)]
    pub(super) fn note_taken(&mut self, class: Class) {
        self.note_gone(class);
        *self.came.get_mut(class) = true;
        self.served = self.served.saturating_add(1);
    }

    /// Whether the current list of a class has all the blocks that it may have, and there are some.
    pub(super) fn is_full(&self, class: Class) -> bool {
        self.batch.get(class) != 0
            && if class.is_small() { !self.has_room(class) } else { !self.is_short(class) }
    }

    /// By how many blocks the current list of a class is to become longer.
    fn wanted(&self, class: Class) -> usize {
        if !class.is_small() {
            return 1;
        }
        let batch = usize::from(self.batch.get(class));
        let most = (self.budget >> LARGEST_SHARE_LOG2).checked_div(LISTS * class.payload()).unwrap_or(0);
        let longer = (batch.max(1) * 2).min(most).min(MOST_BLOCKS);
        longer.saturating_sub(batch)
    }

    /// If the budget leaves too little for what a class wants, gives back medium blocks, one of each class in turn:
    /// until there is enough for a small class; for a medium one, which comes for the sake of one block, until half of
    /// the budget is left, or so many that it takes long enough. The way to the lock is one for all of them.
    pub(in crate::cache) fn make_room(&mut self, class: Class, mut give_back: impl FnMut(NonNull<u8>)) {
        let wanted = bytes_of(class, self.wanted(class));
        // A block more of those that there are is no reason to take others out.
        let may_be_kept = class.is_small() || self.batch.get(class) == 0 && self.may_have_one(class);
        if self.left >= wanted || !self.may_have_medium || !may_be_kept {
            return;
        }
        let enough = if class.is_small() { wanted } else { (self.budget / 2) as isize };
        let (mut given_back, mut without) = (0, 0);
        for class in Class::all_medium_behind(self.made_room) {
            self.may_have_medium = without <= MEDIUM_CLASSES;
            if self.left >= enough || given_back == MOST_BLOCKS || !self.may_have_medium {
                break;
            }
            let block = self.evict(class);
            without = if block.is_some() { 0 } else { without + 1 };
            given_back += usize::from(block.is_some());
            block.into_iter().for_each(&mut give_back);
            self.made_room = class;
        }
    }

    /// If the budget leaves too little for another block of a medium class, puts lists of such classes into the depot,
    /// one of each class in its turn, until half of the budget is left, or half of the depot is full: the other half is
    /// for lists of what threads do many times. What it does not take is for [`make_room`](Self::make_room), under the
    /// lock.
    ///
    /// # Safety
    ///
    /// - As for [`pass_on`](Self::pass_on).
    pub(in crate::cache) unsafe fn pass_on_others(&mut self, class: Class, depot: &Depot) {
        if class.is_small()
            || self.is_enough_left(class)
            || !self.may_have_medium
            || !self.may_have_one(class)
        {
            return;
        }
        for class in Class::all_medium_behind(self.made_room).take(MEDIUM_CLASSES) {
            if self.left >= (self.budget / 2) as isize || depot.is_half_full() {
                break;
            }
            self.made_room = class;
            let Some(list) = self.spare(class).or_else(|| self.current(class)) else { continue };
            // SAFETY: the list is linked, and this cache's until the depot has it; the caller's contract.
            if unsafe { depot.put(class, list) } {
                self.take_spare(class).or_else(|| self.take_current(class));
                self.note_leaving(list);
            }
        }
    }

    /// The current list of a medium class, if there is one.
    fn current(&self, class: Class) -> Option<FullList> {
        NonNull::new(self.current.get(class)).map(|first| FullList::new(first, self.batch.get(class)))
    }

    /// Gives the current list of a medium class up, if there is one.
    fn take_current(&mut self, class: Class) -> Option<FullList> {
        let current = self.current(class)?;
        *self.current.get_mut(class) = null_mut();
        *self.batch.get_mut(class) = 0;
        self.left += bytes_of(class, current.blocks());
        Some(current)
    }

    /// Makes the lists of a small class longer, as far as the budget has something left.
    pub(in crate::cache) fn lengthen(&mut self, class: Class) {
        let more = if class.is_small() { self.wanted(class) } else { 0 };
        let bytes = bytes_of(class, more);
        if self.left < bytes {
            return;
        }
        self.left -= bytes;
        *self.batch.get_mut(class) += more as u8;
        self.room.get_mut(class).grow(more as u8);
    }

    /// Gives back what classes have that did not come since the last time, and if it is time what one has that did,
    /// which is returned; and others, as long as it is more than what the lists may keep.
    #[cold]
    #[inline(never)]
    fn look_over(&mut self, budget: usize, per_visit: u32, mut give_back: impl FnMut(Unneeded)) -> Looked {
        self.owed = (self.owed + self.at_lock * per_visit).saturating_sub(self.take_served());
        let is_of_use = self.owed < PATIENCE * per_visit;
        for class in Class::all_with_slots() {
            if self.has(class) && self.runs.was_used(class, self.current.get(class)) {
                *self.came.get_mut(class) = true;
            }
        }
        self.looks += 1;
        let is_time_to_renew = self.looks == LOOKS_TO_RENEW;
        let renewed = if is_time_to_renew { self.next_to_renew() } else { Class::NONE };
        let may_have_run = self.may_have_run();
        // What there is too much of is medium blocks first: a small class has more of what it asks for in the same
        // bytes.
        for class in Class::all_medium().chain(Class::all_small()) {
            let is_too_much = self.budget as isize - self.left > budget as isize;
            if !class.is_small() && !is_time_to_renew && !is_too_much {
                continue;
            }
            if !self.has(class) {
                continue;
            }
            let goes = is_too_much || !self.came.get(class);
            if goes || class == renewed {
                while let Some(block) = self.pop_unasked(class) {
                    self.retire(block).into_iter().for_each(&mut give_back);
                }
            }
            if goes {
                let run = self.runs.pop_idle(class, !may_have_run);
                run.into_iter().for_each(|run| give_back(Unneeded::Run(run)));
                self.shorten(class);
            }
        }
        self.runs.take_empty(|run| give_back(Unneeded::Run(run)));
        self.left += budget as isize - self.budget as isize;
        self.budget = budget;
        for class in Class::all() {
            *self.came.get_mut(class) &= !class.is_small() && !is_time_to_renew;
        }
        for class in Class::all_with_slots() {
            if self.has(class) {
                self.runs.note_look(class, self.current.get(class));
            }
        }
        (self.visits, self.at_lock, self.begun) = (0, 0, 0);
        if is_time_to_renew {
            (self.looks, self.renewed) = (0, renewed);
        }
        Looked { renewed, is_of_use }
    }

    /// Whether the cache may have something of a class.
    fn has(&self, class: Class) -> bool {
        self.batch.get(class) != 0 || !self.spare.get(class).is_null() || self.runs.has_current(class)
    }

    /// Takes from the lists of a class, which are empty, what they were given, but for what they have because of a run.
    fn shorten(&mut self, class: Class) {
        let (batch, granted) = (self.batch.get(class), self.granted.get(class));
        self.left += bytes_of(class, (batch - granted).into());
        let granted = if self.runs.has_current(class) { granted } else { 0 };
        *self.granted.get_mut(class) = granted;
        *self.batch.get_mut(class) = granted;
        self.room.get_mut(class).set(granted);
    }

    /// Makes the lists of a class shorter, as far as they have room, if less was taken from them than one of them may
    /// have.
    fn trim(&mut self, class: Class, taken: u32) {
        let needed = self.granted.get(class).max(u8::try_from(taken).unwrap_or(u8::MAX));
        let more = self.batch.get(class).saturating_sub(needed).min(self.room.get(class).blocks());
        *self.batch.get_mut(class) -= more;
        self.room.get_mut(class).shrink(more);
        self.left += bytes_of(class, more.into());
    }

    /// Gives the lists of a class that has a run the length of half a page, if they are not longer. What is freed
    /// just now is in the processor's cache, and so is better taken again from a list than from the run.
    pub(super) fn grant(&mut self, class: Class) {
        let batch = self.batch.get(class);
        let granted =
            (self.runs.usual_page() / 2).checked_div(class.payload()).unwrap_or(0).min(MOST_BLOCKS) as u8;
        let more = granted.saturating_sub(batch);
        *self.batch.get_mut(class) += more;
        self.room.get_mut(class).grow(more);
        let charged = batch - self.granted.get(class);
        self.left += bytes_of(class, charged.into()) - bytes_of(class, (batch + more - granted).into());
        *self.granted.get_mut(class) = granted;
    }

    /// The class behind the one that was renewed last that came since the last time.
    fn next_to_renew(&self) -> Class {
        let mut came = Class::all().filter(|&class| self.came.get(class));
        let first = came.clone().next().unwrap_or(Class::NONE);
        came.find(|&class| class > self.renewed).unwrap_or(first)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{BUDGET, blocks_of, come, nothing_is_given_back};
    use super::*;
    use crate::cache::class::LARGEST_PAYLOAD;
    use std::vec::Vec;

    #[test]
    fn full_lists_stay_within_the_budget() {
        for budget in [0, 100, 4096, 32 << 10, 1 << 19, 1 << 20] {
            let mut lists = Lists::new();
            lists.begin(budget);
            let mut visit = |class| assert_eq!(come(&mut lists, class, budget, nothing_is_given_back), None);
            Class::all_small().step_by(4).for_each(&mut visit);
            // So often that the cache is not looked over.
            (0..8).for_each(|_| visit(Class::serving_small(100).class()));
            let kept = |class: Class| LISTS * usize::from(lists.batch.get(class)) * class.payload();
            let all: usize = Class::all_small().map(kept).sum();
            assert!(all <= budget, "{all} of {budget}");
            assert!(budget < 4096 || all > budget.min(128 << 10) / 8, "{all} of {budget}");
            assert!(Class::all_small().all(|class| kept(class) <= budget / 8), "no class has most of it");
        }
    }

    /// Lists that have so many blocks of each of these classes, as many as there is memory for, and may keep that many
    /// bytes.
    fn lists_with(budget: usize, classes: &[Class], memory: &mut [[u64; 2]]) -> Lists {
        let mut lists = Lists::new();
        lists.begin(budget);
        for (&block, &class) in blocks_of(memory).iter().zip(classes.iter().cycle()) {
            // SAFETY: each block has 16 bytes, which is enough for a link and a key, and is on no list.
            unsafe { lists.push_either(class, block) };
        }
        lists
    }

    #[test]
    fn medium_classes_share_what_the_budget_leaves_by_the_blocks_that_they_have() {
        const BUDGET: usize = 256 << 10;
        let medium = |bytes| Class::serving(bytes, 1).unwrap();
        let mut memory = [[0u64; 2]; 200];
        // Two lists of an eighth of the budget each are most that one class may have.
        let most = BUDGET / 8 / medium(2000).bytes();
        let mut lists = lists_with(BUDGET, &[medium(2000)], &mut memory);
        assert_eq!(lists.all().map(|list| list.blocks as usize).sum::<usize>(), 2 * most);
        assert_eq!(lists.left, (BUDGET - lists.bytes()) as isize);
        // One of each class is let in, as long as there is room.
        let many: Vec<_> = Class::all_medium().collect();
        lists = lists_with(BUDGET, &many, &mut memory);
        let largest = LARGEST_PAYLOAD;
        assert!((BUDGET - largest..=BUDGET).contains(&lists.bytes()), "{}", lists.bytes());
        assert_eq!(lists.left, (BUDGET - lists.bytes()) as isize);
        // What was taken leaves room again.
        let class = many[0];
        let before = lists.left;
        assert!(lists.pop_either(class).is_some());
        assert_eq!(lists.left, before + class.bytes() as isize);
        lists.begin(largest);
        assert!(lists.refill(medium(largest / 3)) == 1 && lists.refill(medium(largest)) == 0);
        // What may not be kept makes nobody give back anything.
        lists = lists_with(largest, &[medium(largest), medium(2000)], &mut memory[..3]);
        assert!(lists.bytes() >= 2000 && lists.bytes() < largest / 2);
        lists.make_room(medium(largest), |block| panic!("{block:?} is given back"));
    }

    #[test]
    fn where_medium_blocks_have_no_room_half_of_them_goes_class_by_class() {
        const BUDGET: usize = 256 << 10;
        let many: Vec<_> = Class::all_medium().collect();
        let mut memory = [[0u64; 2]; 400];
        let mut lists = lists_with(BUDGET, &many, &mut memory);
        let (largest, before) = (many[many.len() - 1], lists.bytes());
        let mut given_back = 0;
        lists.make_room(largest, |_| given_back += 1);
        assert!((1..=MOST_BLOCKS).contains(&given_back));
        let enough = lists.left >= (BUDGET / 2) as isize;
        assert!(enough || given_back == MOST_BLOCKS, "{} of {before} are there", lists.bytes());
        assert_eq!(lists.left, (BUDGET - lists.bytes()) as isize);
        // No class lost all while others have kept what they had.
        let counts = many.iter().map(|&class| lists.batch.get(class));
        let (least, most) = (counts.clone().min().unwrap(), counts.max().unwrap());
        assert!(most - least <= 2, "{least} to {most}");
        lists.make_room(many[0], |block| panic!("{block:?} is given back, and there is room"));
        // A small class gets what it wants, and no more is given back for it; where nothing is left, nothing.
        let small = Class::serving_small(100).class();
        lists.left = 0;
        given_back = 0;
        lists.make_room(small, |_| given_back += 1);
        lists.lengthen(small);
        assert_eq!((given_back, lists.refill(small)), (1, 2));
        many.iter().for_each(|&class| while lists.pop_either(class).is_some() {});
        lists.left = 0;
        (0..2).for_each(|_| lists.make_room(small, |block| panic!("{block:?} is still there")));
        assert!(!lists.may_have_medium);
    }

    #[test]
    fn lists_of_medium_blocks_take_half_of_the_depot() {
        const BUDGET: usize = 256 << 10;
        let many: Vec<_> = Class::all_medium().collect();
        let mut memory = [[0u64; 2]; 400];
        let mut lists = lists_with(BUDGET, &many, &mut memory);
        let (largest, before, depot) = (many[many.len() - 1], lists.bytes(), Depot::new());
        // SAFETY: nobody else is at the lists or at the depot.
        let mut pass_on = |most: usize| unsafe {
            depot.allow(most);
            lists.pass_on_others(largest, &depot);
            assert_eq!(lists.bytes() + depot.bytes(), before);
            assert_eq!(lists.left, (BUDGET - lists.bytes()) as isize);
            depot.bytes()
        };
        assert_eq!(pass_on(0), 0);
        // The last one of them may be more.
        let most = BUDGET / 2;
        assert!((most / 2..most / 2 + LARGEST_PAYLOAD).contains(&pass_on(most)));
    }

    #[test]
    fn lists_become_longer_with_use() {
        let class = Class::serving_small(12).class();
        let mut lists = Lists::new();
        lists.begin(BUDGET);
        let refills = [(); 7].map(|()| {
            come(&mut lists, class, BUDGET, nothing_is_given_back);
            lists.refill(class)
        });
        assert_eq!(refills, [2, 4, 8, 16, 32, 64, 64]);
    }

    #[test]
    fn classes_that_come_are_renewed_in_turn() {
        let classes = [12, 100, 200].map(|bytes| Class::serving_small(bytes).class());
        let mut memory = [[0u64; 2]; 3];
        let blocks = blocks_of(&mut memory);
        let mut lists = Lists::new();
        lists.begin(BUDGET);
        let mut renewed = Vec::new();
        while renewed.len() < 6 {
            for class in classes {
                let mut given_back = 0;
                let renewed_now = come(&mut lists, class, BUDGET, |_| given_back += 1);
                assert!(given_back == 0 || renewed_now.is_some());
                renewed.extend(renewed_now.filter(|&class| class != Class::NONE));
            }
            for (&block, class) in blocks.iter().zip(classes) {
                while lists.pop_either(class).is_some() {}
                // SAFETY: each block has 16 bytes, which is enough for a link and a key, and is on no list.
                assert!(unsafe { lists.push_either(class, block) });
            }
        }
        assert_eq!(renewed, [classes, classes].concat());
    }

    #[test]
    fn what_was_adopted_beyond_the_budget_goes_back() {
        let mut memory = [[0u64; 2]; 64];
        let blocks = blocks_of(&mut memory);
        let class = Class::serving_small(12).class();
        let (mut producer, mut consumer) = (Lists::new(), Lists::new());
        producer.begin(BUDGET);
        (0..6).for_each(|_| assert_eq!(come(&mut producer, class, BUDGET, nothing_is_given_back), None));
        // SAFETY: each block has 16 bytes and is on no list.
        assert!(blocks.iter().all(|&block| unsafe { producer.push_either(class, block) }));
        // A full list becomes the spare one when another block comes.
        let [last] = &mut [[0u64; 2]];
        // SAFETY: as above.
        assert!(unsafe { producer.push_either(class, NonNull::from(last).cast()) });
        let list = producer.take_spare(class).unwrap();
        const LITTLE: usize = 1000;
        consumer.begin(LITTLE);
        consumer.adopt(class, list);
        assert_eq!(consumer.bytes(), 64 * 16);
        let mut count = 0;
        assert!((0..CALLS).any(|_| come(&mut consumer, class, LITTLE, |_| count += 1).is_some()));
        assert_eq!((count, consumer.bytes()), (64, 0));
    }

    #[test]
    fn a_class_that_does_not_come_gives_back_what_it_has() {
        let mut memory = [[0u64; 2]; 2];
        let blocks = blocks_of(&mut memory);
        let (class, other) = (Class::serving_small(12).class(), Class::serving_small(100).class());
        let mut lists = Lists::new();
        lists.begin(BUDGET);
        come(&mut lists, class, BUDGET, nothing_is_given_back);
        // SAFETY: each block has 16 bytes and is on no list.
        assert!(blocks.iter().all(|&block| unsafe { lists.push_either(class, block) }));
        let mut given_back = Vec::new();
        let mut visit = |times: u32| {
            (0..times)
                .filter_map(|_| come(&mut lists, other, BUDGET, |unneeded| given_back.push(unneeded)))
                .count()
        };
        // The class came since the cache was looked over last.
        assert_eq!([visit(CALLS - 1), visit(CALLS - 1), visit(1)], [1, 0, 1]);
        let given_back = given_back.into_iter().map(|unneeded| match unneeded {
            Unneeded::Block(block) => block,
            Unneeded::Run(run) => panic!("{run:?} is given back"),
        });
        assert!(given_back.eq(blocks.iter().rev().copied()));
        let mut memory = [[0u64; 2]; 2];
        let blocks = blocks_of(&mut memory);
        come(&mut lists, class, BUDGET, nothing_is_given_back);
        // SAFETY: as above.
        assert!(blocks.iter().all(|&block| unsafe { lists.push_either(class, block) }));
        let mut count = 0;
        assert!((0..CALLS).any(|_| come(&mut lists, class, 0, |_| count += 1).is_some()));
        assert_eq!(count, 2, "what is more than the budget goes back, who ever comes");
    }

    /// A thread that allocates more than its cache may have, and releases all of it, again and again.
    #[test]
    fn what_is_of_use_now_and_then_is_not_enough() {
        let class = Class::serving(2000, 1).unwrap();
        for (served, is_of_use) in [(CALLS / 8, false), (CALLS, true)] {
            let mut lists = Lists::new();
            lists.begin(BUDGET);
            let mut looks = (0..40 * CALLS).filter_map(|call| {
                if call % CALLS == 0 {
                    (0..served).for_each(|_| lists.served += 1);
                }
                lists.count_visit(class);
                lists.visit(class, BUDGET, 1, nothing_is_given_back)
            });
            assert_eq!(looks.all(|looked| looked.is_of_use), is_of_use, "{served}");
        }
    }
}
