//! A line on stderr without an allocation.

use core::fmt::{self, Write};

/// The longest sentence is about 250 bytes.
struct Line {
    bytes: [u8; 320],
    len: usize,
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = &mut self.bytes[self.len..];
        let part = text.len().min(room.len());
        room[..part].copy_from_slice(&text.as_bytes()[..part]);
        self.len += part;
        Ok(())
    }

    // The default can write any character; that is more code than all else here, and the sentences are
    // ASCII.
    fn write_char(&mut self, character: char) -> fmt::Result {
        let mut byte = [b'?'];
        if character.is_ascii() {
            byte = [character as u8];
        }
        core::str::from_utf8(&byte).map_err(|_| fmt::Error).and_then(|text| self.write_str(text))
    }
}

pub(crate) fn write_line(message: &dyn fmt::Display) {
    let mut line = Line { bytes: [0; 320], len: 0 };
    let _ = writeln!(line, "{message}");
    write(&line.bytes[..line.len]);
}

#[cfg(unix)]
fn write(mut rest: &[u8]) {
    // A signal may interrupt the call, which is reason enough to try again, but not forever.
    const ATTEMPTS: u32 = 64;
    for _ in 0..ATTEMPTS {
        // SAFETY: the pointer and the length are those of a slice that outlives the call.
        let written = unsafe { libc::write(libc::STDERR_FILENO, rest.as_ptr().cast(), rest.len()) };
        rest = rest.get(usize::try_from(written).unwrap_or(0)..).unwrap_or(&[]);
        if rest.is_empty() {
            return;
        }
    }
}

#[cfg(not(unix))]
fn write(line: &[u8]) {
    use std::io::Write as _;
    let _ = std::io::stderr().write_all(line);
}
