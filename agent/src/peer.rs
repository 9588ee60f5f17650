//! Who is at the other end of a socket: the kernel's word, and the process's own `/proc`.
//!
//! Nothing here comes from the message. The pid is pinned with `SO_PEERPIDFD` where the kernel has
//! it (Linux 6.5), so that facts read under a pid that was given to a new process are thrown away.

use std::borrow::Cow;
use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::os::fd::{AsFd, OwnedFd};

use crate::mfa::proof::LoginSession;
use crate::state::BootId;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{getsockopt, sockopt};

/// The audit session id of a process that belongs to none (`(u32) -1`).
pub const NO_AUDIT_SESSION: u32 = u32::MAX;

/// How much of a file of `/proc` is read. `stat` is one line of some fifty numbers; in `status` the
/// uids come before anything that can be long.
const ROOM: usize = 2048;

/// The process that connected.
#[derive(Debug)]
pub struct Peer {
    /// Its pid when it connected.
    pub pid: i32,
    /// Its effective uid when it connected.
    pub uid: u32,
    pidfd: Option<OwnedFd>,
}

/// What `/proc` says of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its pid.
    pub pid: i32,
    /// Its parent.
    pub parent: i32,
    /// Clock ticks after boot at which it started; with the pid it names one process for good.
    pub start: u64,
    /// Real uid.
    pub ruid: u32,
    /// Effective uid.
    pub euid: u32,
    /// Pid of its session's leader (`setsid(2)`).
    pub leader: i32,
    /// Device number of its controlling terminal; 0 is none.
    pub terminal: i32,
    /// The kernel's audit session, [`NO_AUDIT_SESSION`] if unset.
    pub audit_session: u32,
    /// The kernel's login uid. Logged, never believed: anybody can set it while it is unset.
    pub login_uid: u32,
}

/// The facts of a peer could not be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// The kernel did not say who connected.
    #[error("the kernel did not say who connected: {0}")]
    Credentials(nix::Error),
    /// The process is gone, or is in a pid namespace that this agent cannot see.
    #[error("process {0} is gone or cannot be seen from here")]
    Gone(i32),
    /// `/proc` holds something that could not be read.
    #[error("cannot make sense of /proc/{pid}/{file}")]
    Proc {
        /// Whose.
        pid: i32,
        /// Which file.
        file: &'static str,
    },
}

impl Peer {
    /// Asks the kernel who is connected to this socket.
    ///
    /// # Errors
    ///
    /// [`PeerError::Credentials`] if the kernel does not tell, [`PeerError::Gone`] if the peer has
    /// no pid here (it lives in a pid namespace that is not below ours).
    pub fn of(socket: &impl AsFd) -> Result<Self, PeerError> {
        let said = getsockopt(socket, sockopt::PeerCredentials).map_err(PeerError::Credentials)?;
        if said.pid() <= 0 {
            return Err(PeerError::Gone(said.pid()));
        }
        let pidfd = getsockopt(socket, sockopt::PeerPidfd).ok();
        Ok(Self {
            pid: said.pid(),
            uid: said.uid(),
            pidfd,
        })
    }

    /// Reads the peer's `/proc`, and makes sure afterwards that it was the peer's.
    ///
    /// # Errors
    ///
    /// [`PeerError::Gone`] if the peer has exited, [`PeerError::Proc`] if `/proc` is unreadable.
    pub fn process(&self) -> Result<Process, PeerError> {
        let process = Process::read(self.pid)?;
        if self.has_exited() {
            Err(PeerError::Gone(self.pid))
        } else {
            Ok(process)
        }
    }

    /// Whether the pinned process is gone. Without a pidfd the answer is no: then the open
    /// connection, whose other end the kernel closes at exit, is all that ties pid to process.
    fn has_exited(&self) -> bool {
        let Some(pidfd) = &self.pidfd else {
            return false;
        };
        let mut polled = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
        !matches!(poll(&mut polled, PollTimeout::ZERO), Ok(0))
    }
}

impl Process {
    /// Reads `/proc/PID/{stat,status,sessionid,loginuid}`.
    ///
    /// # Errors
    ///
    /// [`PeerError::Gone`] if there is no such process, [`PeerError::Proc`] for anything else.
    pub fn read(pid: i32) -> Result<Self, PeerError> {
        let stat = Stat::read(pid)?;
        let status = slurp(pid, "status")?;
        let (ruid, euid) = uids(&status).ok_or(PeerError::Proc {
            pid,
            file: "status",
        })?;
        Ok(Self {
            pid,
            parent: stat.parent,
            start: stat.start,
            ruid,
            euid,
            leader: stat.leader,
            terminal: stat.terminal,
            // Absent where the kernel was built without audit.
            audit_session: number(pid, "sessionid"),
            login_uid: number(pid, "loginuid"),
        })
    }

