//! `jit policy`: bundles by hand, in CI or from git, and the agent's central policy.

mod grants;
mod keygen;
mod lint;
mod sign;
mod verify;

use clap::Subcommand;
use jit_protocol::message::{Plain, PolicyReport, Reply, Request};

use crate::Desk;
use crate::agent::{Door, Talk, root_only, unexpected};
use crate::failure::{Exit, Failure};
use crate::notes;
use crate::status::policy_words;
use crate::text::{Paint, Table, Tone};

/// What to do with policy.
#[derive(Debug, Subcommand)]
pub(crate) enum Policy {
    /// Make a key to sign bundles with
    Keygen(keygen::Keygen),
    /// Sign grants into a bundle
    Sign(sign::Sign),
    /// Check a bundle as an agent would
    Verify(verify::Verify),
    /// Say what is wrong with files of grants
    Lint(lint::Lint),
    /// Fetch the bundle now (root)
    #[command(after_long_help = notes::POLICY_REFRESH)]
    Refresh,
    /// Forget the highest sequence number ever accepted (root, recorded)
    #[command(
        long_about = "Forget the highest sequence number ever accepted (root, recorded).

The agent refuses a bundle that is older than one it accepted, so that nobody can bring back a \
grant that was taken away. When a bundle with a wildly wrong number was signed by mistake, this \
lets proper ones in again, and any older one too, until the next is accepted."
    )]
    ResetFloor,
}

impl Policy {
    /// Does it.
    ///
    /// # Errors
    ///
    /// What was wrong, and where.
    pub(crate) fn run(self, desk: &Desk) -> Result<Exit, Failure> {
        match self {
            Self::Keygen(verb) => verb.run(desk),
            Self::Sign(verb) => verb.run(desk),
            Self::Verify(verb) => verb.run(desk),
            Self::Lint(verb) => verb.run(desk),
            Self::Refresh => refresh(desk),
            Self::ResetFloor => reset_floor(desk),
        }
    }
}

fn refresh(desk: &Desk) -> Result<Exit, Failure> {
    root_only("policy refresh")?;
    let request = Request::PolicyRefresh(Plain::default());
    let mut talk = Talk::begin(Door::Root, desk.socket(), &request)?;
    match talk.next()? {
        Reply::Policy(report) => {
            desk.screen.show(&report, |paint| text(&report, paint))?;
            Ok(match report.last_error {
                None => Exit::Yes,
                Some(_) => Exit::No,
            })
        }
        other => Err(unexpected(&other)),
    }
}

fn reset_floor(desk: &Desk) -> Result<Exit, Failure> {
    root_only("policy reset-floor")?;
    let request = Request::PolicyResetFloor(Plain::default());
    let mut talk = Talk::begin(Door::Root, desk.socket(), &request)?;
    match talk.next()? {
        Reply::Done(what) => desk.screen.done(&what).map(|()| Exit::Yes),
        other => Err(unexpected(&other)),
    }
}

/// The report for a person.
fn text(report: &PolicyReport, paint: Paint) -> String {
    let (tone, words) = policy_words(report);
    let mut facts = Table::default();
    facts.row([(Tone::Faint, "policy"), (tone, &words)]);
    facts.row([(Tone::Faint, "source"), (Tone::Normal, &report.url)]);
    if let Some(seq) = report.seq {
        facts.row([(Tone::Faint, "seq"), (Tone::Normal, &seq.to_string())]);
    }
    if let Some(error) = &report.last_error {
        facts.row([(Tone::Faint, "not fetched"), (Tone::Bad, error)]);
    }
    facts.show(0, paint)
}
