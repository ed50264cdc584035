//! A copy of machine code that counts what it executes.
//!
//! 1. From an entry function on, code is decoded along every branch and every call whose target is
//!    known, and divided where branches lead to: into basic blocks.
//! 2. The blocks are written anew, each with an addition to a counter in front. The addition
//!    changes no flag and no register. Branches and calls among the blocks lead to their copies;
//!    what the code refers to by distance is found at the new distance (iced-x86 does both).
//! 3. A branch whose target is computed becomes a trap. The signal handler computes the target,
//!    copies the code there if that was not done yet, and lets the program go on in the copy.
//!
//! Calls into other libraries go to the original. If it is one that copies or clears, that is meant
//! to be; any other is counted as foreign.
//!
//! What it takes for granted: the code neither reads nor changes itself, nothing unwinds through
//! it, and it needs no more from a `call` than that `ret` comes back behind it. That holds for what
//! a compiler makes of an allocator. That the count is right is checked against the trap flag in
//! the tests.

use super::{Arguments, Count, copying_functions};
use anyhow::{Context, Result, bail, ensure};
use iced_x86::{
    BlockEncoder, BlockEncoderOptions, Code, Decoder, DecoderOptions, FlowControl, Instruction,
    InstructionBlock, MemoryOperand, OpKind, Register,
};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::sync::Mutex;

/// Bytes for the counters, in front of the code.
const COUNTERS: usize = 4096;

/// Bytes for the copies, which are larger than the originals.
const ROOM: usize = 64 << 20;

/// The counters, as they lie at the beginning of the memory for the copies.
#[repr(C)]
struct Counters {
    instructions: u64,
    foreign_calls: u64,
    /// Where the addition keeps the register that it uses.
    saved: u64,
}

/// The copies made so far.
pub struct Rewriter {
    /// The code of this program.
    text: Range<u64>,
    copying: [u64; 3],
    counters: *mut Counters,
    /// Where the next copy goes, and the end of the room for them.
    free: Range<u64>,
    /// From the beginning of each basic block to that of its copy.
    copies: HashMap<u64, u64>,
    /// Where the copies have traps, each with the branch or call that it stands for.
    traps: HashMap<u64, Instruction>,
}

// SAFETY: the counters are reached through the rewriter only, and by the copies that it runs.
unsafe impl Send for Rewriter {}

/// There is one handler for traps, so there is one rewriter.
static REWRITER: Mutex<Option<Rewriter>> = Mutex::new(None);

/// The rewriter while a copy runs, for the handler of traps.
static mut RUNNING: *mut Rewriter = std::ptr::null_mut();

/// Calls the counting copy of a function; returns what it returned, and the count.
///
/// # Errors
///
/// If the function cannot be copied.
///
/// # Safety
///
/// - `function` is the address of an `extern "C"` function of this program, of at most five integer
///   arguments, and may be called with these.
/// - It does not unwind.
pub unsafe fn count(function: usize, arguments: Arguments) -> Result<(usize, Count)> {
    let mut rewriter = REWRITER.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if rewriter.is_none() {
        *rewriter = Some(Rewriter::new(function as u64)?);
    }
    let rewriter = rewriter.as_mut().context("there is a rewriter now")?;
    let copy = rewriter.copy_of(function as u64)?;
    type Function = extern "C" fn(usize, usize, usize, usize, usize) -> usize;
    let [first, second, third, fourth, fifth] = arguments;
    // SAFETY: the copy does what the function does, which is the caller's to allow; registers that
    // the function does not take are ignored. The handler runs on this thread, while the copy runs.
    unsafe {
        RUNNING = rewriter;
        *rewriter.counters = Counters { instructions: 0, foreign_calls: 0, saved: 0 };
        let call: Function = std::mem::transmute(copy);
        let result = call(first, second, third, fourth, fifth);
        let Counters { instructions, foreign_calls, .. } = *rewriter.counters;
        Ok((result, Count { instructions, foreign_calls }))
    }
}

