//! The most memory that this process had.

use std::fs::File;
use std::io::{self, Read};

/// The high-water mark of the resident memory of this process, in KiB.
///
/// The `ru_maxrss` that a waiting parent gets would not do: Linux lets it begin with what the
/// parent itself occupied at the `exec`, which is more than a small program ever needs. This number
/// begins with the `exec`.
///
/// Asking does not allocate.
///
/// # Errors
///
/// If the kernel does not tell: only Linux does.
pub fn resident_kib() -> io::Result<u64> {
    let mut text = [0; 4096];
    let length = File::open("/proc/self/status")?.read(&mut text)?;
    high_water_mark(&text[..length])
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "/proc/self/status has no VmHWM"))
}

/// Takes the number from the line `VmHWM:     1234 kB`.
fn high_water_mark(status: &[u8]) -> Option<u64> {
    let line = status.split(|&byte| byte == b'\n').find_map(|line| line.strip_prefix(b"VmHWM:"))?;
    std::str::from_utf8(line).ok()?.trim().strip_suffix(" kB")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_is_found_among_the_other_lines() {
        let status = b"VmPeak:\t    9000 kB\nVmHWM:\t    1234 kB\nVmRSS:\t    1000 kB\n";
        assert_eq!(high_water_mark(status), Some(1234));
        assert_eq!(high_water_mark(b"VmRSS:\t    1000 kB\n"), None);
    }

    #[test]
    fn touched_memory_raises_the_mark() {
        let touched = vec![1_u8; 64 << 20];
        assert!(
            resident_kib().unwrap() >= 64 << 10,
            "{} bytes were touched",
            std::hint::black_box(touched).len()
        );
    }
}
