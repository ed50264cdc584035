//! Allocations: from the thread's cache, and what fills that.

use super::class::{Class, LARGEST_SMALL_PAYLOAD};
use super::drain::{give_back, raise_outside};
use super::lists::{Lists, MOST_BLOCKS};
use super::slot::Slot;
use super::trial::Call;
use super::{Guard, ThreadCached, class_serving, home};
use crate::heap::Heap;
use crate::locked::{Contents, is_disturbed};
use crate::size::GRANULE;
use crate::source::Source;
use crate::sync::atomic::Ordering;
use core::alloc::Layout;
use core::ptr::NonNull;

impl<S: Source> ThreadCached<S> {
    /// An allocation of a small block that the cache serves at once.
    #[inline(always)]
    pub(super) fn alloc_fast(&self, layout: Layout) -> Option<NonNull<u8>> {
        if layout.size() > LARGEST_SMALL_PAYLOAD || layout.align() > GRANULE {
            return None;
        }
        // SAFETY: the slot is this thread's, or nobody's.
        unsafe { home::slot().take(self.identity(), Class::serving_small(layout.size())) }
    }

    /// As [`alloc_fast`](Self::alloc_fast) for larger blocks, and for what only slots are aligned to; and then
    /// all other ways.
    #[cold]
    #[inline(never)]
    pub(super) fn alloc_otherwise(&self, layout: Layout) -> *mut u8 {
        if self.rests() && !is_disturbed() {
            return self.alloc_resting(layout);
        }
        if let Some(class) = class_serving(layout) {
            // SAFETY: the slot is this thread's, or nobody's.
            let block = unsafe { home::slot().take_aligned(self.identity(), class, layout.align()) };
            if let Some(block) = block {
                return block.as_ptr();
            }
        }
        self.alloc_slow(layout, Contents::Any)
    }

    /// An allocation of a thread whose cache rests.
    fn alloc_resting(&self, layout: Layout) -> *mut u8 {
        let mut heap = self.locked.heap();
        if S::HAS_ELSEWHERE || self.is_too_much_in_use(&heap) {
            return self.alloc_locked(heap, layout, Contents::Any);
        }
        match heap.alloc_fast(layout).or_else(|| heap.alloc_otherwise(layout)) {
            Some(block) => block.as_ptr(),
            None => self.alloc_drained(heap, layout, Contents::Any),
        }
    }

    /// An allocation that is of no small block, or that the cache does not serve at once.
    #[inline(never)]
    pub(super) fn alloc_slow(&self, layout: Layout, contents: Contents) -> *mut u8 {
        if is_disturbed() && !self.locked.goes_on(layout.size()) {
            return self.locked.overflow(layout, contents, self);
        }
        if let Some(heap) = self.heap_if_asleep(Call::Alloc, layout) {
            return self.alloc_locked(heap, layout, contents);
        }
        if home::is_unknown() && !self.is_not_static.load(Ordering::Relaxed) {
            self.register();
        }
        let mut heap = None;
        let cached =
            class_serving(layout).and_then(|class| Some((class, self.own_slot().or_else(|| self.join())?)));
        if let Some((class, slot)) = cached {
            let (guard, block) = self.take_or_refill(slot, class, layout.align());
            heap = guard;
            if let Some(block) = block {
                drop(heap);
                // SAFETY: the class holds that many bytes, and nobody has the block's address yet.
                return unsafe { contents.put_into(block, layout.size(), &self.locked.source) };
            }
        }
        // Where memory is short, a small request is served to the byte.
        self.alloc_locked(heap.unwrap_or_else(|| self.heap()), layout, contents)
    }

    /// An allocation from the heap, after draining if need be.
    pub(super) fn alloc_locked(&self, mut heap: Guard<'_>, layout: Layout, contents: Contents) -> *mut u8 {
        let Some((block, dirty)) = self.locked.find(&mut heap, layout, contents) else {
            return self.alloc_drained(heap, layout, contents);
        };
        drop(heap);
        // SAFETY: the block was found for this request.
        unsafe { contents.put_into(block, dirty, &self.locked.source) }
    }

    /// An allocation that the heap has no memory for, after draining if that can help.
    #[cold]
    #[inline(never)]
    fn alloc_drained(&self, heap: Guard<'_>, layout: Layout, contents: Contents) -> *mut u8 {
        let (mut heap, is_drained) = self.drained_for(heap, layout);
        let mut found = if is_drained { self.locked.find(&mut heap, layout, contents) } else { None };
        if found.is_none() && self.break_up_for(&mut heap, layout) {
            found = self.locked.find(&mut heap, layout, contents);
        }
        let Some((block, dirty)) = found else { return self.locked.refused(heap, layout, contents, self) };
        drop(heap);
        // SAFETY: the block was found for this request.
        unsafe { contents.put_into(block, dirty, &self.locked.source) }
    }

