//! One hook's question with everything that is known of it, and what was ruled.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use jit_policy::{Ask, Decision, Factor, base_service};
use jit_protocol::message::{Outcome, PamAsk, Phase, Verdict};

use super::Gate;
use crate::audit::{Event, Kind};
use crate::cmdline;
use crate::config::{CommandDetail, Config, Mode, ServiceConfig};
use crate::grants::Provenance;
use crate::logins;
use crate::mfa::proof::{LoginSession, Want};
use crate::names::{Account, NameError};
use crate::peer::Process;
use crate::principal::{self, Kind as Way, Parties, Target, Unclear};
use crate::state::BootId;

/// Stands for a person whom this host does not know, so that at the door they are asked the same
/// question as everybody. No account has this uid: it is `(uid_t) -1`.
const NOBODY: u32 = u32::MAX;

/// One hook's question.
pub(super) struct Case<'a> {
    pub(super) ask: &'a PamAsk,
    pub(super) config: Arc<Config>,
    pub(super) process: Process,
    pub(super) parties: Parties,
    pub(super) service: Option<ServiceConfig>,
    login: OnceLock<Option<LoginSession>>,
    boot: BootId,
    pub(super) source: Option<IpAddr>,
}

/// Why a question could not even be put.
pub(super) struct Unopened {
    why: Unclear,
    process: Process,
}

/// What was ruled, before it is recorded.
pub(super) struct Ruling {
    pub(super) outcome: Outcome,
    pub(super) reason: &'static str,
    pub(super) message: Option<String>,
    pub(super) decision: Option<Decision>,
    pub(super) mfa: Option<&'static str>,
}

impl Ruling {
    pub(super) fn allow(reason: &'static str) -> Self {
        Self {
            outcome: Outcome::Allow,
            reason,
            message: None,
            decision: None,
            mfa: None,
        }
    }

    pub(super) fn ignore(reason: &'static str) -> Self {
        Self {
            outcome: Outcome::Ignore,
            ..Self::allow(reason)
        }
    }

    pub(super) fn deny(outcome: Outcome, reason: &'static str, message: Option<String>) -> Self {
        Self {
            outcome,
            message,
            ..Self::allow(reason)
        }
    }

    /// Names the decision it rests on.
    pub(super) fn of(self, decision: Decision) -> Self {
        Self {
            decision: Some(decision),
            ..self
        }
    }

    /// Names the decision and the way in which presence was proved.
    pub(super) fn by(self, decision: Decision, how: &'static str) -> Self {
        Self {
            mfa: Some(how),
            ..self.of(decision)
        }
    }

    pub(super) fn outcome_word(&self) -> &'static str {
        match self.outcome {
            Outcome::Allow => "allow",
            Outcome::Ignore => "ignore",
            Outcome::Deny | Outcome::Unproven | Outcome::Locked => "deny",
        }
    }
}

impl<'a> Case<'a> {
    /// Finds out who asks, for whom, from where, and what is configured for it.
    pub(super) async fn open(
        gate: &Gate,
        config: Arc<Config>,
        ask: &'a PamAsk,
        process: Process,
    ) -> Result<Self, Unopened> {
        let parties = match principal::parties(ask, &process, &gate.names).await {
            Ok(parties) => parties,
            Err(unclear) => match stranger(ask, &process, unclear) {
                Ok(parties) => parties,
                Err(why) => return Err(Unopened { why, process }),
            },
        };
        let uid = parties.principal.uid;
        let source = match parties.kind {
            Way::Elevation => gate.logins.source_of(uid, &process),
            Way::Entry => logins::address(ask.rhost.as_deref()),
        };
        let service = config.service(&ask.service).copied();
        Ok(Self {
            ask,
            config,
            process,
            parties,
            service,
            login: OnceLock::new(),
            boot: gate.boot,
            source,
        })
    }

    pub(super) fn way(&self) -> Way {
        self.parties.kind
    }

