//! Durations as people write them in configuration and grants.

/// A text that is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{} is not a duration: write whole numbers with d, h, m or s, largest first and more than nothing, such as 90s, 15m or 1h30m",
    crate::text::quoted(.0)
)]
pub struct DurationError(String);

/// The units, largest first: the order in which a sum must name them.
const UNITS: [(char, u32); 4] = [('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];

/// Reads `90s`, `15m`, `1h`, `2d` or a sum such as `1h30m` (each unit at most once, largest first)
/// and gives seconds.
///
/// # Errors
///
/// For anything else, for nothing at all (`0s`), and for more than `u32::MAX` seconds.
pub fn parse_duration(text: &str) -> Result<u32, DurationError> {
    seconds(text).ok_or_else(|| DurationError(text.to_owned()))
}

fn seconds(text: &str) -> Option<u32> {
    let mut total: u32 = 0;
    let mut units = UNITS.iter();
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, tail) = rest.split_at_checked(digits)?;
        let letter = tail.chars().next()?;
        // Advancing one iterator through all the parts is what forbids `1m1h` and `1m1m`.
        let (_, size) = units.find(|(unit, _)| *unit == letter)?;
        let part = number.parse::<u32>().ok()?.checked_mul(*size)?;
        total = total.checked_add(part)?;
        rest = tail.get(1..)?;
    }
    (total > 0).then_some(total)
}

/// Writes seconds so that [`parse_duration`] reads them back: `15m`, `1h30m`, `90s` as `1m30s`.
#[must_use]
pub fn format_duration(seconds: u32) -> String {
    let mut text = String::new();
    let mut rest = seconds;
    for (letter, size) in UNITS {
        if rest >= size {
            text.push_str(&(rest / size).to_string());
            text.push(letter);
            rest %= size;
        }
    }
    if text.is_empty() {
        text.push_str("0s");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_each_unit_and_sums() {
        for (text, seconds) in [
            ("90s", 90),
            ("15m", 900),
            ("1h", 3600),
            ("2d", 172_800),
            ("1h30m", 5400),
            ("1d2h3m4s", 93_784),
            ("4294967295s", u32::MAX),
        ] {
            assert_eq!(parse_duration(text), Ok(seconds), "{text}");
        }
    }

    #[test]
    fn refuses_what_could_be_misread() {
        for text in [
            "",
            "15",
            "m",
            "15 m",
            " 15m",
            "15m ",
            "15min",
            "15M",
            "-15m",
            "+15m",
            "1.5h",
            "1m1h",
            "1m1m",
            "0s",
            "0m",
            "4294967296s",
            "49711d",
            "99999999999999999999s",
            "1h30",
            "١٥m",
            "15m\n",
        ] {
            assert!(parse_duration(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn an_error_shows_hostile_text_escaped() {
        let said = parse_duration("\u{1b}[31m").unwrap_err().to_string();
        assert!(!said.contains('\u{1b}'), "{said:?}");
    }

    #[test]
    fn what_is_written_reads_back() {
        for seconds in [
            1,
            59,
            60,
            61,
            90,
            3599,
            3600,
            5400,
            86_399,
            86_400,
            90_061,
            u32::MAX,
        ] {
            assert_eq!(parse_duration(&format_duration(seconds)), Ok(seconds));
        }
        assert_eq!(format_duration(0), "0s");
    }
}
