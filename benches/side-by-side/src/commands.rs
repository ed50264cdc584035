//! What the commands do: measure, and put the results into sections.

use std::ffi::OsString;
use std::path::Path;

use anyhow::{Result, ensure};
use bench_common::cli::{progress, ticking_progress};

use side_by_side::allocators::{Allocator, Class};
use side_by_side::output::{self, Section};
use side_by_side::workloads::{self, Workload};
use side_by_side::{cases, instructions, latency, measure, memory, threads};

use crate::cli::Options;

/// An error if a filter fits nothing at all.
fn ensure_known(options: &Options, workloads: &[Workload]) -> Result<()> {
    for filter in &options.common.only {
        let known = (workloads.iter().map(|workload| workload.name.as_str()))
            .chain(threads::Workload::ALL.iter().map(|workload| workload.name()))
            .chain(Allocator::ALL.iter().map(|allocator| allocator.name()))
            .any(|name| name.contains(filter.as_str()));
        ensure!(known, "no allocator and no workload is called {filter:?}; see `list`");
    }
    Ok(())
}

/// The workloads that the filters leave; an error if a filter fits nothing at all.
fn chosen_workloads(options: &Options) -> Result<Vec<Workload>> {
    let all = workloads::all(&options.traces)?;
    ensure_known(options, &all)?;
    let fits = |workload: &Workload| {
        options.common.only.iter().any(|filter| workload.name.contains(filter.as_str()))
    };
    if all.iter().any(fits) { Ok(all.into_iter().filter(fits).collect()) } else { Ok(all) }
}

pub(crate) fn time(options: &Options) -> Result<Section> {
    let (workloads, allocators) = (chosen_workloads(options)?, options.allocators());
    let effort = options.effort();
    let bar = progress("time");
    let child = |allocator: Allocator, workload: &Workload, purpose: measure::Purpose| -> Vec<OsString> {
        let patience = effort.patience.as_millis().to_string();
        vec![
            "serve".into(),
            allocator.name().into(),
            workload.name.as_str().into(),
            purpose.name().into(),
            patience.into(),
            "--traces".into(),
            options.traces.as_os_str().into(),
        ]
    };
    let rows = measure::race(&workloads, &allocators, effort.rounds, child, &bar)?;
    bar.finish_and_clear();
    for row in &rows {
        for (allocator, outcome) in std::iter::zip(&allocators, &row.outcomes) {
            if let measure::Outcome::Wrong(what) = outcome {
                let (workload, past) = (&row.workload, row.past.name());
                eprintln!("{} gave a wrong answer in {workload:?}, {past}: {what}", allocator.name());
            }
        }
    }
    Ok(output::time_section(&rows, &allocators, effort))
}

pub(crate) fn threads(options: &Options) -> Result<Section> {
    ensure_known(options, &workloads::all(&options.traces)?)?;
    let (workloads, allocators) = (options.workloads_with_threads(), options.allocators_with_threads());
    ensure!(!allocators.is_empty(), "the loop alone is not measured with threads");
    let rounds = options.rounds_with_threads();
    let bar = progress("threads");
    let rows = threads::race(&workloads, &allocators, rounds, perform_command, &bar)?;
    bar.finish_and_clear();
    for row in &rows {
        for (allocator, outcome) in std::iter::zip(&allocators, &row.outcomes) {
            if let threads::Outcome::Wrong(what) = outcome {
                let (allocator, workload) = (allocator.name(), row.workload.name());
                eprintln!("{allocator} gave a wrong answer in {workload:?} with {}: {what}", row.threads);
            }
        }
    }
    Ok(output::threads_section(&rows, &allocators, rounds))
}

/// The command line of a child of `threads`.
fn perform_command(
    allocator: Allocator,
    workload: threads::Workload,
    threads: usize,
    purpose: threads::Purpose,
) -> Vec<OsString> {
    let mut arguments =
        vec!["perform".into(), allocator.name().into(), workload.name().into(), threads.to_string().into()];
    if purpose == threads::Purpose::Check {
        arguments.push("--check".into());
    }
    arguments
}

pub(crate) fn memory(options: &Options) -> Result<Vec<Section>> {
    let chosen = options.allocators();
    let has_caches = chosen.iter().any(|&allocator| Some(allocator) == Allocator::thread_cached());
    let allocators: Vec<Allocator> = chosen.into_iter().filter(|allocator| allocator.is_arena()).collect();
    ensure!(has_caches || !allocators.is_empty(), "memory is measured for fixed-arena allocators only");
    let mut sections = Vec::new();
    if !allocators.is_empty() {
        let bar = ticking_progress("fill");
        let fill = memory::fill_to_refusal(&allocators, options.common.quick, options.fill_patience(), &bar)?;
        bar.finish_and_clear();
        let traces = workloads::recorded_traces(&options.traces)?;
        let bar = ticking_progress("smallest");
        let smallest = memory::smallest_arena(&traces, &allocators, options.replay_patience(), &bar)?;
        bar.finish_and_clear();
        sections.push(output::fill_section(&fill, &allocators));
        sections.push(output::smallest_section(&smallest, &allocators));
    }
    if has_caches {
        let bar = ticking_progress("caches");
        let rows = memory::cost_of_caches(&workloads::trace_files(&options.traces)?, replay_command, &bar)?;
        bar.finish_and_clear();
        sections.push(output::caches_section(&rows));
    }
    Ok(sections)
}

