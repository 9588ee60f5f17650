//! Edit mode copies root's files into a person's hands before any session opens (sudo-rs opens
//! none), so a grant for another target gives nothing of it, by whatever name it is called.

use jit_tests::World;

use crate::steps::{SUDOS, floor, without_password};

/// What only root may read.
const SECRET: &str = "the-secret-of-root";

/// The ways into edit mode. `SUDO` stands for the program, `EDIT` for its edit mode.
const WAYS: [&str; 16] = [
    "EDIT FILE",
    "EDIT -u postgres FILE",
    "EDIT -u root FILE",
    "SUDO -e FILE",
    "SUDO -ne FILE",
    "SUDO -e -u postgres FILE",
    "SUDO -u postgres -e FILE",
    "SUDO -upostgres -e FILE",
    "SUDO --edit FILE",
    "SUDO --edi FILE",
    "SUDO sudoedit FILE",
    "SUDO -u postgres sudoedit FILE",
    "SUDO EDIT FILE",
    "/home/bob/bin/myedit FILE",
    "(exec -a sudoedit SUDO FILE)",
    "(exec -a /x/y/fooedit SUDO FILE)",
];

/// A world in which root has a secret, and bob an editor that keeps what it is given.
fn world() -> World {
    let world = World::new();
    without_password(&world, "bob");
    world.config(&floor("none"));
    world.must(&format!(
        "umask 077; echo {SECRET} >/etc/secret; install -d -o bob /home/bob/bin /home/bob/loot"
    ));
    world.write(
        "/home/bob/bin/editor",
        "#!/bin/sh\nfor f; do cat \"$f\" >>/home/bob/loot/edited; cat \"$f\"; done\n",
    );
    world.must("chmod 755 /home/bob/bin/editor");
    world
}

fn commands(sudo: &str) -> impl Iterator<Item = String> {
    let edit = match sudo {
        "sudo" => "sudoedit".to_owned(),
        path => format!("{path}edit"),
    };
    WAYS.into_iter().map(move |way| {
        let way = way.replace("EDIT", &edit).replace("SUDO", sudo);
        let way = way.replace("FILE", "/etc/secret");
        format!("export EDITOR=/home/bob/bin/editor SUDO_EDITOR=/home/bob/bin/editor; {way}")
    })
}

/// Asserts that nothing of root's file is, or was, in bob's hands.
fn nothing_leaked(world: &World, shown: &str, command: &str) {
    assert!(!shown.contains(SECRET), "{command}: {shown}");
    let loot = world.read("/home/bob/loot/edited");
    assert!(!loot.contains(SECRET), "{command} gave the file away");
    let left = world.must(&format!(
        "grep -rls {SECRET} /home /tmp /var/tmp /dev/shm /run/user || true"
    ));
    assert_eq!(left, "", "{command} left the file behind");
    let whole = world.must("cat /etc/secret");
    assert_eq!(whole.trim(), SECRET, "{command} changed the file");
}

#[test]
fn a_grant_for_another_target_edits_nothing() {
    let world = world();
    world.grant("--user bob --service sudo --run-as postgres --for 1h");
    for sudo in SUDOS {
        world.must(&format!("ln -sf $(command -v {sudo}) /home/bob/bin/myedit"));
        let plain = world.run_as("bob", &format!("{sudo} -n -u postgres id"));
        assert!(plain.ok(), "the grant itself is good: {plain:?}");
        for command in commands(sudo) {
            let ended = world.pty("bob", &command).end();
            assert!(!ended.ok(), "{command}: {}", ended.text);
            nothing_leaked(&world, &ended.text, &command);
        }
    }
    // By the gate, each of them.
    world.logged_times(
        20,
        &["outcome=deny", "reason=target", "phase=account", "target=*"],
    );
}

#[test]
fn without_a_grant_nothing_is_edited() {
    let world = world();
    for sudo in SUDOS {
        world.must(&format!("ln -sf $(command -v {sudo}) /home/bob/bin/myedit"));
        for command in commands(sudo) {
            let ended = world.pty("bob", &command).end();
            assert!(!ended.ok(), "{command}: {}", ended.text);
            nothing_leaked(&world, &ended.text, &command);
        }
    }
}

#[test]
fn a_grant_for_root_edits() {
    let world = world();
    world.grant("--user bob --service sudo --for 1h");
    for sudo in SUDOS {
        for way in ["-e", "--edit"] {
            let command = format!("EDITOR=/home/bob/bin/editor {sudo} -n {way} /etc/secret");
            let ended = world.pty("bob", &command).end();
            assert!(
                ended.ok() && ended.says(SECRET),
                "{command}: {}",
                ended.text
            );
        }
    }
    let sessions = world.logged(&["event=decision", "outcome=allow", "target=*"]);
    assert!(
        sessions.iter().all(|line| line.contains("user=bob")),
        "{sessions:?}"
    );
}

#[test]
fn editing_takes_the_factor_that_root_takes() {
    let world = world();
    world.enroll("bob");
    world.grant("--user bob --service sudo --run-as postgres --mfa none --for 1h");
    world.grant("--user bob --service sudo --run-as root --mfa always --for 1h");
    for sudo in SUDOS {
        let command = format!("EDITOR=/home/bob/bin/editor {sudo} -n -e /etc/secret");
        let ended = world.pty("bob", &command).end();
        assert!(!ended.ok(), "{command}: {}", ended.text);
        nothing_leaked(&world, &ended.text, &command);
        let command = command.replace(" -n", "");
        let ended = world
            .pty("bob", &command)
            .answer(&[("ode: ", &world.code("bob"))]);
        assert!(
            ended.ok() && ended.says(SECRET),
            "{command}: {}",
            ended.text
        );
        world.must("rm -f /home/bob/loot/edited");
    }
}

#[test]
fn editing_ends_when_the_grant_does_although_the_editor_is_open() {
    // What passed the last decision runs on; a new one does not begin.
    let world = world();
    let id = world.grant("--user bob --service sudo --for 1h");
    let mut editing = world.pty(
        "bob",
        "printf '#!/bin/sh\\nread x\\n' >bin/wait; chmod +x bin/wait; EDITOR=~/bin/wait sudo -e /etc/secret",
    );
    world.wait_for("the editor", || {
        world.root("pgrep -f 'bin/wait /var/tmp'").ok()
    });
    world.must(&format!("jit grant revoke {id}"));
    let command = "EDITOR=/home/bob/bin/editor sudo -n -e /etc/secret";
    let ended = world.pty("bob", command).end();
    assert!(!ended.ok() && !ended.says(SECRET), "{}", ended.text);
    editing.send("");
    assert!(editing.end().ok());
}
