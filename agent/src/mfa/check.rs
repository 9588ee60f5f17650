//! Checking a code: who may guess, whether it is right, and that it is spent before anyone hears so.

use super::code::{Code, parse_code};
use super::lockout::{Origin, Stamp};
use super::record::Record;
use super::{Checked, Factors, Method, MfaError, Person, Scope, lock, recovery, totp};
use aws_lc_rs::hmac;
use jiff::Timestamp;
use jit_protocol::message::FactorReport;
use std::time::Duration;

/// What a code turned out to be, before anything of it is on disk.
enum Found {
    Passed(Method),
    Replayed(Option<u64>),
    Wrong,
}

impl Factors {
    /// State of somebody's factor. One whose file cannot be used is `unusable`.
    #[must_use]
    pub fn report(&self, person: &Person, boot: Duration) -> FactorReport {
        let mut report = FactorReport {
            user: person.name.clone(),
            state: "none".to_owned(),
            since: None,
            recovery_codes_left: 0,
            locked_secs: None,
        };
        let Ok(record) = self.records.load(person.uid) else {
            "unusable".clone_into(&mut report.state);
            return report;
        };
        let hindrance = self.hindrance_of(record.as_ref(), person, Scope::Elevation, boot);
        let state = match hindrance {
            Some(Checked::Mismatch) => "mismatch",
            Some(Checked::Disabled) => "disabled",
            Some(Checked::NotEnrolled) if self.pending.has(person.uid, boot) => "pending",
            Some(Checked::NotEnrolled) => "none",
            _ => "enrolled",
        };
        state.clone_into(&mut report.state);
        if let Some(Checked::Locked { secs }) = hindrance {
            report.locked_secs = Some(secs);
        }
        // Another name's factor is not this person's to know about.
        if let (Some(record), true) = (record, state != "mismatch")
            && let Some(factor) = record.factor
        {
            report.since = Some(factor.since.to_string());
            report.recovery_codes_left = recovery::left(&factor.recovery);
        }
        report
    }

    /// What [`Self::check`] would say to any code at all, or `None` if it would look at one. To
    /// tell a person before they type.
    ///
    /// # Errors
    ///
    /// The person's file cannot be read or makes no sense.
    pub fn hindrance(
        &self,
        person: &Person,
        scope: Scope<'_>,
        boot: Duration,
    ) -> Result<Option<Checked>, MfaError> {
        let record = self.records.load(person.uid)?;
        Ok(self.hindrance_of(record.as_ref(), person, scope, boot))
    }

    /// Checks what a person typed. `Passed` is said only after it is on disk that the code is
    /// spent, and `Wrong` only after it is on disk that it was counted.
    ///
    /// # Errors
    ///
    /// State cannot be read or written: deny. What was typed is then neither accepted nor counted,
    /// and which of the two it would have been does not show.
    pub fn check(
        &self,
        person: &Person,
        text: &str,
        scope: Scope<'_>,
        wall: Timestamp,
        boot: Duration,
    ) -> Result<Checked, MfaError> {
        let turn = self.turn(person.uid);
        let _held = lock(&turn);
        self.check_held(person, text, scope, wall, boot)
    }

    /// [`Self::check`] for whoever holds this person's turn.
    pub(super) fn check_held(
        &self,
        person: &Person,
        text: &str,
        scope: Scope<'_>,
        wall: Timestamp,
        boot: Duration,
    ) -> Result<Checked, MfaError> {
        let record = self.records.load(person.uid)?;
        if let Some(no) = self.hindrance_of(record.as_ref(), person, scope, boot) {
            return Ok(no);
        }
        let Some(mut record) = record else {
            return Ok(Checked::NotEnrolled);
        };
        let Some(code) = parse_code(text) else {
            return Ok(Checked::NotACode);
        };
        let checked = match self.find(&mut record, &code, wall)? {
            // Nothing changed, so there is nothing to write.
            Found::Replayed(next_in) => return Ok(Checked::Replayed { next_in }),
            Found::Passed(method) => {
                self.clear(&mut record, scope);
                Checked::Passed { method }
            }
            Found::Wrong => self.count(&mut record, scope, boot),
        };
        // The answer leaves only after this: an agent killed before it has said nothing, one killed
        // after it has spent the code.
        self.records.save(&record)?;
        Ok(checked)
    }

