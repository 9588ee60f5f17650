//! Enrolment and reset: who may, and that a factor in force is never lost to one that is not.

use super::code::{Code, parse_code};
use super::lockout::Count;
use super::record::{Factor, Record};
use super::recovery::{self, Kept};
use super::{
    Authority, Begun, Checked, Confirmed, Factors, MfaError, Person, Reset, Scope, lock, totp,
};
use jiff::Timestamp;
use jit_protocol::message::Enrolment;
use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;
use totp_rs::Secret;
use zeroize::Zeroizing;

/// How long an enrolment waits for its first code.
const PENDING_LIFE: Duration = Duration::from_secs(600);

/// A factor that waits for its first code.
#[derive(Clone)]
struct Pending {
    secret: Secret,
    recovery: Vec<Kept>,
    by_root: bool,
    at: Duration,
}

impl std::fmt::Debug for Pending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pending([redacted])")
    }
}

/// The factors that wait for their first code, one for each uid, in memory only: what nobody
/// confirmed is worth nothing after a restart.
#[derive(Debug, Default)]
pub(super) struct Waiting(Mutex<HashMap<u32, Pending>>);

impl Waiting {
    pub(super) fn has(&self, uid: u32, boot: Duration) -> bool {
        self.get(uid, boot).is_some()
    }

    fn get(&self, uid: u32, boot: Duration) -> Option<Pending> {
        let mut waiting = lock(&self.0);
        waiting.retain(|_, pending| boot.saturating_sub(pending.at) <= PENDING_LIFE);
        waiting.get(&uid).cloned()
    }

    fn put(&self, uid: u32, pending: Pending) {
        lock(&self.0).insert(uid, pending);
    }

    fn forget(&self, uid: u32) {
        lock(&self.0).remove(&uid);
    }
}

impl Factors {
    /// Begins an enrolment. Nothing is replaced until [`Self::confirm`] saw a code of the new
    /// factor; beginning again forgets what waited.
    ///
    /// # Errors
    ///
    /// State cannot be read or written, or the uid was enrolled under another name.
    pub fn begin(
        &self,
        person: &Person,
        authority: Authority<'_>,
        wall: Timestamp,
        boot: Duration,
    ) -> Result<Begun, MfaError> {
        let turn = self.turn(person.uid);
        let _held = lock(&turn);
        match authority {
            Authority::Root => drop(self.record_to_replace(person)?),
            Authority::First => {
                if self.records.load(person.uid)?.is_some() {
                    return Ok(Begun::NotFirst);
                }
            }
            Authority::Own { code } => {
                match self.check_held(person, code, Scope::Elevation, wall, boot)? {
                    Checked::Passed { .. } => {}
                    no => return Ok(Begun::Refused(no)),
                }
            }
        }
        let (secret, recovery, enrolment) = self.make(person)?;
        let pending = Pending {
            secret,
            recovery,
            by_root: matches!(authority, Authority::Root),
            at: boot,
        };
        self.pending.put(person.uid, pending);
        Ok(Begun::Pending(enrolment))
    }

    /// Puts the factor that waits in force, if the code is one of its. The code is spent by it.
    ///
    /// # Errors
    ///
    /// State cannot be read or written: the old factor, if any, stays.
    pub fn confirm(
        &self,
        person: &Person,
        code: &str,
        wall: Timestamp,
        boot: Duration,
    ) -> Result<Confirmed, MfaError> {
        let turn = self.turn(person.uid);
        let _held = lock(&turn);
        let Some(pending) = self.pending.get(person.uid, boot) else {
            return Ok(Confirmed::NothingPending);
        };
        let Some(Code::Totp(ref digits)) = parse_code(code) else {
            return Ok(Confirmed::NotACode);
        };
        // Of its own steps none is spent: a code of the old factor and one of the new in the same
        // half minute are two codes, and neither opens anything twice.
        let totp::Match::Fresh(step) = totp::find(&pending.secret, digits, wall, None)? else {
            return Ok(Confirmed::Wrong);
        };
        let mut record = match self.records.load(person.uid)? {
            Some(record) if record.name != person.name => {
                return Ok(Confirmed::Refused(Checked::Mismatch));
            }
            Some(record) if record.elevation.disabled() && !pending.by_root => {
                return Ok(Confirmed::Refused(Checked::Disabled));
            }
            Some(record) => record,
            None => Record::new(person),
        };
        record.last_step = record.last_step.max(Some(step));
        let factor = Factor::new(&pending.secret, wall, pending.recovery);
        self.put_in_force(record, factor)?;
        Ok(Confirmed::Enrolled)
    }

