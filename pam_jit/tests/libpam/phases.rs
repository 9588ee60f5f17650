//! The hooks as libpam sees them: what is sent to the agent, and what comes of its verdicts.

use serde_json::{Value, json};

use crate::agent::{Agent, frame, prompt, refusal, verdict, verdict_for};
use crate::host::{Host, Reply, SILENT};
use crate::place::{IGNORED, Place};

const SERVICE_ERR: i32 = 3;
const PERM_DENIED: i32 = 6;
const AUTH_ERR: i32 = 7;
const AUTHINFO_UNAVAIL: i32 = 9;
const MAXTRIES: i32 = 11;

#[test]
fn each_verdict_has_its_return_code() {
    // Verdict, then the codes of auth, account and session.
    let table = [
        ("allow", 0, 0, 0),
        ("ignore", IGNORED, IGNORED, IGNORED),
        ("deny", PERM_DENIED, PERM_DENIED, PERM_DENIED),
        ("unproven", AUTH_ERR, PERM_DENIED, PERM_DENIED),
        ("locked", MAXTRIES, PERM_DENIED, PERM_DENIED),
    ];
    for (result, auth, account, session) in table {
        let place = Place::new("");
        let _agent = Agent::saying(&place, verdict(result));
        for (step, code) in [("auth", auth), ("account", account), ("open", session)] {
            let got = Host::sshd(&place).run(&[step]);
            assert_eq!(got.code(), code, "{result} at {step}: {got:?}");
            assert_eq!(got.leaked, Vec::<String>::new());
        }
        assert_eq!(Host::sshd(&place).run(&["close"]).code(), 0);
    }
}

#[test]
fn the_question_holds_what_pam_knows() {
    let place = Place::new("");
    let agent = Agent::saying(&place, verdict_for("allow", 1001));
    let got = Host::sudo(&place)
        .user("postgres")
        .run(&["auth", "account", "open", "close"]);
    assert_eq!(got.codes, [0, 0, 0, 0]);
    let heard = agent.heard();
    let txn = heard[0]["txn"].as_str().unwrap();
    assert_eq!(txn.len(), 32);
    for (question, (phase, fixed)) in heard.iter().zip([
        ("auth", Value::Null),
        ("account", Value::Null),
        ("session_open", json!(1001)),
        ("session_close", json!(1001)),
    ]) {
        let mut question = question.clone();
        let cmdline = question.as_object_mut().unwrap().remove("cmdline").unwrap();
        assert!(cmdline.as_str().unwrap().len() > 40, "{cmdline}");
        assert_eq!(
            question,
            json!({
                "op": "pam", "v": 1, "phase": phase, "txn": txn, "service": "sudo",
                "flags": SILENT, "ruid": 1001, "euid": 0, "user": "postgres", "ruser": "alice",
                "tty": "/dev/pts/3", "rhost": null, "interactive": true, "observe": false,
                "fixed": fixed,
            })
        );
    }
    Host::sudo(&place).run(&["auth"]);
    assert_ne!(agent.heard()[4]["txn"], txn, "two transactions, one number");
}

#[test]
fn a_prompt_is_answered_once() {
    let place = Place::new("");
    let agent = Agent::start(&place, |line, _| {
        line.send(&prompt("JIT grant inc-4711, 42 min left. One-time code: "));
        let said = line.read().unwrap();
        assert_eq!(said, json!({"answer": {"id": 7, "text": "123456"}}));
        line.send(&verdict("allow"));
    });
    let got = Host::sudo(&place).run(&["account"]);
    assert_eq!(got.code(), 0);
    assert_eq!(
        got.shown,
        [(
            1,
            "JIT grant inc-4711, 42 min left. One-time code: ".to_owned()
        )]
    );
    drop(agent);

    let place = Place::new("");
    let _agent = Agent::start(&place, |line, _| {
        line.send(&prompt("One-time code: "));
        line.read();
        line.send(&prompt("Another: "));
        line.read();
        line.send(&verdict("allow"));
    });
    let got = Host::sudo(&place).run(&["account"]);
    assert_eq!(got.code(), AUTHINFO_UNAVAIL);
    assert!(got.logged[0].contains("a second prompt"), "{got:?}");
}

