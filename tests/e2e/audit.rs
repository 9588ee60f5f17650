//! What is recorded: syslog lines as a real rsyslogd receives them, the journal, and the proof that
//! neither was edited.

use std::time::{Duration, Instant};

use jit_tests::World;
use serde_json::Value;

use crate::people::{BY_GRANT, becomes_root, granted_world, nopasswd};

const LOG: &str = "/var/log/auth.log";
const JOURNAL: &str = "/var/lib/pam_jit/audit/journal.jsonl";

/// `jit audit verify` against what rsyslogd wrote: whether all is well, and the report. Waits until
/// rsyslogd has written what it was sent.
fn verify(world: &World) -> (bool, Value) {
    let output = world.root(&format!("jit audit verify --against {LOG} --json"));
    let report = output.json();
    assert_eq!(output.ok(), report["ok"] == true, "{report}");
    (output.ok(), report)
}

/// A world with some records, all of which rsyslogd has.
fn recorded_world() -> World {
    let world = granted_world();
    assert!(becomes_root(&world, "alice"));
    assert!(!becomes_root(&world, "bob"));
    world.wait_for("all records at the collector", || verify(&world).0);
    world
}

/// The value of a key in a logfmt line.
fn value<'a>(line: &'a str, key: &str) -> &'a str {
    let (_, rest) = line
        .split_once(&format!(" {key}="))
        .unwrap_or_else(|| panic!("no {key} in {line}"));
    match rest.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next().unwrap(),
        None => rest.split(' ').next().unwrap(),
    }
}

#[test]
fn a_decision_is_one_line_with_every_key() {
    let world = granted_world();
    assert!(becomes_root(&world, "alice"));
    assert!(!becomes_root(&world, "bob"));
    let allowed = world.logged(&["event=decision", "user=alice", "phase=session_open"]);
    let [line] = allowed.as_slice() else {
        panic!("not one line: {allowed:?}");
    };
    let facts = [
        ("outcome", "allow"),
        ("reason", "granted"),
        ("uid", "2001"),
        ("target", "root"),
        ("service", "sudo"),
        ("mode", "enforce"),
        ("host", "web1"),
        ("rhost", "-"),
        ("from", "-"),
        ("command", "id"),
        ("grant", "local:alice"),
        ("mfa", "none"),
        ("source", "-"),
    ];
    for (key, wanted) in facts {
        assert_eq!(value(line, key), wanted, "{key} in {line}");
    }
    for key in ["tty", "auid", "pid", "until", "seq", "age", "id", "chain"] {
        assert!(!value(line, key).is_empty(), "{key} in {line}");
    }
    assert_eq!(value(line, "chain").len(), 12);
    let denied = world.logged(&["event=decision", "user=bob"]);
    let [line] = denied.as_slice() else {
        panic!("not one line: {denied:?}");
    };
    for (key, wanted) in [
        ("outcome", "deny"),
        ("reason", "no_grant"),
        ("target", "-"),
        ("grant", "-"),
    ] {
        assert_eq!(value(line, key), wanted, "{key} in {line}");
    }
}

#[test]
fn the_priority_is_authpriv() {
    let world = granted_world();
    world.must("echo 'authpriv.* /var/log/authpriv-only' >>/etc/rsyslog.conf");
    world
        .must("kill $(cat /run/rsyslogd.pid); while [ -e /run/rsyslogd.pid ]; do sleep 0.02; done");
    world.must("rsyslogd -f /etc/rsyslog.conf -i /run/rsyslogd.pid");
    assert!(becomes_root(&world, "alice"));
    world.wait_for("a line at authpriv", || {
        world
            .read("/var/log/authpriv-only")
            .contains("event=decision outcome=allow")
    });
}

#[test]
fn format_json_is_one_object_a_line_with_the_same_facts() {
    let world = granted_world();
    world.config(&format!(
        "{BY_GRANT}\n[audit]\nformat = \"json\"\ndurable = true\ncommand = \"full\"\n"
    ));
    let command = world.run_as("alice", "sudo -n echo 'two words' '\"quoted\"'");
    assert!(command.ok(), "{command:?}");
    let line = world
        .logged(&["\"event\":\"decision\"", "session_open", "alice"])
        .remove(0);
    let object = line.split_once("]: ").unwrap().1;
    let object: Value = serde_json::from_str(object).unwrap();
    assert_eq!(object["outcome"], "allow");
    assert_eq!(object["grant"], "local:alice");
    assert!(
        object["command"].as_str().unwrap().contains("two words"),
        "{object}"
    );
    assert!(object["chain"].is_string(), "{object}");
    world.wait_for("json lines to verify", || verify(&world).0);
}

