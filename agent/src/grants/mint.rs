//! From what an administrator asks for to a grant.

use crate::clock::Now;
use jiff::{SignedDuration, Timestamp};
use jit_policy::grant::{Draft, Text, WhenDraft};
use jit_policy::{Factor, Grant};
use jit_protocol::message::GrantSpec;

/// What is asked for is no grant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct MintError(String);

/// Digits and letters of made-up ids (Crockford's base 32: none that look alike).
const LETTERS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Makes the grant that is asked for. It gets an id that is not `taken` if it asks for none.
pub(super) fn grant(
    spec: &GrantSpec,
    now: &Now,
    taken: impl Fn(&str) -> bool,
) -> Result<Grant, MintError> {
    let start = spec
        .not_before
        .as_deref()
        .map(|text| time("not_before", text))
        .transpose()?;
    let not_after = end(spec, start.unwrap_or_else(|| now.trusted()))?;
    if not_after <= now.trusted() {
        return Err(MintError(format!(
            "not_after {not_after} has passed; it is {} now",
            now.trusted()
        )));
    }
    let mfa = spec.mfa.as_deref().map(str::parse::<Factor>).transpose();
    let draft = Draft {
        id: match &spec.id {
            Some(id) => id.as_str().into(),
            None => made_up(spec, taken)?.into(),
        },
        user: spec.user.as_deref().map(Text::from),
        group: spec.group.as_deref().map(Text::from),
        services: texts(&spec.services),
        run_as: some(&spec.run_as),
        hosts: None,
        not_before: start,
        not_after,
        mfa: mfa.map_err(|e| MintError(format!("mfa: {e}")))?,
        reason: spec.reason.as_deref().map(Text::from),
        ticket: spec.ticket.as_deref().map(Text::from),
        approved_by: None,
        max_offline: None,
        when: some(&spec.source).map(|source| WhenDraft {
            source: Some(source),
            schedule: None,
        }),
    };
    draft.build().map_err(MintError)
}

fn end(spec: &GrantSpec, start: Timestamp) -> Result<Timestamp, MintError> {
    match (spec.for_secs, spec.not_after.as_deref()) {
        (Some(0), None) => Err(MintError("for: must be longer than nothing".to_owned())),
        (Some(secs), None) => i64::try_from(secs)
            .ok()
            .and_then(|secs| start.checked_add(SignedDuration::from_secs(secs)).ok())
            // Whole seconds read better; up, or `--for 1s` could be over before it began.
            .and_then(|end| {
                let begun = i64::from(end.subsec_nanosecond() > 0);
                Timestamp::from_second(end.as_second().checked_add(begun)?).ok()
            })
            .ok_or_else(|| MintError("for: ends after the end of time; ask for less".to_owned())),
        (None, Some(text)) => time("not_after", text),
        _ => Err(MintError(
            "say when it ends: either for how long, or not_after".to_owned(),
        )),
    }
}

fn time(what: &str, text: &str) -> Result<Timestamp, MintError> {
    text.parse().map_err(|_| {
        MintError(format!(
            "{what} \"{}\" is no time with an offset: write one such as 2026-11-21T10:00:00Z",
            text.escape_debug()
        ))
    })
}

fn texts(items: &[String]) -> Vec<Text<'_>> {
    items.iter().map(|item| item.as_str().into()).collect()
}

fn some(items: &[String]) -> Option<Vec<Text<'_>>> {
    (!items.is_empty()).then(|| texts(items))
}

/// `alice-sudo-7k2f`: says enough to be told apart in a list, short enough to be typed.
fn made_up(spec: &GrantSpec, taken: impl Fn(&str) -> bool) -> Result<String, MintError> {
    let who = spec
        .user
        .as_deref()
        .or(spec.group.as_deref())
        .unwrap_or_default();
    let service = spec.services.first().map_or("", String::as_str);
    let words = [plain(who), plain(service)];
    let stem: Vec<_> = words
        .iter()
        .filter(|w| !w.is_empty())
        .map(String::as_str)
        .collect();
    for _ in 0..100 {
        let mut random = [0; 4];
        aws_lc_rs::rand::fill(&mut random)
            .map_err(|_| MintError("no randomness for an id; give one".to_owned()))?;
        let tail: String = random
            .iter()
            .filter_map(|byte| LETTERS.get(usize::from(byte % 32)))
            .map(|letter| char::from(*letter))
            .collect();
        let id = [stem.as_slice(), &[&tail]].concat().join("-");
        if !taken(&id) {
            return Ok(id);
        }
    }
    Err(MintError("no free id was found; give one".to_owned()))
}

/// The beginning of a name, in the letters that ids are made of. Dots are left out too: a name
/// must not make the id, and so the file, a hidden one.
fn plain(name: &str) -> String {
    let fit = |c: &char| c.is_ascii_alphanumeric() || *c == '_' || *c == '-';
    name.chars().filter(fit).take(24).collect()
}
