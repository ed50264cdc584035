//! The trap flag: the processor raises an exception after every instruction, and a signal handler
//! counts.

use super::{Arguments, Count, copying_functions};
use anyhow::{Result, ensure};
use std::arch::asm;
use std::cell::UnsafeCell;
use std::sync::{Mutex, OnceLock};

/// What the handler knows.
struct State {
    copying: [u64; 3],
    count: u64,
    last: u64,
}

struct Shared(UnsafeCell<State>);

// SAFETY: the state is touched by whoever has `TURN`, and by the handler in that thread's place.
unsafe impl Sync for Shared {}

static STATE: Shared = Shared(UnsafeCell::new(State { copying: [0; 3], count: 0, last: 0 }));

/// One call is counted at a time: there is one state and one signal handler.
static TURN: Mutex<()> = Mutex::new(());

/// What traps come besides those of the call: found with a function that does nothing.
static OVERHEAD: OnceLock<u64> = OnceLock::new();

/// Calls a function with the trap flag set; returns what it returned, and the count.
///
/// # Errors
///
/// If the signal handler cannot be installed.
///
/// # Safety
///
/// - `function` is the address of an `extern "C"` function of at most five integer arguments, and
///   may be called with these.
pub unsafe fn count(function: usize, arguments: Arguments) -> Result<(usize, Count)> {
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    install()?;
    let overhead = *OVERHEAD.get_or_init(|| {
        // SAFETY: the function takes what it is given and does nothing.
        unsafe { stepped(nothing as *const () as usize, [0; 5]).1 - 1 }
    });
    // SAFETY: the caller's contract.
    let (result, steps) = unsafe { stepped(function, arguments) };
    Ok((result, Count { instructions: steps - overhead, foreign_calls: 0 }))
}

/// A function of one instruction, its return.
#[unsafe(naked)]
extern "C" fn nothing() {
    std::arch::naked_asm!("ret")
}

fn install() -> Result<()> {
    let handler: extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::ucontext_t) = on_trap;
    // SAFETY: an action of all zero bytes is one; the handler has the signature that SA_SIGINFO
    // asks for.
    let installed = unsafe {
        (*STATE.0.get()).copying = copying_functions();
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as usize;
        action.sa_flags = libc::SA_SIGINFO;
        libc::sigaction(libc::SIGTRAP, &action, std::ptr::null_mut())
    };
    ensure!(installed == 0, "no handler can be installed for SIGTRAP");
    Ok(())
}

/// # Safety
///
/// - As for [`count`]; the handler is installed, and it is this thread's turn.
unsafe fn stepped(function: usize, arguments: Arguments) -> (usize, u64) {
    // SAFETY: it is this thread's turn, and the handler does not run yet.
    unsafe {
        (*STATE.0.get()).count = 0;
        (*STATE.0.get()).last = 0;
    }
    let result;
    // SAFETY: the call is the caller's to allow, and `clobber_abi` says what it may change. The
    // stack is aligned for a call; each `pushfq` has its `popfq`, and no flag but the one for traps
    // is touched.
    unsafe {
        asm!(
            "pushfq",
            "or qword ptr [rsp], 0x100",
            "popfq",
            "call {function}",
            "pushfq",
            "and qword ptr [rsp], -0x101",
            "popfq",
            function = in(reg) function,
            inout("rdi") arguments[0] => _,
            inout("rsi") arguments[1] => _,
            inout("rdx") arguments[2] => _,
            inout("rcx") arguments[3] => _,
            inout("r8") arguments[4] => _,
            out("rax") result,
            clobber_abi("C"),
        );
    }
    // SAFETY: no trap comes any more.
    (result, unsafe { (*STATE.0.get()).count })
}

/// Counts the instruction that is about to be executed.
///
/// A call of one of the copying functions is carried out here instead, at full speed, and the
/// program goes on behind it. (Traps are off while the handler runs.)
extern "C" fn on_trap(_: i32, _: *mut libc::siginfo_t, context: *mut libc::ucontext_t) {
    // SAFETY: the kernel hands over the interrupted thread's registers; it is that thread's turn.
    let (registers, state) = unsafe { (&mut (*context).uc_mcontext.gregs, &mut *STATE.0.get()) };
    let at = registers[libc::REG_RIP as usize] as u64;
    if let Some(which) = state.copying.iter().position(|&function| function == at) {
        let [to, from, bytes] =
            [libc::REG_RDI, libc::REG_RSI, libc::REG_RDX].map(|register| registers[register as usize]);
        // SAFETY: the interrupted program called the function with these arguments; its stack has
        // the address to return to on top.
        unsafe {
            match which {
                2 => libc::memset(to as *mut _, from as i32, bytes as usize),
                _ => libc::memmove(to as *mut _, from as *const _, bytes as usize),
            };
            state.last = *(registers[libc::REG_RSP as usize] as *const u64);
        }
        registers[libc::REG_RAX as usize] = to;
        registers[libc::REG_RSP as usize] += 8;
        registers[libc::REG_RIP as usize] = state.last as i64;
        // The instruction behind the call is executed next, and no trap comes before it.
        state.count += 1;
        return;
    }
    // An instruction with a `rep` prefix traps after every round of it.
    // SAFETY: an instruction is about to be executed there.
    let repeats = matches!(unsafe { *(at as *const u8) }, 0xF2 | 0xF3);
    if !(repeats && at == state.last) {
        state.count += 1;
    }
    state.last = at;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[unsafe(naked)]
    extern "C" fn seven() {
        std::arch::naked_asm!("mov ecx, 2", "2:", "dec ecx", "jnz 2b", "nop", "ret")
    }

    #[unsafe(naked)]
    extern "C" fn one_that_clears(to: *mut u8) {
        std::arch::naked_asm!("mov ecx, 1000", "xor eax, eax", "rep stosb", "ret")
    }

    extern "C" fn copies(from: *const u8, to: *mut u8, bytes: usize) {
        // SAFETY: the test gives two buffers of that many bytes.
        unsafe { std::ptr::copy_nonoverlapping(from, to, bytes) }
    }

    fn steps(function: usize, arguments: Arguments) -> u64 {
        // SAFETY: the functions below are given what they take.
        unsafe { count(function, arguments) }.unwrap().1.instructions
    }

    #[test]
    fn every_instruction_counts_once() {
        assert_eq!(steps(nothing as *const () as usize, [0; 5]), 1);
        assert_eq!(steps(seven as *const () as usize, [0; 5]), 7);
    }

    #[test]
    fn a_repeated_instruction_counts_once() {
        let mut buffer = vec![1u8; 1000];
        let arguments = [buffer.as_mut_ptr().addr(), 0, 0, 0, 0];
        assert_eq!(steps(one_that_clears as *const () as usize, arguments), 4);
        assert!(buffer.iter().all(|&byte| byte == 0));
    }

    #[test]
    fn copying_is_done_and_does_not_count() {
        let from: Vec<u8> = (0..1 << 20).map(|index| (index % 251) as u8).collect();
        let mut to = vec![0; from.len()];
        let arguments = [from.as_ptr().addr(), to.as_mut_ptr().addr(), from.len(), 0, 0];
        assert!(steps(copies as *const () as usize, arguments) < 10);
        assert_eq!(from, to);
    }
}
