//! The tool as its user sees it: what it says of traces, of files that are none, and its exit codes.

#[path = "../src/bin/insight/synthetic.rs"]
mod synthetic;

use assert_cmd::Command;
use mem_alloc_rust::trace::{CHUNK, Event};
use std::fs;
use std::path::{Path, PathBuf};
use synthetic::Synthetic;

fn insight() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_insight"));
    command.env_remove("NO_COLOR").env_remove("CLICOLOR").env_remove("CLICOLOR_FORCE");
    command
}

/// A file with these contents that no other test uses.
fn file(name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, contents).unwrap();
    path
}

/// Eight blocks of 100 bytes, all live at one time; on one thread, or every other one on another.
fn eight_blocks(name: &str, threads: u64) -> PathBuf {
    let mut trace = Synthetic::new();
    for block in 0..8 {
        trace.allocation(70 + block % threads, 1 + block, 0x1000 + block * 128, 100, 0);
    }
    for block in 0..8 {
        trace.release(70 + block % threads, 9 + block, 0x1000 + block * 128);
    }
    trace.write(name)
}

/// What the tool says on stdout and stderr when it ends with that code; with one space where there are several.
fn said(command: &mut Command, code: i32) -> (String, String) {
    let output = command.assert().code(code).get_output().clone();
    let text = |bytes: Vec<u8>| {
        let text = String::from_utf8(bytes).unwrap();
        let lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
        lines.collect::<Vec<_>>().join("\n")
    };
    (text(output.stdout), text(output.stderr))
}

#[track_caller]
fn assert_contains(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
}

/// Asserts that a file is trouble, and that one line on stderr says so.
#[track_caller]
fn assert_trouble(arguments: &[&str], trace: &Path, part: &str) {
    let (out, err) = said(insight().args(arguments).arg(trace), 2);
    assert_eq!(out, "");
    assert!(err.starts_with("insight: ") && err.lines().count() == 1, "{err}");
    assert_contains(&err, &[part]);
}

#[test]
fn without_arguments_it_says_what_it_is_for() {
    let parts = ["how large must the arena be", "size", "replay", "insight size program.trace"];
    assert_contains(&said(&mut insight(), 2).1, &parts);
    let help = said(insight().arg("--help"), 0).0;
    assert_contains(&help, &parts);
    assert!(!help.contains("replay-steps"), "{help}");
    assert_contains(&said(insight().args(["size", "--help"]), 0).0, &["fragmentation", "--allocator"]);
}

#[test]
fn a_file_that_is_no_trace_is_told_with_the_place_where_that_is_seen() {
    let good = fs::read(eight_blocks("good", 1)).unwrap();
    let changed = |place: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[place] = byte;
        bytes
    };
    for command in [&["size"][..], &["replay", "--arena", "4k"]] {
        assert_trouble(command, Path::new("/nowhere/at.all"), "/nowhere/at.all: No such file or directory");
        assert_trouble(command, Path::new("/"), "/: Is a directory");
        assert_trouble(command, &file("empty", ""), "empty: byte 0: the file does not begin as a trace does");
        assert_trouble(
            command,
            &file("text", "no trace".repeat(100)),
            "text: byte 0: the file does not begin",
        );
        let version = "byte 8: the trace has version 7, and 1 is the one that can be read";
        assert_trouble(command, &file("version", changed(8, 7)), version);
        assert_trouble(
            command,
            &file("sampled", changed(21, 1)),
            "this is a heap profile of `Sampled`, and this command needs every event",
        );
        let record = "byte 65568: a record begins with the byte 0x08, which none does";
        assert_trouble(command, &file("record", changed(CHUNK + 32, 8)), record);
        let chunk = "byte 65536: a chunk does not begin as one does";
        assert_trouble(command, &file("chunk", changed(CHUNK, b'X')), chunk);
        assert_trouble(command, &file("no-events", &good[..CHUNK]), "tells of no allocation and no release");
    }
}

