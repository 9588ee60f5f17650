//! Bundles: grants signed by a policy source.
//!
//! A bundle is `{"head": <DSSE envelope>, "grants": "<JSON text>"}`. The envelope's payload is the
//! [`Head`], which carries the SHA-256 of the grants' text. A bundle is trusted for its signature,
//! never for its carrier, and never for where it was kept.

use crate::grant::{GrantError, GrantFault, Parsed, parse_json};
use crate::sign::{KeyError, PublicKey, SigningKey};
use crate::text::{printable, quoted};
use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::borrow::Cow;
use std::fmt;

/// The largest bundle that is looked at, in bytes.
pub const MAX_SIZE: usize = 64 * 1024 * 1024;

/// The only payload type that is understood.
pub const PAYLOAD_TYPE: &str = "application/vnd.pam-jit.head.v1+json";

/// How far ahead of trusted time a bundle may claim to be made: the most that a clock may be wrong.
const AHEAD: SignedDuration = SignedDuration::from_mins(10);

/// The most signatures on one envelope: each is tried with each trusted key.
const MAX_SIGNATURES: usize = 16;

/// The longest head, in base64.
const MAX_PAYLOAD: usize = 16 * 1024;

/// What is signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// Who the policy is for: a name that hosts and source agree on.
    pub realm: String,
    /// One host's name, or `*`.
    pub host: String,
    /// Increases with each bundle of a realm; see [`next_seq`].
    pub seq: u64,
    /// When it was made.
    pub issued_at: Timestamp,
    /// First instant at which it may be accepted no more.
    pub expires_at: Timestamp,
    /// SHA-256 over the UTF-8 bytes of the grants' text, in lower-case hex.
    pub grants_sha256: String,
}

/// What a signer says about a bundle; the rest of the [`Head`] follows from the grants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// See [`Head::realm`].
    pub realm: String,
    /// See [`Head::host`].
    pub host: String,
    /// See [`Head::seq`].
    pub seq: u64,
    /// See [`Head::issued_at`].
    pub issued_at: Timestamp,
    /// See [`Head::expires_at`].
    pub expires_at: Timestamp,
}

/// The sequence number after `last`: the time in milliseconds since 1970, or one more than the last
/// if that is greater (two in one millisecond, a clock set back).
#[must_use]
pub fn next_seq(last: Option<u64>, now: Timestamp) -> u64 {
    let millis = u64::try_from(now.as_millisecond()).unwrap_or(0);
    last.map_or(millis, |last| millis.max(last.saturating_add(1)))
}

/// What was accepted before; nothing below it is accepted again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Floor {
    /// The highest `seq` ever accepted.
    pub seq: u64,
    /// The `grants_sha256` that came with it.
    pub hash: Option<String>,
    /// The latest `issued_at` accepted.
    pub issued_at: Option<Timestamp>,
    /// Whether a bundle for this very host was accepted: then one for `*` no longer is.
    pub host_specific: bool,
}

impl Floor {
    /// The floor after a bundle with this head was accepted.
    #[must_use]
    pub fn raised_by(&self, head: &Head) -> Self {
        Self {
            seq: self.seq.max(head.seq),
            hash: Some(head.grants_sha256.clone()),
            issued_at: self.issued_at.max(Some(head.issued_at)),
            host_specific: self.host_specific || head.host != "*",
        }
    }
}

/// What a bundle is held against.
#[derive(Debug, Clone, Copy)]
pub struct Trust<'a> {
    /// Any one of these must have signed.
    pub keys: &'a [PublicKey],
    /// This host's realm.
    pub realm: &'a str,
    /// This host's name.
    pub host: &'a str,
    /// What was accepted before.
    pub floor: &'a Floor,
    /// Trusted time.
    pub now: Timestamp,
}

/// A bundle that passed every check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// What was signed.
    pub head: Head,
    /// Its grants, and those of them that were dropped alone.
    pub parsed: Parsed,
}