#[test]
fn a_refusal_is_one_line_even_when_silent_and_info_only_when_not() {
    let place = Place::new("");
    let _agent = Agent::start(&place, |line, _| {
        line.send(&json!({"info": "grant inc-4711 until 12:00"}));
        line.send(&refusal(
            "deny",
            "no active grant for sudo on web1. Ask for one",
        ));
    });
    let line = (
        3,
        "pam_jit: no active grant for sudo on web1. Ask for one".to_owned(),
    );
    let info = (4, "grant inc-4711 until 12:00".to_owned());
    for step in ["auth", "account"] {
        let got = Host::sudo(&place).run(&[step]);
        assert_eq!(got.shown, std::slice::from_ref(&line));
        let got = Host::sudo(&place).flags(0).run(&[step]);
        assert_eq!(got.shown, [info.clone(), line.clone()]);
        assert_eq!(
            got.logged,
            Vec::<String>::new(),
            "the agent records it, not we"
        );
    }
}

#[test]
fn the_terminal_gets_no_escape_codes() {
    let place = Place::new("");
    let _agent = Agent::start(&place, |line, _| {
        line.send(&prompt("\x1b[2Jcode\n: "));
        line.read();
        line.send(&refusal("deny", "\x1b]0;title\x07 no\r\nyes\0"));
    });
    let got = Host::sudo(&place).run(&["account"]);
    assert_eq!(got.code(), PERM_DENIED);
    assert_eq!(
        got.shown,
        [
            (1, " [2Jcode : ".to_owned()),
            (3, "pam_jit:  ]0;title  no  yes ".to_owned())
        ]
    );
}

#[test]
fn the_session_of_an_elevation_needs_the_principal_that_account_fixed() {
    let place = Place::new("");
    let agent = Agent::saying(&place, verdict_for("allow", 1001));
    // sudoedit has real uid 0 by then; that makes nobody root.
    for steps in [
        &["open"][..],
        &["uid=0", "open"],
        &["auth", "uid=0", "open"],
    ] {
        let got = Host::sudo(&place).run(steps);
        assert_eq!(*got.codes.last().unwrap(), PERM_DENIED, "{steps:?}");
        assert!(got.logged.last().unwrap().contains("!pam_acct_mgmt"));
        assert_eq!(got.errors().len(), 1);
    }
    assert!(agent.heard().iter().all(|asked| asked["phase"] == "auth"));
    let got = Host::sudo(&place).run(&["account", "uid=0", "open"]);
    assert_eq!(got.codes, [0, 0]);
    assert_eq!(agent.heard().last().unwrap()["fixed"], 1001);
    // doas is not known by name, and its session has real uid 0 and PAM_USER root.
    let got = Host::sudo(&place)
        .service("doas")
        .user("root")
        .run(&["account", "uid=0", "open"]);
    assert_eq!(got.codes, [0, 0]);
    assert_eq!(agent.heard().last().unwrap()["fixed"], 1001);
}

#[test]
fn a_refused_account_fixes_nobody() {
    let place = Place::new("");
    let _agent = Agent::start(&place, |line, question| {
        let refused = question["phase"] == "account";
        line.send(&verdict_for(if refused { "deny" } else { "allow" }, 1001));
    });
    let got = Host::sudo(&place).run(&["account", "open"]);
    assert_eq!(got.codes, [PERM_DENIED, PERM_DENIED]);

    // Nor does a second check keep what the first one found.
    let place = Place::new("timeout=1");
    let agent = Agent::start(&place, |line, question| {
        if question["user"] == "first" {
            line.send(&verdict_for("allow", 1001));
        }
    });
    let got = Host::sudo(&place).user("first").run(&[
        "account",
        "user=second",
        "account",
        "user=first",
        "open",
    ]);
    assert_eq!(got.codes, [0, AUTHINFO_UNAVAIL, PERM_DENIED]);
    assert_eq!(agent.heard().len(), 2);
}

#[test]
fn a_service_that_is_off_stays_off_in_its_session() {
    let place = Place::new("");
    let agent = Agent::saying(&place, verdict("ignore"));
    let got = Host::sudo(&place).run(&["account", "open"]);
    assert_eq!(got.codes, [IGNORED, IGNORED]);
    assert_eq!(agent.heard()[1]["fixed"], 1001);
}

