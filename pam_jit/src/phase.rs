//! What auth, account and session do.

use std::time::{Duration, Instant};

use jit_protocol::message::{Outcome, PamAsk, Phase, Txn, V1, Verdict};

use crate::args::{self, Args};
use crate::exchange::{self, Manners};
use crate::fault;
use crate::host::{Host, Item, Kept, Level, Tone};
use crate::names;
use crate::rescue;
use crate::standing::Standing;
use crate::verdict::{self, Code, Failure};

/// How long to wait for an agent whose answer changes nothing: when root passes anyhow, and when
/// a session has ended.
const BEST_EFFORT: Duration = Duration::from_millis(500);

/// Among a hook's flags: the application wants no messages (pam(3)).
const SILENT: u32 = 0x8000;

/// Answers one hook. Never panics; `words` are those on the module's line.
pub(crate) fn run(host: &mut impl Host, phase: Phase, flags: u32, words: &[&[u8]]) -> Code {
    let code = fault::contain(|| decide(host, phase, flags, words)).unwrap_or_else(|place| {
        // If even this fails there is nothing left to say.
        let _ = fault::contain(|| {
            host.log(
                Level::Error,
                &format!("a fault in {} at {place}", phase.as_str()),
            );
        });
        Code::PermDenied
    });
    match phase {
        Phase::SessionClose => Code::Success,
        // The first step of a roll-out must be safe whatever goes wrong, so this comes last.
        _ if args::observes(words) => Code::Ignore,
        _ => code,
    }
}

/// Everything about one call of a hook.
struct Call<'a> {
    phase: Phase,
    flags: u32,
    args: &'a Args,
    standing: Standing,
    /// Root passes: what the agent says is only for the record.
    root: bool,
}

fn decide(host: &mut impl Host, phase: Phase, flags: u32, words: &[&[u8]]) -> Code {
    let from = Instant::now();
    #[cfg(feature = "fault-injection")]
    if words.contains(&format!("panic={}:early", phase.as_str()).as_bytes()) {
        inject();
    }
    let args = Args::parse(words);
    if phase == Phase::Auth && !matches!(host.item(Item::User), Ok(Some(_))) {
        host.find_user();
    }
    let before = host.kept().unwrap_or_default();
    let standing = Standing::of(host, phase, &before);
    let root = standing.root
        && match &args {
            Ok(args) => args.root_passes,
            Err(bad) => bad.root_passes,
        };
    let mut kept = before;
    if kept.txn.is_none() {
        kept.txn = host.random();
    }
    if phase == Phase::Account {
        // What an earlier account check of this transaction found no longer holds.
        (kept.fixed, kept.root, kept.elevation) = (None, root, standing.elevation);
    }
    let remembered = kept == before || host.keep(kept);

    let outcome = match &args {
        Err(bad) => Err(Failure::Arguments(bad.what.clone())),
        // Whether root wants a password is for other modules to ask.
        Ok(_) if root && phase == Phase::Auth => Ok(ignored()),
        Ok(args) => {
            let call = Call {
                phase,
                flags,
                args,
                standing,
                root,
            };
            fault::contain(|| ask(host, &call, &kept, remembered))
                .unwrap_or_else(|place| Err(Failure::Fault(format!("a fault at {place}"))))
        }
    };
    // Why the hook passes although the agent did not say so.
    let pass = if args::observes(words) {
        Some("observed only")
    } else if root {
        Some("root passes")
    } else if matches!(outcome, Err(Failure::Agent(_) | Failure::Fault(_)))
        && args
            .as_ref()
            .is_ok_and(|args| rescued(host, args, &standing))
    {
        Some("a rescue account passes")
    } else {
        None
    };

    if phase == Phase::Account {
        kept.fixed = principal(&outcome, &standing, pass.is_some());
        if kept.fixed.is_some() {
            // If it is not kept, the session finds nobody fixed and refuses.
            host.keep(kept);
        }
    }
    report(host, phase, &outcome, pass);
    let code = match (pass, phase) {
        (Some(_), Phase::Auth) => Code::Ignore,
        (Some(_), _) => Code::Success,
        (None, _) => verdict::code(phase, &outcome),
    };
    if pass.is_none() && phase != Phase::SessionClose {
        refuse(host, phase, &outcome);
    }
    if args.is_ok_and(|args| args.debug) {
        let line = format!(
            "{}: {code:?} after {} us",
            phase.as_str(),
            from.elapsed().as_micros()
        );
        host.log(Level::Debug, &line);
    }
    code
}

