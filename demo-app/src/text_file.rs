//! Reading a file that may be larger than the arena.

use crate::trouble::Trouble;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::Path;

/// Bytes that are read at a time.
const CHUNK: usize = 16 * 1024;

/// Reads a text. Memory is only taken with `try_reserve_exact`, so that a file that does not fit is refused, not fatal;
/// what is not a regular file, such as a pipe, is read as far as it goes.
///
/// # Errors
///
/// A sentence about a file that cannot be opened or read, does not fit, or is not UTF-8.
pub(crate) fn read(file: &Path) -> Result<String, Trouble<'_>> {
    let unreadable = |error: io::Error| Trouble::Unreadable { file, error };
    let mut input = File::open(file).map_err(unreadable)?;
    let mut bytes = Vec::new();
    reserve(&mut bytes, file, input.metadata().map_err(unreadable)?.len())?;
    let mut chunk = [0; CHUNK];
    loop {
        match input.read(&mut chunk) {
            Ok(0) => break,
            Ok(length) => {
                // Asking for one chunk at a time would be slow elsewhere. Here the block grows in place, at a fixed
                // cost.
                reserve(&mut bytes, file, length as u64)?;
                bytes.extend_from_slice(&chunk[..length]);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(unreadable(error)),
        }
    }
    String::from_utf8(bytes)
        .map_err(|error| Trouble::NotUtf8 { file, offset: error.utf8_error().valid_up_to() })
}

/// Makes room for `more` bytes behind those that are there.
fn reserve<'f>(bytes: &mut Vec<u8>, file: &'f Path, more: u64) -> Result<(), Trouble<'f>> {
    let room = usize::try_from(more).is_ok_and(|more| bytes.try_reserve_exact(more).is_ok());
    if room {
        return Ok(());
    }
    let total = more.saturating_add(bytes.len() as u64);
    // Without what was read already, the arena holds as much as it can for this program.
    *bytes = Vec::new();
    let largest = crate::A.stats().largest_free_bytes;
    Err(Trouble::TooLarge { file, bytes: total, room: largest.saturating_sub(4) })
}
