//! Times that recur, by the clock on the wall of a zone.

use crate::text::quoted;
use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time, Weekday};
use jiff::tz::{AmbiguousOffset, TimeZone};
use std::fmt;
use std::hash::{Hash, Hasher};

/// Days of the week on which a window opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Days(u8);

/// Names as written, Monday first.
const DAYS: [(&str, &str); 7] = [
    ("mon", "monday"),
    ("tue", "tuesday"),
    ("wed", "wednesday"),
    ("thu", "thursday"),
    ("fri", "friday"),
    ("sat", "saturday"),
    ("sun", "sunday"),
];

impl Days {
    /// Reads `mon-fri`, `sat`, `fri-mon` (wraps round the week's end) or a list of those with commas.
    /// Names may be written out, in either case.
    ///
    /// # Errors
    ///
    /// For anything else.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut set = 0;
        for part in text.split(',') {
            let range = match part.split_once('-') {
                Some((first, last)) => day(first).zip(day(last)),
                None => day(part).map(|only| (only, only)),
            };
            let Some((first, last)) = range else {
                return Err(format!(
                    "days {} must be names or ranges such as mon-fri, or sat,sun",
                    quoted(text)
                ));
            };
            let mut at = first;
            set |= 1 << at;
            while at != last {
                at = (at + 1) % 7;
                set |= 1 << at;
            }
        }
        Ok(Self(set))
    }

    fn has(self, day: Weekday) -> bool {
        self.0 & (1 << day.to_monday_zero_offset()) != 0
    }
}

/// A day's number, Monday being 0.
fn day(text: &str) -> Option<usize> {
    let text = text.trim();
    DAYS.iter().position(|(short, long)| {
        text.eq_ignore_ascii_case(short) || text.eq_ignore_ascii_case(long)
    })
}

impl fmt::Display for Days {
    /// Three days or more in a row as a range: `mon-fri`, `sat,sun`, `mon,wed-fri`, `fri-mon`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let has = |day: usize| self.0 & (1 << (day % 7)) != 0;
        let name = |day: usize| DAYS.iter().cycle().nth(day).map_or("", |(short, _)| short);
        if (0..7).all(has) {
            return f.write_str("mon-sun");
        }
        let mut separator = "";
        for first in (0..7).filter(|day| has(*day) && !has(day + 6)) {
            let last = (first..)
                .take_while(|day| has(*day))
                .last()
                .unwrap_or(first);
            f.write_str(separator)?;
            match last - first {
                0 => f.write_str(name(first))?,
                1 => write!(f, "{},{}", name(first), name(last))?,
                _ => write!(f, "{}-{}", name(first), name(last))?,
            }
            separator = ",";
        }
        Ok(())
    }
}

/// A time that recurs: on these days, from this time to that, by the clock on the wall of a zone.
///
/// `from` is inclusive, `to` exclusive. `to` at or before `from` runs past midnight and belongs to
/// the day it starts on. When clocks change, an hour that is skipped is not there and one that is
/// repeated is there twice, as the wall clock reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    days: Days,
    from: Time,
    to: Time,
    zone: TimeZone,
}

/// Without the zone, which has no hash of its own.
impl Hash for Window {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.days, self.from, self.to).hash(state);
    }
}

impl Window {
    /// Reads a window from its four texts: days as [`Days::parse`] reads them, `HH:MM` from and to,
    /// and an IANA zone name.
    ///
    /// # Errors
    ///
    /// For anything else, and for a zone that this system's zone database does not know.
    pub fn parse(days: &str, from: &str, to: &str, zone: &str) -> Result<Self, String> {
        Ok(Self {
            days: Days::parse(days)?,
            from: time_of_day("from", from)?,
            to: time_of_day("to", to)?,
            zone: find_zone(zone)?,
        })
    }

    /// The days it starts on.
    #[must_use]
    pub fn days(&self) -> Days {
        self.days
    }

    /// When it opens, as `HH:MM`.
    #[must_use]
    pub fn from(&self) -> String {
        self.from.strftime("%H:%M").to_string()
    }

    /// When it closes, as `HH:MM`.
    #[must_use]
    pub fn to(&self) -> String {
        self.to.strftime("%H:%M").to_string()
    }

