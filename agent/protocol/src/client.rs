//! A blocking client of the agent, fit for being loaded into other people's setuid programs.
//!
//! It has no threads, starts no runtime, changes no signal handler, and leaves nothing behind:
//! its one descriptor is 3 or more, closed on exec, and closed when the [`Client`] is dropped.
//! Everything it waits for is bounded by one [`Deadline`].

use std::fmt;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Serialize, de::DeserializeOwned};

use crate::frame::{self, FrameError, Inbox};
use crate::message::Reply;
use crate::sys;

/// How long a whole exchange may still take, on the monotonic clock: setting the time of day
/// neither shortens nor lengthens it. It can stand still while a person types.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    ends: Instant,
}

impl Deadline {
    /// A deadline that is over after `budget`.
    #[must_use]
    pub fn after(budget: Duration) -> Self {
        let now = Instant::now();
        // An absurd budget must not panic; a day is longer than any exchange.
        let ends = now
            .checked_add(budget)
            .or_else(|| now.checked_add(Duration::from_secs(86_400)))
            .unwrap_or(now);
        Self { ends }
    }

    /// What is left of it; zero when it is over.
    #[must_use]
    pub fn left(&self) -> Duration {
        self.ends.saturating_duration_since(Instant::now())
    }

    /// Moves the end by a time that does not count.
    fn forgive(&mut self, spent: Duration) {
        self.ends = self.ends.checked_add(spent).unwrap_or(self.ends);
    }
}

/// Why the agent could not be asked, or did not answer.
#[derive(Debug)]
pub enum ClientError {
    /// The path cannot be that of a socket: not absolute, too long, or with a NUL.
    Path(PathBuf),
    /// Someone other than root could put another socket in the agent's place.
    Folder {
        /// The folder at fault.
        folder: PathBuf,
        /// What is wrong with it.
        fault: &'static str,
    },
    /// Nobody listens there, or we may not connect.
    Connect {
        /// The socket's path.
        path: PathBuf,
        /// What connect(2) said.
        error: io::Error,
    },
    /// Whoever listens there is not root.
    Peer {
        /// The socket's path.
        path: PathBuf,
        /// The uid of the listener.
        uid: u32,
    },
    /// The deadline passed.
    Late(&'static str),
    /// The agent hung up before its last message.
    Closed,
    /// The agent talks nonsense.
    Frame(FrameError),
    /// A system call failed.
    Io {
        /// What was being done.
        doing: &'static str,
        /// What the kernel said.
        error: io::Error,
    },
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => write!(
                f,
                "{path:?} cannot be a socket's path: it must be absolute and shorter than 108 bytes"
            ),
            Self::Folder { folder, fault } => write!(
                f,
                "the agent's socket cannot be trusted: {folder:?} {fault}; it must be root's, and nobody else's to write"
            ),
            Self::Connect { path, error } => {
                write!(
                    f,
                    "cannot reach the agent at {path:?}: {error}; is jit-agentd running?"
                )
            }
            Self::Peer { path, uid } => write!(
                f,
                "the socket {path:?} belongs to a process of uid {uid}, not to root's agent"
            ),
            Self::Late(doing) => write!(f, "the agent took too long: time ran out while {doing}"),
            Self::Closed => f.write_str("the agent hung up without an answer"),
            Self::Frame(error) => write!(f, "the agent sent nonsense: {error}"),
            Self::Io { doing, error } => write!(f, "{doing}: {error}"),
        }
    }
}

impl std::error::Error for ClientError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Connect { error, .. } | Self::Io { error, .. } => Some(error),
            Self::Frame(error) => Some(error),
            _ => None,
        }
    }
}

impl From<FrameError> for ClientError {
    fn from(error: FrameError) -> Self {
        Self::Frame(error)
    }
}

/// One conversation with the agent.
///
/// A value of this type is proof that a process that was root when it began to listen is at the
/// other end, of a socket that only root could have put there.
#[derive(Debug)]
pub struct Client {
    socket: OwnedFd,
    deadline: Deadline,
    inbox: Inbox,
}

impl Client {
    /// Connects to the agent, within the deadline.
    ///
    /// # Errors
    ///
    /// [`ClientError::Path`], [`ClientError::Folder`], [`ClientError::Connect`],
    /// [`ClientError::Peer`], [`ClientError::Late`] when the agent's queue stays full, and
    /// [`ClientError::Io`].
    pub fn connect(path: impl AsRef<Path>, deadline: Deadline) -> Result<Self, ClientError> {
        let path = path.as_ref();
        if !path.is_absolute() {
            return Err(ClientError::Path(path.to_owned()));
        }
        trust_folder(path)?;
        let socket = sys::socket().map_err(|error| ClientError::Io {
            doing: "making a socket",
            error,
        })?;
        connect_within(&socket, path, &deadline)?;
        let uid = sys::peer_uid(&socket).map_err(|error| ClientError::Io {
            doing: "asking who listens",
            error,
        })?;
        if uid != 0 {
            return Err(ClientError::Peer {
                path: path.to_owned(),
                uid,
            });
        }
        Ok(Self {
            socket,
            deadline,
            inbox: Inbox::default(),
        })
    }

