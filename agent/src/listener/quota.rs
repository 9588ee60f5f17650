//! How many connections each caller may hold at once.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Whose connection it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Caller {
    /// A person at user.sock.
    Uid(u32),
    /// The person who runs a setuid program at agent.sock.
    Sudoer(u32),
    /// Root at agent.sock, before it has said what for, and root's own sudo, su and verbs.
    Root,
    /// An entry service, for somebody far away.
    Entry {
        /// `PAM_SERVICE`
        service: String,
        /// `PAM_RHOST`
        rhost: String,
    },
}

impl Caller {
    fn most(&self) -> usize {
        match self {
            Self::Uid(_) => 8,
            Self::Sudoer(_) => 64,
            Self::Root => 256,
            Self::Entry { service, .. } if service == "login" => 64,
            Self::Entry { .. } => 32,
        }
    }

    /// Callers that strangers can be many of, and so are held to a share of all places together.
    fn is_from_afar(&self) -> bool {
        matches!(self, Self::Entry { service, .. } if service != "login") || self.is_at_user_sock()
    }

    fn is_at_user_sock(&self) -> bool {
        matches!(self, Self::Uid(_))
    }
}

/// Places for all callers from afar together, per socket. sudo, su and login do not count here.
const MOST_FROM_AFAR: usize = 512;

/// Counts who is inside.
#[derive(Debug, Default)]
pub(super) struct Quota(Mutex<HashMap<Caller, usize>>);

/// A place inside; leaving is dropping it.
#[derive(Debug)]
pub(super) struct Place<'a> {
    quota: &'a Quota,
    caller: Caller,
}

impl Place<'_> {
    pub(super) fn caller(&self) -> &Caller {
        &self.caller
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.quota.leave(&self.caller);
    }
}

impl Quota {
    /// Takes a place, if this caller has one left.
    pub(super) fn enter(&self, caller: Caller) -> Option<Place<'_>> {
        self.take(&caller).then(|| Place {
            quota: self,
            caller,
        })
    }

    /// Turns a place into another caller's. On `false` that caller has none left.
    pub(super) fn change<'a>(&'a self, place: &mut Place<'a>, caller: Caller) -> bool {
        match self.enter(caller) {
            Some(other) => {
                *place = other;
                true
            }
            None => false,
        }
    }

    /// Whether nobody is inside.
    pub(super) fn is_idle(&self) -> bool {
        let inside = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inside.is_empty()
    }

    fn take(&self, caller: &Caller) -> bool {
        let mut inside = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if caller.is_from_afar() {
            let alike = |other: &&Caller| {
                other.is_from_afar() && other.is_at_user_sock() == caller.is_at_user_sock()
            };
            let all: usize = inside
                .iter()
                .filter(|(other, _)| alike(other))
                .map(|(_, count)| count)
                .sum();
            if all >= MOST_FROM_AFAR {
                return false;
            }
        }
        let count = inside.entry(caller.clone()).or_default();
        if *count >= caller.most() {
            return false;
        }
        *count += 1;
        true
    }

    fn leave(&self, caller: &Caller) {
        let mut inside = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = inside.get_mut(caller) {
            *count -= 1;
            if *count == 0 {
                inside.remove(caller);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ssh(rhost: usize) -> Caller {
        Caller::Entry {
            service: "sshd".into(),
            rhost: format!("10.0.0.{rhost}"),
        }
    }

    #[test]
    fn a_flood_from_one_leaves_room_for_the_others() {
        let quota = Quota::default();
        let flood: Vec<_> = std::iter::from_fn(|| quota.enter(Caller::Sudoer(1001))).collect();
        assert_eq!(flood.len(), 64);
        assert!(quota.enter(Caller::Sudoer(1002)).is_some());
        assert!(
            quota.enter(Caller::Uid(1001)).is_some(),
            "the sockets are counted apart"
        );
        drop(flood);
        assert!(
            quota.enter(Caller::Sudoer(1001)).is_some(),
            "places come back"
        );
    }

    #[test]
    fn a_flood_through_sshd_leaves_room_for_sudo_su_and_login() {
        let quota = Quota::default();
        let mut flood = Vec::new();
        for rhost in 0..1000 {
            flood.extend(std::iter::from_fn(|| quota.enter(ssh(rhost))));
        }
        assert_eq!(flood.len(), MOST_FROM_AFAR);
        assert!(quota.enter(Caller::Sudoer(1001)).is_some());
        assert!(quota.enter(Caller::Root).is_some());
        let login = Caller::Entry {
            service: "login".into(),
            rhost: String::new(),
        };
        assert!(quota.enter(login).is_some());
    }

    #[test]
    fn a_place_that_changes_hands_is_given_back() {
        let quota = Quota::default();
        let mut place = quota.enter(Caller::Root).unwrap();
        assert!(quota.change(&mut place, ssh(1)));
        let rest: Vec<_> = std::iter::from_fn(|| quota.enter(ssh(1))).collect();
        assert_eq!(rest.len(), 31);
        assert!(!quota.change(&mut quota.enter(Caller::Root).unwrap(), ssh(1)));
        drop((place, rest));
        assert!(quota.0.lock().unwrap().is_empty());
    }
}
