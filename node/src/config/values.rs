//! How times, sizes and yes-or-no are written by people, in files, flags and queries.

use std::time::Duration;

/// Reads a time: a whole number and `us`, `ms`, `s`, `m` or `h`. A bare `0` needs no unit.
#[must_use]
pub fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = number_and_unit(text)?;
    let micros = match unit {
        "us" => 1,
        "ms" => 1_000,
        "s" => 1_000_000,
        "m" => 60_000_000,
        "h" => 3_600_000_000,
        "" if number == 0 => 0,
        _ => return None,
    };
    number.checked_mul(micros).map(Duration::from_micros)
}

/// Writes a time as [`duration`] reads it, in the largest unit that leaves no fraction.
#[must_use]
pub fn show_duration(time: Duration) -> String {
    let micros = time.as_micros();
    let units = [(3_600_000_000, "h"), (60_000_000, "m"), (1_000_000, "s"), (1_000, "ms")];
    match units.into_iter().find(|(unit, _)| micros > 0 && micros.is_multiple_of(*unit)) {
        Some((unit, name)) => format!("{}{name}", micros / unit),
        None if micros == 0 => "0s".to_owned(),
        None => format!("{micros}us"),
    }
}

/// Reads a size: a whole number and `KiB`, `MiB`, `GiB` or nothing.
#[must_use]
pub fn bytes(text: &str) -> Option<u64> {
    let (number, unit) = number_and_unit(text)?;
    let shift = match unit {
        "" | "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        _ => return None,
    };
    number.checked_mul(1 << shift)
}

/// Writes a size as [`bytes()`] reads it, in the largest unit that leaves no fraction.
#[must_use]
pub fn show_bytes(size: u64) -> String {
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    match units.into_iter().find(|(shift, _)| size > 0 && size.is_multiple_of(1 << shift)) {
        Some((shift, name)) => format!("{}{name}", size >> shift),
        None => size.to_string(),
    }
}

fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    Some((number.parse().ok()?, unit.trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        for text in ["0s", "1us", "250ms", "1s", "90s", "2m", "1h"] {
            assert_eq!(show_duration(duration(text).unwrap()), text);
        }
        for text in ["0", "1000", "256KiB", "4MiB", "3GiB"] {
            assert_eq!(show_bytes(bytes(text).unwrap()), text);
        }
    }

    #[test]
    fn a_number_without_its_unit_is_no_time() {
        for text in ["5", "", "s", "-1s", "1.5s", "1 d", "99999999999999999999s", "9999999999999h"]
        {
            assert_eq!(duration(text), None, "{text:?}");
        }
        assert_eq!(bytes("4MB"), None);
        assert_eq!(bytes("99999999999GiB"), None);
    }
}
