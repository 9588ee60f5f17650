//! Grants that differ in little.
//!
//! What 100,000 grants give, where, and what they ask for is among them the same few texts. Each of
//! these is read once: a grant's terms are looked up by their text, and only what it says of itself
//! alone (whom it is for, from when until when, why) is read each time.

use crate::draft::{Lists, Particulars, TermsDraft, parse_time};
use crate::grant::{Grant, Terms};
use std::collections::HashMap;
use std::sync::Arc;

/// How what follows the terms begins.
const END: &str = ",\"not_";

/// The longest terms that are looked for, in bytes: where grants are odd, each is searched in vain.
const LONGEST: usize = 2048;

/// The terms that were read so far, by their text.
#[derive(Default)]
pub(crate) struct Alike<'a> {
    terms: HashMap<&'a str, Arc<Terms>>,
    /// Those of the last grant: the next one's are mostly the same.
    last: Option<(&'a str, Arc<Terms>)>,
    lists: Lists,
}

impl<'a> Alike<'a> {
    /// Reads the grant that a text begins with if [`crate::grant::to_json`] could have written it,
    /// and gives it with what follows it. Gives nothing if anything about it is wrong or odd: then
    /// it must be read as any other.
    pub(crate) fn read(&mut self, text: &'a str) -> Option<(Grant, &'a str)> {
        let (id, rest) = string(text.strip_prefix("{\"id\":")?)?;
        let (user, rest) = optional(rest, ",\"user\":")?;
        let (group, rest) = optional(rest, ",\"group\":")?;
        let (terms, rest) = self.terms(rest.strip_prefix(',')?)?;
        let (not_before, rest) = optional(rest, ",\"not_before\":")?;
        let (not_after, rest) = string(rest.strip_prefix(",\"not_after\":")?)?;
        let (reason, rest) = optional(rest, ",\"reason\":")?;
        let (ticket, rest) = optional(rest, ",\"ticket\":")?;
        let rest = rest.strip_prefix('}')?;
        let particulars = Particulars {
            id: id.into(),
            user: user.map(Into::into),
            group: group.map(Into::into),
            not_before: match not_before {
                Some(time) => Some(parse_time(time).ok()?),
                None => None,
            },
            not_after: parse_time(not_after).ok()?,
            reason: reason.map(Into::into),
            ticket: ticket.map(Into::into),
        };
        let grant = particulars.build(|| Ok(terms)).ok()?;
        Some((grant, rest))
    }

    /// The terms that a text begins with, and what follows them.
    ///
    /// Whatever stands before the first [`END`] is believed to be terms only if it reads well as
    /// the whole of an object with terms in it and nothing else. Then the grant is that object with
    /// more fields in it, and it does not matter how its text was cut.
    fn terms(&mut self, text: &'a str) -> Option<(Arc<Terms>, &'a str)> {
        if let Some((last, terms)) = &self.last
            && let Some(rest) = text.strip_prefix(last)
            && rest.starts_with(END)
        {
            return Some((Arc::clone(terms), rest));
        }
        let window = text.as_bytes().get(..text.len().min(LONGEST))?;
        let end = window
            .windows(END.len())
            .position(|at| at == END.as_bytes())?;
        let (text, rest) = text.split_at_checked(end)?;
        let terms = match self.terms.get(text) {
            Some(known) => Arc::clone(known),
            None => self.learn(text)?,
        };
        self.last = Some((text, Arc::clone(&terms)));
        Some((terms, rest))
    }

    fn learn(&mut self, text: &'a str) -> Option<Arc<Terms>> {
        let object = format!("{{{text}}}");
        let draft: TermsDraft<'_> = serde_json::from_str(&object).ok()?;
        let terms = Arc::new(draft.build_in(&mut self.lists).ok()?);
        self.terms.insert(text, Arc::clone(&terms));
        Some(terms)
    }
}

/// The string that a text begins with, if it stands there as it is meant, and what follows it.
fn string(text: &str) -> Option<(&str, &str)> {
    let text = text.strip_prefix('"')?;
    let end = text
        .bytes()
        .position(|b| matches!(b, ..b' ' | b'"' | b'\\'))?;
    let (string, rest) = text.split_at_checked(end)?;
    Some((string, rest.strip_prefix('"')?))
}

/// The string after `name`, if the text begins with that.
fn optional<'a>(text: &'a str, name: &str) -> Option<(Option<&'a str>, &'a str)> {
    match text.strip_prefix(name) {
        Some(rest) => string(rest).map(|(string, rest)| (Some(string), rest)),
        None => Some((None, text)),
    }
}

/// That it reads anything else as it is read without it is tested beside that (`crate::parse`).
#[cfg(test)]
mod tests {
    use super::*;
    use crate::grant::{parse_toml, to_json};

    /// Everything that terms can say.
    const TERMS: &str = r#"
services = ["sudo", "su"]
run_as = ["root", "postgres"]
hosts = ["db-*", "env=prod"]
mfa = "15m"
approved_by = ["carol"]
max_offline = "30m"
[grant.when]
source = ["10.8.0.0/16"]
schedule = [{ days = "mon-fri", from = "14:00", to = "16:00", zone = "Europe/Berlin" }]
"#;

    const PARTICULARS: [&str; 3] = [
        r#"
id = "all"
user = "alice"
not_before = 2026-11-21T10:00:00Z
not_after = 2026-11-21T12:00:00Z
reason = "failover, planned"
ticket = "INC-4711""#,
        r#"
id = "other-terms"
group = "domain users"
not_after = 2026-11-21T12:00:00Z"#,
        r#"
id = "as-the-first-but-for-whom-and-when"
user = "zoë"
not_after = 2026-11-22T12:00:00Z"#,
    ];

    #[test]
    fn whatever_we_write_is_read_and_terms_once() {
        let terms = [TERMS, "\nservices = [\"sudo\"]\n", TERMS];
        let toml = PARTICULARS
            .iter()
            .zip(terms)
            .map(|(particulars, terms)| format!("[[grant]]{particulars}{terms}"));
        let grants = parse_toml(&toml.collect::<String>()).unwrap().grants;
        assert_eq!(grants.len(), PARTICULARS.len());
        let text = to_json(&grants);
        let mut rest = text.strip_prefix("{\"grants\":[").unwrap();
        let mut alike = Alike::default();
        for grant in &grants {
            let read;
            (read, rest) = alike.read(rest).unwrap();
            assert_eq!(read, *grant);
            rest = rest.strip_prefix(',').unwrap_or(rest);
        }
        assert_eq!((rest, alike.terms.len()), ("]}", 2));
    }
}
