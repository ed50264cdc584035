//! `worst-case`: search, replay, check. See the README.

use anyhow::{Context, Result};
use clap::{Parser, Subcommand, ValueEnum};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use worst_case::bounds::bound;
use worst_case::engine::{Way, beside_another_thread};
use worst_case::findings;
use worst_case::genome::Genome;
use worst_case::run::{Call, Goal, Runner, Worst};
use worst_case::search::{Budget, Search};

/// Looks for the most expensive calls of the allocator, and holds the bound.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Searches for sequences with expensive calls
    Search {
        /// The same seed and number of runs give the same findings
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Ends after so many runs
        #[arg(long, default_value_t = usize::MAX, hide_default_value = true)]
        runs: usize,
        /// Ends after so many seconds
        #[arg(long, default_value_t = 300)]
        seconds: u64,
        /// Looks for these kinds of calls only (see the table that `check` prints)
        #[arg(long = "goal", value_name = "KIND")]
        goals: Vec<String>,
        /// Begins with the sequences that are known
        #[arg(long)]
        known: bool,
        /// Writes what is found to the folder of findings
        #[arg(long)]
        save: bool,
    },
    /// Carries out sequences and prints the most expensive call of each kind
    Replay {
        /// Files with sequences; all that are known if there are none
        files: Vec<PathBuf>,
        /// Who counts
        #[arg(long, value_enum, default_value_t = Counter::Rewritten)]
        counter: Counter,
    },
    /// Replays all that is known, searches for a while, and fails if a call takes more than its
    /// bound
    Check {
        /// The seed of the search
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Runs of the search
        #[arg(long, default_value_t = 6000)]
        runs: usize,
        /// Ends the search after so many seconds, even if there were fewer runs
        #[arg(long, default_value_t = 120)]
        seconds: u64,
        /// Writes the table to a file, as comma-separated values
        #[arg(long, value_name = "FILE")]
        csv: Option<PathBuf>,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Counter {
    /// A copy of the code that counts
    Rewritten,
    /// The trap flag: thousands of times slower
    Stepped,
    /// Nobody: for callgrind, which counts from outside
    Nobody,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    beside_another_thread(|| match arguments.command {
        Command::Search { seed, runs, seconds, goals, known, save } => {
            search(seed, budget(runs, seconds), &goals, known, save)
        }
        Command::Replay { files, counter } => replay(&files, counter),
        Command::Check { seed, runs, seconds, csv } => check(seed, budget(runs, seconds), csv),
    })
}

fn budget(runs: usize, seconds: u64) -> Budget {
    Budget { runs, end: Some(Instant::now() + Duration::from_secs(seconds)) }
}

fn search(seed: u64, budget: Budget, names: &[String], known: bool, save: bool) -> Result<ExitCode> {
    let goals = named(names)?;
    let mut search = Search::new(seed, &goals);
    if known {
        search.begin_with(findings::read_all(&findings::folder())?.into_iter().map(|(_, genome)| genome))?;
    }
    search.run(budget, |run, finding| {
        println!("run {run}, {}: {} instructions", finding.goal.name(), finding.instructions());
    })?;
    println!("{} runs\n", search.runs());
    warn_of_foreign_calls(search.foreign_calls());
    for finding in search.findings(|_| true)? {
        if let Some(call) = finding.worst.of(finding.goal) {
            println!("{}: {call}\n{}", finding.goal.name(), finding.genome);
        }
        if save {
            println!("written to {}\n", findings::write(&findings::folder(), &finding, seed)?.display());
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The kinds of these names, or all if there are none.
fn named(names: &[String]) -> Result<Vec<Goal>> {
    if names.is_empty() {
        return Ok(Goal::ALL.to_vec());
    }
    let of = |name: &String| Goal::ALL.into_iter().find(|goal| goal.name() == name);
    names
        .iter()
        .map(|name| of(name).with_context(|| format!("there is no kind of calls named {name:?}")))
        .collect()
}

fn replay(files: &[PathBuf], counter: Counter) -> Result<ExitCode> {
    let way = match counter {
        Counter::Rewritten => Way::Rewritten,
        Counter::Stepped => Way::Stepped,
        Counter::Nobody => Way::Uncounted,
    };
    let genomes = if files.is_empty() {
        findings::read_all(&findings::folder())?
    } else {
        let named = |file: &PathBuf| Ok((file.display().to_string(), findings::read(file)?));
        files.iter().map(named).collect::<Result<_>>()?
    };
    let mut runner = Runner::default();
    for (name, genome) in genomes {
        let worst = runner.run(&genome, way)?;
        println!("{name}: {} calls, {} instructions", worst.made, worst.total.instructions);
        warn_of_foreign_calls(worst.total.foreign_calls);
        if counter == Counter::Nobody {
            continue;
        }
        for goal in Goal::ALL {
            if let Some(call) = worst.of(goal) {
                println!("  {}: {call}", goal.name());
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The worst call of a kind that there is, and the sequence that has it.
struct Row {
    goal: Goal,
    call: Call,
    origin: String,
    genome: Genome,
}

fn check(seed: u64, budget: Budget, csv: Option<PathBuf>) -> Result<ExitCode> {
    let mut rows: Vec<Row> = Vec::new();
    let mut add = |origin: &str, genome: &Genome, worst: &Worst, goal: Goal| {
        rows.extend(worst.of(goal).map(|call| Row {
            goal,
            call,
            origin: origin.to_owned(),
            genome: genome.clone(),
        }));
    };
    let mut foreign_calls = 0;
    let mut runner = Runner::default();
    let known = findings::read_all(&findings::folder())?;
    for (name, genome) in &known {
        let worst = runner.run(genome, Way::Rewritten)?;
        foreign_calls += worst.total.foreign_calls;
        Goal::ALL.into_iter().for_each(|goal| add(name, genome, &worst, goal));
    }
    let mut search = Search::new(seed, &Goal::ALL);
    search.begin_with(known.into_iter().map(|(_, genome)| genome))?;
    search.run(budget, |_, _| {})?;
    foreign_calls += search.foreign_calls();
    println!("The search with seed {seed} made {} runs.\n", search.runs());
    for finding in search.findings(|finding| finding.instructions() > bound(finding.goal))? {
        add("(search)", &finding.genome, &finding.worst, finding.goal);
    }
    rows.sort_by_key(|row| (row.goal, std::cmp::Reverse(row.call.count.instructions)));

    print!("{}", table(&rows));
    if let Some(csv) = csv {
        write_csv(&csv, &rows).with_context(|| format!("cannot write {}", csv.display()))?;
    }
    let failures: Vec<&Row> =
        rows.iter().filter(|row| row.call.count.instructions > bound(row.goal)).collect();
    warn_of_foreign_calls(foreign_calls);
    for row in failures.iter().filter(|row| row.origin == "(search)") {
        println!("\n{}: {}, after\n{}", row.goal.name(), row.call, row.genome);
    }
    if failures.is_empty() && foreign_calls == 0 {
        println!("\nEvery call is within its bound.");
        return Ok(ExitCode::SUCCESS);
    }
    println!("\n{} are over their bounds.", failures.len());
    Ok(ExitCode::FAILURE)
}

/// The worst of each kind, and all others that are over the bound.
fn table(rows: &[Row]) -> String {
    let mut table = String::from(
        "| call | instructions | bound | sequence | size | alignment |\n|---|---:|---:|---|---:|---:|\n",
    );
    let mut last = None;
    for row in rows {
        let Row { goal, call, origin, .. } = row;
        let bound = bound(*goal);
        if last == Some(*goal) && call.count.instructions <= bound {
            continue;
        }
        last = Some(*goal);
        let over = if call.count.instructions > bound { " (over)" } else { "" };
        let _ = writeln!(
            table,
            "| {} | {}{over} | {bound} | {origin} | {} | {} |",
            goal.name(),
            call.count.instructions,
            call.size,
            call.align
        );
    }
    table
}

/// All rows, as comma-separated values.
fn write_csv(file: &Path, rows: &[Row]) -> Result<()> {
    let mut writer = csv::Writer::from_path(file)?;
    writer.write_record([
        "call",
        "instructions",
        "bound",
        "sequence",
        "step",
        "number",
        "size",
        "alignment",
    ])?;
    for Row { goal, call, origin, .. } in rows {
        let Call { step, number, size, align, count } = call;
        let instructions = count.instructions;
        writer.serialize((goal.name(), instructions, bound(*goal), origin, step, number, size, align))?;
    }
    Ok(writer.flush()?)
}

fn warn_of_foreign_calls(calls: u64) {
    if calls > 0 {
        println!(
            "{calls} calls left the program for something else than to copy or clear: counts are not whole."
        );
    }
}