/// What the agent says, or why it was not asked.
fn ask(
    host: &impl Host,
    call: &Call<'_>,
    kept: &Kept,
    remembered: bool,
) -> Result<Verdict, Failure> {
    #[cfg(feature = "fault-injection")]
    if call.args.panic.as_deref() == Some(call.phase.as_str()) {
        inject();
    }
    let session = matches!(call.phase, Phase::SessionOpen | Phase::SessionClose);
    if session && call.standing.elevation && call.standing.principal.is_none() && !call.root {
        return Err(Failure::Unfixed);
    }
    let txn = kept
        .txn
        .ok_or_else(|| Failure::Fault("the kernel has no random numbers yet".to_owned()))?;
    if !remembered {
        return Err(Failure::Fault("libpam keeps no module data".to_owned()));
    }
    let limit = if call.root || call.phase == Phase::SessionClose {
        call.args.timeout.min(BEST_EFFORT)
    } else {
        call.args.timeout
    };
    // What is wrong with the question outranks what is wrong with the agent: looked at below.
    let line = exchange::call(&call.args.socket, limit);
    let ids = host.ids();
    let question = PamAsk {
        v: V1,
        phase: call.phase,
        txn: Txn(txn),
        service: required(host, Item::Service)?,
        flags: call.flags,
        ruid: ids.real,
        euid: ids.effective,
        user: required(host, Item::User)?,
        ruser: optional(host, Item::RUser)?,
        tty: optional(host, Item::Tty)?,
        rhost: optional(host, Item::RHost)?,
        interactive: host.can_converse(),
        observe: call.args.observe,
        fixed: call.standing.principal.filter(|_| session),
        cmdline: host.command_line().map(|line| names::base64(&line)),
    };
    let quiet = call.root || call.args.observe || call.phase == Phase::SessionClose;
    let manners = Manners {
        tell: !quiet && call.flags & SILENT == 0,
        prompt: !quiet,
    };
    exchange::consult(host, line?, question, manners)
}

fn optional(host: &impl Host, item: Item) -> Result<Option<String>, Failure> {
    let bytes = host
        .item(item)
        .map_err(|_| Failure::Hostile(format!("{} cannot be read", item.name())))?;
    match bytes {
        None => Ok(None),
        Some(bytes) if bytes.is_empty() => Ok(None),
        Some(bytes) => names::checked(bytes).map(Some).map_err(|(odd, bytes)| {
            Failure::Hostile(format!(
                "{} \"{}\" {}",
                item.name(),
                names::escaped(&bytes),
                odd.why()
            ))
        }),
    }
}

fn required(host: &impl Host, item: Item) -> Result<String, Failure> {
    optional(host, item)?.ok_or_else(|| Failure::Hostile(format!("{} is not set", item.name())))
}

/// Whom the account phase fixes for the session of this transaction: nobody, if it refuses.
fn principal(outcome: &Result<Verdict, Failure>, standing: &Standing, passes: bool) -> Option<u32> {
    match outcome {
        // "Ignore" too: what is not in force now may be when the session opens, and must then
        // know who it is.
        Ok(verdict) if matches!(verdict.result, Outcome::Allow | Outcome::Ignore) => {
            verdict.principal.or(standing.principal)
        }
        _ if passes => standing.principal,
        _ => None,
    }
}

fn rescued(host: &impl Host, args: &Args, standing: &Standing) -> bool {
    if args.rescue.is_empty() {
        return false;
    }
    if standing.elevation {
        let (Some(uid), Ok(ruser)) = (standing.principal, host.item(Item::RUser)) else {
            return false;
        };
        host.local_accounts()
            .is_some_and(|passwd| rescue::names_uid(&args.rescue, &passwd, uid, ruser.as_deref()))
    } else {
        matches!(host.item(Item::User), Ok(Some(user))
            if args.rescue.iter().any(|name| name.as_bytes() == user))
    }
}

/// Logs what the agent could not.
fn report(host: &impl Host, phase: Phase, outcome: &Result<Verdict, Failure>, pass: Option<&str>) {
    let (level, why) = match outcome {
        Ok(_) => return,
        // Whatever refused its opening has said so.
        Err(Failure::Unfixed) if phase == Phase::SessionClose => return,
        Err(Failure::Unfixed) => (
            Level::Warning,
            "no account check fixed who this session's principal is; sudoers must not have !pam_acct_mgmt",
        ),
        Err(Failure::Hostile(why)) => (Level::Warning, why.as_str()),
        Err(Failure::Arguments(why) | Failure::Agent(why) | Failure::Fault(why)) => {
            (Level::Error, why.as_str())
        }
    };
    let end = match (pass, phase) {
        (Some(pass), _) => pass,
        (None, Phase::SessionClose) => "the end of the session is not recorded",
        (None, _) => "refused",
    };
    host.log(level, &format!("{}: {why}: {end}", phase.as_str()));
}

/// Tells the person, once, and lets a wrong code take its time.
fn refuse(host: &mut impl Host, phase: Phase, outcome: &Result<Verdict, Failure>) {
    // Sent under PAM_SILENT too: sudo always sets it, and a refusal without a reason is a riddle.
    if let Some(line) = verdict::denial(outcome) {
        host.tell(Tone::Error, &names::one_line(&line));
    }
    let wrong = outcome
        .as_ref()
        .is_ok_and(|verdict| matches!(verdict.result, Outcome::Unproven | Outcome::Locked));
    if wrong && phase == Phase::Auth {
        host.slow_failure();
    }
}

fn ignored() -> Verdict {
    Verdict {
        result: Outcome::Ignore,
        reason: String::new(),
        message: None,
        grant: None,
        until: None,
        id: None,
        principal: None,
    }
}

#[cfg(feature = "fault-injection")]
#[allow(clippy::panic)]
fn inject() {
    panic!("injected");
}