#[test]
fn the_command_is_recorded_as_much_as_configured() {
    let world = granted_world();
    for (detail, wanted) in [("off", "-"), ("name", "echo"), ("full", "echo s3cret")] {
        world.config(&format!(
            "{BY_GRANT}\n[audit]\nformat = \"logfmt\"\ndurable = true\ncommand = \"{detail}\"\n"
        ));
        assert!(world.run_as("alice", "sudo -n echo s3cret").ok());
        let shown = world.must("jit audit show --json --event decision -n 1");
        let shown: Value = serde_json::from_str(&shown).unwrap();
        let command = shown["events"][0]["command"].as_str().unwrap_or("-");
        assert!(command.ends_with(wanted), "{detail}: {command}");
        assert_eq!(
            command.contains("s3cret"),
            detail == "full",
            "{detail}: {command}"
        );
    }
}

#[test]
fn what_the_collector_has_and_what_the_journal_has_are_the_same() {
    let world = recorded_world();
    let (_, report) = verify(&world);
    assert_eq!(report["records"], report["against"]["matched"], "{report}");
    let shown: Value = serde_json::from_str(&world.must("jit audit show -n 0 --json")).unwrap();
    let events = shown["events"].as_array().unwrap();
    assert_eq!(events.len() as u64, report["records"].as_u64().unwrap());
    assert!(events.iter().any(|e| e["event"] == "decision"
        && e["outcome"] == "deny"
        && e["user"] == "bob"
        && e["reason"] == "no_grant"));
    let text = world.must("jit audit show");
    assert!(text.contains("no_grant"), "{text}");
}

#[test]
fn an_edit_of_the_journal_is_found() {
    let world = recorded_world();
    // Nothing is written any more, so what is found is the edit.
    world.must("agentctl stop");
    world.wait_for("all records at the collector", || verify(&world).0);
    world.must(&format!("cp {JOURNAL} /root/journal"));
    let edits = [
        (
            "a changed value",
            "sed -i 's/\"outcome\":\"deny\"/\"outcome\":\"allow\"/'",
        ),
        ("a removed line", "sed -i '/no_grant/d'"),
        ("two lines in another order", "sed -i '2{h;d};3{G}'"),
        ("the end cut off", "sed -i '$d'"),
        ("nothing left", "truncate -s 0"),
    ];
    for (edit, command) in edits {
        world.must(&format!("{command} {JOURNAL}"));
        let (ok, report) = verify(&world);
        assert!(!ok, "{edit} was not found: {report}");
        world.must(&format!("cp /root/journal {JOURNAL}"));
        assert!(verify(&world).0, "all is well without an edit");
    }
    // A beginning that is gone may have been rotated away: it is shown.
    world.must(&format!("sed -i 1d {JOURNAL}"));
    let (_, report) = verify(&world);
    assert_eq!(report["from_start"], false, "{report}");
    // Alone, the chain shows what breaks it: all but an edit of its very end.
    world.must(&format!("cp /root/journal {JOURNAL}"));
    assert!(world.root("jit audit verify").ok());
    world.must(&format!(
        "sed -i 's/\"user\":\"alice\"/\"user\":\"carol\"/' {JOURNAL}"
    ));
    let alone = world.root("jit audit verify");
    assert!(
        !alone.ok() && alone.text().contains("journal.jsonl"),
        "{alone:?}"
    );
}

#[test]
fn an_edit_at_the_collector_is_found() {
    let world = recorded_world();
    world.must(&format!("cp {LOG} /root/log"));
    let edits = [
        (
            "a changed value",
            "sed -i 's/outcome=deny reason=no_grant/outcome=allow reason=granted/'",
        ),
        (
            "a line twice, with another user",
            "sed -i '/reason=no_grant/{p;s/user=bob/user=carol/;s/ id=01/ id=02/}'",
        ),
    ];
    for (edit, command) in edits {
        world.must(&format!(
            "cp /root/log /root/edited; {command} /root/edited"
        ));
        let output = world.root("jit audit verify --against /root/edited");
        assert_eq!(output.code, 1, "{edit} was not found: {output:?}");
    }
    // A line that is gone may be a datagram that was lost: shown, and not called an edit.
    world.must("sed '/user=alice .*session_open/d' /root/log >/root/edited");
    let report = world
        .root("jit audit verify --against /root/edited --json")
        .json();
    let missing = report["against"]["not_at_collector"].as_array().unwrap();
    assert!(!missing.is_empty(), "{report}");
    assert!(world.root("jit audit verify --against /root/log").ok());
}

