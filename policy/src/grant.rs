//! A grant: who may do what, where, from when until when.

use crate::condition::When;
use crate::factor::Factor;
use jiff::Timestamp;
use std::sync::Arc;

pub use crate::draft::{Draft, Text, WhenDraft, WindowDraft};
pub use crate::parse::{
    GrantError, GrantFault, Parsed, parse_json, parse_toml, repeated_ids, to_json, to_toml,
};

/// A list of names. Grants of one file share equal lists: among 100,000 grants there are few.
pub type Names = Arc<[Box<str>]>;

/// Whom a grant names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Who<N = Box<str>> {
    /// A person, by login name.
    User(N),
    /// The members of a group of the host.
    Group(N),
}

impl Who {
    /// The same, borrowed.
    #[must_use]
    pub fn as_deref(&self) -> Who<&str> {
        match self {
            Self::User(name) => Who::User(name),
            Self::Group(name) => Who::Group(name),
        }
    }
}

/// A grant that was checked: every field means something. Made by [`Draft::build`], [`parse_toml`]
/// and [`parse_json`] only.
///
/// Within a list *or*, between fields *and*.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Grant {
    /// `[A-Za-z0-9._-]{1,64}`, unique in its source.
    pub id: Box<str>,
    /// Whom it names.
    pub who: Who,
    /// What it gives, where, and what it asks for. Shared with the grants beside it that say the
    /// same: 100,000 of them are mostly alike.
    pub terms: Arc<Terms>,
    /// Inclusive. `None`: at once.
    pub not_before: Option<Timestamp>,
    /// Exclusive.
    pub not_after: Timestamp,
    /// Why it was given.
    pub reason: Option<Box<str>>,
    /// The ticket it was given for.
    pub ticket: Option<Box<str>>,
}

/// What a grant says besides whom it is for, from when until when, and why.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Terms {
    /// Base names of services. Never empty.
    pub services: Names,
    /// Targets by name; `*` covers every target. Never empty.
    pub run_as: Names,
    /// Host names with `*` and `?`, or `label=value`. Empty: every host.
    pub hosts: Names,
    /// The factor it asks for; `None`: the service's floor.
    pub mfa: Option<Factor>,
    /// Who approved it.
    pub approved_by: Names,
    /// For central grants, in seconds: holds only while the bundle is no older than this.
    pub max_offline: Option<u32>,
    /// What must hold besides.
    pub when: When,
}

impl Terms {
    /// Whether they cover the service, given by base name.
    #[must_use]
    pub fn covers_service(&self, service: &str) -> bool {
        self.services.iter().any(|covered| **covered == *service)
    }

    /// Whether `run_as` has this very word.
    pub(crate) fn names_target(&self, name: &str) -> bool {
        self.run_as.iter().any(|covered| **covered == *name)
    }

    /// Whether they cover every target of uid 0, and what changes more than the user.
    pub(crate) fn covers_root(&self) -> bool {
        self.names_target("root") || self.names_target("*")
    }
}
