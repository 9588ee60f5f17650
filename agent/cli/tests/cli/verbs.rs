//! What each verb asks, what it shows, and how it ends.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use jit_protocol::message::{
    CheckReport, CheckedGrant, ClockReport, Enrolment, PolicyReport, Refusal, Reply,
};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::world::{Agent, Line, Ran, factor, jit, jit_as_nobody, row, status};

/// Runs a verb and gives what it asked besides what it showed.
fn asked(words: &[&str], reply: Reply) -> (Value, Ran) {
    let (tell, told) = std::sync::mpsc::channel();
    let agent = Agent::start(move |line: &mut Line| {
        tell.send(line.body().unwrap()).unwrap();
        line.say(&reply);
    });
    let ran = agent.run(words);
    (serde_json::from_slice(&told.recv().unwrap()).unwrap(), ran)
}

fn done() -> Reply {
    Reply::Done("it is done".into())
}

fn clock() -> Reply {
    Reply::Clock(ClockReport {
        trusted: "2026-11-21T12:00:00Z".into(),
        wall: "2026-11-21T12:00:00Z".into(),
        synchronised: true,
        settled: true,
        trouble: None,
    })
}

fn policy(last_error: Option<&str>) -> Reply {
    Reply::Policy(PolicyReport {
        realm: "prod".into(),
        url: "https://policy.example.org/bundle".into(),
        state: "fresh".into(),
        seq: Some(7),
        age_secs: Some(12),
        grants: 2,
        last_error: last_error.map(Into::into),
    })
}

fn checked(decision: &str) -> Reply {
    Reply::Check(CheckReport {
        user: "alice".into(),
        service: "sudo".into(),
        run_as: Some("root".into()),
        at: "2026-11-21T12:00:00Z".into(),
        decision: decision.into(),
        reason: "expired".into(),
        detail: "expired 4 min ago".into(),
        need: "15m".into(),
        mode: "enforce".into(),
        until: None,
        grants: vec![CheckedGrant {
            id: "local:a".into(),
            matched: false,
            failed: Some("expired".into()),
            detail: "expired 4 min ago".into(),
        }],
    })
}

fn enrolment() -> Reply {
    Reply::Enrolment(Enrolment {
        otpauth: Zeroizing::new("otpauth://totp/x?secret=JBSWY3DPEHPK3PXP".into()),
        secret: Zeroizing::new("JBSWY3DPEHPK3PXP".into()),
        recovery_codes: vec![Zeroizing::new("AAAA-BBBB".into())],
    })
}