#[test]
fn a_line_that_anybody_forged_is_found() {
    let world = recorded_world();
    let line = world
        .logged(&["outcome=allow", "user=alice", "session_open"])
        .remove(0);
    let forged = line
        .split_once("]: ")
        .unwrap()
        .1
        .replace("user=alice", "user=carol");
    // With the id of a real record, and with one of its own.
    for forged in [forged.clone(), forged.replace(" id=01", " id=02")] {
        world.must(&format!("cp {LOG} /root/before"));
        let logger = world.run_as(
            "mallory",
            &format!("logger -p authpriv.info -t pam_jit '{forged}'"),
        );
        assert!(logger.ok(), "{logger:?}");
        world.wait_for("the forged line to be found", || !verify(&world).0);
        world.must(&format!("cp /root/before {LOG}"));
        assert!(verify(&world).0);
    }
}

#[test]
fn rsyslog_gone_and_back_costs_no_decision_and_is_counted() {
    let world = granted_world();
    world
        .must("kill $(cat /run/rsyslogd.pid); while [ -e /run/rsyslogd.pid ]; do sleep 0.02; done");
    assert!(becomes_root(&world, "alice"));
    assert!(!becomes_root(&world, "bob"));
    world.must("rsyslogd -f /etc/rsyslog.conf -i /run/rsyslogd.pid");
    assert!(becomes_root(&world, "alice"));
    let recovered = world
        .logged(&["event=agent", "outcome=recovered", "reason=syslog"])
        .remove(0);
    let dropped: u32 = value(&recovered, "dropped").parse().unwrap();
    assert!(dropped >= 3, "{recovered}");
    let (_, report) = verify(&world);
    let missing = report["against"]["not_at_collector"]
        .as_array()
        .unwrap()
        .len();
    assert!(missing >= dropped as usize, "{report}");
    // The journal has them all.
    assert!(world.root("jit audit verify").ok());
    let shown = world.must("jit audit show -n 0 --user bob");
    assert!(shown.contains("no_grant"), "{shown}");
}

#[test]
fn a_hung_collector_does_not_hang_the_answer() {
    let world = granted_world();
    // sudo and the other modules wait for syslog for ever themselves; only our lines stay.
    world.must("echo 'Defaults !syslog' >/etc/sudoers.d/quiet");
    let line = |phase: &str| format!("{phase} required pam_jit.so\n");
    let stack = line("account") + &line("session") + "auth required pam_permit.so\n";
    world.write("/etc/pam.d/sudo", &stack);
    world.must("kill -STOP $(cat /run/rsyslogd.pid)");
    // More than its socket holds.
    world.root("seq 5000 | timeout 3 logger -t filler; true");
    let start = Instant::now();
    assert!(becomes_root(&world, "alice"));
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );
    world.must("kill -CONT $(cat /run/rsyslogd.pid)");
}

/// A world whose agent keeps its state on a disk that can be filled.
fn small_disk(config: &str) -> World {
    let world = World::new();
    nopasswd(&world);
    world.must("agentctl stop; mount -t tmpfs -o size=256k,mode=0700 state /var/lib/pam_jit");
    world.config(config);
    world.grant("--user alice --service sudo --for 1h");
    assert!(becomes_root(&world, "alice"));
    world
}

const FILL: &str = "dd if=/dev/zero of=/var/lib/pam_jit/filler bs=1k 2>/dev/null; true";

