//! Each rule of a decision, one test by name.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
mod common;

use common::*;
use jit_policy::snapshot::{Central, Phase, state_of};
use jit_policy::{
    Ask, Decision, Factor, Index, Moment, Origin, Reason, Snapshot, Target, decide, explain,
};
use std::sync::Arc;

const TEN_TO_TWELVE: &str = r#"
[[grant]]
id = "inc-1"
user = "alice"
services = ["sudo"]
not_before = 2026-11-21T10:00:00Z
not_after = 2026-11-21T12:00:00Z
"#;

fn allowed(decision: &Decision) -> bool {
    assert_eq!(decision.allowed, decision.detail.is_empty(), "{decision:?}");
    decision.allowed
}

#[test]
fn a_grant_holds_from_its_start_until_just_before_its_end() {
    let snapshot = local(TEN_TO_TWELVE);
    for (time, allow, reason) in [
        ("2026-11-21T09:59:59.999999999Z", false, Reason::NotStarted),
        ("2026-11-21T10:00:00Z", true, Reason::Granted),
        ("2026-11-21T11:59:59.999999999Z", true, Reason::Granted),
        ("2026-11-21T12:00:00Z", false, Reason::Expired),
        ("2036-11-21T12:00:00Z", false, Reason::Expired),
    ] {
        let decision = decide(&snapshot, &ask(), &at(time));
        assert_eq!(
            (allowed(&decision), decision.reason),
            (allow, reason),
            "{time}"
        );
    }
}

#[test]
fn an_allow_names_its_grant_and_end() {
    let decision = decide(&local(TEN_TO_TWELVE), &ask(), &at("2026-11-21T11:00:00Z"));
    assert_eq!(decision.grant.as_deref(), Some("local:inc-1"));
    assert_eq!(decision.until, Some(time("2026-11-21T12:00:00Z")));
    assert_eq!(decision.need, Factor::None);
}

#[test]
fn ends_go_by_the_later_clock_and_starts_by_the_earlier() {
    let snapshot = local(TEN_TO_TWELVE);
    let between = |earliest: &str, latest: &str| {
        let moment = Moment {
            earliest: time(earliest),
            latest: time(latest),
            settled: true,
        };
        decide(&snapshot, &ask(), &moment).reason
    };
    assert_eq!(
        between("2026-11-21T11:00:00Z", "2026-11-21T12:00:00Z"),
        Reason::Expired
    );
    assert_eq!(
        between("2026-11-21T09:59:59Z", "2026-11-21T11:00:00Z"),
        Reason::NotStarted
    );
    assert_eq!(
        between("2026-11-21T10:00:00Z", "2026-11-21T11:59:59Z"),
        Reason::Granted
    );
}

#[test]
fn a_schedule_must_be_open_by_both_clocks() {
    let snapshot = local(
        r#"[[grant]]
        id = "a"
        user = "alice"
        services = ["sudo"]
        not_after = 2027-01-01T00:00:00Z
        when.schedule = [{ days = "sat", from = "14:00", to = "16:00", zone = "UTC" }]"#,
    );
    let between = |earliest: &str, latest: &str| {
        let moment = Moment {
            earliest: time(earliest),
            latest: time(latest),
            settled: true,
        };
        decide(&snapshot, &ask(), &moment).reason
    };
    assert_eq!(
        between("2026-11-21T13:59:00Z", "2026-11-21T15:00:00Z"),
        Reason::Schedule
    );
    assert_eq!(
        between("2026-11-21T15:00:00Z", "2026-11-21T16:00:00Z"),
        Reason::Schedule
    );
    assert_eq!(
        between("2026-11-21T14:00:00Z", "2026-11-21T15:59:59Z"),
        Reason::Granted
    );
}

#[test]
fn nothing_holds_while_the_clock_is_unsettled() {
    let moment = Moment {
        settled: false,
        ..at("2026-11-21T11:00:00Z")
    };
    let decision = decide(&local(TEN_TO_TWELVE), &ask(), &moment);
    assert!(!allowed(&decision));
    assert_eq!(decision.reason, Reason::Clock);
    assert_eq!(decision.grant.as_deref(), Some("local:inc-1"));
}

