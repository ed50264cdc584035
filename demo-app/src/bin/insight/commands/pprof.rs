//! `insight pprof`: who asked for the memory, as a profile for `pprof` and other viewers.

mod profile;

use super::{expect_writable, say_if_cut_short, say_what_is_missing, write_file};
use crate::analysis::{self, Holder, Overview, PLUMBING_PATTERN};
use crate::symbols::Symbols;
use crate::trouble::Trouble;
use flate2::Compression;
use flate2::write::GzEncoder;
use profile::{Function, Line, Location, Mapping, Profile, Sample, ValueType};
use prost::Message;
use rustc_hash::FxHashMap;
use std::io::Write;
use std::path::PathBuf;

/// What each sample has, with its unit. Where Go's profiles have the same, it has their name.
const VALUES: [(&str, &str); 6] = [
    ("alloc_objects", "count"),
    ("alloc_space", "bytes"),
    ("peak_objects", "count"),
    ("peak_space", "bytes"),
    ("inuse_objects", "count"),
    ("inuse_space", "bytes"),
];

/// Which of them a viewer shows at first.
const SHOWN: &str = "peak_space";

/// Writes who asked for the memory as a profile for `pprof` and other viewers.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The trace, or the heap profile of a program with `Sampled`
    trace: PathBuf,
    /// Where the profile goes
    #[arg(short, long, value_name = "FILE", default_value = "profile.pb.gz")]
    output: PathBuf,
}

/// Writes the profile.
///
/// # Errors
///
/// The trace cannot be read, or the profile cannot be written.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Trouble> {
    expect_writable(&arguments.output, &arguments.trace)?;
    let overview = Overview::read(&arguments.trace)?;
    say_if_cut_short(&arguments.trace, overview.ended);
    let holders = analysis::holders(&arguments.trace, &overview)?;
    let mut symbols = Symbols::new(&overview.modules, overview.header.began);
    let profile = profile(&overview, &holders, &mut symbols);
    say_what_is_missing(&symbols);
    write_file(&arguments.output, |file| {
        let mut compressed = GzEncoder::new(file, Compression::default());
        compressed.write_all(&profile.encode_to_vec())?;
        compressed.finish().map(drop)
    })
}

fn profile(overview: &Overview, holders: &[Holder], symbols: &mut Symbols) -> Profile {
    let mut builder = Builder::new(symbols);
    for (kind, unit) in VALUES {
        let value = ValueType { kind: builder.text(kind), unit: builder.text(unit) };
        builder.profile.sample_type.push(value);
    }
    for (number, module) in overview.modules.iter().enumerate() {
        let mapping = Mapping {
            id: number as u64 + 1,
            memory_start: module.start,
            memory_limit: module.end,
            file_offset: module.start.wrapping_sub(module.bias),
            filename: builder.text(&module.path.to_string_lossy()),
            has_functions: true,
            has_filenames: true,
            has_line_numbers: true,
            has_inline_frames: true,
        };
        builder.profile.mapping.push(mapping);
    }
    for (site, holder) in holders.iter().enumerate().filter(|(_, holder)| holder.asked.blocks != 0) {
        let amounts = [holder.asked, holder.peak, holder.end];
        let value = amounts.iter().flat_map(|amount| [amount.blocks as i64, amount.bytes as i64]).collect();
        let location_id =
            addresses(overview, site).map(|address| builder.location(overview, address)).collect();
        builder.profile.sample.push(Sample { location_id, value });
    }
    let program = overview.program.as_deref().map(|program| builder.text(program));
    let shown = builder.text(SHOWN);
    let dropped = builder.text(PLUMBING_PATTERN);
    let period = ValueType { kind: builder.text("space"), unit: builder.text("bytes") };
    let mut profile = builder.profile;
    profile.comment.extend(program);
    profile.default_sample_type = shown;
    profile.drop_frames = dropped;
    profile.time_nanos = overview.header.began as i64;
    profile.duration_nanos = overview.end.time as i64;
    if overview.header.is_sampled {
        profile.period_type = Some(period);
        profile.period = overview.header.sample_interval as i64;
    }
    profile
}

/// The return addresses of a call site, the innermost one first.
fn addresses(overview: &Overview, site: usize) -> impl Iterator<Item = u64> + '_ {
    let mut next = site;
    // No stack has more calls than there are call sites; one that is its own caller would.
    (0..overview.sites.len()).map_while(move |_| {
        let site = overview.sites.get(next).filter(|_| next != 0)?;
        next = site.caller as usize;
        Some(site.address)
    })
}

struct Builder<'a> {
    symbols: &'a mut Symbols,
    profile: Profile,
    texts: FxHashMap<String, i64>,
    /// Numbers by address.
    locations: FxHashMap<u64, u64>,
    /// Numbers by name and file.
    functions: FxHashMap<(i64, i64), u64>,
}

