//! Elevation or entry, and whether it is root who acts. The agent works the principal out for
//! itself; the module needs this much for what holds even without an agent.

use jit_protocol::message::Phase;

use crate::host::{Host, Item, Kept};

/// Services that make one user another, whatever the ids of the process.
const ELEVATING: [&[u8]; 4] = [b"sudo", b"sudo-i", b"su", b"su-l"];

/// Who acts, as far as the module can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    /// One user becomes another (sudo, su, doas). Otherwise somebody comes in (sshd, login).
    pub(crate) elevation: bool,
    /// Root, without a remote host.
    pub(crate) root: bool,
    /// The principal's uid, where the module knows it: in an elevation.
    pub(crate) principal: Option<u32>,
}

impl Standing {
    pub(crate) fn of(host: &impl Host, phase: Phase, kept: &Kept) -> Self {
        let ids = host.ids();
        let service = host.item(Item::Service).ok().flatten().unwrap_or_default();
        let session = matches!(phase, Phase::SessionOpen | Phase::SessionClose);
        let elevation = ELEVATING.contains(&service.as_slice())
            || (ids.real != 0 && ids.effective == 0)
            || (session && kept.elevation);
        // An item that cannot be read is not an item that is not set.
        let local = host
            .item(Item::RHost)
            .is_ok_and(|rhost| rhost.is_none_or(|rhost| rhost.is_empty()));
        let principal = match (elevation, session) {
            (false, _) => None,
            (true, false) => Some(ids.real),
            // By now the real uid may be anybody's: sudoedit's is 0.
            (true, true) => kept.fixed,
        };
        let root = match (elevation, session) {
            (false, _) => host.item(Item::User) == Ok(Some(b"root".to_vec())),
            (true, false) => ids.real == 0,
            (true, true) => kept.root,
        };
        Self {
            elevation,
            root: root && local,
            principal,
        }
    }
}
