//! What the page shows, as JSON. Tables are columns: a list for each field, so that names are not repeated.

use crate::analysis::{CELLS, Details, Histogram, Holder, LEVELS, Overview, SHORT_LIVED, Stacks};
use crate::symbols::{Origin, Symbols};
use crate::trace_file::reason_of_end;
use mem_alloc_rust::trace::CallSites;
use rustc_hash::FxHashMap;
use serde::Serialize;

/// A character for each level of a cell: those of base 64, in its order.
const DIGITS: &[u8; LEVELS as usize] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Data {
    program: String,
    process: u32,
    /// Milliseconds since 1970.
    began: u64,
    is_sampled: bool,
    sample_interval: u64,
    call_sites: &'static str,
    ended: Option<&'static str>,
    events: u64,
    threads: usize,
    allocations: u64,
    reallocations: u64,
    releases: u64,
    refusals: u64,
    unmatched: u64,
    bytes: u64,
    short_lived: u32,
    peak: Moment,
    end: Moment,
    missing: Vec<String>,
    series: Points,
    sizes: Bins,
    lifetimes_in_events: Bins,
    lifetimes_in_micros: Bins,
    arena: Arena,
    texts: Vec<String>,
    frames: Frames,
    nodes: Nodes,
    rows: Rows,
    growths: Growths,
}

#[derive(Serialize)]
struct Moment {
    event: u64,
    /// Microseconds since the recording began.
    time: u64,
    bytes: u64,
    blocks: u64,
}

#[derive(Default, Serialize)]
struct Points {
    event: Vec<u64>,
    time: Vec<u64>,
    bytes: Vec<u64>,
    blocks: Vec<u64>,
    footprint: Vec<u64>,
    /// Bytes of a page, in which the footprint is counted.
    page: u64,
}

#[derive(Default, Serialize)]
struct Bins {
    from: Vec<u64>,
    blocks: Vec<u64>,
    bytes: Vec<u64>,
}

#[derive(Serialize)]
struct Arena {
    bytes: u64,
    cell: u64,
    spans: Vec<Span>,
    snapshots: Vec<Snapshot>,
}

#[derive(Serialize)]
struct Span {
    /// In hexadecimal digits, since the page's numbers have no 64 bits.
    start: String,
    bytes: u64,
    place: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Snapshot {
    #[serde(flatten)]
    moment: Moment,
    extent: u64,
    overhead: u64,
    free: u64,
    holes: u64,
    largest: u64,
    largest_at: u64,
    /// A digit for each cell.
    cells: String,
}

#[derive(Default, Serialize)]
struct Frames {
    function: Vec<u32>,
    file: Vec<u32>,
    line: Vec<u32>,
    /// 0 the program's own, 1 a dependency's, 2 Rust's, 3 unknown.
    origin: Vec<u8>,
}

#[derive(Default, Serialize)]
struct Nodes {
    caller: Vec<u32>,
    frame: Vec<u32>,
}

/// Who asked for memory: a row for each stack.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Rows {
    node: Vec<u32>,
    bytes: Vec<u64>,
    blocks: Vec<u64>,
    peak_bytes: Vec<u64>,
    peak_blocks: Vec<u64>,
    end_bytes: Vec<u64>,
    end_blocks: Vec<u64>,
    short_bytes: Vec<u64>,
    short_blocks: Vec<u64>,
}

#[derive(Default, Serialize)]
struct Growths {
    node: Vec<u32>,
    blocks: Vec<u64>,
    steps: Vec<u64>,
    copied: Vec<u64>,
    grown: Vec<u64>,
    largest: Vec<u64>,
}

