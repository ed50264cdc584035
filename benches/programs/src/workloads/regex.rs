//! A program that looks through logs.

use regex::Regex;

use crate::Checksum;
use bench_common::inputs::Writer;

const LINES: usize = 8_000;
const SEARCHES: usize = 80;

/// Takes a log apart into fields, then searches it for patterns that are not known before.
pub(super) fn perform(checksum: &mut Checksum) {
    let mut writer = Writer::new(4);
    let log = writer.log(LINES);
    let line =
        Regex::new(r"(?m)^(\d{4}-\d\d-\d\d) ((?:\d{1,3}\.){3}\d{1,3}) (GET|POST) (\S+) (\d{3}) (\d+)ms$")
            .expect("the pattern is valid");
    let fields: Vec<Vec<String>> = line
        .captures_iter(&log)
        .map(|captures| captures.iter().skip(1).flatten().map(|group| group.as_str().to_owned()).collect())
        .collect();
    checksum.add(&fields);
    for search in 0..SEARCHES {
        let words = writer.words(3).replace(' ', "|");
        let pattern = Regex::new(&format!(r"(?i)[/=]({words})\w*\b")).expect("words are valid patterns");
        let part = &fields[search * fields.len() / SEARCHES..];
        let hits: Vec<String> = part
            .iter()
            .take(300)
            .filter(|fields| pattern.is_match(&fields[3]))
            .map(|fields| pattern.replace_all(&fields[3], "<$1>").into_owned())
            .collect();
        checksum.add(hits);
    }
}
