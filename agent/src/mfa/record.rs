//! What is on disk of one person: `factors/UID.json`, sealed where the host has a key for it.

use super::lockout::{Count, Entries};
use super::recovery::{self, Kept};
use super::{MfaError, Person, totp};
use crate::state::State;
use aws_lc_rs::digest;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::Path;
use std::sync::Arc;
use totp_rs::Secret;
use zeroize::Zeroizing;

pub(super) const FOLDER: &str = "factors";
/// How a sealed file begins; a plain one begins with a brace.
const SEALED: &[u8] = b"pam_jit sealed factor 1\n";
const NONCE: usize = 24;
/// Every record is filled up to this, and is smaller by itself. So a wrong code takes exactly the
/// room on disk that a right one takes: somebody who can fill the disk to the last block cannot
/// have right codes recorded and wrong ones not. And since room for all of it is made at once, no
/// half-grown copy with the secret in it is left in freed memory.
const SIZE: usize = 16 * 1024;

/// One person's factor and all that is remembered about guesses at it. That there is a record at
/// all means that they were enrolled once.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    v: u8,
    pub(super) uid: u32,
    pub(super) name: String,
    pub(super) factor: Option<Factor>,
    /// The last step of any secret of theirs that was accepted. It only rises.
    pub(super) last_step: Option<u64>,
    pub(super) elevation: Count,
    pub(super) entries: Entries,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Factor {
    /// Base32.
    secret: Zeroizing<String>,
    pub(super) since: Timestamp,
    pub(super) recovery: Vec<Kept>,
}

impl std::fmt::Debug for Factor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Factor")
            .field("since", &self.since)
            .finish_non_exhaustive()
    }
}

impl Factor {
    pub(super) fn new(secret: &Secret, since: Timestamp, recovery: Vec<Kept>) -> Self {
        Self {
            secret: Zeroizing::new(secret.to_base32()),
            since,
            recovery,
        }
    }

    pub(super) fn secret(&self) -> Result<Secret, MfaError> {
        Secret::try_from_base32(self.secret.as_str())
            .ok()
            .filter(|secret| secret.len() == totp::SECRET)
            .ok_or_else(|| MfaError::Totp("the secret is not 160 bits of base32".to_owned()))
    }
}

impl Record {
    pub(super) fn new(person: &Person) -> Self {
        Self {
            v: 1,
            uid: person.uid,
            name: person.name.clone(),
            factor: None,
            last_step: None,
            elevation: Count::default(),
            entries: Entries::default(),
        }
    }

    fn fault(&self, uid: u32) -> Option<&'static str> {
        let factor = self.factor.as_ref();
        if self.v != 1 {
            Some("its version is not 1: an agent newer than this one wrote it")
        } else if self.uid != uid {
            Some("the uid in it is not the one in its name")
        } else if factor.is_some_and(|factor| factor.secret().is_err()) {
            Some("its secret is not 160 bits of base32")
        } else if factor.is_some_and(|factor| factor.recovery.len() > recovery::CODES) {
            Some("it has more recovery codes than are ever handed out")
        } else {
            None
        }
    }
}

/// A key from outside the machine's disk, with which factors are sealed.
#[derive(Clone)]
pub struct SealKey(Zeroizing<[u8; 32]>);

impl std::fmt::Debug for SealKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SealKey([redacted])")
    }
}

impl SealKey {
    /// The credential's name, in systemd.exec(5)'s sense.
    pub const CREDENTIAL: &str = "pam_jit.key";
    const SHORTEST: usize = 32;

    /// Reads the credential `pam_jit.key` out of `$CREDENTIALS_DIRECTORY`, whose value the caller
    /// gives. `None` if there is no such credential.
    ///
    /// # Errors
    ///
    /// It is there and cannot be read, or is too short to be a key.
    pub fn load(credentials: &Path) -> Result<Option<Self>, MfaError> {
        let path = credentials.join(Self::CREDENTIAL);
        let fault = |why: String| MfaError::SealKey {
            path: path.clone(),
            why,
        };
        match std::fs::read(&path).map(Zeroizing::new) {
            Ok(bytes) if bytes.len() < Self::SHORTEST => Err(fault(format!(
                "{} bytes are too few for a key; it takes {} random ones at least",
                bytes.len(),
                Self::SHORTEST
            ))),
            Ok(bytes) => Ok(Some(Self::from_secret(&bytes))),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(fault(e.to_string())),
        }
    }