#[test]
fn every_verb_asks_what_its_words_say_and_nothing_else() {
    let about = |user: Value| json!({"v": 1, "user": user});
    let op = |op: &str, mut body: Value| {
        body["op"] = op.into();
        body
    };
    let plain = || json!({"v": 1});
    let enroll = |user: Value| json!({"v": 1, "user": user, "confirm": false});
    let table: Vec<(&[&str], Value, Reply)> = vec![
        (&["status"], op("status", plain()), Reply::Status(status())),
        (&["verify"], op("verify", plain()), done()),
        (
            &["mfa", "status"],
            op("mfa.status", about(Value::Null)),
            Reply::Factor(factor()),
        ),
        (
            &["mfa", "status", "bob"],
            op("mfa.status", about("bob".into())),
            Reply::Factor(factor()),
        ),
        (
            &["mfa", "reset", "bob"],
            op("mfa.reset", about("bob".into())),
            done(),
        ),
        (
            &["mfa", "enroll", "bob", "--json"],
            op("mfa.enroll", enroll("bob".into())),
            Reply::Refused(Refusal {
                reason: "x".into(),
                message: "x".into(),
            }),
        ),
        (
            &["grant", "revoke", "local:a"],
            op("grant.revoke", json!({"v": 1, "id": "local:a"})),
            done(),
        ),
        (
            &["policy", "refresh"],
            op("policy.refresh", plain()),
            policy(None),
        ),
        (
            &["policy", "reset-floor"],
            op("policy.reset_floor", plain()),
            done(),
        ),
        (&["clock", "show"], op("clock.show", plain()), clock()),
        (&["clock", "accept"], op("clock.accept", plain()), clock()),
        (
            &["check", "--service", "sudo"],
            op(
                "check",
                json!({"v": 1, "user": null, "service": "sudo", "run_as": null, "at": null, "from": null}),
            ),
            checked("allow"),
        ),
        (
            &[
                "check",
                "bob",
                "--service",
                "su",
                "--run-as",
                "postgres",
                "--at",
                "2026-11-21 14:00",
                "--from",
                "10.8.0.1",
            ],
            op(
                "check",
                json!({"v": 1, "user": "bob", "service": "su", "run_as": "postgres", "at": "2026-11-21T14:00:00Z", "from": "10.8.0.1"}),
            ),
            checked("allow"),
        ),
        (
            &[
                "grant",
                "add",
                "--user",
                "alice",
                "--service",
                "sudo",
                "--for",
                "1h30m",
                "--reason",
                "why not",
            ],
            op(
                "grant.add",
                json!({"v": 1, "id": null, "user": "alice", "group": null, "services": ["sudo"], "run_as": [], "for_secs": 5400, "not_after": null, "not_before": null, "mfa": null, "reason": "why not", "ticket": null, "source": []}),
            ),
            Reply::Grant(row("local:a")),
        ),
        (
            &[
                "grant",
                "add",
                "--group",
                "dba",
                "--service",
                "sudo",
                "--service",
                "su",
                "--run-as",
                "root",
                "--run-as",
                "postgres",
                "--from",
                "2026-11-21T10:00:00+01:00",
                "--until",
                "2026-11-21T12:00:00Z",
                "--mfa",
                "60m",
                "--ticket",
                "T-1",
                "--source",
                "10.0.0.0/8",
                "--source",
                "::1/128",
                "--id",
                "a",
            ],
            op(
                "grant.add",
                json!({"v": 1, "id": "a", "user": null, "group": "dba", "services": ["sudo", "su"], "run_as": ["root", "postgres"], "for_secs": null, "not_after": "2026-11-21T12:00:00Z", "not_before": "2026-11-21T09:00:00Z", "mfa": "1h", "reason": null, "ticket": "T-1", "source": ["10.0.0.0/8", "::1/128"]}),
            ),
            Reply::Grant(row("local:a")),
        ),
    ];
    for (words, wanted, reply) in table {
        let refused = matches!(reply, Reply::Refused(_));
        let (request, ran) = asked(words, reply);
        assert_eq!(request, wanted, "jit {}", words.join(" "));
        ran.expect(i32::from(refused));
    }
}

#[test]
fn every_answer_is_one_json_object_with_its_version() {
    let grants = || {
        vec![
            Reply::Grant(row("local:a")),
            Reply::Grant(row("central:b")),
            done(),
        ]
    };
    let table: Vec<(&[&str], Vec<Reply>, &str, Value)> = vec![
        (
            &["status"],
            vec![Reply::Status(status())],
            "/grants/0/id",
            "local:inc-4711".into(),
        ),
        (
            &["check", "--service", "sudo"],
            vec![checked("allow")],
            "/grants/0/failed",
            "expired".into(),
        ),
        (&["verify"], vec![done()], "/done", "it is done".into()),
        (
            &["mfa", "status"],
            vec![Reply::Factor(factor())],
            "/recovery_codes_left",
            10.into(),
        ),
        (
            &["mfa", "reset"],
            vec![done()],
            "/done",
            "it is done".into(),
        ),
        (
            &["mfa", "enroll"],
            vec![enrolment(), done()],
            "/recovery_codes/0",
            "AAAA-BBBB".into(),
        ),
        (
            &[
                "grant",
                "add",
                "--user",
                "a",
                "--service",
                "sudo",
                "--for",
                "1h",
            ],
            vec![Reply::Grant(row("local:a"))],
            "/id",
            "local:a".into(),
        ),
        (
            &["grant", "list"],
            grants(),
            "/grants/1/id",
            "central:b".into(),
        ),
        (
            &["grant", "revoke", "a"],
            vec![done()],
            "/done",
            "it is done".into(),
        ),
        (&["policy", "refresh"], vec![policy(None)], "/seq", 7.into()),
        (
            &["policy", "reset-floor"],
            vec![done()],
            "/done",
            "it is done".into(),
        ),
        (&["clock", "show"], vec![clock()], "/settled", true.into()),
        (
            &["clock", "accept"],
            vec![clock()],
            "/trusted",
            "2026-11-21T12:00:00Z".into(),
        ),
    ];
    for (words, replies, place, wanted) in table {
        let mut words = words.to_vec();
        words.push("--json");
        let ran = Agent::says(replies).run(&words);
        ran.expect(0);
        assert_eq!(
            ran.json().pointer(place),
            Some(&wanted),
            "jit {}",
            words.join(" ")
        );
        assert_eq!(ran.err, "", "nothing but the object");
    }
}

