//! The second way: no hash table, but the words sorted, and equal ones counted where they lie side by side.
//!
//! All words at once would take several times the room of the text, so they are sorted by length: one pass over the
//! text for each length that there is, and four bytes for each word of that length.

use super::Table;
use super::word::{Word, words};
use std::collections::TryReserveError;

/// Words of this length and all longer ones share a pass.
const LONGEST: usize = 24;

/// What sorting finds.
#[derive(Default)]
pub(super) struct Recount {
    /// Words in all.
    pub(super) words: u64,
    /// Different words.
    pub(super) different: usize,
    /// Words of which the table has the right count.
    pub(super) confirmed: usize,
}

/// Counts the words of the text again, and compares each with the table.
pub(super) fn recount(text: &str, table: &Table<'_>) -> Result<Recount, TryReserveError> {
    let mut result = Recount::default();
    let mut of_length = [0_usize; LONGEST + 1];
    words(text).for_each(|word| of_length[length(word)] += 1);
    let most = of_length.into_iter().max().unwrap_or(0);
    let mut starts: Vec<u32> = Vec::new();
    starts.try_reserve_exact(most)?;
    for pass in (1..=LONGEST).filter(|&pass| of_length[pass] > 0) {
        starts.clear();
        let of_this_length = words(text).filter(|&word| length(word) == pass);
        starts.extend(of_this_length.map(|word| word.start_in(text) as u32));
        let word_at = |start: u32| Word::at(text, start as usize);
        starts.sort_unstable_by(|&a, &b| word_at(a).cmp(&word_at(b)));
        for equal in starts.chunk_by(|&a, &b| word_at(a) == word_at(b)) {
            result.words += equal.len() as u64;
            result.different += 1;
            result.confirmed +=
                usize::from(table.get(&word_at(equal[0])).map(|&n| n as usize) == Some(equal.len()));
        }
    }
    Ok(result)
}

/// The characters of a word in lower case, up to [`LONGEST`].
fn length(word: Word<'_>) -> usize {
    word.folded().take(LONGEST).count()
}
