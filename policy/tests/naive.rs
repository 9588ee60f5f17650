//! `decide` against a second implementation: slow, straight from the rules, from the text of the
//! grants rather than from what was parsed of them.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
mod common;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};
use jit_policy::condition::Window;
use jit_policy::grant::parse_json;
use jit_policy::snapshot::Central;
use jit_policy::{
    Ask, Decision, Factor, HostFacts, Index, Moment, Origin, Reason, Snapshot, Target, decide,
    explain,
};
use proptest::collection::vec;
use proptest::option::{of, weighted};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// A grant as its author thinks of it.
#[derive(Debug, Clone)]
struct Spec {
    user: Option<&'static str>,
    group: Option<&'static str>,
    services: Vec<&'static str>,
    run_as: Option<Vec<&'static str>>,
    hosts: Option<Vec<&'static str>>,
    /// Seconds from the case's own time.
    not_before: Option<i64>,
    not_after: i64,
    mfa: Option<&'static str>,
    max_offline: Option<&'static str>,
    source: Option<Vec<&'static str>>,
    schedule: Option<Vec<Times>>,
}

/// A question and the world it is asked in.
#[derive(Debug, Clone)]
struct Case {
    base: Timestamp,
    local: Vec<Spec>,
    central: Option<(Vec<Spec>, i64, u32)>,
    host: &'static str,
    env: Option<&'static str>,
    user: &'static str,
    groups: Vec<&'static str>,
    service: &'static str,
    target: Target<'static>,
    source: Option<&'static str>,
    grant_required: bool,
    floor: &'static str,
    /// How far the earlier clock is behind, in seconds.
    behind: i64,
    settled: bool,
}

const TARGETS: [&str; 4] = ["root", "postgres", "toor", "*"];
const FACTORS: [&str; 6] = ["none", "always", "15m", "1h", "90s", "1h30m"];

fn factor() -> impl Strategy<Value = &'static str> {
    select(&FACTORS[..])
}

/// Around zero, often exactly: the boundaries are where decisions go wrong.
fn offset() -> impl Strategy<Value = i64> {
    prop_oneof![
        2 => Just(0),
        2 => -2i64..=2,
        3 => -7200i64..=7200,
        2 => -200_000i64..=200_000,
    ]
}

type Times = (&'static str, &'static str, &'static str, &'static str);

fn window(zone: impl Strategy<Value = &'static str>) -> impl Strategy<Value = Times> {
    let from = [
        "00:00", "01:30", "02:00", "02:30", "09:00", "14:00", "22:00", "23:59",
    ];
    let to = [
        "00:00", "01:30", "02:30", "03:00", "06:00", "14:00", "16:00", "23:59",
    ];
    (
        select(vec![
            "mon-sun", "mon-fri", "sat,sun", "fri-mon", "Sunday", "sun-mon", "wed",
        ]),
        select(from.to_vec()),
        select(to.to_vec()),
        zone,
    )
}

fn spec() -> impl Strategy<Value = Spec> {
    let who = prop_oneof![
        3 => Just((Some("alice"), None)),
        1 => Just((Some("bob"), None)),
        2 => Just((None, Some("dba"))),
        1 => Just((None, Some("alice"))),
    ];
    let window = window(select(vec![
        "UTC",
        "Europe/Berlin",
        "America/New_York",
        "Australia/Lord_Howe",
        "Asia/Kathmandu",
    ]));
    let dates = prop_oneof![
        2 => (weighted(0.6, offset()), offset()),
        3 => (weighted(0.3, -200_000i64..=0), 1i64..=200_000),
    ];
    let conditions = (
        dates,
        weighted(0.6, factor()),
        weighted(0.3, select(vec!["10m", "30m", "2h", "1h"])),
        weighted(
            0.25,
            vec(
                select(vec![
                    "10.8.0.0/16",
                    "192.0.2.7",
                    "2001:db8::/32",
                    "0.0.0.0/0",
                    "::ffff:10.9.0.0/112",
                    "10.8.3.0/25",
                ]),
                1..3,
            ),
        ),
        weighted(0.3, vec(window, 1..3)),
    );
    let lists = (
        vec(select(vec!["sudo", "sudo", "sudo", "su", "sshd"]), 1..3),
        weighted(0.7, vec(select(&TARGETS[..]), 1..4)),
        weighted(
            0.3,
            vec(
                select(vec![
                    "db-1", "DB-*", "web-?", "*", "env=prod", "env=test", "d?-*1", "db",
                ]),
                1..3,
            ),
        ),
    );
    (who, lists, conditions)
        .prop_filter("ends after it starts", |(_, _, ((start, end), ..))| {
            start.is_none_or(|start| start < *end)
        })
        .prop_map(|(who, lists, conditions)| {
            let ((not_before, not_after), mfa, max_offline, source, schedule) = conditions;
            Spec {
                user: who.0,
                group: who.1,
                services: lists.0,
                run_as: lists.1,
                hosts: lists.2,
                not_before,
                not_after,
                mfa,
                max_offline,
                source,
                schedule,
            }
        })
}

