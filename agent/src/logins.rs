//! Where each login session came from, for conditions on a principal's source at elevation.
//!
//! The only witness is our own session line under an entry service: when sshd opens a session, the
//! address it opened it for is remembered with the kernel's audit session and with the process that
//! opened it. An elevation belongs to that session if it carries the same audit session, or, where
//! the kernel sets none, if that process is its ancestor. A shell that outlived its sshd, or was
//! detached from it, has an unknown source. Never the environment, utmp or DNS: people write those.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};

use crate::peer::{NO_AUDIT_SESSION, Process};

/// Logins remembered at once; the oldest is forgotten first, and its source is then unknown.
const MOST: usize = 4096;

/// How far up a process is looked for. Deeper nesting has an unknown source.
const DEPTH: usize = 64;

#[derive(Debug, Clone)]
struct Login {
    uid: u32,
    source: Option<IpAddr>,
    audit_session: u32,
    opener: (i32, u64),
}

/// The login sessions that are open.
#[derive(Debug, Default)]
pub struct Logins(Mutex<VecDeque<Login>>);

impl Logins {
    /// An entry service opened a session for this person.
    pub fn opened(&self, uid: u32, source: Option<IpAddr>, opener: &Process) {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if open.len() >= MOST {
            open.pop_front();
        }
        open.push_back(Login {
            uid,
            source,
            audit_session: opener.audit_session,
            opener: (opener.pid, opener.start),
        });
    }

    /// The process that opened a session closes it.
    pub fn closed(&self, opener: &Process) {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|login| login.opener != (opener.pid, opener.start));
    }

    /// Where the login session came from in which this process runs for this person. Another
    /// person's login session is nobody's evidence.
    #[must_use]
    pub fn source_of(&self, uid: u32, process: &Process) -> Option<IpAddr> {
        let mine: Vec<Login> = {
            let open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            open.iter()
                .filter(|login| login.uid == uid)
                .cloned()
                .collect()
        };
        if mine.is_empty() {
            return None;
        }
        if process.audit_session != NO_AUDIT_SESSION {
            return mine
                .iter()
                .rev()
                .find(|login| login.audit_session == process.audit_session)?
                .source;
        }
        process
            .ancestors(DEPTH)
            .find_map(|ancestor| mine.iter().rev().find(|login| login.opener == ancestor))?
            .source
    }
}

/// `PAM_RHOST` as a literal address. IPv4 in IPv6 clothes is IPv4. A name is not an address: who
/// answers for a name is not ours to say.
#[must_use]
pub fn address(rhost: Option<&str>) -> Option<IpAddr> {
    match rhost?.parse().ok()? {
        IpAddr::V6(six) => Some(folded(six)),
        four @ IpAddr::V4(_) => Some(four),
    }
}

fn folded(six: Ipv6Addr) -> IpAddr {
    six.to_ipv4_mapped().map_or(IpAddr::V6(six), IpAddr::V4)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: i32, parent: i32, audit_session: u32) -> Process {
        Process {
            pid,
            parent,
            start: 1,
            ruid: 1001,
            euid: 0,
            leader: pid,
            terminal: 0,
            audit_session,
            login_uid: u32::MAX,
        }
    }

    #[test]
    fn an_address_is_literal_or_nothing() {
        assert_eq!(address(Some("10.8.0.7")), "10.8.0.7".parse().ok());
        assert_eq!(address(Some("::ffff:10.8.0.7")), "10.8.0.7".parse().ok());
        assert_eq!(address(Some("2001:db8::1")), "2001:db8::1".parse().ok());
        for junk in [
            "",
            "localhost",
            "10.8.0.7 ",
            "10.8.7",
            "fe80::1%eth0",
            "10.8.0.7:22",
        ] {
            assert_eq!(address(Some(junk)), None, "{junk}");
        }
        assert_eq!(address(None), None);
    }

    #[test]
    fn the_audit_session_ties_an_elevation_to_its_login() {
        let logins = Logins::default();
        logins.opened(1001, address(Some("10.8.0.7")), &process(50, 1, 3));
        assert_eq!(
            logins.source_of(1001, &process(90, 1, 3)),
            address(Some("10.8.0.7"))
        );
        assert_eq!(
            logins.source_of(1001, &process(90, 50, 4)),
            None,
            "another audit session"
        );
        assert_eq!(
            logins.source_of(1002, &process(90, 50, 3)),
            None,
            "another person"
        );
        logins.closed(&process(50, 1, 3));
        assert_eq!(logins.source_of(1001, &process(90, 1, 3)), None, "closed");
    }

    #[test]
    fn without_audit_sessions_ancestry_ties_them() {
        let me = Process::read(i32::try_from(std::process::id()).unwrap()).unwrap();
        let (parent, start) = me.ancestors(1).next().unwrap();
        let opener = Process {
            pid: parent,
            start,
            ..process(0, 1, NO_AUDIT_SESSION)
        };
        let logins = Logins::default();
        logins.opened(1001, address(Some("10.8.0.7")), &opener);
        let inside = Process {
            audit_session: NO_AUDIT_SESSION,
            ..me.clone()
        };
        assert_eq!(logins.source_of(1001, &inside), address(Some("10.8.0.7")));

        let reborn = Process {
            start: start + 1,
            ..opener
        };
        let logins = Logins::default();
        logins.opened(1001, address(Some("10.8.0.7")), &reborn);
        assert_eq!(
            logins.source_of(1001, &inside),
            None,
            "the same pid, another process"
        );
    }
}