    /// The name of the zone whose wall clock it goes by.
    #[must_use]
    pub fn zone(&self) -> &str {
        self.zone.iana_name().unwrap_or("UTC")
    }

    /// If the window is open at that time: the instant at which this opening of it ends.
    #[must_use]
    pub fn open_until(&self, at: Timestamp) -> Option<Timestamp> {
        let wall = self.zone.to_datetime(at);
        // Yesterday's opening may have run past midnight, beside today's.
        let starts_on = [wall.date().yesterday().ok(), Some(wall.date())];
        starts_on
            .into_iter()
            .flatten()
            .filter(|day| self.days.has(day.weekday()))
            .filter_map(|day| self.opening(day))
            .filter(|opening| opening.has(wall))
            .map(|opening| self.end_of(&opening, at))
            .max()
    }

    /// The opening that starts on that day, as the wall clock reads.
    fn opening(&self, day: Date) -> Option<Opening> {
        let last_day = if self.to <= self.from {
            day.tomorrow().ok()?
        } else {
            day
        };
        Some(Opening {
            start: day.to_datetime(self.from),
            end: last_day.to_datetime(self.to),
        })
    }

    /// The first instant after `at` at which the wall clock reads outside the opening.
    ///
    /// That is either an instant at which it reads the opening's end (there are two of those when
    /// the hour repeats), or one at which the clock is changed.
    fn end_of(&self, opening: &Opening, at: Timestamp) -> Timestamp {
        let (first, second) = match self.zone.to_ambiguous_timestamp(opening.end).offset() {
            AmbiguousOffset::Unambiguous { offset } => (offset, offset),
            AmbiguousOffset::Gap { before, after } | AmbiguousOffset::Fold { before, after } => {
                (before, after)
            }
        };
        let readings = [first, second]
            .into_iter()
            .filter_map(|offset| offset.to_timestamp(opening.end).ok());
        // An opening lasts a day at most; no zone changes its clock more than twice in two days.
        let changes = self.zone.following(at).take(2).map(|t| t.timestamp());
        readings
            .chain(changes)
            .filter(|end| *end > at && !opening.has(self.zone.to_datetime(*end)))
            .min()
            .unwrap_or(at)
    }
}

/// One occurrence of a window: wall-clock readings from `start` to before `end`.
struct Opening {
    start: DateTime,
    end: DateTime,
}

impl Opening {
    fn has(&self, reading: DateTime) -> bool {
        self.start <= reading && reading < self.end
    }
}

fn time_of_day(what: &str, text: &str) -> Result<Time, String> {
    let well_formed = text.len() == 5
        && text.bytes().enumerate().all(|(i, b)| match i {
            2 => b == b':',
            _ => b.is_ascii_digit(),
        });
    let parsed = if well_formed {
        Time::strptime("%H:%M", text).ok()
    } else {
        None
    };
    parsed.ok_or_else(|| {
        format!(
            "{what} {} must be a time of day from 00:00 to 23:59 (midnight is 00:00)",
            quoted(text)
        )
    })
}

