//! The demo of threads as its user sees it.

use std::process::{Command, Output};

fn threads(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_threads")).args(arguments).output().expect("the demo starts")
}

#[test]
fn both_allocators_are_measured_with_every_number_of_threads() {
    let output = threads(&["--milliseconds", "20"]);
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let rows: Vec<Vec<f64>> = stdout
        .lines()
        .map(|line| line.split_whitespace().map_while(|cell| cell.parse().ok()).collect::<Vec<f64>>())
        .filter(|cells| cells.len() == 3)
        .collect();
    assert_eq!(rows.iter().map(|row| row[0]).collect::<Vec<_>>(), [1.0, 2.0, 4.0, 8.0].repeat(2));
    assert!(stdout.contains("A thread sleeps on a full cache") && stdout.contains("All threads have ended."));
}

#[test]
fn nonsense_is_told() {
    let output = threads(&["--milliseconds", "never"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--milliseconds"));
}