#[test]
fn root_is_never_locked_out() {
    // Whatever the agent says, and without one.
    for agent in [Some("deny"), Some("locked"), None] {
        let place = Place::new("timeout=1");
        let heard = agent.map(|result| Agent::saying(&place, verdict(result)));
        for host in [
            Host::login(&place, "root"),
            Host::sudo(&place).ruid(0),
            Host::sudo(&place).ruid(0).service("su").ruser(None),
        ] {
            let got = host.rhost("").run(&["auth", "account", "open", "close"]);
            assert_eq!(got.codes, [IGNORED, 0, 0, 0], "{got:?}");
            assert_eq!(got.shown, []);
        }
        if let Some(agent) = heard {
            let phases: Vec<_> = agent.heard().iter().map(|q| q["phase"].clone()).collect();
            assert_eq!(phases[..3], ["account", "session_open", "session_close"]);
        }
    }
    // Not even a mistyped line, unless it may have meant to.
    let place = Place::new("tiemout=1");
    let got = Host::login(&place, "root").run(&["auth", "account", "open"]);
    assert_eq!(got.codes, [IGNORED, 0, 0]);
    assert!(got.logged[0].contains("tiemout=1"), "{got:?}");
    let place = Place::new("root=akk");
    let got = Host::login(&place, "root").run(&["account"]);
    assert_eq!(got.code(), SERVICE_ERR);
}

#[test]
fn an_agent_that_prompts_root_is_not_listened_to() {
    let place = Place::new("");
    let _agent = Agent::start(&place, |line, _| {
        line.send(&prompt("One-time code: "));
        assert_eq!(line.read().unwrap()["answer"]["text"], Value::Null);
        line.send(&verdict("unproven"));
    });
    let got = Host::login(&place, "root").run(&["account"]);
    assert_eq!(got.code(), 0);
    assert_eq!(got.shown, []);
}

#[test]
fn who_is_not_root_at_the_console_is_locked_out() {
    let place = Place::new("timeout=1");
    let _agent = Agent::saying(&place, verdict("deny"));
    for host in [
        // From elsewhere.
        Host::sshd(&place).user("root"),
        Host::login(&place, "root").rhost("192.0.2.7"),
        Host::login(&place, "root").rhost(b"\xff"),
        Host::sudo(&place).ruid(0).rhost("web1"),
        // The target is root, the principal is not.
        Host::sudo(&place).user("root").ruser(Some(b"root")),
        Host::sudo(&place).user("root").service("doas"),
        // Nearly root.
        Host::login(&place, "root "),
        Host::login(&place, "Root"),
        Host::login(&place, "toor"),
    ] {
        let got = host.run(&["account", "open"]);
        assert_eq!(got.codes, [PERM_DENIED, PERM_DENIED], "{got:?}");
    }
    let place = Place::new("root=ask timeout=1");
    let _agent = Agent::saying(&place, verdict("deny"));
    for host in [Host::login(&place, "root"), Host::sudo(&place).ruid(0)] {
        assert_eq!(host.run(&["account"]).code(), PERM_DENIED);
    }
}

#[test]
fn rescue_accounts_pass_only_when_the_agent_cannot_answer() {
    let daemon = nix::unistd::User::from_name("daemon").unwrap().unwrap();
    let uid = daemon.uid.as_raw();
    let place = Place::new("rescue=alice,daemon timeout=1");
    let all = ["auth", "account", "open", "close"];
    let passed = [IGNORED, 0, 0, 0];

    let got = Host::sshd(&place).run(&all);
    assert_eq!(got.codes, passed, "{got:?}");
    assert!(got.logged[1].contains("a rescue account passes"), "{got:?}");
    assert_eq!(got.shown, []);
    // In an elevation the uid counts, and the name must not disagree.
    let elevating = Host::sudo(&place).user("root").ruid(uid);
    let got = elevating.clone().ruser(Some(b"daemon")).run(&all);
    assert_eq!(got.codes, passed, "{got:?}");
    let got = elevating
        .clone()
        .ruser(None)
        .run(&["account", "uid=0", "open"]);
    assert_eq!(got.codes, [0, 0], "{got:?}");
    for impostor in [
        elevating.clone().ruser(Some(b"alice")),
        Host::sudo(&place).ruid(54321).ruser(Some(b"daemon")),
        Host::sudo(&place).ruid(54321).ruser(Some(b"alice")),
        Host::sudo(&place).ruid(54321).ruser(None),
        Host::sshd(&place).user("bob"),
        Host::sshd(&place).user("alice "),
    ] {
        assert_eq!(impostor.run(&["account"]).code(), AUTHINFO_UNAVAIL);
    }

    let _agent = Agent::saying(&place, verdict("deny"));
    for host in [Host::sshd(&place), elevating.ruser(Some(b"daemon"))] {
        assert_eq!(host.run(&["account"]).code(), PERM_DENIED);
    }
}

