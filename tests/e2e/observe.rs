//! The first steps of a roll-out: `observe` records and refuses nothing, `off` is not there, and a
//! service that nobody thought of is shut.

use std::time::Duration;

use crate::people::{BY_GRANT, INSIDE, PROMPTLY, becomes_root, is_in, nopasswd, ssh, timed};
use crate::steps::config;
use jit_tests::World;

#[test]
fn observe_allows_and_records_what_would_have_been_denied() {
    let world = World::new();
    world.config(&config("observe", "15m", ""));
    world.enroll("alice");
    // Without a grant, with one, and root: nobody is refused and nobody is asked for a code.
    let ended = world.type_at("alice", "sudo id", "000000");
    assert!(ended.ok() && ended.says("uid=0(root)"), "{}", ended.text);
    assert!(
        !ended.says("ode: ") && !ended.says("pam_jit"),
        "{}",
        ended.text
    );
    let would = world.logged(&["event=decision", "mode=observe", "user=alice"]);
    assert!(
        would
            .iter()
            .all(|line| line.contains("outcome=allow would=deny reason=no_grant")),
        "{would:?}"
    );
    nopasswd(&world);
    assert!(becomes_root(&world, "bob"));
    let su = world
        .pty("alice", "su -c id")
        .answer(&[("assword", "root-password")]);
    assert!(su.ok() && su.says("uid=0(root)"), "{}", su.text);
    world.logged(&["service=su", "outcome=allow", "would=deny", "mode=observe"]);
    // With a grant, it says that a factor would have been needed.
    world.grant("--user carol --service sudo --for 1h");
    assert!(becomes_root(&world, "carol"));
    world.logged(&["user=carol", "outcome=allow", "would=", "mode=observe"]);
}

#[test]
fn observe_spends_no_code_and_counts_no_failure() {
    let world = World::new();
    world.config(&config("observe", "always", ""));
    world.enroll("alice");
    world.grant("--user alice --service sudo --for 1h");
    let code = world.code("alice");
    for _ in 0..8 {
        assert!(world.type_at("alice", "sudo id", "000000").ok());
    }
    let status = world.run_as("alice", "jit mfa status --json").json();
    assert!(status["locked_secs"].is_null(), "{status}");
    world.config(&config("enforce", "always", ""));
    let ended = world.type_at("alice", "sudo id", &code);
    assert!(ended.ok() && ended.says("uid=0(root)"), "{}", ended.text);
}

#[test]
fn observe_on_sshd_keeps_nobody_out() {
    let world = World::new();
    let more = "[service.sshd]\nmode = 'observe'\ngrant = true\nmfa = 'always'\n";
    world.config(&config("enforce", "15m", more));
    for method in ["publickey", "password", "keyboard-interactive"] {
        let ended = ssh(&world, "alice", method, "localhost", "000000");
        assert!(is_in(&ended, "alice"), "{method}: {}", ended.text);
        assert!(!ended.says("One-time code"), "{method}: {}", ended.text);
    }
    let lines = world.logged_times(3, &["service=sshd", "phase=account", "would=deny"]);
    assert_eq!(lines.len(), 3, "{lines:?}");
}

/// Puts an argument on our three lines of a service.
fn argue(world: &World, service: &str, argument: &str) {
    world.must(&format!(
        "sed -i 's/pam_jit.so.*/pam_jit.so {argument}/' /etc/pam.d/{service}"
    ));
}

#[test]
fn the_argument_observe_refuses_nothing_not_even_with_a_dead_agent() {
    let world = World::new();
    nopasswd(&world);
    argue(&world, "sudo", "observe");
    assert!(becomes_root(&world, "alice"));
    world.logged(&["user=alice", "outcome=allow", "would=deny", "mode=observe"]);
    // su has no such argument and goes on refusing.
    let su = world
        .pty("alice", "su -c id")
        .answer(&[("assword", "root-password")]);
    assert!(!su.ok(), "{}", su.text);

    world.must("agentctl kill9");
    assert!(becomes_root(&world, "alice"));
    world.must("agentctl start && agentctl freeze");
    let (opened, took) = timed(|| becomes_root(&world, "alice"));
    assert!(opened && took < PROMPTLY, "{took:?}");
    world.must("agentctl thaw");

    // Back to enforcing: the module's own word is what counted.
    argue(&world, "sudo", "");
    assert!(!becomes_root(&world, "alice"));
}

