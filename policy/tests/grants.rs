//! Reading grants: what is taken, what is refused, and what the refusal says.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
mod common;

use common::*;
use jit_policy::grant::{Draft, Grant, parse_json, parse_toml, repeated_ids, to_json, to_toml};
use jit_policy::{Factor, Who};

/// Every field.
const FULL: &str = r#"
[[grant]]
id          = "inc-4711-alice"
user        = "alice"
services    = ["sudo", "su"]
run_as      = ["root", "postgres"]
hosts       = ["db-*", "env=prod"]
not_before  = 2026-11-21T10:00:00.123456789Z
not_after   = 2026-11-21T13:00:00+01:00
mfa         = "15m"
reason      = "INC-4711 \"failover\""
ticket      = "INC-4711"
approved_by = ["carol"]
max_offline = "30m"
[grant.when]
source   = ["10.8.0.0/16", "2001:db8::1"]
schedule = [{ days = "mon-fri", from = "14:00", to = "16:00", zone = "Europe/Berlin" }]
"#;

const LEAST: &str = r#"
[[grant]]
id = "a"
group = "domain users"
services = ["sudo"]
not_after = 2026-11-21 12:00:00Z
"#;

fn one(toml: &str) -> Grant {
    let mut grants = grants(toml);
    assert_eq!(grants.len(), 1);
    grants.remove(0)
}

/// The one fault of a text, which must have no grant: line, id, message.
fn fault(toml: &str) -> (usize, Option<String>, String) {
    let parsed = parse_toml(toml).unwrap();
    assert_eq!(parsed.grants, [], "{toml}");
    assert_eq!(parsed.faults.len(), 1, "{toml}");
    let fault = &parsed.faults[0];
    assert_eq!(
        jit_policy::printable(&fault.message).replace("\\\\", "\\"),
        fault.message
    );
    (fault.line.unwrap(), fault.id.clone(), fault.message.clone())
}

#[test]
fn every_field_is_read() {
    let grant = one(FULL);
    assert_eq!(&*grant.id, "inc-4711-alice");
    assert_eq!(grant.who, Who::User("alice".into()));
    assert_eq!(&*grant.terms.services, ["sudo".into(), "su".into()]);
    assert_eq!(&*grant.terms.run_as, ["root".into(), "postgres".into()]);
    assert_eq!(&*grant.terms.hosts, ["db-*".into(), "env=prod".into()]);
    assert_eq!(
        grant.not_before,
        Some(time("2026-11-21T10:00:00.123456789Z"))
    );
    assert_eq!(grant.not_after, time("2026-11-21T12:00:00Z"));
    assert_eq!(grant.terms.mfa, Some(Factor::Age(900)));
    assert_eq!(grant.reason.as_deref(), Some("INC-4711 \"failover\""));
    assert_eq!(grant.ticket.as_deref(), Some("INC-4711"));
    assert_eq!(&*grant.terms.approved_by, ["carol".into()]);
    assert_eq!(grant.terms.max_offline, Some(1800));
    assert_eq!(grant.terms.when.source.len(), 2);
    assert_eq!(
        grant.terms.when.schedule[0].to_string(),
        "mon-fri 14:00-16:00 Europe/Berlin"
    );
}

#[test]
fn what_is_left_out_has_its_default() {
    let grant = one(LEAST);
    assert_eq!(grant.who, Who::Group("domain users".into()));
    assert_eq!(&*grant.terms.run_as, ["root".into()]);
    assert!(grant.terms.hosts.is_empty() && grant.terms.approved_by.is_empty());
    assert!(grant.terms.when.source.is_empty() && grant.terms.when.schedule.is_empty());
    assert_eq!(
        (grant.not_before, grant.terms.mfa, grant.terms.max_offline),
        (None, None, None)
    );
}

