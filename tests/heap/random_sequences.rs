//! How many random sequences are run, and where those that once failed are kept.

use crate::extent::is_full;
use proptest::prelude::ProptestConfig;
use proptest::test_runner::FileFailurePersistence;

/// For tests of so many sequences each, a third of them by default. `PROPTEST_CASES` says another number: an emulated
/// processor is slow.
///
/// The seeds of sequences that once failed are in the file `regressions`: proptest adds to them, and every test begins
/// with them. The file comes into being with the first one, and belongs into the repository.
pub fn config(cases: u32, regressions: &'static str) -> ProptestConfig {
    let default = ProptestConfig::default();
    let cases = match std::env::var_os("PROPTEST_CASES") {
        Some(_) => default.cases,
        None if is_full() => cases,
        None => cases / 3,
    };
    let persistence = FileFailurePersistence::Direct(regressions);
    ProptestConfig { cases, failure_persistence: Some(Box::new(persistence)), ..default }
}
