//! One record, in its two written forms.
//!
//! A value that is `None` is absent: `null` in JSON, a bare `-` in logfmt. A value that really is
//! `-` is quoted in logfmt, so the two cannot be confused. A quoted logfmt value is a JSON string.

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use std::fmt;

/// A key and its value.
pub type Pair<'a> = (&'a str, Option<&'a str>);

/// A record that was read: keys in the order in which they stand.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Record {
    pairs: Vec<(String, Option<String>)>,
}

impl Record {
    /// The pairs, in the order in which they stand.
    pub fn pairs(&self) -> impl Iterator<Item = Pair<'_>> {
        self.pairs
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_deref()))
    }

    /// The value of a key; `None` if it is absent or not there at all.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.pairs()
            .find_map(|(name, value)| (name == key).then_some(value))
            .flatten()
    }

    /// Reads the JSON form: one object of strings and nulls, no key twice.
    ///
    /// # Errors
    ///
    /// What is wrong with it, in words.
    pub fn from_json(text: &str) -> Result<Self, String> {
        serde_json::from_str(text).map_err(|e| e.to_string())
    }

    /// Reads the logfmt form: `key=value` pairs parted by one space, no key twice.
    ///
    /// # Errors
    ///
    /// What is wrong with it, in words.
    pub fn from_logfmt(text: &str) -> Result<Self, String> {
        let mut record = Self::default();
        let mut rest = text;
        loop {
            let (key, after) = rest
                .split_once('=')
                .ok_or_else(|| format!("no '=' in {rest:?}"))?;
            if key.is_empty() || !key.bytes().all(is_key_byte) {
                return Err(format!("{key:?} is not a key"));
            }
            let (value, after) = take_value(after)?;
            record.insert(key.to_owned(), value)?;
            match after.strip_prefix(' ') {
                Some(more) => rest = more,
                None if after.is_empty() => return Ok(record),
                None => return Err(format!("no space before {after:?}")),
            }
        }
    }

    fn insert(&mut self, key: String, value: Option<String>) -> Result<(), String> {
        if self.pairs.iter().any(|(name, _)| *name == key) {
            return Err(format!("key {key:?} stands twice"));
        }
        self.pairs.push((key, value));
        Ok(())
    }
}

fn is_key_byte(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_'
}

/// Takes one logfmt value off the front; gives it and what follows.
fn take_value(text: &str) -> Result<(Option<String>, &str), String> {
    if text.starts_with('"') {
        let mut values = serde_json::Deserializer::from_str(text).into_iter::<String>();
        let value = values.next().and_then(Result::ok).ok_or_else(|| {
            format!("a quoted value does not end, or is not well formed: {text:?}")
        })?;
        let after = text.get(values.byte_offset()..).unwrap_or_default();
        return Ok((Some(value), after));
    }
    let end = text.find(' ').unwrap_or(text.len());
    let (bare, after) = text.split_at(end);
    match bare {
        "-" => Ok((None, after)),
        _ if !bare.is_empty() && bare.chars().all(is_bare) => Ok((Some(bare.to_owned()), after)),
        _ => Err(format!("value {bare:?} should be quoted")),
    }
}

impl<'de> Deserialize<'de> for Record {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Record;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings and nulls")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Record, A::Error> {
                let mut record = Record::default();
                while let Some((key, value)) = map.next_entry::<String, Option<String>>()? {
                    record.insert(key, value).map_err(A::Error::custom)?;
                }
                Ok(record)
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

/// How many bytes a character takes in a written value. No value is written shorter than its
/// characters' sum plus two quotes.
#[must_use]
pub fn escaped_len(c: char) -> usize {
    match c {
        '"' | '\\' => 2,
        ' '..='~' => 1,
        '\u{10000}'.. => 12,
        _ => 6,
    }
}

/// Whether a logfmt value made of such characters may stand without quotes.
fn is_bare(c: char) -> bool {
    c.is_ascii_graphic() && !matches!(c, '"' | '=' | '\\')
}

/// Writes a JSON string, quotes included. Everything but printable ASCII is escaped, so that no
/// value can end a line, move a cursor, turn the reading direction or look like another.
pub fn push_json_string(out: &mut String, value: &str) {
    out.push('"');
    for c in value.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            ' '..='~' => out.push(c),
            _ => push_unicode_escape(out, c),
        }
    }
    out.push('"');
}