impl<'a> Builder<'a> {
    fn new(symbols: &'a mut Symbols) -> Self {
        let mut builder = Self {
            symbols,
            profile: Profile::default(),
            texts: FxHashMap::default(),
            locations: FxHashMap::default(),
            functions: FxHashMap::default(),
        };
        // The first text has to be the empty one.
        builder.text("");
        builder
    }

    fn text(&mut self, text: &str) -> i64 {
        if let Some(number) = self.texts.get(text) {
            return *number;
        }
        let number = self.profile.string_table.len() as i64;
        self.profile.string_table.push(text.to_owned());
        self.texts.insert(text.to_owned(), number);
        number
    }

    fn location(&mut self, overview: &Overview, return_address: u64) -> u64 {
        if let Some(number) = self.locations.get(&return_address) {
            return *number;
        }
        // As everywhere in such profiles, the address is in the call and not behind it.
        let address = return_address.wrapping_sub(1);
        let of_module = |module: &analysis::Module| (module.start..module.end).contains(&address);
        let mapping_id = overview.modules.iter().position(of_module).map_or(0, |module| module as u64 + 1);
        let frames = self.symbols.frames_of(return_address);
        let line = frames.map(|place| self.line(self.symbols.frame_number(place))).collect();
        let id = self.profile.location.len() as u64 + 1;
        self.profile.location.push(Location { id, mapping_id, address, line });
        self.locations.insert(return_address, id);
        id
    }

    fn line(&mut self, frame: u32) -> Line {
        let name = self.symbols.function(frame).to_owned();
        let name = self.text(&name);
        let filename = self.symbols.file(frame).unwrap_or_default().to_owned();
        let filename = self.text(&filename);
        let next = self.profile.function.len() as u64 + 1;
        let function_id = *self.functions.entry((name, filename)).or_insert(next);
        if function_id == next {
            self.profile.function.push(Function { id: next, name, system_name: name, filename });
        }
        Line { function_id, line: self.symbols.line(frame).into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic::Synthetic;
    use mem_alloc_rust::trace::{Module, Note};
    use std::io::Read;
    use std::path::Path;

    fn decode(path: &Path) -> Profile {
        let mut bytes = Vec::new();
        flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_end(&mut bytes).unwrap();
        Profile::decode(&bytes[..]).unwrap()
    }

    /// A sample's functions, the innermost one first, and its values.
    fn samples(profile: &Profile) -> Vec<(Vec<&str>, &[i64])> {
        let name = |line: &Line| {
            let function = profile.function.iter().find(|function| function.id == line.function_id).unwrap();
            &*profile.string_table[function.name as usize]
        };
        let location = |id: &u64| profile.location.iter().find(|location| location.id == *id).unwrap();
        let functions = |sample: &Sample| {
            sample.location_id.iter().map(location).flat_map(|location| &location.line).map(name).collect()
        };
        profile.sample.iter().map(|sample| (functions(sample), &*sample.value)).collect()
    }

    #[test]
    fn a_profile_that_is_read_again_has_stacks_and_values() {
        let mut file = Synthetic::new();
        let module = Module { bias: 0x40_0000, start: 0x40_1000, end: 0x40_9000, path: b"/nowhere/app" };
        file.about(&Note::Module(module));
        file.about(&Note::Program(b"app --fast"));
        file.site(0, 1, 0, 0x40_1010);
        file.site(0, 2, 1, 0x40_2020);
        file.site(0, 3, 0, 0x9999);
        file.allocation(0, 1, 0x1000, 100, 2);
        file.allocation(0, 2, 0x2000, 50, 2);
        file.release(0, 3, 0x2000);
        file.allocation(0, 4, 0x3000, 10, 3);
        file.allocation(0, 5, 0x4000, 1, 0);
        let trace = file.write("pprof");
        let output = trace.with_extension("pb.gz");
        run(&Arguments { trace, output: output.clone() }).unwrap();

        let profile = decode(&output);
        let kinds: Vec<&str> =
            profile.sample_type.iter().map(|value| &*profile.string_table[value.kind as usize]).collect();
        assert_eq!(kinds, VALUES.map(|(kind, _)| kind));
        assert_eq!(profile.string_table[0], "");
        let expected: [(Vec<&str>, &[i64]); 3] = [
            (vec![], &[1, 1, 0, 0, 1, 1]),
            (vec!["app+0x2020", "app+0x1010"], &[2, 150, 2, 150, 1, 100]),
            (vec!["0x9999"], &[1, 10, 0, 0, 1, 10]),
        ];
        assert_eq!(samples(&profile), expected);
        let mapped: Vec<u64> = profile.location.iter().map(|location| location.mapping_id).collect();
        assert_eq!(mapped, [1, 1, 0]);
        assert_eq!(profile.location[0].address, 0x40_201F);
        assert_eq!(profile.string_table[profile.mapping[0].filename as usize], "/nowhere/app");
        assert_eq!(profile.period_type, None);
    }
}