#[test]
fn nobody_elses_grant_helps() {
    let decision = decide(
        &local(TEN_TO_TWELVE),
        &Ask {
            user: "bob",
            ..ask()
        },
        &at("2026-11-21T11:00:00Z"),
    );
    assert!(!allowed(&decision));
    assert_eq!((decision.reason, decision.grant), (Reason::NoGrant, None));
    assert_eq!(decision.detail, "no grant names bob");
    for user in ["Alice", "alice ", "", "*", "alic"] {
        assert!(
            !decide(
                &local(TEN_TO_TWELVE),
                &Ask { user, ..ask() },
                &at("2026-11-21T11:00:00Z")
            )
            .allowed
        );
    }
}

#[test]
fn a_group_grant_is_for_its_members_only() {
    let snapshot = local(
        r#"[[grant]]
        id = "g"
        group = "dba"
        services = ["sudo"]
        not_after = 2027-01-01T00:00:00Z"#,
    );
    let groups = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    let moment = at("2026-11-21T11:00:00Z");
    for (user, member_of, allow) in [
        ("alice", groups(&["users", "dba"]), true),
        ("alice", groups(&["dba", "dba"]), true),
        ("alice", groups(&["users"]), false),
        ("alice", groups(&[]), false),
        // A person whose name is the group's.
        ("dba", groups(&[]), false),
    ] {
        let ask = Ask {
            user,
            groups: &member_of,
            ..ask()
        };
        assert_eq!(
            decide(&snapshot, &ask, &moment).allowed,
            allow,
            "{user} {member_of:?}"
        );
    }
    let twice = groups(&["dba", "x", "dba"]);
    assert_eq!(
        explain(
            &snapshot,
            &Ask {
                groups: &twice,
                ..ask()
            },
            &moment
        )
        .len(),
        1
    );
}

#[test]
fn a_grant_is_for_its_services_only() {
    let moment = at("2026-11-21T11:00:00Z");
    let decision = decide(
        &local(TEN_TO_TWELVE),
        &Ask {
            service: "su",
            ..ask()
        },
        &moment,
    );
    assert_eq!(
        (decision.allowed, decision.reason),
        (false, Reason::NoGrant)
    );
    assert_eq!(decision.detail, "no grant of alice covers su");
    let explained = explain(
        &local(TEN_TO_TWELVE),
        &Ask {
            service: "su",
            ..ask()
        },
        &moment,
    );
    assert_eq!(explained[0].failed, Some(Reason::NoGrant));
    assert_eq!(explained[0].detail, "covers sudo, not su");
}

fn run_as(targets: &str) -> Snapshot {
    local(&format!(
        r#"[[grant]]
        id = "a"
        user = "alice"
        services = ["sudo"]
        run_as = {targets}
        not_after = 2027-01-01T00:00:00Z"#
    ))
}