    /// Takes a block of a class, at a multiple of `align`, from the calling thread's cache. Where that has none,
    /// it is filled from the depot or from the heap; then the heap is returned, too, locked. Drains nothing,
    /// and takes nothing for a cache that is asleep.
    ///
    /// Blocks in front of it that are not aligned go back to the heap.
    pub(super) fn take_or_refill(
        &self,
        slot: &Slot,
        class: Class,
        align: usize,
    ) -> (Option<Guard<'_>>, Option<NonNull<u8>>) {
        // SAFETY: the slot is this thread's.
        let block = unsafe { slot.take_slowly(class, align, &self.depot) };
        if block.is_some() {
            return (None, block);
        }
        let mut heap = self.heap();
        let is_allowed = !S::HAS_CAP || self.locked.source.may_serve(&heap, class.payload());
        if !is_allowed || !self.wakes_in_time(slot, Call::Alloc, Some(class), &mut heap) {
            // It fell asleep just now, or there is too much in use.
            return (Some(heap), None);
        }
        let (mut outcome, mut visited) = (Ok(()), Ok(()));
        let mut next_aligned = |lists: &mut Lists, heap: &mut Heap| loop {
            lists.begin_spare(class);
            let is_aligned = lists.is_first_aligned(class, align);
            let block = lists.pop(class)?;
            if is_aligned {
                return Some(block);
            }
            outcome = outcome.and(give_back(heap, &self.strays, block));
        };
        let fill = |lists: &mut Lists| {
            visited = self.visit(slot, lists, class, &mut heap);
            if !slot.is_awake() {
                return None;
            }
            // Where only some blocks of a class are aligned, they are asked for one by one, too.
            let is_one_of_many = align > GRANULE && class.slot_size().is_none();
            if is_one_of_many || !class.is_small() {
                let (count, mut block) = (lists.refill(class).min(1), None);
                heap.alloc_several(class.payload(), align, count, |found| block = Some(found));
                return block;
            }
            // The lists need not be empty: perhaps the gate was closed a moment ago.
            if let Some(block) = next_aligned(lists, &mut heap) {
                return Some(block);
            }
            // What comes as a whole is had sooner than what has to go back into runs first, one by one.
            // SAFETY: this thread has the lock.
            let passed_on = unsafe { lists.take_passed_on(class, align, &self.depot) };
            if let Some(block) = passed_on.or_else(|| next_aligned(lists, &mut heap)) {
                lists.note_filled();
                return Some(block);
            }
            // What others freed of what this thread owns has been waiting for it.
            visited = visited.and(self.return_strays(lists.runs.owner(), lists, &mut heap).map(drop));
            if let Some(slot) = lists.take_of_runs(class) {
                return Some(slot);
            }
            if let Some(slot) = self.take_of_new_runs(lists, class, align, &mut heap) {
                return Some(slot);
            }
            lists.make_room(class, |block| {
                visited = visited.and(give_back(&mut heap, &self.strays, block));
            });
            lists.lengthen(class);
            heap.alloc_several(class.payload(), align, lists.refill(class), |block| {
                // SAFETY: the block was just handed out for the class.
                let has_room = unsafe { lists.push(class, block) };
                invariant!(has_room);
            });
            lists.pop(class).inspect(|_| lists.note_filled())
        };
        // SAFETY: this thread is the owner, outside of its gate, and has the lock.
        let block = unsafe { slot.with_lock(fill) };
        let heap = raise_outside(heap, outcome.and(visited));
        (Some(self.without_many_strays(heap)), block)
    }

    /// Takes a slot of a class, for an object at a multiple of `align`, from runs that the heap hands over to a cache,
    /// if it may have some, and there are.
    pub(super) fn take_of_new_runs(
        &self,
        lists: &mut Lists,
        class: Class,
        align: usize,
        heap: &mut Heap,
    ) -> Option<NonNull<u8>> {
        let slot = class.slot_size()?;
        let mut free = 0;
        if !lists.may_have_run() {
            // What other classes do not need is what this one does.
            // SAFETY: it was just taken out of the cache.
            lists.runs.take_empty(|run| unsafe { heap.take_over_run(run) });
        }
        // An empty one is enough, whatever it has.
        while free < MOST_BLOCKS && lists.may_have_run() {
            let Some((run, more)) = heap.hand_over_run(slot, align, lists.runs.owner()) else { break };
            // SAFETY: it was just handed over.
            unsafe { lists.runs.accept(run) };
            free += more as usize;
        }
        lists.take_of_runs(class)
    }
}
