//! `jit status`, `jit check`, `jit verify`.

use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;
use jit_policy::{Ask, Decision, Factor, Moment, Reason, Target, base_service, decide, explain};
use jit_protocol::message::{CheckAsk, CheckReport, CheckedGrant, Reply, StatusReport};

use super::{Answer, Caller, No, blocking, person};
use crate::audit::{Event, Kind};
use crate::config::{Config, Mode};
use crate::conversation::Conversation;
use crate::gate::{Gate, said_of};
use crate::logins;
use crate::mfa::{Checked, Scope};
use crate::names::Account;
use crate::peer::Peer;
use crate::principal;

/// Everything the caller may want to know about themselves.
pub(super) fn status(gate: &Gate, caller: &Caller) -> Reply {
    let now = gate.clock.now();
    let config = gate.config.load();
    let me = &caller.account;
    let login = caller.process.login_session(me.uid, gate.boot);
    let source = gate.logins.source_of(me.uid, &caller.process);
    Reply::Status(StatusReport {
        user: me.name.clone(),
        host: config.agent.host.clone(),
        agent: env!("CARGO_PKG_VERSION").to_owned(),
        grants: gate.grants.rows_for(&me.name, &me.groups, source, &now),
        factor: gate.factors.report(&caller.person(), now.boot),
        proved_secs_ago: login.and_then(|login| gate.proofs.proved_ago(&login, now.boot)),
        policy: gate.grants.policy_report(&now),
        clock: gate.clock.report().trouble,
    })
}

/// What would happen, and why. Proofs are not considered.
pub(super) async fn check(gate: &Gate, caller: &Caller, ask: &CheckAsk) -> Answer {
    let config = gate.config.load_full();
    let who = caller.about(gate, ask.user.as_deref()).await?;
    let is_me = who.uid == caller.account.uid;
    let remembered = is_me
        .then(|| gate.logins.source_of(who.uid, &caller.process))
        .flatten();
    let source = match &ask.from {
        Some(text) => Some(address(text)?),
        None => remembered,
    };
    let at = match &ask.at {
        Some(text) => instant(text)?,
        None => gate.clock.now().moment(),
    };
    let run_as = run_as(ask);
    let uid0 = match run_as {
        Some(name) => gate
            .names
            .by_name(name)
            .await
            .map_or(true, |target| target.uid == 0),
        None => false,
    };
    let service = config.service(&ask.service);
    let question = Ask {
        user: &who.name,
        groups: &who.groups,
        service: base_service(&ask.service),
        target: run_as.map_or(Target::Itself, |name| Target::Account { name, uid0 }),
        source,
        grant_required: service.is_none_or(|service| service.grant),
        floor: service.map_or(Factor::Always, |service| service.mfa),
    };
    let snapshot = gate.grants.snapshot();
    let decision = decide(&snapshot, &question, &at);
    let grants = explain(&snapshot, &question, &at)
        .into_iter()
        .map(|grant| CheckedGrant {
            id: grant.id,
            matched: grant.matched,
            failed: grant.failed.map(|reason| reason.as_str().to_owned()),
            detail: grant.detail,
        })
        .collect();
    let (decision_word, reason, detail) = outcome(&config, &who, &ask.service, &decision);
    let allowed = decision_word == "allow";
    Ok(Reply::Check(CheckReport {
        user: who.name.clone(),
        service: question.service.to_owned(),
        run_as: run_as.map(str::to_owned),
        at: at.latest.to_string(),
        decision: decision_word.to_owned(),
        reason: reason.to_owned(),
        detail,
        need: if allowed && decision.allowed {
            decision.need
        } else {
            Factor::None
        }
        .to_string(),
        mode: service
            .map_or(Mode::Enforce, |service| service.mode)
            .as_str()
            .to_owned(),
        until: decision.until.map(|until| until.to_string()),
        grants,
    }))
}

