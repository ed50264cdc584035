//! Text on stderr, or in a file that is open, without an allocation.

use crate::text::{Sink, put};
use core::fmt::{self, Write};

/// Bytes that are written at once. A report of a refusal has some more than half as many, so that it is in one piece
/// between the lines of others.
const PIECE: usize = 1024;

/// Where text is written to. To be [flushed](Self::flush) at the end: without a destructor it takes less code.
pub(crate) struct Output {
    #[cfg(unix)]
    to: libc::c_int,
    bytes: [u8; PIECE],
    len: usize,
    is_complete: bool,
}

impl Output {
    /// The standard error.
    pub(crate) const fn stderr() -> Self {
        Self {
            #[cfg(unix)]
            to: libc::STDERR_FILENO,
            bytes: [0; PIECE],
            len: 0,
            is_complete: true,
        }
    }

    /// From now on to a file, which is open as long as anything is written to it.
    #[cfg(unix)]
    pub(crate) fn begin(&mut self, file: std::os::fd::BorrowedFd<'_>) {
        self.to = std::os::fd::AsRawFd::as_raw_fd(&file);
        (self.len, self.is_complete) = (0, true);
    }

    /// Writes text.
    #[inline(never)]
    pub(crate) fn write(&mut self, text: &str) {
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            let room = self.bytes.get_mut(self.len..).unwrap_or_default();
            let len = rest.len().min(room.len());
            let Some((part, behind)) = rest.split_at_checked(len) else { return };
            room.iter_mut().zip(part).for_each(|(place, &byte)| *place = byte);
            self.len += len;
            rest = behind;
            if self.len == PIECE {
                self.flush();
            }
        }
    }

    /// Writes what is left, and returns whether everything could be written.
    #[inline(never)]
    pub(crate) fn flush(&mut self) -> bool {
        let len = core::mem::take(&mut self.len);
        if len > 0 {
            self.is_complete = self.is_complete && self.write_all(len);
        }
        self.is_complete
    }

    #[cfg(unix)]
    fn write_all(&self, len: usize) -> bool {
        // A signal may interrupt the call, which is reason enough to try again, but not forever.
        const ATTEMPTS: u32 = 64;
        let mut rest = self.bytes.get(..len).unwrap_or_default();
        for _ in 0..ATTEMPTS {
            // SAFETY: the pointer and the length are those of a slice that outlives the call.
            let written = unsafe { libc::write(self.to, rest.as_ptr().cast(), rest.len()) };
            rest = rest.get(usize::try_from(written).unwrap_or(0)..).unwrap_or(&[]);
            if rest.is_empty() {
                return true;
            }
        }
        false
    }

    #[cfg(not(unix))]
    fn write_all(&self, len: usize) -> bool {
        use std::io::Write as _;
        std::io::stderr().write_all(&self.bytes[..len]).is_ok()
    }
}

impl Write for Output {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.write(text);
        Ok(())
    }
}

/// Writes a line to stderr.
#[inline(never)]
pub(crate) fn write_line(text: &str) {
    write_line_with(|out| put(out, text));
}

/// Writes a line to stderr that comes in pieces.
pub(crate) fn write_line_with(write: impl FnOnce(&mut Sink<'_>)) {
    let mut output = Output::stderr();
    write(&mut output);
    output.write("\n");
    output.flush();
}

/// Writes a line to stderr that is made by `core::fmt`: for what is only part of programs that ask for it.
pub(crate) fn write_formatted(message: &dyn fmt::Display) {
    let mut output = Output::stderr();
    let _ = writeln!(output, "{message}");
    output.flush();
}