    pub(super) fn principal(&self) -> &Account {
        &self.parties.principal
    }

    pub(super) fn uid(&self) -> u32 {
        self.parties.principal.uid
    }

    /// Whether this host knows the person at all.
    pub(super) fn is_known(&self) -> bool {
        self.uid() != NOBODY
    }

    /// The service's base name.
    pub(super) fn base(&self) -> &str {
        base_service(&self.ask.service)
    }

    pub(super) fn floor(&self) -> Factor {
        self.service.map_or(Factor::Always, |service| service.mfa)
    }

    pub(super) fn is_exempt(&self) -> bool {
        self.is_known()
            && self
                .config
                .agent
                .exempt_users
                .contains(&self.principal().name)
    }

    /// Whether nothing that is ruled here is carried out.
    pub(super) fn is_observed(&self) -> bool {
        self.ask.observe
            || self
                .service
                .is_some_and(|service| service.mode == Mode::Observe)
    }

    /// Whether an allow has a record of its own kind: a factor that passed, a session that opens.
    pub(super) fn is_recorded_elsewhere(&self) -> bool {
        match self.ask.phase {
            Phase::Auth => true,
            Phase::SessionOpen => self.way() == Way::Entry,
            Phase::Account | Phase::SessionClose => false,
        }
    }

    /// Whether a person can answer a prompt in the account phase: sshd cannot show one there.
    pub(super) fn can_be_asked_at_the_gate(&self) -> bool {
        self.ask.interactive && (self.way() == Way::Elevation || self.base() == "login")
    }

    pub(super) fn question(&self) -> Ask<'_> {
        Ask {
            user: &self.principal().name,
            groups: &self.principal().groups,
            service: self.base(),
            target: self.parties.target.as_policy(),
            source: self.source,
            grant_required: self.service.is_none_or(|service| service.grant),
            floor: self.floor(),
        }
    }

    /// The login session in which somebody elevates; entry has none yet. Found out when it first
    /// matters: most questions need no proof.
    pub(super) fn login(&self) -> Option<&LoginSession> {
        let found = || match self.way() {
            Way::Elevation => self.process.login_session(self.uid(), self.boot),
            Way::Entry => None,
        };
        self.login.get_or_init(found).as_ref()
    }

    /// What a proof would be wanted for.
    pub(super) fn want(&self, need: Factor) -> Want<'_> {
        Want {
            need,
            txn: self.ask.txn,
            uid: self.uid(),
            service: self.base(),
            login: match need {
                Factor::None => None,
                _ => self.login(),
            },
        }
    }

    /// Adds who, what and where to an event, in the order of every record.
    pub(super) fn describe(&self, event: Event) -> Event {
        let known = self.is_known().then(|| self.uid());
        event
            .with("user", &self.principal().name)
            .maybe("uid", known)
            .maybe("target", self.target_word())
            .with("service", &self.ask.service)
            .with("phase", self.ask.phase.as_str())
            .with("mode", self.mode_word())
            .with("host", &self.config.agent.host)
            .maybe("tty", self.ask.tty.as_deref().map(short_terminal))
            .maybe(
                "rhost",
                self.ask.rhost.as_deref().filter(|rhost| !rhost.is_empty()),
            )
            .maybe("from", self.source)
            .maybe(
                "auid",
                Some(self.process.login_uid).filter(|uid| *uid != u32::MAX),
            )
            .with("pid", self.process.pid)
    }

    pub(super) fn decision_event(
        &self,
        ruling: &Ruling,
        outcome: Outcome,
        would: Option<&'static str>,
        provenance: Option<Provenance>,
    ) -> Event {
        let word = if outcome == Outcome::Allow {
            "allow"
        } else {
            "deny"
        };
        let event = Event::new(Kind::Decision, word);
        let event = match would {
            Some(would) => event.with("would", would),
            None => event,
        };
        let decision = ruling.decision.as_ref();
        self.describe(event.with("reason", ruling.reason))
            .maybe("command", self.command())
            .maybe(
                "grant",
                decision.and_then(|decision| decision.grant.as_deref()),
            )
            .maybe("until", decision.and_then(|decision| decision.until))
            .maybe("mfa", ruling.mfa)
            .maybe("source", provenance.as_ref().map(|_| "central"))
            .maybe("seq", provenance.as_ref().map(|policy| policy.seq))
            .maybe(
                "age",
                provenance
                    .as_ref()
                    .map(|policy| format!("{}s", policy.age_secs)),
            )
    }

    pub(super) fn verdict(&self, outcome: Outcome, ruling: Ruling, id: Option<String>) -> Verdict {
        let refused = !matches!(outcome, Outcome::Allow | Outcome::Ignore);
        let (grant, until) = match ruling.decision {
            // At the door nobody is told what grants there are.
            Some(decision) if self.way() == Way::Elevation => (decision.grant, decision.until),
            _ => (None, None),
        };
        Verdict {
            result: outcome,
            reason: ruling.reason.to_owned(),
            message: ruling.message.filter(|_| refused),
            grant,
            until: until.map(|until| until.to_string()),
            id,
            principal: Some(self.uid()).filter(|_| self.way() == Way::Elevation),
        }
    }

    fn command(&self) -> Option<String> {
        let full = match self.config.audit.command {
            CommandDetail::Off => return None,
            CommandDetail::Name => false,
            CommandDetail::Full => true,
        };
        (self.base() == "sudo")
            .then(|| cmdline::command(self.ask.cmdline.as_deref(), full))
            .flatten()
    }

    fn target_word(&self) -> Option<&str> {
        match &self.parties.target {
            Target::Itself => Some(&self.principal().name),
            other => other.word(),
        }
    }

    fn mode_word(&self) -> &'static str {
        match self.service {
            _ if self.ask.observe => Mode::Observe.as_str(),
            Some(service) => service.mode.as_str(),
            None => Mode::Enforce.as_str(),
        }
    }
}

