//! The gate: decision + factor + record = verdict.
//!
//! Every path through here ends in a verdict, and every allow has been decided on the grants and
//! the time of that moment: after each wait (a person typing) everything is decided again.

mod case;
mod factor;
mod words;

use std::sync::Arc;

use arc_swap::ArcSwap;
use jit_policy::{Decision, Factor, Reason, decide};
use jit_protocol::message::{Outcome, PamAsk, Phase, Verdict};

use crate::audit::{Audit, Event, Kind};
use crate::clock::Clock;
use crate::config::{Config, Mode};
use crate::conversation::Conversation;
use crate::grants::Grants;
use crate::logins::Logins;
use crate::mfa::Factors;
use crate::mfa::proof::{Cover, Proofs};
use crate::names::Names;
use crate::peer::Process;
use crate::principal::Kind as Way;
use crate::state::BootId;

use case::{Case, Ruling, Unopened};

pub use factor::said_of;

/// Everything that a verdict depends on.
#[derive(Debug)]
pub struct Gate {
    /// The configuration in force.
    pub config: ArcSwap<Config>,
    /// The grants in force.
    pub grants: Grants,
    /// Trusted time.
    pub clock: Arc<Clock>,
    /// People's factors.
    pub factors: Arc<Factors>,
    /// Who proved a factor, when, and in which login session.
    pub proofs: Proofs,
    /// Where records go.
    pub audit: Audit,
    /// uid ↔ name.
    pub names: Names,
    /// This boot.
    pub boot: BootId,
    /// Where login sessions came from.
    pub logins: Logins,
}

impl Gate {
    /// One hook's conversation, from ask to verdict. `process` is the one that asks.
    pub async fn pam(&self, ask: &PamAsk, process: Process, talk: &mut Conversation) -> Verdict {
        let config = self.config.load_full();
        let case = match Case::open(self, Arc::clone(&config), ask, process).await {
            Ok(case) => case,
            Err(unopened) => return self.refuse_unopened(&config, ask, unopened),
        };
        let ruling = self.rule(&case, talk).await;
        let verdict = self.settle(&case, ruling).await;
        if case.ask.phase == Phase::SessionOpen && verdict.result == Outcome::Allow {
            self.welcome(&case);
        }
        verdict
    }

    async fn rule(&self, case: &Case<'_>, talk: &mut Conversation) -> Ruling {
        if case.ask.phase == Phase::SessionClose {
            return self.close_session(case);
        }
        if case.is_exempt() {
            return match case.ask.phase {
                Phase::Auth => Ruling::ignore("exempt"),
                _ => Ruling::allow("exempt"),
            };
        }
        let Some(service) = case.service else {
            return Ruling::deny(Outcome::Deny, "no_section", words::no_section(case));
        };
        if service.mode == Mode::Off {
            return Ruling::ignore("off");
        }
        // Just started: what was in force before is being read.
        self.grants.loaded().await;
        match case.ask.phase {
            Phase::Auth => self.authenticate(case, talk).await,
            // Asked for a code like everybody, if anybody is; but nobody comes in as a stranger.
            _ if !case.is_known() => {
                let message = Some("pam_jit: not accepted.".to_owned());
                Ruling::deny(Outcome::Deny, "unknown_user", message)
            }
            Phase::Account => self.account(case, talk).await,
            Phase::SessionOpen | Phase::SessionClose => self.open_session(case),
        }
    }

    /// Auth says yes for nothing less than a factor that passed in this transaction, and leaves
    /// the refusal to the account phase where it can: sudo would ask for the password three times.
    async fn authenticate(&self, case: &Case<'_>, talk: &mut Conversation) -> Ruling {
        let decision = self.decide(case);
        if case.is_observed() {
            return Ruling::ignore("observe");
        }
        let boot = self.clock.now().boot;
        match (
            self.proofs.would_cover(&case.want(decision.need), boot),
            case.way(),
        ) {
            // The password that another module wanted was wrong; the code was not.
            (Some(Cover::Transaction), _) => {
                return Ruling::allow("proved").by(decision, "transaction");
            }
            (_, Way::Elevation) if !decision.allowed => return Ruling::ignore("left_to_account"),
            (Some(_), Way::Elevation) => return Ruling::ignore("nothing_to_prove"),
            // At the door everybody is asked alike, or the question would tell who has a grant.
            (_, Way::Entry) if case.floor() != Factor::None => {}
            (_, Way::Entry) if !decision.allowed => return self.no_grant(case, decision),
            _ => {}
        }
        if case.floor() == Factor::None && decision.need == Factor::None {
            return Ruling::ignore("nothing_to_prove");
        }
        match self.prove(case, &decision, talk).await {
            Ok(method) => Ruling::allow("proved").by(decision, method),
            Err(ruling) => ruling,
        }
    }