    /// Enrols at once, without a first code, over whatever there was. For root's scripts.
    ///
    /// # Errors
    ///
    /// State cannot be read or written, or the uid was enrolled under another name.
    pub fn enrol_now(&self, person: &Person, wall: Timestamp) -> Result<Enrolment, MfaError> {
        let turn = self.turn(person.uid);
        let _held = lock(&turn);
        let record = self.record_to_replace(person)?;
        let (secret, recovery, enrolment) = self.make(person)?;
        self.put_in_force(record, Factor::new(&secret, wall, recovery))?;
        Ok(enrolment)
    }

    /// Forgets one's own factor, which is shown once more to do so. That there was one stays on
    /// record. Call [`Proofs::forget`](super::Proofs::forget) after it.
    ///
    /// # Errors
    ///
    /// State cannot be read or written.
    pub fn reset_own(
        &self,
        person: &Person,
        code: &str,
        wall: Timestamp,
        boot: Duration,
    ) -> Result<Reset, MfaError> {
        let turn = self.turn(person.uid);
        let _held = lock(&turn);
        match self.check_held(person, code, Scope::Elevation, wall, boot)? {
            Checked::Passed { .. } => self.forget(person),
            no => Ok(Reset::Refused(no)),
        }
    }

    /// Forgets anybody's factor, whatever state it is in; for root alone. That there was one stays
    /// on record, unless it was another name's: then nothing does. Call
    /// [`Proofs::forget`](super::Proofs::forget) after it.
    ///
    /// # Errors
    ///
    /// State cannot be written.
    pub fn reset_as_root(&self, person: &Person) -> Result<Reset, MfaError> {
        let turn = self.turn(person.uid);
        let _held = lock(&turn);
        self.forget(person)
    }

    fn forget(&self, person: &Person) -> Result<Reset, MfaError> {
        self.pending.forget(person.uid);
        let old = match self.records.load(person.uid) {
            Ok(None) => return Ok(Reset::Nothing),
            Ok(Some(old)) if old.name != person.name => {
                self.records.remove(person.uid)?;
                return Ok(Reset::Done);
            }
            Ok(Some(old)) if old.factor.is_none() => return Ok(Reset::Nothing),
            Ok(Some(old)) => Some(old),
            Err(MfaError::State(error)) => return Err(error.into()),
            // Nobody can use it, and to replace it is what the error told root to do.
            Err(_) => None,
        };
        let mut record = Record::new(person);
        record.last_step = old.and_then(|old| old.last_step);
        self.records.save(&record)?;
        Ok(Reset::Done)
    }

    fn put_in_force(&self, mut record: Record, factor: Factor) -> Result<(), MfaError> {
        record.factor = Some(factor);
        record.elevation = Count::default();
        self.records.save(&record)?;
        self.pending.forget(record.uid);
        Ok(())
    }

    /// The record that a new factor goes into; never another name's.
    fn record_to_replace(&self, person: &Person) -> Result<Record, MfaError> {
        match self.records.load(person.uid)? {
            Some(record) if record.name != person.name => Err(MfaError::Mismatch {
                uid: person.uid,
                was: record.name,
                is: person.name.clone(),
            }),
            Some(record) => Ok(record),
            None => Ok(Record::new(person)),
        }
    }

    fn make(&self, person: &Person) -> Result<(Secret, Vec<Kept>, Enrolment), MfaError> {
        let secret = totp::generate()?;
        let (recovery_codes, kept) = recovery::generate(self.records.key(), person.uid)?;
        let account = format!("{}@{}", person.name, self.host);
        let enrolment = Enrolment {
            otpauth: totp::otpauth(&secret, &self.issuer, &account)?,
            secret: Zeroizing::new(secret.to_base32()),
            recovery_codes,
        };
        Ok((secret, kept, enrolment))
    }
}
