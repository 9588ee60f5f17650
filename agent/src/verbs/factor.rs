//! `jit mfa enroll`, `status`, `reset`.

use std::sync::Arc;

use jit_protocol::message::{About, EnrollAsk, Enrolment, Reply};

use super::{Answer, Caller, No, blocking, person};
use zeroize::Zeroizing;

use crate::audit::{Event, Kind};
use crate::config::SelfEnroll;
use crate::conversation::Conversation;
use crate::gate::{Gate, said_of};
use crate::mfa::{Authority, Begun, Checked, Confirmed, Person, Reset};

/// How often a first code may be mistyped before the enrolment has to begin anew.
const TRIES: usize = 3;

pub(super) async fn status(gate: &Gate, caller: &Caller, about: &About) -> Answer {
    let who = caller.about(gate, about.user.as_deref()).await?;
    let (factors, boot) = (Arc::clone(&gate.factors), gate.clock.now().boot);
    let report = blocking(move || factors.report(&person(&who), boot)).await?;
    Ok(Reply::Factor(report))
}

/// Enrols: root anybody; people themselves as `self_enroll` says, over a live factor only with it.
pub(super) async fn enroll(
    gate: &Gate,
    caller: &Caller,
    ask: &EnrollAsk,
    talk: &mut Conversation,
) -> Answer {
    let who = person(&*caller.about(gate, ask.user.as_deref()).await?);
    if !ask.confirm {
        return enroll_at_once(gate, caller, who, talk).await;
    }
    let right = Right::to_change(gate, caller, &who, talk).await?;
    let by = right.word();
    let (factors, now, person) = (Arc::clone(&gate.factors), gate.clock.now(), who.clone());
    let begun = blocking(move || factors.begin(&person, right.authority(), now.wall, now.boot))
        .await?
        .map_err(|error| No::new("factor_failed", error.to_string()))?;
    let enrolment = match begun {
        Begun::Pending(enrolment) => enrolment,
        Begun::Refused(checked) => return Err(refused(gate, &who, by, &checked)),
        Begun::NotFirst => {
            return Err(No::new(
                "not_permitted",
                "you were enrolled before; ask root to enrol you again: jit mfa enroll USER",
            ));
        }
    };
    say_enrolment(talk, enrolment).await?;
    confirm(gate, &who, talk).await?;
    enrolled(gate, &who, by).await
}

async fn enroll_at_once(
    gate: &Gate,
    caller: &Caller,
    who: Person,
    talk: &mut Conversation,
) -> Answer {
    if !caller.is_root {
        return Err(No::root_only());
    }
    let (factors, wall, person) = (
        Arc::clone(&gate.factors),
        gate.clock.now().wall,
        who.clone(),
    );
    let enrolment = blocking(move || factors.enrol_now(&person, wall))
        .await?
        .map_err(|error| No::new("factor_failed", error.to_string()))?;
    say_enrolment(talk, enrolment).await?;
    enrolled(gate, &who, "root").await
}

async fn say_enrolment(talk: &mut Conversation, enrolment: Enrolment) -> Result<(), No> {
    talk.say(&Reply::Enrolment(enrolment))
        .await
        .map_err(|broken| No::broken(&broken))
}

async fn confirm(gate: &Gate, who: &Person, talk: &mut Conversation) -> Result<(), No> {
    for _ in 0..TRIES {
        let answer = talk
            .ask("The code your app shows now: ".to_owned())
            .await
            .map_err(|broken| No::broken(&broken))?;
        let Some(text) = answer else { break };
        let (factors, now, person) = (Arc::clone(&gate.factors), gate.clock.now(), who.clone());
        let confirmed = blocking(move || factors.confirm(&person, &text, now.wall, now.boot))
            .await?
            .map_err(|error| No::new("factor_failed", error.to_string()))?;
        let again = match confirmed {
            Confirmed::Enrolled => return Ok(()),
            Confirmed::NotACode => "That is not a code: six digits.",
            Confirmed::Wrong => {
                "That is not the code for now. Is this host's clock, and your phone's, right?"
            }
            Confirmed::NothingPending => break,
            Confirmed::Refused(checked) => {
                return Err(No::new(said_of(&checked).0, said_of(&checked).1));
            }
        };
        let _ = talk.say(&Reply::Info(again.to_owned())).await;
    }
    Err(No::new(
        "not_confirmed",
        "not enrolled: no code of the new factor was given. Nothing has changed",
    ))
}

