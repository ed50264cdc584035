//! A program that edits text.

use crate::Checksum;
use bench_common::inputs::Writer;

const SENTENCES: usize = 40_000;

/// Splits a text into sentences, sorts them by a computed key, formats them, and puts everything together again.
pub(super) fn perform(checksum: &mut Checksum) {
    let text = Writer::new(5).prose(SENTENCES);
    let mut sentences: Vec<String> = text
        .split('.')
        .map(|sentence| sentence.trim().to_owned())
        .filter(|sentence| !sentence.is_empty())
        .collect();
    sentences.sort_by_cached_key(|sentence| sentence.chars().rev().collect::<String>());
    let mut lines: Vec<String> = (1..)
        .zip(&sentences)
        .map(|(number, sentence)| {
            let mut words: Vec<String> = sentence.split(' ').map(capitalised).collect();
            words.sort();
            words.dedup();
            format!("{number:>6}: {} ({} words)", words.join(", "), words.len())
        })
        .collect();
    lines.retain(|line| !line.contains("Zen"));
    lines.sort_by_key(String::len);
    let pages: Vec<String> = lines.chunks(50).map(|page| page.join("\n")).collect();
    checksum.add(pages.join("\n\n"));
}

fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
