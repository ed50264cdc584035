//! The programs that are recorded.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt::Write as _;
use std::hint::black_box;
use std::rc::{Rc, Weak};

use pulldown_cmark::{Options, Parser, html};
use regex::Regex;
use serde_json::Value;
use syn::visit::Visit;

use bench_common::inputs::Writer;

/// A program with a name; preparing it makes its input.
pub(crate) struct Program {
    pub(crate) name: &'static str,
    prepare: fn() -> Box<dyn FnOnce()>,
}

impl Program {
    /// Makes the input, which is not recorded, and returns what is.
    pub(crate) fn prepare(&self) -> Box<dyn FnOnce()> {
        (self.prepare)()
    }
}

/// Every program.
pub(crate) fn all() -> [Program; 10] {
    [
        Program { name: "json-tree", prepare: json_tree },
        Program { name: "btreemap-of-strings", prepare: btreemap_of_strings },
        Program { name: "syntax-tree", prepare: syntax_tree },
        Program { name: "regex", prepare: regex },
        Program { name: "sorting-strings", prepare: sorting_strings },
        Program { name: "word-count", prepare: word_count },
        Program { name: "markdown-to-html", prepare: markdown_to_html },
        Program { name: "search-index", prepare: search_index },
        Program { name: "reference-graph", prepare: reference_graph },
        Program { name: "request-handling", prepare: request_handling },
    ]
}

/// Parses a document, changes it, and writes it out again.
fn json_tree() -> Box<dyn FnOnce()> {
    let text = Writer::new(1).json(700);
    Box::new(move || {
        let Ok(mut document) = serde_json::from_str::<Value>(&text) else {
            return;
        };
        let mut total = 0.0;
        if let Some(orders) = document["orders"].as_array_mut() {
            orders.retain(|order| order["note"].is_string());
            for order in orders.iter_mut() {
                let items = order["items"].as_array().map_or(&[][..], Vec::as_slice);
                let sum: f64 = items.iter().filter_map(|item| item["price"].as_f64()).sum();
                order["total"] = Value::from(sum);
                total += sum;
            }
        }
        document["total"] = Value::from(total);
        black_box(document.to_string());
    })
}

/// A table of settings that is filled, changed and thinned out.
fn btreemap_of_strings() -> Box<dyn FnOnce()> {
    let mut writer = Writer::new(2);
    let keys: Vec<String> = (0..6000).map(|_| writer.words(2)).collect();
    let values: Vec<String> = (0..24_000).map(|index| writer.words(1 + index % 12)).collect();
    Box::new(move || {
        let mut map = BTreeMap::new();
        let mut random = fastrand::Rng::with_seed(2);
        for value in &values {
            let key = &keys[random.usize(..keys.len())];
            if random.u8(..) < 100 {
                map.remove(key);
            } else {
                map.insert(key.clone(), value.clone());
            }
        }
        black_box(&map);
    })
}

/// Counts the names in a parsed source file.
#[derive(Default)]
struct Names(HashMap<String, usize>);

impl<'ast> Visit<'ast> for Names {
    fn visit_ident(&mut self, name: &'ast proc_macro2::Ident) {
        *self.0.entry(name.to_string()).or_default() += 1;
    }
}

/// Parses Rust source and counts its names.
fn syntax_tree() -> Box<dyn FnOnce()> {
    let text = rust_source();
    Box::new(move || {
        if let Ok(file) = syn::parse_file(&text) {
            let mut names = Names::default();
            names.visit_file(&file);
            black_box(names.0.len());
        }
    })
}

/// Compiles patterns and extracts fields from a log.
fn regex() -> Box<dyn FnOnce()> {
    let log = Writer::new(4).log(2500);
    Box::new(move || {
        let patterns = [
            r"(?m)^(\d{4}-\d\d-\d\d) ((?:\d{1,3}\.){3}\d{1,3}) (GET|POST) (\S+) (\d{3}) (\d+)ms$",
            r"\?q=([a-z]+)",
            r"(?i)\b(ber|dor|zen)\w*\b",
        ];
        let mut fields: Vec<Vec<String>> = Vec::new();
        for pattern in patterns {
            let Ok(regex) = Regex::new(pattern) else {
                continue;
            };
            for captures in regex.captures_iter(&log) {
                let groups = captures.iter().skip(1).flatten();
                fields.push(groups.map(|group| group.as_str().to_owned()).collect());
            }
        }
        black_box(&fields);
    })
}

/// Splits a text into lines, sorts them by a computed key, and removes duplicates.
fn sorting_strings() -> Box<dyn FnOnce()> {
    let mut writer = Writer::new(5);
    let text: String = (0..12_000).map(|index| writer.words(1 + index % 9) + "\n").collect();
    Box::new(move || {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort_by_cached_key(|line| line.chars().rev().collect::<String>());
        lines.sort();
        lines.dedup();
        let longest = lines.iter().map(|line| line.to_uppercase()).max_by_key(String::len);
        black_box((lines.join("\n"), longest));
    })
}

/// Counts words and lists the most frequent.
fn word_count() -> Box<dyn FnOnce()> {
    let text = Writer::new(6).prose(6000);
    Box::new(move || {
        let mut counts: HashMap<String, usize> = HashMap::new();
        for word in text.split_whitespace() {
            *counts.entry(word.trim_matches('.').to_lowercase()).or_default() += 1;
        }
        let mut ranking: Vec<(String, usize)> = counts.into_iter().collect();
        ranking.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        let report: Vec<String> =
            ranking.iter().take(500).map(|(word, count)| format!("{word}: {count}")).collect();
        black_box(report.join("\n"));
    })
}

