//! Writes a trace of a program that never was: as many events and call sites as you like, to see how the tool `insight`
//! does with them.
//!
//! ```text
//! cargo run --release -p demo-app --example made_up_trace -- big.trace 10000000 100000 [PROGRAM]
//! ```
//!
//! If a program is given, the call sites are addresses in its code, so that they have names.

use mem_alloc_rust::trace::{
    CHUNK, CHUNK_HEADER, CallSites, ChunkHeader, Encoder, Event, FILE_HEADER, FileHeader, MAX_EVENT, Module,
    Note,
};
use object::{Object, ObjectSection};
use std::fs::File;
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::time::SystemTime;

/// Where the program is said to have been loaded to.
const BIAS: u64 = 0x5555_5555_4000;

/// Where its arena is.
const ARENA: u64 = 0x7f00_0000_0000;

const THREADS: u64 = 4;

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [path, events, sites, program @ ..] = &arguments[..] else {
        eprintln!("usage: made_up_trace FILE EVENTS SITES [PROGRAM]");
        std::process::exit(2);
    };
    let number = |text: &String| text.parse::<u64>().map_err(io::Error::other);
    let (events, sites) = (number(events)?, number(sites)?.max(1));
    let program = program.first().map(std::fs::canonicalize).transpose()?;
    let mut trace = Trace::create(path, program)?;
    trace.define_sites(sites)?;
    let mut life = Life::new(sites);
    while trace.sequence < events {
        life.step(&mut trace)?;
    }
    trace.finish()
}

/// Numbers that look random, and are the same each time.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((u128::from(self.0 >> 11) * u128::from(end)) >> 53) as u64
    }

    /// Small numbers more often than large ones: each octave is as likely as the next.
    fn octaves(&mut self, log2: u64) -> u64 {
        let octave = self.below(log2);
        (1 << octave) + self.below(1 << octave)
    }
}

/// A file that is being written, chunk by chunk.
struct Trace {
    file: BufWriter<File>,
    writers: Vec<Writer>,
    chunks: u64,
    sequence: u64,
    /// The addresses of the program's code.
    code: std::ops::Range<u64>,
}

struct Writer {
    chunk: Vec<u8>,
    encoder: Encoder,
    number: u32,
}

impl Trace {
    fn create(path: &str, program: Option<PathBuf>) -> io::Result<Self> {
        let began = SystemTime::UNIX_EPOCH.elapsed().map_err(io::Error::other)?;
        let header = FileHeader {
            process: 4711,
            pointer_bytes: 8,
            is_sampled: false,
            call_sites: CallSites::FramePointers,
            began: began.as_nanos() as u64,
            sample_interval: 0,
        };
        let mut first = vec![0; CHUNK];
        first[..FILE_HEADER].copy_from_slice(&header.encode());
        let mut encoder = Encoder::new(&ChunkHeader::FIRST);
        let mut code = 0x1000..0x10_0000;
        if let Some(program) = &program {
            let bytes = std::fs::read(program)?;
            let object = object::File::parse(&*bytes).map_err(io::Error::other)?;
            let text = object.section_by_name(".text").ok_or(io::Error::other("the program has no code"))?;
            code = text.address()..text.address() + text.size();
        }
        let name =
            program.map_or("/nowhere/made-up".to_owned(), |program| program.to_string_lossy().into_owned());
        let module = Module { bias: BIAS, start: BIAS, end: BIAS + code.end, path: name.as_bytes() };
        let mut len = FILE_HEADER;
        for note in [Note::Module(module), Note::Program(format!("{name} --fast input.json").as_bytes())] {
            len += encoder.note(&note, &mut first[len..]).ok_or(io::Error::other("the path is too long"))?;
        }
        let mut file = BufWriter::new(File::create(path)?);
        file.write_all(&first)?;
        let writers = (0..THREADS).map(|number| Writer::new(number as u32, 0, 0)).collect();
        Ok(Self { file, writers, chunks: 1, sequence: 0, code })
    }

    /// A tree of calls: each is called from one of those before, more often from an early one.
    fn define_sites(&mut self, sites: u64) -> io::Result<()> {
        let mut random = Random(7);
        for number in 1..=sites {
            let caller = if number <= 4 {
                number - 1
            } else {
                1 + random.below(number - 1).min(random.below(number - 1))
            };
            let address = BIAS + self.code.start + random.below(self.code.end - self.code.start);
            self.write(0, |encoder, bytes| encoder.note(&Note::Site { number, caller, address }, bytes))?;
        }
        Ok(())
    }

    fn event(&mut self, thread: u64, event: &Event) -> io::Result<()> {
        self.sequence += 1;
        let sequence = self.sequence;
        if sequence % 256 == 0 {
            self.write(thread, |encoder, bytes| encoder.note(&Note::Time(sequence * 80), bytes))?;
        }
        let mut record = [0; MAX_EVENT];
        self.write(thread, |encoder, bytes| {
            let len = encoder.event(sequence, event, &mut record);
            bytes.get_mut(..MAX_EVENT)?[..len].copy_from_slice(&record[..len]);
            Some(len)
        })
    }

