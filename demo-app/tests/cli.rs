//! The demo as its user sees it: output, exit code, and one sentence for every bad input.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Output, Stdio};

/// All workloads, in the order of the default run.
const WORKLOADS: [&str; 11] =
    ["vec", "string", "box", "hashmap", "btreemap", "rc", "sort", "build", "threads", "words", "exhaust"];

fn demo() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_demo-app"));
    command.env_remove("NO_COLOR").env_remove("CLICOLOR").env_remove("CLICOLOR_FORCE");
    command
}

fn run<A: AsRef<std::ffi::OsStr>>(arguments: &[A]) -> Output {
    demo().args(arguments).output().expect("the demo starts")
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).expect("the demo writes UTF-8")
}

/// A file with the given contents that no other test uses.
fn file(name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, contents).expect("the target directory can be written to");
    path
}

/// Runs the demo with `words FILE`.
fn words(file: &Path) -> Output {
    run(&[Path::new("words"), file])
}

/// Asserts that the demo succeeded, and gives its output.
#[track_caller]
fn succeeded(output: &Output) -> &str {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    assert_eq!(stderr, "");
    stdout(output)
}

/// Asserts that the demo ended with `code` and one line on stderr that contains `part`.
#[track_caller]
fn refused(output: &Output, code: i32, part: &str) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(stderr.starts_with("demo-app: ") && stderr.ends_with('\n') && stderr.contains(part), "{stderr}");
}

/// The part of the default run's output between the heading of `name` and the next one.
#[track_caller]
fn part<'o>(output: &'o str, name: &str) -> &'o str {
    let heading = format!("\n\n{name}: ");
    let (_, rest) = output.split_once(&heading).unwrap_or_else(|| panic!("no part {name} in:\n{output}"));
    rest.split("\n\n").next().unwrap_or(rest)
}

#[test]
fn the_default_run_confirms_every_answer_and_gives_everything_back() {
    let output = run::<&str>(&[]);
    let text = succeeded(&output);
    for name in WORKLOADS {
        let part = part(text, name);
        assert!(part.contains("  ✓ ") && part.contains(": the same)"), "{part}");
        for figure in ["live ", "peak so far ", "free ", "largest free block ", "blocks ", "fragmentation "] {
            assert!(part.contains(figure), "{figure} is missing: {part}");
        }
        let rows = part
            .lines()
            .filter(|line| line.trim_start().starts_with(['·', '▂', '▄', '▆', '░', '▒', '▓', '█']))
            .count();
        assert_eq!(rows, 4, "{part}");
        assert!(part.contains("afterwards: live ") && part.contains(", as before; "), "{part}");
    }
    assert!(!text.contains(['✗', '\x1b']), "{text}");
    let end = part(text, "end");
    assert!(end.contains("Everything was given back"), "{end}");
    assert!(end.contains(" was granted; "), "{end}");
}

#[test]
fn every_workload_runs_alone() {
    for name in WORKLOADS {
        let output = run(&[name]);
        let text = succeeded(&output);
        assert!(part(text, name).contains("  ✓ "), "{text}");
        let end = part(text, "end");
        assert!(end.contains("Everything was given back"), "{text}");
        assert!(end.contains(" was granted; "), "{text}");
        if name == "words" {
            assert!(
                text.contains("✓ words: 38315 (") && text.contains("✓ different words: 2504 ("),
                "{text}"
            );
            assert!(text.contains("\n  and 3678  the 2458  of 1365 "), "{text}");
        }
        let others = WORKLOADS.iter().filter(|other| **other != name);
        assert!(others.into_iter().all(|other| !text.contains(&format!("\n\n{other}: "))), "{text}");
    }
}

#[test]
fn running_out_is_survived() {
    let output = run(&["exhaust"]);
    let text = succeeded(&output);
    assert!(text.contains("2 MiB at once: refused"), "{text}");
    assert!(text.contains("✓ all that is free in one piece is granted: true"), "{text}");
    assert!(text.contains("  pages of 4 KiB until one was refused: 25"), "{text}");
    let (_, after) = text.split_once("until one was refused").expect("it is there");
    assert!(after.contains("✓ bytes in one piece after all pages were dropped: 5241"), "{text}");
}

#[test]
fn list_and_help_name_every_workload() {
    let (list, help) = (run(&["list"]), run(&["--help"]));
    let names: Vec<&str> = succeeded(&list).lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(names, WORKLOADS);
    let help = succeeded(&help);
    assert!(help.contains("Usage: demo-app"), "{help}");
    assert!(WORKLOADS.iter().all(|name| help.contains(&format!("\n  {name} "))), "{help}");
}

#[test]
fn colours_are_for_terminals() {
    assert!(!run(&["vec"]).stdout.contains(&0x1b));
    assert!(!run(&["--help"]).stdout.contains(&0x1b));
    let forced = demo().arg("vec").env("CLICOLOR_FORCE", "1").output().expect("the demo starts");
    assert!(forced.stdout.contains(&0x1b));
}

#[test]
fn the_words_of_a_small_file_are_counted() {
    let text = "The cat, the dog and THE bird.\nNoah's dog; 'Noah's' 3 cats\n";
    let output = words(&file("small.txt", text));
    let text = succeeded(&output);
    assert!(text.contains("✓ words: 11 ("), "{text}");
    assert!(text.contains("✓ different words: 7 ("), "{text}");
    assert!(text.contains("\n  the 3  dog 2  noah's 2  and 1  bird 1  cat 1  cats 1\n"), "{text}");
}

