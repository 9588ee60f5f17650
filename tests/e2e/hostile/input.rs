//! What else a user controls: environment, limits, descriptors, signals, arguments. None of it
//! turns a no into a yes, and none of it breaks anything.

use jit_tests::{Output, World};

use crate::people::{self, granted_world};

/// 128 + a signal that says "crashed".
const CRASHED: [i32; 4] = [128 + 4, 128 + 6, 128 + 7, 128 + 11];

/// Runs sudo, sudo-rs and su after `setup`, for mallory, who gets nothing by any of them, and for
/// alice, who gets in unless the programs themselves cannot work so; how it went for her. None of
/// them crashes, unless memory was taken from it.
fn no_yes_of(world: &World, setup: &str) -> Vec<Output> {
    let tries = |user: &str| {
        [
            "sudo -n id",
            "/opt/sudo-rs/bin/sudo -n id",
            "sudo -n -u bob id",
            "su -c id",
        ]
        .map(|command| {
            let output = world.feed(user, &format!("{setup}\n{command}"), b"root-password\n");
            let starved = ["-v", "-s", "-d"].iter().any(|limit| setup.contains(limit));
            assert!(
                starved || !CRASHED.contains(&output.code),
                "{setup}, {command}: {output:?}"
            );
            assert!(
                !output.text().contains("panicked"),
                "{setup}, {command}: {output:?}"
            );
            output
        })
    };
    for output in tries("mallory") {
        assert!(!output.ok(), "{setup}: {output:?}");
        assert!(!output.out.contains("uid="), "{setup}: {output:?}");
    }
    tries("alice").to_vec()
}

fn alice_gets_in(outputs: &[Output], setup: &str) {
    for output in &outputs[..2] {
        assert!(output.out.contains("uid=0(root)"), "{setup}: {output:?}");
    }
}

#[test]
fn traps_in_the_environment() {
    let world = granted_world();
    let agent = world.must("agentctl pid");
    world.must("cp $(ls /usr/lib/*-linux-gnu/security/pam_permit.so) /tmp/evil.so");
    for trap in [
        "LD_PRELOAD=/tmp/evil.so",
        "LD_LIBRARY_PATH=/tmp",
        "LD_AUDIT=/tmp/evil.so",
        "LD_BIND_NOT=1 LD_DEBUG=all LD_DEBUG_OUTPUT=/tmp/debug",
        "RUST_BACKTRACE=full RUST_LIB_BACKTRACE=1 RUST_LOG=trace RUST_MIN_STACK=999999999999",
        "GLIBC_TUNABLES=glibc.malloc.check=3 MALLOC_TRACE=/tmp/trace MALLOC_CHECK_=3",
        "LANG=xx_YY.nonsense LC_ALL=tr_TR.UTF-8 LANGUAGE=../../etc/passwd",
        "LC_ALL=$'\\xff\\xfe' LANG=$'\\x80' TERM=$'\\xc3'",
        "SUDO_COMMAND=/bin/true SUDO_USER=alice SUDO_UID=2001 SUDO_GID=2001 SUDO_PROMPT=%p",
        "PAM_USER=alice PAM_RUSER=alice PAM_SERVICE=other USER=alice LOGNAME=alice USERNAME=alice",
        "HOME=/home/alice XDG_CONFIG_HOME=/tmp XDG_RUNTIME_DIR=/tmp TMPDIR=/nowhere",
        "TZ=:/etc/shadow TZDIR=/etc FAKETIME=-10y",
        "SSH_CLIENT='10.8.0.7 1 2' SSH_CONNECTION='10.8.0.7 1 10.8.0.7 22' SSH_TTY=/dev/pts/0",
        "JIT_SOCKET=/tmp/x PAM_JIT=off CREDENTIALS_DIRECTORY=/tmp NOTIFY_SOCKET=/tmp/x",
        "HOSTALIASES=/etc/shadow RES_OPTIONS=debug LOCALDOMAIN=x GCONV_PATH=/tmp NLSPATH=/tmp/%N",
        "http_proxy=http://127.0.0.1:1 HTTPS_PROXY=http://127.0.0.1:1 SSL_CERT_FILE=/dev/null",
        "POSIXLY_CORRECT=1 IFS=o BASH_ENV=/tmp/x ENV=/tmp/x SHELLOPTS_=x",
        "BIG=$(head -c 120000 /dev/zero | tr '\\0' x)",
        "A=$'\\033[31m' B=$'x\\ny'",
    ] {
        let setup = format!("export {trap}");
        alice_gets_in(&no_yes_of(&world, &setup), &setup);
        // What everybody uses for themselves works on as well; the loader's traps are bash's own
        // affair there.
        if !trap.starts_with("LD_") {
            let status = world.run_as("alice", &format!("{setup}; jit status --json"));
            assert!(status.json()["user"] == "alice", "{trap}: {status:?}");
        }
    }
    assert_eq!(world.must("agentctl pid"), agent);
}

