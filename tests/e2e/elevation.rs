//! sudo and su: shut without a grant, open with one, and shut again when it has ended.

use std::time::Duration;

use jit_tests::World;

use crate::steps::{
    NO_GRANT, SUDOS, at, floor, passwords_asked, refused_once, shell, times, without_password,
    world_without_bobs_password,
};

#[test]
fn without_a_grant_sudo_refuses_and_says_why_once() {
    let world = World::new();
    world.enroll("alice");
    for sudo in SUDOS {
        let ended = world.type_at("alice", &format!("{sudo} id"), "000000");
        refused_once(&ended);
        // Once: a second try with the password could not end otherwise.
        assert_eq!(passwords_asked(&ended.text), 1, "{}", ended.text);
        assert!(
            !ended.says("ode: "),
            "asked for a code in vain: {}",
            ended.text
        );
        assert!(ended.says("sudo on web1. Ask"), "{}", ended.text);
    }
    let refusals = world.logged_times(2, &["event=decision", "outcome=deny", "user=alice"]);
    assert_eq!(refusals.len(), 2, "{refusals:?}");
    for line in refusals {
        for fact in [
            "reason=no_grant",
            "uid=2001",
            "service=sudo",
            "phase=account",
        ] {
            assert!(line.contains(fact), "{fact} is not in {line}");
        }
    }
}

#[test]
fn with_a_grant_and_a_code_sudo_opens() {
    let world = World::new();
    world.enroll("alice");
    let id = world.grant("--user alice --service sudo --for 1h");
    for sudo in SUDOS {
        let ended = world.type_at("alice", &format!("{sudo} id"), &world.code("alice"));
        assert!(ended.ok() && ended.says("uid=0(root)"), "{}", ended.text);
        let bare = id.strip_prefix("local:").unwrap();
        assert!(ended.says(&format!("JIT grant {bare}, ")), "{}", ended.text);
        assert!(ended.says(" left. One-time code: "), "{}", ended.text);
    }
    let allowed = world.logged_times(2, &["event=decision", "outcome=allow", "target=root"]);
    assert_eq!(allowed.len(), 2, "{allowed:?}");
    assert!(allowed[0].contains(&format!("grant={id}")), "{allowed:?}");
}

#[test]
fn what_the_person_types_is_not_shown() {
    let world = World::new();
    world.enroll("alice");
    world.grant("--user alice --service sudo --for 1h");
    let code = world.code("alice");
    let ended = world.type_at("alice", "sudo id", &code);
    assert!(ended.ok() && !ended.says(&code), "{}", ended.text);
}

#[test]
fn a_grant_is_for_its_target_alone() {
    let world = world_without_bobs_password();
    world.config(&floor("none"));
    world.grant("--user bob --service sudo --run-as postgres --for 1h");
    for sudo in SUDOS {
        let ended = world.type_at("bob", &format!("{sudo} -u postgres id"), "");
        assert!(
            ended.ok() && ended.says("uid=890(postgres)"),
            "{}",
            ended.text
        );
        for other in ["id", "-u root id", "-u carol id", "-u '#0' id"] {
            let ended = world.type_at("bob", &format!("{sudo} {other}"), "");
            assert!(
                !ended.ok() && !ended.says("uid="),
                "{other}: {}",
                ended.text
            );
            assert!(ended.says("not in run_as"), "{other}: {}", ended.text);
            assert_eq!(times(&ended.text, "pam_jit: "), 1, "{}", ended.text);
        }
    }
    let refused = world.logged(&["outcome=deny", "reason=target", "phase=session"]);
    assert!(refused.iter().any(|line| line.contains("target=carol")));
}

#[test]
fn an_account_with_uid_0_by_another_name_is_root() {
    let world = world_without_bobs_password();
    world.config(&floor("none"));
    world.must("echo 'toor:x:0:0::/root:/bin/bash' >>/etc/passwd");
    world.grant("--user bob --service sudo --run-as toor --for 1h");
    for sudo in SUDOS {
        let ended = world.type_at("bob", &format!("{sudo} -u toor id"), "");
        assert!(!ended.ok() && !ended.says("uid="), "{}", ended.text);
    }
}

