//! Hosts in odd states: without standard streams, out of descriptors, interrupted, stopped, and with
//! an environment full of traps.

use std::fs;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::agent::{Agent, prompt, stop, verdict, verdict_for};
use crate::host::{Host, is_datagram};
use crate::place::Place;

#[test]
fn its_descriptor_is_three_or_more_and_not_inherited_and_not_left_behind() {
    for closed in [false, true] {
        let place = Place::new("");
        let (say, said) = mpsc::channel();
        let _agent = Agent::start(&place, move |line, _| {
            say.send(lines_of(line.peer())).unwrap();
            line.send(&prompt("One-time code: "));
            line.read();
            line.send(&verdict_for("allow", 1001));
        });
        let mut host = Host::sudo(&place);
        if closed {
            host = host.closed_stdio();
        }
        let got = host.run(&["auth", "account", "open", "close"]);
        assert_eq!(got.codes, [0; 4], "{got:?}");
        assert_eq!(got.leaked, Vec::<String>::new());
        for _ in 0..3 {
            let lines = said.recv().unwrap();
            let [(descriptor, inherited)] = lines.as_slice() else {
                panic!("one line to the agent, not {lines:?}");
            };
            assert!(*descriptor > 2, "where standard output goes");
            assert!(!inherited, "the target's shell would have it");
        }
    }
}

/// A process's stream sockets: descriptor, and whether exec(2) leaves it open.
fn lines_of(process: i32) -> Vec<(i32, bool)> {
    let mut lines = Vec::new();
    for entry in fs::read_dir(format!("/proc/{process}/fd")).unwrap() {
        let entry = entry.unwrap();
        let what = fs::read_link(entry.path()).unwrap();
        let what = what.to_str().unwrap();
        // Datagrams are libc's line to syslogd, and the test's own.
        if !what.starts_with("socket:") || is_datagram(what) {
            continue;
        }
        let descriptor: i32 = entry.file_name().to_str().unwrap().parse().unwrap();
        let info = fs::read_to_string(format!("/proc/{process}/fdinfo/{descriptor}")).unwrap();
        let flags = info.split_whitespace().nth(3).unwrap();
        let flags = i32::from_str_radix(flags, 8).unwrap();
        lines.push((descriptor, flags & libc::O_CLOEXEC == 0));
    }
    lines
}

#[test]
fn an_environment_full_of_traps() {
    let place = Place::new("timeout=1");
    let agent = Agent::saying(&place, verdict("deny"));
    let plain = Host::sudo(&place).run(&["account"]);
    let trapped = Host::sudo(&place)
        .environment("RUST_BACKTRACE", "full")
        .environment("RUST_LOG", "trace")
        .environment("LD_BIND_NOT", "1")
        .environment("LD_DEBUG_OUTPUT", "/proc/self/mem")
        .environment("LC_ALL", b"\xff\xfe")
        .environment("LANG", "../../../../etc/shadow")
        .environment("LANGUAGE", "%s%n")
        .environment("TZ", ":/dev/zero")
        .environment("TMPDIR", "/nonexistent")
        .environment("SUDO_COMMAND", b"\x1b[2J\xff")
        .environment("SUDO_USER", "root")
        .environment("SUDO_UID", "0")
        .environment("USER", "root")
        .environment("LOGNAME", "root")
        .environment("MALLOC_PERTURB_", "255")
        .environment("http_proxy", "http://192.0.2.1/")
        .environment(b"\xff\xfe", b"\xff")
        .environment("LONG", vec![b'x'; 100_000])
        .run(&["account"]);
    assert_eq!(plain.codes, [6]);
    assert_eq!(trapped.codes, [6], "{trapped:?}");
    assert_eq!(trapped.shown, plain.shown);
    let heard: Vec<_> = agent
        .heard()
        .into_iter()
        .map(|mut question| {
            question.as_object_mut().unwrap().remove("txn");
            question
        })
        .collect();
    assert_eq!(heard[0], heard[1]);
}

#[test]
fn signals_neither_end_a_wait_nor_prolong_it() {
    let place = Place::new("timeout=1");
    let agent = Agent::start(&place, |line, question| {
        thread::sleep(Duration::from_millis(300));
        if question["user"] == "alice" {
            line.send(&verdict("allow"));
        } else {
            line.wait_for_end();
        }
    });
    let got = Host::sshd(&place).interrupted().run(&["account"]);
    assert_eq!(got.code(), 0, "{got:?}");
    let got = Host::sshd(&place)
        .user("bob")
        .interrupted()
        .run(&["account"]);
    assert_eq!(got.code(), 9, "{got:?}");
    assert!((1000..1900).contains(&got.millis[0]), "{got:?}");
    assert_eq!(agent.heard().len(), 2);
}

#[test]
fn a_yes_that_was_left_lying_past_the_deadline_is_no_yes() {
    // Stopped when it has just asked, and when it has long been waiting.
    for pause in [0, 200] {
        let place = Place::new("timeout=1");
        let _agent = Agent::start(&place, move |line, _| {
            // As who runs sudo may do to it: stop it, and let it go on when it suits.
            let host = line.peer();
            let yes = verdict_for("allow", 1001);
            thread::sleep(Duration::from_millis(pause));
            stop(host);
            line.send(&yes);
            thread::sleep(Duration::from_millis(1500));
            kill(Pid::from_raw(host), Signal::SIGCONT).unwrap();
        });
        let got = Host::sudo(&place).run(&["account"]);
        assert_eq!(got.code(), 9, "stopped after {pause} ms: {got:?}");
        assert!(got.logged[0].contains("time ran out"), "{got:?}");
    }
}

#[test]
fn out_of_descriptors() {
    let place = Place::new("");
    let agent = Agent::saying(&place, verdict("allow"));
    let got = Host::sshd(&place)
        .no_descriptors()
        .run(&["account", "close"]);
    // libpam needs a descriptor for its own audit line, and makes PAM_SYSTEM_ERR of everything.
    assert!(!got.codes.contains(&0), "{got:?}");
    assert_eq!(got.errors().len(), 1);
    assert_eq!(got.logged.len(), 2);
    for line in got.logged {
        assert!(line.contains("Too many open files"), "{line}");
    }
    assert_eq!(agent.heard().len(), 0);
}
