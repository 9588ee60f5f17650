//! What was accepted already: below it, nothing is.

use crate::state::State;
use jit_policy::bundle::{Floor, Head};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

const NAME: &str = "floors";

/// The floors of all realms this host ever belonged to: coming back to a realm must not bring its
/// old bundles back.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Floors(BTreeMap<String, Record>);

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    floor: Floor,
    /// The host whose own bundle was accepted: a host that is given another name has accepted none
    /// under that.
    host: Option<String>,
    /// Root lowered it: the bundle on disk, which may be far above, does not raise it again.
    reset: bool,
}

impl Floors {
    /// The floors on disk; there are none on a new host.
    pub(super) fn read(state: &State) -> Result<Self, String> {
        match state.read(NAME).map_err(|e| e.to_string())? {
            None => Ok(Self::default()),
            Some(bytes) => serde_json::from_slice(&bytes).map_err(|e| {
                format!(
                    "{}: damaged ({e}); bring it back from a backup, or run: \
                     jit policy reset-floor",
                    state.dir().join(NAME).display()
                )
            }),
        }
    }

    /// Puts them on disk.
    pub(super) fn write(&self, state: &State) -> Result<(), String> {
        let bytes = serde_json::to_vec(self).map_err(|e| e.to_string())?;
        state.write(NAME, &bytes).map_err(|e| e.to_string())
    }

    /// What a bundle of this realm is held against on this host.
    pub(super) fn of(&self, realm: &str, host: &str) -> Floor {
        let Some(record) = self.0.get(realm) else {
            return Floor::default();
        };
        let mine = record
            .host
            .as_deref()
            .is_some_and(|h| h.eq_ignore_ascii_case(host));
        Floor {
            host_specific: mine,
            ..record.floor.clone()
        }
    }

    /// A bundle with this head was accepted.
    pub(super) fn raise(&mut self, head: &Head) {
        let record = self.0.entry(head.realm.clone()).or_default();
        record.floor = record.floor.raised_by(head);
        record.reset = false;
        if head.host != "*" {
            record.host = Some(head.host.clone());
        }
    }

    /// The bundle on disk has this head. Says whether that raised the floor.
    pub(super) fn raise_from_disk(&mut self, head: &Head) -> bool {
        let before = self.0.get(&head.realm).cloned();
        if before.as_ref().is_some_and(|record| record.reset) {
            return false;
        }
        self.raise(head);
        self.0.get(&head.realm) != before.as_ref()
    }

    /// Forgets a realm's floor; gives the sequence number that it was at.
    pub(super) fn reset(&mut self, realm: &str) -> Option<u64> {
        let record = Record {
            reset: true,
            ..Record::default()
        };
        self.0
            .insert(realm.to_owned(), record)
            .map(|was| was.floor.seq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;

    fn head(realm: &str, host: &str, seq: u64) -> Head {
        Head {
            realm: realm.to_owned(),
            host: host.to_owned(),
            seq,
            issued_at: Timestamp::from_second(1_000_000).unwrap(),
            expires_at: Timestamp::from_second(2_000_000).unwrap(),
            grants_sha256: format!("{seq:064}"),
        }
    }

    #[test]
    fn each_realm_has_its_own_and_keeps_it() {
        let mut floors = Floors::default();
        floors.raise(&head("prod", "*", 7));
        floors.raise(&head("test", "*", 3));
        floors.raise(&head("prod", "*", 9));
        assert_eq!(floors.of("prod", "web-1").seq, 9);
        assert_eq!(floors.of("test", "web-1").seq, 3);
        assert_eq!(floors.of("other", "web-1"), Floor::default());
    }

    #[test]
    fn a_bundle_of_its_own_binds_the_host_of_that_name_only() {
        let mut floors = Floors::default();
        floors.raise(&head("prod", "web-1", 7));
        floors.raise(&head("prod", "*", 8));
        assert!(floors.of("prod", "WEB-1").host_specific);
        assert!(!floors.of("prod", "web-2").host_specific);
        assert_eq!(floors.of("prod", "web-2").seq, 8);
    }

    #[test]
    fn what_root_lowered_only_a_fetched_bundle_raises() {
        let mut floors = Floors::default();
        floors.raise(&head("prod", "web-1", 900));
        assert!(
            !floors.raise_from_disk(&head("prod", "web-1", 900)),
            "it is there already"
        );
        assert_eq!(floors.reset("prod"), Some(900));
        assert!(!floors.raise_from_disk(&head("prod", "web-1", 900)));
        assert_eq!(floors.of("prod", "web-1"), Floor::default());
        floors.raise(&head("prod", "*", 5));
        assert!(floors.raise_from_disk(&head("prod", "*", 6)));
        assert_eq!(floors.of("prod", "web-1").seq, 6);
    }
}