#[test]
fn what_is_written_reads_back_the_same() {
    for text in [FULL, LEAST] {
        let grant = one(text);
        assert_eq!(one(&to_toml(&grant)), grant);
        let json = parse_json(&to_json(std::slice::from_ref(&grant))).unwrap();
        assert_eq!((json.grants, json.faults), (vec![grant.clone()], vec![]));
        let text = serde_json::to_string(&grant).unwrap();
        assert_eq!(serde_json::from_str::<Grant>(&text).unwrap(), grant);
    }
    assert!(
        to_toml(&one(FULL)).starts_with("[[grant]]\nid = \"inc-4711-alice\"\nuser = \"alice\"\n")
    );
    assert!(to_toml(&one(FULL)).contains("\nnot_after = 2026-11-21T12:00:00Z\n"));
}

#[test]
fn no_grants_at_all_is_a_file_too() {
    for text in ["", "# nothing\n", "grant = []\n"] {
        assert_eq!(
            parse_toml(text).unwrap(),
            jit_policy::grant::Parsed::default()
        );
    }
    assert_eq!(
        parse_json("{\"grants\":[]}").unwrap(),
        jit_policy::grant::Parsed::default()
    );
}

/// [`LEAST`] with one line changed or added.
fn with(line: &str) -> String {
    let key = line.split(['=', '.']).next().unwrap().trim();
    let mut text: String = LEAST
        .lines()
        .filter(|l| l.split('=').next().unwrap().trim() != key)
        .map(|l| format!("{l}\n"))
        .collect();
    text.push_str(line);
    text
}

#[test]
fn each_bad_field_is_refused_and_named() {
    for (line, said) in [
        ("id = \"\"", "id \"\" must be"),
        ("id = \"a/b\"", "id \"a/b\" must be"),
        ("id = 7", "expected a string"),
        ("user = \"alice\"", "not both"),
        ("group = \"*\"", "no wildcard"),
        ("group = \"a:b\"", "no account name"),
        ("services = []", "services is empty"),
        ("services = [\"*\"]", "service \"*\" must be"),
        ("services = [\"sudo-i\"]", "write sudo, which covers it"),
        ("services = [\"su-l\"]", "write su, which covers it"),
        ("services = \"sudo\"", "expected a sequence"),
        ("run_as = []", "run_as is empty"),
        ("run_as = [\"\"]", "run_as \"\""),
        ("hosts = []", "hosts is empty"),
        ("hosts = [\"db-[12]\"]", "hosts entry \"db-[12]\""),
        ("hosts = [\"env=*\"]", "labels know no wildcard"),
        (
            "not_before = 2026-11-21T12:00:00Z",
            "must be later than not_before",
        ),
        (
            "not_before = 2027-11-21T12:00:00Z",
            "must be later than not_before",
        ),
        ("not_after = 2026-11-21T12:00:00", "no time with an offset"),
        ("not_after = 2026-11-21", "no time with an offset"),
        ("not_after = 12:00:00", "no time with an offset"),
        ("not_after = \"tomorrow\"", "no time with an offset"),
        (
            "not_after = \"2026-11-21T12:00:00+01:00[Europe/Berlin]\"",
            "no time with an offset",
        ),
        (
            "not_after = \"+012026-11-21T12:00:00Z\"",
            "no time with an offset",
        ),
        ("not_after = 1969-11-21T12:00:00Z", "before 1970"),
        ("not_after = 1795435200", "expected a time with an offset"),
        ("not_after = { a = 1 }", ""),
        ("mfa = \"sometimes\"", "is no factor"),
        ("mfa = \"0s\"", "is no factor"),
        ("mfa = true", "expected"),
        ("reason = \"a\\nb\"", "one printable line"),
        ("reason = \"\\u001b[2J\"", "one printable line"),
        ("ticket = \"\\u202e\"", "one printable line"),
        ("approved_by = [\"\"]", "approved_by \"\""),
        (
            "max_offline = \"forever\"",
            "max_offline: \"forever\" is not a duration",
        ),
        ("max_offline = 60", "expected"),
        ("when.source = []", "source is empty"),
        (
            "when.source = [\"10.8.0.5/16\"]",
            "bits set beyond its prefix",
        ),
        ("when.source = [\"office\"]", "is no network"),
        ("when.schedule = []", "schedule is empty"),
        ("when.moon = \"full\"", "unknown field `moon`"),
        (
            "when.schedule = [{ days = \"mon\", from = \"14:00\", to = \"16:00\" }]",
            "missing field `zone`",
        ),
        (
            "when.schedule = [{ days = \"mon\", from = \"14:00\", to = \"16:00\", zone = \"X\" }]",
            "zone \"X\"",
        ),
        (
            "when.schedule = [{ days = \"mon\", from = \"14:00\", to = \"16:00\", zone = \"UTC\", x = 1 }]",
            "unknown field `x`",
        ),
        ("until = 2026-11-21T12:00:00Z", "unknown field `until`"),
        ("\"\\u001b[2J\" = 1", "unknown field `\\u{1b}[2J`"),
    ] {
        let (_, _, message) = fault(&with(line));
        assert!(message.contains(said), "{line}: {message}");
    }
}