#[test]
fn a_grant_for_sudo_is_none_for_su_nor_the_other_way() {
    let world = world_without_bobs_password();
    world.config(&floor("none"));
    let for_sudo = world.grant("--user bob --service sudo --for 1h");
    refused_once(&su(&world, "bob", "su -c id", "root"));
    world.must(&format!("jit grant revoke {for_sudo}"));
    world.grant("--user bob --service su --for 1h");
    refused_once(&world.type_at("bob", "sudo id", ""));
}

#[test]
fn a_grant_begins_ends_and_is_revoked() {
    let world = world_without_bobs_password();
    world.config(&floor("none"));
    let open = || world.run_as("bob", "sudo -n id").ok();
    let in_an_hour = world.must("date -u -d '+1 hour' +%FT%TZ");
    let later = world.grant(&format!(
        "--user bob --service sudo --for 1h --from {}",
        in_an_hour.trim()
    ));
    assert!(!open(), "before its start");
    let denial = world.run_as("bob", "sudo -n id").err;
    assert!(denial.contains("starts in"), "{denial}");
    world.must(&format!("jit grant revoke {later}"));

    world.grant("--user bob --service sudo --for 2s");
    assert!(open(), "while it lasts");
    // Ends stand on whole seconds, the next one up.
    std::thread::sleep(Duration::from_millis(3100));
    assert!(!open(), "after its end");
    let denial = world.run_as("bob", "sudo -n id").err;
    assert!(denial.contains("expired"), "{denial}");

    let id = world.grant("--user bob --service sudo --for 1h");
    assert!(open(), "a new one");
    world.must(&format!("jit grant revoke {id}"));
    assert!(!open(), "once it is revoked");
}

#[test]
fn a_grant_of_a_group_is_for_its_members() {
    let world = World::new();
    without_password(&world, "bob");
    without_password(&world, "carol");
    world.config(&floor("none"));
    world.grant("--group dba --service sudo --for 1h");
    assert!(world.run_as("bob", "sudo -n id").ok());
    assert!(!world.run_as("carol", "sudo -n id").ok());
}

#[test]
fn a_ticket_of_sudo_ends_with_the_grant() {
    for sudo in SUDOS {
        let world = World::new();
        world.enroll("alice");
        world.config(&floor("none"));
        let id = world.grant("--user alice --service sudo --for 1h");
        let mut shell = shell(&world, "alice");
        let password = [("assword", "alice-password")];
        assert!(at(&mut shell, &format!("{sudo} id"), &password).says("uid=0(root)"));
        let cached = at(&mut shell, &format!("{sudo} -n id"), &[]);
        assert!(cached.says("uid=0(root)"), "{}", cached.text);
        world.must(&format!("jit grant revoke {id}"));
        refused_once(&at(&mut shell, &format!("{sudo} -n id"), &[]));
        refused_once(&at(&mut shell, &format!("{sudo} -n -v"), &[]));
        refused_once(&at(&mut shell, &format!("{sudo} -n -l"), &[]));
    }
}

#[test]
fn targetpw_and_rootpw_do_not_change_who_acts() {
    let world = World::new();
    world.enroll("alice");
    for (default, who) in [("targetpw", "postgres"), ("rootpw", "root")] {
        world.write("/etc/sudoers.d/pw", &format!("Defaults {default}\n"));
        for sudo in SUDOS {
            let password = format!("{who}-password");
            let command = format!("{sudo} -u postgres id");
            let refused = world
                .pty("alice", &command)
                .answer(&[("assword", &password)]);
            refused_once(&refused);
            assert!(!refused.says("uid="), "{default}: {}", refused.text);
            // Root is exempt, alice who has root's password is not.
            let lines = world.logged(&["event=decision", "outcome=deny"]);
            assert!(
                lines.iter().all(|line| line.contains("user=alice")),
                "{lines:?}"
            );
        }
    }
    world.grant("--user alice --service sudo --run-as postgres --for 1h");
    world.write("/etc/sudoers.d/pw", "Defaults targetpw\n");
    let ended = world.pty("alice", "sudo -u postgres id").answer(&[
        ("assword", "postgres-password"),
        ("ode: ", &world.code("alice")),
    ]);
    assert!(ended.says("uid=890(postgres)"), "{}", ended.text);
    let ended = world.pty("alice", "sudo id").answer(&[
        ("assword", "root-password"),
        ("ode: ", &world.code("alice")),
    ]);
    assert!(!ended.ok() && !ended.says("uid="), "{}", ended.text);
    assert!(ended.says("not in run_as"), "{}", ended.text);
}