impl Data {
    pub(super) fn new(overview: &Overview, details: &Details, symbols: &Symbols, stacks: &Stacks) -> Self {
        let header = &overview.header;
        let counts = &overview.counts;
        let mut texts = Texts::default();
        let frames = frames(symbols, &mut texts);
        Self {
            program: overview.program.clone().unwrap_or_default(),
            process: header.process,
            began: header.began / 1_000_000,
            is_sampled: header.is_sampled,
            sample_interval: header.sample_interval,
            call_sites: match header.call_sites {
                CallSites::None => "none",
                CallSites::FramePointers => "frame pointers",
                CallSites::Unwound => "unwound",
                _ => "found in a way that this version does not know",
            },
            ended: overview.ended.map(reason_of_end),
            events: overview.events,
            threads: overview.threads,
            allocations: counts.allocations,
            reallocations: counts.reallocations,
            releases: counts.releases,
            refusals: counts.refusals,
            unmatched: counts.unmatched,
            bytes: counts.bytes,
            short_lived: SHORT_LIVED,
            peak: moment(&overview.peak),
            end: moment(&overview.end),
            missing: symbols.missing(),
            series: points(details),
            sizes: bins(&details.sizes),
            lifetimes_in_events: bins(&details.lifetimes.events),
            lifetimes_in_micros: bins(&details.lifetimes.micros),
            arena: arena(overview, details),
            texts: texts.texts,
            frames,
            nodes: nodes(stacks),
            rows: rows(details, stacks),
            growths: growths(details, stacks),
        }
    }
}

fn moment(moment: &crate::analysis::Moment) -> Moment {
    Moment {
        event: moment.ordinal,
        time: moment.time / 1000,
        bytes: moment.live_bytes,
        blocks: moment.live_blocks,
    }
}

fn points(details: &Details) -> Points {
    let mut points = Points { page: details.page, ..Points::default() };
    for point in &details.points {
        points.event.push(point.moment.ordinal);
        points.time.push(point.moment.time / 1000);
        points.bytes.push(point.moment.live_bytes);
        points.blocks.push(point.moment.live_blocks);
        points.footprint.push(point.footprint);
    }
    points
}

fn bins(histogram: &Histogram) -> Bins {
    let mut bins = Bins::default();
    for (from, blocks, bytes) in histogram.bins() {
        bins.from.push(from);
        bins.blocks.push(blocks);
        bins.bytes.push(bytes);
    }
    bins
}

fn arena(overview: &Overview, details: &Details) -> Arena {
    let spans = overview.space.spans.iter().map(|span| Span {
        start: format!("{:#x}", span.start),
        bytes: span.end - span.start,
        place: span.place,
    });
    let snapshots = details.snapshots.iter().map(|snapshot| Snapshot {
        moment: moment(&snapshot.moment),
        extent: snapshot.extent,
        overhead: snapshot.overhead,
        free: snapshot.free,
        holes: snapshot.holes,
        largest: snapshot.largest,
        largest_at: snapshot.largest_at,
        cells: snapshot.cells.iter().map(|&level| char::from(DIGITS[usize::from(level)])).collect(),
    });
    debug_assert!(details.snapshots.iter().all(|snapshot| snapshot.cells.len() as u64 <= CELLS));
    Arena {
        bytes: overview.space.bytes,
        cell: details.cell,
        spans: spans.collect(),
        snapshots: snapshots.collect(),
    }
}

fn frames(symbols: &Symbols, texts: &mut Texts) -> Frames {
    let mut frames = Frames::default();
    let own = (0..symbols.len()).filter(|&frame| symbols.origin(frame) == Origin::Own);
    let folder = common_folder(own.filter_map(|frame| symbols.file(frame)));
    for frame in 0..symbols.len() {
        frames.function.push(texts.number(symbols.function(frame)));
        let file = symbols.file(frame).unwrap_or_default();
        frames.file.push(texts.number(file.strip_prefix(folder).unwrap_or(file)));
        frames.line.push(symbols.line(frame));
        frames.origin.push(match symbols.origin(frame) {
            Origin::Own => 0,
            Origin::Dependency => 1,
            Origin::Std => 2,
            Origin::Unknown => 3,
        });
    }
    frames
}

