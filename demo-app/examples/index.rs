//! Makes an index of a book: on which lines each word is. The README measures it: how large its arena has to be.
//!
//!     MEM_ALLOC_RUST_TRACE=index.trace cargo run --release -p demo-app --example index
//!     cargo run --release -p demo-app --bin insight -- size index.trace

use mem_alloc_rust::{FreeList, Locked, watch::Traced};
use std::collections::HashMap;

#[global_allocator]
static A: Traced<Locked<FreeList<{ 64 << 20 }>>> = Traced::new(Locked::new());

fn main() {
    let book = include_str!("../texts/genesis.txt");
    let mut index: HashMap<String, Vec<usize>> = HashMap::new();
    for (line, text) in (1..).zip(book.lines()) {
        for word in text.split(|letter: char| !letter.is_alphabetic()).filter(|word| !word.is_empty()) {
            index.entry(word.to_lowercase()).or_default().push(line);
        }
    }
    let mut words: Vec<(&String, &Vec<usize>)> = index.iter().collect();
    words.sort();
    let entries: Vec<String> = words.iter().map(|(word, lines)| format!("{word}: {lines:?}")).collect();
    let on_line_1 = words.iter().filter(|(_, lines)| lines.contains(&1)).count();
    println!("{} words, {on_line_1} on line 1", entries.len());
}
