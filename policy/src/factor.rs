//! How a person must prove that they are there.

use crate::duration::{format_duration, parse_duration};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// How a person must prove that they are there. Ordered by strictness: `None` least, then longer
/// ages, then shorter ones, `Always` most. Written `none`, `15m`, `always`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Factor {
    /// Nothing to prove.
    None,
    /// A factor passed in this login session at most so many seconds ago.
    Age(u32),
    /// A factor passed in this very transaction.
    Always,
}

impl Ord for Factor {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            // The shorter the age, the stricter.
            (Self::Age(mine), Self::Age(theirs)) => theirs.cmp(mine),
            _ => self.kind().cmp(&other.kind()),
        }
    }
}

impl PartialOrd for Factor {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Factor {
    fn kind(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Age(_) => 1,
            Self::Always => 2,
        }
    }
}

/// A text that names no factor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} is no factor: write always, none, or a maximum age such as 15m", crate::text::quoted(.0))]
pub struct FactorError(String);

impl FromStr for Factor {
    type Err = FactorError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "always" => Ok(Self::Always),
            "none" => Ok(Self::None),
            age => parse_duration(age)
                .map(Self::Age)
                .map_err(|_| FactorError(age.to_owned())),
        }
    }
}

impl fmt::Display for Factor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Age(seconds) => f.write_str(&format_duration(*seconds)),
            Self::Always => f.write_str("always"),
        }
    }
}

impl Serialize for Factor {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Factor {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strictness_orders_factors() {
        let ascending = [
            Factor::None,
            Factor::Age(u32::MAX),
            Factor::Age(3600),
            Factor::Age(900),
            Factor::Age(0),
            Factor::Always,
        ];
        for (i, a) in ascending.iter().enumerate() {
            for (j, b) in ascending.iter().enumerate() {
                assert_eq!(a.cmp(b), i.cmp(&j), "{a:?} {b:?}");
            }
        }
    }

    #[test]
    fn factors_are_read_and_written() {
        for (text, factor) in [
            ("always", Factor::Always),
            ("none", Factor::None),
            ("15m", Factor::Age(900)),
            ("1h", Factor::Age(3600)),
            ("1m30s", Factor::Age(90)),
        ] {
            assert_eq!(text.parse(), Ok(factor));
            assert_eq!(factor.to_string(), text);
        }
        assert_eq!("90s".parse(), Ok(Factor::Age(90)));
        for text in ["", "Always", "never", "0s", "15", "None", "any"] {
            assert!(text.parse::<Factor>().is_err(), "{text}");
        }
    }
}