/// The folder that all of the program's own files are in, with the slash behind it: there is no room for it in each
/// row. A folder `src` at its end is left, since files are known by it.
fn common_folder<'a>(mut files: impl Iterator<Item = &'a str>) -> &'a str {
    let Some(first) = files.next() else { return "" };
    let mut len = first.rfind('/').map_or(0, |slash| slash + 1);
    for file in files {
        let same = first.bytes().zip(file.bytes()).take_while(|(one, other)| one == other).count();
        len = first.as_bytes()[..len.min(same)]
            .iter()
            .rposition(|&byte| byte == b'/')
            .map_or(0, |slash| slash + 1);
    }
    let folder = &first[..len];
    folder.strip_suffix("src/").unwrap_or(folder)
}

fn nodes(stacks: &Stacks) -> Nodes {
    Nodes {
        caller: stacks.nodes.iter().map(|node| node.caller).collect(),
        frame: stacks.nodes.iter().map(|node| node.frame).collect(),
    }
}

/// Call sites that differ in nothing that is shown are one row.
fn rows(details: &Details, stacks: &Stacks) -> Rows {
    let mut by_node: FxHashMap<u32, Holder> = FxHashMap::default();
    for (site, holder) in details.holders.iter().enumerate().filter(|(_, holder)| holder.asked.blocks != 0) {
        by_node.entry(stacks.of_site[site]).or_default().add(holder);
    }
    let mut sorted: Vec<_> = by_node.into_iter().collect();
    sorted.sort_unstable_by_key(|(node, _)| *node);
    let mut rows = Rows::default();
    for (node, holder) in sorted {
        rows.node.push(node);
        rows.bytes.push(holder.asked.bytes);
        rows.blocks.push(holder.asked.blocks);
        rows.peak_bytes.push(holder.peak.bytes);
        rows.peak_blocks.push(holder.peak.blocks);
        rows.end_bytes.push(holder.end.bytes);
        rows.end_blocks.push(holder.end.blocks);
        rows.short_bytes.push(holder.short_lived.bytes);
        rows.short_blocks.push(holder.short_lived.blocks);
    }
    rows
}

fn growths(details: &Details, stacks: &Stacks) -> Growths {
    let mut by_node: FxHashMap<u32, crate::analysis::Growth> = FxHashMap::default();
    for (site, growth) in &details.growths {
        by_node.entry(stacks.of_site[*site as usize]).or_default().add(growth);
    }
    let mut sorted: Vec<_> = by_node.into_iter().collect();
    sorted.sort_unstable_by_key(|(node, _)| *node);
    let mut growths = Growths::default();
    for (node, growth) in sorted {
        growths.node.push(node);
        growths.blocks.push(growth.blocks);
        growths.steps.push(growth.steps);
        growths.copied.push(growth.copied);
        growths.grown.push(growth.grown);
        growths.largest.push(growth.largest);
    }
    growths
}

/// Texts by number, each one once.
#[derive(Default)]
struct Texts {
    texts: Vec<String>,
    numbers: FxHashMap<String, u32>,
}

impl Texts {
    fn number(&mut self, text: &str) -> u32 {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        let number = self.texts.len() as u32;
        self.texts.push(text.to_owned());
        self.numbers.insert(text.to_owned(), number);
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_of_all_files_is_found() {
        let common = |files: &[&'static str]| common_folder(files.iter().copied());
        assert_eq!(common(&["/home/me/app/src/main.rs", "/home/me/app/src/parse/node.rs"]), "/home/me/app/");
        assert_eq!(common(&["/home/me/app/src/main.rs", "/home/me/apple/lib.rs"]), "/home/me/");
        assert_eq!(common(&["/home/me/app/src/main.rs"]), "/home/me/app/");
        assert_eq!(common(&["src/main.rs", "src/lib.rs"]), "");
        assert_eq!(common(&["src/main.rs", "/elsewhere/lib.rs"]), "");
        assert_eq!(common(&[]), "");
    }
}