    fn write(
        &mut self,
        thread: u64,
        encode: impl FnOnce(&mut Encoder, &mut [u8]) -> Option<usize>,
    ) -> io::Result<()> {
        let (sequence, time) = (self.sequence.saturating_sub(1), self.sequence * 80);
        let writer = &mut self.writers[thread as usize];
        if CHUNK - writer.chunk.len() < MAX_EVENT {
            let full = std::mem::replace(writer, Writer::new(writer.number, sequence, time));
            self.put(full)?;
        }
        let writer = &mut self.writers[thread as usize];
        let len = writer.chunk.len();
        writer.chunk.resize(len + MAX_EVENT, 0);
        let more = encode(&mut writer.encoder, &mut writer.chunk[len..])
            .ok_or(io::Error::other("a record is too long"))?;
        writer.chunk.truncate(len + more);
        Ok(())
    }

    fn put(&mut self, mut writer: Writer) -> io::Result<()> {
        writer.chunk.resize(CHUNK, 0);
        self.file.seek(SeekFrom::Start(self.chunks * CHUNK as u64))?;
        self.chunks += 1;
        self.file.write_all(&writer.chunk)
    }

    fn finish(mut self) -> io::Result<()> {
        for writer in std::mem::take(&mut self.writers) {
            self.put(writer)?;
        }
        self.file.flush()
    }
}

impl Writer {
    fn new(number: u32, sequence: u64, time: u64) -> Self {
        let header = ChunkHeader { writer: number, sequence, time, thread: 100 + number };
        let mut chunk = header.encode().to_vec();
        debug_assert_eq!(chunk.len(), CHUNK_HEADER);
        chunk.reserve(CHUNK - CHUNK_HEADER);
        Self { chunk, encoder: Encoder::new(&header), number }
    }
}

/// What the program does: it builds something up and takes it down, again and again, with much that is short-lived,
/// vectors that grow, and call sites that never release.
struct Life {
    random: Random,
    sites: u64,
    live: Vec<(u64, u64)>,
    /// Free blocks by size class.
    free: Vec<Vec<u64>>,
    top: u64,
    steps: u64,
}

impl Life {
    fn new(sites: u64) -> Self {
        Self { random: Random(42), sites, live: Vec::new(), free: vec![Vec::new(); 64], top: ARENA, steps: 0 }
    }

    fn class(size: u64) -> (usize, u64) {
        let bytes = size.max(16).next_power_of_two();
        let bytes = if size <= bytes / 4 * 3 { bytes / 4 * 3 } else { bytes };
        (bytes.ilog2() as usize * 2 % 64 + usize::from(bytes.is_power_of_two()), bytes.next_multiple_of(8))
    }

    fn address(&mut self, size: u64) -> u64 {
        let (class, bytes) = Self::class(size);
        self.free[class].pop().unwrap_or_else(|| {
            self.top += bytes;
            self.top - bytes
        })
    }

    fn allocate(&mut self, trace: &mut Trace, thread: u64, size: u64, site: u64) -> io::Result<u64> {
        let address = self.address(size);
        trace.event(thread, &Event::Allocation { size, align: 8, address, is_zeroed: false, site })?;
        Ok(address)
    }

    fn release(&mut self, trace: &mut Trace, thread: u64, (address, size): (u64, u64)) -> io::Result<()> {
        self.free[Self::class(size).0].push(address);
        trace.event(thread, &Event::Release { address })
    }

    fn step(&mut self, trace: &mut Trace) -> io::Result<()> {
        self.steps += 1;
        let thread = self.random.below(THREADS);
        let site = 5 + self.random.below(self.sites);
        let site = if site > self.sites { 1 } else { site };
        // Up for three quarters of a phase, down for one, and the next one is higher.
        let is_down = self.steps / 100_000 % 4 == 3;
        match self.random.below(100) {
            0 => {
                let (mut size, site) = (32, site % 50 + 1);
                let mut address = self.allocate(trace, thread, size, site)?;
                for _ in 0..self.random.below(10) {
                    let larger = self.address(size * 2);
                    let event = Event::Reallocation {
                        new_size: size * 2,
                        align: 8,
                        old_address: address,
                        address: larger,
                        site,
                    };
                    trace.event(thread, &event)?;
                    self.free[Self::class(size).0].push(address);
                    (address, size) = (larger, size * 2);
                }
                self.live.push((address, size));
            }
            1 if self.steps % 64 == 0 => {
                // Nobody releases these.
                self.allocate(trace, thread, 640, 3)?;
            }
            1..=40 => {
                let (size, site) = (self.random.octaves(8), site % 200 + 1);
                let address = self.allocate(trace, thread, size, site)?;
                self.release(trace, thread, (address, size))?;
            }
            _ if !self.live.is_empty() && (is_down || self.random.below(10) < 4) => {
                let victim = self.random.below(self.live.len() as u64) as usize;
                let block = self.live.swap_remove(victim);
                self.release(trace, thread, block)?;
            }
            _ => {
                let size = self.random.octaves(11);
                let address = self.allocate(trace, thread, size, site)?;
                self.live.push((address, size));
            }
        }
        Ok(())
    }
}
