//! The allocator's own operations, so that the effect of a change is seen in a minute: `cargo bench`.
//!
//! How it stands beside other allocators is measured by the package in `benches/side-by-side`.
#![allow(missing_docs, reason = "a macro of criterion's makes a function that has none")]

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use fastrand::Rng;
use mem_alloc_rust::{Locked, Region};
use std::alloc::{GlobalAlloc, Layout};
use std::hint::black_box;
use std::time::Duration;

const ARENA: usize = 16 << 20;

/// How many blocks a burst allocates before it frees them.
const BURST: usize = 1000;

/// An allocator over a region of its own whose pages are all there.
fn allocator() -> Locked<Region> {
    let memory = Box::leak(vec![1u64; ARENA / 8].into_boxed_slice());
    let allocator = Locked::new();
    // SAFETY: the memory is leaked and used by nothing else.
    unsafe { allocator.init(memory.as_mut_ptr().cast(), ARENA) }.expect("a large region is accepted");
    allocator
}

fn layout(size: usize, align: usize) -> Layout {
    Layout::from_size_align(size, align).expect("a valid layout")
}

fn alloc(allocator: &Locked<Region>, layout: Layout) -> *mut u8 {
    // SAFETY: no layout here is of zero bytes.
    let block = unsafe { allocator.alloc(layout) };
    assert!(!block.is_null());
    block
}

/// Gives back a block that was allocated with that layout.
fn free(allocator: &Locked<Region>, block: *mut u8, layout: Layout) {
    // SAFETY: every benchmark frees each of its blocks once, with its layout.
    unsafe { allocator.dealloc(block, layout) }
}

fn pairs(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("pair");
    for size in [8, 64, 500, 4096, 65_536] {
        let allocator = allocator();
        let layout = layout(size, 8);
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            bencher.iter(|| free(&allocator, black_box(alloc(&allocator, layout)), layout));
        });
    }
    let allocator = allocator();
    let aligned = layout(100, 64);
    group.bench_function("100 aligned to 64", |bencher| {
        bencher.iter(|| free(&allocator, black_box(alloc(&allocator, aligned)), aligned));
    });
    group.finish();
}

fn zeroed(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("zeroed pair");
    for size in [64, 4096] {
        let allocator = allocator();
        let layout = layout(size, 8);
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            bencher.iter(|| {
                // SAFETY: the layout is not of zero bytes.
                let block = black_box(unsafe { allocator.alloc_zeroed(layout) });
                free(&allocator, block, layout);
            });
        });
    }
    group.finish();
}

fn bursts(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("burst");
    group.throughput(Throughput::Elements(BURST as u64));
    for size in [24, 64, 128] {
        for last_first in [true, false] {
            let allocator = allocator();
            let layout = layout(size, 8);
            let mut blocks = vec![std::ptr::null_mut(); BURST];
            let order = if last_first { "LIFO" } else { "FIFO" };
            group.bench_function(BenchmarkId::new(order, size), |bencher| {
                bencher.iter(|| {
                    for block in &mut blocks {
                        *block = alloc(&allocator, layout);
                    }
                    if last_first {
                        blocks.iter().rev().for_each(|&block| free(&allocator, block, layout));
                    } else {
                        blocks.iter().for_each(|&block| free(&allocator, block, layout));
                    }
                });
            });
        }
    }
    group.finish();
}

/// A random one of 10,000 slots is freed if it is taken and taken if it is free.
fn random_actions(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("random actions");
    for largest in [128, 1000, 10_000] {
        let allocator = allocator();
        let mut random = Rng::with_seed(1);
        let mut slots = vec![(std::ptr::null_mut(), 0); 2000];
        group.bench_function(BenchmarkId::from_parameter(largest), |bencher| {
            bencher.iter(|| {
                let slot = random.usize(..slots.len());
                let (block, size): &mut (*mut u8, usize) = &mut slots[slot];
                if block.is_null() {
                    *size = random.usize(1..=largest);
                    *block = alloc(&allocator, layout(*size, 8));
                } else {
                    free(&allocator, *block, layout(*size, 8));
                    *block = std::ptr::null_mut();
                }
            });
        });
    }
    group.finish();
}

/// A vector that grows by doubling from 16 bytes to 1 MiB, in an empty arena and with another block behind
/// it.
fn growth(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("vector growth");
    for in_the_way in [false, true] {
        let allocator = allocator();
        let name = if in_the_way { "with a block behind it" } else { "alone" };
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                || alloc(&allocator, layout(16, 8)),
                |mut block| {
                    let wall = in_the_way.then(|| alloc(&allocator, layout(16, 8)));
                    let mut size = 16;
                    while size < 1 << 20 {
                        // SAFETY: the block has `size` bytes.
                        block = unsafe { allocator.realloc(block, layout(size, 8), 2 * size) };
                        size *= 2;
                    }
                    free(&allocator, block, layout(size, 8));
                    if let Some(wall) = wall {
                        free(&allocator, wall, layout(16, 8));
                    }
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

fn configuration() -> Criterion {
    Criterion::default()
        .sample_size(30)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
}

criterion_group! {
    name = operations;
    config = configuration();
    targets = pairs, zeroed, bursts, random_actions, growth
}
criterion_main!(operations);
