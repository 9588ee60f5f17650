//! Times and spans as people type them.

use jiff::{SignedDuration, Timestamp, civil, tz::TimeZone};

/// The long help of a `TIME` argument: what it is for, then what may be written.
pub(crate) fn help(what: &str) -> String {
    format!(
        "{what} RFC 3339 (2026-11-21T14:00:00+01:00, or Z), local time ('2026-11-21 14:00', or \
         14:00 for today), or a span from now (+2h)."
    )
}

/// Reads a `TIME` argument.
///
/// # Errors
///
/// In words, when it is none of the forms, or when the local clock shows it twice or never.
pub(crate) fn time(text: &str) -> Result<Timestamp, String> {
    at(text, Timestamp::now(), &TimeZone::system())
}

fn at(text: &str, now: Timestamp, zone: &TimeZone) -> Result<Timestamp, String> {
    if text == "now" {
        return Ok(now);
    }
    if let Some(span) = text.strip_prefix('+') {
        return shifted(now, span, 1);
    }
    if let Some(span) = text.strip_prefix('-') {
        return shifted(now, span, -1);
    }
    if let Ok(exact) = text.parse::<Timestamp>() {
        return Ok(exact);
    }
    let local = local_form(text, now, zone).ok_or_else(|| {
        format!(
            "{text:?} is no time; write 2026-11-21T14:00:00+01:00, '2026-11-21 14:00', 14:00 or +2h"
        )
    })?;
    // "compatible" would choose for the person; a grant is too dear for a guess.
    zone.to_ambiguous_zoned(local)
        .unambiguous()
        .map(|zoned| zoned.timestamp())
        .map_err(|_| {
            format!("{text:?} is skipped or comes twice when the clocks change; write it with an offset, as 2026-11-21T14:00:00+01:00")
        })
}

fn local_form(text: &str, now: Timestamp, zone: &TimeZone) -> Option<civil::DateTime> {
    if let Ok(day_time) = civil::DateTime::strptime("%Y-%m-%d %H:%M", text.replacen('T', " ", 1)) {
        return Some(day_time);
    }
    if let Ok(exact) = civil::DateTime::strptime("%Y-%m-%d %H:%M:%S", text.replacen('T', " ", 1)) {
        return Some(exact);
    }
    let today = now.to_zoned(zone.clone()).date();
    civil::Time::strptime("%H:%M", text)
        .ok()
        .map(|time| today.to_datetime(time))
}

fn shifted(now: Timestamp, text: &str, sign: i64) -> Result<Timestamp, String> {
    let secs = span(text)?;
    now.checked_add(SignedDuration::from_secs(sign * i64::from(secs)))
        .map_err(|_| format!("{text:?} from now is beyond every calendar"))
}

/// Reads a span argument into seconds.
///
/// # Errors
///
/// In words, when it is no span.
pub(crate) fn span(text: &str) -> Result<u32, String> {
    jit_policy::parse_duration(text).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn berlin(text: &str) -> Result<String, String> {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        let now = "2026-11-21T12:00:00Z".parse().unwrap();
        at(text, now, &zone).map(|t| t.to_string())
    }

    #[test]
    fn every_form_is_understood() {
        assert_eq!(
            berlin("2026-11-21T14:00:00+01:00").unwrap(),
            "2026-11-21T13:00:00Z"
        );
        assert_eq!(berlin("2026-11-21 14:00").unwrap(), "2026-11-21T13:00:00Z");
        assert_eq!(
            berlin("2026-11-21T14:00:30").unwrap(),
            "2026-11-21T13:00:30Z"
        );
        assert_eq!(berlin("14:05").unwrap(), "2026-11-21T13:05:00Z");
        assert_eq!(berlin("+2h").unwrap(), "2026-11-21T14:00:00Z");
        assert_eq!(berlin("-30m").unwrap(), "2026-11-21T11:30:00Z");
        assert_eq!(berlin("now").unwrap(), "2026-11-21T12:00:00Z");
    }

    #[test]
    fn an_hour_that_is_skipped_or_comes_twice_is_not_guessed() {
        assert!(berlin("2026-10-25 02:30").unwrap_err().contains("offset"));
        assert!(berlin("2026-03-29 02:30").unwrap_err().contains("offset"));
        assert_eq!(
            berlin("2026-10-25T02:30:00+01:00").unwrap(),
            "2026-10-25T01:30:00Z"
        );
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for odd in [
            "",
            "tomorrow",
            "25:00",
            "2026-13-01 10:00",
            "+",
            "2026-11-21",
            "+-2h",
        ] {
            assert!(berlin(odd).is_err(), "{odd}");
        }
    }
}
