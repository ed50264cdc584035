//! Runs the programs with waves, and tells how resident memory follows what is in use.

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bench_common::files;
use bench_common::{Csv, Table};
use programs::waves::{self, HEIGHTS, THIRD, Wave};

use crate::allocators::Allocator;

/// Runs one program after the other, prints a table, and writes `waves.md` and `waves.csv`.
///
/// # Errors
///
/// If a program cannot be run, or does not print what it should.
pub(crate) fn run(
    folder: &Path,
    allocators: &[Allocator],
    length: Duration,
    command_line: &str,
    out: Option<&Path>,
) -> Result<ExitCode> {
    let mut csv = Csv::new(&[
        "allocator",
        "wave",
        "height_mib",
        "high_live_bytes",
        "high_resident_bytes",
        "live_bytes",
        "resident_bytes",
        "cpu_ns",
    ]);
    let mut rows = Vec::new();
    for allocator in allocators {
        let waves = of(&folder.join(allocator.name), length)?;
        for (number, (height, wave)) in std::iter::zip(HEIGHTS, &waves).enumerate() {
            let Wave { high_live, high_resident, live, resident, time } = *wave;
            let numbers = [number + 1, height, high_live, high_resident, live, resident]
                .map(|number| number.to_string());
            let time = time.as_nanos().to_string();
            csv.push(std::iter::once(allocator.name.to_owned()).chain(numbers).chain([time]));
        }
        rows.push(row(allocator, &waves));
    }
    let header = [
        "allocator",
        "resident over live, at the height: mean",
        "after a wave: mean",
        "after a wave: worst",
        "MiB after the third, the last",
        "CPU ms of the third, the last",
        "CPU ms of all",
    ];
    let caption = format!(
        "{} waves in {} s, of {:?} MiB, above a table that stays",
        HEIGHTS.len(),
        length.as_secs(),
        HEIGHTS
    );
    let table = Table { caption, header: header.map(str::to_owned).to_vec(), rows };
    println!("{}", table.terminal());
    if let Some(out) = out {
        let text = format!("# Waves\n\n`{command_line}`\n\n{}", table.markdown());
        files::write(out, &[("waves.md", &text), ("waves.csv", &csv.text())])?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The waves that a program makes.
fn of(program: &Path, length: Duration) -> Result<Vec<Wave>> {
    let output = Command::new(program)
        .args([waves::NAME, &length.as_secs().to_string()])
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| {
            format!("cannot run {}; `cargo build --release` makes all programs", program.display())
        })?;
    ensure!(output.status.success(), "{}: {}", program.display(), output.status);
    let text = String::from_utf8(output.stdout).context("what a program prints is text")?;
    let waves: Result<Vec<Wave>, _> = text.lines().map(str::parse).collect();
    let waves = waves.ok().filter(|waves| waves.len() == HEIGHTS.len());
    waves.with_context(|| format!("{} does not print its waves", program.display()))
}

fn row(allocator: &Allocator, waves: &[Wave]) -> Vec<String> {
    let count = waves.len() as f64;
    let over = |of: fn(&Wave) -> (usize, usize)| {
        waves.iter().map(move |wave| {
            let (resident, live) = of(wave);
            resident as f64 / live as f64
        })
    };
    let high = over(|wave| (wave.high_resident, wave.high_live)).sum::<f64>() / count;
    let after = over(|wave| (wave.resident, wave.live));
    let (mean, worst) = (after.clone().sum::<f64>() / count, after.fold(0.0, f64::max));
    let (third, last) = (waves[THIRD], waves[waves.len() - 1]);
    let milliseconds = |time: Duration| time.as_secs_f64() * 1000.0;
    let all: Duration = waves.iter().map(|wave| wave.time).sum();
    vec![
        allocator.name.to_owned(),
        format!("{high:.2}"),
        format!("{mean:.2}"),
        format!("{worst:.2}"),
        format!("{}, {}", third.resident >> 20, last.resident >> 20),
        format!("{:.0}, {:.0}", milliseconds(third.time), milliseconds(last.time)),
        format!("{:.0}", milliseconds(all)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::allocators::ALL;

    #[test]
    fn a_row_compares_the_third_wave_with_the_last() {
        let wave = |factor: usize| Wave {
            high_live: 200 << 20,
            high_resident: 220 << 20,
            live: 20 << 20,
            resident: (20 << 20) * factor,
            time: Duration::from_millis(100 * factor as u64),
        };
        let mut waves = [wave(1); HEIGHTS.len()];
        waves[THIRD] = wave(2);
        waves[HEIGHTS.len() - 1] = wave(3);
        let expected = ["1.10", "1.25", "3.00", "40, 60", "200, 300", "1500"];
        assert_eq!(row(&ALL[0], &waves)[1..], expected);
    }
}
