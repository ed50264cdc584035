//! The checksum by which the results of a workload are compared.

use std::hash::{DefaultHasher, Hash, Hasher};

/// A checksum over everything that a workload worked out.
///
/// It does not depend on addresses or on chance: programs of the same build that work out the same have the same
/// checksum.
#[derive(Clone, Debug, Default)]
pub struct Checksum(DefaultHasher);

impl Checksum {
    /// Takes a result in.
    pub fn add(&mut self, result: impl Hash) {
        result.hash(&mut self.0);
    }

    /// The checksum of all results so far.
    #[must_use]
    pub fn value(&self) -> u64 {
        self.0.finish()
    }
}
