//! The agent is gone, hung or lying: every door answers within the deadline, for root with yes and
//! for everybody else with no.

use std::time::Duration;

use jit_tests::World;

use crate::people::{self, PROMPTLY, becomes_root, is_in, login, ssh, timed};

const SOCKET: &str = "/run/pam_jit/agent.sock";

/// A world in which alice may do everything, so that only the agent's silence keeps her out.
fn world() -> World {
    let world = World::new();
    people::nopasswd(&world);
    world.config(&format!(
        "{}[service.su]\nmode = \"enforce\"\ngrant = true\nmfa = \"none\"\n",
        people::BY_GRANT
    ));
    world.grant("--user alice --service sudo --service su --run-as '*' --for 1h");
    world
}

/// What alice tries, and whether she got in.
const DOORS: [(&str, &str); 7] = [
    ("sudo", "sudo -n id"),
    ("sudo-rs", "/opt/sudo-rs/bin/sudo -n id"),
    ("sudoedit", "EDITOR=cat sudoedit -n /etc/shadow"),
    ("su", "su -c id"),
    ("su-l", "su - -c id"),
    ("ssh with a key", "ssh localhost id -u"),
    (
        "ssh with a password",
        "ssh -o PreferredAuthentications=keyboard-interactive localhost id -u",
    ),
];

fn open(door: &str, shown: &str) -> bool {
    let lines = || shown.lines().map(str::trim_end);
    match door {
        "sudoedit" => shown.contains("root:$6$"),
        _ if door.starts_with("ssh") => lines().any(|line| line == "2001"),
        _ => shown.contains("uid=0(root)"),
    }
}

/// Tries every door at once.
fn try_doors(world: &World) -> Vec<(&'static str, bool, Duration, String)> {
    std::thread::scope(|scope| {
        let tries: Vec<_> = DOORS
            .into_iter()
            .map(|(door, command)| {
                scope.spawn(move || {
                    let whose = if door.starts_with("su") {
                        "root"
                    } else {
                        "alice"
                    };
                    let pty = world.pty("alice", command);
                    let password = format!("{whose}-password");
                    let (ended, took) = timed(|| pty.answer(&[("assword", &password)]));
                    (door, open(door, &ended.text), took, ended.text)
                })
            })
            .collect();
        let console = scope.spawn(|| {
            let (shown, took) = timed(|| login(world, "alice", "unasked"));
            ("login", shown.contains("in-as-alice"), took, shown)
        });
        tries
            .into_iter()
            .chain([console])
            .map(|one| one.join().unwrap())
            .collect()
    })
}

fn all_doors_open(world: &World) {
    for (door, open, _, text) in try_doors(world) {
        assert!(open, "{door}: {text}");
    }
}

/// Refused, in time, everywhere, and with words where there is somebody to read them; but root.
fn all_doors_shut_but_for_root(world: &World) {
    for (door, open, took, text) in try_doors(world) {
        assert!(!open, "{door}: {text}");
        assert!(took < PROMPTLY, "{door} took {took:?}: {text}");
        if matches!(door, "sudo" | "su" | "sudo-rs") {
            assert!(
                text.contains("the local agent does not answer"),
                "{door}: {text}"
            );
        }
    }
    for command in [
        "sudo id",
        "su -c id",
        "su - -c id",
        "/opt/sudo-rs/bin/sudo id",
    ] {
        let (output, took) = timed(|| world.root(command));
        assert!(output.out.contains("uid=0(root)"), "{command}: {output:?}");
        assert!(took < PROMPTLY, "{command} took {took:?}");
    }
    let shown = login(world, "root", "unasked");
    assert!(shown.contains("in-as-root"), "{shown}");
}

#[test]
fn no_agent() {
    let world = world();
    all_doors_open(&world);
    world.must("agentctl stop");
    all_doors_shut_but_for_root(&world);
    world.logged(&["pam_jit(sudo:account)", "cannot reach the agent", "refused"]);
    world.logged(&[
        "pam_jit(sudo:account)",
        "cannot reach the agent",
        "root passes",
    ]);
    world.must("rm -rf /run/pam_jit");
    all_doors_shut_but_for_root(&world);
    world.must("agentctl start");
    all_doors_open(&world);
}

#[test]
fn an_agent_that_is_stopped() {
    let world = world();
    world.must("agentctl freeze");
    all_doors_shut_but_for_root(&world);
    world.must("agentctl thaw");
    all_doors_open(&world);
}