#[test]
fn text_is_what_people_see_without_json() {
    let ran = Agent::says([Reply::Status(status())]).run(&["status"]);
    assert!(
        ran.expect(0)
            .out
            .contains("active  local:inc-4711  sudo  as root  42 min left  failover")
    );
    let ran = Agent::says([Reply::Grant(row("local:a")), done()]).run(&["grant", "list"]);
    assert_eq!(
        ran.expect(0).out,
        "active  local:a  alice  sudo  as root  42 min left  failover\n"
    );
    let ran = Agent::says([done()]).run(&["grant", "list"]);
    assert_eq!(ran.expect(0).out, "no grants on this host\n");
    let ran = Agent::says([done()]).run(&["grant", "revoke", "a"]);
    assert_eq!(ran.expect(0).out, "it is done\n");
}

#[test]
fn a_check_that_would_be_denied_exits_1_and_still_answers() {
    let ran = Agent::says([checked("deny")]).run(&["check", "--service", "sudo"]);
    assert!(
        ran.expect(1)
            .out
            .starts_with("deny  alice sudo as root: expired 4 min ago\n")
    );
    let ran = Agent::says([checked("deny")]).run(&["check", "--service", "sudo", "--json"]);
    assert_eq!(ran.expect(1).json()["decision"], "deny");
    // An answer that is neither must not read as yes.
    Agent::says([checked("maybe")])
        .run(&["check", "--service", "sudo"])
        .expect(1);
}

#[test]
fn a_refresh_that_brought_nothing_exits_1() {
    let ran = Agent::says([policy(Some("connection refused"))]).run(&["policy", "refresh"]);
    assert!(ran.expect(1).out.contains("connection refused"));
}

#[test]
fn a_refusal_is_said_in_the_agents_words_and_exits_1() {
    let refusal = || {
        Reply::Refused(Refusal {
            reason: "no_session".into(),
            message: "this is no login session\x1b[2J".into(),
        })
    };
    let ran = Agent::says([refusal()]).run(&["verify"]);
    ran.expect(1);
    assert_eq!(ran.out, "");
    assert_eq!(ran.err, "jit: this is no login session\\u{1b}[2J\n");
    let ran = Agent::says([refusal()]).run(&["verify", "--json"]);
    assert_eq!(ran.expect(1).json()["error"]["reason"], "no_session");
    assert!(!ran.out.contains('\x1b') && !ran.err.contains('\x1b'));
}