/// Changes of clocks in Berlin, New York and Lord Howe, and a plain day.
const CHANGES: [&str; 7] = [
    "2026-03-29T01:00:00Z",
    "2026-10-25T01:00:00Z",
    "2026-03-08T07:00:00Z",
    "2026-11-01T06:00:00Z",
    "2026-04-04T15:00:00Z",
    "2026-10-03T15:30:00Z",
    "2026-11-21T12:00:00Z",
];

fn base() -> impl Strategy<Value = Timestamp> {
    let about = select(&CHANGES[..]);
    let seconds = prop_oneof![
        3 => (-144i64..=144).prop_map(|tens| tens * 600),
        1 => (-1440i64..=1440).prop_map(|minutes| minutes * 60),
        2 => -86_400i64..=86_400,
    ];
    (about, seconds)
        .prop_map(|(about, seconds)| common::time(about) + SignedDuration::from_secs(seconds))
}

fn case() -> impl Strategy<Value = Case> {
    let target = prop_oneof![
        1 => Just(Target::Itself),
        3 => Just(Target::Unknown),
        1 => Just(Target::Everything),
        4 => (select(vec!["root", "postgres", "toor", "www"]), any::<bool>())
            .prop_map(|(name, uid0)| Target::Account { name, uid0: uid0 || name == "root" }),
    ];
    let who = (
        select(vec![
            "alice", "alice", "alice", "alice", "alice", "bob", "carol",
        ]),
        vec(select(vec!["dba", "alice", "users", "dba"]), 0..4),
        select(vec!["sudo", "sudo", "sudo", "sudo", "su", "sshd"]),
        target,
        of(select(vec![
            "10.8.3.4",
            "10.8.3.200",
            "::ffff:10.8.1.1",
            "10.9.1.1",
            "192.0.2.7",
            "2001:db8::7",
            "2001:db9::7",
        ])),
    );
    let policy = (
        vec(spec(), 0..5),
        select(vec![0i64, 600, 1800, 1801, 3600, 7200, 7201, -60]),
        select(vec![1800u32, 3600, 7200]),
    );
    let moment = (
        base(),
        prop_oneof![5 => Just(0i64), 1 => 1i64..=5, 1 => 0i64..=7200],
        weighted_bool(0.95),
    );
    (
        (vec(spec(), 0..6), weighted(0.6, policy)),
        (
            select(vec!["db-1", "web-1", "db"]),
            of(select(vec!["prod", "test"])),
        ),
        who,
        (weighted_bool(0.95), factor()),
        moment,
    )
        .prop_map(
            |((local, central), (host, env), who, (grant_required, floor), moment)| Case {
                base: moment.0,
                local,
                central,
                host,
                env,
                user: who.0,
                groups: who.1,
                service: who.2,
                target: who.3,
                source: who.4,
                grant_required,
                floor,
                behind: moment.1,
                settled: moment.2,
            },
        )
}

fn weighted_bool(p: f64) -> impl Strategy<Value = bool> {
    proptest::bool::weighted(p)
}

// --- the case, put to the real implementation -------------------------------------------------

fn shifted(base: Timestamp, seconds: i64) -> Timestamp {
    base + SignedDuration::from_secs(seconds)
}