#[test]
fn observe_does_not_make_the_other_modules_say_yes() {
    let world = World::new();
    world.config(&config("observe", "15m", ""));
    argue(&world, "sudo", "observe");
    let mut sudo = world.pty("alice", "sudo id");
    for _ in 0..3 {
        sudo.expect("assword");
        sudo.send("wrong");
    }
    let ended = sudo.end();
    assert!(!ended.ok() && !ended.says("uid=0"), "{}", ended.text);
}

#[test]
fn off_is_as_if_we_were_not_there() {
    let world = World::new();
    nopasswd(&world);
    world.config(&config("off", "15m", ""));
    assert!(becomes_root(&world, "alice"));
    world.must("agentctl stop");
    // What is off is known by the agent alone: without it, the line refuses.
    assert!(!becomes_root(&world, "alice"));
    world.must("agentctl start");
    assert!(becomes_root(&world, "alice"));
    // The other modules still decide.
    let wrong = world
        .pty("alice", "su -c id")
        .answer(&[("assword", "wrong")]);
    assert!(!wrong.ok(), "{}", wrong.text);
}

#[test]
fn a_service_with_our_line_and_no_section_is_shut_but_for_root() {
    let world = World::new();
    // sshd by another name, which is its service then, as an administrator may run a second one.
    world.must(
        "cp /etc/pam.d/sshd /etc/pam.d/vault && cp /usr/sbin/sshd /usr/local/sbin/vault && \
         sed 's/^ListenAddress.*//; s/^HostKey.*/&\\nPort 2222/' /etc/ssh/sshd_config >/etc/ssh/vault_config && \
         /usr/local/sbin/vault -f /etc/ssh/vault_config",
    );
    let at = "-p 2222 localhost";
    let ended = ssh(&world, "alice", "publickey", at, "");
    assert!(!is_in(&ended, "alice"), "{}", ended.text);
    let lines = world.logged(&["service=vault", "outcome=deny", "reason=no_section"]);
    assert!(lines[0].contains("user=alice"), "{lines:?}");
    world.must("install -d -m 700 /root/.ssh && cp /home/alice/.ssh/authorized_keys /root/.ssh/");
    let ended = ssh(&world, "alice", "publickey", "-p 2222 root@localhost", "");
    assert!(ended.says(&format!("{INSIDE}root")), "{}", ended.text);

    // With a section, its section counts.
    let more = "[service.vault]\nmode = 'enforce'\ngrant = false\nmfa = 'none'\n";
    world.config(&format!("{BY_GRANT}{more}"));
    let ended = ssh(&world, "alice", "publickey", at, "");
    assert!(is_in(&ended, "alice"), "{}", ended.text);
}

#[test]
fn a_roll_out_from_observe_to_enforce_takes_no_restart() {
    let world = World::new();
    nopasswd(&world);
    world.config(&config("observe", "none", ""));
    assert!(becomes_root(&world, "alice"));
    world.write("/etc/pam_jit/agent.toml", &config("enforce", "none", ""));
    world.wait_for("the new mode", || !becomes_root(&world, "alice"));
    // A slip in the file changes nothing.
    let slip = config("enforce", "none", "").replacen("enforce", "obsevre", 1);
    world.write("/etc/pam_jit/agent.toml", &slip);
    world.logged(&["event=config", "outcome=rejected", "agent.toml:4:8"]);
    std::thread::sleep(Duration::from_millis(200));
    assert!(!becomes_root(&world, "alice"));
}