#[test]
fn with_a_full_disk_nobody_gets_in_but_root() {
    let world = small_disk(BY_GRANT);
    world.must(FILL);
    // The journal's last page may have room for a few records.
    let yes = (0..20)
        .take_while(|_| becomes_root(&world, "alice"))
        .count();
    assert!(yes < 20, "no record on disk, so no");
    world.logged(&[
        "event=decision",
        "outcome=deny",
        "user=alice",
        "reason=audit_failed",
    ]);
    assert!(world.must("sudo id").contains("uid=0(root)"));
    // Still no at the second look, and yes when there is room again.
    assert!(!becomes_root(&world, "alice"));
    world.must("rm /var/lib/pam_jit/filler");
    world.wait_for("room again", || becomes_root(&world, "alice"));
    assert!(world.root("jit audit verify").ok(), "the chain goes on");
    let shown = world.must("jit audit show -n 0 --json --user alice --event decision");
    let shown: Value = serde_json::from_str(&shown).unwrap();
    let allowed = |e: &&Value| e["outcome"] == "allow" && e["phase"] == "session_open";
    let recorded = shown["events"].as_array().unwrap().iter().filter(allowed);
    assert!(
        recorded.count() >= yes + 2,
        "each yes is on record: {shown}"
    );
}

#[test]
fn durable_false_says_yes_with_a_full_disk() {
    let world = small_disk(&format!(
        "{BY_GRANT}\n[audit]\nformat = \"logfmt\"\ndurable = false\ncommand = \"name\"\n"
    ));
    world.must(FILL);
    for _ in 0..20 {
        assert!(becomes_root(&world, "alice"));
    }
    world.logged(&["event=agent", "outcome=failed", "reason=journal"]);
}

#[test]
fn no_allow_was_given_without_its_record_whenever_the_agent_is_killed() {
    let world = granted_world();
    // Kills the agent again and again while alice works; every yes she got is on record.
    let workers =
        "n=0; for i in $(seq 60); do sudo -n true 2>/dev/null && n=$((n+1)); done; echo $n";
    let killer = "for i in $(seq 15); do sleep 0.1; agentctl kill9; agentctl start; done";
    let yes: u64 = std::thread::scope(|scope| {
        let work = scope.spawn(|| world.run_as("alice", workers));
        world.must(killer);
        work.join().unwrap().out.trim().parse().unwrap()
    });
    let shown = world.must("jit audit show -n 0 --json --user alice --event decision");
    let shown: Value = serde_json::from_str(&shown).unwrap();
    let recorded = shown["events"].as_array().unwrap().iter();
    let recorded = recorded
        .filter(|e| e["outcome"] == "allow" && e["phase"] == "session_open")
        .count() as u64;
    assert!(
        yes > 0 && recorded >= yes,
        "{yes} times in, {recorded} on record"
    );
    let verified = world.root("jit audit verify");
    assert!(
        verified.ok(),
        "a killed agent leaves an unbroken chain: {verified:?}"
    );
}

#[test]
fn the_journal_and_its_folder_are_roots_alone() {
    let world = recorded_world();
    for file in ["/var/lib/pam_jit", "/var/lib/pam_jit/audit"] {
        assert_eq!(
            world.must(&format!("stat -c %U:%a {file}")).trim(),
            "root:700",
            "{file}"
        );
    }
    let mode = world.must(&format!("stat -c %U:%a {JOURNAL}"));
    assert_eq!(mode.trim(), "root:600");
    for verb in ["show", "verify"] {
        let refused = world.run_as("alice", &format!("jit audit {verb}"));
        assert_eq!(refused.code, 1, "{refused:?}");
    }
}

#[test]
fn no_secret_is_ever_recorded() {
    let world = World::new();
    let factor = world.enroll("alice");
    world.grant("--user alice --service sudo --for 1h");
    let wrong = factor.wrong_code();
    assert!(!world.type_at("alice", "sudo id", &wrong).ok());
    let (code, later) = (world.code("alice"), world.code("alice"));
    assert!(world.type_at("alice", "sudo id", &code).ok());
    assert!(world.type_at("alice", "sudo id", &factor.recovery[0]).ok());
    let logs = world.must("cat /var/log/* /var/lib/pam_jit/audit/*");
    let bare = factor.recovery[0].replace('-', "");
    for secret in [
        &factor.secret,
        &wrong,
        &code,
        &later,
        &factor.recovery[0],
        &bare,
    ] {
        assert!(!logs.contains(secret.as_str()), "{secret} is in a log");
    }
    assert!(logs.contains("event=mfa outcome=passed"), "{logs}");
    assert!(!logs.contains("alice-password"));
}
