//! What a word is: letters, and apostrophes between them; upper and lower case are the same.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

/// A word as it stands in the text. Compared, ordered, hashed and shown in lower case, without a copy.
#[derive(Clone, Copy, Debug)]
pub(super) struct Word<'t>(&'t str);

/// The words of a text in order.
pub(super) fn words(text: &str) -> impl Iterator<Item = Word<'_>> {
    text.split(|character| !belongs(character))
        .map(|run| run.trim_matches('\''))
        .filter(|run| !run.is_empty())
        .map(Word)
}

/// Whether a character can be part of a word.
fn belongs(character: char) -> bool {
    character.is_alphabetic() || character == '\''
}

impl<'t> Word<'t> {
    /// The word that starts at `start`, which is where [`words`] found one.
    pub(super) fn at(text: &'t str, start: usize) -> Self {
        let rest = &text[start..];
        let end = rest.find(|character| !belongs(character)).unwrap_or(rest.len());
        Self(rest[..end].trim_end_matches('\''))
    }

    /// Where the word starts in the text that it is from.
    pub(super) fn start_in(&self, text: &str) -> usize {
        self.0.as_ptr().addr() - text.as_ptr().addr()
    }

    /// The word's characters in lower case.
    pub(super) fn folded(&self) -> impl Iterator<Item = char> {
        self.0.chars().flat_map(char::to_lowercase)
    }
}

impl Ord for Word<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.folded().cmp(other.folded())
    }
}

impl PartialOrd for Word<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Word<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.folded().eq(other.folded())
    }
}

impl Eq for Word<'_> {}

impl Hash for Word<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.folded().for_each(|character| character.hash(state));
    }
}

/// How many letters of a word are shown. A text may be one word of a million letters, which must not need that room
/// again.
const SHOWN: usize = 40;

impl fmt::Display for Word<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut letters = self.folded();
        letters.by_ref().take(SHOWN).try_for_each(|character| write!(f, "{character}"))?;
        if letters.next().is_some() { f.write_str("…") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_letters_with_apostrophes_between_them() {
        let text = "'Tis Noah's ark—12 Straßen, 'quoted' ''. É";
        let found: Vec<String> = words(text).map(|word| word.to_string()).collect();
        assert_eq!(found, ["tis", "noah's", "ark", "straßen", "quoted", "é"]);
        for word in words(text) {
            assert_eq!(Word::at(text, word.start_in(text)), word);
        }
    }
}
