//! A policy at work: how many requests there were, and which one is refused next.

use super::policy::{Policy, Rule};
use core::sync::atomic::{AtomicU8, AtomicU32, AtomicUsize, Ordering};

/// What it consists of can be read and written by all threads, piece by piece. Who sets it while others make requests
/// does not care which of them are counted.
pub(super) struct Schedule {
    kind: AtomicU8,
    /// The number of an nth or of every, or the seed.
    number: AtomicUsize,
    /// In 2^32, less one.
    chance: AtomicU32,
    from_size: AtomicUsize,
    requests: AtomicUsize,
    refused: AtomicUsize,
}

mod kind {
    pub(super) const NONE: u8 = 0;
    pub(super) const NTH: u8 = 1;
    pub(super) const EVERY: u8 = 2;
    pub(super) const RANDOM: u8 = 3;
}

/// What a schedule had come to.
#[derive(Clone, Copy)]
pub(super) struct Progress {
    policy: Option<Policy>,
    requests: usize,
    refused: usize,
}

impl Progress {
    /// The beginning of a policy.
    pub(super) const fn start(policy: Option<Policy>) -> Self {
        Self { policy, requests: 0, refused: 0 }
    }
}

impl Schedule {
    pub(super) const fn new() -> Self {
        Self {
            kind: AtomicU8::new(kind::NONE),
            number: AtomicUsize::new(0),
            chance: AtomicU32::new(0),
            from_size: AtomicUsize::new(0),
            requests: AtomicUsize::new(0),
            refused: AtomicUsize::new(0),
        }
    }

    pub(super) fn policy(&self) -> Option<Policy> {
        let number = self.number.load(Ordering::Relaxed);
        let rule = match self.kind.load(Ordering::Acquire) {
            kind::NTH => Rule::Nth(number),
            kind::EVERY => Rule::Every(number),
            kind::RANDOM => Rule::Random(u64::from(self.chance.load(Ordering::Relaxed)) + 1, number),
            _ => return None,
        };
        Some(Policy { rule, from_size: self.from_size.load(Ordering::Relaxed) })
    }

    /// Goes on from there, and returns where it was before.
    pub(super) fn replace(&self, with: Progress) -> Progress {
        let before = Progress {
            policy: self.policy(),
            requests: self.requests.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
        };
        self.kind.store(kind::NONE, Ordering::Relaxed);
        self.requests.store(with.requests, Ordering::Relaxed);
        self.refused.store(with.refused, Ordering::Relaxed);
        if let Some(policy) = with.policy {
            let (kind, number) = match policy.rule {
                // No request has the number zero.
                Rule::Random(0, _) => (kind::NTH, 0),
                Rule::Nth(number) => (kind::NTH, number),
                Rule::Every(number) => (kind::EVERY, number),
                Rule::Random(chance, seed) => {
                    self.chance.store((chance - 1) as u32, Ordering::Relaxed);
                    (kind::RANDOM, seed)
                }
            };
            self.number.store(number, Ordering::Relaxed);
            self.from_size.store(policy.from_size, Ordering::Relaxed);
            self.kind.store(kind, Ordering::Release);
        }
        before
    }

    /// Counts a request. Whether it is refused; nothing, if there is no policy.
    pub(super) fn decide(&self, bytes: usize) -> Option<bool> {
        let policy = self.policy()?;
        if bytes < policy.from_size {
            return Some(false);
        }
        let number = self.requests.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        let is_refused = policy.rule.refuses(number);
        if is_refused {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        Some(is_refused)
    }

    /// How many requests were refused.
    pub(super) fn refused(&self) -> usize {
        self.refused.load(Ordering::Relaxed)
    }
}