#[test]
fn each_missing_field_is_named() {
    for (field, said) in [
        ("id", "missing field `id`"),
        ("group", "user or group"),
        ("services", "missing field `services`"),
        ("not_after", "missing field `not_after`"),
    ] {
        let text: String = LEAST
            .lines()
            .filter(|l| !l.starts_with(field))
            .map(|l| format!("{l}\n"))
            .collect();
        let (line, _, message) = fault(&text);
        assert!(message.contains(said), "{message}");
        assert_eq!(line, 2, "{message}");
    }
}

#[test]
fn a_bad_grant_is_dropped_alone_and_its_line_named() {
    let text = format!(
        "{LEAST}{}\n{}",
        with("mfa = \"x\"").replace("\"a\"", "\"b\""),
        LEAST.replace("\"a\"", "\"c\"")
    );
    let parsed = parse_toml(&text).unwrap();
    let ids: Vec<&str> = parsed.grants.iter().map(|g| &*g.id).collect();
    assert_eq!(ids, ["a", "c"]);
    let [fault] = &parsed.faults[..] else {
        panic!("{:?}", parsed.faults)
    };
    assert_eq!(fault.id.as_deref(), Some("b"));
    assert_eq!(
        text.lines().nth(fault.line.unwrap() - 1),
        Some("mfa = \"x\"")
    );
    assert!(
        fault.to_string().starts_with("line 13: grant b dropped: "),
        "{fault}"
    );
}

#[test]
fn every_holder_of_a_repeated_id_is_dropped() {
    let bob = LEAST.replace("domain users", "bobs");
    let parsed = parse_toml(&format!("{LEAST}{bob}{}", LEAST.replace("\"a\"", "\"b\""))).unwrap();
    assert_eq!(parsed.grants.len(), 1);
    assert_eq!(&*parsed.grants[0].id, "b");
    let told: Vec<_> = parsed
        .faults
        .iter()
        .map(|f| (f.id.as_deref(), f.line))
        .collect();
    assert_eq!(told, [(Some("a"), Some(2)), (Some("a"), Some(8))]);
    // A holder that is itself at fault holds its id all the same.
    let parsed = parse_toml(&format!("{LEAST}{}", with("mfa = \"x\""))).unwrap();
    assert_eq!((parsed.grants.len(), parsed.faults.len()), (0, 2));
    // For whoever merges several files.
    assert_eq!(
        Vec::from_iter(repeated_ids(["a", "b", "a", "c", "a", "c"].into_iter())),
        ["a", "c"]
    );
}

#[test]
fn a_text_that_is_no_toml_gives_nothing_and_says_where() {
    for (text, line, said) in [
        ("[[grant]]\nid = \"a", 2, ""),
        ("[[grant]]\nid = \"a\"\nid = \"b\"\n", 3, "duplicate"),
        ("\n[[grants]]\nid = \"a\"\n", 2, "unknown key grants"),
        ("[grant]\nid = \"a\"\n", 1, "[[grant]], in double brackets"),
        ("grant = 7\n", 1, "[[grant]], in double brackets"),
        ("x = 1\n[[grant]]\n", 1, "unknown key x"),
        ("\"\\u001b[2J\" = 1\n", 1, "\\u{1b}[2J"),
        ("[[grant]]\n\0", 2, ""),
        ("[[grant]]\n[[grant.when]]\n[grant.when]\n", 3, ""),
    ] {
        let error = parse_toml(text).unwrap_err();
        assert_eq!(error.line, line, "{text:?}: {error}");
        assert!(error.message.contains(said), "{text:?}: {error}");
        assert!(
            !error.to_string().chars().any(char::is_control),
            "{error:?}"
        );
    }
}