#[test]
fn an_agent_that_dies_or_stops_in_mid_exchange() {
    let world = World::new();
    people::nopasswd(&world);
    // Recovery codes: there are ten of them at once, where of the others there are three.
    let mut codes = world.enroll("alice").recovery.into_iter();
    let mut code = || codes.next().unwrap();
    world.grant("--user alice --service sudo --for 1h");
    for (blow, mend) in [
        ("agentctl kill9", "agentctl start"),
        ("agentctl freeze", "agentctl thaw"),
        ("agentctl freeze; agentctl kill9", "agentctl start"),
    ] {
        for sudo in ["sudo", "/opt/sudo-rs/bin/sudo"] {
            let mut pty = world.pty("alice", &format!("{sudo} id; echo ended $?"));
            pty.expect("One-time code: ");
            world.must(blow);
            // A code that would have been right, had anybody been there to look.
            pty.send(&code());
            let (ended, took) = timed(|| pty.end());
            assert!(!ended.says("uid=0"), "{blow}, {sudo}: {ended:?}");
            assert!(
                ended.says("ended 1"),
                "no signal, no crash: {blow}, {sudo}: {ended:?}"
            );
            assert!(took < PROMPTLY, "{blow}, {sudo}: {took:?}");
            world.must(mend);
        }
    }
    let open = world.type_at("alice", "sudo id", &code());
    assert!(open.says("uid=0(root)"), "{open:?}");
}

#[test]
fn an_agent_whose_backlog_is_full() {
    let world = world();
    world.must("agentctl freeze");
    // Non-blocking connections until the kernel takes no more.
    world.write(
        "/opt/world/fill.pl",
        r#"use Socket;
           my $path = shift; my @held;
           for (1..20000) {
               socket(my $s, PF_UNIX, SOCK_STREAM | 2048, 0) or last;
               connect($s, pack_sockaddr_un($path)) or last;
               push @held, $s;
           }
           print scalar(@held), " $!\n"; close STDOUT; sleep 1000;"#,
    );
    let said = world.must(&format!(
        "ulimit -n 30000; perl /opt/world/fill.pl {SOCKET} >/run/filled 2>&1 & \
         until [ -s /run/filled ]; do sleep 0.05; done; cat /run/filled"
    ));
    assert!(said.contains("temporarily unavailable"), "{said}");
    all_doors_shut_but_for_root(&world);
    world.must("pkill perl; agentctl thaw");
    all_doors_open(&world);
}