    /// Sends one message, whole.
    ///
    /// # Errors
    ///
    /// [`ClientError::Frame`] if it is too long, [`ClientError::Late`], [`ClientError::Closed`] if
    /// the agent no longer listens, [`ClientError::Io`].
    pub fn send(&mut self, message: &impl Serialize) -> Result<(), ClientError> {
        let frame = frame::encode(message)?;
        let mut rest: &[u8] = &frame;
        while !rest.is_empty() {
            match sys::send(&self.socket, rest) {
                Ok(sent) => rest = rest.get(sent..).unwrap_or_default(),
                Err(error) => self.after(error, sys::For::Writing, "sending to the agent")?,
            }
        }
        Ok(())
    }

    /// Waits for the next message.
    ///
    /// # Errors
    ///
    /// As [`Client::recv_as`].
    pub fn recv(&mut self) -> Result<Reply, ClientError> {
        self.recv_as()
    }

    /// Waits for the next message, of whatever type the conversation calls for.
    ///
    /// # Errors
    ///
    /// [`ClientError::Late`], [`ClientError::Closed`], [`ClientError::Frame`] for a frame of a
    /// forbidden length or another message, [`ClientError::Io`].
    pub fn recv_as<T: DeserializeOwned>(&mut self) -> Result<T, ClientError> {
        const DOING: &str = "waiting for its answer";
        loop {
            if let Some(message) = self.inbox.take()? {
                // Looked at last of all: whoever may stop this process could else leave a yes
                // lying until it suits them.
                return self.in_time(DOING).map(|_| message);
            }
            // Looked at each time: a peer that drips bytes is always ready to be read.
            self.wait(sys::For::Reading, DOING)?;
            match sys::recv(&self.socket, self.inbox.room()) {
                Ok(0) => return Err(ClientError::Closed),
                Ok(got) => self.inbox.arrived(got),
                Err(error) => self.after(error, sys::For::Reading, DOING)?,
            }
        }
    }

    /// Runs `ask` while the deadline stands still, and says how long it took: the time a person
    /// takes to type is not the agent's.
    pub fn off_the_clock<T>(&mut self, ask: impl FnOnce() -> T) -> (T, Duration) {
        let from = Instant::now();
        let said = ask();
        let spent = from.elapsed();
        self.deadline.forgive(spent);
        (said, spent)
    }

    /// What is left of the deadline, unless it is over.
    fn in_time(&self, doing: &'static str) -> Result<Duration, ClientError> {
        let left = self.deadline.left();
        if left.is_zero() {
            return Err(ClientError::Late(doing));
        }
        Ok(left)
    }

    /// Decides what a failed call means: wait and go on, or give up.
    fn after(
        &self,
        error: io::Error,
        what: sys::For,
        doing: &'static str,
    ) -> Result<(), ClientError> {
        match error.kind() {
            io::ErrorKind::Interrupted => Ok(()),
            io::ErrorKind::WouldBlock => self.wait(what, doing),
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => Err(ClientError::Closed),
            _ => Err(ClientError::Io { doing, error }),
        }
    }

    fn wait(&self, what: sys::For, doing: &'static str) -> Result<(), ClientError> {
        loop {
            let left = self.in_time(doing)?;
            match sys::wait(&self.socket, what, left) {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(ClientError::Io { doing, error }),
            }
        }
    }
}

fn connect_within(socket: &OwnedFd, path: &Path, deadline: &Deadline) -> Result<(), ClientError> {
    const DOING: &str = "waiting for a place in its queue";
    loop {
        let left = deadline.left();
        if left.is_zero() {
            return Err(ClientError::Late(DOING));
        }
        return match sys::connect(socket, path, left) {
            Ok(()) => Ok(()),
            Err(error) => match error.kind() {
                io::ErrorKind::Interrupted => continue,
                io::ErrorKind::WouldBlock => Err(ClientError::Late(DOING)),
                io::ErrorKind::InvalidInput => Err(ClientError::Path(path.to_owned())),
                _ => Err(ClientError::Connect {
                    path: path.to_owned(),
                    error,
                }),
            },
        };
    }
}

/// Refuses a path on which anybody but root could have put the socket.
///
/// The peer's uid alone does not prove that it is the agent: a user may get some other program of
/// root's to listen in a folder of the user's own. Above the socket's own folder a sticky one that
/// all may write (`/tmp`) will do, since there only the owner may rename what is root's.
fn trust_folder(socket: &Path) -> Result<(), ClientError> {
    let unreadable = |error| ClientError::Connect {
        path: socket.to_owned(),
        error,
    };
    for (above, folder) in socket.ancestors().skip(1).enumerate() {
        let fault = |fault| ClientError::Folder {
            folder: folder.to_owned(),
            fault,
        };
        let link = fs::symlink_metadata(folder).map_err(unreadable)?;
        if link.uid() != 0 {
            return Err(fault("is not root's"));
        }
        let found = if link.is_symlink() {
            fs::metadata(folder).map_err(unreadable)?
        } else {
            link
        };
        if found.uid() != 0 {
            return Err(fault("is not root's"));
        }
        let open = found.mode() & 0o022 != 0;
        let sticky = found.mode() & 0o1000 != 0;
        if open && !(sticky && above > 0) {
            return Err(fault("can be written by others"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