    /// Makes the key out of a secret of any form; at least 256 bits must be in it.
    #[must_use]
    pub fn from_secret(secret: &[u8]) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(b"pam_jit factor seal v1\0");
        context.update(secret);
        let mut key = Zeroizing::new([0; 32]);
        key.copy_from_slice(context.finish().as_ref());
        Self(key)
    }

    /// The uid is authenticated along, so that one person's sealed file is not another's.
    fn seal(&self, uid: u32, plain: &[u8]) -> Result<Vec<u8>, MfaError> {
        let mut nonce = [0; NONCE];
        aws_lc_rs::rand::fill(&mut nonce).map_err(|_| MfaError::Random)?;
        let payload = Payload {
            msg: plain,
            aad: &uid.to_be_bytes(),
        };
        let sealed = XChaCha20Poly1305::new(&(*self.0).into())
            .encrypt(&XNonce::from(nonce), payload)
            .map_err(|_| MfaError::Random)?;
        Ok([SEALED, &nonce, &sealed].concat())
    }

    fn open(&self, uid: u32, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, msg) = sealed.split_first_chunk::<NONCE>()?;
        let payload = Payload {
            msg,
            aad: &uid.to_be_bytes(),
        };
        XChaCha20Poly1305::new(&(*self.0).into())
            .decrypt(&XNonce::from(*nonce), payload)
            .ok()
            .map(Zeroizing::new)
    }
}

/// The records, read anew each time: they are small, and root may mend one by hand.
#[derive(Debug)]
pub(super) struct Records {
    state: Arc<State>,
    seal: Option<SealKey>,
}

impl Records {
    pub(super) fn new(state: Arc<State>, seal: Option<SealKey>) -> Self {
        Self { state, seal }
    }

    pub(super) fn key(&self) -> &[u8; 32] {
        self.state.key()
    }

    pub(super) fn load(&self, uid: u32) -> Result<Option<Record>, MfaError> {
        let name = file_name(uid);
        let Some(bytes) = self.state.read(&name)?.map(Zeroizing::new) else {
            return Ok(None);
        };
        let damaged = |why: String| MfaError::Damaged {
            file: self.state.dir().join(&name),
            why,
        };
        let plain = match (bytes.strip_prefix(SEALED), &self.seal) {
            (None, _) => bytes,
            (Some(_), None) => {
                return Err(MfaError::Sealed {
                    file: self.state.dir().join(&name),
                });
            }
            (Some(sealed), Some(key)) => key
                .open(uid, sealed)
                .ok_or_else(|| damaged("the sealing key does not open it".to_owned()))?,
        };
        let record: Record = serde_json::from_slice(&plain).map_err(|e| damaged(e.to_string()))?;
        match record.fault(uid) {
            Some(why) => Err(damaged(why.to_owned())),
            None => Ok(Some(record)),
        }
    }

    /// When this returns `Ok`, the record is on disk.
    pub(super) fn save(&self, record: &Record) -> Result<(), MfaError> {
        let name = file_name(record.uid);
        let mut plain = Zeroizing::new(Vec::with_capacity(SIZE));
        serde_json::to_writer(&mut *plain, record).map_err(|e| MfaError::Damaged {
            file: self.state.dir().join(&name),
            why: e.to_string(),
        })?;
        // White space after the end is nothing in JSON.
        let filled = plain.len().next_multiple_of(SIZE);
        plain.resize(filled, b'\n');
        match &self.seal {
            Some(key) => self.state.write(&name, &key.seal(record.uid, &plain)?)?,
            None => self.state.write(&name, &plain)?,
        }
        Ok(())
    }

    /// Forgets that there ever was a record.
    pub(super) fn remove(&self, uid: u32) -> Result<(), MfaError> {
        Ok(self.state.remove(&file_name(uid))?)
    }

    /// Seals what was written before there was a key, and says what cannot be used.
    pub(super) fn survey(&self) -> Result<Vec<MfaError>, MfaError> {
        let mut faults = Vec::new();
        let names = self.state.list(FOLDER)?;
        if self.state.key_is_new() && !names.is_empty() {
            faults.push(MfaError::NewKey {
                path: self.state.dir().join(crate::state::KEY),
            });
        }
        for name in names {
            let uid = name.strip_suffix(".json").and_then(|uid| uid.parse().ok());
            let Some(uid) = uid.filter(|uid| file_name(*uid) == format!("{FOLDER}/{name}")) else {
                continue;
            };
            if let Err(fault) = self.renew(uid) {
                faults.push(fault);
            }
        }
        Ok(faults)
    }

    fn renew(&self, uid: u32) -> Result<(), MfaError> {
        let Some(record) = self.load(uid)? else {
            return Ok(());
        };
        if self.seal.is_none() {
            return Ok(());
        }
        match self.state.read(&file_name(uid))?.map(Zeroizing::new) {
            Some(bytes) if !bytes.starts_with(SEALED) => self.save(&record),
            _ => Ok(()),
        }
    }
}

fn file_name(uid: u32) -> String {
    format!("{FOLDER}/{uid}.json")
}

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
