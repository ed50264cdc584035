//! The one line that makes every `Box`, `Vec` and `String` of a program come from a 1 MiB arena.

use mem_alloc_rust::{FreeList, Locked};

#[global_allocator]
static A: Locked<FreeList> = Locked::new();

fn main() {
    let words: Vec<String> = "one line is all it takes".split(' ').map(str::to_owned).collect();
    let stats = A.stats();
    println!("{} words, {} bytes live of {}", words.len(), stats.live_bytes, stats.arena_bytes);
}
