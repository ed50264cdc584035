//! What the program does, whatever its allocator.

use std::fmt;
use std::process::ExitCode;
use std::str::FromStr;

use crate::{peak, workloads};

/// Seconds after which a program that hangs is ended.
const PATIENCE: u32 = 60;

/// What a program prints when its workload is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// The checksum of the results.
    pub checksum: u64,
    /// High-water mark of the resident memory, in KiB.
    pub peak_kib: u64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x} {}", self.checksum, self.peak_kib)
    }
}

/// The text is not what a program prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoReport;

impl FromStr for Report {
    type Err = NoReport;

    fn from_str(text: &str) -> Result<Self, NoReport> {
        let (checksum, peak_kib) = text.trim_end().split_once(' ').ok_or(NoReport)?;
        Ok(Self {
            checksum: u64::from_str_radix(checksum, 16).map_err(|_| NoReport)?,
            peak_kib: peak_kib.parse().map_err(|_| NoReport)?,
        })
    }
}

/// Performs the workload that the command line names, and prints the [`Report`].
#[must_use]
pub fn run() -> ExitCode {
    // SAFETY: `alarm` has no preconditions. Its signal ends the process, since nobody here handles it.
    unsafe { libc::alarm(PATIENCE) };
    let Some(workload) = std::env::args().nth(1).and_then(|name| workloads::by_name(&name)) else {
        eprintln!("the name of a workload is expected");
        return ExitCode::FAILURE;
    };
    let checksum = workload.checksum();
    match peak::resident_kib() {
        Ok(peak_kib) => {
            println!("{}", Report { checksum, peak_kib });
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
        let report = Report { checksum: 0x12ab, peak_kib: 2048 };
        assert_eq!(format!("{report}\n").parse(), Ok(report));
        assert_eq!("".parse::<Report>(), Err(NoReport));
    }
}
