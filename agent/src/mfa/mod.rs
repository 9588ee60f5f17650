//! Factors: what proves that a person is there. TOTP and recovery codes, enrolment, lock-out, and
//! the memory of what was proved.
//!
//! Everything here that touches a factor blocks on the disk: call it where blocking is allowed. Two
//! calls about one person take turns, so of two that bring the same code exactly one passes.

mod check;
pub mod code;
mod enrol;
pub mod lockout;
pub mod proof;
pub mod record;
mod recovery;
mod totp;

pub use code::{Code, parse_code};
pub use proof::{Cover, LoginSession, Proofs, Want};
pub use record::SealKey;

use crate::state::{BootId, State, StateError};
use jit_protocol::message::Enrolment;
use record::Records;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Why nothing can be said about a factor. The caller denies.
#[derive(Debug, thiserror::Error)]
pub enum MfaError {
    /// State cannot be read or written. No code was accepted, and none was counted as wrong.
    #[error(transparent)]
    State(#[from] StateError),
    /// A person's file makes no sense. They count as enrolled with a factor that nobody can pass.
    #[error("{}: {why}; restore it from a backup, or reset the factor as root: jit mfa reset USER", file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A person's file is sealed, and this host has no key now.
    #[error(
        "{}: is sealed, and the credential pam_jit.key is missing; give it to the service again \
         (LoadCredentialEncrypted= in systemd.exec(5)), or reset the factor as root: jit mfa reset USER",
        file.display()
    )]
    Sealed {
        /// The file.
        file: PathBuf,
    },
    /// The uid was enrolled under another name: the account may be somebody else's now.
    #[error(
        "uid {uid} was enrolled as {was} and is {is} now; if that is right, reset it as root first: jit mfa reset {is}"
    )]
    Mismatch {
        /// The uid.
        uid: u32,
        /// The name in the file.
        was: String,
        /// The name now.
        is: String,
    },
    /// The key of the recovery codes is gone, and a new one was made.
    #[error(
        "{}: was missing and was made anew: recovery codes handed out before no longer work; \
         restore it from a backup, or have people enrol again", path.display()
    )]
    NewKey {
        /// The key file.
        path: PathBuf,
    },
    /// The sealing key cannot be used.
    #[error("{}: {why}", path.display())]
    SealKey {
        /// The credential's file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The system gave no randomness.
    #[error("no randomness for a new factor")]
    Random,
    /// The wall clock is before 1970.
    #[error("the wall clock is before 1970: one-time codes cannot be checked until it is set")]
    Clock,
    /// The parts of an `otpauth://` URI do not make one.
    #[error(
        "no one-time codes with these settings ([mfa] issuer, [agent] host, the user's name): {0}"
    )]
    Totp(String),
}

/// Whose factor. Both must agree with what was enrolled: a uid is handed out again after its
/// account is removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// Numeric id; state is keyed by it.
    pub uid: u32,
    /// Login name.
    pub name: String,
}

/// Where a code is given. Wrong ones are counted apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope<'a> {
    /// By a process of that person: elevation, `jit verify`, managing one's own factor.
    Elevation,
    /// By whoever wants to log in as them.
    Entry {
        /// `PAM_RHOST`.
        rhost: Option<&'a str>,
    },
}

/// Which factor was passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// A one-time code.
    Totp,
    /// A recovery code.
    Recovery {
        /// How many are left.
        left: u32,
    },
}

impl Method {
    /// The word that stands in audit records.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Totp => "totp",
            Self::Recovery { .. } => "recovery",
        }
    }
}

