//! A program with three leaks among 100,000 blocks, names that live for a moment, and a vector that nobody reserved
//! memory for.

use std::collections::BTreeMap;
use std::hint::black_box;

/// The program, from its beginning to its end.
pub fn main() {
    let index = build_index(100_000);
    let results = collect_results(&index);
    render_names(&index);
    leak_settings();
    for session in 0..3 {
        leak_session(session);
    }
    let worker = std::thread::spawn(leak_in_a_thread);
    worker.join().expect("the thread does not panic");
    println!("{} results", results.len());
}

#[inline(never)]
fn build_index(entries: u32) -> BTreeMap<u32, Box<[u8; 40]>> {
    (0..entries).map(|number| (number, Box::new([number as u8; 40]))).collect()
}

#[inline(never)]
fn collect_results(index: &BTreeMap<u32, Box<[u8; 40]>>) -> Vec<u64> {
    let mut results = Vec::new();
    for (number, entry) in index {
        results.push(u64::from(*number) * u64::from(entry[0])); // grows
    }
    results
}

#[inline(never)]
fn render_names(index: &BTreeMap<u32, Box<[u8; 40]>>) {
    for number in index.keys().take(10_000) {
        black_box(format!("entry number {number}")); // short-lived
    }
}

#[inline(never)]
fn leak_settings() {
    std::mem::forget(black_box(vec![1u8; 4321])); // the first leak
}

#[inline(never)]
fn leak_session(number: u8) {
    std::mem::forget(black_box(Box::new([number; 100]))); // the second leak
}

#[inline(never)]
fn leak_in_a_thread() {
    std::mem::forget(black_box(String::from("nobody reads this"))); // the third leak
}