/// Why a bundle was refused: the first check that failed, in this order.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// More than [`MAX_SIZE`] bytes.
    #[error("the bundle has {0} bytes; at most {MAX_SIZE} are accepted")]
    TooLarge(usize),
    /// Not a bundle at all: cut short, or something else.
    #[error("not a bundle: {0}")]
    Malformed(String),
    /// An envelope around something else than a head.
    #[error("the envelope carries {}, not {PAYLOAD_TYPE}", quoted(.0))]
    Type(String),
    /// No trusted key signed the head.
    #[error("no trusted key has signed it: is the source's key among trusted_keys?")]
    Signature,
    /// A trusted key signed something that is no head.
    #[error("its signed head cannot be read: {0}")]
    Head(String),
    /// For another realm.
    #[error("it is for realm {}, not this host's", quoted(.0))]
    Realm(String),
    /// For another host.
    #[error("it is for host {}, not this one", quoted(.0))]
    Host(String),
    /// For every host, after one for this very host was accepted.
    #[error("it is for every host, and this host has accepted one of its own before")]
    NotSpecific,
    /// An older bundle than one accepted before.
    #[error("rollback: its seq {seq} is below {floor}, which was accepted before")]
    Rollback {
        /// The bundle's.
        seq: u64,
        /// The highest accepted.
        floor: u64,
    },
    /// Another bundle under a number that was accepted before.
    #[error("its seq {0} was accepted before with other grants")]
    Reused(u64),
    /// Its number lies in the future, and would block every bundle until then.
    #[error("its seq {0} lies more than 10 min ahead of trusted time")]
    SeqAhead(u64),
    /// Made before one that was accepted.
    #[error("it was issued at {issued_at}, before the last one accepted ({floor})")]
    Older {
        /// The bundle's.
        issued_at: Timestamp,
        /// The last accepted.
        floor: Timestamp,
    },
    /// Made in the future.
    #[error(
        "it was issued at {0}, more than 10 min ahead of trusted time: one of the clocks is wrong"
    )]
    IssuedAhead(Timestamp),
    /// Past its end.
    #[error("it expired at {0}: it must be signed anew")]
    Expired(Timestamp),
    /// The grants are not those that the head was signed for.
    #[error("its grants are not those that were signed")]
    Hash,
    /// The grants are not a list of grants.
    #[error("its grants cannot be read: {0}")]
    Grants(GrantError),
}

impl Rejected {
    /// A stable word for audit records.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::TooLarge(_) => "too_large",
            Self::Malformed(_) => "malformed",
            Self::Type(_) => "type",
            Self::Signature => "signature",
            Self::Head(_) => "head",
            Self::Realm(_) => "realm",
            Self::Host(_) => "host",
            Self::NotSpecific => "not_specific",
            Self::Rollback { .. } => "rollback",
            Self::Reused(_) => "reused",
            Self::SeqAhead(_) => "seq_ahead",
            Self::Older { .. } => "older",
            Self::IssuedAhead(_) => "issued_ahead",
            Self::Expired(_) => "expired",
            Self::Hash => "hash",
            Self::Grants(_) => "grants",
        }
    }
}

/// A bundle of which nothing is believed yet.
///
/// On its way it is JSON, the grants' text a string in it. Kept, it is the head in a line of JSON
/// and then the grants' text as it was signed, which is read in less than half the time.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bundle<'a> {
    #[serde(borrow)]
    head: Envelope<'a>,
    #[serde(borrow)]
    grants: Cow<'a, str>,
}

/// A DSSE envelope (secure-systems-lab/dsse, envelope.md).
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope<'a> {
    #[serde(borrow, rename = "payloadType")]
    payload_type: Cow<'a, str>,
    #[serde(borrow)]
    payload: Cow<'a, str>,
    #[serde(borrow, deserialize_with = "few_signatures")]
    signatures: Vec<Signature<'a>>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signature<'a> {
    /// A hint that nobody signed; it is not looked at.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    keyid: Option<Cow<'a, str>>,
    #[serde(borrow)]
    sig: Cow<'a, str>,
}

/// Stops at one too many: nobody has signed anything yet when this is read.
fn few_signatures<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<Signature<'de>>, D::Error> {
    struct Few;
    impl<'de> Visitor<'de> for Few {
        type Value = Vec<Signature<'de>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "at most {MAX_SIGNATURES} signatures")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut signatures = Vec::new();
            while let Some(signature) = list.next_element()? {
                if signatures.len() == MAX_SIGNATURES {
                    return Err(A::Error::invalid_length(MAX_SIGNATURES + 1, &self));
                }
                signatures.push(signature);
            }
            Ok(signatures)
        }
    }
    d.deserialize_seq(Few)
}

impl<'a> Bundle<'a> {
    /// Reads a bundle that has travelled.
    ///
    /// # Errors
    ///
    /// [`Rejected::TooLarge`] and [`Rejected::Malformed`].
    pub fn read(bytes: &'a [u8]) -> Result<Self, Rejected> {
        let bundle: Self = serde_json::from_str(text_of(bytes)?).map_err(|e| malformed(&e))?;
        bundle.with_small_head()
    }