    /// When the leader of this process's session started; `None` if the leader is dead.
    #[must_use]
    pub fn leader_start(&self) -> Option<u64> {
        if self.leader == self.pid {
            return Some(self.start);
        }
        let leader = Stat::read(self.leader).ok()?;
        // A pid that leads no session was given away after the leader died.
        (leader.leader == self.leader).then_some(leader.start)
    }

    /// The login session it runs in, as far as proofs are concerned, for the person `uid`. `None`
    /// without a terminal or a living leader: two such processes could not be told apart.
    #[must_use]
    pub fn login_session(&self, uid: u32, boot: BootId) -> Option<LoginSession> {
        let login = LoginSession {
            uid,
            boot,
            audit_session: self.audit_session,
            tty_nr: self.terminal,
            leader: u32::try_from(self.leader).ok()?,
            leader_start: self.leader_start()?,
        };
        login.can_hold_proof().then_some(login)
    }

    /// This process's ancestors, nearest first, as (pid, start), at most `most` of them.
    pub fn ancestors(&self, most: usize) -> impl Iterator<Item = (i32, u64)> {
        let mut next = self.parent;
        std::iter::from_fn(move || {
            if next <= 1 {
                return None;
            }
            let stat = Stat::read(next).ok()?;
            let here = (next, stat.start);
            next = stat.parent;
            Some(here)
        })
        .take(most)
    }
}

/// The fields of `/proc/PID/stat` that matter here (`proc_pid_stat(5)`).
struct Stat {
    parent: i32,
    leader: i32,
    terminal: i32,
    start: u64,
}

impl Stat {
    fn read(pid: i32) -> Result<Self, PeerError> {
        let text = slurp(pid, "stat")?;
        Self::parse(&text).ok_or(PeerError::Proc { pid, file: "stat" })
    }

    /// Counts from the last `)`: the name before it may hold anything, spaces and brackets too.
    fn parse(text: &str) -> Option<Self> {
        let (_, rest) = text.rsplit_once(')')?;
        let mut fields = rest.split_ascii_whitespace();
        let parent = fields.nth(1)?.parse().ok()?;
        let leader = fields.nth(1)?.parse().ok()?;
        let terminal = fields.next()?.parse().ok()?;
        let start = fields.nth(14)?.parse().ok()?;
        Some(Self {
            parent,
            leader,
            terminal,
            start,
        })
    }
}

fn uids(status: &str) -> Option<(u32, u32)> {
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    let mut ids = line.split_ascii_whitespace();
    Some((ids.next()?.parse().ok()?, ids.next()?.parse().ok()?))
}

fn number(pid: i32, file: &'static str) -> u32 {
    slurp(pid, file)
        .ok()
        .and_then(|text| text.trim_end().parse().ok())
        .unwrap_or(u32::MAX)
}

/// The beginning of a file of `/proc`, which holds all that is asked of it. One read and not more:
/// the kernel writes these files when they are read, and as much as there is room for; reading on
/// until the end is what would cost.
fn slurp(pid: i32, file: &'static str) -> Result<String, PeerError> {
    let mut bytes = [0; ROOM];
    let read = File::open(format!("/proc/{pid}/{file}")).and_then(|mut f| f.read(&mut bytes));
    match read {
        Ok(len) => {
            let bytes = bytes.get(..len).unwrap_or_default();
            // The process chooses its own name, in any bytes; mostly it is text, which is told
            // sooner than it is mended.
            Ok(str::from_utf8(bytes)
                .map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed)
                .into_owned())
        }
        Err(e) if e.kind() == ErrorKind::NotFound || e.raw_os_error() == Some(libc::ESRCH) => {
            Err(PeerError::Gone(pid))
        }
        Err(_) => Err(PeerError::Proc { pid, file }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;
    use std::process::{Command, Stdio};

    #[test]
    fn a_process_name_cannot_shift_the_fields() {
        let stat =
            Stat::parse("77 (a) S 1 2) R 10 11 12 34816 0 0 0 0 0 0 0 0 0 0 20 0 1 0 4242 0\n");
        let stat = stat.unwrap();
        assert_eq!(
            (stat.parent, stat.leader, stat.terminal, stat.start),
            (10, 12, 34816, 4242)
        );
        assert!(Stat::parse("77 (x) R 1").is_none());
        assert!(Stat::parse("").is_none());
    }

    #[test]
    fn reads_a_real_process_and_its_ancestors() {
        let me = Process::read(i32::try_from(std::process::id()).unwrap()).unwrap();
        assert_eq!(me.ruid, nix::unistd::getuid().as_raw());
        assert_eq!(me.leader, nix::unistd::getsid(None).unwrap().as_raw());

        // It names itself, in any bytes.
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join(OsStr::from_bytes(b"\xff) S 1 2 (\n"));
        std::fs::copy("/bin/sleep", &program).unwrap();
        let mut child = Command::new(program)
            .arg("30")
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let seen = Process::read(i32::try_from(child.id()).unwrap()).unwrap();
        assert_eq!(seen.ancestors(8).next(), Some((me.pid, me.start)));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(Process::read(seen.pid), Err(PeerError::Gone(seen.pid)));
    }
}