fn to_json(base: Timestamp, specs: &[Spec]) -> String {
    let grants = specs.iter().enumerate().map(|(n, spec)| {
        let mut grant = Map::new();
        let mut put = |key: &str, value: Option<Value>| value.map(|v| grant.insert(key.into(), v));
        put("id", Some(json!(format!("g{n}"))));
        put("user", spec.user.map(|v| json!(v)));
        put("group", spec.group.map(|v| json!(v)));
        put("services", Some(json!(spec.services)));
        put("run_as", spec.run_as.as_ref().map(|v| json!(v)));
        put("hosts", spec.hosts.as_ref().map(|v| json!(v)));
        put("not_before", spec.not_before.map(|s| json!(shifted(base, s).to_string())));
        put("not_after", Some(json!(shifted(base, spec.not_after).to_string())));
        put("mfa", spec.mfa.map(|v| json!(v)));
        put("max_offline", spec.max_offline.map(|v| json!(v)));
        let mut when = Map::new();
        if let Some(source) = &spec.source {
            when.insert("source".into(), json!(source));
        }
        if let Some(windows) = &spec.schedule {
            let windows: Vec<Value> = windows
                .iter()
                .map(|(days, from, to, zone)| json!({"days": days, "from": from, "to": to, "zone": zone}))
                .collect();
            when.insert("schedule".into(), json!(windows));
        }
        put("when", (!when.is_empty()).then_some(Value::Object(when)));
        Value::Object(grant)
    });
    json!({ "grants": grants.collect::<Vec<_>>() }).to_string()
}

fn index(case: &Case, origin: Origin, specs: &[Spec]) -> Arc<Index> {
    let parsed = parse_json(&to_json(case.base, specs)).unwrap();
    assert_eq!(parsed.faults, []);
    let labels = case
        .env
        .map(|env| ("env".to_owned(), env.to_owned()))
        .into_iter()
        .collect();
    let host = HostFacts {
        name: case.host.into(),
        labels,
    };
    Arc::new(Index::build(origin, parsed.grants, &host))
}

fn real<T>(case: &Case, answer: impl Fn(&Snapshot, &Ask<'_>, &Moment) -> T) -> T {
    let central = case
        .central
        .as_ref()
        .map(|(specs, age, max_offline)| Central {
            index: index(case, Origin::Central, specs),
            issued_at: shifted(case.base, -age),
            max_offline: *max_offline,
        });
    let snapshot = Snapshot::new(index(case, Origin::Local, &case.local), central);
    let groups: Vec<String> = case.groups.iter().map(ToString::to_string).collect();
    let ask = Ask {
        user: case.user,
        groups: &groups,
        service: case.service,
        target: case.target,
        source: case.source.map(|s| s.parse().unwrap()),
        grant_required: case.grant_required,
        floor: case.floor.parse().unwrap(),
    };
    let moment = Moment {
        latest: case.base,
        earliest: shifted(case.base, -case.behind),
        settled: case.settled,
    };
    answer(&snapshot, &ask, &moment)
}

// --- the naive implementation -----------------------------------------------------------------

/// Strictness as a number: seconds of trust, the fewer the stricter; 0 for always.
type Trust = u64;

fn trust(text: &str) -> Trust {
    match text {
        "always" => 0,
        "none" => u64::MAX,
        "15m" => 900,
        "1h" => 3600,
        "90s" => 90,
        "1h30m" => 5400,
        "10m" => 600,
        "30m" => 1800,
        "2h" => 7200,
        other => panic!("{other}"),
    }
}

fn trust_of(factor: Factor) -> Trust {
    match factor {
        Factor::Always => 0,
        Factor::Age(seconds) => seconds.into(),
        Factor::None => u64::MAX,
    }
}

struct Naive<'a> {
    id: String,
    spec: &'a Spec,
    /// Age of the policy and what the agent allows, for a central grant.
    lease: Option<(i64, u32)>,
}

fn aims(case: &Case, spec: &Spec) -> bool {
    let hit = |pattern: &&str| match *pattern {
        "*" => true,
        "env=prod" => case.env == Some("prod"),
        "env=test" => case.env == Some("test"),
        "db-1" | "DB-*" | "d?-*1" => case.host == "db-1",
        "web-?" => case.host == "web-1",
        "db" => case.host == "db",
        other => panic!("{other}"),
    };
    spec.hosts
        .as_ref()
        .is_none_or(|hosts| hosts.iter().any(hit))
}

/// Address as 128 bits, v4 as its mapped form; network likewise with its prefix.
fn bits(text: &str) -> u128 {
    match text.parse::<std::net::IpAddr>().unwrap() {
        std::net::IpAddr::V4(v4) => v4.to_ipv6_mapped().into(),
        std::net::IpAddr::V6(v6) => v6.into(),
    }
}

