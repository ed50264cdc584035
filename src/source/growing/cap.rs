//! The cap that an environment variable sets, read without an allocation.

use crate::environment::{has_more_rights, variable};
use crate::raw_lock::preserving_errno;
use crate::stderr::write_line;

/// The variable's name.
const NAME: &core::ffi::CStr = c"MEM_ALLOC_RUST_CAP";

/// The cap in bytes that the environment gives, if it gives one, and may. What is none is told on stderr.
pub(super) fn from_environment() -> Option<usize> {
    let value = variable(NAME).filter(|_| !has_more_rights())?;
    let cap = parse(value);
    if cap.is_none() {
        let message = "mem_alloc_rust: MEM_ALLOC_RUST_CAP is no number of bytes such as 67108864, 65536K, 64M, 64MiB \
                       or 1G: the cap that the program was built with stays";
        preserving_errno(|| write_line(message));
    }
    cap
}

/// A number of bytes, with a suffix for powers of 1024, as in `64M` or `64MiB`.
fn parse(value: &[u8]) -> Option<usize> {
    let digits = value.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let shift = match &value[digits..] {
        [] => 0,
        [unit] | [unit, b'i', b'B'] => match unit.to_ascii_uppercase() {
            b'K' => 10,
            b'M' => 20,
            b'G' => 30,
            b'T' => 40,
            _ => return None,
        },
        _ => return None,
    };
    let number: u64 = core::str::from_utf8(&value[..digits]).ok()?.parse().ok()?;
    usize::try_from(number.checked_mul(1 << shift)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cap_is_a_number_of_bytes_with_a_suffix() {
        let good: [(&[u8], usize); 9] = [
            (b"0", 0),
            (b"67108864", 64 << 20),
            (b"64M", 64 << 20),
            (b"64MiB", 64 << 20),
            (b"3kiB", 3 << 10),
            (b"65536k", 64 << 20),
            (b"1g", 1 << 30),
            (b"007K", 7 << 10),
            (b"4294967295", u32::MAX as usize),
        ];
        for (value, bytes) in good {
            assert_eq!(parse(value), Some(bytes), "{value:?}");
        }
        for value in [
            "",
            "M",
            "64MB",
            "64iB",
            "64Mi",
            "64 M",
            "-1",
            "+1",
            "0x10",
            "1.5G",
            "99999999999999999999",
            "99999999T",
            "1e9",
        ] {
            assert_eq!(parse(value.as_bytes()), None, "{value}");
        }
    }
}