fn find_zone(name: &str) -> Result<TimeZone, String> {
    let fault = || {
        format!(
            "zone {} is not in this system's time zone database (is tzdata installed?): write a name such as Europe/Berlin or UTC",
            quoted(name)
        )
    };
    // A name only: no path out of the database's folder, and not its stand-in for "unknown".
    let named = (1..=64).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'_' | b'+' | b'-'))
        && !name.eq_ignore_ascii_case("etc/unknown");
    if !named {
        return Err(fault());
    }
    TimeZone::get(name).map_err(|_| fault())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_read_and_written() {
        for (text, written) in [
            ("mon-fri", "mon-fri"),
            ("Saturday", "sat"),
            ("sat,sun", "sat,sun"),
            ("sat, sun", "sat,sun"),
            ("SAT-sun", "sat,sun"),
            ("fri-mon", "fri-mon"),
            ("sun-mon", "sun,mon"),
            ("mon,wed-fri", "mon,wed-fri"),
            ("mon-sun", "mon-sun"),
            ("thu-wed", "mon-sun"),
            ("tue-tue", "tue"),
        ] {
            let days = Days::parse(text).unwrap();
            assert_eq!(days.to_string(), written, "{text}");
            assert_eq!(Days::parse(written), Ok(days));
        }
        for text in [
            "",
            "mo",
            "mon-",
            "-fri",
            "mon fri",
            "mon-fri-sat",
            "mon,",
            "weekdays",
            "*",
            "1",
        ] {
            assert!(Days::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_window_is_refused_for_any_bad_part() {
        assert!(Window::parse("mon", "14:00", "16:00", "Europe/Berlin").is_ok());
        for (from, to) in [
            ("24:00", "16:00"),
            ("14:00", "24:00"),
            ("1:00", "2:00"),
            ("14:60", "16:00"),
            ("14", "16"),
            ("14:00:00", "16:00"),
            (" 4:00", "16:00"),
            ("-1:00", "16:00"),
            ("", ""),
            ("14.00", "16:00"),
            ("+4:00", "16:00"),
            ("ab:cd", "16:00"),
        ] {
            assert!(
                Window::parse("mon", from, to, "UTC").is_err(),
                "{from} {to}"
            );
        }
        let long = "x".repeat(10_000);
        for zone in [
            "",
            "Europe/Atlantis",
            "../../etc/passwd",
            "/etc/localtime",
            "Etc/Unknown",
            "etc/unknown",
            "Europe/Berlin\0",
            "Europe/Berlin ",
            "+01:00",
            "CET-1CEST",
            "\u{1b}[2J",
            &long,
        ] {
            let fault = Window::parse("mon", "14:00", "16:00", zone).unwrap_err();
            assert!(fault.len() < 500 && !fault.contains('\u{1b}'), "{fault:?}");
        }
    }

    /// How long the window `days from-to zone` stays open at that time, RFC 3339.
    fn open(window: &str, at: &str) -> Option<String> {
        let parts: Vec<&str> = window.split([' ', '_']).collect();
        let [days, from, to, zone] = parts[..] else {
            panic!("{window}")
        };
        let window = Window::parse(days, from, to, zone).unwrap();
        let end = window.open_until(at.parse().unwrap());
        end.map(|end| end.to_string())
    }

    #[test]
    fn from_is_inclusive_and_to_exclusive() {
        let window = "mon-fri 14:00_16:00 Europe/Berlin";
        let until = Some("2026-11-20T15:00:00Z".to_owned());
        assert_eq!(open(window, "2026-11-20T12:59:59.999999999Z"), None);
        assert_eq!(open(window, "2026-11-20T13:00:00Z"), until);
        assert_eq!(open(window, "2026-11-20T14:59:59.999999999Z"), until);
        assert_eq!(open(window, "2026-11-20T15:00:00Z"), None);
        // Saturday.
        assert_eq!(open(window, "2026-11-21T13:00:00Z"), None);
    }

    #[test]
    fn the_day_is_the_zones_and_not_ours() {
        // Saturday 00:30 in Kathmandu (+05:45) is Friday 18:45 in UTC.
        assert!(open("sat 00:00_01:00 Asia/Kathmandu", "2026-11-20T18:45:00Z").is_some());
        assert!(open("fri 00:00_01:00 Asia/Kathmandu", "2026-11-20T18:45:00Z").is_none());
    }

    #[test]
    fn past_midnight_belongs_to_the_day_it_starts() {
        let window = "fri 22:00_06:00 UTC";
        let until = Some("2026-11-21T06:00:00Z".to_owned());
        assert_eq!(open(window, "2026-11-20T05:00:00Z"), None); // Friday morning: Thursday's
        assert_eq!(open(window, "2026-11-20T21:59:59Z"), None);
        assert_eq!(open(window, "2026-11-20T22:00:00Z"), until);
        assert_eq!(open(window, "2026-11-21T05:59:59Z"), until); // Saturday morning: Friday's
        assert_eq!(open(window, "2026-11-21T06:00:00Z"), None);
        assert_eq!(open(window, "2026-11-21T22:00:00Z"), None);
        // Over the week's end.
        let sunday = "sun 22:00_06:00 UTC";
        assert!(open(sunday, "2026-11-23T05:00:00Z").is_some());
        assert!(open(sunday, "2026-11-22T05:00:00Z").is_none());
    }

    #[test]
    fn to_equal_to_from_is_a_whole_day() {
        let window = "fri 09:00_09:00 UTC";
        let until = Some("2026-11-21T09:00:00Z".to_owned());
        assert_eq!(open(window, "2026-11-20T08:59:59Z"), None);
        assert_eq!(open(window, "2026-11-20T09:00:00Z"), until);
        assert_eq!(open(window, "2026-11-21T08:59:59Z"), until);
        assert_eq!(open(window, "2026-11-21T09:00:00Z"), None);
        assert_eq!(
            open("fri 20:00_00:00 UTC", "2026-11-20T23:59:59Z"),
            Some("2026-11-21T00:00:00Z".into())
        );
    }

    // Berlin, 2026-03-29: at 01:00Z the clock goes from 02:00 to 03:00.
    #[test]
    fn a_skipped_hour_is_not_there() {
        // The whole window is skipped.
        for at in [
            "2026-03-29T00:59:59Z",
            "2026-03-29T01:00:00Z",
            "2026-03-29T01:30:00Z",
        ] {
            assert_eq!(open("sun 02:00_03:00 Europe/Berlin", at), None, "{at}");
        }
        // The end is skipped: closed when the clock jumps over it.
        let end = Some("2026-03-29T01:00:00Z".to_owned());
        assert_eq!(
            open("sun 01:00_02:30 Europe/Berlin", "2026-03-29T00:30:00Z"),
            end
        );
        assert_eq!(
            open("sun 01:00_02:30 Europe/Berlin", "2026-03-29T01:00:00Z"),
            None
        );
        // The start is skipped: open when the clock has jumped past it.
        let end = Some("2026-03-29T02:00:00Z".to_owned());
        assert_eq!(
            open("sun 02:30_04:00 Europe/Berlin", "2026-03-29T00:59:59Z"),
            None
        );
        assert_eq!(
            open("sun 02:30_04:00 Europe/Berlin", "2026-03-29T01:00:00Z"),
            end
        );
        // All around it: an hour shorter.
        assert_eq!(
            open("sun 01:00_04:00 Europe/Berlin", "2026-03-29T00:00:00Z"),
            end
        );
    }

    // Berlin, 2026-10-25: at 01:00Z the clock goes from 03:00 back to 02:00.
    #[test]
    fn a_repeated_hour_is_there_twice() {
        let window = "sun 02:00_02:30 Europe/Berlin";
        let first = Some("2026-10-25T00:30:00Z".to_owned());
        let second = Some("2026-10-25T01:30:00Z".to_owned());
        assert_eq!(open(window, "2026-10-25T00:00:00Z"), first);
        assert_eq!(open(window, "2026-10-25T00:45:00Z"), None);
        assert_eq!(open(window, "2026-10-25T01:00:00Z"), second);
        assert_eq!(open(window, "2026-10-25T01:30:00Z"), None);
        // The clock goes back to before the start: closed until it reads the start again.
        let window = "sun 02:30_04:00 Europe/Berlin";
        assert_eq!(
            open(window, "2026-10-25T00:30:00Z"),
            Some("2026-10-25T01:00:00Z".into())
        );
        assert_eq!(open(window, "2026-10-25T01:15:00Z"), None);
        assert_eq!(
            open(window, "2026-10-25T01:30:00Z"),
            Some("2026-10-25T03:00:00Z".into())
        );
        // All around it: an hour longer.
        let window = "sun 01:00_04:00 Europe/Berlin";
        assert_eq!(
            open(window, "2026-10-24T23:00:00Z"),
            Some("2026-10-25T03:00:00Z".into())
        );
    }

    #[test]
    fn the_ends_of_time_do_not_break_it() {
        let window = Window::parse("mon-sun", "22:00", "21:00", "Europe/Berlin").unwrap();
        for at in [Timestamp::MIN, Timestamp::MAX, Timestamp::UNIX_EPOCH] {
            let _ = window.open_until(at);
        }
    }
}
