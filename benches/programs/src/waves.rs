//! A program that works as a service does: in waves of different sizes, with something that stays.
//!
//! Each wave opens sessions until their bytes reach its height, has some of them end and others begin, and closes all
//! of them in the end. A table of entries stays, and a part of it is replaced after each wave. (What is made while a
//! wave is high, and stays, keeps a page each, wherever it lies: no allocator knows what will stay.) After each wave
//! the program says what it has in use, what the kernel counts as resident, and what processor time the wave took.

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::hint::black_box;
use std::str::FromStr;
use std::time::{Duration, Instant};

use bench_common::clock;
use fastrand::Rng;

use crate::program::NoReport;

/// The name that the program knows this by.
pub const NAME: &str = "waves";

/// How long the waves take together, if nothing else is said.
pub const SECONDS: u64 = 60;

/// The heights of the waves in MiB. The last one is as high as the third, after which nothing is new to the allocator.
pub const HEIGHTS: [usize; 12] = [100, 300, 200, 60, 400, 20, 250, 30, 350, 150, 50, 200];

/// The number of the wave that the last one is compared with.
pub const THIRD: usize = 2;

/// How many entries stay, and how many of them each wave replaces; and for how many there is room, so many more that
/// the table need not become larger: a hash map does, by twice, when it has had many removed and put in. (It did in the
/// ninth wave, and the last one had 17 MiB more in use than the third.)
const ENTRIES: u64 = 400_000;
const REPLACED: u64 = 20_000;
const ROOM: usize = 2 * ENTRIES as usize;

/// How often the sessions of a wave are replaced, all in all.
const TURNS: usize = 3;

/// What is known after a wave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wave {
    /// Bytes of what is in use when the wave is at its highest.
    pub high_live: usize,
    /// Bytes that are resident then.
    pub high_resident: usize,
    /// Bytes of what is in use when it is over.
    pub live: usize,
    /// Bytes that are resident then.
    pub resident: usize,
    /// Processor time.
    pub time: Duration,
}

impl fmt::Display for Wave {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { high_live, high_resident, live, resident, time } = self;
        write!(f, "{high_live} {high_resident} {live} {resident} {}", time.as_nanos())
    }
}

impl FromStr for Wave {
    type Err = NoReport;

    fn from_str(text: &str) -> Result<Self, NoReport> {
        let numbers: Result<Vec<usize>, _> = text.split_whitespace().map(str::parse).collect();
        let Ok(&[high_live, high_resident, live, resident, time]) = numbers.as_deref() else {
            return Err(NoReport);
        };
        let time = Duration::from_nanos(time as u64);
        Ok(Self { high_live, high_resident, live, resident, time })
    }
}

/// What one client has: many small values of different sizes, some that grow, and now and then a large one.
struct Session {
    names: Vec<String>,
    lists: Vec<Vec<u32>>,
    body: Vec<u8>,
}

impl Session {
    fn new(random: &mut Rng) -> Self {
        let names = (0..200).map(|_| "n".repeat(random.usize(8..200))).collect();
        let mut list = || {
            let mut list = Vec::new();
            (0..1 << random.u32(4..13)).for_each(|number| list.push(number));
            list
        };
        let lists = (0..10).map(|_| list()).collect();
        // Most are small; one in sixteen has more than a megabyte.
        let bytes = if random.u8(..) < 16 {
            random.usize(1 << 20..4 << 20)
        } else {
            random.usize(1 << 10..100 << 10)
        };
        Self { names, lists, body: vec![1; bytes] }
    }

    /// Bytes of all that it owns.
    fn bytes(&self) -> usize {
        size_of::<Self>()
            + self.names.iter().map(|name| size_of::<String>() + name.capacity()).sum::<usize>()
            + self.lists.iter().map(|list| size_of::<Vec<u32>>() + 4 * list.capacity()).sum::<usize>()
            + self.body.capacity()
    }
}

/// The entries that stay.
struct Table {
    entries: HashMap<u64, String>,
    next: u64,
}

impl Table {
    fn add(&mut self, count: u64, random: &mut Rng) {
        for _ in 0..count {
            self.entries.insert(self.next, "e".repeat(random.usize(10..300)));
            self.next += 1;
        }
    }

    fn bytes(&self) -> usize {
        // A slot and a byte for each, at seven eighths full at most.
        let slots = (self.entries.capacity() * 8 / 7).next_power_of_two();
        slots * (size_of::<(u64, String)>() + 1) + self.entries.values().map(String::capacity).sum::<usize>()
    }
}

/// Makes the waves, all of which together take so long, and hands what is known of each to `note`.
///
/// # Errors
///
/// If the kernel does not tell how much is resident: only Linux does.
pub fn make(length: Duration, mut note: impl FnMut(Wave)) -> std::io::Result<()> {
    let mut random = Rng::with_seed(7);
    let mut table = Table { entries: HashMap::with_capacity(ROOM), next: 0 };
    table.add(ENTRIES, &mut random);
    for height in HEIGHTS {
        let (before, start) = (clock::of_process(), Instant::now());
        let all = TURNS * (height << 20);
        let (mut sessions, mut bytes, mut opened) = (Vec::new(), 0, 0);
        while opened < all {
            let session = Session::new(&mut random);
            bytes += session.bytes();
            opened += session.bytes();
            sessions.push(session);
            while bytes > height << 20 {
                let ended: Session = sessions.swap_remove(random.usize(..sessions.len()));
                bytes -= ended.bytes();
            }
            // A service waits for its clients more than it works.
            let due = length / HEIGHTS.len() as u32 * (opened >> 20) as u32 / (all >> 20) as u32;
            std::thread::sleep(due.saturating_sub(start.elapsed()));
        }
        let (high_live, high_resident) = (bytes + table.bytes(), resident()?);
        random.shuffle(&mut sessions);
        drop(black_box(sessions));
        for number in table.next - ENTRIES..table.next - ENTRIES + REPLACED {
            table.entries.remove(&number);
        }
        table.add(REPLACED, &mut random);
        let time = clock::of_process() - before;
        note(Wave { high_live, high_resident, live: table.bytes(), resident: resident()?, time });
    }
    Ok(())
}

/// Bytes of this process that are resident.
fn resident() -> std::io::Result<usize> {
    let unknown = || std::io::Error::new(std::io::ErrorKind::InvalidData, "/proc/self/status has no VmRSS");
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or_else(unknown)?;
    let kib: usize = line.trim().trim_end_matches(" kB").parse().map_err(|_| unknown())?;
    Ok(kib << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_can_be_read() {
        let time = Duration::from_millis(5);
        let wave = Wave { high_live: 4, high_resident: 3, live: 2, resident: 1, time };
        assert_eq!(wave.to_string().parse(), Ok(wave));
        assert_eq!("1 2 3 4".parse::<Wave>(), Err(NoReport));
    }

    #[test]
    fn the_last_wave_is_as_high_as_the_third() {
        assert_eq!(HEIGHTS.last(), Some(&HEIGHTS[THIRD]));
    }
}
