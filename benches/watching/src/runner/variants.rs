//! Who watches, and how that is asked for.

use std::fmt::Write as _;

/// A way to run the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Variant {
    /// Its name in tables.
    pub(crate) name: &'static str,
    /// What it is.
    pub(crate) how: &'static str,
    /// The program that is run.
    pub(crate) binary: &'static str,
    /// The variant that it is compared with.
    pub(crate) base: &'static str,
    /// How call sites are to be found, if a trace is written.
    pub(crate) trace: Option<&'static str>,
    /// A program that runs it.
    pub(crate) runner: Option<&'static [&'static str]>,
}

/// In the order of the tables; heaptrack only where it is installed.
pub(crate) fn all() -> Vec<Variant> {
    let ours = |name, how, binary, trace| Variant { name, how, binary, base: "plain", trace, runner: None };
    let mut all = vec![
        ours("plain", "`ThreadCached<FreeList>`", "plain", None),
        ours("counted", "`Counted` around it", "counted", None),
        ours("sampled", "`Sampled` around it: one allocation of 512 KiB with its call site", "sampled", None),
        ours("traced, off", "`Traced` around it, and no file is asked for", "traced", None),
        ours("traced", "`Traced` around it, without call sites", "traced", Some("none")),
        ours(
            "traced, frames",
            "`Traced` around it, call sites by frame pointers",
            "traced",
            Some("frame-pointers"),
        ),
        ours("traced, unwound", "`Traced` around it, call sites by unwinding", "traced", Some("unwind")),
        Variant {
            name: "system",
            how: "the C library's allocator",
            binary: "system",
            base: "system",
            trace: None,
            runner: None,
        },
        Variant {
            name: "dhat",
            how: "`dhat::Alloc`, which is around that and unwinds",
            binary: "dhat",
            base: "system",
            trace: None,
            runner: None,
        },
    ];
    let is_installed = std::process::Command::new("heaptrack")
        .arg("--version")
        .output()
        .is_ok_and(|output| output.status.success());
    if is_installed {
        all.push(Variant {
            name: "heaptrack",
            how: "heaptrack, which watches that from outside, and unwinds",
            binary: "system",
            base: "system",
            trace: None,
            runner: Some(&["heaptrack", "--raw", "-o"]),
        });
    }
    all
}

/// How was measured, and who, in Markdown.
pub(crate) fn introduction(variants: &[Variant], rounds: usize, command: &str) -> String {
    let mut text = format!(
        "# What watching costs\n\nMade by `{command}`.\n\nEach number is the median of {rounds} rounds, in each of \
         which every program is run once with every workload, in an order that rotates, and with an environment of \
         another length. The processor time is that of the process and of those that it waits for, in the program and \
         in the system; files go to the folder for temporary ones.\n\n"
    );
    for variant in variants {
        let _ = writeln!(text, "- *{}*: {}", variant.name, variant.how);
    }
    text
}
