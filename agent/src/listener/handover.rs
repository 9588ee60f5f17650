//! Sockets that outlive the agent.
//!
//! A supervisor that keeps descriptors (sd_notify(3), `FDSTORE=1`) holds the sockets while one
//! agent ends and the next begins. Whoever calls meanwhile waits in the queue and is answered by
//! the next one, where else an upgrade would refuse somebody's sudo.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;

use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, connect, getsockopt, listen, socket,
    sockopt,
};
use nix::unistd::getpid;
use sd_notify::NotifyState;

/// What the agent before this one left with the supervisor.
#[derive(Debug)]
pub struct Kept(HashMap<String, OwnedFd>);

impl Kept {
    /// Takes it over from the supervisor, if there is any. Before threads are started.
    #[must_use]
    pub fn take() -> Self {
        Self(crate::ffi::inherited().into_iter().collect())
    }

    /// The socket of that name, if whoever connects to `path` comes in by it: the file there may
    /// have been removed, or be another agent's by now, and then this one would hear nobody.
    pub(super) fn listening(&mut self, name: &str, path: &Path) -> Option<UnixListener> {
        let kept = self.0.remove(name)?;
        // Makes this process the listener that callers see (unix(7), SO_PEERCRED).
        listen(&kept, Backlog::MAXCONN).ok()?;
        let caller = call(path).ok()?;
        let listener = getsockopt(&caller, sockopt::PeerCredentials).ok()?;
        if listener.pid() != getpid().as_raw() {
            return None;
        }
        let kept = UnixListener::from(kept);
        kept.set_nonblocking(false).ok()?;
        Some(kept)
    }
}

/// Leaves a socket with the supervisor, in place of what it had under that name. One that does not
/// keep descriptors takes no notice.
pub(super) fn leave(name: &str, listener: &UnixListener) {
    let name = NotifyState::FdName(name);
    let _ = sd_notify::notify(&[NotifyState::FdStoreRemove, name.clone()]);
    let _ = sd_notify::notify_with_fds(&[NotifyState::FdStore, name], &[listener.as_fd()]);
}

/// Connects, and waits for nothing: not for a place in the queue either.
pub(super) fn call(path: &Path) -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let caller = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    connect(caller.as_raw_fd(), &UnixAddr::new(path)?)?;
    Ok(caller)
}