impl Rewriter {
    /// A rewriter for the code around a function.
    fn new(function: u64) -> Result<Self> {
        let text = code_around(function)?;
        // Near the code, so that both reach each other by distances of 32 bits.
        let below = |mib: u64| text.start.saturating_sub(mib << 20) & !0xF_FFFF;
        let memory =
            (80..1500).step_by(20).find_map(|mib| map_at(below(mib))).context("no memory near the code")?;
        let handler: extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::ucontext_t) = on_trap;
        // SAFETY: an action of all zero bytes is one; the handler has the signature that SA_SIGINFO
        // asks for. (SIGTRAP belongs to the other counter, so a trap of this one is an illegal
        // instruction.)
        let installed = unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = handler as usize;
            action.sa_flags = libc::SA_SIGINFO;
            libc::sigaction(libc::SIGILL, &action, std::ptr::null_mut())
        };
        ensure!(installed == 0, "no handler can be installed for SIGILL");
        Ok(Self {
            text,
            copying: copying_functions(),
            counters: memory as *mut Counters,
            free: memory + COUNTERS as u64..memory + (COUNTERS + ROOM) as u64,
            copies: HashMap::new(),
            traps: HashMap::new(),
        })
    }

    /// The copy of the code that begins at an address, made now if it was not before.
    fn copy_of(&mut self, address: u64) -> Result<u64> {
        if let Some(&copy) = self.copies.get(&address) {
            return Ok(copy);
        }
        let blocks = self.decode(address)?;
        self.write(&blocks)?;
        self.copies.get(&address).copied().context("the block was copied")
    }

    /// Decodes all code that can be reached from an address and was not copied yet.
    fn decode(&self, address: u64) -> Result<Decoded> {
        let mut decoded = Decoded::default();
        let mut ahead = vec![address];
        while let Some(start) = ahead.pop() {
            if self.copies.contains_key(&start) || !decoded.starts.insert(start) {
                continue;
            }
            let mut at = start;
            while !decoded.instructions.contains_key(&at) {
                let instruction = self.instruction_at(at)?;
                decoded.instructions.insert(at, instruction);
                let next = instruction.next_ip();
                match instruction.flow_control() {
                    FlowControl::Next => {
                        at = next;
                        continue;
                    }
                    FlowControl::UnconditionalBranch => ahead.push(instruction.near_branch_target()),
                    FlowControl::ConditionalBranch => ahead.extend([next, instruction.near_branch_target()]),
                    FlowControl::Call if instruction.is_call_near() => {
                        ahead.extend([next, instruction.near_branch_target()]);
                    }
                    FlowControl::IndirectCall => {
                        ahead.push(next);
                        ahead.extend(self.known_target(&instruction).filter(|to| self.text.contains(to)));
                    }
                    FlowControl::IndirectBranch => {
                        ahead.extend(self.known_target(&instruction).filter(|to| self.text.contains(to)));
                    }
                    // A system call, or the like.
                    FlowControl::Call | FlowControl::XbeginXabortXend => ahead.push(next),
                    // Behind a call that does not return there may be anything.
                    FlowControl::Return | FlowControl::Interrupt | FlowControl::Exception => {}
                }
                break;
            }
        }
        Ok(decoded)
    }

    fn instruction_at(&self, address: u64) -> Result<Instruction> {
        /// No instruction is longer.
        const LONGEST: u64 = 15;
        ensure!(self.text.contains(&address), "{address:#x} is not in the code of this program");
        let bytes = (self.text.end - address).min(LONGEST) as usize;
        // SAFETY: the code is readable, and is not changed.
        let bytes = unsafe { std::slice::from_raw_parts(address as *const u8, bytes) };
        Ok(Decoder::with_ip(64, bytes, address, DecoderOptions::NONE).decode())
    }

    /// Where an indirect branch or call leads to that takes its target from a place the linker
    /// filled.
    fn known_target(&self, instruction: &Instruction) -> Option<u64> {
        let is_fixed = instruction.op0_kind() == OpKind::Memory
            && instruction.memory_base() == Register::RIP
            && instruction.memory_index() == Register::None;
        // SAFETY: the code would read the same word. (The linker's table is read-only once the
        // program runs; any other word could change, but a compiler makes no such jump through
        // one.)
        is_fixed.then(|| unsafe { *(instruction.memory_displacement64() as *const u64) })
    }

    /// Writes the copies of decoded blocks.
    fn write(&mut self, decoded: &Decoded) -> Result<()> {
        let mut out: Vec<Instruction> = Vec::new();
        // Positions in `out` of the beginnings of blocks, and of the traps.
        let mut beginnings: Vec<(usize, u64)> = Vec::new();
        let mut traps: Vec<(usize, Instruction)> = Vec::new();
        for (&at, &instruction) in &decoded.instructions {
            if decoded.starts.contains(&at) {
                beginnings.push((out.len(), at));
                let first = out.len();
                self.add(&mut out, self.instruction_counter(), decoded.length_from(at))?;
                // Branches to the block lead to the first instruction with its address: to the
                // addition.
                out[first].set_ip(at);
            }
            let mut copy = instruction;
            copy.set_ip(0);
            match instruction.flow_control() {
                FlowControl::UnconditionalBranch | FlowControl::ConditionalBranch => self.direct(&mut copy),
                FlowControl::Call if instruction.is_call_near() => self.direct(&mut copy),
                FlowControl::IndirectBranch | FlowControl::IndirectCall => {
                    let is_call = instruction.flow_control() == FlowControl::IndirectCall;
                    match self.known_target(&instruction) {
                        Some(target) if self.text.contains(&target) => {
                            let code = if is_call { Code::Call_rel32_64 } else { Code::Jmp_rel32_64 };
                            copy = Instruction::with_branch(code, target)?;
                            self.direct(&mut copy);
                        }
                        Some(target) => {
                            if !self.copying.contains(&target) {
                                self.add(&mut out, self.foreign_counter(), 1)?;
                            }
                        }
                        None => {
                            traps.push((out.len(), instruction));
                            copy = Instruction::with(Code::Ud2);
                        }
                    }
                }
                FlowControl::Interrupt | FlowControl::Exception => copy = Instruction::with(Code::Ud2),
                _ => {}
            }
            out.push(copy);
            // What goes on behind this instruction and was copied before does not lie behind this
            // copy.
            let goes_on = !matches!(
                instruction.flow_control(),
                FlowControl::UnconditionalBranch
                    | FlowControl::IndirectBranch
                    | FlowControl::Return
                    | FlowControl::Interrupt
                    | FlowControl::Exception
            );
            if goes_on && !decoded.instructions.contains_key(&instruction.next_ip()) {
                let mut onwards = Instruction::with_branch(Code::Jmp_rel32_64, instruction.next_ip())?;
                self.direct(&mut onwards);
                out.push(onwards);
            }
        }
        let block = InstructionBlock::new(&out, self.free.start);
        let options = BlockEncoderOptions::RETURN_NEW_INSTRUCTION_OFFSETS;
        let encoded = BlockEncoder::encode(64, block, options)?;
        let code = &encoded.code_buffer;
        ensure!(self.free.end - self.free.start > code.len() as u64, "there is no room for more copies");
        // SAFETY: the room is this rewriter's own, and nothing was written there yet.
        unsafe { (self.free.start as *mut u8).copy_from_nonoverlapping(code.as_ptr(), code.len()) };
        let place = |position: usize| -> Result<u64> {
            let offset = encoded.new_instruction_offsets[position];
            ensure!(offset != u32::MAX, "an instruction was rewritten as several");
            Ok(self.free.start + u64::from(offset))
        };
        for (position, at) in beginnings {
            self.copies.insert(at, place(position)?);
        }
        for (position, instruction) in traps {
            self.traps.insert(place(position)?, instruction);
        }
        self.free.start += (code.len() as u64).next_multiple_of(64);
        Ok(())
    }

    /// Lets a branch or call lead to the copy of its target if there is one already. (Those that
    /// are being made are found by the encoder.)
    fn direct(&self, instruction: &mut Instruction) {
        if let Some(&copy) = self.copies.get(&instruction.near_branch_target()) {
            instruction.set_near_branch64(copy);
        }
    }

    /// The addition of a number to a counter: a load, an addition that changes no flags, and a
    /// store, with the register that this takes saved before and restored after.
    fn add(&self, out: &mut Vec<Instruction>, counter: u64, number: u64) -> Result<()> {
        let saved = self.counters.addr() as u64 + std::mem::offset_of!(Counters, saved) as u64;
        let at = |address: u64| MemoryOperand::with_base_displ(Register::RIP, address as i64);
        let sum = MemoryOperand::with_base_displ(Register::RAX, number as i64);
        out.extend([
            Instruction::with2(Code::Mov_rm64_r64, at(saved), Register::RAX)?,
            Instruction::with2(Code::Mov_r64_rm64, Register::RAX, at(counter))?,
            Instruction::with2(Code::Lea_r64_m, Register::RAX, sum)?,
            Instruction::with2(Code::Mov_rm64_r64, at(counter), Register::RAX)?,
            Instruction::with2(Code::Mov_r64_rm64, Register::RAX, at(saved))?,
        ]);
        Ok(())
    }

    fn instruction_counter(&self) -> u64 {
        self.counters.addr() as u64 + std::mem::offset_of!(Counters, instructions) as u64
    }

    fn foreign_counter(&self) -> u64 {
        self.counters.addr() as u64 + std::mem::offset_of!(Counters, foreign_calls) as u64
    }

    /// Carries out the branch or call that a trap stands for.
    fn resume(&mut self, registers: &mut [i64; 23]) -> Result<()> {
        let at = registers[libc::REG_RIP as usize] as u64;
        let instruction = *self.traps.get(&at).context("the code is illegal in the original, too")?;
        let value = |register: Register| register_number(register).map(|number| registers[number] as u64);
        let target = match instruction.op0_kind() {
            OpKind::Register => value(instruction.op0_register()),
            OpKind::Memory => instruction
                .virtual_address(0, 0, |register, _, _| match register {
                    Register::DS | Register::ES | Register::SS | Register::CS => Some(0),
                    _ => value(register),
                })
                // SAFETY: the code would read the same word.
                .map(|address| unsafe { *(address as *const u64) }),
            _ => None,
        };
        let target = target.with_context(|| format!("the target of {instruction:?} is not known"))?;
        if instruction.flow_control() == FlowControl::IndirectCall {
            /// Bytes of the trap.
            const TRAP: i64 = 2;
            let stack = &mut registers[libc::REG_RSP as usize];
            *stack -= 8;
            // SAFETY: a call pushes the address behind it. The program's stack has room, as it
            // would for the call.
            unsafe { *(*stack as *mut i64) = at as i64 + TRAP };
        }
        let goes_to = if self.text.contains(&target) {
            self.copy_of(target)?
        } else {
            if !self.copying.contains(&target) {
                // SAFETY: the counters are this rewriter's own.
                unsafe { (*self.counters).foreign_calls += 1 };
            }
            target
        };
        registers[libc::REG_RIP as usize] = goes_to as i64;
        Ok(())
    }
}

