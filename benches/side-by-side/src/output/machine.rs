//! Where and when the numbers were taken.

use std::fs;
use std::process::Command;

/// Facts for the head of the report, as name and value. What cannot be found out is called unknown.
pub(super) fn facts() -> Vec<(&'static str, String)> {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let processor = line_of("/proc/cpuinfo", "model name").unwrap_or_else(unknown);
    let memory = line_of("/proc/meminfo", "MemTotal").unwrap_or_else(unknown);
    vec![
        ("date", today()),
        ("processor", format!("{processor}, {cores} logical")),
        ("memory", memory),
        (
            "kernel",
            fs::read_to_string("/proc/sys/kernel/osrelease")
                .map_or_else(|_| unknown(), |text| format!("{} {}", std::env::consts::OS, text.trim())),
        ),
        (
            "huge pages",
            fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled")
                .map_or_else(|_| unknown(), |text| text.trim().to_owned()),
        ),
        ("compiler", compiler()),
    ]
}

fn unknown() -> String {
    "unknown".to_owned()
}

/// The value of the first line `name: value` in a file.
fn line_of(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let (_, value) = text.lines().find(|line| line.starts_with(name))?.split_once(':')?;
    Some(value.trim().to_owned())
}

fn compiler() -> String {
    let output = Command::new("rustc").arg("--version").output();
    output
        .ok()
        .and_then(|output| String::from_utf8(output.stdout).ok())
        .map_or_else(unknown, |text| text.trim().to_owned())
}

/// The date in UTC.
fn today() -> String {
    jiff::Timestamp::now().strftime("%F").to_string()
}
