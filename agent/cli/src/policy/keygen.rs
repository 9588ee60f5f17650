//! `jit policy keygen`: a key to sign bundles with.

use std::path::PathBuf;

use clap::Args;
use jit_policy::sign::SigningKey;
use serde::Serialize;

use crate::Desk;
use crate::failure::{Exit, Failure};
use crate::files;
use crate::notes;

/// Where to put it.
#[derive(Debug, Args)]
#[command(after_long_help = notes::POLICY_KEYGEN)]
pub(crate) struct Keygen {
    /// File to write the secret key into; it must not be there yet
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

#[derive(Serialize)]
struct Made {
    public_key: String,
    file: String,
}

impl Keygen {
    /// Makes the key, writes it, prints its public half.
    ///
    /// # Errors
    ///
    /// When the file is there already, or cannot be written.
    pub(crate) fn run(self, desk: &Desk) -> Result<Exit, Failure> {
        let key = SigningKey::generate().map_err(|e| Failure::no("key", e.to_string()))?;
        files::create_secret(&self.out, &key.to_text())?;
        let made = Made {
            public_key: key.public().to_string(),
            file: self.out.display().to_string(),
        };
        desk.screen
            .show(&made, |_| format!("{}\n", made.public_key))?;
        if !desk.screen.json {
            desk.screen.aside(&format!(
                "The secret key is in {}: whoever has it can make anybody root. Above is the public key, for \
                 trusted_keys in the agents' agent.toml.",
                made.file
            ));
        }
        Ok(Exit::Yes)
    }
}
