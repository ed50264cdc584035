//! What is found out about a script while it is read: how long it is, its peak, and whether the program came to its
//! end.

use super::reading::Reading;
use super::step::{Action, Step};

/// A program that was refused memory and then allocates no more often than this on the same thread has got no further:
/// it says so and ends. What the system serves meanwhile, as it does for a backtrace, is not counted.
///
/// If other threads allocate more often than this meanwhile, it cannot be told: the program may be about to end, or the
/// thread alone may have given up. Then what was refused must be served, and all that came after it, too.
const LAST_WORDS: u64 = 32;

/// What is known of a script, or of its beginning.
#[derive(Clone, Default)]
pub(super) struct Facts {
    /// Steps.
    pub(super) steps: u64,
    /// Requests and releases.
    pub(super) events: u64,
    /// The most bytes that were live, as they were asked for.
    pub(super) peak_bytes: u64,
    /// Requests that were refused.
    pub(super) refusals: u64,
    /// The largest alignment that was asked for, as a power of two.
    pub(super) most_align_log2: u8,
    /// The lowest and the highest address of all blocks.
    span: Option<(u64, u64)>,
}

/// The request that a traced program was refused, and then it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FinalRefusal {
    /// Which event it is, counted from 1.
    pub(crate) event: u64,
    /// Bytes asked for.
    pub(crate) bytes: u64,
    /// The step.
    pub(super) step: u64,
    /// Whether other threads went on.
    pub(crate) others_went_on: bool,
}

/// A refusal that may turn out to be the end, and what was known then.
struct Candidate {
    refusal: FinalRefusal,
    thread: u32,
    facts: Facts,
    /// How often the thread has allocated since.
    allocations_since: u64,
    /// How often others have.
    of_others_since: u64,
}

/// Finds facts.
#[derive(Default)]
pub(super) struct Finder {
    facts: Facts,
    candidate: Option<Candidate>,
}

impl Finder {
    /// Notes a step, behind which the reading is.
    pub(super) fn note(&mut self, step: &Step, reading: &Reading) {
        let facts = &mut self.facts;
        let thread = reading.thread();
        facts.steps += 1;
        facts.events += u64::from(step.is_event);
        facts.peak_bytes = facts.peak_bytes.max(reading.live_bytes());
        if let Action::Allocate { align_log2, .. } | Action::Refused { align_log2, .. } = step.action {
            facts.most_align_log2 = facts.most_align_log2.max(align_log2);
        }
        match step.action {
            Action::Refused { size, .. } => self.note_refusal(thread, size, 0, reading),
            Action::RefusedReallocation { size, .. } => {
                self.note_refusal(thread, size, reading.former_bytes(), reading);
            }
            Action::Allocate { .. } | Action::Reallocate { .. } => self.note_block(thread, reading.address()),
            Action::Thread(_) | Action::ThreadEnd(_) | Action::Release { .. } => {}
        }
    }

    fn note_block(&mut self, thread: u32, address: u64) {
        if let Some(candidate) = &mut self.candidate {
            let is_in_arena = candidate.facts.span.is_some_and(|(low, high)| (low..=high).contains(&address));
            let is_of_thread = candidate.thread == thread;
            candidate.allocations_since += u64::from(is_of_thread && is_in_arena);
            candidate.of_others_since += u64::from(!is_of_thread && is_in_arena);
            if candidate.allocations_since > LAST_WORDS {
                self.candidate = None;
            }
        }
        let (low, high) = self.facts.span.unwrap_or((address, address));
        self.facts.span = Some((low.min(address), high.max(address)));
    }

    fn note_refusal(&mut self, thread: u32, bytes: u64, former: u64, reading: &Reading) {
        // The first one is the reason, and what is refused to the report about it is not.
        if self.candidate.is_none() {
            let Facts { events, steps, .. } = self.facts;
            let mut facts = self.facts.clone();
            // As if it had been served.
            facts.peak_bytes = facts.peak_bytes.max((reading.live_bytes() - former).saturating_add(bytes));
            let refusal = FinalRefusal { event: events, bytes, step: steps - 1, others_went_on: false };
            self.candidate =
                Some(Candidate { refusal, thread, facts, allocations_since: 0, of_others_since: 0 });
        }
        self.facts.refusals += 1;
    }

    /// All that was found, up to the refusal that ended the program, if one did and no other thread went on.
    pub(super) fn finish(self) -> (Facts, Option<FinalRefusal>) {
        match self.candidate {
            Some(Candidate { facts, refusal, of_others_since, .. }) if of_others_since > LAST_WORDS => {
                let peak_bytes = facts.peak_bytes.max(self.facts.peak_bytes);
                let refusals = self.facts.refusals - 1;
                let refusal = FinalRefusal { others_went_on: true, ..refusal };
                (Facts { peak_bytes, refusals, ..self.facts }, Some(refusal))
            }
            Some(Candidate { facts, refusal, .. }) => (facts, Some(refusal)),
            None => (self.facts, None),
        }
    }
}
