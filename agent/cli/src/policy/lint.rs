//! `jit policy lint`: what is wrong with grants files, before anybody relies on them.

use std::path::PathBuf;

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use super::grants::{Checked, Remark, check};
use crate::Desk;
use crate::failure::{Exit, Failure};
use crate::notes;
use crate::text::{Paint, Tone, count};

/// Said beside every signature and every lint: the commonest surprise with bundles made by hand.
pub(super) const SIGN_AGAIN: &str = "a bundle signed by hand must be signed again within the \
agents' max_offline (1h unless agent.toml says otherwise), or its grants stop holding";

/// Which files.
#[derive(Debug, Args)]
#[command(after_long_help = notes::POLICY_LINT)]
pub(crate) struct Lint {
    /// Files of grants
    #[arg(required = true, value_name = "GRANTS.toml")]
    files: Vec<PathBuf>,
}

#[derive(Serialize)]
struct Report<'a> {
    ok: bool,
    grants: usize,
    errors: &'a [Remark],
    warnings: &'a [Remark],
}

impl Lint {
    /// Reads, checks and shows.
    ///
    /// # Errors
    ///
    /// When a file cannot be read.
    pub(crate) fn run(self, desk: &Desk) -> Result<Exit, Failure> {
        let checked = check(&self.files, Timestamp::now())?;
        let report = Report {
            ok: checked.errors.is_empty(),
            grants: checked.grants.len(),
            errors: &checked.errors,
            warnings: &checked.warnings,
        };
        desk.screen.show(&report, |paint| text(&checked, paint))?;
        match report.ok {
            true => {
                desk.screen.aside(&format!("note: {SIGN_AGAIN}"));
                Ok(Exit::Yes)
            }
            false => Ok(Exit::No),
        }
    }
}

/// The report for a person, in the form that editors jump to.
fn text(checked: &Checked, paint: Paint) -> String {
    let mut text = String::new();
    for (tone, word, remarks) in [
        (Tone::Bad, "error", &checked.errors),
        (Tone::Warn, "warning", &checked.warnings),
    ] {
        for remark in remarks {
            let line = jit_policy::printable(&remark.to_string());
            text.push_str(&format!("{}: {line}\n", paint.say(tone, word)));
        }
    }
    let numbers = [
        count(checked.grants.len() as u64, "grant"),
        count(checked.errors.len() as u64, "error"),
        count(checked.warnings.len() as u64, "warning"),
    ];
    text + &numbers.join(", ") + "\n"
}
