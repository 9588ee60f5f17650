//! `jit policy sign`: makes a bundle.

use std::path::PathBuf;

use clap::Args;
use jiff::{SignedDuration, Timestamp};
use jit_policy::Grant;
use jit_policy::bundle::{self, Facts, Floor, Head, Opened, Rejected, Trust};
use jit_policy::grant::to_json;
use jit_policy::sign::{PublicKey, SigningKey};
use serde::Serialize;

use super::grants::{Checked, Remark, check};
use super::lint::SIGN_AGAIN;
use crate::Desk;
use crate::failure::{Exit, Failure};
use crate::notes;
use crate::text::{count, relative};
use crate::{files, when};

/// What to sign, with what, for whom.
#[derive(Debug, Args)]
#[command(after_long_help = notes::POLICY_SIGN)]
pub(crate) struct Sign {
    /// Secret key, as made by 'jit policy keygen'
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Realm, as in the agents' agent.toml
    #[arg(long, value_name = "REALM")]
    realm: String,
    /// Only host to take it; every host of the realm if left out
    #[arg(
        long,
        value_name = "HOST",
        default_value = "*",
        hide_default_value = true
    )]
    host: String,
    /// How long it may be accepted
    #[arg(long, value_name = "SPAN", value_parser = when::span, default_value = "24h")]
    expires: u32,
    /// Sequence number; from the clock and the last bundle if left out
    #[arg(long, value_name = "N")]
    seq: Option<u64>,
    /// Bundle to write
    #[arg(short = 'o', long, value_name = "FILE")]
    out: PathBuf,
    /// Files of grants
    #[arg(required = true, value_name = "GRANTS.toml")]
    grants: Vec<PathBuf>,
}

#[derive(Serialize)]
struct Signed<'a> {
    file: String,
    realm: &'a str,
    host: &'a str,
    seq: u64,
    issued_at: Timestamp,
    expires_at: Timestamp,
    grants: usize,
    public_key: String,
    warnings: &'a [Remark],
}

impl Sign {
    /// Checks, signs, looks at the result as an agent would, and writes it.
    ///
    /// # Errors
    ///
    /// Anything wrong with the key, the grants, the old bundle or the new one; the old one stays.
    pub(crate) fn run(self, desk: &Desk) -> Result<Exit, Failure> {
        // Bundles count in milliseconds.
        let now = Timestamp::now();
        let now = Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now);
        let text = files::read_secret(&self.key)?;
        let key = SigningKey::from_text(&text).map_err(|e| Failure::file(&self.key, e))?;
        let checked = check(&self.grants, now)?;
        if !checked.errors.is_empty() {
            return Err(refusal(&checked));
        }
        let last = self.last(&key.public(), now)?;
        let sealed = self.seal(&key, &checked.grants, last.as_ref(), now)?;
        let head = self
            .approve(&sealed, &key.public(), last.as_ref(), now)?
            .head;
        files::replace(&self.out, sealed.as_bytes())?;
        let signed = Signed {
            file: self.out.display().to_string(),
            realm: &head.realm,
            host: &head.host,
            seq: head.seq,
            issued_at: head.issued_at,
            expires_at: head.expires_at,
            grants: checked.grants.len(),
            public_key: key.public().to_string(),
            warnings: &checked.warnings,
        };
        desk.screen.show(&signed, |_| text_of(&signed, now))?;
        for warning in &checked.warnings {
            desk.screen.aside(&format!("warning: {warning}"));
        }
        desk.screen.aside(&format!("note: {SIGN_AGAIN}"));
        Ok(Exit::Yes)
    }

    /// The head of the bundle that is to be replaced. Only one that this key signed is believed:
    /// another's number could be anything.
    fn last(&self, key: &PublicKey, now: Timestamp) -> Result<Option<Head>, Failure> {
        match self.out.try_exists() {
            Ok(true) => {}
            Ok(false) => return Ok(None),
            Err(e) => return Err(Failure::file(&self.out, e)),
        }
        let bytes = files::read(&self.out, bundle::MAX_SIZE as u64)?;
        let at = |now| self.open(&bytes, key, &Floor::default(), now);
        let opened = at(now).or_else(|refused| match refused {
            // It was good until just before its end, and its number still counts.
            Rejected::Expired(end) => at(end - SignedDuration::from_nanos(1)),
            other => Err(other),
        });
        let why = match opened {
            // A host's own bundle in the place of everybody's would cut all others off.
            Ok(opened) if opened.head.host == self.host => return Ok(Some(opened.head)),
            Ok(opened) => Rejected::Host(opened.head.host).to_string(),
            Err(Rejected::Signature) => "this key has not signed it".to_owned(),
            Err(other) => other.to_string(),
        };
        let what = format!(
            "is there already and cannot be continued ({why}); move it away if it is to be replaced"
        );
        Err(Failure::file(&self.out, what))
    }

    fn open(
        &self,
        bytes: &[u8],
        key: &PublicKey,
        floor: &Floor,
        now: Timestamp,
    ) -> Result<Opened, Rejected> {
        let trust = Trust {
            keys: std::slice::from_ref(key),
            realm: &self.realm,
            host: &self.host,
            floor,
            now,
        };
        bundle::open(bytes, &trust)
    }

    fn seal(
        &self,
        key: &SigningKey,
        grants: &[Grant],
        last: Option<&Head>,
        now: Timestamp,
    ) -> Result<String, Failure> {
        // Not before the last one's, or agents refuse it: the clock may have been put right since.
        let issued_at = last.map_or(now, |last| now.max(last.issued_at));
        let facts = Facts {
            realm: self.realm.clone(),
            host: self.host.clone(),
            seq: (self.seq).unwrap_or_else(|| bundle::next_seq(last.map(|l| l.seq), now)),
            issued_at,
            expires_at: (issued_at.checked_add(SignedDuration::from_secs(self.expires.into())))
                .map_err(|_| Failure::misuse("--expires is beyond every calendar"))?,
        };
        bundle::seal(key, &facts, &to_json(grants))
            .map_err(|e| Failure::no("refused", format!("nothing was signed: {e}")))
    }

    /// Whether an agent that took the last bundle would take this one.
    fn approve(
        &self,
        sealed: &str,
        key: &PublicKey,
        last: Option<&Head>,
        now: Timestamp,
    ) -> Result<Opened, Failure> {
        let floor = last.map_or_else(Floor::default, |last| Floor::default().raised_by(last));
        self.open(sealed.as_bytes(), key, &floor, now).map_err(|e| {
            let message = format!("nothing was written, since agents would refuse the bundle: {e}");
            Failure::no(e.as_str(), message)
        })
    }
}

/// Every error, so that one run is enough to mend them all.
fn refusal(checked: &Checked) -> Failure {
    let mut message = format!(
        "nothing was signed: {}",
        count(checked.errors.len() as u64, "error")
    );
    for error in &checked.errors {
        message.push_str(&format!("\n{error}"));
    }
    Failure::no("lint", message)
}

fn text_of(signed: &Signed<'_>, now: Timestamp) -> String {
    let hosts = match signed.host {
        "*" => "every host".to_owned(),
        host => format!("host {host}"),
    };
    let expires = signed.expires_at.to_string();
    let text = format!(
        "{}: {} for {hosts} of realm {}, seq {}, expires {expires} ({})",
        signed.file,
        count(signed.grants as u64, "grant"),
        signed.realm,
        signed.seq,
        relative(&expires, now).unwrap_or_default(),
    );
    jit_policy::printable(&text) + "\n"
}
