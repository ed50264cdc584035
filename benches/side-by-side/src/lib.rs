//! Measures memory allocators beside each other: time, memory, latency and instructions per
//! operation.
//!
//! - [`operation`]: the language that everything is written in; [`trace`]: its file format.
//! - [`workloads`]: what is measured. [`allocators`]: who is measured.
//! - [`execute`]: the loop. [`verify`]: the same with checks. [`region`]: the memory under it.
//! - [`measure`]: time. [`memory`]: how full an arena gets. [`latency`]: single calls, by
//!   [`clock`].
//! - [`cases`]: what a bound and a past mean to a program.
//! - [`threads`]: several threads at once. [`instructions`]: callgrind. [`own_process`]: processes
//!   for single measurements.
//! - [`bench_common::statistics`]: medians and means. [`output`]: tables, files, charts. [`page`]:
//!   `BENCHMARKS.md`.

pub mod allocators;
pub mod cases;
pub mod clock;
pub mod execute;
pub mod instructions;
pub mod latency;
pub mod measure;
pub mod memory;
pub mod operation;
pub mod output;
pub mod own_process;
pub mod page;
pub mod region;
pub mod threads;
pub mod trace;
pub mod verify;
pub mod workloads;
