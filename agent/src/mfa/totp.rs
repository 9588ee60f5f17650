//! One-time codes from an authenticator app (RFC 6238): SHA-1, 6 digits, 30 s, one step to either
//! side. Every app understands these; some read anything else and then compute with these anyway.

use super::MfaError;
use jiff::Timestamp;
use totp_rs::{Algorithm, Builder, Secret, Totp};
use zeroize::Zeroizing;

/// Length of a step in seconds.
const STEP: u64 = 30;
/// Steps to either side of the clock's that are accepted (RFC 6238, section 5.2).
const SKEW: u64 = 1;
/// Length of a secret in bytes (RFC 4226, section 4, R6 recommends 160 bits).
pub(super) const SECRET: usize = 20;

/// What a code is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Match {
    /// It is the code of this step, which is later than the last one accepted.
    Fresh(u64),
    /// It is right, but its step, or a later one, was accepted before.
    Spent,
    /// It is the code of no step near now.
    No,
}

/// A new secret.
pub(super) fn generate() -> Result<Secret, MfaError> {
    let mut bytes = Zeroizing::new([0; SECRET]);
    aws_lc_rs::rand::fill(bytes.as_mut()).map_err(|_| MfaError::Random)?;
    Ok(Secret::from(bytes.as_slice()))
}

/// Compares a code with those of the steps near `wall`. Every step is computed and compared in
/// constant time, so how long it takes says nothing about which one it was.
///
/// All steps are looked at and not only the first that matches: two steps may by chance have the
/// same code, and then the one that is not spent counts.
pub(super) fn find(
    secret: &Secret,
    digits: &[u8; 6],
    wall: Timestamp,
    spent: Option<u64>,
) -> Result<Match, MfaError> {
    let totp = build(Builder::new().with_secret(secret.clone()))?;
    let typed = std::str::from_utf8(digits).unwrap_or_default();
    let now = step_of(wall)?;
    let mut found = Match::No;
    for step in now.saturating_sub(SKEW)..=now.saturating_add(SKEW) {
        let right = totp.check(typed, step.saturating_mul(STEP)).is_some();
        let fresh = spent.is_none_or(|spent| step > spent);
        found = match (right, fresh, found) {
            (true, true, Match::No | Match::Spent) => Match::Fresh(step),
            (true, false, Match::No) => Match::Spent,
            (_, _, found) => found,
        };
    }
    Ok(found)
}

/// Seconds until a code of a step after `spent` is on the person's screen.
pub(super) fn next_in(spent: u64, wall: Timestamp) -> u64 {
    let next = spent.saturating_add(1).saturating_mul(STEP);
    let now = u64::try_from(wall.as_second()).unwrap_or(0);
    next.saturating_sub(now)
}

/// The `otpauth://` URI that authenticator apps read.
pub(super) fn otpauth(
    secret: &Secret,
    issuer: &str,
    account: &str,
) -> Result<Zeroizing<String>, MfaError> {
    let issuer = (!issuer.is_empty()).then_some(issuer);
    let totp = build(
        Builder::new()
            .with_secret(secret.clone())
            .with_issuer(issuer)
            .with_account_name(account),
    )?;
    let url = totp.to_url().map_err(|e| MfaError::Totp(e.to_string()))?;
    Ok(Zeroizing::new(url))
}

fn build(builder: Builder) -> Result<Totp, MfaError> {
    builder
        .with_algorithm(Algorithm::SHA1)
        .with_digits(6)
        .with_step_duration(STEP)
        // Each step is asked for by itself.
        .with_skew(0)
        .build()
        .map_err(|e| MfaError::Totp(e.to_string()))
}

fn step_of(wall: Timestamp) -> Result<u64, MfaError> {
    let seconds = u64::try_from(wall.as_second()).map_err(|_| MfaError::Clock)?;
    Ok(seconds / STEP)
}

#[cfg(test)]
#[path = "totp_tests.rs"]
mod tests;