/// Instructions by address, and where basic blocks begin.
#[derive(Default)]
struct Decoded {
    instructions: BTreeMap<u64, Instruction>,
    starts: BTreeSet<u64>,
}

impl Decoded {
    /// The number of instructions of a block.
    fn length_from(&self, start: u64) -> u64 {
        let mut length = 0;
        let mut at = start;
        while let Some(instruction) = self.instructions.get(&at) {
            length += 1;
            at = instruction.next_ip();
            if instruction.flow_control() != FlowControl::Next || self.starts.contains(&at) {
                break;
            }
        }
        length
    }
}

/// A trap of a copy. It comes where the copy has one and nowhere else, so that this runs like a
/// function that the copied code calls: it may allocate, since the copied code is no part of what
/// it uses for that.
extern "C" fn on_trap(_: i32, _: *mut libc::siginfo_t, context: *mut libc::ucontext_t) {
    // SAFETY: the kernel hands over the interrupted thread's registers, and `count` runs a copy on
    // it.
    let resumed = unsafe {
        let registers = &mut (*context).uc_mcontext.gregs;
        match RUNNING.as_mut() {
            Some(rewriter) => rewriter.resume(registers),
            None => Err(anyhow::anyhow!("no copy runs")),
        }
    };
    if let Err(error) = resumed {
        eprintln!("worst-case: an illegal instruction: {error:#}");
        std::process::abort();
    }
}