    fn hindrance_of(
        &self,
        record: Option<&Record>,
        person: &Person,
        scope: Scope<'_>,
        boot: Duration,
    ) -> Option<Checked> {
        let Some(record) = record else {
            return Some(Checked::NotEnrolled);
        };
        if record.name != person.name {
            return Some(Checked::Mismatch);
        }
        if record.factor.is_none() {
            return Some(Checked::NotEnrolled);
        }
        if record.elevation.disabled() {
            return Some(Checked::Disabled);
        }
        let now = Stamp::new(self.boot, boot);
        let locked = match scope {
            Scope::Elevation => record.elevation.locked(now),
            Scope::Entry { rhost } => record.entries.locked(&self.origin(rhost), now),
        };
        locked.map(|secs| Checked::Locked { secs })
    }

    /// Finds what the code is, and spends it in `record` if it is right.
    fn find(&self, record: &mut Record, code: &Code, wall: Timestamp) -> Result<Found, MfaError> {
        let Some(factor) = record.factor.as_mut() else {
            return Ok(Found::Wrong);
        };
        match code {
            Code::Totp(digits) => {
                let found = totp::find(&factor.secret()?, digits, wall, record.last_step)?;
                Ok(match found {
                    totp::Match::Fresh(step) => {
                        record.last_step = Some(step);
                        Found::Passed(Method::Totp)
                    }
                    totp::Match::Spent => {
                        let spent = record.last_step.unwrap_or(0);
                        Found::Replayed(Some(totp::next_in(spent, wall)))
                    }
                    totp::Match::No => Found::Wrong,
                })
            }
            Code::Recovery(bits) => {
                let found = recovery::find(&factor.recovery, self.records.key(), record.uid, bits);
                Ok(match found {
                    recovery::Match::Fresh(nr) => {
                        recovery::spend(&mut factor.recovery, nr);
                        let left = recovery::left(&factor.recovery);
                        Found::Passed(Method::Recovery { left })
                    }
                    recovery::Match::Spent => Found::Replayed(None),
                    recovery::Match::No => Found::Wrong,
                })
            }
        }
    }

    fn clear(&self, record: &mut Record, scope: Scope<'_>) {
        match scope {
            Scope::Elevation => record.elevation = super::lockout::Count::default(),
            Scope::Entry { rhost } => record.entries.pass(&self.origin(rhost)),
        }
    }

    fn count(&self, record: &mut Record, scope: Scope<'_>, boot: Duration) -> Checked {
        let now = Stamp::new(self.boot, boot);
        match scope {
            Scope::Elevation => {
                record.elevation.add(now);
                Checked::Wrong {
                    in_a_row: record.elevation.wrong(),
                    locked: record.elevation.locked(now),
                    disabled: record.elevation.disabled(),
                }
            }
            Scope::Entry { rhost } => {
                let from = self.origin(rhost);
                record.entries.add(&from, now);
                Checked::Wrong {
                    in_a_row: record.entries.wrong(&from),
                    locked: record.entries.locked(&from, now),
                    disabled: false,
                }
            }
        }
    }

    fn origin(&self, rhost: Option<&str>) -> Origin {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.records.key());
        Origin::new(rhost, |text| {
            let mut context = hmac::Context::with_key(&key);
            context.update(b"pam_jit remote host v1\0");
            context.update(text);
            let tag = context.sign();
            let half = tag.as_ref().iter().take(16);
            half.map(|byte| format!("{byte:02x}")).collect()
        })
    }
}