/// What came of a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checked {
    /// It was right. That it is spent is on disk.
    Passed {
        /// Which factor.
        method: Method,
    },
    /// It has not the shape of a code. Not counted.
    NotACode,
    /// It was wrong, and counted.
    Wrong {
        /// Wrong codes in a row, here.
        in_a_row: u32,
        /// Seconds until a code is looked at again, if that is not at once.
        locked: Option<u64>,
        /// It was one too many: the factor is disabled.
        disabled: bool,
    },
    /// It was right and was used before. Not counted: whoever knows a spent code learns nothing by
    /// it, and people do type one code at ssh and again at sudo.
    Replayed {
        /// Seconds until the next one-time code; `None` for a recovery code.
        next_in: Option<u64>,
    },
    /// Nobody looked: too many were wrong. Not counted.
    Locked {
        /// Seconds until a code is looked at again.
        secs: u64,
    },
    /// Nobody looked: far too many were wrong, and only root can reset the factor.
    Disabled,
    /// They have no factor.
    NotEnrolled,
    /// The uid was enrolled under another name.
    Mismatch,
}

/// By what right a factor is enrolled. To name one is the caller's statement that it
/// holds; `Own` is proved here.
#[derive(Debug, Clone, Copy)]
pub enum Authority<'a> {
    /// Root asks.
    Root,
    /// The person asks for their first factor, and the configuration lets them. Only for somebody
    /// who never had one: after a reset it is root who enrols, or whoever holds their shell would
    /// be first.
    First,
    /// The person asks, and shows the factor they have.
    Own {
        /// A code from it.
        code: &'a str,
    },
}

/// What came of [`Factors::begin`].
#[derive(Debug)]
pub enum Begun {
    /// A factor waits for its first code. Until then the old one, if any, stays.
    Pending(Enrolment),
    /// The code shown did not pass.
    Refused(Checked),
    /// [`Authority::First`], but they were enrolled before.
    NotFirst,
}

/// What came of [`Factors::confirm`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confirmed {
    /// The new factor is in force.
    Enrolled,
    /// It has not the shape of a one-time code.
    NotACode,
    /// It is not a code of the new factor for now. It may be tried again.
    Wrong,
    /// No enrolment waits, or it waited for too long.
    NothingPending,
    /// The factor was disabled or changed hands meanwhile.
    Refused(Checked),
}

/// What came of a reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reset {
    /// The factor is gone.
    Done,
    /// There was none.
    Nothing,
    /// The code shown did not pass.
    Refused(Checked),
}

/// What factors need to know besides their state.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Who issues the codes, as apps show it. No colon.
    pub issuer: String,
    /// The host, as apps show it: each host has factors of its own. No colon.
    pub host: String,
    /// The key to seal factors with, if there is one.
    pub seal: Option<SealKey>,
    /// This boot.
    pub boot: BootId,
}

/// Everybody's factors on this host.
#[derive(Debug)]
pub struct Factors {
    records: Records,
    issuer: String,
    host: String,
    boot: BootId,
    turns: Mutex<HashMap<u32, Arc<Mutex<()>>>>,
    pending: enrol::Waiting,
}

impl Factors {
    /// Opens the factors kept in `state`, and seals those that were written before there was a key.
    /// The second value is to be shouted about: files that cannot be used, each of which disables
    /// its person's factor and nothing else, and a lost key.
    ///
    /// # Errors
    ///
    /// The folder cannot be listed.
    pub fn open(state: Arc<State>, setup: Setup) -> Result<(Self, Vec<MfaError>), MfaError> {
        let records = Records::new(state, setup.seal);
        let faults = records.survey()?;
        let factors = Self {
            records,
            issuer: setup.issuer,
            host: setup.host,
            boot: setup.boot,
            turns: Mutex::default(),
            pending: enrol::Waiting::default(),
        };
        Ok((factors, faults))
    }

    /// What to lock so that nobody else changes this person's record meanwhile.
    fn turn(&self, uid: u32) -> Arc<Mutex<()>> {
        let mut turns = lock(&self.turns);
        // Handed out under this lock only, so one that nobody holds can go.
        turns.retain(|_, turn| Arc::strong_count(turn) > 1);
        Arc::clone(turns.entry(uid).or_default())
    }
}

/// What these locks guard is whole at every moment, so a thread that panicked left nothing broken.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "crash_tests.rs"]
mod crash;
#[cfg(test)]
#[path = "tests.rs"]
mod tests;