fn su(world: &World, user: &str, command: &str, target: &str) -> jit_tests::Ended {
    let password = format!("{target}-password");
    let code = ["bob"].contains(&user).then(String::new);
    let code = code.unwrap_or_else(|| world.code(user));
    world
        .pty(user, command)
        .answer(&[("assword", &password), ("ode: ", &code)])
}

#[test]
fn su_is_shut_without_a_grant() {
    let world = World::new();
    for (command, target) in [
        ("su -c id", "root"),
        ("su - -c id", "root"),
        ("su -l root -c id", "root"),
        ("su bob -c id", "bob"),
        ("su - bob -c id", "bob"),
        ("/opt/sudo-rs/bin/su -c id", "root"),
    ] {
        let password = format!("{target}-password");
        let ended = world
            .pty("alice", command)
            .answer(&[("assword", &password)]);
        assert!(
            !ended.ok() && !ended.says("uid="),
            "{command}: {}",
            ended.text
        );
        assert!(
            ended.says(NO_GRANT) && ended.says("for su on"),
            "{}",
            ended.text
        );
        assert_eq!(times(&ended.text, "pam_jit: "), 1, "{}", ended.text);
    }
}

#[test]
fn su_opens_with_a_grant_for_that_target() {
    let world = World::new();
    for user in ["alice", "carol", "mallory"] {
        world.enroll(user);
        world.grant(&format!(
            "--user {user} --service su --run-as root --run-as bob --for 1h"
        ));
    }
    for (user, command, target, uid) in [
        ("alice", "su -c id", "root", "uid=0(root)"),
        ("alice", "su - -c id", "root", "uid=0(root)"),
        ("carol", "su bob -c id", "bob", "uid=2002(bob)"),
        ("carol", "su - bob -c id", "bob", "uid=2002(bob)"),
        (
            "mallory",
            "/opt/sudo-rs/bin/su -c id",
            "root",
            "uid=0(root)",
        ),
    ] {
        let ended = su(&world, user, command, target);
        assert!(ended.ok() && ended.says(uid), "{command}: {}", ended.text);
        assert!(
            ended.says("left. One-time code: "),
            "{command}: {}",
            ended.text
        );
    }
    let ended = su(&world, "mallory", "su postgres -c id", "postgres");
    assert!(!ended.ok() && !ended.says("uid="), "{}", ended.text);
    assert!(ended.says("not in run_as"), "{}", ended.text);
}

#[test]
fn root_needs_no_grant_for_sudo_and_su() {
    let world = World::new();
    for command in [
        "sudo id",
        "sudo -u bob id",
        "su bob -c id",
        "su - -c id",
        "EDITOR=cat sudo -e /etc/hosts",
    ] {
        let ended = world.pty("root", command).end();
        assert!(ended.ok(), "{command}: {}", ended.text);
    }
    assert!(world.root("/opt/sudo-rs/bin/sudo -n id").ok());
    world.logged(&[
        "event=decision",
        "outcome=allow",
        "reason=exempt",
        "user=root",
    ]);
}

#[test]
fn rescue_accounts_pass_only_while_the_agent_cannot_answer() {
    let world = World::new();
    without_password(&world, "bob");
    without_password(&world, "carol");
    world.must(
        "sed -i 's/pam_jit.so/pam_jit.so timeout=1 rescue=bob/' /etc/pam.d/sudo /etc/pam.d/sshd",
    );
    assert!(!world.run_as("bob", "sudo -n id").ok(), "the agent said no");
    for trouble in ["stop", "freeze"] {
        world.must(&format!("agentctl {trouble}"));
        for sudo in SUDOS {
            let bob = world.run_as("bob", &format!("{sudo} -n id"));
            assert!(
                bob.ok() && bob.out.contains("uid=0"),
                "{trouble} {sudo}: {bob:?}"
            );
            let carol = world.run_as("carol", &format!("{sudo} -n id"));
            assert!(!carol.ok(), "{trouble} {sudo}: {carol:?}");
        }
        let ssh = world.run_as("bob", "ssh localhost id");
        assert!(
            ssh.ok() && ssh.out.contains("uid=2002"),
            "{trouble}: {ssh:?}"
        );
        let ssh = world.run_as("alice", "ssh localhost id");
        assert!(!ssh.ok(), "{trouble}: {ssh:?}");
        if trouble == "stop" {
            world.must("agentctl start");
        }
    }
}