/// The position of a register among those that a signal handler is given.
fn register_number(register: Register) -> Option<usize> {
    let number = match register {
        Register::RAX => libc::REG_RAX,
        Register::RBX => libc::REG_RBX,
        Register::RCX => libc::REG_RCX,
        Register::RDX => libc::REG_RDX,
        Register::RSI => libc::REG_RSI,
        Register::RDI => libc::REG_RDI,
        Register::RBP => libc::REG_RBP,
        Register::RSP => libc::REG_RSP,
        Register::R8 => libc::REG_R8,
        Register::R9 => libc::REG_R9,
        Register::R10 => libc::REG_R10,
        Register::R11 => libc::REG_R11,
        Register::R12 => libc::REG_R12,
        Register::R13 => libc::REG_R13,
        Register::R14 => libc::REG_R14,
        Register::R15 => libc::REG_R15,
        _ => return None,
    };
    Some(number as usize)
}

/// Where this program's code lies that has a function in it.
fn code_around(function: u64) -> Result<Range<u64>> {
    let maps = std::fs::read_to_string("/proc/self/maps").context("cannot read /proc/self/maps")?;
    for line in maps.lines() {
        let (range, rest) = line.split_once(' ').context("a line of the memory map has two parts")?;
        let (start, end) = range.split_once('-').context("a range has two ends")?;
        let range = u64::from_str_radix(start, 16)?..u64::from_str_radix(end, 16)?;
        if range.contains(&function) {
            ensure!(rest.starts_with("r-x"), "{function:#x} is not in code");
            return Ok(range);
        }
    }
    bail!("{function:#x} is nowhere in this program")
}