#[test]
fn a_file_that_fills_more_than_half_of_the_arena_is_counted() {
    // (Mostly spaces: the demo, which is not optimised here, takes its time for each word.)
    let text = format!("the cat and the dog,{}\n", " ".repeat(100)).repeat(5_000);
    assert!(text.len() > 1_048_576 / 2);
    let output = words(&file("spacious.txt", text));
    let text = succeeded(&output);
    assert!(text.contains("✓ words: 25000 (") && text.contains("✓ different words: 4 ("), "{text}");
}

#[test]
fn a_file_without_words_is_no_failure() {
    for (name, contents) in [("empty.txt", ""), ("numbers.txt", "1 2 3\n''\n")] {
        let output = words(&file(name, contents));
        assert!(succeeded(&output).contains("✓ words: 0 ("));
    }
}

#[test]
fn a_missing_file_gets_one_sentence() {
    refused(&words(Path::new("no/such\nfile.txt")), 1, r#"cannot read "no/such\nfile.txt": "#);
}

#[test]
fn a_directory_gets_one_sentence() {
    refused(&words(Path::new(env!("CARGO_MANIFEST_DIR"))), 1, "cannot read ");
}

#[test]
fn what_is_not_utf8_gets_one_sentence() {
    let path = file("latin1.txt", b"caf\xe9 au lait");
    refused(&words(&path), 1, "latin1.txt\" is not UTF-8 text: the byte at offset 3 ");
    let path = file("cut.txt", &"é".as_bytes()[..1]);
    refused(&words(&path), 1, "cut.txt\" is not UTF-8 text: the byte at offset 0 ");
}

#[test]
fn a_file_larger_than_the_arena_gets_one_sentence() {
    for (name, length) in [("large.txt", 5_000_000), ("as-large-as-the-arena.txt", 1 << 20)] {
        let path = file(name, vec![b'x'; length]);
        refused(&words(&path), 1, &format!("{name}\" is too large: it has at least {length} bytes"));
    }
}

#[test]
fn a_text_whose_words_do_not_fit_gets_one_sentence() {
    // Letters that count in base 26: every word is another one.
    let letter = |number: usize, place: u32| char::from(b'a' + (number / 26_usize.pow(place) % 26) as u8);
    let different: String =
        (0..100_000).flat_map(|n| [letter(n, 3), letter(n, 2), letter(n, 1), letter(n, 0), ' ']).collect();
    refused(&words(&file("different.txt", different)), 1, "different.txt\" do not fit: the arena was full");
    // Whatever is left beside the text: nothing may abort in between, and what fits is counted. (A letter of four
    // bytes: the demo, which is not optimised here, takes its time for each.)
    for length in (900_000..1_048_576).step_by(10_000) {
        let output = words(&file("one-word.txt", "𝐱".repeat(length / 4)));
        if output.status.success() {
            assert!(
                String::from_utf8_lossy(&output.stdout).contains(&format!("{}… 1", "𝐱".repeat(40))),
                "{length}"
            );
        } else {
            refused(&output, 1, "one-word.txt\"");
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_file_that_never_ends_or_cannot_be_read_gets_one_sentence() {
    refused(&words(Path::new("/dev/zero")), 1, "\"/dev/zero\" is too large: it has at least ");
    refused(&words(Path::new("/proc/self/mem")), 1, "cannot read \"/proc/self/mem\": ");
}

#[test]
fn a_wrong_command_line_gets_one_sentence() {
    refused(&run(&["wrds"]), 2, "unrecognized subcommand 'wrds', a similar subcommand exists: 'words'");
    refused(&run(&["--bogus"]), 2, "unexpected argument '--bogus'");
    refused(&run(&["vec", "file.txt"]), 2, "unexpected argument 'file.txt'");
    refused(&run(&["words", "one.txt", "two.txt"]), 2, "unexpected argument 'two.txt'");
    refused(&run(&["words", ""]), 2, "a value is required");
    let long = "x".repeat(100_000);
    refused(&run(&["words", &long]), 2, "at most 16384 are taken");
}

/// A pipe to a program that has ended.
fn pipe_without_reader() -> ChildStdin {
    let mut reader =
        demo().arg("list").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("the demo starts");
    let writer = reader.stdin.take().expect("its input is a pipe");
    reader.wait().expect("the demo ends");
    writer
}

#[test]
fn a_reader_that_closes_the_pipe_ends_the_demo_quietly() {
    for arguments in [&[][..], &["--help"], &["list"]] {
        let writer = pipe_without_reader();
        let output = demo().args(arguments).stdout(writer).output().expect("the demo starts");
        assert_eq!((output.status.code(), output.stderr), (Some(0), Vec::new()), "{arguments:?}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn an_output_that_cannot_be_written_gets_one_sentence() {
    for arguments in [&[][..], &["--help"], &["list"]] {
        let full = fs::File::create("/dev/full").expect("Linux has /dev/full");
        let output = demo().args(arguments).stdout(full).output().expect("the demo starts");
        refused(&output, 1, "cannot write the output: ");
    }
}