/// The gate's rules about who and which service, which come before any grant.
fn outcome(
    config: &Config,
    who: &Account,
    service: &str,
    decision: &Decision,
) -> (&'static str, &'static str, String) {
    if config.agent.exempt_users.contains(&who.name) {
        return (
            "allow",
            "exempt",
            "exempt_users names this person".to_owned(),
        );
    }
    match config.service(service).map(|service| service.mode) {
        None => (
            "deny",
            "no_section",
            format!("agent.toml has no [service.{}]", base_service(service)),
        ),
        Some(Mode::Off) => (
            "allow",
            "off",
            "mode = \"off\": other modules decide".to_owned(),
        ),
        Some(_) if decision.allowed && decision.reason == Reason::NotRequired => (
            "allow",
            decision.reason.as_str(),
            "this service requires no grant".to_owned(),
        ),
        Some(_) if decision.allowed => (
            "allow",
            decision.reason.as_str(),
            format!("by {}", decision.grant.as_deref().unwrap_or("a grant")),
        ),
        Some(_) => ("deny", decision.reason.as_str(), decision.detail.clone()),
    }
}

fn run_as(ask: &CheckAsk) -> Option<&str> {
    // No process asks here: what is named for sudo and su is elevation, all else is if it has a target.
    let elevation = principal::kind(&ask.service, 0, 0) == principal::Kind::Elevation;
    ask.run_as.as_deref().or(elevation.then_some("root"))
}

fn address(text: &str) -> Result<IpAddr, No> {
    logins::address(Some(text))
        .ok_or_else(|| No::new("usage", format!("--from {text:?} is not an IP address")))
}

fn instant(text: &str) -> Result<Moment, No> {
    let at: Timestamp = text.parse().map_err(|_| {
        No::new(
            "usage",
            format!("--at {text:?} is not a time such as 2026-11-21T12:00:00Z"),
        )
    })?;
    Ok(Moment {
        latest: at,
        earliest: at,
        settled: true,
    })
}

/// Proves a factor now, for this login session.
pub(super) async fn verify(
    gate: &Arc<Gate>,
    caller: &Caller,
    peer: &Peer,
    talk: &mut Conversation,
) -> Answer {
    let uid = caller.account.uid;
    let Some(login) = caller.process.login_session(uid, gate.boot) else {
        return Err(No::new(
            "no_login_session",
            "not in a login session: a proof is tied to a terminal and to the shell that leads it",
        ));
    };
    let boot = gate.clock.now().boot;
    let (factors, me) = (Arc::clone(&gate.factors), caller.person());
    match blocking(move || factors.hindrance(&me, Scope::Elevation, boot)).await? {
        Ok(None) => {}
        Ok(Some(hindrance)) => return Err(refused(gate, caller, &hindrance)),
        Err(error) => return Err(No::new("factor_failed", error.to_string())),
    }
    let answer = talk
        .ask("One-time code: ".to_owned())
        .await
        .map_err(|b| No::broken(&b))?;
    let Some(text) = answer else {
        return Err(No::new("no_answer", "no code was given"));
    };

    let (factors, me) = (Arc::clone(&gate.factors), caller.person());
    let now = gate.clock.now();
    let checked = blocking(move || factors.check(&me, &text, Scope::Elevation, now.wall, now.boot))
        .await?
        .map_err(|error| No::new("factor_failed", error.to_string()))?;
    let Checked::Passed { method } = checked else {
        return Err(refused(gate, caller, &checked));
    };
    // Who sits here now is who was asked: the same process, still in the same session.
    let still = peer
        .process()
        .ok()
        .and_then(|process| process.login_session(uid, gate.boot));
    if still != Some(login) {
        return Err(No::new(
            "no_login_session",
            "the login session changed meanwhile; try again",
        ));
    }
    let event = describe(Event::new(Kind::Mfa, "passed"), &caller.account)
        .with("method", method.as_str())
        .with("by", "verify");
    gate.audit
        .record(event)
        .await
        .map_err(|e| No::new("audit_failed", e.to_string()))?;
    gate.proofs.verified(login, gate.clock.now().boot);
    Ok(Reply::Done("Proved, for this login session.".to_owned()))
}

fn refused(gate: &Gate, caller: &Caller, checked: &Checked) -> No {
    let (reason, said) = said_of(checked);
    let event = Event::new(Kind::Mfa, "failed").with("reason", reason);
    gate.audit
        .note(describe(event, &caller.account).with("by", "verify"));
    No::new(reason, said)
}

fn describe(event: Event, who: &Account) -> Event {
    let who = person(who);
    event.with("user", who.name).with("uid", who.uid)
}