#[test]
fn a_trace_that_is_cut_off_is_used_as_far_as_it_goes() {
    let good = fs::read(eight_blocks("whole", 1)).unwrap();
    // A record takes three bytes, and the first one four. What is left of another one is not used.
    let cut = file("cut", &good[..CHUNK + 32 + 4 + 4 * 3 + 2]);
    let (out, _) = said(insight().args(["replay", "--arena", "64k"]).arg(&cut), 0);
    assert_contains(&out, &["all 5 events", "asked for 500 ", "blocks in use 5\n"]);
}

#[test]
fn size_says_what_is_needed_and_for_what() {
    let (out, err) = said(insight().arg("size").arg(eight_blocks("size", 1)), 0);
    assert_eq!(err, "");
    // Eight blocks of 104 bytes, and eight bytes at the arena's ends that cannot be used. Too small for runs, and for
    // caches.
    assert_contains(
        &out,
        &[
            "16 events on 1 thread, 800 bytes live at the peak",
            "\nsmallest arena 840 840\n",
            "\nasked for at the peak 800 95.2 % 800 95.2 %\n",
            "\noverhead 40 4.8 % 40 4.8 %\n",
            "\nheaders 40 4.8 % 40 4.8 %\n",
            "\nrounding 0 0.0 % 0 0.0 %\n",
            "\nfragmentation 0 0.0 % 0 0.0 %\n",
            "\ncaches 0 0.0 % 0 0.0 %\n",
            "\nreliable from 840 840\n",
            "\nrecommended arena 888 888\n",
            "\nLocked: 5.7 % more than the smallest.\n",
            "\nstatic A: Locked<FreeList<888>> = Locked::new();\n",
            "\nstatic A: ThreadCached<FreeList<888>> = ThreadCached::new();",
        ],
    );
}

#[test]
fn of_several_runs_the_worst_counts() {
    let small = eight_blocks("small", 1);
    let mut trace = Synthetic::new();
    (0..9).for_each(|block| trace.allocation(70, 1 + block, 0x1000 + block * 128, 100, 0));
    let large = trace.write("large");
    let (out, _) = said(insight().args(["size", "--allocator", "locked"]).args([&small, &large]), 0);
    // 840 and 944 bytes: they differ by 104, and that is the margin.
    let worst = format!("the worst of 2 runs, {}; they differ by 11.1 %", large.display());
    assert_contains(&out, &["\nsmallest arena 944\n", &worst, "Locked: 11."]);
    assert!(!out.contains("ThreadCached"), "{out}");
}

#[test]
fn the_margin_of_one_run_with_threads_is_larger() {
    let (out, _) = said(insight().arg("size").arg(eight_blocks("threads", 2)), 0);
    assert_contains(&out, &["16 events on 2 threads", "Locked: 25.", "threads do not repeat exactly"]);
}

#[test]
fn a_program_that_failed_is_sized_to_where_it_failed() {
    let mut trace = Synthetic::new();
    trace.allocation(70, 1, 0x1000, 100, 0);
    trace.event(70, 2, &Event::Refused { size: 5000, align: 8, site: 0 });
    let trace = trace.write("failed");
    let (out, _) = said(insight().arg("size").arg(&trace), 0);
    let parts = [
        "was refused 5,000 bytes at event 2 and asked for hardly anything after that",
        "5,100 bytes live at the peak",
    ];
    assert_contains(&out, &parts);
    assert_contains(&out, &["\nsmallest arena 5,1"]);
    let (out, _) = said(insight().args(["replay", "--arena", "4k"]).arg(&trace), 1);
    assert_contains(&out, &["event 2 of 2 is refused", "It asks for 5,000 bytes. Exhausted: "]);
    assert_contains(&out, &["The recorded program was refused 5,000 bytes at event 2"]);
}

#[test]
fn replay_says_where_and_why_with_either_allocator() {
    let trace = eight_blocks("replay", 2);
    for allocator in ["locked", "thread-cached"] {
        let replay = |arena: &str, code| {
            let mut command = insight();
            command.args(["replay", "--allocator", allocator, "--arena", arena]).arg(&trace);
            said(&mut command, code).0
        };
        let out = replay("4096", 0);
        assert_contains(&out, &["completes", "all 16 events", "peak of what was asked for 800 "]);
        assert_contains(&out, &["in the end: asked for 0 ", "blocks in use 0\n"]);
        // It has room for six blocks.
        let out = replay("700", 1);
        assert_contains(
            &out,
            &["event 7 of 16 is refused", "It asks for 100 bytes. Exhausted: ", "blocks in use 6\n"],
        );
        assert_contains(&out, &["█"]);
    }
}

