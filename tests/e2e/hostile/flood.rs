//! One user takes all they can get; another's sudo works all the same.

use jit_tests::World;

use crate::people::{self, PROMPTLY, timed};

/// alice with a grant and a factor; mallory likewise, so that mallory too gets as far as the
/// prompt and can hold a place there.
fn world() -> World {
    let world = World::new();
    people::nopasswd(&world);
    for user in ["alice", "mallory"] {
        world.enroll(user);
        world.grant(&format!("--user {user} --service sudo --for 1h"));
    }
    world
}

fn alice_is_served(world: &World) {
    let (ended, took) = timed(|| world.type_at("alice", "sudo id", &world.code("alice")));
    assert!(ended.says("uid=0(root)"), "{ended:?}");
    assert!(took < PROMPTLY, "{took:?}");
    let (status, took) = timed(|| world.run_as("alice", "jit status"));
    assert!(status.ok() && took < PROMPTLY, "{took:?} {status:?}");
}

#[test]
fn sudos_that_wait_for_a_code_and_are_stopped() {
    let world = world();
    // 120 of them, each with a prompt nobody answers; then all of them stopped.
    world.must(
        "setsid setpriv --reuid mallory --regid mallory --clear-groups bash -c '
            for i in $(seq 120); do sleep 900 | sudo -S id >/tmp/flood.$i 2>&1 & done
            for i in $(seq 300); do
                [ $(cat /tmp/flood.* | grep -c code) -ge 120 ] && break; sleep 0.1
            done' </dev/null >/dev/null 2>&1",
    );
    let shown = world.must("cat /tmp/flood.*");
    let waiting = shown.matches("One-time code: ").count();
    assert!(waiting >= 32, "{waiting} wait at the prompt: {shown}");
    assert!(waiting < 120, "there is a limit");
    alice_is_served(&world);
    world.must("pkill -STOP -U mallory -x sudo");
    alice_is_served(&world);
    // Those that found no place were refused, not let in.
    assert!(!shown.contains("uid=0"), "{shown}");
    world.must("pkill -CONT -U mallory -x sudo; pkill -U mallory");
    let again = || {
        people::sudo(&world, "mallory")
            .err
            .contains("One-time code")
            || people::sudo(&world, "mallory").err.contains("code")
    };
    world.wait_for("mallory's places to come back", again);
}

#[test]
fn connections_to_the_socket_for_everybody() {
    let world = world();
    world.write(
        "/opt/world/hold.pl",
        r#"use Socket;
           $SIG{PIPE} = 'IGNORE'; # who is over the quota is hung up on
           my @held;
           for (1..900) {
               socket(my $s, PF_UNIX, SOCK_STREAM, 0) or last;
               connect($s, pack_sockaddr_un('/run/pam_jit/user.sock')) or last;
               push @held, $s;
               syswrite $s, pack('N', 60000) if $_ % 2;
           }
           print scalar(@held), "\n"; close STDOUT; sleep 1000;"#,
    );
    let held = world.must(
        "setsid setpriv --reuid mallory --regid mallory --clear-groups bash -c '
            perl /opt/world/hold.pl >/tmp/held 2>&1 & until [ -s /tmp/held ]; do sleep 0.05; done
            perl /opt/world/hold.pl >/tmp/held2 2>&1 & until [ -s /tmp/held2 ]; do sleep 0.05; done
            cat /tmp/held' </dev/null",
    );
    assert_eq!(held.trim(), "900");
    alice_is_served(&world);
    // As fast as they can, for as long as alice takes.
    world.must(
        "setsid setpriv --reuid mallory --regid mallory --clear-groups bash -c '
            for i in 1 2 3 4; do while :; do jit status; done & done' </dev/null >/dev/null 2>&1 &
         sleep 0.3",
    );
    alice_is_served(&world);
    world.must("pkill -KILL -U mallory");
    let back = || world.run_as("mallory", "jit status").ok();
    world.wait_for("mallory's own places to come back", back);
}

#[test]
fn ssh_logins_that_never_answer() {
    let world = world();
    world.config(
        "[agent]\nhost = \"web1\"\n[service.sshd]\nmode = \"enforce\"\ngrant = false\nmfa = \"15m\"\n",
    );
    world.must("sed -i '/common-auth/d' /etc/pam.d/sshd");
    let ssh = "ssh -o PreferredAuthentications=keyboard-interactive";
    let mut flood: Vec<_> = (0..45)
        .map(|_| world.pty("mallory", &format!("{ssh} -b 127.0.0.9 alice@localhost id")))
        .collect();
    let asked = flood
        .iter_mut()
        .filter_map(|one| one.first_of(&["One-time code: ", "denied", "closed"]))
        .filter(|which| *which == 0)
        .count();
    assert!((16..45).contains(&asked), "{asked} of 45 hold a place");
    alice_is_served(&world);
    let code = world.code("alice");
    let elsewhere = world.type_at(
        "alice",
        &format!("{ssh} -b 10.8.0.7 alice@10.8.0.7 id"),
        &code,
    );
    assert!(elsewhere.says("uid=2001(alice)"), "{elsewhere:?}");
}