#[test]
fn limits() {
    let world = granted_world();
    let agent = world.must("agentctl pid");
    // Where sudo itself can do without, so can we.
    for setup in [
        "ulimit -c unlimited",
        "ulimit -l 0",
        "ulimit -x 0",
        "ulimit -q 0",
        "ulimit -n 32",
        "umask 777",
        "umask 0",
        "nice -n 19 true",
        "cd /; cd /proc/self/fd",
    ] {
        alice_gets_in(&no_yes_of(&world, setup), setup);
    }
    // Where it cannot, or may not: anything but a crash or a no turned yes.
    for descriptors in [3, 4, 5, 6, 8, 10] {
        no_yes_of(&world, &format!("ulimit -n {descriptors}"));
    }
    for kib in [1000, 8000, 12_000, 16_000, 30_000] {
        no_yes_of(&world, &format!("ulimit -v {kib}"));
    }
    for setup in [
        "ulimit -f 0",
        "ulimit -s 8",
        "ulimit -s 64",
        "ulimit -d 100",
        "ulimit -u 1",
        "ulimit -i 0",
        "ulimit -t 1",
    ] {
        no_yes_of(&world, setup);
    }
    assert_eq!(world.must("agentctl pid"), agent);
    assert!(people::becomes_root(&world, "alice"));
}

#[test]
fn closed_and_foreign_descriptors() {
    let world = granted_world();
    let world = &world;
    for (nr, close) in [
        "<&-",
        ">&-",
        "2>&-",
        "<&- >&-",
        "<&- 2>&-",
        ">&- 2>&-",
        "<&- >&- 2>&-",
        "3>&1 4>&1 5<&0 6<&0 7>&2",
        "<&- 3</etc/passwd",
        ">/dev/full 2>/dev/full",
        "</",
        "<>/dev/null >&0",
    ]
    .into_iter()
    .enumerate()
    {
        for (who, sudo) in [("rs", "/opt/sudo-rs/bin/sudo"), ("ws", "sudo")] {
            let mark = |user: &str| format!("/root/{user}-{who}-{nr}");
            for user in ["alice", "mallory"] {
                world.run_as(user, &format!("{sudo} -n touch {} {close}", mark(user)));
            }
            // sudo-rs cannot do without its own standard descriptors.
            let got_in = world.root(&format!("test -e {}", mark("alice"))).ok();
            assert!(
                got_in || sudo != "sudo",
                "{close}: alice did not get in by {sudo}"
            );
            let got_in = world.root(&format!("test -e {}", mark("mallory"))).ok();
            assert!(!got_in, "{close}: mallory got in by {sudo}");
        }
    }
    // Also where something is asked and answered: the terminal is enough.
    let codes = world.enroll("alice").recovery;
    world.config("[agent]\nhost = \"web1\"\n");
    let mut pty = world.pty(
        "alice",
        "sudo touch /root/asked <&- >&- 2>&-; echo ended $?",
    );
    pty.expect("One-time code: ");
    pty.send(&codes[0]);
    assert!(pty.end().says("ended 0"));
    world.must("test -e /root/asked");
}

#[test]
fn no_line_to_the_agent_is_left_in_what_is_run() {
    let world = granted_world();
    world.config(&format!(
        "{}[service.su]\nmode = \"enforce\"\ngrant = true\nmfa = \"none\"\n",
        people::BY_GRANT
    ));
    world.grant("--user alice --service su --for 1h");
    let list = "ls -l /proc/self/fd";
    for (command, input) in [
        (format!("sudo -n {list}"), ""),
        (format!("/opt/sudo-rs/bin/sudo -n {list}"), ""),
        (format!("su -c '{list}'"), "root-password\n"),
        (
            format!("ssh -o BatchMode=yes localhost '{list} </dev/null'"),
            "",
        ),
    ] {
        let output = world.feed("alice", &command, input.as_bytes());
        assert!(output.out.contains("/proc/"), "{command}: {output:?}");
        // sshd gives its children a socket or pipes for standard output and error; nothing else.
        let others: Vec<_> = output
            .out
            .lines()
            .filter_map(|line| {
                line.split(" -> ")
                    .next()?
                    .rsplit(' ')
                    .next()?
                    .parse::<u32>()
                    .ok()
                    .map(|fd| (fd, line))
            })
            .filter(|(fd, line)| *fd > 2 && line.contains("socket:"))
            .collect();
        assert!(others.is_empty(), "{command}: {others:?}");
    }
}