#[test]
fn a_half_written_file_never_grants_more_than_the_whole() {
    let whole = grants(FULL);
    for cut in 0..FULL.len() {
        let Ok(parsed) = parse_toml(&FULL[..cut]) else {
            continue;
        };
        for grant in parsed.grants {
            // Cut between its lines a grant can be wider: that is why a file must rest before it is
            // read. Never may it name anybody or anything that the whole does not.
            assert_eq!(grant.who, whole[0].who);
            let (part, whole) = (&grant.terms, &whole[0].terms);
            assert!(part.services.iter().all(|s| whole.services.contains(s)));
            assert!(part.run_as.iter().all(|s| whole.run_as.contains(s)));
        }
    }
}

#[test]
fn json_is_an_object_with_grants_and_nothing_else() {
    let grant =
        r#"{"id":"a","user":"alice","services":["sudo"],"not_after":"2026-11-21T12:00:00Z"}"#;
    let parsed = parse_json(&format!("{{\"grants\":[{grant}]}}")).unwrap();
    assert_eq!((parsed.grants.len(), parsed.faults.len()), (1, 0));
    for text in [
        "",
        "[]",
        "null",
        "{}",
        "{\"grants\":{}}",
        "{\"grants\":null}",
        "{\"grants\":[],\"x\":1}",
        "{\"grants\":[]} x",
        "{\"grants\":[],\"grants\":[]}",
        "{\"grants\":[",
        "{\"grant\":[]}",
        "[[]]",
    ] {
        assert!(parse_json(text).is_err(), "{text}");
    }
    // The same fields without their names.
    let list = r#"["a","alice",null,["sudo"],null,null,null,"2026-11-21T12:00:00Z",null,null,null,null,null,null]"#;
    let parsed = parse_json(&format!("{{\"grants\":[{list}]}}")).unwrap();
    assert_eq!((parsed.grants.len(), parsed.faults.len()), (0, 1));
}

#[test]
fn json_faults_drop_one_grant_and_name_its_line() {
    let text = r#"{"grants":[
{"id":"ok","user":"alice","services":["sudo"],"not_after":"2026-11-21T12:00:00Z"},
{"id":"moon","user":"alice","services":["sudo"],"not_after":"2026-11-21T12:00:00Z","when":{"moon":1}},
{"id":"no-end","user":"alice","services":["sudo"]},
{"id":"twice","id":"twice2","user":"alice","services":["sudo"],"not_after":"2026-11-21T12:00:00Z"},
{"id":"offset","user":"alice","services":["sudo"],"not_after":"2026-11-21T12:00:00"},
7,
null,
{"id":["x"]}
]}"#;
    let parsed = parse_json(text).unwrap();
    assert_eq!(parsed.grants.len(), 1);
    let told: Vec<_> = parsed
        .faults
        .iter()
        .map(|f| (f.line.unwrap(), f.id.as_deref()))
        .collect();
    assert_eq!(
        told,
        [
            (3, Some("moon")),
            (4, Some("no-end")),
            (5, None),
            (6, Some("offset")),
            (7, None),
            (8, None),
            (9, None)
        ]
    );
}

#[test]
fn a_draft_is_checked_like_a_file() {
    let draft = Draft {
        id: "x".into(),
        user: Some("alice".into()),
        services: vec!["sudo".into()],
        not_after: time("2026-11-21T12:00:00Z"),
        ..Draft::default()
    };
    assert!(draft.clone().build().is_ok());
    assert!(
        Draft {
            services: vec![],
            ..draft.clone()
        }
        .build()
        .is_err()
    );
    assert!(
        Draft {
            user: None,
            ..draft
        }
        .build()
        .is_err()
    );
}