    /// Reads a bundle that was kept, as [`Verified::to_keep`] gives it.
    ///
    /// # Errors
    ///
    /// As [`Bundle::read`].
    pub fn restore(bytes: &'a [u8]) -> Result<Self, Rejected> {
        let Some((head, grants)) = text_of(bytes)?.split_once('\n') else {
            return Err(malformed(&"nothing follows its head"));
        };
        let bundle = Self {
            head: serde_json::from_str(head).map_err(|e| malformed(&e))?,
            grants: grants.into(),
        };
        bundle.with_small_head()
    }

    /// Makes every check but whether the grants can be read, in the order of [`Rejected`].
    ///
    /// # Errors
    ///
    /// The first check that failed. Whoever holds an earlier bundle keeps it.
    pub fn verify(self, trust: &Trust<'_>) -> Result<Verified<'a>, Rejected> {
        let payload = verify(&self.head, trust.keys)?;
        let head: Head = serde_json::from_slice(&payload)
            .map_err(|e| Rejected::Head(printable(&e.to_string())))?;
        check_address(&head, trust)?;
        check_seq(&head, trust)?;
        check_dates(&head, trust)?;
        if sha256_hex(&self.grants) != head.grants_sha256 {
            return Err(Rejected::Hash);
        }
        Ok(Verified { head, bundle: self })
    }

    fn with_small_head(self) -> Result<Self, Rejected> {
        if self.head.payload.len() > MAX_PAYLOAD {
            return Err(malformed(&"its head is larger than any needs to be"));
        }
        Ok(self)
    }
}

/// A bundle that a trusted key signed, for this host and for now.
#[derive(Debug)]
pub struct Verified<'a> {
    head: Head,
    bundle: Bundle<'a>,
}

impl Verified<'_> {
    /// The line and the text to keep, one after the other.
    #[must_use]
    pub fn to_keep(&self) -> (String, &str) {
        // Writing strings to memory does not fail.
        let mut line = serde_json::to_string(&self.bundle.head).unwrap_or_default();
        line.push('\n');
        (line, &self.bundle.grants)
    }

    /// Reads the grants.
    ///
    /// A single grant that does not parse is dropped alone and named in [`Parsed::faults`], so that
    /// one odd grant cannot hold up a revocation.
    ///
    /// # Errors
    ///
    /// [`Rejected::Grants`].
    pub fn open(&self) -> Result<Opened, Rejected> {
        let parsed = parse_json(&self.bundle.grants).map_err(Rejected::Grants)?;
        let head = self.head.clone();
        Ok(Opened { head, parsed })
    }
}

/// Opens a bundle that has travelled: accepts it only if every check passes.
///
/// # Errors
///
/// The first check that failed, in the order of [`Rejected`].
pub fn open(bytes: &[u8], trust: &Trust<'_>) -> Result<Opened, Rejected> {
    Bundle::read(bytes)?.verify(trust)?.open()
}

fn text_of(bytes: &[u8]) -> Result<&str, Rejected> {
    if bytes.len() > MAX_SIZE {
        return Err(Rejected::TooLarge(bytes.len()));
    }
    std::str::from_utf8(bytes).map_err(|e| malformed(&e))
}

fn malformed(why: &dyn fmt::Display) -> Rejected {
    Rejected::Malformed(printable(&why.to_string()))
}

/// Gives the payload if a trusted key signed it as what it claims to be.
fn verify(envelope: &Envelope<'_>, keys: &[PublicKey]) -> Result<Vec<u8>, Rejected> {
    if envelope.payload_type != PAYLOAD_TYPE {
        return Err(Rejected::Type(envelope.payload_type.to_string()));
    }
    let payload = STANDARD
        .decode(&*envelope.payload)
        .map_err(|_| Rejected::Signature)?;
    let signed = pre_authentication(PAYLOAD_TYPE, &payload);
    let decoded = |s: &Signature<'_>| STANDARD.decode(&*s.sig).ok();
    let trusted = envelope
        .signatures
        .iter()
        .filter_map(decoded)
        .any(|signature| keys.iter().any(|key| key.verifies(&signed, &signature)));
    if trusted {
        Ok(payload)
    } else {
        Err(Rejected::Signature)
    }
}

/// DSSE's pre-authentication encoding: the type is signed with the payload, so that neither can be
/// taken for another.
fn pre_authentication(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut bytes = format!(
        "DSSEv1 {} {payload_type} {} ",
        payload_type.len(),
        payload.len()
    )
    .into_bytes();
    bytes.extend_from_slice(payload);
    bytes
}

