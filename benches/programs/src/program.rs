//! What the program does, whatever its allocator.

use std::fmt;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use bench_common::{clock, peak};

use crate::{waves, workloads};

/// How often a program performs its workload: the first run finds a heap that is as fresh as no
/// program's stays.
pub const RUNS: usize = 3;

/// What a program prints when its workload is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// The checksum of the results, which every run had.
    pub checksum: u64,
    /// Processor time of each run, that of all threads, in the program and in the system.
    pub runs: [Duration; RUNS],
    /// High-water mark of the resident memory, in KiB.
    pub peak_kib: u64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x} {}", self.checksum, self.peak_kib)?;
        self.runs.iter().try_for_each(|run| write!(f, " {}", run.as_nanos()))
    }
}

/// The text is not what a program prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoReport;

impl FromStr for Report {
    type Err = NoReport;

    fn from_str(text: &str) -> Result<Self, NoReport> {
        let mut words = text.split_whitespace();
        let checksum = words.next().and_then(|word| u64::from_str_radix(word, 16).ok()).ok_or(NoReport)?;
        let mut number = || words.next().and_then(|word| word.parse().ok()).ok_or(NoReport);
        let peak_kib = number()?;
        let mut runs = [Duration::ZERO; RUNS];
        for run in &mut runs {
            *run = Duration::from_nanos(number()?);
        }
        words.next().is_none().then_some(Self { checksum, runs, peak_kib }).ok_or(NoReport)
    }
}

/// Performs the workload that the command line names, [`RUNS`] times, and prints the [`Report`]; or makes [`waves`].
#[must_use]
pub fn run() -> ExitCode {
    if std::env::args().nth(1).is_some_and(|name| name == waves::NAME) {
        let seconds = std::env::args().nth(2).and_then(|text| text.parse().ok()).unwrap_or(waves::SECONDS);
        return match waves::make(Duration::from_secs(seconds), |wave| println!("{wave}")) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("the memory of this process is unknown: {error}");
                ExitCode::FAILURE
            }
        };
    }
    let Some(workload) = std::env::args().nth(1).and_then(|name| workloads::by_name(&name)) else {
        eprintln!("the name of a workload is expected");
        return ExitCode::FAILURE;
    };
    let mut runs = [Duration::ZERO; RUNS];
    let mut checksums = [0; RUNS];
    for (run, checksum) in std::iter::zip(&mut runs, &mut checksums) {
        let before = clock::of_process();
        *checksum = workload.checksum();
        *run = clock::of_process() - before;
    }
    let [checksum, ..] = checksums;
    if checksums != [checksum; RUNS] {
        eprintln!("runs of the same workload have different results");
        return ExitCode::FAILURE;
    }
    match peak::resident_kib() {
        Ok(peak_kib) => {
            println!("{}", Report { checksum, runs, peak_kib });
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("the memory of this process is unknown: {error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_can_be_read() {
        let runs = [7, 5, 6].map(Duration::from_micros);
        let report = Report { checksum: 0x12ab, runs, peak_kib: 2048 };
        assert_eq!(format!("{report}\n").parse(), Ok(report));
        for text in ["", "12ab", "12ab 2048 7 5", "12ab 2048 7 5 6 4", "12ab 2048 7 5 x"] {
            assert_eq!(text.parse::<Report>(), Err(NoReport), "{text}");
        }
    }
}
