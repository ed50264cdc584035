//! Numbers as people read them, and as they write them.

use std::fmt::Write as _;

/// A number with a comma before each group of three digits: `1,234,944`.
pub(crate) fn grouped(number: u64) -> String {
    in_groups(number, ',')
}

/// The same as Rust has it: `1_234_944`.
pub(crate) fn literal(number: u64) -> String {
    in_groups(number, '_')
}

/// A number of bytes in three digits or four, with the largest unit of which there is one: `1.18 MiB`.
pub(crate) fn rough(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut amount = bytes as f64 / 1024.0;
    let mut unit = 0;
    // What would be rounded to 1024 of a unit is one of the next.
    while amount >= 1023.5 && unit + 1 < UNITS.len() {
        amount /= 1024.0;
        unit += 1;
    }
    let decimals = match amount {
        ..9.995 => 2,
        ..99.95 => 1,
        _ => 0,
    };
    format!("{amount:.decimals$} {}", UNITS[unit])
}

/// A part of a whole in percent, with one digit behind the point; of nothing it is 0.0 %.
pub(crate) fn percent(part: u64, whole: u64) -> String {
    let share = if whole == 0 { 0.0 } else { 100.0 * part as f64 / whole as f64 };
    format!("{share:.1} %")
}

/// Reads a number of bytes: digits, with `_` or `,` among them as one likes, and a unit: `1234944`, `1_234_944`, `64k`,
/// `1.5 MiB`. All units are powers of 1024.
///
/// # Errors
///
/// A sentence that says what is wrong.
pub(crate) fn parse(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let end = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let digits: String = digits.trim().chars().filter(|c| !matches!(c, '_' | ',')).collect();
    let shift = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        _ => return Err(format!("{unit:?} is no unit; there are K, M and G, which are powers of 1024")),
    };
    if let Ok(whole) = digits.parse::<u64>() {
        let bytes = whole.checked_mul(1 << shift);
        return bytes.ok_or_else(|| "that is more than there are addresses".to_owned());
    }
    let is_decimal = digits.chars().all(|c| c.is_ascii_digit() || c == '.');
    match digits.parse::<f64>() {
        Ok(amount) if is_decimal && shift > 0 && amount < 1e9 => {
            Ok((amount * (1u64 << shift) as f64).round() as u64)
        }
        _ => Err("a number of bytes looks like 1_234_944, 64K or 1.5M".to_owned()),
    }
}

fn in_groups(number: u64, separator: char) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            grouped.push(separator);
        }
        // (Writing to a string cannot fail.)
        let _ = grouped.write_char(digit);
    }
    grouped
}

/// The character for a stretch of memory of which so many percent are in use.
pub(crate) fn shade(percent: u8) -> char {
    match percent {
        0 => '·',
        1..=33 => '░',
        34..=66 => '▒',
        67..=99 => '▓',
        _ => '█',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_grouped_from_the_right() {
        let numbers = [0, 12, 123, 1234, 123_456, 1_234_944];
        assert_eq!(numbers.map(grouped), ["0", "12", "123", "1,234", "123,456", "1,234,944"]);
        assert_eq!(literal(1_234_944), "1_234_944");
    }

    #[test]
    fn a_rough_number_has_three_digits() {
        let numbers = [0, 1023, 1024, 1536, 10_240, 1_048_064, 1_048_576, 1_234_944, 5 << 30, u64::MAX];
        assert_eq!(
            numbers.map(rough),
            [
                "0 B", "1023 B", "1.00 KiB", "1.50 KiB", "10.0 KiB", "1.00 MiB", "1.00 MiB", "1.18 MiB",
                "5.00 GiB", "16.0 EiB"
            ]
        );
    }

    #[test]
    fn shares_of_nothing_are_nothing() {
        assert_eq!((percent(1, 3), percent(1, 0)), ("33.3 %".to_owned(), "0.0 %".to_owned()));
    }

    #[test]
    fn numbers_of_bytes_are_read_as_people_write_them() {
        let texts = ["0", "1234944", "1_234_944", "1,234,944", "64k", "64 KiB", "1.5M", "2GB", "7b"];
        let bytes = [0, 1_234_944, 1_234_944, 1_234_944, 65_536, 65_536, 1_572_864, 2 << 30, 7];
        assert_eq!(texts.map(parse), bytes.map(Ok));
        for text in ["", "k", "1.5", "-1", "1e3", "12 parsecs", "NaNk", "inf k", "99999999999g"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
