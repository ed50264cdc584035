//! A search engine.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, DefaultHasher};

use crate::Checksum;
use bench_common::inputs::Writer;

/// Always with the same keys: tables of the same contents have the same shape in every run.
type Map<K, V> = HashMap<K, V, BuildHasherDefault<DefaultHasher>>;

/// Where a word occurs: document and position.
type Place = (u32, u32);

const DOCUMENTS: usize = 5_000;
const QUERIES: usize = 3_000;
const HITS: usize = 10;

/// Builds an index over documents, ranks the words, and answers queries.
pub(super) fn perform(checksum: &mut Checksum) {
    let mut writer = Writer::new(2);
    let documents: Vec<String> = (0..DOCUMENTS).map(|_| writer.prose(6)).collect();
    let index = index(&documents);
    let mut ranking: Vec<(String, usize)> =
        index.iter().map(|(word, places)| (word.to_uppercase(), places.len())).collect();
    ranking.sort_by(|(word, count), (other, others)| others.cmp(count).then_with(|| word.cmp(other)));
    checksum.add(ranking);
    for _ in 0..QUERIES {
        checksum.add(answer(&index, &writer.words(3)));
    }
}

fn index(documents: &[String]) -> Map<String, Vec<Place>> {
    let mut index = Map::<String, Vec<Place>>::default();
    for (number, document) in (0..).zip(documents) {
        for (position, word) in (0..).zip(document.split_whitespace()) {
            index.entry(word.trim_matches('.').to_owned()).or_default().push((number, position));
        }
    }
    index
}

/// The documents in which most words of the query are found.
fn answer(index: &Map<String, Vec<Place>>, query: &str) -> Vec<(u32, Vec<u32>)> {
    let mut found = Map::<u32, Vec<u32>>::default();
    for word in query.split(' ') {
        // Words that are in every other document tell nothing.
        let places = index.get(word).filter(|places| places.len() < DOCUMENTS / 2);
        for &(document, position) in places.into_iter().flatten() {
            found.entry(document).or_default().push(position);
        }
    }
    let mut hits: Vec<(u32, Vec<u32>)> = found.into_iter().collect();
    hits.sort_by_key(|(document, positions)| (Reverse(positions.len()), *document));
    hits.truncate(HITS);
    hits
}
