//! One thing that happened, as keys and values in a fixed order.
//!
//! The order is the order in which they were added. For a decision that is: `event outcome reason
//! user uid target service phase mode host tty rhost command grant until mfa source seq age`, then what
//! the rest of it needs (`would`, `repeated`, …), then `cut`, `id` and `chain`.

use jit_journal::{Pair, escaped_len};
use std::fmt::{self, Display, Write};

/// What one value may take in its written form, in bytes; beyond, it is cut.
const LONGEST_VALUE: usize = 512;
/// The same for `command`, which may carry arguments.
const LONGEST_COMMAND: usize = 2048;
/// What all keys and values may take together. With what is added around them (time, id, chain, the
/// syslog header) a line stays below 8 KiB, where rsyslog cuts by default.
const LONGEST_EVENT: usize = 7000;

/// What kind of thing happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A PAM application asked and was answered.
    Decision,
    /// Something about somebody's factor.
    Mfa,
    /// A session began or ended.
    Session,
    /// A grant came, went or ended.
    Grant,
    /// A bundle was taken or refused, or grew old.
    Policy,
    /// A configuration was taken or refused.
    Config,
    /// Trusted time and the wall clock disagree, or were brought together.
    Clock,
    /// The agent itself.
    Agent,
}

impl Kind {
    /// The word that stands in records.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Decision => "decision",
            Self::Mfa => "mfa",
            Self::Session => "session",
            Self::Grant => "grant",
            Self::Policy => "policy",
            Self::Config => "config",
            Self::Clock => "clock",
            Self::Agent => "agent",
        }
    }
}

/// An event. Keys are ours; values may be hostile: they are bounded here and escaped when written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    kind: Kind,
    outcome: &'static str,
    /// All values, one after the other.
    text: String,
    fields: Vec<Field>,
    /// Keys whose values were cut, comma-separated.
    cut: String,
    /// What may still be written.
    room: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Field {
    key: &'static str,
    start: usize,
    end: usize,
}

impl Event {
    /// An event of a kind with its outcome (`allow`, `deny`, `failed`, …).
    #[must_use]
    pub fn new(kind: Kind, outcome: &'static str) -> Self {
        Self {
            kind,
            outcome,
            text: String::with_capacity(256),
            fields: Vec::with_capacity(24),
            cut: String::new(),
            room: LONGEST_EVENT,
        }
    }

    /// Adds a key. A value that is empty is absent and renders as `-`. A value too long is cut, and
    /// its key is named under `cut`.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl Display) -> Self {
        debug_assert!(
            key.bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'),
            "{key:?} is not a key"
        );
        let start = self.text.len();
        // What a member takes besides its value, in JSON: "key":"",
        let frame = key.len() + 6;
        let longest = if key == "command" {
            LONGEST_COMMAND
        } else {
            LONGEST_VALUE
        };
        let mut bounded = Bounded {
            left: longest.min(self.room.saturating_sub(frame)),
            text: &mut self.text,
        };
        let left_before = bounded.left;
        let whole = write!(bounded, "{value}").is_ok();
        let taken = left_before - bounded.left;
        self.room = self.room.saturating_sub(frame + taken);
        if !whole {
            self.name_as_cut(key);
        }
        self.fields.push(Field {
            key,
            start,
            end: self.text.len(),
        });
        self
    }

    /// Adds a key whose value may be absent, rendered as `-`.
    #[must_use]
    pub fn maybe(self, key: &'static str, value: Option<impl Display>) -> Self {
        match value {
            Some(value) => self.with(key, value),
            None => self.with(key, ""),
        }
    }

    /// What kind of thing happened.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// How it came out.
    #[must_use]
    pub fn outcome(&self) -> &'static str {
        self.outcome
    }

    /// The value of a key that was added; `None` if it is absent or was never added.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.fields
            .iter()
            .find(|field| field.key == key)
            .and_then(|field| self.value(field))
    }

    /// About how much memory it takes, in bytes.
    pub(crate) fn size(&self) -> usize {
        size_of::<Self>() + self.text.capacity() + self.fields.capacity() * size_of::<Field>()
    }

    /// Whether a key was added, even with an absent value.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.fields.iter().any(|field| field.key == key)
    }

    /// Everything, in order.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = Pair<'_>> {
        [
            ("event", Some(self.kind.as_str())),
            ("outcome", Some(self.outcome)),
        ]
        .into_iter()
        .chain(
            self.fields
                .iter()
                .map(|field| (field.key, self.value(field))),
        )
        .chain((!self.cut.is_empty()).then_some(("cut", Some(self.cut.as_str()))))
    }

    /// This event standing for another as well: where the two differ, it says `(several)`.
    pub(crate) fn folded_with(&self, other: &Self) -> Self {
        let mut folded = Self::new(self.kind, self.outcome);
        for field in &self.fields {
            folded = match self.value(field) {
                mine if mine == other.get(field.key) => folded.maybe(field.key, mine),
                _ => folded.with(field.key, "(several)"),
            };
        }
        folded.cut.clone_from(&self.cut);
        folded
    }

    fn value(&self, field: &Field) -> Option<&str> {
        self.text
            .get(field.start..field.end)
            .filter(|value| !value.is_empty())
    }

    fn name_as_cut(&mut self, key: &str) {
        if !self.cut.is_empty() {
            self.cut.push(',');
        }
        self.cut.push_str(key);
    }
}

/// Takes characters until their written form would be too long; then fails, which stops whoever is
/// formatting a gigabyte.
struct Bounded<'a> {
    left: usize,
    text: &'a mut String,
}

impl Write for Bounded<'_> {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        for c in s.chars() {
            self.left = self.left.checked_sub(escaped_len(c)).ok_or(fmt::Error)?;
            self.text.push(c);
        }
        Ok(())
    }
}