#[test]
fn deep_and_large_texts_are_refused_or_read_but_never_fatal() {
    let deep = |open: &str, n: usize| open.repeat(n);
    for text in [
        format!("x = {}", deep("[", 100_000)),
        format!("x = {}", deep("{a=", 100_000)),
        format!("[{}]", vec!["a"; 100_000].join(".")),
        format!("{} = 1", vec!["a"; 100_000].join(".")),
        format!("[[grant]]\nwhen.{} = 1", vec!["a"; 70].join(".")),
    ] {
        let empty = parse_toml(&text).map_or(true, |parsed| parsed.grants.is_empty());
        assert!(empty);
    }
    let nested = format!(
        "{{\"grants\":[{}{}]}}",
        deep("[", 100_000),
        deep("]", 100_000)
    );
    assert_eq!(parse_json(&nested).unwrap().faults.len(), 1);
    let nested = format!(
        "{{\"grants\":[{{\"when\":{}1{}}}]}}",
        deep("{\"x\":", 100_000),
        deep("}", 100_000)
    );
    assert_eq!(parse_json(&nested).unwrap().faults.len(), 1);
    assert!(parse_json(&deep("{\"grants\":[", 100_000)).is_err());
}

#[test]
fn work_grows_with_the_text_and_not_with_its_square() {
    // Twenty thousand faults, each of which has its line looked up, and one id for all.
    let text = "[[grant]]\nid = \"a\"\n\n".repeat(20_000);
    let parsed = parse_toml(&text).unwrap();
    assert_eq!(parsed.faults.len(), 20_000);
    assert_eq!(parsed.faults[19_999].line, Some(59_998));
    let json = format!(
        "{{\"grants\":[{}]}}",
        vec!["{\"id\":\"a\"}\n"; 20_000].join(",")
    );
    assert_eq!(parse_json(&json).unwrap().faults.len(), 20_000);
    let same = LEAST.repeat(20_000);
    let parsed = parse_toml(&same).unwrap();
    assert_eq!((parsed.grants.len(), parsed.faults.len()), (0, 20_000));
}

#[test]
fn a_list_is_bounded() {
    let hosts: Vec<String> = (0..257).map(|n| format!("\"h{n}\"")).collect();
    let (_, _, message) = fault(&with(&format!("hosts = [{}]", hosts.join(","))));
    assert!(message.contains("257 entries"), "{message}");
}

/// What is installed to be copied.
#[test]
fn the_example_is_good_and_has_ended() {
    let example = include_str!("../../package/examples/grants.toml");
    let parsed = parse_toml(example).unwrap();
    assert_eq!(parsed.faults, []);
    assert_eq!(parsed.grants.len(), 2);
    // Somebody will copy the whole file.
    for grant in parsed.grants {
        assert!(grant.not_after < jiff::Timestamp::now(), "{}", grant.id);
    }
}

/// The parser says what it knows when it meets what it does not: that is what the manual must have.
#[test]
fn the_manual_has_every_field() {
    let page = include_str!("../../docs/man/grants.5");
    let start = "[[grant]]\nid = \"a\"\nuser = \"alice\"\nservices = [\"sudo\"]\nnot_after = 2030-01-01T00:00:00Z\n";
    for rest in ["x = 1\n", "[grant.when]\nx = 1\n"] {
        let parsed = parse_toml(&format!("{start}{rest}")).unwrap();
        let message = &parsed.faults[0].message;
        let known: Vec<&str> = message.split('`').skip(3).step_by(2).collect();
        assert!(known.len() > 1, "{message}");
        for field in known.into_iter().filter(|field| *field != "when") {
            let described = page.lines().any(|line| {
                line.starts_with(".It Ic ") && line.split([' ', ',']).any(|word| word == field)
            });
            assert!(described, "{field} is not in docs/man/grants.5");
        }
    }
}