/// An unknown person at the door is a case like any other until the end.
fn stranger(ask: &PamAsk, process: &Process, unclear: Unclear) -> Result<Parties, Unclear> {
    let kind = principal::kind(&ask.service, process.ruid, process.euid);
    let at_the_door = kind == Way::Entry && ask.fixed.is_none();
    if unclear != Unclear::Name(NameError::Unknown) || !at_the_door {
        return Err(unclear);
    }
    let nobody = Account {
        uid: NOBODY,
        name: ask.user.clone(),
        groups: Vec::new(),
    };
    Ok(Parties {
        kind,
        principal: Arc::new(nobody),
        target: Target::Itself,
    })
}

fn short_terminal(tty: &str) -> &str {
    tty.strip_prefix("/dev/").unwrap_or(tty)
}

impl Unopened {
    pub(super) fn event(&self, ask: &PamAsk, mode: Mode) -> Event {
        let event = match mode {
            Mode::Observe => Event::new(Kind::Decision, "allow").with("would", "deny"),
            Mode::Enforce | Mode::Off => Event::new(Kind::Decision, "deny"),
        };
        event
            .with("reason", self.why.code())
            .with("user", &ask.user)
            .with("service", &ask.service)
            .with("phase", ask.phase.as_str())
            .with("mode", mode.as_str())
            .maybe("tty", ask.tty.as_deref())
            .maybe("rhost", ask.rhost.as_deref())
            .with("detail", &self.why)
            .with("ruid", self.process.ruid)
            .with("pid", self.process.pid)
    }

    pub(super) fn verdict(&self, result: Outcome, id: Option<String>) -> Verdict {
        let why = &self.why;
        Verdict {
            result,
            reason: why.code().to_owned(),
            message: (result == Outcome::Deny).then(|| format!("pam_jit: refused: {why}.")),
            grant: None,
            until: None,
            id,
            principal: None,
        }
    }
}