#[test]
fn arenas_that_make_no_sense_are_refused() {
    let wrong =
        [("12", "has from 256 to"), ("1.5", "looks like"), ("9 parsecs", "no unit"), ("8g", "from 256")];
    for (arena, part) in wrong {
        assert_contains(&said(insight().args(["replay", "--arena", arena, "x"]), 2).1, &[part]);
    }
}

#[test]
fn diff_says_what_changed() {
    let before = eight_blocks("before", 1);
    let mut trace = Synthetic::new();
    (0..9).for_each(|block| trace.allocation(70, 1 + block, 0x1000 + block * 128, 100, 0));
    let after = trace.write("after");
    let (out, _) = said(insight().arg("diff").args([&before, &after]), 0);
    assert_contains(
        &out,
        &[
            "\npeak bytes 800 900 +100 +12.5 %\n",
            "\nbytes at the end 0 900 +900\n",
            "\nallocations 8 9 +1 +12.5 %\n",
            "\nrefused 0 0 0\n",
            "\n1 call site differs",
            "\n+100 +100 800 +1 call site not recorded",
        ],
    );
    let (json, _) = said(insight().args(["diff", "--json"]).args([&after, &before]), 0);
    assert_contains(&json, &["\"before\": {\n\"peak_bytes\": 900,", "\"call_sites\": [\n{\n\"stack\": [],"]);
    assert_contains(&said(insight().arg("diff").args([&before, &before]), 0).0, &["\n0 call sites differ."]);
    assert_trouble(&["diff", before.to_str().unwrap()], Path::new("/nowhere"), "/nowhere: No such file");
    assert_trouble(&["diff", before.to_str().unwrap()], &file("diff-empty", ""), "byte 0");
}

#[test]
fn a_heap_profile_is_refused_with_a_sentence_where_events_are_needed() {
    let mut profile = fs::read(eight_blocks("to-sample", 1)).unwrap();
    profile[21] = 1;
    let profile = file("heap-profile", profile);
    let path = profile.to_str().unwrap();
    for command in
        [&["size"][..], &["replay", "--arena", "4k"], &["diff", path], &["watch"], &["watch", "--speed", "2"]]
    {
        assert_trouble(command, &profile, "heap-profile: this is a heap profile of `Sampled`");
    }
}

#[test]
fn figures_can_be_had_as_json() {
    let trace = eight_blocks("json", 1);
    let (out, _) = said(insight().args(["size", "--json"]).arg(&trace), 0);
    let size: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(size[0]["traces"][0]["arena"], 840);
    assert_eq!(size[0]["traces"][0]["parts"]["headers"], 40);
    assert_eq!(size[1]["line"], "static A: ThreadCached<FreeList<888>> = ThreadCached::new();");
    for (arena, code, is_refused) in [("4k", 0, false), ("700", 1, true)] {
        let (out, _) = said(insight().args(["replay", "--json", "--arena", arena]).arg(&trace), code);
        let replay: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(replay["refused"].is_object(), is_refused);
    }
}

#[test]
fn watch_needs_a_trace_and_a_terminal() {
    assert_trouble(&["watch"], Path::new("/nowhere"), "/nowhere: No such file");
    assert_trouble(&["watch"], &file("watch-empty", ""), "watch-empty: byte 0: the file does not begin");
    assert_trouble(
        &["watch", "--speed", "2"],
        &file("watch-text", "x"),
        "watch-text: byte 0: the file does not begin",
    );
    assert_trouble(&["watch"], &eight_blocks("watch", 1), "stdout is no terminal");
    assert_contains(&said(insight().args(["watch", "--speed", "0", "x"]), 2).1, &["a number above zero"]);
}