fn check_address(head: &Head, trust: &Trust<'_>) -> Result<(), Rejected> {
    if head.realm != trust.realm {
        return Err(Rejected::Realm(head.realm.clone()));
    }
    if head.host == "*" {
        return if trust.floor.host_specific {
            Err(Rejected::NotSpecific)
        } else {
            Ok(())
        };
    }
    if head.host.eq_ignore_ascii_case(trust.host) {
        Ok(())
    } else {
        Err(Rejected::Host(head.host.clone()))
    }
}

fn check_seq(head: &Head, trust: &Trust<'_>) -> Result<(), Rejected> {
    let (seq, floor) = (head.seq, trust.floor);
    if seq < floor.seq {
        return Err(Rejected::Rollback {
            seq,
            floor: floor.seq,
        });
    }
    let same = floor
        .hash
        .as_deref()
        .is_none_or(|hash| hash == head.grants_sha256);
    if seq == floor.seq && !same {
        return Err(Rejected::Reused(seq));
    }
    let latest = trust
        .now
        .saturating_add(AHEAD)
        .map_or(i64::MAX, Timestamp::as_millisecond);
    if i64::try_from(seq).map_or(true, |seq| seq > latest) {
        return Err(Rejected::SeqAhead(seq));
    }
    Ok(())
}

fn check_dates(head: &Head, trust: &Trust<'_>) -> Result<(), Rejected> {
    let issued_at = head.issued_at;
    if let Some(floor) = trust.floor.issued_at.filter(|floor| issued_at < *floor) {
        return Err(Rejected::Older { issued_at, floor });
    }
    if issued_at.duration_since(trust.now) > AHEAD {
        return Err(Rejected::IssuedAhead(issued_at));
    }
    if head.expires_at <= trust.now {
        return Err(Rejected::Expired(head.expires_at));
    }
    Ok(())
}

/// Why no bundle was made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The grants cannot be read.
    #[error("the grants cannot be read: {0}")]
    Grants(#[from] GrantError),
    /// A host would drop one of the grants.
    #[error("a host would drop a grant: {0}")]
    Fault(GrantFault),
    /// The facts contradict each other; the text says how.
    #[error("{0}")]
    Facts(&'static str),
    /// No host would accept a bundle as large as that.
    #[error("the bundle would have {0} bytes; hosts accept at most {MAX_SIZE}")]
    TooLarge(usize),
    /// The library did not sign.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// Makes a bundle of the grants' JSON text (see [`crate::grant::to_json`]). Refuses to make one of
/// which a host would refuse any part.
///
/// # Errors
///
/// What is wrong with the grants or the facts.
pub fn seal(key: &SigningKey, facts: &Facts, grants: &str) -> Result<String, SealError> {
    if facts.realm.is_empty() || facts.host.is_empty() {
        return Err(SealError::Facts(
            "a bundle names its realm and its host (or * for every host)",
        ));
    }
    if facts.expires_at <= facts.issued_at {
        return Err(SealError::Facts(
            "a bundle must expire later than it is issued",
        ));
    }
    if let Some(fault) = parse_json(grants)?.faults.into_iter().next() {
        return Err(SealError::Fault(fault));
    }
    let head = Head {
        realm: facts.realm.clone(),
        host: facts.host.clone(),
        seq: facts.seq,
        issued_at: facts.issued_at,
        expires_at: facts.expires_at,
        grants_sha256: sha256_hex(grants),
    };
    let bundle = assemble(key, &head, grants)?;
    if bundle.len() > MAX_SIZE {
        return Err(SealError::TooLarge(bundle.len()));
    }
    Ok(bundle)
}

fn assemble(key: &SigningKey, head: &Head, grants: &str) -> Result<String, SealError> {
    #[derive(Serialize)]
    struct Sealed<'a> {
        head: Envelope<'a>,
        grants: &'a str,
    }
    const UNWRITABLE: SealError = SealError::Facts("the bundle could not be written as JSON");
    let payload = serde_json::to_vec(head).map_err(|_| UNWRITABLE)?;
    let signature = key.sign(&pre_authentication(PAYLOAD_TYPE, &payload))?;
    let envelope = Envelope {
        payload_type: PAYLOAD_TYPE.into(),
        payload: STANDARD.encode(&payload).into(),
        signatures: vec![Signature {
            keyid: Some(key.public().to_string().into()),
            sig: STANDARD.encode(signature).into(),
        }],
    };
    serde_json::to_string(&Sealed {
        head: envelope,
        grants,
    })
    .map_err(|_| UNWRITABLE)
}

fn sha256_hex(text: &str) -> String {
    use std::fmt::Write as _;
    let sum = digest::digest(&digest::SHA256, text.as_bytes());
    let mut hex = String::with_capacity(64);
    for byte in sum.as_ref() {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}