#[test]
fn an_agent_that_is_not_there_or_not_itself_is_exit_3() {
    let folder = tempfile::tempdir().unwrap();
    let nowhere = folder.path().join("s");
    let ran: Ran = jit(&["status", "--json", "--socket"])
        .arg(&nowhere)
        .output()
        .unwrap()
        .into();
    assert_eq!(ran.expect(3).json()["error"]["reason"], "agent_unreachable");
    assert!(ran.err.contains("is jit-agentd running?"), "{}", ran.err);

    // Hangs up; hangs up after a word; answers something else; garbage; a length of 4 GiB.
    let _ = Agent::start(|line| drop(line.body()))
        .run(&["status"])
        .expect(3);
    let _ = Agent::says([Reply::Info("wait".into())])
        .run(&["status"])
        .expect(3);
    let ran = Agent::says([clock()]).run(&["status"]);
    assert!(
        ran.expect(3).err.contains("the same version"),
        "{}",
        ran.err
    );
    let garbage = |bytes: &'static [u8]| {
        Agent::start(move |line| {
            line.body();
            line.0.write_all(bytes).unwrap();
        })
        .run(&["status"])
    };
    garbage(b"\0\0\0\x05hello").expect(3);
    garbage(b"\xff\xff\xff\xff").expect(3);
    garbage(b"\0\0\0\x04").expect(3);
}

#[test]
fn a_socket_in_a_folder_that_others_can_write_is_not_believed() {
    let agent = Agent::start(|line| assert!(line.hung_up(), "no word may be said"));
    let folder = agent.folder().to_owned();
    std::fs::set_permissions(&folder, PermissionsExt::from_mode(0o777)).unwrap();
    let ran: Ran = agent.command(&["status"]).output().unwrap().into();
    assert!(
        ran.expect(3).err.contains("can be written by others"),
        "{}",
        ran.err
    );
    // Let the script end.
    std::fs::set_permissions(&folder, PermissionsExt::from_mode(0o755)).unwrap();
    drop(std::os::unix::net::UnixStream::connect(agent.socket()).unwrap());
    agent.join();
}

#[test]
fn roots_verbs_and_questions_about_others_are_refused_to_everybody_else() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let table: [&[&str]; 12] = [
        &[
            "grant",
            "add",
            "--user",
            "nobody",
            "--service",
            "sudo",
            "--for",
            "1h",
        ],
        &["grant", "list"],
        &["grant", "revoke", "a"],
        &["policy", "refresh"],
        &["policy", "reset-floor"],
        &["clock", "show"],
        &["clock", "accept"],
        &["audit", "show"],
        &["audit", "verify"],
        &["mfa", "status", "root"],
        &["mfa", "enroll", "--json"],
        &["check", "root", "--service", "sudo"],
    ];
    for words in table {
        let mut words = words.to_vec();
        if !words.contains(&"--json") {
            words.push("--json");
        }
        let ran = jit_as_nobody(folder.path(), &words);
        assert_eq!(
            ran.expect(1).json()["error"]["reason"],
            "not_permitted",
            "{words:?}"
        );
    }
    // By one's own name it is oneself, which is not refused: here there is just no agent.
    jit_as_nobody(
        folder.path(),
        &["mfa", "status", "nobody", "--socket", "/nowhere/s"],
    )
    .expect(3);
}

#[test]
fn misuse_exits_2() {
    let add = ["grant", "add", "--service", "sudo"];
    let table: Vec<(&[&str], &str)> = vec![
        (&[], "Usage"),
        (&["frobnicate"], "unrecognized"),
        (&["check"], "--service"),
        (&["--user", "a"], "required"),
        (&["--for", "1h"], "required"),
        (
            &["--user", "a", "--group", "b", "--for", "1h"],
            "cannot be used",
        ),
        (
            &["--user", "a", "--for", "1h", "--until", "+1h"],
            "cannot be used",
        ),
        (&["--user", "a", "--for", "1 week"], "not a duration"),
        (&["--user", "a", "--for", "0s"], "not a duration"),
        (&["--user", "a", "--until", "soon"], "no time"),
        (
            &["--user", "a", "--for", "1h", "--mfa", "maybe"],
            "no factor",
        ),
        (&["verify", "123456"], "unexpected"),
    ];
    for (words, said) in table {
        let mut all = Vec::new();
        if words.first().is_some_and(|w| w.starts_with("--")) {
            all.extend(add);
        }
        all.extend(words);
        let ran: Ran = jit(&all).output().unwrap().into();
        assert!(ran.expect(2).err.contains(said), "{all:?}: {}", ran.err);
        assert_eq!(ran.out, "");
    }
}

