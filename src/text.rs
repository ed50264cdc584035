//! Reports as text, each line made from a template: without an allocation, and with less code than a line of
//! `core::fmt` takes.

#![forbid(unsafe_code)]

use core::fmt::{self, Write};

/// Where text goes, piece by piece.
pub(crate) type Sink<'a> = dyn Write + 'a;

/// Writes text that stands for itself. A sink that fails notes that itself.
pub(crate) fn put(out: &mut Sink<'_>, text: &str) {
    let _ = out.write_str(text);
}

/// Writes a template, in which a value stands for each of these:
///
/// - `^` a number, `?` the same in hexadecimal, with its prefix,
/// - `#` a number with a comma for each thousand, `$` the same in nine columns,
/// - `@` a number of bytes, in the largest unit of which there is one, `&` the same in ten columns,
/// - `!` tenths of a percent as percent, `~` the same in five columns,
/// - `*` an `s`, if the value in front of it was not one; that takes no value of its own.
///
/// Bytes are rounded down.
pub(crate) fn fill(out: &mut Sink<'_>, template: &str, values: &[usize]) {
    let (mut rest, mut values, mut last) = (template, values.iter(), 0);
    loop {
        let is_kind = |byte| matches!(byte, b'^' | b'?' | b'#' | b'$' | b'@' | b'&' | b'!' | b'~' | b'*');
        let place = rest.bytes().position(is_kind);
        let Some((before, from)) = place.and_then(|place| rest.split_at_checked(place)) else {
            return put(out, rest);
        };
        let Some((kind, behind)) = from.split_at_checked(1) else { return };
        put(out, before);
        if kind == "*" {
            put(out, if last == 1 { "" } else { "s" });
        } else {
            last = values.next().copied().unwrap_or(0);
            value(out, kind.as_bytes()[0], last);
        }
        rest = behind;
    }
}

/// The longest value is a number of twenty digits with its commas.
const LONGEST: usize = 32;

/// Writes one value.
#[inline(never)]
fn value(out: &mut Sink<'_>, kind: u8, value: usize) {
    // From the last character to the first one.
    let mut text = [b' '; LONGEST];
    let mut at = LONGEST;
    let mut push = |byte: u8| {
        at = at.wrapping_sub(1);
        if let Some(place) = text.get_mut(at) {
            *place = byte;
        }
    };
    let (mut number, mut columns) = (value, 0);
    match kind {
        b'@' | b'&' => {
            push(b'B');
            let step = value.checked_ilog2().unwrap_or(0) / 10;
            if let Some(&unit) = b"KMGTPE".get((step as usize).wrapping_sub(1)) {
                push(b'i');
                push(unit);
                push(b' ');
                number = value >> (10 * step);
                let tenths = ((value >> (10 * step - 10)) % 1024 * 10) / 1024;
                push(b'0' + tenths as u8);
                push(b'.');
            } else {
                push(b' ');
            }
            columns = if kind == b'&' { 10 } else { 0 };
        }
        b'!' | b'~' => {
            push(b'0' + (value % 10) as u8);
            push(b'.');
            (number, columns) = (value / 10, if kind == b'~' { 5 } else { 0 });
        }
        b'$' => columns = 9,
        _ => {}
    }
    let (mut digits, base) = (0, if kind == b'?' { 16 } else { 10 });
    loop {
        if digits == 3 && matches!(kind, b'#' | b'$') {
            push(b',');
            digits = 0;
        }
        let digit = (number % base) as u8;
        push(digit + if digit < 10 { b'0' } else { b'a' - 10 });
        number /= base;
        digits += 1;
        if number == 0 {
            break;
        }
    }
    if kind == b'?' {
        push(b'x');
        push(b'0');
    }
    // What is in front of the number is blank.
    let text = text.get(at.min(LONGEST - columns)..).unwrap_or_default();
    put(out, core::str::from_utf8(text).unwrap_or_default());
}

/// How much a part is of a whole, in tenths of a percent, rounded down.
pub(crate) fn share(part: usize, whole: usize) -> usize {
    // A cap may be all there can be: nobody sees its last bits.
    let shift = if whole > usize::MAX >> 10 { 10 } else { 0 };
    ((part >> shift) as u64 * 1000).checked_div((whole >> shift) as u64).unwrap_or(0) as usize
}

/// Passes a report on to a formatter.
pub(crate) fn display(f: &mut fmt::Formatter<'_>, report: impl FnOnce(&mut Sink<'_>)) -> fmt::Result {
    let mut passed_on = PassedOn { f, result: Ok(()) };
    report(&mut passed_on);
    passed_on.result
}

struct PassedOn<'a, 'b> {
    f: &'a mut fmt::Formatter<'b>,
    result: fmt::Result,
}

impl Write for PassedOn<'_, '_> {
    /// Nothing more, once something could not be written.
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.result = self.result.and_then(|()| self.f.write_str(text));
        self.result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::String;

    fn filled(template: &str, values: &[usize]) -> String {
        let mut text = String::new();
        fill(&mut text, template, values);
        text
    }

    #[test]
    fn numbers_have_commas_where_that_is_asked_for() {
        assert_eq!(filled("^ and #; ^ and #", &[1234567, 1234567, 0, 0]), "1234567 and 1,234,567; 0 and 0");
        assert_eq!(filled("#", &[999]), "999");
        assert_eq!(filled("# block* and # block*", &[1, 2]), "1 block and 2 blocks");
        assert_eq!(filled("?..?", &[0x7f3a, usize::MAX]), std::format!("0x7f3a..{:#x}", usize::MAX));
        assert_eq!(filled("|$|$|", &[12, 123_456]), "|       12|  123,456|");
        assert_eq!(filled("#", &[usize::MAX]).replace(',', ""), std::format!("{}", usize::MAX));
    }

    #[test]
    fn bytes_have_the_largest_unit_of_which_there_is_one() {
        let cases = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            ((1 << 20) - 1, "1023.9 KiB"),
            (1 << 20, "1.0 MiB"),
            (5 << 29, "2.5 GiB"),
        ];
        for (bytes, text) in cases {
            assert_eq!(filled("@", &[bytes]), text);
            assert_eq!(filled("&", &[bytes]), std::format!("{text:>10}"));
        }
        assert!(filled("@", &[usize::MAX]).contains(if usize::BITS == 64 { "15.9 EiB" } else { "3.9 GiB" }));
    }

    #[test]
    fn shares_are_in_tenths_of_a_percent() {
        assert_eq!(filled("~ %|~ %|! %", &[1000, 482, 7]), "100.0 %| 48.2 %|0.7 %");
        assert_eq!([share(1, 3), share(5, 5), share(0, 0)], [333, 1000, 0]);
        assert_eq!([share(usize::MAX / 3, usize::MAX), share(usize::MAX, usize::MAX)], [333, 1000]);
    }
}
