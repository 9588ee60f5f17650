//! `jit mfa`: the factor somebody proves when elevating.

use clap::Subcommand;
use jiff::Timestamp;
use jit_protocol::message::{About, EnrollAsk, Enrolment, Reply, Request, V1};
use zeroize::Zeroizing;

use crate::Desk;
use crate::agent::{Door, Talk, about, root_only, unexpected};
use crate::failure::{Exit, Failure};
use crate::notes;
use crate::qr;
use crate::status::factor;
use crate::terminal::Terminal;
use crate::text::{Paint, Tone};
use jit_policy::printable;

/// What to do with a factor.
#[derive(Debug, Subcommand)]
pub(crate) enum Mfa {
    /// Set up an authenticator app
    #[command(
        long_about = "Set up an authenticator app: shows a QR code and a key on the terminal, asks for one code to \
see that it works, then shows recovery codes, once.

Nothing changes until the code was right. Who has a factor already must prove it first.",
        after_long_help = notes::MFA_ENROLL
    )]
    Enroll {
        /// Login name; yourself if left out (others: root only)
        user: Option<String>,
    },
    /// Show the state of a factor
    #[command(after_long_help = notes::MFA_STATUS)]
    Status {
        /// Login name; yourself if left out (others: root only)
        user: Option<String>,
    },
    /// Forget a factor
    #[command(
        long_about = "Forget a factor, with its recovery codes and wrong-code counts. Forgetting your own takes the \
factor itself (or a recovery code); root may forget anybody's."
    )]
    Reset {
        /// Login name; yourself if left out (others: root only)
        user: Option<String>,
    },
}

impl Mfa {
    /// Does it.
    ///
    /// # Errors
    ///
    /// When the caller may not, or the agent does not answer or refuses.
    pub(crate) fn run(self, desk: &Desk) -> Result<Exit, Failure> {
        match self {
            Self::Enroll { user } if desk.screen.json => enroll_now(user, desk),
            Self::Enroll { user } => enroll(user, desk),
            Self::Status { user } => status(user, desk),
            Self::Reset { user } => reset(user, desk),
        }
    }
}

fn status(user: Option<String>, desk: &Desk) -> Result<Exit, Failure> {
    let (door, user) = about(user)?;
    let request = Request::MfaStatus(About { v: V1, user });
    let mut talk = Talk::begin(door, desk.socket(), &request)?;
    match talk.next()? {
        Reply::Factor(report) => {
            let text = |paint: Paint| {
                let (tone, words) = factor(&report, None, Timestamp::now());
                format!(
                    "{}  {}\n",
                    printable(&report.user),
                    paint.say(tone, &printable(&words))
                )
            };
            desk.screen.show(&report, text).map(|()| Exit::Yes)
        }
        other => Err(unexpected(&other)),
    }
}

fn reset(user: Option<String>, desk: &Desk) -> Result<Exit, Failure> {
    let (door, user) = about(user)?;
    let request = Request::MfaReset(About { v: V1, user });
    let mut talk = Talk::begin(door, desk.socket(), &request)?;
    match talk.next()? {
        Reply::Done(what) => desk.screen.done(&what).map(|()| Exit::Yes),
        other => Err(unexpected(&other)),
    }
}

/// For scripts: no question, the secrets on standard output.
fn enroll_now(user: Option<String>, desk: &Desk) -> Result<Exit, Failure> {
    root_only("mfa enroll --json")?;
    let confirm = false;
    let request = Request::MfaEnroll(EnrollAsk {
        v: V1,
        user,
        confirm,
    });
    let mut talk = Talk::begin(Door::Root, desk.socket(), &request)?;
    let mut new = None;
    loop {
        match talk.next()? {
            Reply::Enrolment(enrolment) => new = Some(enrolment),
            // Only now does it count; before, the secret would be somebody's wrong hope.
            Reply::Done(_) => break,
            other => return Err(unexpected(&other)),
        }
    }
    let new = new.ok_or_else(|| Failure::unreachable("the agent sent no secret"))?;
    desk.screen
        .show(&new, |_| String::new())
        .map(|()| Exit::Yes)
}

