//! `insight report`, `flamegraph` and `pprof`, as their user sees them: of a program that was really recorded, and of
//! files that are no traces.

#[path = "report/planted.rs"]
mod planted;

use libtest_mimic::{Arguments, Trial};
use mem_alloc_rust::watch::Traced;
use serde_json::Value;
use std::alloc::System;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

#[global_allocator]
static A: Traced<System> = Traced::new(System);

/// The program is the one that is recorded, if this is set.
const IS_RECORDED: &str = "DEMO_APP_TEST_IS_RECORDED";

fn main() {
    if std::env::var_os(IS_RECORDED).is_some() {
        return planted::main();
    }
    let trial = |name: &str, run: fn()| {
        Trial::test(name, move || {
            run();
            Ok(())
        })
    };
    let trials = vec![
        trial("exactly_the_planted_leaks_are_reported_with_file_and_line", exactly_the_planted_leaks),
        trial("a_vector_that_grew_is_reported_and_names_that_lived_for_a_moment", growth_and_short_lives),
        trial("stacks_end_with_who_asked_and_not_in_the_allocator", stacks_end_with_who_asked),
        trial("a_picture_and_a_profile_are_written", a_picture_and_a_profile_are_written),
        trial("what_is_wrong_with_a_file_is_said_in_a_sentence", what_is_wrong_is_said),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

fn insight(arguments: &[&Path]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_insight")).args(arguments).output().expect("the tool starts")
}

fn place(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

/// The trace of the program with planted leaks.
fn recorded() -> &'static Path {
    static TRACE: OnceLock<PathBuf> = OnceLock::new();
    TRACE.get_or_init(record)
}

fn record() -> PathBuf {
    let trace = place("planted.trace");
    let output = Command::new(std::env::current_exe().unwrap())
        .env(IS_RECORDED, "1")
        .env("MEM_ALLOC_RUST_TRACE", &trace)
        .env("MEM_ALLOC_RUST_TRACE_CALL_SITES", "unwind")
        .output();
    assert!(output.unwrap().status.success());
    trace
}

/// What the page of that trace shows.
fn reported(test: &str) -> Value {
    let page = place(&format!("{test}.html"));
    let output = insight(&["report".as_ref(), recorded(), "-o".as_ref(), &page]);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let page = fs::read_to_string(page).unwrap();
    let (_, data) = page.split_once("id=\"data\">").unwrap();
    serde_json::from_str(data.split_once("</script>").unwrap().0).unwrap()
}

fn number(value: &Value) -> usize {
    value.as_u64().unwrap() as usize
}

/// The innermost function of the program itself in a stack, with its file's name and line.
fn responsible(data: &Value, node: &Value) -> Option<String> {
    let mut node = number(node);
    while node != 0 {
        let frame = number(&data["nodes"]["frame"][node]);
        let frames = &data["frames"];
        if frames["origin"][frame] == 0 {
            let text = |column: &str| data["texts"][number(&frames[column][frame])].as_str().unwrap();
            let file = text("file").rsplit('/').next().unwrap();
            return Some(format!("{} at {file}:{}", text("function"), frames["line"][frame]));
        }
        node = number(&data["nodes"]["caller"][node]);
    }
    None
}

/// A function of the program, with the line that has a comment.
fn expected(function: &str, comment: &str) -> String {
    let source = include_str!("report/planted.rs");
    let line = 1 + source.lines().position(|line| line.ends_with(comment)).unwrap();
    format!("report::planted::{function} at planted.rs:{line}")
}

/// Values of a column of the rows, by who is responsible.
fn rows(data: &Value, table: &str, column: &str) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    for (node, value) in
        data[table]["node"].as_array().unwrap().iter().zip(data[table][column].as_array().unwrap())
    {
        if let Some(who) = responsible(data, node) {
            *found.entry(who).or_insert(0) += value.as_u64().unwrap();
        }
    }
    found.retain(|_, value| *value > 0);
    found
}

fn exactly_the_planted_leaks() {
    let data = reported("leaks");
    let leaks = [
        (expected("leak_settings", "// the first leak"), 4321),
        (expected("leak_session", "// the second leak"), 3 * 100),
        (expected("leak_in_a_thread", "// the third leak"), 17),
    ];
    assert_eq!(rows(&data, "rows", "endBytes"), BTreeMap::from(leaks));
    assert_eq!(data["missing"], serde_json::json!([]));
    assert_eq!(data["threads"], 2);
    assert!(number(&data["peak"]["blocks"]) > 100_000);
}

fn growth_and_short_lives() {
    let data = reported("growth");
    let grown = expected("collect_results", "// grows");
    assert_eq!(rows(&data, "growths", "blocks"), BTreeMap::from([(grown.clone(), 1)]));
    // From 4 numbers of 8 bytes to 131,072.
    assert_eq!(rows(&data, "growths", "steps")[&grown], 15);
    assert_eq!(rows(&data, "growths", "largest")[&grown], 131_072 * 8);
    let short = rows(&data, "rows", "shortBlocks");
    assert_eq!(short[&expected("render_names", "// short-lived")], 10_000);
    assert!(short.values().sum::<u64>() < 10_100, "{short:?}");
}

fn stacks_end_with_who_asked() {
    let trace = recorded();
    let output = insight(&["flamegraph".as_ref(), trace, "--folded".as_ref(), "--by=end".as_ref()]);
    let text = String::from_utf8(output.stdout).unwrap();
    let leak = text.lines().find(|line| line.contains("leak_session")).unwrap();
    assert!(leak.contains("report::planted::main;report::planted::leak_session;alloc::boxed::Box"), "{leak}");
    assert!(leak.ends_with(" 300"), "{leak}");
    for inside in ["__rust_alloc", "GlobalAlloc", "recorder", "LocalKey", "__rust_begin_short_backtrace"] {
        assert!(!leak.contains(inside), "{leak}");
    }
}

fn a_picture_and_a_profile_are_written() {
    let trace = recorded();
    let (picture, profile) = (place("picture.svg"), place("profile.pb.gz"));
    assert!(insight(&["flamegraph".as_ref(), trace, "-o".as_ref(), &picture]).status.success());
    assert!(fs::read_to_string(&picture).unwrap().contains("report::planted::build_index"));
    assert!(insight(&["pprof".as_ref(), trace, "-o".as_ref(), &profile]).status.success());
    let profile = fs::read(&profile).unwrap();
    assert_eq!(profile[..2], [0x1F, 0x8B], "it is compressed by gzip");
}

#[track_caller]
fn refused(arguments: &[&Path], expected: &str) {
    let output = insight(arguments);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.starts_with("insight: ") && said.ends_with(expected), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}

fn what_is_wrong_is_said() {
    let trace = recorded();
    let output = place("wrong.html");
    for command in ["report", "flamegraph", "pprof"] {
        let command = Path::new(command);
        refused(
            &[command, &place("no_such.trace")],
            "no_such.trace: No such file or directory (os error 2)\n",
        );
        let text = place("text.trace");
        fs::write(&text, "This is no trace. ".repeat(10)).unwrap();
        refused(&[command, &text], "text.trace: byte 0: the file does not begin as a trace does\n");
        let mut bytes = fs::read(trace).unwrap();
        // The first record of the second chunk.
        bytes[65536 + 32] = 0x08;
        let broken = place("broken.trace");
        fs::write(&broken, bytes).unwrap();
        let expected = "broken.trace: byte 65568: a record begins with the byte 0x08, which none does\n";
        refused(&[command, &broken, "-o".as_ref(), &output], expected);
        let expected = "broken.trace: this is the trace itself\n";
        refused(&[command, &broken, "-o".as_ref(), &broken], expected);
        let nowhere = Path::new("/nowhere/page.html");
        let expected = "/nowhere/page.html: No such file or directory (os error 2)\n";
        refused(&[command, trace, "-o".as_ref(), nowhere], expected);
    }
}
