//! An agent that is not there, does not answer, lies, or is not the agent. The answer comes in
//! time, is no, and the host lives.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;
use std::time::Duration;

use nix::sys::socket::{Backlog, listen};
use serde_json::json;

use crate::agent::{Agent, Separate, frame, prompt, verdict, verdict_for};
use crate::host::{Host, Reply, Report};
use crate::place::Place;

const AUTHINFO_UNAVAIL: i32 = 9;

/// The deadline that these tests give the module is one second; a busy machine may add to it.
const IN_TIME: u64 = 1900;

/// Every phase of an elevation and an entry: refused in time, with one line for the person, one
/// for the log, and nothing left open.
fn refused(place: &Place) -> Vec<Report> {
    let mut reports = Vec::new();
    for (host, step) in [
        (Host::sudo(place), "auth"),
        (Host::sudo(place), "account"),
        (Host::sshd(place), "auth"),
        (Host::sshd(place), "account"),
        (Host::sshd(place), "open"),
    ] {
        let got = host.run(&[step]);
        assert_eq!(got.code(), AUTHINFO_UNAVAIL, "{step}: {got:?}");
        assert!(got.millis[0] < IN_TIME, "{step}: {got:?}");
        assert_eq!(got.leaked, Vec::<String>::new(), "{step}");
        assert_eq!(got.errors().len(), 1, "{step}: {got:?}");
        assert_eq!(got.logged.len(), 1, "{step}: {got:?}");
        reports.push(got);
    }
    let closed = Host::sshd(place).run(&["close"]);
    assert_eq!(closed.code(), 0);
    assert!(closed.millis[0] < IN_TIME);
    reports
}

fn place() -> Place {
    Place::new("timeout=1")
}

#[test]
fn absent() {
    let place = place();
    for got in refused(&place) {
        assert!(got.millis[0] < 500, "{got:?}");
        assert!(got.logged[0].contains("is jit-agentd running?"), "{got:?}");
    }
    drop(UnixListener::bind(place.socket()).unwrap());
    refused(&place);
    fs::remove_file(place.socket()).unwrap();
    fs::write(place.socket(), "not a socket").unwrap();
    refused(&place);
    fs::remove_file(place.socket()).unwrap();
    fs::remove_dir(place.run()).unwrap();
    refused(&place);
}

#[test]
fn silent() {
    let place = place();
    let _agent = Agent::start(&place, |line, _| line.wait_for_end());
    refused(&place);
}

#[test]
fn silent_after_the_prompt() {
    let place = place();
    let _agent = Agent::start(&place, |line, _| {
        line.send(&prompt("One-time code: "));
        line.wait_for_end();
    });
    refused(&place);
}

#[test]
fn stopped() {
    let place = place();
    let agent = Separate::start(&place, 0);
    assert_eq!(Host::sshd(&place).run(&["account"]).code(), 0);
    agent.stop();
    refused(&place);
}

#[test]
fn its_queue_full() {
    let place = place();
    let listener = UnixListener::bind(place.socket()).unwrap();
    listen(&listener, Backlog::new(0).unwrap()).unwrap();
    // One is queued; who comes next waits for ever, unless it looks at the clock.
    let _queued = UnixStream::connect(place.socket()).unwrap();
    refused(&place);
}

#[test]
fn nonsense() {
    let messages: Vec<Vec<u8>> = vec![
        b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(),
        // 4 GiB.
        vec![0xff; 64],
        vec![0, 0, 0, 0],
        frame(&json!({})),
        frame(&json!([])),
        frame(&json!({"verdict": "allow"})),
        frame(&json!({"verdict": {"result": "allow"}, "info": "x"})),
        frame(&json!({"verdict": {"result": "maybe", "reason": "x"}})),
        frame(&json!({"status": {}})),
        frame(&json!({"refused": {"reason": "no", "message": "not for you"}})),
        frame(&json!({"prompt": {"id": -1, "text": "?", "echo": false}})),
        vec![b'['; 64 * 1024],
        [&[0, 0, 0xff, 0xff][..], &[b'['; 0xffff][..]].concat(),
        {
            let mut unknown = verdict("allow");
            unknown["verdict"]["extra"] = json!(1);
            frame(&unknown)
        },
        // Cut off.
        frame(&verdict("allow"))[..40].to_vec(),
        // Info without end.
        frame(&json!({"info": "x"})).repeat(100),
        vec![],
    ];
    for message in messages {
        let place = place();
        let shown = String::from_utf8_lossy(&message[..message.len().min(60)]).into_owned();
        let sent = message.clone();
        let _agent = Agent::start(&place, move |line, _| line.raw(&sent));
        let got = Host::sudo(&place).run(&["account"]);
        assert_eq!(got.code(), AUTHINFO_UNAVAIL, "{shown}: {got:?}");
        assert!(got.millis[0] < IN_TIME, "{shown}: {got:?}");
        assert_eq!(got.errors().len(), 1, "{shown}: {got:?}");
    }
}