    /// The gate proper.
    async fn account(&self, case: &Case<'_>, talk: &mut Conversation) -> Ruling {
        let decision = self.decide(case);
        if !decision.allowed {
            return self.no_grant(case, decision);
        }
        let boot = self.clock.now().boot;
        if let Some(cover) = self.proofs.cover_account(&case.want(decision.need), boot) {
            return self.granted(decision, cover_word(cover));
        }
        if case.is_observed() {
            return Ruling::deny(Outcome::Unproven, "proof_required", None).of(decision);
        }
        if !case.can_be_asked_at_the_gate() {
            let message = words::proof_required(case);
            return Ruling::deny(Outcome::Unproven, "proof_required", message).of(decision);
        }
        let method = match self.prove(case, &decision, talk).await {
            Ok(method) => method,
            Err(ruling) => return ruling.of(decision),
        };
        // A person took their time; the grant did not wait.
        let fresh = self.decide(case);
        if !fresh.allowed {
            return self.no_grant(case, fresh);
        }
        match self
            .proofs
            .cover_account(&case.want(fresh.need), self.clock.now().boot)
        {
            Some(_) => self.granted(fresh, method),
            None => Ruling::deny(
                Outcome::Unproven,
                "proof_required",
                words::proof_required(case),
            )
            .of(fresh),
        }
    }

    /// Elevation: now the target is known, so everything is decided again. Nobody is asked here.
    fn open_session(&self, case: &Case<'_>) -> Ruling {
        if case.way() == Way::Entry {
            return Ruling::allow("session");
        }
        let decision = self.decide(case);
        if !decision.allowed {
            return self.no_grant(case, decision);
        }
        match self
            .proofs
            .cover_session(&case.want(decision.need), self.clock.now().boot)
        {
            Some(cover) => self.granted(decision, cover_word(cover)),
            None => {
                let message = words::proof_required(case);
                Ruling::deny(Outcome::Unproven, "proof_expired", message).of(decision)
            }
        }
    }

    fn close_session(&self, case: &Case<'_>) -> Ruling {
        if case.way() == Way::Entry {
            self.logins.closed(&case.process);
        }
        self.audit
            .note(case.describe(Event::new(Kind::Session, "close")));
        Ruling::ignore("session")
    }

    /// Notes a session that opens, once its verdict is yes.
    fn welcome(&self, case: &Case<'_>) {
        if case.way() == Way::Entry {
            self.logins.opened(case.uid(), case.source, &case.process);
        }
        self.audit
            .note(case.describe(Event::new(Kind::Session, "open")));
    }

    fn decide(&self, case: &Case<'_>) -> Decision {
        decide(
            &self.grants.snapshot(),
            &case.question(),
            &self.clock.now().moment(),
        )
    }

    fn granted(&self, decision: Decision, how: &'static str) -> Ruling {
        let reason = match decision.reason {
            Reason::NotRequired => "not_required",
            _ => "granted",
        };
        Ruling::allow(reason).by(decision, how)
    }

    fn no_grant(&self, case: &Case<'_>, decision: Decision) -> Ruling {
        let message = words::no_grant(case, &decision);
        Ruling::deny(Outcome::Deny, decision.reason.as_str(), message).of(decision)
    }

    /// Records a ruling and turns it into the verdict. With a durable journal an allow is not
    /// given before its record is on disk, unless it depends on nothing (exempt, observed).
    async fn settle(&self, case: &Case<'_>, ruling: Ruling) -> Verdict {
        let observed = case.is_observed() && ruling.outcome != Outcome::Ignore;
        let would = observed.then(|| ruling.outcome_word());
        let outcome = if observed {
            Outcome::Allow
        } else {
            ruling.outcome
        };
        if outcome == Outcome::Ignore || (outcome == Outcome::Allow && case.is_recorded_elsewhere())
        {
            return case.verdict(outcome, ruling, None);
        }
        let event = case.decision_event(
            &ruling,
            outcome,
            would,
            self.grants.provenance(&self.clock.now()),
        );
        let must_be_on_disk = outcome == Outcome::Allow
            && !observed
            && !case.is_exempt()
            && case.config.audit.durable;
        if !must_be_on_disk {
            let receipt = self.audit.enter(event);
            return case.verdict(outcome, ruling, Some(receipt.id));
        }
        match self.audit.record(event).await {
            Ok(receipt) => case.verdict(outcome, ruling, Some(receipt.id)),
            Err(_) => {
                let refused = Ruling::deny(Outcome::Deny, "audit_failed", words::audit_failed());
                let event = case.decision_event(&refused, Outcome::Deny, None, None);
                self.audit.note(event);
                case.verdict(Outcome::Deny, refused, None)
            }
        }
    }

    /// A hook whose parties could not be told. Where nothing is enforced, this is not either.
    fn refuse_unopened(&self, config: &Config, ask: &PamAsk, unopened: Unopened) -> Verdict {
        let mode = config
            .service(&ask.service)
            .map_or(Mode::Enforce, |service| service.mode);
        let outcome = match mode {
            Mode::Off => return unopened.verdict(Outcome::Ignore, None),
            Mode::Observe => Outcome::Allow,
            Mode::Enforce => Outcome::Deny,
        };
        let event = unopened.event(ask, mode);
        let receipt = self.audit.enter(event);
        unopened.verdict(outcome, Some(receipt.id))
    }
}

/// How presence was proved, for the record.
fn cover_word(cover: Cover) -> &'static str {
    match cover {
        Cover::NotNeeded => "none",
        Cover::Transaction => "transaction",
        Cover::Session(_) => "session",
    }
}