fn in_net(address: &str, net: &str) -> bool {
    let (base, prefix) = net
        .split_once('/')
        .unwrap_or((net, if net.contains(':') { "128" } else { "32" }));
    let prefix: u32 = prefix.parse().unwrap();
    let prefix = if base.contains(':') {
        prefix
    } else {
        prefix + 96
    };
    (bits(address) ^ bits(base)).leading_zeros() >= prefix
}

fn day_listed(days: &str, weekday: &str) -> bool {
    let listed = match days {
        "mon-sun" => "mon tue wed thu fri sat sun",
        "mon-fri" => "mon tue wed thu fri",
        "sat,sun" => "sat sun",
        "fri-mon" => "fri sat sun mon",
        "Sunday" => "sun",
        "sun-mon" => "sun mon",
        "wed" => "wed",
        other => panic!("{other}"),
    };
    listed.contains(weekday)
}

/// The starts of openings (as `2026-11-21`) that the wall clock's reading lies in, by comparing
/// what it reads as text.
fn openings(window: &Times, at: Timestamp) -> Vec<String> {
    let (days, from, to, zone) = window;
    let wall = at.to_zoned(TimeZone::get(zone).unwrap()).datetime();
    let reading = wall.strftime("%Y-%m-%dT%H:%M").to_string();
    let mut found = Vec::new();
    for back in 0..=1 {
        let day = wall.date().checked_sub(back.days()).unwrap();
        let end_day = if to <= from {
            day.tomorrow().unwrap()
        } else {
            day
        };
        let weekday = day.strftime("%a").to_string().to_lowercase();
        let (start, end) = (format!("{day}T{from}"), format!("{end_day}T{to}"));
        if day_listed(days, &weekday) && start <= reading && reading < end {
            found.push(day.to_string());
        }
    }
    found
}

fn scheduled(spec: &Spec, at: Timestamp) -> bool {
    spec.schedule
        .as_ref()
        .is_none_or(|windows| windows.iter().any(|w| !openings(w, at).is_empty()))
}

/// Looks at every whole minute to come until the opening is over.
fn window_end(windows: &[Times], at: Timestamp) -> Option<Timestamp> {
    let mut ends = Vec::new();
    for window in windows {
        for opening in openings(window, at) {
            let mut minute = at.as_second() / 60;
            loop {
                minute += 1;
                let then = Timestamp::from_second(minute * 60).unwrap();
                if !openings(window, then).contains(&opening) {
                    ends.push(then);
                    break;
                }
            }
        }
    }
    ends.into_iter().max()
}

fn covers(spec: &Spec, target: &str, uid0: bool) -> bool {
    let run_as = spec.run_as.clone().unwrap_or_else(|| vec!["root"]);
    run_as.contains(&"*")
        || if uid0 {
            run_as.contains(&"root")
        } else {
            run_as.contains(&target)
        }
}

impl Naive<'_> {
    /// Everything that fails, in the order in which it is told.
    fn fails(&self, case: &Case) -> Vec<Reason> {
        let spec = self.spec;
        let mut fails = Vec::new();
        let mut check = |reason, holds: bool| {
            if !holds {
                fails.push(reason);
            }
        };
        check(Reason::NoGrant, spec.services.contains(&case.service));
        check(Reason::Clock, case.settled);
        check(Reason::Expired, spec.not_after > 0);
        check(
            Reason::NotStarted,
            spec.not_before.is_none_or(|s| s <= -case.behind),
        );
        let patient = self.lease.is_none_or(|(age, most)| {
            age <= i64::from(most)
                && spec
                    .max_offline
                    .is_none_or(|own| age <= i64::try_from(trust(own)).unwrap())
        });
        check(Reason::Offline, patient);
        let earlier = shifted(case.base, -case.behind);
        check(
            Reason::Schedule,
            scheduled(spec, case.base) && scheduled(spec, earlier),
        );
        let from_there = spec.source.as_ref().is_none_or(|nets| {
            case.source
                .is_some_and(|source| nets.iter().any(|net| in_net(source, net)))
        });
        check(Reason::Source, from_there);
        let covered = match case.target {
            Target::Itself | Target::Unknown => true,
            Target::Everything => covers(spec, "root", true),
            Target::Account { name, uid0 } => covers(spec, name, uid0),
        };
        check(Reason::Target, covered);
        fails
    }

    fn trust(&self, case: &Case) -> Trust {
        trust(self.spec.mfa.unwrap_or(case.floor)).min(trust(case.floor))
    }

    fn until(&self, case: &Case) -> Timestamp {
        let end = shifted(case.base, self.spec.not_after);
        self.spec
            .schedule
            .as_ref()
            .and_then(|s| window_end(s, case.base))
            .map_or(end, |w| w.min(end))
    }
}

