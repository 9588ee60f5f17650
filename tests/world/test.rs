//! The world itself, with libpam's own modules in the place of `pam_jit`: every door a person can
//! take goes through our lines, so what the module says decides.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use jit_tests::World;

/// A world in which `module` (a module of libpam) stands in for `pam_jit.so`, without an agent.
fn world_of(module: &str) -> World {
    let bin = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(module);
    std::fs::create_dir_all(&bin).unwrap();
    let arch = std::env::consts::ARCH;
    let folder = format!("/usr/lib/{arch}-linux-gnu/security");
    std::fs::copy(format!("{folder}/{module}.so"), bin.join("pam_jit.so")).unwrap();
    for (name, script) in [
        ("jit-agentd", "#!/bin/sh\nexec sleep 1000000\n"),
        ("jit", "#!/bin/sh\nexit 0\n"),
    ] {
        let path = bin.join(name);
        std::fs::write(&path, script).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    }
    let world = World::of(bin);
    world.must("echo 'bob ALL=(ALL:ALL) NOPASSWD: ALL' >/etc/sudoers.d/nopasswd");
    world.must("install -m 600 /dev/null /etc/secret && echo secret-text >/etc/secret");
    world
}

/// Who, what they type, and whether it shows the mark of having got in.
const DOORS: [(&str, &str, &str); 19] = [
    ("alice", "sudo id", "uid=0(root)"),
    ("alice", "sudo -i id", "uid=0(root)"),
    ("alice", "sudo -s id", "uid=0(root)"),
    ("alice", "sudo -u postgres id", "uid=890(postgres)"),
    ("alice", "sudo -l", "may run the following"),
    ("alice", "sudo -v && echo valid", "valid\r\n"),
    ("bob", "sudo -n id", "uid=0(root)"),
    ("bob", "sudo -n -l", "may run the following"),
    ("bob", "EDITOR=cat sudoedit /etc/secret", "secret-text"),
    ("bob", "EDITOR=cat sudo -e /etc/secret", "secret-text"),
    ("alice", "su -c id", "uid=0(root)"),
    ("alice", "su - -c id", "uid=0(root)"),
    ("alice", "su bob -c id", "uid=2002(bob)"),
    ("alice", "/opt/sudo-rs/bin/sudo id", "uid=0(root)"),
    ("bob", "/opt/sudo-rs/bin/sudo -n id", "uid=0(root)"),
    (
        "bob",
        "EDITOR=cat /opt/sudo-rs/bin/sudoedit /etc/secret",
        "secret-text",
    ),
    (
        "alice",
        "ssh -o PreferredAuthentications=publickey localhost id",
        "uid=2001(alice)",
    ),
    (
        "alice",
        "ssh -o PreferredAuthentications=password localhost id",
        "uid=2001(alice)",
    ),
    (
        "alice",
        "ssh -o PreferredAuthentications=keyboard-interactive localhost id",
        "uid=2001(alice)",
    ),
];

/// The password that a door wants: one's own, save for su.
fn password(user: &str, command: &str) -> String {
    let whose = match command.strip_prefix("su ") {
        Some(rest) if rest.starts_with("bob") => "bob",
        Some(_) => "root",
        None => user,
    };
    format!("{whose}-password")
}

fn try_doors(world: &World) -> Vec<(&'static str, bool)> {
    DOORS
        .iter()
        .map(|&(user, command, mark)| {
            let ended = world
                .pty(user, command)
                .answer(&[("assword", &password(user, command))]);
            println!("{user}$ {command}\n{}", ended.text);
            (command, ended.says(mark))
        })
        .collect()
}

#[test]
fn every_door_opens_when_our_lines_permit() {
    let world = world_of("pam_permit");
    for (door, open) in try_doors(&world) {
        assert!(open, "{door} is shut in a world that permits everything");
    }
    let mut login = world.pty("root", "login");
    login.expect("login: ");
    login.send("alice");
    login.expect("assword: ");
    login.send("alice-password");
    login.expect("alice@web1");
    login.send("id; exit");
    assert!(login.end().says("uid=2001(alice)"));
}

#[test]
fn every_door_is_shut_when_our_lines_deny() {
    let world = world_of("pam_deny");
    // The gate is the account phase; without it here, each refusal would be auth's, three times.
    world.must("sed -i '/^auth.*pam_jit/d' /etc/pam.d/*");
    for (door, open) in try_doors(&world) {
        assert!(!open, "{door} does not go through our lines");
    }
    let mut login = world.pty("root", "login");
    login.expect("login: ");
    login.send("alice");
    login.expect("assword: ");
    login.send("alice-password");
    assert!(!login.end().says("alice@web1"));
}

#[test]
fn a_ticket_of_sudo_does_not_go_round_our_lines() {
    let world = world_of("pam_permit");
    let mut shell = world.pty("alice", "PS1='$ ' bash --norc");
    shell.send("sudo true; echo first $?");
    shell.expect("assword");
    shell.send("alice-password");
    shell.expect("first 0");
    shell.send("sudo -n true; echo second $?");
    shell.expect("second 0");
    world.must(
        "cp /usr/lib/*-linux-gnu/security/pam_deny.so /usr/lib/*-linux-gnu/security/pam_jit.so",
    );
    shell.send("sudo -n true; echo third $?");
    shell.expect("third 1");
}

/// `pam_unix` ends the account stack for a password that has expired, and sudo runs the command
/// for that answer: our line has to come before.
#[test]
fn an_expired_password_does_not_go_round_our_lines() {
    let world = world_of("pam_deny");
    world.must("chage -d 0 bob");
    assert!(!world.run_as("bob", "sudo -n id").ok());
    let rs = "/opt/sudo-rs/bin/sudo -n id";
    assert!(!world.run_as("bob", rs).ok());
    // The other order is the hole that this test is there for.
    world.must(
        "sed -i -e '/^account.*pam_jit/d' -e '/^session.*pam_jit/d' \
            -e '/^@include common-account/a account required pam_jit.so' /etc/pam.d/sudo",
    );
    assert!(world.run_as("bob", "sudo -n id").ok());
}

#[test]
fn nothing_in_a_world_reaches_the_machine() {
    let world = world_of("pam_permit");
    world.must("logger -p authpriv.info -t pam_jit only-in-the-world; hostname changed");
    world.must("useradd world-only; touch /var/lib/pam_jit_was_here /home/x /run/x /root/x");
    world.logged(&["only-in-the-world"]);
    assert!(
        !std::fs::read_to_string("/etc/passwd")
            .unwrap()
            .contains("world-only")
    );
    assert!(!std::path::Path::new("/var/lib/pam_jit_was_here").exists());
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert_ne!(name.trim(), "changed");
    let pid = world.must("sleep 1000.4711 >/dev/null 2>&1 & cat /proc/sys/kernel/hostname");
    assert_eq!(pid.trim(), "changed");
    drop(world);
    // Everything that ran in it is gone with it.
    let left = std::process::Command::new("pgrep")
        .args(["-f", "^sleep 1000.4711$"])
        .output();
    assert!(left.unwrap().stdout.is_empty());
}