#[test]
fn hostile_text_reaches_no_terminal_in_either_form() {
    let hostile =
        "\x1b]0;x\x07\x1b[2J\r\u{9b}31m\u{202e}\u{2066}\u{200b}\u{7f}\nactive  local:fake";
    for words in [&["grant", "list"][..], &["grant", "list", "--json"]] {
        let mut bad = row("local:a");
        for field in [
            &mut bad.id,
            &mut bad.state,
            &mut bad.detail,
            &mut bad.not_after,
        ] {
            field.push_str(hostile);
        }
        bad.services.push(hostile.into());
        bad.run_as.push(hostile.into());
        bad.user = Some(hostile.into());
        bad.reason = Some(hostile.into());
        let ran = Agent::says([Reply::Grant(bad), done()]).run(words);
        let text = ran.expect(0).out.trim_end_matches('\n');
        let odd = |c: char| c.is_control() || "\u{202e}\u{2066}\u{200b}".contains(c);
        assert!(!text.contains(odd), "{text:?}");
    }
}

#[test]
fn a_secret_is_printed_only_once_the_factor_counts() {
    let no = Reply::Refused(Refusal {
        reason: "state".into(),
        message: "disk full".into(),
    });
    let ran = Agent::says([enrolment(), no]).run(&["mfa", "enroll", "bob", "--json"]);
    assert_eq!(ran.expect(1).json()["error"]["reason"], "state");
    assert!(!ran.out.contains("JBSWY") && !ran.out.contains("AAAA"));
}

#[test]
fn a_reader_who_leaves_is_no_error_and_a_full_disk_is() {
    let many: Vec<Reply> = (0..2000)
        .map(|_| Reply::Grant(row("local:a")))
        .chain([done()])
        .collect();
    let agent = Agent::says(many);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let ran: Ran = agent
        .command(&["grant", "list"])
        .stdout(writer)
        .output()
        .unwrap()
        .into();
    agent.join();
    assert_eq!(ran.expect(0).err, "");

    let agent = Agent::says([checked("deny")]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let words = ["check", "--service", "sudo", "--json"];
    let ran: Ran = agent
        .command(&words)
        .stdout(writer)
        .output()
        .unwrap()
        .into();
    agent.join();
    assert_eq!(ran.expect(1).err, "", "the answer is still no");

    let agent = Agent::says([Reply::Status(status())]);
    let full = File::options().write(true).open("/dev/full").unwrap();
    let ran: Ran = agent
        .command(&["status"])
        .stdout(full)
        .output()
        .unwrap()
        .into();
    agent.join();
    assert!(ran.expect(1).err.contains("No space left"), "{}", ran.err);

    // Nobody listens on standard error either: still the right number, and no panic.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut lonely = jit(&["status", "--socket", "/nowhere/s"]);
    let status = lonely
        .stdout(Stdio::null())
        .stderr(writer)
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(3));
}

#[test]
fn man_pages_and_completions_come_from_the_same_words() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("man1");
    let ran: Ran = jit(&["man", "--out", out.to_str().unwrap()])
        .output()
        .unwrap()
        .into();
    ran.expect(0);
    for (page, word) in [
        ("jit.1", "mfa"),
        ("jit-grant-add.1", "source"),
        ("jit-policy-sign.1", "realm"),
    ] {
        let text = std::fs::read_to_string(out.join(page)).expect(page);
        assert!(text.contains(word) && !text.contains("socket"), "{page}");
    }
    assert!(!out.join("jit-man.1").exists() && !out.join("jit-completions.1").exists());
    for shell in ["bash", "zsh", "fish"] {
        let ran: Ran = jit(&["completions", shell]).output().unwrap().into();
        assert!(ran.expect(0).out.contains("reset-floor"), "{shell}");
    }
}
