//! Asking a person for a factor, once.

use std::sync::Arc;
use std::time::Duration;

use jit_policy::Decision;
use jit_protocol::message::{Outcome, Reply};
use tokio::time::{Instant, sleep_until};
use zeroize::Zeroizing;

use super::case::{Case, Ruling};
use super::{Gate, words};
use crate::audit::{Event, Kind};
use crate::conversation::Conversation;
use crate::mfa::{Checked, MfaError, Person, Scope};
use crate::principal::Kind as Way;

/// At the door every "no" takes at least so long after the answer: looking at a real person's
/// factor writes to disk, and a stranger's does not exist. Well within the module's patience.
const EVEN_NO: Duration = Duration::from_millis(400);

impl Gate {
    /// Asks for a code and checks it. `Ok` names the method that passed; the proof is kept.
    pub(super) async fn prove(
        &self,
        case: &Case<'_>,
        decision: &Decision,
        talk: &mut Conversation,
    ) -> Result<&'static str, Ruling> {
        if case.way() == Way::Elevation {
            self.can_answer(case).await?;
        }
        let now = self.clock.now();
        if let (Way::Elevation, Some(about)) = (case.way(), words::about(decision, now.trusted())) {
            // The prompt says it too; `sudo -p` would put another in its place.
            let _ = talk.say(&Reply::Info(about)).await;
        }
        let answer = talk.ask(words::prompt(case, decision, now.trusted())).await;
        let answered = Instant::now();
        let checked = match answer {
            Ok(Some(text)) => self.check(case, text).await,
            Ok(None) | Err(_) => Err(Ruling::deny(
                Outcome::Unproven,
                "no_answer",
                unless_at_the_door(
                    case,
                    "pam_jit: no code was given. Without a terminal, first: jit verify",
                ),
            )),
        };
        if checked.is_err() && case.way() == Way::Entry {
            sleep_until(answered + EVEN_NO).await;
        }
        checked
    }

    /// At elevation a person who could not pass is told why, and not asked.
    async fn can_answer(&self, case: &Case<'_>) -> Result<(), Ruling> {
        let factors = Arc::clone(&self.factors);
        let person = person(case);
        let boot = self.clock.now().boot;
        let hindrance =
            tokio::task::spawn_blocking(move || factors.hindrance(&person, Scope::Elevation, boot))
                .await;
        match hindrance {
            Ok(Ok(None)) => Ok(()),
            Ok(Ok(Some(hindrance))) => Err(self.refuse(case, &Ok(hindrance))),
            Ok(Err(error)) => Err(self.refuse(case, &Err(error))),
            Err(_) => Err(Ruling::deny(Outcome::Unproven, "factor_failed", None)),
        }
    }

    async fn check(
        &self,
        case: &Case<'_>,
        text: Zeroizing<String>,
    ) -> Result<&'static str, Ruling> {
        if !case.is_known() {
            return Err(self.refuse(case, &Ok(Checked::NotEnrolled)));
        }
        let factors = Arc::clone(&self.factors);
        let person = person(case);
        let rhost = case.ask.rhost.clone();
        let elevation = case.way() == Way::Elevation;
        let now = self.clock.now();
        let checked = tokio::task::spawn_blocking(move || {
            let scope = if elevation {
                Scope::Elevation
            } else {
                Scope::Entry {
                    rhost: rhost.as_deref(),
                }
            };
            factors.check(&person, &text, scope, now.wall, now.boot)
        })
        .await;
        match checked {
            Ok(Ok(Checked::Passed { method })) => self.passed(case, method.as_str()).await,
            Ok(other) => Err(self.refuse(case, &other)),
            Err(_) => Err(Ruling::deny(Outcome::Unproven, "factor_failed", None)),
        }
    }

    async fn passed(&self, case: &Case<'_>, method: &'static str) -> Result<&'static str, Ruling> {
        let event = case.describe(Event::new(Kind::Mfa, "passed").with("method", method));
        if self.audit.record(event).await.is_err() {
            return Err(Ruling::deny(
                Outcome::Deny,
                "audit_failed",
                words::audit_failed(),
            ));
        }
        let login = case.login().copied();
        let boot = self.clock.now().boot;
        self.proofs
            .passed_in_transaction(case.ask.txn, case.uid(), case.base(), login, boot);
        Ok(method)
    }

    fn refuse(&self, case: &Case<'_>, checked: &Result<Checked, MfaError>) -> Ruling {
        let (reason, said) = match checked {
            Ok(checked) => said_of(checked),
            Err(_) => (
                "factor_failed",
                "your factor could not be checked; tell an administrator.".to_owned(),
            ),
        };
        let outcome = match checked {
            Ok(Checked::Locked { .. } | Checked::Disabled) => Outcome::Locked,
            _ => Outcome::Unproven,
        };
        let event = Event::new(
            Kind::Mfa,
            if outcome == Outcome::Locked {
                "locked"
            } else {
                "failed"
            },
        )
        .with("reason", reason);
        let event = match checked {
            Err(error) => event.with("detail", error),
            Ok(_) => event,
        };
        self.audit.note(case.describe(event));
        Ruling::deny(
            outcome,
            reason,
            unless_at_the_door(case, &format!("pam_jit: {said}")),
        )
    }
}

fn person(case: &Case<'_>) -> Person {
    Person {
        uid: case.uid(),
        name: case.principal().name.clone(),
    }
}

/// At the door nobody is told what was wrong.
fn unless_at_the_door(case: &Case<'_>, message: &str) -> Option<String> {
    Some(match case.way() {
        Way::Elevation => message.to_owned(),
        Way::Entry => "pam_jit: not accepted.".to_owned(),
    })
}

/// What came of a code, as a stable reason and in words for the person whose factor it is.
#[must_use]
pub fn said_of(checked: &Checked) -> (&'static str, String) {
    let (reason, said) = match checked {
        Checked::Passed { .. } => ("passed", "the code was right."),
        Checked::NotACode => (
            "not_a_code",
            "that is not a one-time code (six digits, or a recovery code).",
        ),
        Checked::Wrong {
            locked: Some(secs), ..
        } => {
            return (
                "wrong_code",
                format!("wrong code; the next is looked at in {secs} s."),
            );
        }
        Checked::Wrong { .. } => ("wrong_code", "wrong code."),
        Checked::Replayed {
            next_in: Some(secs),
        } => {
            let said = format!("that code was used already; the next one comes in {secs} s.");
            return ("code_used", said);
        }
        Checked::Replayed { next_in: None } => {
            ("code_used", "that recovery code was used already.")
        }
        Checked::Locked { secs } => {
            return (
                "locked",
                format!("too many wrong codes; try again in {secs} s."),
            );
        }
        Checked::Disabled => (
            "factor_disabled",
            "your factor is disabled; root can reset it: jit mfa reset USER",
        ),
        Checked::NotEnrolled => (
            "not_enrolled",
            "no factor enrolled: jit mfa enroll (if you may not, ask root)",
        ),
        Checked::Mismatch => (
            "factor_mismatch",
            "your factor belongs to another name of this uid; root can reset it: jit mfa reset USER",
        ),
    };
    (reason, said.to_owned())
}
