//! Grants from text: what is taken reads back the same, is what it is when it is read alone, holds
//! no longer than it says, and what is refused is said printably.
//!
//! Input: a text, read as TOML and as JSON.
#![no_main]

use jit_policy::grant::{GrantError, Parsed, parse_json, parse_toml, to_json, to_toml};
use jit_policy::{
    Ask, Factor, Grant, HostFacts, Index, Moment, Origin, Snapshot, Target, Who, decide, explain,
};
use libfuzzer_sys::fuzz_target;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

/// Reads each grant of a JSON text with nothing beside it, and no other's terms known.
fn one_by_one(text: &str) {
    let Ok(Parsed { grants, .. }) = parse_json(text) else {
        return;
    };
    let file: BTreeMap<String, Vec<&RawValue>> = serde_json::from_str(text).unwrap();
    let mut alone: HashMap<Box<str>, Vec<Option<Grant>>> = HashMap::new();
    for raw in &file["grants"] {
        if let Ok(only) = serde_json::from_str::<OnlyId>(raw.get()) {
            let object = raw.get().starts_with('{');
            let grant = serde_json::from_str(raw.get()).ok().filter(|_| object);
            alone.entry(only.id).or_default().push(grant);
        }
    }
    let mut expected: HashMap<_, _> = alone
        .into_iter()
        .filter_map(|(id, all)| match <[_; 1]>::try_from(all) {
            Ok([Some(grant)]) => Some((id, grant)),
            _ => None,
        })
        .collect();
    for grant in &grants {
        assert_eq!(expected.remove(&grant.id).as_ref(), Some(grant));
    }
    assert!(expected.is_empty(), "{expected:?}");
}

#[derive(Deserialize)]
struct OnlyId {
    id: Box<str>,
}

fn check(read: Result<Parsed, GrantError>) {
    let parsed = match read {
        Ok(parsed) => parsed,
        Err(error) => return assert!(!error.to_string().chars().any(char::is_control)),
    };
    for fault in &parsed.faults {
        assert!(!fault.to_string().chars().any(char::is_control));
    }
    let ids: HashSet<_> = parsed.grants.iter().map(|grant| &grant.id).collect();
    assert_eq!(ids.len(), parsed.grants.len());
    for grant in &parsed.grants {
        let again = parse_toml(&to_toml(grant)).unwrap();
        assert_eq!(
            (&again.grants[..], again.faults.len()),
            (std::slice::from_ref(grant), 0)
        );
    }
    assert_eq!(
        parse_json(&to_json(&parsed.grants)).unwrap().grants,
        parsed.grants
    );
    ask(parsed);
}

fn ask(parsed: Parsed) {
    let host = HostFacts {
        name: "db-1".into(),
        labels: [("env".into(), "prod".into())].into(),
    };
    let grants = parsed.grants.clone();
    let snapshot = Snapshot::new(Arc::new(Index::build(Origin::Local, grants, &host)), None);
    for grant in &parsed.grants {
        let (user, groups) = match &grant.who {
            Who::User(name) => (&**name, vec![]),
            Who::Group(name) => ("somebody", vec![name.to_string()]),
        };
        for target in [Target::Itself, Target::Unknown, Target::Everything] {
            let ask = Ask {
                user,
                groups: &groups,
                service: &grant.terms.services[0],
                target,
                source: None,
                grant_required: true,
                floor: Factor::Age(900),
            };
            for time in [grant.not_after, grant.not_before.unwrap_or(grant.not_after)] {
                let at = Moment {
                    latest: time,
                    earliest: time,
                    settled: true,
                };
                let decision = decide(&snapshot, &ask, &at);
                if decision.allowed {
                    assert!(decision.until.unwrap() > time);
                    assert!(decision.need >= Factor::Age(900));
                }
                for explained in explain(&snapshot, &ask, &at) {
                    assert!(!explained.detail.chars().any(char::is_control));
                }
            }
        }
    }
}

fuzz_target!(|text: &str| {
    check(parse_toml(text));
    check(parse_json(text));
    one_by_one(text);
});
