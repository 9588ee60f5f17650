//! `jit policy verify`: checks a bundle as an agent would.

use std::path::PathBuf;

use clap::Args;
use jiff::Timestamp;
use jit_policy::bundle::{self, Floor, Trust};
use jit_policy::sign::PublicKey;
use serde::Serialize;

use crate::Desk;
use crate::failure::{Exit, Failure};
use crate::files;
use crate::notes;
use crate::text::{Paint, Tone, count, relative};

/// What to check, and against what.
#[derive(Debug, Args)]
#[command(after_long_help = notes::POLICY_VERIFY)]
pub(crate) struct Verify {
    /// Public key to trust, as printed by 'jit policy keygen' (may be repeated)
    #[arg(long = "key", value_name = "ed25519:…", required = true)]
    keys: Vec<PublicKey>,
    /// Realm it must be for
    #[arg(long, value_name = "REALM")]
    realm: String,
    /// Host that would take it; without, it must be for every host
    #[arg(
        long,
        value_name = "HOST",
        default_value = "*",
        hide_default_value = true
    )]
    host: String,
    /// Bundle
    bundle: PathBuf,
}

#[derive(Serialize)]
struct Verified {
    ok: bool,
    realm: String,
    host: String,
    seq: u64,
    issued_at: Timestamp,
    expires_at: Timestamp,
    grants: usize,
    dropped: Vec<Dropped>,
}

#[derive(Serialize)]
struct Dropped {
    id: Option<String>,
    line: Option<usize>,
    message: String,
}

impl Verify {
    /// Checks and shows.
    ///
    /// # Errors
    ///
    /// When the bundle cannot be read or would be refused.
    pub(crate) fn run(self, desk: &Desk) -> Result<Exit, Failure> {
        let now = Timestamp::now();
        let bytes = files::read(&self.bundle, bundle::MAX_SIZE as u64)?;
        let trust = Trust {
            keys: &self.keys,
            realm: &self.realm,
            host: &self.host,
            floor: &Floor::default(),
            now,
        };
        let opened = bundle::open(&bytes, &trust)
            .map_err(|e| Failure::no(e.as_str(), format!("{}: {e}", self.bundle.display())))?;
        let dropped = opened.parsed.faults.into_iter().map(|fault| Dropped {
            id: fault.id,
            line: fault.line,
            message: fault.message,
        });
        let dropped: Vec<Dropped> = dropped.collect();
        let verified = Verified {
            ok: dropped.is_empty(),
            realm: opened.head.realm,
            host: opened.head.host,
            seq: opened.head.seq,
            issued_at: opened.head.issued_at,
            expires_at: opened.head.expires_at,
            grants: opened.parsed.grants.len(),
            dropped,
        };
        desk.screen
            .show(&verified, |paint| verified.text(now, paint))?;
        Ok(match verified.ok {
            true => Exit::Yes,
            false => Exit::No,
        })
    }
}

impl Verified {
    fn text(&self, now: Timestamp, paint: Paint) -> String {
        let (tone, word) = match self.ok {
            true => (Tone::Good, "good"),
            false => (Tone::Warn, "good, with grants that no host would take"),
        };
        let time = |at: Timestamp| {
            let at = at.to_string();
            format!("{at} ({})", relative(&at, now).unwrap_or_default())
        };
        let facts = format!(
            "realm {}, host {}, seq {}, {}, issued {}, expires {}",
            self.realm,
            self.host,
            self.seq,
            count(self.grants as u64, "grant"),
            time(self.issued_at),
            time(self.expires_at),
        );
        let mut text = format!(
            "{}  {}\n",
            paint.say(tone, word),
            jit_policy::printable(&facts)
        );
        for grant in &self.dropped {
            let id = grant.id.as_deref().unwrap_or("-");
            let line = format!("  dropped: {id}: {}", grant.message);
            text.push_str(&jit_policy::printable(&line));
            text.push('\n');
        }
        text
    }
}
