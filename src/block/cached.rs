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
//! - Its header, or its run's bitmap, says that it is in use: only whoever has the heap's lock writes those.
//! - `next` is the next block's payload, null for the last one. It is a pointer, which was derived from the
//!   arena's origin, and not a position: that spares the owner of the cache the arithmetic.
//! - `key` is a number that is unlikely to stand there by chance, another one for each block. A block that is
//!   freed and has it is looked for in all caches before anybody is accused of freeing it twice.

use crate::size::{BlockSize, HEADER};
use core::ptr::NonNull;

/// What keys are made of: any number that programs seldom write.
const KEY: u32 = 0x9D2C_5681;

/// The key of a block. It depends on the address, so that neither a copy of what lay in another block nor
/// data from elsewhere has it.
#[inline(always)]
fn key_of(block: NonNull<u8>) -> u32 {
    block.addr().get() as u32 ^ KEY
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
    // SAFETY: the smallest block has room for link and key, which lie in the payload (contract).
    unsafe {
        block.cast::<*mut u8>().write(next);
        key_word(block).write(key_of(block));
    }
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
    // SAFETY: the word is in the arena. Volatile, because the caller may have left it uninitialised: whatever
    // is there will do.
    unsafe { key_word(block).read_volatile() == key_of(block) }
}