/// For a person: everything secret goes to the terminal, whatever standard output is.
fn enroll(user: Option<String>, desk: &Desk) -> Result<Exit, Failure> {
    // Without a terminal nobody could read the secret, so do not even let it be made.
    Terminal::open()?;
    let (door, user) = about(user)?;
    let confirm = true;
    let request = Request::MfaEnroll(EnrollAsk {
        v: V1,
        user,
        confirm,
    });
    let mut talk = Talk::begin(door, desk.socket(), &request)?;
    let mut new = None;
    let done = loop {
        match talk.next()? {
            Reply::Enrolment(enrolment) => {
                let terminal = talk.terminal()?;
                let paint = terminal.paint();
                terminal.write(&invitation(&enrolment, paint))?;
                new = Some(enrolment);
            }
            Reply::Done(what) => break what,
            other => return Err(unexpected(&other)),
        }
    };
    if let Some(new) = new {
        let terminal = talk.terminal()?;
        let paint = terminal.paint();
        terminal.write(&farewell(&new, paint))?;
    }
    desk.screen.done(&done).map(|()| Exit::Yes)
}

/// The QR code and the key.
fn invitation(new: &Enrolment, paint: Paint) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(16 * 1024));
    text.push_str("\nScan this with an authenticator app:\n\n");
    match qr::draw(&new.otpauth, paint) {
        Some(picture) => text.push_str(&picture),
        None => text.push_str("(this name is too long for a QR code)\n"),
    }
    text.push_str("\nor type this key into it (time based, 6 digits, 30 seconds):\n\n  ");
    let safe = Zeroizing::new(printable(&new.secret));
    for (place, c) in safe.chars().enumerate() {
        if place > 0 && place % 4 == 0 {
            text.push(' ');
        }
        text.push(c);
    }
    text.push_str("\n\n");
    text
}

/// The recovery codes, and what to do with them.
fn farewell(new: &Enrolment, paint: Paint) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(2048));
    text.push('\n');
    text.push_str(&paint.say(Tone::Strong, "Recovery codes"));
    text.push_str(
        ": each works once in place of a code, for the day the phone is gone.\n\
         They are shown now and never again. Print them, or put them into a password\n\
         manager on another machine; a file on this one would be no second factor.\n\n",
    );
    for (place, code) in new.recovery_codes.iter().enumerate() {
        let safe = Zeroizing::new(printable(code));
        text.push_str(if place % 2 == 0 { "  " } else { "    " });
        text.push_str(&safe);
        if place % 2 == 1 || place + 1 == new.recovery_codes.len() {
            text.push('\n');
        }
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new() -> Enrolment {
        Enrolment {
            otpauth: Zeroizing::new("otpauth://totp/x?secret=JBSWY3DPEHPK3PXP".into()),
            secret: Zeroizing::new("JBSWY3DPEHPK3PXP".into()),
            recovery_codes: ["AAAA-1", "BBBB-2", "CCCC-3"]
                .map(|c| Zeroizing::new(c.into()))
                .into(),
        }
    }

    #[test]
    fn the_key_is_in_groups_and_recovery_codes_wait_for_the_end() {
        let text = invitation(&new(), Paint { on: false });
        assert!(text.contains("  JBSW Y3DP EHPK 3PXP\n"));
        assert!(text.contains('█') && !text.contains("AAAA-1"));
    }

    #[test]
    fn recovery_codes_are_all_there_with_what_to_do_with_them() {
        let text = farewell(&new(), Paint { on: false });
        assert!(text.contains("  AAAA-1    BBBB-2\n  CCCC-3\n") && text.contains("never again"));
        assert!(!text.contains("JBSW"));
    }
}