#[test]
fn hanging_up_in_the_middle() {
    let whole = frame(&verdict("allow"));
    for cut in [0, 1, 3, 4, 5, whole.len() - 1] {
        let place = place();
        let part = whole[..cut].to_vec();
        let _agent = Agent::start(&place, move |line, _| line.raw(&part));
        let got = Host::sshd(&place).run(&["account"]);
        assert_eq!(got.code(), AUTHINFO_UNAVAIL, "{cut}: {got:?}");
        assert!(got.millis[0] < 500, "an end is not a wait: {got:?}");
        assert!(got.logged[0].contains("hung up"), "{cut}: {got:?}");
    }
}

#[test]
fn one_byte_at_a_time() {
    let place = place();
    let _agent = Agent::start(&place, |line, _| {
        for byte in frame(&verdict("allow")) {
            line.raw(&[byte]);
            thread::sleep(Duration::from_millis(1));
        }
    });
    assert_eq!(Host::sshd(&place).run(&["account"]).code(), 0);

    let place = self::place();
    let _agent = Agent::start(&place, |line, _| {
        for byte in frame(&verdict("allow")) {
            line.raw(&[byte]);
            thread::sleep(Duration::from_millis(50));
        }
    });
    refused(&place);
}

#[test]
fn not_root() {
    let place = place();
    let _agent = Separate::start(&place, 54321);
    for got in refused(&place) {
        assert!(got.logged[0].contains("uid 54321"), "{got:?}");
    }
}

#[test]
fn in_a_folder_of_somebody_elses() {
    let place = place();
    let agent = Agent::saying(&place, verdict_for("allow", 1001));
    assert_eq!(Host::sshd(&place).run(&["account"]).code(), 0);
    for mode in [0o777, 0o1777, 0o775, 0o702] {
        fs::set_permissions(place.run(), fs::Permissions::from_mode(mode)).unwrap();
        for got in refused(&place) {
            assert!(
                got.logged[0].contains("can be written by others"),
                "{got:?}"
            );
        }
    }
    fs::set_permissions(place.run(), fs::Permissions::from_mode(0o755)).unwrap();
    chown(place.run(), Some(1001), None).unwrap();
    for got in refused(&place) {
        assert!(got.logged[0].contains("is not root's"), "{got:?}");
    }
    assert_eq!(agent.heard().len(), 1, "nothing was said to a stranger");
}

#[test]
fn a_verdict_that_comes_while_the_person_types_is_heard() {
    let place = place();
    let _agent = Agent::start(&place, |line, _| {
        line.send(&prompt("One-time code: "));
        // Tired of waiting.
        line.send(&verdict("unproven"));
    });
    let got = Host::sudo(&place)
        .reply(Reply::Late(300, b"123456".to_vec()))
        .run(&["account"]);
    assert_eq!(got.code(), 6, "{got:?}");
}

#[test]
fn the_time_a_person_types_is_not_the_agents() {
    let place = place();
    let _agent = Agent::start(&place, |line, _| {
        line.send(&prompt("One-time code: "));
        line.read();
        line.send(&verdict("allow"));
    });
    let got = Host::sudo(&place)
        .reply(Reply::Late(1500, b"123456".to_vec()))
        .run(&["account"]);
    assert_eq!(got.code(), 0, "{got:?}");
}
