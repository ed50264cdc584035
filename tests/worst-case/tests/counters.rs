//! The counters agree: what the rewritten code counts is what the trap flag counts, and what
//! callgrind does.

use std::fs;
use std::path::Path;
use std::process::Command;
use worst_case::engine::{Way, beside_another_thread};
use worst_case::genome::Genome;
use worst_case::random::Random;
use worst_case::run::Runner;

/// Every kind of call, with copying.
const EVERYTHING: &str = "arena 65536\n\
    fill 40 of magnitudes 16..2000 fence 16 seed 1\n\
    free group 0 every 3 from 0 shuffled seed 2\n\
    resize all every 2 from 0 to magnitudes 16..3000 seed 3\n\
    fill 20 of 16..500 align 64 zeroed seed 4\n\
    fill 10 of 3000 align 4096\n\
    churn 30 of 8..300 align 16 seed 5\n\
    alloc 60000\n\
    alloc 60000 align 128\n\
    resize block 0 to 65000\n\
    try 20 seed 6\n\
    free all shuffled seed 7\n";

/// What copies or clears nothing, which callgrind would count.
const WITHOUT_COPYING: &str = "arena 1048576\n\
    fill 300 of magnitudes 16..8000 fence 16 seed 1\n\
    free group 0 shuffled seed 2\n\
    fill 100 of 16..5000 align 64 seed 3\n\
    fill 30 of 4096 align 4096\n\
    fill full of 16..128 seed 4\n\
    free all every 2 from 1 lowest\n\
    churn 1000 of 24..600 seed 5\n\
    alloc 900000\n\
    alloc 900000 align 64\n\
    measure\n\
    free all shuffled seed 6\n";

#[test]
fn the_rewritten_code_counts_what_the_trap_flag_counts() {
    let mut runner = Runner::default();
    let genome: Genome = EVERYTHING.parse().unwrap();
    beside_another_thread(|| {
        let rewritten = runner.run(&genome, Way::Rewritten).unwrap();
        assert!(rewritten.made > 200, "{rewritten:?}");
        assert_eq!(rewritten.total.foreign_calls, 0);
        assert_eq!(rewritten, runner.run(&genome, Way::Stepped).unwrap());
    });
}

#[test]
fn they_agree_on_random_genomes() {
    /// So that the trap flag does not take minutes.
    const MOST_INSTRUCTIONS: u64 = 30_000;
    let mut random = Random::seeded(6);
    let mut runner = Runner::default();
    let mut compared = 0;
    while compared < 12 {
        let genome = Genome { arena: 65536, ..Genome::random(&mut random) };
        let rewritten = runner.run(&genome, Way::Rewritten).unwrap();
        if rewritten.total.instructions <= MOST_INSTRUCTIONS {
            assert_eq!(rewritten, runner.run(&genome, Way::Stepped).unwrap(), "{genome}");
            compared += 1;
        }
    }
}

#[test]
fn callgrind_counts_the_same() {
    let program = env!("CARGO_BIN_EXE_worst-case");
    if !Command::new("valgrind").arg("--version").output().is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: there is no valgrind");
        return;
    }
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("without-copying.txt");
    fs::write(&file, WITHOUT_COPYING).unwrap();

    let output = Command::new(program).arg("replay").arg(&file).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let counted = text.lines().find_map(|line| line.strip_suffix(" instructions")?.rsplit(' ').next());

    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--toggle-collect=worst_case_*", "--callgrind-out-file=/dev/null"])
        .args([program, "replay", "--counter", "nobody"])
        .arg(&file)
        .output()
        .unwrap();
    let messages = String::from_utf8(output.stderr).unwrap();
    let collected =
        messages.lines().find_map(|line| line.rsplit_once("Collected : ").map(|(_, count)| count));

    assert!(counted.is_some(), "{text}");
    assert_eq!(counted, collected, "{messages}");
}
