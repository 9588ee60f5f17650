//! Outcome → return code, in one table.

use jit_protocol::message::{Outcome, Phase, Verdict};

/// What a hook may return. Others are never used; two of them must not be: sudo *runs* the command
/// when account says `PAM_NEW_AUTHTOK_REQD`, and does not stop when session says
/// `PAM_SESSION_ERR`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    Success,
    Ignore,
    PermDenied,
    AuthErr,
    MaxTries,
    AuthInfoUnavail,
    ServiceErr,
}

/// Why there is no verdict. The texts are for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The module's line is wrong.
    Arguments(String),
    /// An item is not fit to be sent.
    Hostile(String),
    /// A session of an elevation whose account phase fixed no principal.
    Unfixed,
    /// The agent cannot be reached, or talks nonsense.
    Agent(String),
    /// The module itself failed.
    Fault(String),
}

/// What comes of a hook.
pub(crate) fn code(phase: Phase, outcome: &Result<Verdict, Failure>) -> Code {
    let outcome = outcome.as_ref().map(|verdict| verdict.result);
    match (phase, outcome) {
        // A login that ends cannot be refused.
        (Phase::SessionClose, _) => Code::Success,

        (_, Ok(Outcome::Allow)) => Code::Success,
        (_, Ok(Outcome::Ignore)) => Code::Ignore,
        (Phase::Auth, Ok(Outcome::Unproven)) => Code::AuthErr,
        (Phase::Auth, Ok(Outcome::Locked)) => Code::MaxTries,
        (_, Ok(Outcome::Deny | Outcome::Unproven | Outcome::Locked)) => Code::PermDenied,

        (_, Err(Failure::Arguments(_))) => Code::ServiceErr,
        (_, Err(Failure::Agent(_))) => Code::AuthInfoUnavail,
        (_, Err(Failure::Hostile(_) | Failure::Unfixed | Failure::Fault(_))) => Code::PermDenied,
    }
}

/// The one line that a person is told when something is refused: why, and what next.
pub(crate) fn denial(outcome: &Result<Verdict, Failure>) -> Option<String> {
    let said = match outcome {
        Ok(Verdict {
            result: Outcome::Allow | Outcome::Ignore,
            ..
        }) => return None,
        Ok(verdict) => match verdict.message.as_deref() {
            Some(message) => message.trim_start_matches("pam_jit: ").to_owned(),
            None => format!("refused ({})", verdict.reason),
        },
        Err(Failure::Arguments(_)) => {
            "refused: a module argument is wrong; an administrator finds it in the system log"
                .to_owned()
        }
        Err(Failure::Hostile(_)) => {
            "refused: a name given here is not a name; an administrator finds it in the system log"
                .to_owned()
        }
        Err(Failure::Unfixed) => {
            "refused: no account check came before this session (sudoers: pam_acct_mgmt)".to_owned()
        }
        Err(Failure::Agent(_)) => {
            "refused: the local agent does not answer; an administrator can run: systemctl status jit-agentd"
                .to_owned()
        }
        Err(Failure::Fault(_)) => {
            "refused: a fault in the module; an administrator finds it in the system log".to_owned()
        }
    };
    Some(format!("pam_jit: {said}"))
}