/// Maps memory for counters and code at an address, if it is free.
fn map_at(address: u64) -> Option<u64> {
    let protection = libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_FIXED_NOREPLACE;
    // SAFETY: a mapping that replaces no other disturbs nobody.
    let mapped = unsafe { libc::mmap(address as *mut _, COUNTERS + ROOM, protection, flags, -1, 0) };
    (mapped.addr() as u64 == address).then_some(address)
}

#[cfg(test)]
mod tests {
    use super::super::step;
    use super::*;
    use std::hint::black_box;

    extern "C" fn sorts(numbers: *mut u64, count: usize) -> u64 {
        // SAFETY: the test gives that many numbers.
        let numbers = unsafe { std::slice::from_raw_parts_mut(numbers, count) };
        numbers.sort_unstable();
        numbers.iter().fold(0, |sum, number| sum * 31 + number)
    }

    #[inline(never)]
    extern "C" fn dispatches(which: usize) -> usize {
        match black_box(which) {
            0 => black_box(17),
            1 => black_box(which) * 3 + 1,
            2 => black_box(which) << 5,
            3 => black_box(which) / 7,
            4 => black_box(which) ^ 0x55,
            5 => black_box(which) % 11,
            _ => 0,
        }
    }

    extern "C" fn increments(number: usize) -> usize {
        number + 1
    }

    extern "C" fn calls_pointers(which: usize) -> usize {
        let functions: [extern "C" fn(usize) -> usize; 2] = [dispatches, increments];
        black_box(functions)[which % 2](which)
    }

    extern "C" fn asks_the_c_library() -> usize {
        // SAFETY: it takes nothing.
        unsafe { libc::getpid() as usize }
    }

    fn agree(function: usize, arguments: Arguments) {
        // SAFETY: the functions are given what they take.
        unsafe {
            let (result, counted) = count(function, arguments).unwrap();
            let (stepped_result, stepped) = step::count(function, arguments).unwrap();
            assert_eq!(counted, stepped);
            assert_eq!(result, stepped_result);
        }
    }

    #[test]
    fn loops_and_calls_count_as_by_the_trap_flag() {
        let scattered: Vec<u64> = (0..40).map(|number| number * 7919 % 101).collect();
        // SAFETY: the function is given the numbers that it takes.
        unsafe {
            let function = sorts as *const () as usize;
            let mut numbers = scattered.clone();
            let (sum, counted) =
                count(function, [numbers.as_mut_ptr().addr(), numbers.len(), 0, 0, 0]).unwrap();
            assert!(numbers.is_sorted());
            let mut numbers = scattered;
            let (same, stepped) =
                step::count(function, [numbers.as_mut_ptr().addr(), numbers.len(), 0, 0, 0]).unwrap();
            assert_eq!((sum, counted), (same, stepped));
        }
    }

    #[test]
    fn computed_branches_are_followed() {
        for which in 0..8 {
            agree(dispatches as *const () as usize, [which, 0, 0, 0, 0]);
            agree(calls_pointers as *const () as usize, [which, 0, 0, 0, 0]);
        }
    }

    #[test]
    fn foreign_calls_are_told() {
        // SAFETY: the function takes nothing.
        let (_, counted) = unsafe { count(asks_the_c_library as *const () as usize, [0; 5]) }.unwrap();
        assert_eq!(counted.foreign_calls, 1);
    }
}
