//! The works: what each program is told to do, in the folder `target`.

use crate::programs::Program;

/// One work of one program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Work {
    /// Its name in tables.
    pub(crate) name: &'static str,
    /// Who does it.
    pub(crate) program: &'static Program,
    /// What is done.
    pub(crate) what: &'static str,
    /// The command line.
    pub(crate) arguments: &'static [&'static str],
    /// What of the output has to be the same in every run.
    pub(crate) order: Order,
}

/// How the lines that a program prints are ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Every run prints the same.
    Fixed,
    /// The lines come as threads find them, or as a hash table with random keys has them.
    OfThreads,
}

const FD: Program = Program { package: "fd-find", binary: "fd", options: &[] };
const GRASS: Program = Program { package: "grass", binary: "grass", options: &[] };
const HTMLQ: Program = Program { package: "htmlq", binary: "htmlq", options: &[] };
// It would bring an allocator of its own.
const JAQ: Program = Program { package: "jaq", binary: "jaq", options: &["--no-default-features"] };
const OXIPNG: Program = Program { package: "oxipng", binary: "oxipng", options: &[] };
const RIPGREP: Program = Program { package: "ripgrep", binary: "rg", options: &[] };
// With more code generation units, rustc 1.95 crashes over it, or makes a program that crashes.
const TOKEI: Program = Program {
    package: "tokei",
    binary: "tokei",
    options: &["--config", "profile.release.package.tokei.codegen-units=1"],
};
const XSV: Program = Program { package: "xsv", binary: "xsv", options: &[] };

/// In the order of the tables.
pub(crate) const ALL: [Work; 13] = [
    Work {
        name: "ripgrep-search",
        program: &RIPGREP,
        what: "search a tree of sources with four threads",
        arguments: &["--no-config", "-u", "-j4", "-n", r"\b(\w+)_(\w+)_(\w+)\(", "sources"],
        order: Order::OfThreads,
    },
    Work {
        name: "ripgrep-replace",
        program: &RIPGREP,
        what: "print what a tree of sources calls, with its parts exchanged, with four threads",
        arguments: &[
            "--no-config",
            "-u",
            "-j4",
            "-N",
            "-o",
            "-r",
            "$2 $1",
            r"\b([a-z]+)_([a-z]+)\(",
            "sources",
        ],
        order: Order::OfThreads,
    },
    Work {
        name: "fd-names",
        program: &FD,
        what: "find files by their paths with four threads, in sixteen links to the tree",
        arguments: &["-L", "-j4", "-u", "-p", r"a.*\.rs$", "inputs/forest"],
        order: Order::OfThreads,
    },
    Work {
        name: "tokei-count",
        program: &TOKEI,
        what: "count the lines of a tree of sources with four threads",
        arguments: &["--sort", "lines", "sources"],
        order: Order::Fixed,
    },
    Work {
        name: "jaq-stream",
        program: &JAQ,
        what: "change and print 200,000 small JSON values",
        arguments: &[
            "-c",
            r#"select(.cost > 200) | {user, cost: (.cost * 2), at: (.place | map(. + 1))}"#,
            "inputs/events.json",
        ],
        order: Order::Fixed,
    },
    Work {
        name: "jaq-group",
        program: &JAQ,
        what: "group 200,000 JSON objects",
        arguments: &[
            "-c",
            "-s",
            "group_by(.user) | map({user: .[0].user, cost: (map(.cost) | add), n: length})",
            "inputs/events.json",
        ],
        order: Order::Fixed,
    },
    Work {
        name: "jaq-tree",
        program: &JAQ,
        what: "flatten one large JSON value",
        arguments: &[
            "-c",
            "[.orders[] | .id as $id | .items[] | {id: $id, name, tags: (.tags | sort)}] | sort_by(.name)",
            "inputs/orders.json",
        ],
        order: Order::Fixed,
    },
    Work {
        name: "xsv-sort",
        program: &XSV,
        what: "sort a table of 200,000 records by two columns",
        arguments: &["sort", "-s", "city,name", "inputs/records.csv"],
        order: Order::Fixed,
    },
    Work {
        name: "xsv-frequency",
        program: &XSV,
        what: "count the values of every column of a table",
        arguments: &["frequency", "-l", "0", "inputs/records.csv"],
        order: Order::OfThreads,
    },
    Work {
        name: "xsv-parallel",
        program: &XSV,
        what: "the same of a table with an index, by two threads",
        arguments: &["frequency", "-l", "0", "-j", "2", "inputs/indexed.csv"],
        order: Order::OfThreads,
    },
    Work {
        name: "oxipng-optimise",
        program: &OXIPNG,
        what: "compress a picture with four threads",
        arguments: &["-o2", "-t4", "--stdout", "inputs/picture.png"],
        order: Order::Fixed,
    },
    Work {
        name: "grass-compile",
        program: &GRASS,
        what: "compile a style sheet",
        arguments: &["inputs/style.scss"],
        order: Order::Fixed,
    },
    Work {
        name: "htmlq-select",
        program: &HTMLQ,
        what: "parse a page and select from it",
        arguments: &["-f", "inputs/page.html", "tr.kind-3 td a"],
        order: Order::Fixed,
    },
];

impl Work {
    /// How it is called.
    pub(crate) fn command_line(&self) -> String {
        std::iter::once(self.program.binary)
            .chain(self.arguments.iter().copied())
            .collect::<Vec<_>>()
            .join(" ")
    }
}
