//! A panic inside each phase: the host lives, hears no, and prints nothing.

use serde_json::Value;

use crate::agent::{Agent, verdict_for};
use crate::host::Host;
use crate::place::{IGNORED, Place};

const PERM_DENIED: i32 = 6;

#[test]
fn a_panic_in_any_phase_is_a_denial() {
    for (phase, step) in [
        ("auth", "auth"),
        ("account", "account"),
        ("session_open", "open"),
    ] {
        for place in ["", ":early"] {
            let place = Place::faulty(&format!("panic={phase}{place}"));
            let agent = Agent::saying(&place, verdict_for("allow", 1001));
            let got = Host::sshd(&place)
                .environment("RUST_BACKTRACE", "full")
                .run(&[step]);
            assert_eq!(got.code(), PERM_DENIED, "{got:?}");
            assert!(got.logged[0].contains("a fault"), "{got:?}");
            assert!(got.logged[0].contains("phase.rs:"), "{got:?}");
            assert!(!got.printed.contains("injected"), "{got:?}");
            assert!(!got.printed.contains("stack backtrace"), "{got:?}");
            assert_eq!(agent.heard(), Vec::<Value>::new());
        }
    }
    let place = Place::faulty("panic=session_close");
    assert_eq!(Host::sshd(&place).run(&["close"]).code(), 0);
    let place = Place::faulty("panic=session_close:early");
    assert_eq!(Host::sshd(&place).run(&["close"]).code(), 0);
}

#[test]
fn a_panic_refuses_nothing_under_observe() {
    for place in ["", ":early"] {
        let place = Place::faulty(&format!("observe panic=account{place}"));
        let got = Host::sudo(&place).run(&["account"]);
        assert_eq!(got.code(), IGNORED, "{got:?}");
    }
}

#[test]
fn a_panic_while_asking_locks_out_neither_root_nor_a_rescue_account() {
    let place = Place::faulty("panic=account rescue=alice");
    for host in [Host::login(&place, "root"), Host::sshd(&place)] {
        assert_eq!(host.run(&["account"]).code(), 0);
    }
}

#[test]
fn two_panics_in_one_process() {
    let place = Place::faulty("panic=account");
    let got = Host::sudo(&place).run(&["account", "account", "account"]);
    assert_eq!(got.codes, [PERM_DENIED; 3]);
    assert_eq!(got.logged.len(), 3);
}
