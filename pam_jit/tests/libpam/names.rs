//! Names that are none, and what the log line then shows.

use serde_json::Value;

use crate::agent::{Agent, verdict_for};
use crate::host::Host;
use crate::place::Place;

const PERM_DENIED: i32 = 6;

#[test]
fn odd_but_printable_names_are_the_agents_to_judge() {
    let long = "x".repeat(256);
    for name in [
        "../../x",
        "a b",
        "-rf",
        "żółw",
        "$(id)",
        "%s%n",
        long.as_str(),
    ] {
        let place = Place::new("");
        let agent = Agent::saying(&place, verdict_for("allow", 1001));
        let got = Host::sudo(&place).user(name).run(&["account"]);
        assert_eq!(got.code(), 0, "{got:?}");
        assert_eq!(agent.heard()[0]["user"], name);
    }
}

#[test]
fn what_is_no_name_is_refused_and_escaped_and_never_sent() {
    let long = vec![b'x'; 300];
    let hostile: [(&[u8], &str); 7] = [
        (&long, "xxxxxx...\" is longer than 256 bytes"),
        (b"alice\nroot", r#""alice\nroot" holds control characters"#),
        (
            b"a\x1b[2J\x1b]0;x\x07",
            r#""a\x1b[2J\x1b]0;x\x07" holds control characters"#,
        ),
        (b"al\xff", r#""al\xff" is not UTF-8"#),
        (b"a\x7f", r#""a\x7f" holds control characters"#),
        ("a\u{9b}2J".as_bytes(), r#""a\xc2\x9b2J" holds control"#),
        (b"%s%n\t", r#""%s%n\t" holds control characters"#),
    ];
    let place = Place::new("");
    let agent = Agent::saying(&place, verdict_for("allow", 1001));
    for (name, line) in hostile {
        for (host, item) in [
            (Host::sudo(&place).user(name), "PAM_USER"),
            (Host::sudo(&place).ruser(Some(name)), "PAM_RUSER"),
            (Host::sudo(&place).tty(name), "PAM_TTY"),
            (Host::sudo(&place).rhost(name), "PAM_RHOST"),
            (Host::sshd(&place).user(name), "PAM_USER"),
        ] {
            for step in ["auth", "account"] {
                let got = host.clone().run(&[step]);
                assert_eq!(got.code(), PERM_DENIED, "{got:?}");
                assert!(got.logged[0].contains(item), "{got:?}");
                assert!(got.logged[0].contains(line), "{got:?}");
                assert!(!got.logged[0].contains(['\n', '\x1b', '\u{9b}']), "{got:?}");
                assert_eq!(got.errors().len(), 1, "{got:?}");
                assert!(!got.errors()[0].contains("alice"), "{got:?}");
            }
        }
        let got = Host::sshd(&place).user(name).run(&["open"]);
        assert_eq!(got.code(), PERM_DENIED);
        let got = Host::sshd(&place).user(name).run(&["close"]);
        assert_eq!(got.code(), 0);
    }
    assert_eq!(agent.heard(), Vec::<Value>::new());
}
