//! What people are told. One line, why, and what to do next; nothing at the door that a stranger
//! should not learn.

use jit_policy::{Decision, Reason};

use super::case::Case;
use crate::principal::Kind as Way;

/// The question at the door: no grant, no end, the same for everybody.
pub(super) const BARE_PROMPT: &str = "One-time code: ";

pub(super) fn no_section(case: &Case<'_>) -> Option<String> {
    let service = case.base();
    Some(format!(
        "pam_jit: {service} carries pam_jit but has no [service.{service}] in agent.toml; tell an administrator."
    ))
}

pub(super) fn no_grant(case: &Case<'_>, decision: &Decision) -> Option<String> {
    let service = case.base();
    let host = &case.config.agent.host;
    Some(match (case.way(), decision.reason) {
        (Way::Entry, _) => {
            format!("pam_jit: {host} is entered by grant only, and you have none that is active.")
        }
        (Way::Elevation, Reason::NoGrant) => format!(
            "pam_jit: no active grant for {service} on {host}. Ask an administrator for one; yours: jit status"
        ),
        (Way::Elevation, _) => format!(
            "pam_jit: no active grant for {service} on {host}: {}. Yours: jit status",
            decision.detail
        ),
    })
}

pub(super) fn proof_required(case: &Case<'_>) -> Option<String> {
    Some(match case.way() {
        Way::Elevation => {
            "pam_jit: a one-time code is needed. Prove yourself first: jit verify".to_owned()
        }
        Way::Entry => "pam_jit: a one-time code is needed; log in with keyboard-interactive \
                       (ssh -o PreferredAuthentications=keyboard-interactive)."
            .to_owned(),
    })
}

pub(super) fn audit_failed() -> Option<String> {
    Some(
        "pam_jit: refused, because this decision could not be put on record (is /var full?); \
         tell an administrator."
            .to_owned(),
    )
}

/// The question at elevation, with what sudo's `PAM_SILENT` would keep from the person.
pub(super) fn prompt(case: &Case<'_>, decision: &Decision, now: jiff::Timestamp) -> String {
    if case.way() == Way::Entry {
        return BARE_PROMPT.to_owned();
    }
    match about(decision, now) {
        Some(about) => format!("{about}. {BARE_PROMPT}"),
        None => BARE_PROMPT.to_owned(),
    }
}

/// `JIT grant inc-4711, 42 min left`
pub(super) fn about(decision: &Decision, now: jiff::Timestamp) -> Option<String> {
    let grant = decision.grant.as_deref()?;
    let id = grant.split_once(':').map_or(grant, |(_, id)| id);
    let left = decision.until?.duration_since(now);
    Some(format!(
        "JIT grant {id}, {} left",
        jit_policy::span_in_words(left)
    ))
}