#[test]
fn signals_and_pauses() {
    let world = World::new();
    people::nopasswd(&world);
    let mut codes = world.enroll("alice").recovery.into_iter();
    world.grant("--user alice --service sudo --for 1h");
    let agent = world.must("agentctl pid");
    for sudo in ["sudo", "/opt/sudo-rs/bin/sudo"] {
        // With the signals ignored that would end it, and with those that do.
        for trap in ["trap '' PIPE", "trap '' PIPE HUP TERM ALRM CHLD", "true"] {
            let mut pty = world.pty("alice", &format!("{trap}; {sudo} id; echo ended $?"));
            pty.expect("One-time code: ");
            pty.send("000-000");
            let ended = pty.end();
            assert!(
                ended.says("ended 1") && !ended.says("uid=0"),
                "{trap}: {ended:?}"
            );
        }
        for keys in [b"\x03", b"\x1c", b"\x04"] {
            let mut pty = world.pty("alice", &format!("{sudo} id"));
            pty.expect("One-time code: ");
            pty.keys(keys);
            pty.keys(b"\n");
            let ended = pty.end();
            assert!(!ended.ok() && !ended.says("uid=0"), "{keys:?}: {ended:?}");
        }
        // Stopped for longer than any deadline of the exchange while the person thinks.
        let mut pty = world.pty("alice", &format!("{sudo} id; echo ended $?"));
        pty.expect("One-time code: ");
        world.must("pkill -STOP -x sudo; sleep 3; pkill -CONT -x sudo");
        pty.send(&codes.next().unwrap());
        let ended = pty.end();
        assert!(ended.says("uid=0(root)"), "{sudo}: {ended:?}");
        // Stopped over and over in the middle of the exchange: yes or no, but an end.
        for _ in 0..3 {
            let output = world.run_as(
                "alice",
                &format!(
                    "{sudo} -n id & p=$!
                     for i in $(seq 40); do kill -STOP $p; sleep 0.01; kill -CONT $p; done 2>/dev/null
                     wait $p"
                ),
            );
            assert!(
                !output.out.contains("uid=0"),
                "no code was given: {output:?}"
            );
        }
    }
    assert_eq!(world.must("agentctl pid"), agent);
}

#[test]
fn odd_arguments() {
    let world = granted_world();
    let agent = world.must("agentctl pid");
    // More than is sent of a command line: then it could be anything, and only `root` covers that.
    world.grant("--user bob --service sudo --run-as postgres --for 1h");
    let plain = world.run_as("bob", "sudo -n -u postgres id");
    assert!(plain.out.contains("uid=890"), "{plain:?}");
    let long = "sudo -n -u postgres id $(head -c 100000 /dev/zero | tr '\\0' x)";
    for command in [
        long,
        "(exec -a '' sudo -n -u postgres id)",
        "(exec -a $'\\xff' sudo -n -u postgres id -g)",
    ] {
        let output = world.run_as("bob", command);
        println!("{}: {}", &command[..40.min(command.len())], output.code);
    }
    let output = world.run_as("bob", long);
    assert!(!output.out.contains("uid=890"), "{output:?}");
    for odd in [
        "sudo -n -p $'\\033]0;x\\007' id",
        "sudo -n -p $'\\xff%p%H' id",
        "sudo -n id $'\\xff' $'a\\nb'",
        "sudo -n -- id",
        "sudo -n X=$'\\n' id",
        "(exec -a 'sudo\nid' sudo -n id)",
    ] {
        let mallory = world.run_as("mallory", odd);
        assert!(
            !mallory.ok() && !mallory.out.contains("uid=0"),
            "{odd}: {mallory:?}"
        );
        let alice = world.run_as("alice", odd);
        assert!(!CRASHED.contains(&alice.code), "{odd}: {alice:?}");
    }
    assert_eq!(world.must("agentctl pid"), agent);
    let proof = world.must("jit audit verify --against /var/log/auth.log --json");
    assert!(proof.contains("\"ok\":true"), "{proof}");
}