/// The command line of a child that replays a trace.
fn replay_command(trace: &Path, kind: &str, arena: usize, threads: usize) -> Vec<OsString> {
    vec!["replay".into(), trace.into(), kind.into(), arena.to_string().into(), threads.to_string().into()]
}

/// The allocators of the cases near a bound.
fn bounded(options: &Options) -> Result<Vec<Allocator>> {
    let allocators = cases::bounded(&options.allocators());
    ensure!(!allocators.is_empty(), "near a bound there are fixed-arena allocators and this project's only");
    Ok(allocators)
}

pub(crate) fn phases(options: &Options) -> Result<Section> {
    let allocators = bounded(options)?;
    let bar = ticking_progress("phases");
    let cells = cases::phases::run(&allocators, options.common.quick, &bar)?;
    bar.finish_and_clear();
    Ok(output::phases_section(&cells, &allocators))
}

pub(crate) fn creep(options: &Options) -> Result<Section> {
    let allocators = bounded(options)?;
    let seeds = if options.common.quick { &cases::creep::SEEDS[..1] } else { &cases::creep::SEEDS };
    let bar = ticking_progress("creep");
    let rows = cases::creep::run(&allocators, seeds, &bar)?;
    bar.finish_and_clear();
    Ok(output::creep_section(&rows, &allocators, seeds.len()))
}

pub(crate) fn near(options: &Options) -> Result<Section> {
    let allocators = bounded(options)?;
    let rounds = options.rounds_near_the_bound();
    let bar = progress("near");
    let rows = cases::near::run(&allocators, rounds, &bar)?;
    bar.finish_and_clear();
    Ok(output::near_section(&rows, &allocators, rounds))
}

pub(crate) fn placement(options: &Options) -> Result<Section> {
    let mut allocators = options.allocators();
    allocators.retain(|allocator| allocator.keeps_contents());
    ensure!(!allocators.is_empty(), "the loop alone places nothing");
    let bar = ticking_progress("placement");
    let found = cases::placement::run(&allocators, &bar)?;
    bar.finish_and_clear();
    Ok(output::placement_section(&found, &allocators))
}

pub(crate) fn latency(options: &Options) -> Result<Section> {
    let rounds = options.effort().rounds;
    let bar = progress("latency");
    let child = |allocator: Allocator| vec!["calls".into(), allocator.name().into()];
    let latency = latency::run(&options.allocators(), rounds, child, &bar)?;
    bar.finish_and_clear();
    Ok(output::latency_section(&latency, rounds))
}

pub(crate) fn instructions(options: &Options) -> Result<Section> {
    ensure!(instructions::is_available(), "valgrind is needed to count instructions");
    // Every call costs a dump, hence not everybody with --quick.
    let takes_part = |allocator: &Allocator| match allocator.class() {
        Class::Loop => true,
        Class::Arena => {
            !options.common.quick || *allocator == Allocator::Ours || !options.common.only.is_empty()
        }
        Class::General => false,
    };
    let allocators: Vec<Allocator> = options.allocators().into_iter().filter(takes_part).collect();
    ensure!(!allocators.is_empty(), "instructions are counted for fixed-arena allocators only");
    let adversaries = instructions::adversaries()?;
    let bar = ticking_progress("instructions");
    bar.set_length((allocators.len() * adversaries.len()) as u64);
    let mut costs = Vec::new();
    for adversary in &adversaries {
        for &allocator in &allocators {
            bar.set_message(format!("{}, {}", adversary.sequence.name, allocator.name()));
            let child = ["drive", allocator.name(), &adversary.sequence.name].map(str::to_owned);
            let calls = instructions::count(&child, allocator, adversary)?;
            costs.extend(instructions::summarise(allocator, &adversary.sequence.name, &calls));
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    Ok(output::instructions_section(&costs, &adversaries, &allocators))
}

pub(crate) fn list(options: &Options) -> Result<()> {
    println!("allocators");
    for allocator in Allocator::ALL {
        println!("  {:16} {}", allocator.name(), allocator.how());
    }
    println!("workloads");
    for workload in workloads::all(&options.traces)? {
        println!("  {}", workload.name);
    }
    println!("workloads for several threads");
    for workload in threads::Workload::ALL {
        println!("  {}", workload.name());
    }
    Ok(())
}
