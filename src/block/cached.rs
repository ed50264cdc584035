//! What a block or a slot has in its payload while it lies in a thread's cache: a link to the next one of the
//! list, and a key.
//!
//! ```text
//!       p-4      p           p+8    p+12
//!  ┌────────┬───────────┬──────┬ … unused … ┐
//!  │ header │ next      │ key  │            │
//!  └────────┴───────────┴──────┴────────────┘
//! ```
//!
//! - Its header, or its run's bitmap, says that it is in use: only whoever has the heap's lock writes a header, and
//!   only he or the run's owner a bitmap.
//! - `next` is the next block's payload, null for the last one. It is a pointer, which was derived from the
//!   arena's origin, and not a position: that spares the owner of the cache the arithmetic.
//! - `key` is a number that is unlikely to stand there by chance, another one for each block and in each process,
//!   so that no data has it by intent. A block that is freed and has it is looked for in all caches before
//!   anybody is accused of freeing it twice.

use crate::size::{BlockSize, HEADER};
use crate::sync::process_wide;
use core::cell::UnsafeCell;
use core::ptr::NonNull;

/// What keys are made of: a number that is chosen before the first block is cached, and does not change
/// afterwards.
struct Key(UnsafeCell<u32>);

// SAFETY: written once, before anybody reads it (contract of `choose_key`).
unsafe impl Sync for Key {}

process_wide! {
    static KEY: Key = Key(UnsafeCell::new(0));
}

/// Chooses the key of this process.
///
/// # Safety
///
/// - It is called once, before a block is cached or looked at, and whoever does that has seen this.
pub(crate) unsafe fn choose_key() {
    /// Any number that programs seldom write.
    const SELDOM: u32 = 0x9D2C_5681;
    // SAFETY: nobody reads it yet (contract).
    unsafe { *KEY.0.get() = random_number() ^ SELDOM }
}

/// A number that the kernel chose for this process.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn random_number() -> u32 {
    // SAFETY: the kernel gives each program 16 random bytes, and `getauxval` their address, or zero.
    unsafe {
        let random = core::ptr::with_exposed_provenance::<[u8; 4]>(libc::getauxval(libc::AT_RANDOM) as usize);
        if random.is_null() { 0 } else { u32::from_ne_bytes(random.read()) }
    }
}

/// A number that depends on where the kernel has put the stack, and on the time.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn random_number() -> u32 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the time has room.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    let mixed = (&raw const now).addr() as u64 ^ (now.tv_nsec as u64) << 20;
    (mixed.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as u32
}

/// A block with its key. That depends on the address, so that neither a copy of what lay in another block nor data from
/// elsewhere has it.
#[derive(Clone, Copy)]
pub(crate) struct Keyed {
    block: NonNull<u8>,
    key: u32,
}

impl Keyed {
    #[inline(always)]
    pub(crate) fn of(block: NonNull<u8>) -> Self {
        // SAFETY: it is not written any more (contract of `choose_key`).
        Self { block, key: block.addr().get() as u32 ^ unsafe { *KEY.0.get() } }
    }

    #[inline(always)]
    pub(crate) fn block(self) -> NonNull<u8> {
        self.block
    }

    /// Whether the payload has the key of a cached block.
    ///
    /// # Safety
    ///
    /// - As for [`has_key`].
    #[inline(always)]
    pub(crate) unsafe fn is_cached(self) -> bool {
        // SAFETY: the word is in the arena.
        unsafe { read_key(self.block) == self.key }
    }

    /// Links the block to the next one, and marks it as cached.
    ///
    /// # Safety
    ///
    /// - As for [`link`].
    #[inline(always)]
    pub(crate) unsafe fn link(self, next: *mut u8) {
        // SAFETY: the smallest block has room for link and key, which lie in the payload (contract).
        unsafe {
            self.block.cast::<*mut u8>().write(next);
            key_word(self.block).write(self.key);
        }
    }
}

const KEY_OFFSET: usize = 8;

const _: () = assert!(size_of::<*mut u8>() <= KEY_OFFSET);
const _: () = assert!(KEY_OFFSET + size_of::<u32>() <= BlockSize::MIN.bytes() - HEADER);

#[inline(always)]
fn key_word(block: NonNull<u8>) -> *mut u32 {
    block.as_ptr().wrapping_add(KEY_OFFSET).cast()
}

/// Links a block to the next one, and marks it as cached.
///
/// # Safety
///
/// - It is a block in use, of the heap's, and its bytes are the cache's.
#[inline(always)]
pub(crate) unsafe fn link(block: NonNull<u8>, next: *mut u8) {
    // SAFETY: the caller's contract.
    unsafe { Keyed::of(block).link(next) }
}

/// Takes the mark away, and returns the next block, or null.
///
/// # Safety
///
/// - The block is [linked](link).
#[inline(always)]
pub(crate) unsafe fn unlink(block: NonNull<u8>) -> *mut u8 {
    // SAFETY: as for `link`.
    unsafe {
        key_word(block).write(0);
        next(block)
    }
}

/// The next block, or null.
///
/// # Safety
///
/// - The block is [linked](link).
#[inline(always)]
pub(crate) unsafe fn next(block: NonNull<u8>) -> *mut u8 {
    // SAFETY: `link` wrote it.
    unsafe { block.cast::<*mut u8>().read() }
}

/// Whether the payload has the key of a cached block.
///
/// # Safety
///
/// - The first twelve bytes of the payload are in the arena.
#[inline(always)]
pub(crate) unsafe fn has_key(block: NonNull<u8>) -> bool {
    // SAFETY: the caller's contract.
    unsafe { Keyed::of(block).is_cached() }
}

/// Reads a block's word for the key, which the program may have left uninitialised: whatever is there will do. In Rust,
/// even a volatile read of that would be undefined; an instruction of the machine's is not.
///
/// # Safety
///
/// - The word is there, and aligned.
#[inline(always)]
unsafe fn read_key(block: NonNull<u8>) -> u32 {
    let value: u32;
    // SAFETY: the caller's contract; the instruction does nothing else.
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    unsafe {
        core::arch::asm!(
            "mov {value:e}, dword ptr [{block} + {offset}]",
            offset = const KEY_OFFSET,
            block = in(reg) block.as_ptr(),
            value = out(reg) value,
            options(nostack, preserves_flags, readonly),
        );
    }
    // SAFETY: as above.
    #[cfg(all(target_arch = "aarch64", not(miri)))]
    unsafe {
        core::arch::asm!(
            "ldr {value:w}, [{block}, #{offset}]",
            offset = const KEY_OFFSET,
            block = in(reg) block.as_ptr(),
            value = out(reg) value,
            options(nostack, preserves_flags, readonly),
        );
    }
    // The C library's function sees bytes, and the compiler does not see into it.
    // SAFETY: as above; both have four bytes.
    #[cfg(any(not(any(target_arch = "x86_64", target_arch = "aarch64")), miri))]
    unsafe {
        let mut bytes = [0u8; 4];
        libc::memcpy(bytes.as_mut_ptr().cast(), key_word(block).cast_const().cast(), bytes.len());
        value = u32::from_ne_bytes(bytes);
    }
    value
}
