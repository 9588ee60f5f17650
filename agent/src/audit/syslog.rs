//! Lines to the local syslog daemon: never lost silently, never waited for long.

use super::event::{Event, Kind};
use jiff::Zoned;
use std::io::Write;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::Duration;
use syslog::{Facility, LogFormat, Logger, LoggerBackend, Severity};

/// Where syslog daemons listen.
pub const DEV_LOG: &str = "/dev/log";

/// How long a line may wait for a daemon that does not read. The records behind it wait too, and with
/// them whoever they are for, so it must be far below the module's deadline; a daemon that was only
/// slow for a moment must not cost a line.
const PATIENCE: Duration = Duration::from_millis(50);

/// How important a line is to who reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weight {
    /// As it should be.
    Info,
    /// Somebody was refused, or something wants a look.
    Warning,
    /// Something of ours is broken.
    Error,
}

impl Weight {
    pub(crate) fn of(event: &Event) -> Self {
        match (event.kind(), event.outcome()) {
            (Kind::Agent | Kind::Config | Kind::Policy | Kind::Clock, "failed" | "rejected") => {
                Self::Error
            }
            (
                _,
                "deny" | "failed" | "rejected" | "locked" | "disabled" | "stale" | "expired"
                | "disagree" | "unsettled" | "moved" | "recovered" | "repaired",
            ) => Self::Warning,
            _ if event.get("would") == Some("deny") => Self::Warning,
            _ => Self::Info,
        }
    }
}

/// What became of a line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// The daemon has it.
    Yes,
    /// The daemon has it, after so many lines that it does not have.
    Again {
        /// How many.
        dropped: u64,
    },
    /// Nobody took it; it is the first.
    No(String),
    /// Nobody took it, nor the one before.
    StillNo,
}

/// The connection to the daemon, made again when it breaks.
pub(crate) struct Syslog {
    path: PathBuf,
    logger: Option<Logger<LoggerBackend, Header>>,
    /// The daemon did not read in time: until it does again, nobody waits for it.
    stuck: bool,
    dropped: u64,
}

impl Syslog {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self {
            path,
            logger: None,
            stuck: false,
            dropped: 0,
        }
    }

    /// Sends one line. Takes at most [`PATIENCE`], and no time at all once the daemon let a line
    /// wait that long.
    pub(crate) fn send(&mut self, weight: Weight, line: &str) -> Sent {
        match self.try_twice(weight, line) {
            Ok(()) => match std::mem::take(&mut self.dropped) {
                0 => Sent::Yes,
                dropped => Sent::Again { dropped },
            },
            Err(error) => {
                self.dropped += 1;
                match self.dropped {
                    1 => Sent::No(format!("{}: {error}", self.path.display())),
                    _ => Sent::StillNo,
                }
            }
        }
    }

    /// A daemon that was restarted listens on a new socket under the old name, so any error but
    /// "full" is worth one new connection.
    fn try_twice(&mut self, weight: Weight, line: &str) -> std::io::Result<()> {
        if self.logger.is_some() {
            match self.try_once(weight, line) {
                Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => self.logger = None,
                done => return done,
            }
        }
        self.logger = Some(connect(&self.path)?);
        self.stuck = false;
        let done = self.try_once(weight, line);
        if done
            .as_ref()
            .is_err_and(|e| e.kind() != std::io::ErrorKind::WouldBlock)
        {
            self.logger = None;
        }
        done
    }

    fn try_once(&mut self, weight: Weight, line: &str) -> std::io::Result<()> {
        let Some(logger) = self.logger.as_mut() else {
            return Err(std::io::ErrorKind::NotConnected.into());
        };
        let done = match weight {
            Weight::Info => logger.info(line),
            Weight::Warning => logger.warning(line),
            Weight::Error => logger.err(line),
        }
        .map_err(into_io);
        let full = done
            .as_ref()
            .is_err_and(|e| e.kind() == std::io::ErrorKind::WouldBlock);
        if full != self.stuck && (full || done.is_ok()) {
            self.stuck = full;
            if let LoggerBackend::Unix(socket) = &logger.backend {
                socket.set_nonblocking(full)?;
            }
        }
        done
    }
}

fn into_io(error: syslog::Error) -> std::io::Error {
    match error {
        syslog::Error::Io(error) | syslog::Error::Write(error) => error,
        other @ syslog::Error::Initialization(_) => std::io::Error::other(other),
    }
}

fn connect(path: &std::path::Path) -> std::io::Result<Logger<LoggerBackend, Header>> {
    let socket = UnixDatagram::unbound()?;
    socket.set_write_timeout(Some(PATIENCE))?;
    socket.connect(path)?;
    Ok(Logger::new(
        LoggerBackend::Unix(socket),
        Header {
            pid: std::process::id(),
        },
    ))
}

/// What stands before the event, as syslog(3) writes it. The crate's own formatter stamps UTC where
/// every reader of RFC 3164 expects local time, and parses its pattern anew for every line.
struct Header {
    pid: u32,
}

impl LogFormat<&str> for Header {
    fn format<W: Write>(&self, w: &mut W, severity: Severity, message: &str) -> syslog::Result<()> {
        let priority = Facility::LOG_AUTHPRIV as u8 | severity as u8;
        let now = Zoned::now();
        write!(
            w,
            "<{priority}>{} pam_jit[{}]: {message}",
            now.strftime("%b %e %H:%M:%S"),
            self.pid
        )
        .map_err(syslog::Error::Write)
    }
}

impl std::fmt::Debug for Syslog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Syslog")
            .field("path", &self.path)
            .field("connected", &self.logger.is_some())
            .field("stuck", &self.stuck)
            .field("dropped", &self.dropped)
            .finish()
    }
}