/// What is right: for the grant, any of several.
#[derive(Debug)]
struct Answer {
    allowed: bool,
    reason: Reason,
    need: Option<Trust>,
    until: Option<Timestamp>,
    grants: Vec<String>,
}

fn named(case: &Case) -> Vec<Naive<'_>> {
    let mine = |spec: &Spec| {
        spec.user == Some(case.user) || spec.group.is_some_and(|g| case.groups.contains(&g))
    };
    let local = case
        .local
        .iter()
        .enumerate()
        .map(|(n, spec)| (format!("local:g{n}"), spec, None));
    let central = case.central.iter().flat_map(|(specs, age, most)| {
        specs
            .iter()
            .enumerate()
            .map(move |(n, spec)| (format!("central:g{n}"), spec, Some((*age, *most))))
    });
    local
        .chain(central)
        .filter(|(_, spec, _)| mine(spec) && aims(case, spec))
        .map(|(id, spec, lease)| Naive { id, spec, lease })
        .collect()
}

fn naive(case: &Case) -> Answer {
    if !case.grant_required {
        let need = Some(trust(case.floor));
        return Answer {
            allowed: true,
            reason: Reason::NotRequired,
            need,
            until: None,
            grants: vec![],
        };
    }
    let named = named(case);
    let holding: Vec<&Naive<'_>> = named.iter().filter(|g| g.fails(case).is_empty()).collect();
    if holding.is_empty() {
        return refusal(case, &named);
    }
    let unknown = case.target == Target::Unknown;
    let need = if unknown {
        // Try every target there is, and one that nobody names.
        TARGETS
            .iter()
            .map(|t| if *t == "*" { "some-other-account" } else { t })
            .filter_map(|target| {
                let covering = holding.iter().filter(|g| covers(g.spec, target, false));
                covering.map(|g| g.trust(case)).max()
            })
            .min()
            .unwrap()
    } else {
        holding.iter().map(|g| g.trust(case)).max().unwrap()
    };
    let carriers: Vec<_> = holding
        .iter()
        .filter(|g| unknown || g.trust(case) == need)
        .collect();
    let until = carriers.iter().map(|g| g.until(case)).max();
    let longest = carriers.iter().filter(|g| Some(g.until(case)) == until);
    let grants = longest.map(|g| g.id.clone()).collect();
    Answer {
        allowed: true,
        reason: Reason::Granted,
        need: Some(need),
        until,
        grants,
    }
}

fn refusal(case: &Case, named: &[Naive<'_>]) -> Answer {
    // The nearest is the one with the fewest conditions left to look at after its first failure.
    let order = [
        Reason::Target,
        Reason::Source,
        Reason::Schedule,
        Reason::Offline,
        Reason::NotStarted,
        Reason::Expired,
        Reason::Clock,
    ];
    for reason in order {
        let near: Vec<_> = named
            .iter()
            .filter(|g| g.fails(case).first() == Some(&reason))
            .collect();
        if near.is_empty() {
            continue;
        }
        let key = |g: &Naive<'_>| match reason {
            Reason::NotStarted => g.spec.not_before.unwrap(),
            _ => -g.spec.not_after,
        };
        let best = near.iter().map(|g| key(g)).min();
        let grants = near
            .iter()
            .filter(|g| Some(key(g)) == best)
            .map(|g| g.id.clone())
            .collect();
        return Answer {
            allowed: false,
            reason,
            need: None,
            until: None,
            grants,
        };
    }
    Answer {
        allowed: false,
        reason: Reason::NoGrant,
        need: None,
        until: None,
        grants: vec![],
    }
}