/// A stand-in for the agent that has its own ideas: `liar.pl PATH MODE`.
const LIAR: &str = r#"
use IO::Socket::UNIX;
my ($path, $mode) = @ARGV;
unlink $path;
my $door = IO::Socket::UNIX->new(Local => $path, Listen => 100) or die "$path: $!";
chmod 0666, $path;
$SIG{CHLD} = 'IGNORE'; $SIG{PIPE} = 'IGNORE'; $| = 1;
print "listening\n"; close STDOUT;
my $yes = '{"verdict":{"result":"allow","reason":"granted","principal":2001}}';
sub frame { pack('N', length $_[0]) . $_[0] }
my %say = (
    yes => frame($yes), garbage => 'x' x 70000, huge => pack('N', 0xffffffff) . $yes,
    zero => pack('N', 0) x 1000, nothing => '', half => substr(frame($yes), 0, 20),
    other => frame('{"verdict":{"result":"maybe","reason":"granted"}}'),
    more => frame('{"verdict":{"result":"allow","reason":"x","also":1}}'),
    done => frame('{"done":"yes"}'), deep => frame('[' x 60000), bytes => frame("\xff\xfe" x 100),
);
while (my $one = $door->accept) {
    next if fork;
    sysread $one, my $asked, 4096;
    if ($mode eq 'drip') { for (split //, frame($yes)) { syswrite $one, $_; select undef, undef, undef, 0.2 } }
    elsif ($mode eq 'talk') { syswrite $one, frame('{"info":"wait"}') or last while select undef, undef, undef, 0.01 }
    elsif ($mode eq 'silent') { sleep 1000 }
    else { syswrite $one, $say{$mode} }
    exit;
}
"#;

/// Puts a liar in the agent's place, run by `user`.
fn lie(world: &World, user: &str, path: &str, mode: &str) {
    let start = format!(
        "setpriv --reuid {user} --regid {user} --clear-groups perl /opt/world/liar.pl {path} {mode} \
         >/run/liar 2>&1 & until [ -s /run/liar ]; do sleep 0.02; done; cat /run/liar"
    );
    let said = world.must(&format!("rm -f /run/liar; pkill perl; {start}"));
    assert_eq!(said, "listening\n", "{mode}");
}

#[test]
fn an_agent_that_talks_nonsense() {
    let world = world();
    world.must("agentctl stop");
    world.write("/opt/world/liar.pl", LIAR);
    // First that this liar would be believed, if it said yes: it is root's.
    lie(&world, "root", SOCKET, "yes");
    assert!(
        becomes_root(&world, "mallory"),
        "root's own agent is believed"
    );
    for mode in [
        "garbage", "huge", "zero", "nothing", "half", "other", "more", "done", "deep", "bytes",
        "drip", "talk", "silent",
    ] {
        lie(&world, "root", SOCKET, mode);
        for (user, sudo) in [("mallory", "sudo"), ("alice", "/opt/sudo-rs/bin/sudo")] {
            let (output, took) = timed(|| world.run_as(user, &format!("{sudo} -n id")));
            assert_eq!(output.code, 1, "{mode}: {output:?}");
            assert!(!output.out.contains("uid=0"), "{mode}: {output:?}");
            // sudo-rs shows none of our text without a terminal.
            let told = output.err.contains("does not answer");
            assert!(told || sudo != "sudo", "{mode}: {output:?}");
            assert!(took < PROMPTLY, "{mode}: {took:?}");
        }
        let (output, took) = timed(|| world.root("sudo id"));
        assert!(
            output.ok() && took < PROMPTLY,
            "{mode}: {took:?} {output:?}"
        );
    }
}

#[test]
fn a_lying_agent_cannot_be_planted() {
    let world = world();
    world.write("/opt/world/liar.pl", LIAR);
    // The folder is root's; nobody else makes, moves or removes anything in it.
    for attempt in [
        "rm -f /run/pam_jit/agent.sock",
        "mv /run/pam_jit /run/old",
        "touch /run/pam_jit/x",
        "perl /opt/world/liar.pl /run/pam_jit/agent.sock yes",
    ] {
        let tried = world.run_as("mallory", attempt);
        assert!(!tried.ok(), "{attempt}: {tried:?}");
    }
    // Nor does the module believe what a folder holds that is not root's alone…
    world.must("agentctl stop");
    for folder in [
        "chown mallory /run/pam_jit",
        "chown root /run/pam_jit; chmod 0777 /run/pam_jit",
        "chmod 0775 /run/pam_jit; chgrp mallory /run/pam_jit",
    ] {
        world.must(&format!("rm -f {SOCKET}; {folder}"));
        lie(&world, "mallory", SOCKET, "yes");
        let output = people::sudo(&world, "mallory");
        assert!(!output.out.contains("uid=0"), "{folder}: {output:?}");
        lie(&world, "root", SOCKET, "yes");
        let output = people::sudo(&world, "mallory");
        assert!(!output.out.contains("uid=0"), "{folder}: {output:?}");
        assert!(
            output.err.contains("does not answer"),
            "{folder}: {output:?}"
        );
    }
    // …nor a socket of somebody else's that root was made to put into the right folder.
    world.must("pkill perl; rm -rf /run/pam_jit; mkdir -m 0755 /run/pam_jit");
    lie(&world, "mallory", "/tmp/agent.sock", "yes");
    world.must(&format!("mv /tmp/agent.sock {SOCKET}"));
    let output = people::sudo(&world, "mallory");
    assert!(!output.out.contains("uid=0"), "{output:?}");
    // A link out of the right folder is what root put there; it leads into mallory's.
    world.must("pkill perl; rm -rf /run/pam_jit/*; install -d -o mallory /tmp/m");
    lie(&world, "mallory", "/tmp/m/agent.sock", "yes");
    world.must(&format!("ln -s /tmp/m/agent.sock {SOCKET}"));
    let output = people::sudo(&world, "mallory");
    assert!(!output.out.contains("uid=0"), "{output:?}");
    // The agent refuses to live in a folder that others can write to.
    world.must("pkill perl; rm -rf /run/pam_jit; install -d -o mallory /run/pam_jit");
    let started = world.root("agentctl start");
    assert!(!started.ok(), "{started:?}");
    assert!(started.err.contains("/run/pam_jit"), "{started:?}");
}

#[test]
fn rescue_accounts_pass_when_the_agent_cannot_answer_and_only_then() {
    let world = world();
    world.must("sed -i 's/pam_jit.so/pam_jit.so rescue=carol,nobody-else/' /etc/pam.d/sudo /etc/pam.d/sshd");
    assert!(
        !becomes_root(&world, "carol"),
        "the agent says no, and is there"
    );
    world.must("agentctl stop");
    assert!(becomes_root(&world, "carol"));
    assert!(!becomes_root(&world, "mallory"));
    world.must("cp -r /home/alice/.ssh /home/carol; chown -R carol:carol /home/carol/.ssh");
    let carol = ssh(&world, "carol", "publickey", "localhost", "unasked");
    assert!(is_in(&carol, "carol"), "{carol:?}");
    world.logged(&["pam_jit(sudo:account)", "a rescue account passes"]);
    world.must("agentctl start");
    assert!(!becomes_root(&world, "carol"));
}