#[test]
fn observe_refuses_nothing() {
    let asked_and = |message: &[u8]| {
        let place = Place::new("observe timeout=1");
        let message = message.to_vec();
        let agent = Agent::start(&place, move |line, question| {
            assert_eq!(question["observe"], true);
            line.raw(&message);
        });
        (place, agent)
    };
    let steps = ["auth", "account", "open"];
    for message in [
        frame(&refusal("deny", "no")),
        frame(&verdict("locked")),
        frame(&prompt("One-time code: ")),
        vec![0xff; 8],
    ] {
        let (place, agent) = asked_and(&message);
        for host in [Host::sudo(&place), Host::sshd(&place)] {
            let got = host.flags(0).run(&steps);
            assert_eq!(got.codes, [IGNORED; 3], "{got:?}");
            assert_eq!(got.shown, []);
        }
        assert_eq!(agent.heard().len(), 6);
    }
    // Without an agent, with a mistyped line, with a name that is none.
    for place in [Place::new("observe"), Place::new("observe tiemout=1")] {
        let got = Host::sudo(&place).run(&steps);
        assert_eq!(got.codes, [IGNORED; 3]);
        assert!(got.logged[0].ends_with("observed only"), "{got:?}");
        let got = Host::sudo(&place).user("a\nb").run(&steps);
        assert_eq!(got.codes, [IGNORED; 3]);
    }
}

#[test]
fn a_bad_argument_is_named_and_nothing_is_asked() {
    let place = Place::new("tiemout=1");
    let agent = Agent::saying(&place, verdict("allow"));
    for step in ["auth", "account", "open"] {
        let got = Host::sudo(&place).run(&[step]);
        assert_eq!(got.code(), SERVICE_ERR);
        assert!(got.logged[0].contains("argument \"tiemout=1\""), "{got:?}");
        assert_eq!(got.errors().len(), 1);
    }
    assert_eq!(Host::sudo(&place).run(&["close", "setcred"]).codes, [0, 0]);
    assert_eq!(agent.heard(), Vec::<Value>::new());
}

#[test]
fn alone_in_its_stack_with_required() {
    let place = Place::required("");
    let _agent = Agent::saying(&place, verdict_for("allow", 1001));
    let all = ["auth", "setcred", "account", "open", "setcred", "close"];
    let got = Host::sudo(&place).run(&all);
    assert_eq!(got.codes, [0; 6], "{got:?}");
    assert_ne!(Host::sudo(&place).run(&["chauthtok"]).code(), 0);
}

#[test]
fn auth_finds_out_who_it_is_and_the_others_do_not_ask() {
    let place = Place::new("");
    let agent = Agent::saying(&place, verdict("allow"));
    let got = Host::login(&place, "")
        .nobody()
        .reply(Reply::Text(b"alice".to_vec()))
        .run(&["auth"]);
    assert_eq!(got.code(), 0, "{got:?}");
    assert_eq!(agent.heard()[0]["user"], "alice");
    for step in ["account", "open"] {
        let got = Host::login(&place, "").nobody().run(&[step]);
        assert_eq!(got.code(), PERM_DENIED);
        assert!(got.logged[0].contains("PAM_USER is not set"), "{got:?}");
    }
    let got = Host::login(&place, "")
        .nobody()
        .reply(Reply::Error(crate::pam::CONV_ERR))
        .run(&["auth"]);
    assert_eq!(got.code(), PERM_DENIED);
}

#[test]
fn debug_says_what_came_of_each_hook() {
    let place = Place::new("debug");
    let _agent = Agent::saying(&place, verdict_for("allow", 1001));
    let got = Host::sudo(&place).run(&["account"]);
    assert!(got.logged[0].contains("account: Success after"), "{got:?}");
}