fn agree(case: &Case, decision: &Decision) -> Result<(), TestCaseError> {
    let right = naive(case);
    prop_assert_eq!(
        decision.allowed,
        right.allowed,
        "{:?} {:?}",
        right,
        decision
    );
    prop_assert_eq!(decision.reason, right.reason, "{:?} {:?}", right, decision);
    if let Some(need) = right.need {
        prop_assert_eq!(trust_of(decision.need), need, "{:?} {:?}", right, decision);
    }
    prop_assert_eq!(decision.until, right.until, "{:?} {:?}", right, decision);
    match &decision.grant {
        Some(grant) => prop_assert!(right.grants.contains(grant), "{right:?} {decision:?}"),
        None => prop_assert!(right.grants.is_empty(), "{right:?} {decision:?}"),
    }
    prop_assert_eq!(decision.detail.is_empty(), decision.allowed);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, ..ProptestConfig::default() })]

    #[test]
    fn decide_agrees_with_the_naive_implementation(case in case()) {
        agree(&case, &real(&case, decide))?;
    }

    #[test]
    fn explain_agrees_with_the_naive_implementation(case in case()) {
        let explained = real(&case, explain);
        let mut told: Vec<_> = explained.iter().map(|e| (e.id.clone(), e.failed)).collect();
        let mut right: Vec<_> =
            named(&case).iter().map(|g| (g.id.clone(), g.fails(&case).first().copied())).collect();
        told.sort_by(|a, b| a.0.cmp(&b.0));
        right.sort_by(|a, b| a.0.cmp(&b.0));
        prop_assert_eq!(told, right);
        prop_assert!(explained.iter().all(|e| e.matched == e.failed.is_none() && !e.detail.is_empty()));
    }

    /// Whatever is added to what nobody here is named by changes nothing.
    #[test]
    fn other_peoples_grants_change_nothing(case in case(), others in vec(spec(), 0..6)) {
        let before = real(&case, decide);
        let mut with = case.clone();
        with.local.extend(others.into_iter().map(|spec| Spec { user: Some("zoe"), group: None, ..spec }));
        prop_assert_eq!(real(&with, decide), before);
    }

    /// More grants never refuse what fewer allowed.
    #[test]
    fn grants_only_add(case in case(), more in vec(spec(), 0..4)) {
        let before = real(&case, decide);
        let mut with = case.clone();
        with.local.extend(more);
        let after = real(&with, decide);
        prop_assert!(!before.allowed || after.allowed);
        if before.allowed && case.target != Target::Unknown {
            prop_assert!(after.need <= before.need);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, ..ProptestConfig::default() })]

    /// Where clocks change, and close to it: far more such cases than whole decisions reach.
    #[test]
    fn a_window_ends_where_a_walk_by_minutes_finds_it(
        (change, window) in select(vec![
            (CHANGES[0], "Europe/Berlin"),
            (CHANGES[1], "Europe/Berlin"),
            (CHANGES[2], "America/New_York"),
            (CHANGES[3], "America/New_York"),
            (CHANGES[4], "Australia/Lord_Howe"),
            (CHANGES[5], "Australia/Lord_Howe"),
        ])
        .prop_flat_map(|(change, zone)| (Just(change), window(Just(zone)))),
        seconds in prop_oneof![3 => -4500i64..=4500, 1 => -100_000i64..=100_000],
    ) {
        let at = shifted(common::time(change), seconds);
        let (days, from, to, zone) = window;
        let real = Window::parse(days, from, to, zone).unwrap().open_until(at);
        prop_assert_eq!(real, window_end(&[window], at));
    }
}

/// The cases above are worth something only if they allow and refuse for every reason.
#[test]
fn the_cases_reach_every_answer() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let mut seen = std::collections::BTreeMap::<&str, u32>::new();
    let mut by_window = 0;
    for _ in 0..4096 {
        let case = case().new_tree(&mut runner).unwrap().current();
        let decision = real(&case, decide);
        *seen.entry(decision.reason.as_str()).or_default() += 1;
        by_window += u32::from(decision.until.is_some_and(|until| {
            let held = [
                case.local.clone(),
                case.central.map(|c| c.0).unwrap_or_default(),
            ]
            .concat();
            held.iter()
                .all(|spec| shifted(case.base, spec.not_after) != until)
        }));
    }
    for reason in [
        Reason::Granted,
        Reason::NotRequired,
        Reason::NoGrant,
        Reason::NotStarted,
        Reason::Expired,
        Reason::Schedule,
        Reason::Source,
        Reason::Target,
        Reason::Offline,
        Reason::Clock,
    ] {
        assert!(
            seen.get(reason.as_str()).is_some_and(|n| *n >= 20),
            "{reason}: {seen:?}"
        );
    }
    assert!(by_window > 20, "{by_window}");
    println!("{seen:?}, {by_window} ended by a window");
}
