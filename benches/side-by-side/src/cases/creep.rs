//! A program that keeps its heap more than half full: connections with buffers that grow, messages
//! and names, and every now and then a block of 1 MiB. What is refused is counted, and the program
//! goes on.

use std::alloc::GlobalAlloc;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::{Args, ValueEnum};
use fastrand::Rng;
use indicatif::ProgressBar;

use super::block::Block;
use super::{ARENA, Case, Found, ask};
use crate::allocators::{Allocator, Visitor};

/// Shares of the arena that the program keeps live, in percent.
pub const SHARES: [u32; 4] = [50, 60, 70, 80];
/// Seeds over which results are added up.
pub const SEEDS: [u64; 3] = [1, 2, 3];
/// Steps between two requests for a large block.
pub const STEPS: usize = 2000;
/// Requests for a large block.
pub const ROUNDS: usize = 500;
/// Bytes of the large block.
pub const LARGE: usize = 1 << 20;

/// Connections at one time, at most.
const CONNECTIONS: usize = 1 << 16;
/// Messages of a connection, at most.
const MESSAGES: usize = 30;

/// What connections are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mix {
    /// Buffers up to 150 KB, messages up to 600 bytes.
    Large,
    /// Buffers up to 20 KB, messages up to 200 bytes.
    Small,
}

impl Mix {
    /// Both, in the order of the tables.
    pub const ALL: [Self; 2] = [Self::Large, Self::Small];

    /// The name in tables and on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Large => "large",
            Self::Small => "small",
        }
    }

    /// What buffers grow to; the first ones are the most frequent.
    const fn buffers(self) -> [usize; 5] {
        match self {
            Self::Large => [500, 2000, 9000, 40_000, 150_000],
            Self::Small => [100, 300, 1000, 5000, 20_000],
        }
    }

    /// Bytes of the longest message.
    const fn longest(self) -> usize {
        match self {
            Self::Large => 600,
            Self::Small => 200,
        }
    }
}

/// One run of the program.
#[derive(Args, Clone, Copy, Debug, PartialEq, Eq)]
pub struct Creep {
    /// Percent of the arena that are live.
    pub share: u32,
    /// What connections are like.
    pub mix: Mix,
    /// What the steps follow from.
    pub seed: u64,
}

impl Case for Creep {
    const COMMAND: &'static str = "creep-once";
    const MEMORY: (usize, bool) = (ARENA, true);
    const PATIENCE: Duration = Duration::from_secs(6);

    fn arguments(&self) -> Vec<String> {
        vec![self.share.to_string(), self.mix.name().to_owned(), self.seed.to_string()]
    }
}

impl Visitor for Creep {
    type Output = Found;

    /// Returns requests, refusals, and how many of the large blocks were served.
    fn visit<A: GlobalAlloc + Sync>(self, allocator: &A) -> Found {
        self.perform(allocator, ROUNDS, Instant::now() + Self::PATIENCE)
    }
}

impl Creep {
    fn perform<A: GlobalAlloc>(self, allocator: &A, rounds: usize, deadline: Instant) -> Found {
        let limit = ARENA / 100 * self.share as usize;
        let mut program = Program {
            allocator,
            mix: self.mix,
            random: Rng::with_seed(self.seed),
            connections: Vec::new(),
            live: 0,
            requests: 0,
            refusals: 0,
        };
        let mut large = 0;
        for _ in 0..rounds {
            for step in 0..STEPS {
                program.step(limit);
                if step % 64 == 0 && Instant::now() > deadline {
                    return Found::TooSlow;
                }
            }
            if let Some(block) = Block::new(allocator, LARGE, 8) {
                large += 1;
                block.free(allocator);
            }
        }
        Found::Numbers([program.requests, program.refusals, large].map(f64::from).to_vec())
    }
}

/// The program, with what it has.
struct Program<'a, A> {
    allocator: &'a A,
    mix: Mix,
    random: Rng,
    connections: Vec<Connection>,
    live: usize,
    requests: u32,
    refusals: u32,
}

/// Blocks as a program's vectors and strings have them.
struct Connection {
    name: Option<Block>,
    buffer: Option<Block>,
    /// Bytes in the buffer; its block is as large as its capacity.
    filled: usize,
    largest: usize,
    messages: Vec<Block>,
    /// Where a program keeps the addresses of the messages.
    table: Option<Block>,
}