/// Renders a manual: paragraph by paragraph, chapter by chapter, and as a whole.
fn markdown_to_html() -> Box<dyn FnOnce()> {
    let text = Writer::new(7).markdown(150);
    Box::new(move || {
        let mut pages: Vec<String> = Vec::new();
        let parts = text.split("\n\n").chain(text.split("\n## "));
        for source in parts.chain([text.as_str()]) {
            let mut page = String::new();
            html::push_html(&mut page, Parser::new_ext(source, Options::all()));
            pages.push(page);
        }
        black_box(&pages);
    })
}

/// Builds an inverted index over documents and answers queries.
fn search_index() -> Box<dyn FnOnce()> {
    let mut writer = Writer::new(8);
    let documents: Vec<String> = (0..1500).map(|_| writer.prose(3)).collect();
    let queries: Vec<String> = (0..1000).map(|_| writer.words(2)).collect();
    Box::new(move || {
        let mut index: HashMap<String, Vec<(u32, u32)>> = HashMap::new();
        for (number, document) in (0..).zip(&documents) {
            for (position, token) in (0..).zip(document.split([' ', '.', '\n'])) {
                if !token.is_empty() {
                    index.entry(token.to_owned()).or_default().push((number, position));
                }
            }
        }
        for query in &queries {
            let mut scores: HashMap<u32, usize> = HashMap::new();
            for token in query.split(' ') {
                for &(document, _) in index.get(token).map_or(&[][..], Vec::as_slice) {
                    *scores.entry(document).or_default() += 1;
                }
            }
            let mut hits: Vec<(u32, usize)> = scores.into_iter().collect();
            hits.sort_by_key(|&(document, score)| (std::cmp::Reverse(score), document));
            hits.truncate(10);
            black_box(&hits);
        }
    })
}

/// A node that owns its children and knows its parent.
struct Node {
    label: String,
    children: RefCell<Vec<Rc<Node>>>,
    parent: RefCell<Weak<Node>>,
}

/// A tree of counted references that grows, loses branches, and is searched.
fn reference_graph() -> Box<dyn FnOnce()> {
    let mut writer = Writer::new(9);
    let labels: Vec<String> = (0..15_000).map(|_| writer.words(2)).collect();
    Box::new(move || {
        let new_node = |label: &String| {
            Rc::new(Node { label: label.clone(), children: RefCell::default(), parent: RefCell::default() })
        };
        let root = new_node(&labels[0]);
        let mut recent: VecDeque<Rc<Node>> = VecDeque::from([Rc::clone(&root)]);
        let mut random = fastrand::Rng::with_seed(9);
        for label in &labels {
            let parent = Rc::clone(&recent[random.usize(..recent.len())]);
            let node = new_node(label);
            *node.parent.borrow_mut() = Rc::downgrade(&parent);
            parent.children.borrow_mut().push(Rc::clone(&node));
            recent.push_back(node);
            if recent.len() > 300 {
                recent.pop_front();
            }
            if random.u8(..) < 40 {
                let mut branches = recent[random.usize(..recent.len())].children.borrow_mut();
                if !branches.is_empty() {
                    let branch = random.usize(..branches.len());
                    branches.swap_remove(branch);
                }
            }
        }
        let mut path = String::new();
        let mut node = recent.back().cloned();
        while let Some(current) = node {
            let _ = write!(path, "/{}", current.label);
            node = current.parent.borrow().upgrade();
        }
        black_box(path);
    })
}

/// Takes requests apart, keeps sessions, and writes answers.
fn request_handling() -> Box<dyn FnOnce()> {
    let mut writer = Writer::new(10);
    let requests: Vec<String> = (0..3000)
        .map(|_| {
            let (path, agent) = (writer.words(2).replace(' ', "/"), writer.words(5));
            let (session, body_length) = (writer.below(400), writer.below(60));
            let body = writer.words(1 + body_length);
            format!("POST /{path} HTTP/1.1\r\nUser-Agent: {agent}\r\nCookie: session={session}\r\n\r\n{body}")
        })
        .collect();
    Box::new(move || {
        let mut sessions: HashMap<String, VecDeque<String>> = HashMap::new();
        for request in &requests {
            let (head, body) = request.split_once("\r\n\r\n").unwrap_or((request, ""));
            let headers: BTreeMap<String, String> = head
                .lines()
                .skip(1)
                .filter_map(|line| line.split_once(": "))
                .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
                .collect();
            let history = sessions.entry(headers.get("cookie").cloned().unwrap_or_default()).or_default();
            history.push_back(body.to_owned());
            if history.len() > 8 {
                history.pop_front();
            }
            let items: Vec<String> = history.iter().map(|entry| format!("<li>{entry}</li>")).collect();
            let answer = format!("<html><ul>{}</ul></html>", items.concat());
            black_box(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{answer}", answer.len()));
        }
    })
}

/// Rust source text: this package's own.
fn rust_source() -> String {
    [
        include_str!("../../operation.rs"),
        include_str!("../../trace.rs"),
        include_str!("../../execute.rs"),
        include_str!("../../output/time/view.rs"),
    ]
    .join("\n")
}
