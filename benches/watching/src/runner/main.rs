//! `watching`: runs the program of each watcher with each workload, and compares what they cost.

mod child;
mod variants;

use std::process::ExitCode;

use anyhow::{Context, Error, Result};
use bench_common::cli::{Options, command_line, progress};
use bench_common::comparison::{Comparison, Outcome, Quantity, Row, in_turn};
use bench_common::{Table, filters, results};
use clap::Parser;
use programs::workloads::{ALL, NOTHING};

use variants::Variant;

/// Measures what watching a program's allocations costs: processor time and peak memory.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(flatten)]
    common: Options,
}

fn main() -> Result<ExitCode> {
    let options = Cli::parse().common;
    let all = variants::all();
    let (chosen, workloads) =
        filters::chosen(&options.only, (&all, |variant| variant.name), (&ALL, |workload| workload.name))
            .map_err(Error::msg)?;
    let is_base = |variant: &Variant| all.iter().any(|other| other.base == variant.name);
    let variants: Vec<Variant> =
        all.iter().filter(|variant| is_base(variant) || chosen.contains(variant)).cloned().collect();
    let own = std::env::current_exe().context("this program does not know where it lies")?;
    let folder = own.parent().context("a program lies in a folder")?;
    let rounds = options.rounds(7, 3);

    // The first run of a program reads its file, hence before anything is measured.
    for variant in &variants {
        let _ = child::run(folder, variant, &NOTHING)?;
    }
    let bar = progress("watching");
    bar.set_length((rounds * workloads.len() * variants.len()) as u64);
    let expected: Vec<u64> = workloads.iter().map(programs::workloads::Workload::checksum).collect();
    let names: Vec<&str> = workloads.iter().map(|workload| workload.name).collect();
    let rows = in_turn(&names, variants.len(), rounds, |row, column| {
        bar.set_message(format!("{}, {}", names[row], variants[column].name));
        let run = child::run(folder, &variants[column], &workloads[row])?;
        bar.inc(1);
        Ok::<_, Error>(run.and_then(|run| {
            if run.checksum == expected[row] { Ok(run.sample) } else { Err("wrong results".to_owned()) }
        }))
    })?;
    bar.finish_and_clear();

    let tables: Vec<Table> =
        ["plain", "system"].iter().flat_map(|base| group(&variants, &rows, base)).collect();
    let columns: Vec<&str> = variants.iter().map(|variant| variant.name).collect();
    let comparison = Comparison { what: "workload", columns: &columns, further: [], rows: &rows };
    let introduction = variants::introduction(&variants, rounds, &command_line());
    results::publish("watching", &comparison, &tables, &introduction, options.out.as_ref())
}

/// The tables of those that are compared with the same program.
fn group(variants: &[Variant], rows: &[Row], base: &'static str) -> [Table; 2] {
    let members: Vec<usize> = (0..variants.len()).filter(|&index| variants[index].base == base).collect();
    let columns: Vec<&str> = members.iter().map(|&index| variants[index].name).collect();
    let rows: Vec<Row> = rows
        .iter()
        .map(|row| Row {
            name: row.name,
            outcomes: members.iter().map(|&index| row.outcomes[index].clone()).collect(),
        })
        .collect();
    let comparison = Comparison { what: "workload", columns: &columns, further: [], rows: &rows };
    let caption = |what: &str| format!("{what}, and how many times that of *{base}*.");
    [
        comparison.table(&Quantity {
            caption: caption("Processor time of the process in milliseconds"),
            of: Outcome::cpu,
            baseline: Some(base),
        }),
        comparison.table(&Quantity {
            caption: caption("Peak resident memory in MiB"),
            of: Outcome::peak,
            baseline: Some(base),
        }),
    ]
}