fn push_unicode_escape(out: &mut String, c: char) {
    for unit in c.encode_utf16(&mut [0; 2]) {
        out.push_str("\\u");
        for shift in [12, 8, 4, 0] {
            let digit = u32::from(*unit >> shift) & 15;
            out.push(char::from_digit(digit, 16).unwrap_or('0'));
        }
    }
}

/// Writes pairs as the members of a JSON object, without the braces: `"a":"1","b":null`.
pub fn push_pairs_json<'a>(out: &mut String, pairs: impl IntoIterator<Item = Pair<'a>>) {
    for (nth, (key, value)) in pairs.into_iter().enumerate() {
        if nth > 0 {
            out.push(',');
        }
        push_json_string(out, key);
        out.push(':');
        match value {
            Some(value) => push_json_string(out, value),
            None => out.push_str("null"),
        }
    }
}

/// Writes pairs as logfmt: `a=1 b="two words" c=-`.
pub fn push_logfmt<'a>(out: &mut String, pairs: impl IntoIterator<Item = Pair<'a>>) {
    for (nth, (key, value)) in pairs.into_iter().enumerate() {
        if nth > 0 {
            out.push(' ');
        }
        out.push_str(key);
        out.push('=');
        match value {
            None => out.push('-'),
            Some(value) if !value.is_empty() && value != "-" && value.chars().all(is_bare) => {
                out.push_str(value);
            }
            Some(value) => push_json_string(out, value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn logfmt(value: Option<&str>) -> String {
        let mut out = String::new();
        push_logfmt(&mut out, [("user", value)]);
        out
    }

    #[test]
    fn hostile_values_stay_on_one_line_and_in_their_place() {
        for (value, written) in [
            ("alice", "user=alice"),
            ("", "user=\"\""),
            ("-", "user=\"-\""),
            ("a b", "user=\"a b\""),
            ("a=b", "user=\"a=b\""),
            ("a\" outcome=allow x=\"", r#"user="a\" outcome=allow x=\"""#),
            ("a\nb", r#"user="a\u000ab""#),
            ("\u{1b}[2J", r#"user="\u001b[2J""#),
            ("\u{202e}toor", r#"user="\u202etoor""#),
            ("rооt", r#"user="r\u043e\u043et""#),
            ("😀", r#"user="\ud83d\ude00""#),
            ("a\\u0041", r#"user="a\\u0041""#),
            ("\u{7f}\u{0}", r#"user="\u007f\u0000""#),
        ] {
            assert_eq!(logfmt(Some(value)), written);
        }
        assert_eq!(logfmt(None), "user=-");
    }

    #[test]
    fn what_is_not_ours_is_refused() {
        for text in [
            "",
            "event",
            "event=a event=b",
            "event=a  outcome=b",
            "event=a outcome=b ",
            "event=\"a\"outcome=b",
            "event=\"a",
            "event=",
            "Event=a",
            "event=a\u{202e}b",
            "e v=a",
        ] {
            assert!(Record::from_logfmt(text).is_err(), "{text:?}");
        }
        for text in [
            r#"{"a":1}"#,
            r#"{"a":"1","a":"2"}"#,
            "[]",
            "",
            r#"{"a":"1"} x"#,
        ] {
            assert!(Record::from_json(text).is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn both_forms_read_back_and_are_one_line_of_ascii(
            values in proptest::collection::vec(proptest::option::of(any::<String>()), 1..6)
        ) {
            let keys: Vec<String> = (0..values.len()).map(|n| format!("key_{n}")).collect();
            let pairs = || keys.iter().map(String::as_str).zip(values.iter().map(Option::as_deref));
            let (mut line, mut json) = (String::new(), String::from("{"));
            push_logfmt(&mut line, pairs());
            push_pairs_json(&mut json, pairs());
            json.push('}');
            for text in [&line, &json] {
                prop_assert!(text.bytes().all(|b| (b' '..=b'~').contains(&b)));
            }
            let (from_line, from_json) = (Record::from_logfmt(&line).unwrap(), Record::from_json(&json).unwrap());
            prop_assert!(from_line.pairs().eq(pairs()));
            prop_assert_eq!(from_line, from_json);
        }

        #[test]
        fn escaped_len_counts_what_is_written(value in any::<String>()) {
            let mut out = String::new();
            push_json_string(&mut out, &value);
            prop_assert_eq!(out.len(), 2 + value.chars().map(escaped_len).sum::<usize>());
        }

        #[test]
        fn no_text_makes_the_readers_panic(text in any::<String>()) {
            let _ = Record::from_logfmt(&text);
            let _ = Record::from_json(&text);
        }
    }
}