async fn enrolled(gate: &Gate, who: &Person, by: &'static str) -> Answer {
    // What was proved with the old factor may have been proved by whoever had it.
    gate.proofs.forget(who.uid);
    record(gate, who, "enrolled", by).await;
    Ok(Reply::Done(format!("{} is enrolled.", who.name)))
}

/// Forgets a factor: root anybody's, people their own by it.
pub(super) async fn reset(
    gate: &Gate,
    caller: &Caller,
    about: &About,
    talk: &mut Conversation,
) -> Answer {
    let who = person(&*caller.about(gate, about.user.as_deref()).await?);
    let code = if caller.is_root {
        None
    } else {
        Some(ask_own(talk).await?)
    };
    let by = if code.is_some() { "self" } else { "root" };
    let (factors, now, person) = (Arc::clone(&gate.factors), gate.clock.now(), who.clone());
    let reset = blocking(move || match code {
        Some(code) => factors.reset_own(&person, &code, now.wall, now.boot),
        None => factors.reset_as_root(&person),
    })
    .await?
    .map_err(|error| No::new("factor_failed", error.to_string()))?;
    match reset {
        Reset::Done => {
            gate.proofs.forget(who.uid);
            record(gate, &who, "reset", by).await;
            Ok(Reply::Done(format!("{} has no factor now.", who.name)))
        }
        Reset::Nothing => Ok(Reply::Done(format!("{} had no factor.", who.name))),
        Reset::Refused(checked) => Err(refused(gate, &who, by, &checked)),
    }
}

/// By what right a factor is changed.
enum Right {
    Root,
    First,
    Own(Zeroizing<String>),
}

impl Right {
    async fn to_change(
        gate: &Gate,
        caller: &Caller,
        who: &Person,
        talk: &mut Conversation,
    ) -> Result<Self, No> {
        if caller.is_root {
            return Ok(Self::Root);
        }
        let (factors, boot, person) = (
            Arc::clone(&gate.factors),
            gate.clock.now().boot,
            who.clone(),
        );
        let state = blocking(move || factors.report(&person, boot).state).await?;
        match (state.as_str(), gate.config.load().mfa.self_enroll) {
            ("enrolled", _) => ask_own(talk).await.map(Self::Own),
            ("none" | "pending", SelfEnroll::First) => Ok(Self::First),
            ("none" | "pending", SelfEnroll::Never) => Err(No::new(
                "not_permitted",
                "people do not enrol themselves on this host; ask root: jit mfa enroll USER",
            )),
            (state, _) => Err(No::new(
                "factor_disabled",
                format!(
                    "your factor is in the state {state:?}; root can reset it: jit mfa reset USER"
                ),
            )),
        }
    }

    fn authority(&self) -> Authority<'_> {
        match self {
            Self::Root => Authority::Root,
            Self::First => Authority::First,
            Self::Own(code) => Authority::Own { code },
        }
    }

    fn word(&self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::First => "self_first",
            Self::Own(_) => "self",
        }
    }
}

/// Asks for a code of the factor that is in force.
async fn ask_own(talk: &mut Conversation) -> Result<Zeroizing<String>, No> {
    let answer = talk
        .ask("A code of the factor you have now: ".to_owned())
        .await
        .map_err(|broken| No::broken(&broken))?;
    answer.ok_or_else(|| No::new("no_answer", "no code was given"))
}

fn refused(gate: &Gate, who: &Person, by: &'static str, checked: &Checked) -> No {
    let (reason, said) = said_of(checked);
    let event = Event::new(Kind::Mfa, "failed").with("reason", reason);
    gate.audit.note(
        event
            .with("user", &who.name)
            .with("uid", who.uid)
            .with("by", by),
    );
    No::new(reason, said)
}

/// The factor is changed already: that its record could not be made is for the journal's own alarm.
async fn record(gate: &Gate, who: &Person, what: &'static str, by: &'static str) {
    let event = Event::new(Kind::Mfa, what)
        .with("user", &who.name)
        .with("uid", who.uid)
        .with("by", by);
    let _ = gate.audit.record(event).await;
}