#[test]
fn a_target_must_be_named_or_starred() {
    let moment = at("2026-11-21T11:00:00Z");
    let yes =
        |targets: &str, target| decide(&run_as(targets), &Ask { target, ..ask() }, &moment).allowed;
    assert!(yes(r#"["postgres"]"#, account("postgres")));
    assert!(yes(r#"["www", "*"]"#, account("postgres")));
    assert!(!yes(r#"["postgres"]"#, account("root")));
    assert!(!yes(r#"["root"]"#, account("postgres")));
    assert!(yes(r#"["root"]"#, account("root")));
    assert!(yes(r#"["*"]"#, account("root")));
    // Any other account of uid 0 is root by another name.
    let toor = Target::Account {
        name: "toor",
        uid0: true,
    };
    assert!(!yes(r#"["toor"]"#, toor));
    assert!(yes(r#"["root"]"#, toor));
    assert!(yes(r#"["*"]"#, toor));
    assert!(yes(
        r#"["toor"]"#,
        Target::Account {
            name: "toor",
            uid0: false
        }
    ));
    // What changes more than the user.
    assert!(!yes(r#"["postgres"]"#, Target::Everything));
    assert!(yes(r#"["root"]"#, Target::Everything));
    assert!(yes(r#"["*"]"#, Target::Everything));
    // Entry has no target, and a target still unknown may be any.
    assert!(yes(r#"["postgres"]"#, Target::Itself));
    assert!(yes(r#"["postgres"]"#, Target::Unknown));
}

#[test]
fn run_as_is_root_when_left_out() {
    let moment = at("2026-11-21T11:00:00Z");
    let snapshot = local(TEN_TO_TWELVE);
    assert!(decide(&snapshot, &ask(), &moment).allowed);
    let denied = decide(
        &snapshot,
        &Ask {
            target: account("postgres"),
            ..ask()
        },
        &moment,
    );
    assert_eq!(denied.reason, Reason::Target);
    assert_eq!(denied.detail, "target postgres not in run_as");
    assert_eq!(denied.grant.as_deref(), Some("local:inc-1"));
}

/// One grant for each pair of targets and factor; `-` leaves the factor out.
fn factors(pairs: &[(&str, &str)]) -> Snapshot {
    let mut toml = String::new();
    for (n, (targets, mfa)) in pairs.iter().enumerate() {
        let mfa = if *mfa == "-" {
            String::new()
        } else {
            format!("mfa = \"{mfa}\"")
        };
        toml.push_str(&format!(
            "[[grant]]\nid = \"g{n}\"\nuser = \"alice\"\nservices = [\"sudo\"]\n\
             run_as = {targets}\nnot_after = 2027-01-01T00:00:00Z\n{mfa}\n"
        ));
    }
    local(&toml)
}

fn need(snapshot: &Snapshot, target: Target<'_>, floor: Factor) -> (Factor, Option<String>) {
    let decision = decide(
        snapshot,
        &Ask {
            target,
            floor,
            ..ask()
        },
        &at("2026-11-21T11:00:00Z"),
    );
    assert!(decision.allowed, "{decision:?}");
    (decision.need, decision.grant)
}

#[test]
fn the_least_of_the_grants_that_cover_the_target_is_needed() {
    let snapshot = factors(&[
        (r#"["root"]"#, "always"),
        (r#"["root"]"#, "15m"),
        (r#"["postgres"]"#, "none"),
        (r#"["*"]"#, "5m"),
    ]);
    let g = |n: u32| Some(format!("local:g{n}"));
    assert_eq!(
        need(&snapshot, account("root"), Factor::None),
        (Factor::Age(900), g(1))
    );
    assert_eq!(
        need(&snapshot, account("postgres"), Factor::None),
        (Factor::None, g(2))
    );
    assert_eq!(
        need(&snapshot, account("www"), Factor::None),
        (Factor::Age(300), g(3))
    );
    assert_eq!(
        need(&snapshot, Target::Everything, Factor::None),
        (Factor::Age(900), g(1))
    );
}

#[test]
fn the_floor_is_never_undercut_and_is_the_default() {
    let snapshot = factors(&[
        (r#"["a"]"#, "none"),
        (r#"["b"]"#, "-"),
        (r#"["c"]"#, "always"),
    ]);
    for floor in [Factor::None, Factor::Age(900), Factor::Always] {
        assert_eq!(need(&snapshot, account("a"), floor).0, floor);
        assert_eq!(need(&snapshot, account("b"), floor).0, floor);
        assert_eq!(need(&snapshot, account("c"), floor).0, Factor::Always);
    }
    // Of two ages the shorter is the stricter.
    let snapshot = factors(&[(r#"["a"]"#, "1h")]);
    assert_eq!(
        need(&snapshot, account("a"), Factor::Age(900)).0,
        Factor::Age(900)
    );
    assert_eq!(
        need(&snapshot, account("a"), Factor::Age(7200)).0,
        Factor::Age(3600)
    );
}

#[test]
fn an_unknown_target_needs_the_greatest_of_each_targets_least() {
    // A grant for postgres without a factor beside one for root with: root must ask.
    let snapshot = factors(&[(r#"["postgres"]"#, "none"), (r#"["root"]"#, "15m")]);
    assert_eq!(
        need(&snapshot, Target::Unknown, Factor::None).0,
        Factor::Age(900)
    );
    // Each target's own least counts, not each grant's word.
    let snapshot = factors(&[(r#"["root"]"#, "always"), (r#"["root"]"#, "none")]);
    assert_eq!(
        need(&snapshot, Target::Unknown, Factor::None).0,
        Factor::None
    );
    // A named target may go by the star, but what the star covers besides may not.
    let snapshot = factors(&[(r#"["*"]"#, "15m"), (r#"["root"]"#, "none")]);
    assert_eq!(
        need(&snapshot, Target::Unknown, Factor::None).0,
        Factor::Age(900)
    );
    let snapshot = factors(&[(r#"["*"]"#, "none"), (r#"["root"]"#, "always")]);
    assert_eq!(
        need(&snapshot, Target::Unknown, Factor::None).0,
        Factor::None
    );
    // And the floor.
    assert_eq!(
        need(&snapshot, Target::Unknown, Factor::Age(60)).0,
        Factor::Age(60)
    );
}

#[test]
fn a_grant_that_does_not_hold_lowers_nothing() {
    let snapshot = local(
        r#"
        [[grant]]
        id = "gone"
        user = "alice"
        services = ["sudo"]
        not_after = 2026-01-01T00:00:00Z
        mfa = "none"
        [[grant]]
        id = "elsewhere"
        user = "alice"
        services = ["sudo"]
        not_after = 2027-01-01T00:00:00Z
        mfa = "none"
        when.source = ["10.0.0.0/8"]
        [[grant]]
        id = "su-only"
        user = "alice"
        services = ["su"]
        not_after = 2027-01-01T00:00:00Z
        mfa = "none"
        [[grant]]
        id = "other-host"
        user = "alice"
        services = ["sudo"]
        hosts = ["web-*"]
        not_after = 2027-01-01T00:00:00Z
        mfa = "none"
        [[grant]]
        id = "now"
        user = "alice"
        services = ["sudo"]
        not_after = 2027-01-01T00:00:00Z
        mfa = "always"
        "#,
    );
    for target in [account("root"), Target::Unknown, Target::Everything] {
        assert_eq!(
            need(&snapshot, target, Factor::None),
            (Factor::Always, Some("local:now".into()))
        );
    }
}

#[test]
fn without_a_grant_required_the_floor_decides_and_no_grant_weakens_it() {
    let moment = Moment {
        settled: false,
        ..at("2026-11-21T11:00:00Z")
    };
    let ask = Ask {
        grant_required: false,
        floor: Factor::Age(900),
        ..ask()
    };
    for snapshot in [
        local(TEN_TO_TWELVE),
        factors(&[(r#"["*"]"#, "none")]),
        Snapshot::default(),
    ] {
        let decision = decide(&snapshot, &ask, &moment);
        assert_eq!(
            (
                decision.allowed,
                decision.reason,
                decision.need,
                decision.grant,
                decision.until
            ),
            (true, Reason::NotRequired, Factor::Age(900), None, None)
        );
    }
}

fn from_net() -> Snapshot {
    local(
        r#"[[grant]]
        id = "a"
        user = "alice"
        services = ["sudo"]
        not_after = 2027-01-01T00:00:00Z
        when.source = ["10.8.0.0/16", "2001:db8::/32"]"#,
    )
}

#[test]
fn a_source_must_lie_in_a_network_and_unknown_lies_in_none() {
    let moment = at("2026-11-21T11:00:00Z");
    for (source, allow) in [
        (Some("10.8.0.0"), true),
        (Some("10.8.255.255"), true),
        (Some("::ffff:10.8.0.1"), true),
        (Some("2001:db8::1"), true),
        (Some("10.9.0.0"), false),
        (Some("10.7.255.255"), false),
        (Some("2001:db9::1"), false),
        (Some("::10.8.0.1"), false),
        (None, false),
    ] {
        let ask = Ask {
            source: source.map(|s| s.parse().unwrap()),
            ..ask()
        };
        let decision = decide(&from_net(), &ask, &moment);
        assert_eq!(decision.allowed, allow, "{source:?}");
        if !allow {
            assert_eq!(decision.reason, Reason::Source);
        }
    }
}

#[test]
fn even_the_whole_internet_is_not_unknown() {
    let snapshot = local(
        r#"[[grant]]
        id = "a"
        user = "alice"
        services = ["sudo"]
        not_after = 2027-01-01T00:00:00Z
        when.source = ["0.0.0.0/0", "::/0"]"#,
    );
    assert!(!decide(&snapshot, &ask(), &at("2026-11-21T11:00:00Z")).allowed);
}

#[test]
fn central_grants_hold_only_while_the_policy_is_young_enough() {
    let toml = |own: &str| {
        format!(
            "[[grant]]\nid = \"a\"\nuser = \"alice\"\nservices = [\"sudo\"]\n\
             not_after = 2027-01-01T00:00:00Z\n{own}"
        )
    };
    let reason = |own: &str, max_offline, now: &str| {
        let snapshot = central(&toml(own), "2026-11-21T10:00:00Z", max_offline);
        decide(&snapshot, &ask(), &at(now)).reason
    };
    assert_eq!(reason("", 3600, "2026-11-21T11:00:00Z"), Reason::Granted);
    assert_eq!(
        reason("", 3600, "2026-11-21T11:00:00.000000001Z"),
        Reason::Offline
    );
    // The grant's own limit may tighten the agent's, never loosen it.
    assert_eq!(
        reason("max_offline = \"30m\"", 3600, "2026-11-21T10:30:00Z"),
        Reason::Granted
    );
    assert_eq!(
        reason("max_offline = \"30m\"", 3600, "2026-11-21T10:30:01Z"),
        Reason::Offline
    );
    assert_eq!(
        reason("max_offline = \"9h\"", 3600, "2026-11-21T11:00:01Z"),
        Reason::Offline
    );
    // Issued a little ahead of us.
    assert_eq!(reason("", 3600, "2026-11-21T09:55:00Z"), Reason::Granted);
    // A local grant knows no policy.
    let snapshot = local(&toml("max_offline = \"1s\""));
    assert!(decide(&snapshot, &ask(), &at("2026-12-21T11:00:00Z")).allowed);
}

#[test]
fn the_policys_age_goes_by_the_later_clock() {
    let toml = "[[grant]]\nid = \"a\"\nuser = \"alice\"\nservices = [\"sudo\"]\nnot_after = 2027-01-01T00:00:00Z\n";
    let snapshot = central(toml, "2026-11-21T10:00:00Z", 3600);
    let moment = Moment {
        latest: time("2026-11-21T11:00:01Z"),
        ..at("2026-11-21T10:00:00Z")
    };
    assert_eq!(decide(&snapshot, &ask(), &moment).reason, Reason::Offline);
}

#[test]
fn a_grants_end_holds_in_a_fresh_policy_too() {
    let snapshot = central(TEN_TO_TWELVE, "2026-11-21T12:00:00Z", 3600);
    assert_eq!(
        decide(&snapshot, &ask(), &at("2026-11-21T12:00:00Z")).reason,
        Reason::Expired
    );
}

#[test]
fn local_and_central_grants_are_a_union_told_apart_by_name() {
    let later = TEN_TO_TWELVE.replace("12:00", "13:00");
    let snapshot = Snapshot::new(
        index(Origin::Local, TEN_TO_TWELVE),
        Some(Central {
            index: index(Origin::Central, &later),
            issued_at: time("2026-11-21T11:00:00Z"),
            max_offline: 3600,
        }),
    );
    let decision = decide(&snapshot, &ask(), &at("2026-11-21T11:00:00Z"));
    assert_eq!(decision.grant.as_deref(), Some("central:inc-1"));
    assert_eq!(
        snapshot.all().map(|held| held.name()).collect::<Vec<_>>(),
        ["local:inc-1", "central:inc-1"]
    );
    // The policy too old: the local one carries on.
    let decision = decide(&snapshot, &ask(), &at("2026-11-21T11:59:00Z"));
    assert_eq!(decision.grant.as_deref(), Some("central:inc-1"));
    let old = Snapshot::new(
        Arc::clone(snapshot.local()),
        Some(Central {
            max_offline: 60,
            ..snapshot.central().unwrap().clone()
        }),
    );
    let decision = decide(&old, &ask(), &at("2026-11-21T11:59:00Z"));
    assert_eq!(decision.grant.as_deref(), Some("local:inc-1"));
}

#[test]
fn of_grants_that_need_the_same_the_longest_is_named() {
    let mut toml = String::new();
    for (id, end) in [("a", "12:00"), ("b", "14:00"), ("c", "13:00")] {
        toml.push_str(&TEN_TO_TWELVE.replace("inc-1", id).replace("12:00", end));
    }
    for target in [
        account("root"),
        Target::Unknown,
        Target::Itself,
        Target::Everything,
    ] {
        let decision = decide(
            &local(&toml),
            &Ask { target, ..ask() },
            &at("2026-11-21T11:00:00Z"),
        );
        assert_eq!(decision.grant.as_deref(), Some("local:b"), "{target:?}");
        assert_eq!(decision.until, Some(time("2026-11-21T14:00:00Z")));
    }
    // Lasting longer does not make up for asking more.
    let toml = toml.replace("id = \"b\"", "id = \"b\"\nmfa = \"always\"");
    let decision = decide(&local(&toml), &ask(), &at("2026-11-21T11:00:00Z"));
    assert_eq!(
        (decision.grant.as_deref(), decision.need),
        (Some("local:c"), Factor::None)
    );
}

#[test]
fn until_is_the_windows_end_if_that_comes_first() {
    let snapshot = |end: &str| {
        local(&format!(
            r#"[[grant]]
            id = "a"
            user = "alice"
            services = ["sudo"]
            not_after = {end}
            [grant.when]
            schedule = [{{ days = "sat", from = "14:00", to = "16:00", zone = "UTC" }}]"#
        ))
    };
    let until = |end: &str| decide(&snapshot(end), &ask(), &at("2026-11-21T15:00:00Z")).until;
    assert_eq!(
        until("2026-12-21T15:30:00Z"),
        Some(time("2026-11-21T16:00:00Z"))
    );
    assert_eq!(
        until("2026-11-21T15:30:00Z"),
        Some(time("2026-11-21T15:30:00Z"))
    );
}

#[test]
fn a_denial_names_the_nearest_grant_and_its_first_failed_condition() {
    let toml = r#"
        [[grant]]
        id = "old"
        user = "alice"
        services = ["sudo"]
        not_after = 2026-11-20T11:00:00Z
        [[grant]]
        id = "older"
        user = "alice"
        services = ["sudo"]
        not_after = 2026-11-19T11:00:00Z
        [[grant]]
        id = "other-service"
        user = "alice"
        services = ["su"]
        not_after = 2027-11-19T11:00:00Z
        "#;
    let moment = at("2026-11-21T11:00:00Z");
    let said = |toml: &str| {
        let decision = decide(&local(toml), &ask(), &moment);
        assert!(!allowed(&decision));
        (decision.grant.unwrap(), decision.detail)
    };
    assert_eq!(said(toml), ("local:old".into(), "expired 24 h ago".into()));

    let coming = |id: &str, start: &str| {
        format!(
            "[[grant]]\nid = \"{id}\"\nuser = \"alice\"\nservices = [\"sudo\"]\n\
             not_before = {start}\nnot_after = 2027-01-01T00:00:00Z\n"
        )
    };
    let toml = format!(
        "{toml}{}{}",
        coming("z", "2026-11-21T13:00:00Z"),
        coming("a", "2026-11-22T13:00:00Z")
    );
    assert_eq!(said(&toml), ("local:z".into(), "starts in 2 h".into()));

    let toml = format!(
        "{toml}[[grant]]\nid = \"office\"\nuser = \"alice\"\nservices = [\"sudo\"]\n\
         not_after = 2027-01-01T00:00:00Z\nwhen.source = [\"10.8.0.0/16\"]\n"
    );
    assert_eq!(
        said(&toml),
        (
            "local:office".into(),
            "source unknown, must be in 10.8.0.0/16".into()
        )
    );
    let ask = Ask {
        source: Some("::ffff:192.0.2.7".parse().unwrap()),
        ..ask()
    };
    assert_eq!(
        decide(&local(&toml), &ask, &moment).detail,
        "source 192.0.2.7 not in 10.8.0.0/16"
    );
}

#[test]
fn words_of_each_denial() {
    let grant = |more: &str| {
        format!(
            "[[grant]]\nid = \"a\"\nuser = \"alice\"\nservices = [\"sudo\"]\n\
             not_after = 2026-11-21T11:00:00Z\n{more}"
        )
    };
    let said = |more: &str, target, now: &str| {
        let decision = decide(&local(&grant(more)), &Ask { target, ..ask() }, &at(now));
        (decision.reason, decision.detail)
    };
    let root = account("root");
    assert_eq!(
        said("", root, "2026-11-21T11:04:59Z"),
        (Reason::Expired, "expired 4 min ago".into())
    );
    assert_eq!(
        said(
            "not_before = 2026-11-21T10:00:00Z",
            root,
            "2026-11-21T09:59:15Z"
        ),
        (Reason::NotStarted, "starts in 45 s".into())
    );
    assert_eq!(
        said(
            "when.schedule = [{ days = \"fri-mon\", from = \"22:00\", to = \"06:00\", zone = \"Europe/Berlin\" }]",
            root,
            "2026-11-21T10:00:00Z"
        ),
        (
            Reason::Schedule,
            "outside its schedule (fri-mon 22:00-06:00 Europe/Berlin)".into()
        )
    );
    let toor = Target::Account {
        name: "toor",
        uid0: true,
    };
    assert_eq!(
        said("run_as = [\"toor\"]", toor, "2026-11-21T10:00:00Z"),
        (
            Reason::Target,
            "target toor has uid 0, so run_as must name root or *".into()
        )
    );
    assert_eq!(
        said(
            "run_as = [\"x\"]",
            Target::Everything,
            "2026-11-21T10:00:00Z"
        ),
        (
            Reason::Target,
            "editing files or choosing a group needs root or * in run_as".into()
        )
    );
    let snapshot = central(
        &grant("max_offline = \"30m\""),
        "2026-11-21T08:00:00Z",
        3600,
    );
    assert_eq!(
        decide(&snapshot, &ask(), &at("2026-11-21T10:10:00Z")).detail,
        "the central policy is 2 h 10 min old, the grant holds for 30 min without news of it"
    );
}

#[test]
fn hostile_names_are_safe_to_print() {
    let moment = at("2026-11-21T11:00:00Z");
    let long = "x".repeat(300);
    for name in [
        "../../x",
        "a b",
        "\u{1b}[2J\nroot",
        "a\u{202e}b",
        "",
        "\0",
        &long,
    ] {
        let snapshot = local(TEN_TO_TWELVE);
        let questions = [
            Ask {
                user: name,
                ..ask()
            },
            Ask {
                service: name,
                ..ask()
            },
            Ask {
                target: account(name),
                ..ask()
            },
        ];
        for ask in questions {
            let decision = decide(&snapshot, &ask, &moment);
            assert!(!decision.allowed);
            let mut said = vec![decision.detail];
            said.extend(
                explain(&snapshot, &ask, &moment)
                    .into_iter()
                    .map(|e| e.detail),
            );
            for text in said {
                assert_eq!(jit_policy::printable(&text).replace("\\\\", "\\"), text);
                assert!(text.len() < 300, "{text}");
            }
        }
    }
}

#[test]
fn explain_judges_every_grant_of_the_person() {
    let toml = format!(
        "{TEN_TO_TWELVE}{}{}",
        TEN_TO_TWELVE
            .replace("inc-1", "inc-2")
            .replace("12:00:00Z", "10:30:00Z"),
        TEN_TO_TWELVE
            .replace("inc-1", "not-mine")
            .replace("alice", "bob"),
    );
    let explained = explain(&local(&toml), &ask(), &at("2026-11-21T11:18:00Z"));
    let said: Vec<_> = explained
        .iter()
        .map(|e| (&*e.id, e.matched, e.failed, &*e.detail))
        .collect();
    assert_eq!(
        said,
        [
            ("local:inc-1", true, None, "42 min left"),
            (
                "local:inc-2",
                false,
                Some(Reason::Expired),
                "expired 48 min ago"
            ),
        ]
    );
}

#[test]
fn states_for_people() {
    let toml = format!(
        "{TEN_TO_TWELVE}when.source = [\"10.8.0.0/16\"]\n{}",
        TEN_TO_TWELVE.replace("inc-1", "inc-2")
    );
    let snapshot = local(&toml);
    let states = |now: &str, source: Option<&str>| -> Vec<(Phase, String)> {
        let source = source.map(|s| s.parse().unwrap());
        let held = snapshot.grants_of("alice", &[]);
        held.map(|h| state_of(&h, source, &at(now)))
            .map(|s| (s.phase, s.detail))
            .collect()
    };
    assert_eq!(
        states("2026-11-21T11:18:00Z", None),
        [
            (
                Phase::Waiting,
                "source unknown, must be in 10.8.0.0/16".into()
            ),
            (Phase::Active, "42 min left".into())
        ]
    );
    assert_eq!(
        states("2026-11-21T11:18:00Z", Some("10.8.1.1"))[0].0,
        Phase::Active
    );
    assert_eq!(
        states("2026-11-21T08:00:00Z", None)[0],
        (Phase::Later, "starts in 2 h".into())
    );
    assert_eq!(
        states("2026-11-21T12:00:00Z", None)[0],
        (Phase::Expired, "expired 0 s ago".into())
    );
    let unsettled = Moment {
        settled: false,
        ..at("2026-11-21T11:18:00Z")
    };
    let held = snapshot.grants_of("alice", &[]).last().unwrap();
    assert_eq!(state_of(&held, None, &unsettled).phase, Phase::Waiting);
    let active = state_of(&held, None, &at("2026-11-21T11:18:00Z"));
    assert_eq!(active.until, Some(time("2026-11-21T12:00:00Z")));
}

#[test]
fn a_host_keeps_only_grants_that_aim_at_it() {
    let toml: String = [
        ("every", ""),
        ("name", "hosts = [\"DB-1\"]"),
        ("glob", "hosts = [\"web-*\", \"db-?\"]"),
        ("label", "hosts = [\"env=prod\"]"),
        ("other-name", "hosts = [\"db-2\"]"),
        ("part-of-name", "hosts = [\"db\"]"),
        ("other-label", "hosts = [\"env=test\", \"role=prod\"]"),
    ]
    .iter()
    .map(|(id, hosts)| {
        format!(
            "[[grant]]\nid = \"{id}\"\nuser = \"alice\"\nservices = [\"sudo\"]\n\
             not_after = 2027-01-01T00:00:00Z\n{hosts}\n"
        )
    })
    .collect();
    let index = Index::build(Origin::Local, grants(&toml), &host());
    let ids: Vec<&str> = index.grants().iter().map(|g| &*g.id).collect();
    assert_eq!(ids, ["every", "name", "glob", "label"]);
    assert_eq!((index.len(), index.is_empty()), (4, false));
}
