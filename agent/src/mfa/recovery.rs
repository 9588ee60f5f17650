//! Recovery codes: for the day the phone is gone. Ten of 80 bits, shown once, each good once.
//!
//! Only a keyed hash of each is kept. A plain hash would do for 80 random bits; the key makes a
//! stolen copy of one file worth nothing without the other.

use super::MfaError;
use super::code::{BASE32, GROUP};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// How many are handed out.
pub(super) const CODES: usize = 10;

/// What is kept of one code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Kept {
    /// HMAC-SHA-256 in base64.
    mac: String,
    /// Set once it was accepted. A used code stays, so that its owner hears that it was used, and
    /// is not told that it is wrong.
    used: bool,
}

/// What a code is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Match {
    /// It is the one at this place, not used yet.
    Fresh(usize),
    /// It was used before.
    Spent,
    /// It is none of them.
    No,
}

/// New codes: as shown, and as kept.
pub(super) fn generate(
    key: &[u8; 32],
    uid: u32,
) -> Result<(Vec<Zeroizing<String>>, Vec<Kept>), MfaError> {
    let mut shown = Vec::with_capacity(CODES);
    let mut kept = Vec::with_capacity(CODES);
    for _ in 0..CODES {
        let mut bits = Zeroizing::new([0; 10]);
        aws_lc_rs::rand::fill(bits.as_mut()).map_err(|_| MfaError::Random)?;
        shown.push(show(&bits));
        kept.push(Kept {
            mac: STANDARD.encode(mac(key, uid, &bits)),
            used: false,
        });
    }
    Ok((shown, kept))
}

/// Compares a code with those kept. All of them are compared, each in constant time.
pub(super) fn find(kept: &[Kept], key: &[u8; 32], uid: u32, bits: &[u8; 10]) -> Match {
    let wanted = STANDARD.encode(mac(key, uid, bits));
    let mut found = Match::No;
    for (nr, code) in kept.iter().enumerate() {
        if verify_slices_are_equal(code.mac.as_bytes(), wanted.as_bytes()).is_ok() {
            found = if code.used {
                Match::Spent
            } else {
                Match::Fresh(nr)
            };
        }
    }
    found
}

/// Marks one as used.
pub(super) fn spend(kept: &mut [Kept], nr: usize) {
    if let Some(code) = kept.get_mut(nr) {
        code.used = true;
    }
}

/// How many are not used yet.
pub(super) fn left(kept: &[Kept]) -> u32 {
    let left = kept.iter().filter(|code| !code.used).count();
    u32::try_from(left).unwrap_or(u32::MAX)
}

/// As handed out: four groups of base32, joined by dashes.
pub(super) fn show(bits: &[u8; 10]) -> Zeroizing<String> {
    let number = bits
        .iter()
        .fold(0_u128, |number, byte| number << 8 | u128::from(*byte));
    let mut text = Zeroizing::new(String::with_capacity(19));
    for nr in 0..16_usize {
        if nr > 0 && nr.is_multiple_of(GROUP) {
            text.push('-');
        }
        let five = usize::try_from(number >> (75 - 5 * nr) & 31).unwrap_or(0);
        text.push(BASE32.get(five).map_or('A', |b| char::from(*b)));
    }
    text
}

/// The uid is hashed along: a kept code copied into another person's file is worth nothing there.
fn mac(key: &[u8; 32], uid: u32, bits: &[u8; 10]) -> hmac::Tag {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    context.update(b"pam_jit recovery code v1\0");
    context.update(&uid.to_be_bytes());
    context.update(bits);
    context.sign()
}

#[cfg(test)]
#[path = "recovery_tests.rs"]
mod tests;