impl<A: GlobalAlloc> Program<'_, A> {
    fn step(&mut self, limit: usize) {
        let has_room = self.live < limit && self.connections.len() < CONNECTIONS;
        if has_room && (self.connections.is_empty() || self.random.u32(..3) == 0) {
            self.connect();
        }
        if self.connections.is_empty() {
            return;
        }
        let number = self.random.usize(..self.connections.len());
        let connection = &self.connections[number];
        if self.live >= limit || connection.filled > connection.largest {
            self.disconnect(number);
        } else if self.receive(number) {
            self.exchange_messages(number);
        }
    }

    fn connect(&mut self) {
        let rare = self.random.usize(..100) * self.random.usize(..100) / 2001;
        let largest = self.mix.buffers()[rare];
        let length = 5 + self.random.usize(..80);
        let name = self.allocate(length);
        self.connections.push(Connection {
            name,
            buffer: None,
            filled: 0,
            largest,
            messages: Vec::new(),
            table: None,
        });
    }

    fn disconnect(&mut self, number: usize) {
        let Connection { name, buffer, messages, table, .. } = self.connections.swap_remove(number);
        for block in messages.into_iter().chain(table).chain(buffer).chain(name) {
            self.free(block);
        }
    }

    /// More bytes come into the buffer, which grows as a vector does. False if there is no memory
    /// for them.
    fn receive(&mut self, number: usize) -> bool {
        let connection = &mut self.connections[number];
        connection.filled += 1 + self.random.usize(..connection.largest / 4);
        let (filled, mut buffer) = (connection.filled, connection.buffer.take());
        let is_served = self.make_room(&mut buffer, filled);
        let connection = &mut self.connections[number];
        connection.filled = if is_served { filled } else { buffer.as_ref().map_or(0, Block::size) };
        connection.buffer = buffer;
        is_served
    }

    /// Every other time a message comes, and the last one goes if none does.
    fn exchange_messages(&mut self, number: usize) {
        let comes = self.random.bool() && self.connections[number].messages.len() < MESSAGES;
        if comes {
            let length = 1 + self.random.usize(..self.mix.longest());
            let Some(message) = self.allocate(length) else { return };
            let connection = &mut self.connections[number];
            let bytes = (connection.messages.len() + 1) * size_of::<Vec<u8>>();
            let mut table = connection.table.take();
            let is_served = self.make_room(&mut table, bytes);
            self.connections[number].table = table;
            if is_served {
                self.connections[number].messages.push(message);
            } else {
                self.free(message);
            }
        } else if let Some(message) = self.connections[number].messages.pop() {
            self.free(message);
        }
    }

    /// Lets a block grow to twice its size, or to so many bytes if that is more.
    fn make_room(&mut self, block: &mut Option<Block>, bytes: usize) -> bool {
        let Some(block) = block else {
            *block = self.allocate(bytes.next_multiple_of(8));
            return block.is_some();
        };
        let before = block.size();
        if bytes <= before {
            return true;
        }
        let after = bytes.max(2 * before);
        let is_served = block.resize(self.allocator, after);
        self.note(is_served, if is_served { after - before } else { 0 });
        is_served
    }

    fn allocate(&mut self, bytes: usize) -> Option<Block> {
        let block = Block::new(self.allocator, bytes, 8);
        self.note(block.is_some(), block.as_ref().map_or(0, Block::size));
        block
    }

    fn note(&mut self, is_served: bool, bytes: usize) {
        self.requests += 1;
        self.refusals += u32::from(!is_served);
        self.live += bytes;
    }

    fn free(&mut self, block: Block) {
        self.live -= block.size();
        block.free(self.allocator);
    }
}

/// What one allocator got, all seeds together.
#[derive(Clone, Debug, PartialEq)]
pub struct Total {
    /// Requests of the program, large blocks left out.
    pub requests: f64,
    /// Those that were refused.
    pub refusals: f64,
    /// Share of the large blocks that were served.
    pub large: f64,
}

/// A mix at one share.
#[derive(Clone, Debug)]
pub struct Row {
    /// Which mix.
    pub mix: Mix,
    /// Percent of the arena that are live.
    pub share: u32,
    /// In the order in which the allocators were given; what it was instead if it came to no end.
    pub totals: Vec<Result<Total, String>>,
}

/// Runs the program for every mix, share and seed.
///
/// # Errors
///
/// If a child cannot be started, or says something strange.
pub fn run(allocators: &[Allocator], seeds: &[u64], progress: &ProgressBar) -> Result<Vec<Row>> {
    progress.set_length((Mix::ALL.len() * SHARES.len() * allocators.len()) as u64);
    let mut rows = Vec::new();
    for mix in Mix::ALL {
        for share in SHARES {
            let mut totals = Vec::new();
            for &allocator in allocators {
                progress.set_message(format!("{}, {share} %, {}", mix.name(), allocator.name()));
                progress.inc(1);
                totals.push(total(allocator, mix, share, seeds)?);
            }
            rows.push(Row { mix, share, totals });
        }
    }
    Ok(rows)
}

fn total(allocator: Allocator, mix: Mix, share: u32, seeds: &[u64]) -> Result<Result<Total, String>> {
    let mut total = Total { requests: 0.0, refusals: 0.0, large: 0.0 };
    for &seed in seeds {
        match ask(allocator, &Creep { share, mix, seed })? {
            Found::Numbers(numbers) if numbers.len() == 3 => {
                total.requests += numbers[0];
                total.refusals += numbers[1];
                total.large += numbers[2] / (ROUNDS * seeds.len()) as f64;
            }
            other => return Ok(Err(other.word().to_owned())),
        }
    }
    Ok(Ok(total))
}

#[cfg(test)]
mod tests {
    use std::alloc::System;

    use super::*;

    #[test]
    fn who_has_memory_refuses_nothing() {
        let creep = Creep { share: 50, mix: Mix::Small, seed: 1 };
        let found = creep.perform(&System, 20, Instant::now() + Duration::from_secs(60));
        assert_eq!((found.number(1), found.number(2)), (Some(0.0), Some(20.0)));
        assert!(found.number(0).unwrap() > 1e4);
    }
}
