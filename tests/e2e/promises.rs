//! What this program promises, each promise in a test that bears its name. The other tests go into
//! the corners; these walk through every door.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use jit_tests::{BY_WALL, Ended, World};

use crate::people::{BY_GRANT, becomes_root, entry, is_in, login, nopasswd, ssh};
use crate::source::{BUNDLE, Source};
use crate::steps::{
    SUDOS, at, floor, mark, nobody_got_in, shell, without_password, world_without_bobs_password,
};

/// A way to more power than one has: who, what they type, whose password is wanted, and what shows
/// that they got in.
struct Door {
    user: &'static str,
    command: String,
    password: &'static str,
    mark: &'static str,
}

const ROOT: &str = "uid=0(root)";
const POSTGRES: &str = "uid=890(postgres)";
/// When a grant of three seconds has surely ended: ends are rounded up to whole seconds.
const PAST_3_S: Duration = Duration::from_millis(4100);
const SECRET: &str = "the-secret-of-root";

/// Every door there is. alice is asked for her password, bob is not.
fn doors() -> Vec<Door> {
    let mut doors = Vec::new();
    let mut door = |user, command: String, password, mark| {
        doors.push(Door {
            user,
            command,
            password,
            mark,
        });
    };
    for sudo in SUDOS {
        for (options, mark) in [
            ("id", ROOT),
            ("-i id", ROOT),
            ("-s id", ROOT),
            ("-k id", ROOT),
            ("-S id", ROOT),
            ("-u postgres id", POSTGRES),
            ("-g disk id", "(disk)"),
            ("-l", "may run the following"),
            ("-v && echo val''id", "valid"),
        ] {
            door("alice", format!("{sudo} {options}"), "alice", mark);
            door("bob", format!("{sudo} -n {options}"), "bob", mark);
        }
        // Each its own file: sudo-rs locks what it edits.
        for (nr, options) in ["-e", "-u root -e", "--edit"].into_iter().enumerate() {
            let command = format!("EDITOR=cat {sudo} {options} /etc/secret{nr}");
            door("bob", command, "bob", SECRET);
        }
    }
    door(
        "bob",
        "EDITOR=cat sudoedit /etc/secret3".into(),
        "bob",
        SECRET,
    );
    let command = "EDITOR=cat /opt/sudo-rs/bin/sudoedit /etc/secret4".into();
    door("bob", command, "bob", SECRET);
    for (command, password, mark) in [
        ("su -c id", "root", ROOT),
        ("su - -c id", "root", ROOT),
        ("/opt/sudo-rs/bin/su -c id", "root", ROOT),
        ("su postgres -c id", "postgres", POSTGRES),
        ("su - bob -c id", "bob", "uid=2002(bob)"),
    ] {
        door("alice", command.into(), password, mark);
    }
    for method in ["publickey", "password", "keyboard-interactive"] {
        let command = format!("ssh -o PreferredAuthentications={method} localhost id");
        door("alice", command, "alice", "uid=2001(alice)");
    }
    doors
}

/// Tries every door, several at a time; the commands of those that opened, and all that was shown.
fn open_doors(world: &World) -> Vec<(String, String)> {
    let doors = doors();
    let next = AtomicUsize::new(0);
    let walk = || {
        let mut opened = Vec::new();
        while let Some(door) = doors.get(next.fetch_add(1, Ordering::Relaxed)) {
            let password = format!("{}-password", door.password);
            let ended = world
                .pty(door.user, &door.command)
                .answer(&[("assword for", &password), ("assword: ", &password)]);
            if ended.says(door.mark) {
                opened.push((format!("{}$ {}", door.user, door.command), ended.text));
            }
        }
        opened
    };
    std::thread::scope(|scope| {
        let walkers: Vec<_> = (0..4).map(|_| scope.spawn(walk)).collect();
        let opened = walkers.into_iter().map(|walker| walker.join().unwrap());
        opened.flatten().collect()
    })
}

#[test]
fn promise_1_no_elevation_without_an_active_grant() {
    let world = world_without_bobs_password();
    world.config(
        &(floor("none") + "[service.sshd]\nmode = \"enforce\"\ngrant = true\nmfa = \"none\"\n"),
    );
    world.must(&format!(
        "mkdir -p /etc/pam_jit/grants.d; umask 077; echo {SECRET} | tee /etc/secret{{0,1,2,3,4}} >/dev/null"
    ));
    let opened = open_doors(&world);
    assert!(opened.is_empty(), "without any grant: {opened:#?}");

    // Grants galore, none of them active, mine and for this.
    let both = "--service sudo --service su --service sshd --run-as '*' --mfa none";
    for user in ["alice", "bob"] {
        world.grant(&format!("--user {user} {both} --for 1s"));
        world.grant(&format!(
            "--user {user} {both} --for 1h --from 2099-01-01T00:00:00Z"
        ));
        world.grant(&format!(
            "--user {user} {both} --for 1h --source 203.0.113.0/24"
        ));
        world.grant(&format!(
            "--user {user} --service login --run-as '*' --for 1h"
        ));
        world.grant(&format!(
            "--user {user} --service sudo --service su --run-as carol --for 1h"
        ));
        world.write(
            &format!("/etc/pam_jit/grants.d/{user}.toml"),
            &format!(
                "[[grant]]\nid = \"{user}-elsewhere\"\nuser = \"{user}\"\nrun_as = [\"*\"]\n\
                 services = [\"sudo\", \"su\", \"sshd\"]\nhosts = [\"db-*\", \"env=prod\"]\n\
                 not_after = 2099-01-01T00:00:00Z\n"
            ),
        );
    }
    world.grant(&format!("--user carol {both} --for 1h"));
    world.grant("--group nogroup --service sudo --run-as '*' --for 1h");
    std::thread::sleep(Duration::from_millis(2200));
    // A grant for carol as target lets sudo's account phase go on, so -l and -v, which change
    // nobody, say yes; and ssh answers as before.
    let opened = open_doors(&world);
    let (listed, others): (Vec<_>, Vec<_>) = opened
        .into_iter()
        .partition(|(door, _)| door.contains(" -l") || door.contains(" -v"));
    assert!(
        others.is_empty(),
        "with grants that do not hold: {others:#?}"
    );
    assert_eq!(listed.len(), 8);

    for user in ["alice", "bob"] {
        world.grant(&format!("--user {user} {both} --for 1h --id all-{user}"));
    }
    let opened = open_doors(&world);
    let shut: Vec<_> = doors()
        .iter()
        .map(|door| format!("{}$ {}", door.user, door.command))
        .filter(|door| !opened.iter().any(|(open, _)| open == door))
        .collect();
    assert!(
        shut.is_empty(),
        "with one that holds, every door opens; shut: {shut:#?}"
    );

    // A ticket of sudo, and a door that is held open, do not outlast the grant.
    let mut shell = shell(&world, "alice");
    let password = [("assword", "alice-password")];
    assert!(at(&mut shell, "sudo id", &password).says(ROOT));
    world.must("jit grant revoke all-alice; jit grant revoke all-bob");
    assert!(!at(&mut shell, "sudo -n id", &[]).says(ROOT));
    for default in ["targetpw", "rootpw", "runaspw"] {
        world.write("/etc/sudoers.d/pw", &format!("Defaults {default}\n"));
        for sudo in SUDOS {
            let answers = [("assword", "root-password")];
            let ended = world
                .pty("alice", &format!("{sudo} -k id"))
                .answer(&answers);
            assert!(!ended.says(ROOT), "{default}: {}", ended.text);
        }
    }
    // Nor does a sudoers file that skips the account phase: then the session finds nobody fixed.
    world.write("/etc/sudoers.d/pw", "Defaults !pam_acct_mgmt\n");
    let skipped = world.run_as("bob", "sudo -n id");
    assert!(!skipped.ok() && !skipped.out.contains(ROOT), "{skipped:?}");
}

#[test]
fn promise_1_nor_by_an_expired_proof_or_a_late_answer() {
    let world = world_without_bobs_password();
    world.enroll("bob");
    world.config(&floor("1s"));
    world.grant("--user bob --service sudo --for 1h");
    let mut terminal = shell(&world, "bob");
    let code = world.code("bob");
    assert!(at(&mut terminal, "jit verify", &[("ode: ", &code)]).ok());
    std::thread::sleep(Duration::from_millis(1200));
    for sudo in SUDOS {
        assert!(!at(&mut terminal, &format!("{sudo} -n id"), &[]).says(ROOT));
    }
    world
        .must("for id in $(jit grant list | grep -o 'local:[^ ]*'); do jit grant revoke $id; done");
    world.grant("--user bob --service sudo --for 3s");
    let mut late = world.pty("bob", "sudo id");
    late.expect("ode: ");
    std::thread::sleep(PAST_3_S);
    late.send(&world.code("bob"));
    let late = late.end();
    assert!(!late.says(ROOT) && late.says("expired"), "{}", late.text);
}

#[test]
fn promise_2_no_decision_says_yes_past_not_after() {
    let world = world_without_bobs_password();
    world.make_wall();
    world.set_wall(0, false);
    world.must("agentctl stop; rm -rf /var/lib/pam_jit");
    world.write("/etc/pam_jit/agent.toml", BY_GRANT);
    world.restart_by_wall();
    world.grant("--user bob --service sudo --for 3s");
    let ends = Instant::now() + Duration::from_secs(3);
    let no = |when: &str| {
        for sudo in SUDOS {
            let ended = world.run_as("bob", &format!("{sudo} -n id"));
            assert!(
                !ended.ok() && !ended.out.contains(ROOT),
                "{when}: {ended:?}"
            );
        }
    };
    assert!(becomes_root(&world, "bob") || Instant::now() > ends);
    std::thread::sleep(PAST_3_S);
    no("at the end");
    for offset in [-30, -3600, -400 * 24 * 3600, 3600, 0] {
        world.set_wall(offset, false);
        no(&format!("with the clock at {offset}"));
        world.restart_by_wall();
        no(&format!("with the clock at {offset}, after a restart"));
        world.must(&format!(
            "agentctl kill9; AGENT_ENV={BY_WALL} agentctl start"
        ));
        no(&format!("with the clock at {offset}, after kill -9"));
    }
    // A reboot: the boot has another name, and its clock starts wrong.
    world.must("agentctl stop");
    world.set_wall(-3600, false);
    world.must(
        "cat /proc/sys/kernel/random/uuid >/run/boot_id; \
         mount --bind /run/boot_id /proc/sys/kernel/random/boot_id",
    );
    world.restart_by_wall();
    no("after a reboot with the clock an hour behind");
    world.must("agentctl stop");
    no("with a dead agent");
}

#[test]
fn promise_2_nor_by_an_old_or_foreign_bundle_or_a_cut_network() {
    let source = Source::new();
    let world = &source.world;
    source.sign(&["bob"], "--realm prod --host db-1", BUNDLE);
    assert!(
        !source.refresh().ok() && !source.opens("bob"),
        "by another host's"
    );
    source.sign(&["bob"], "--realm prod", "/root/old");
    world.must(&format!("cp /root/old {BUNDLE}"));
    source.accepted();
    assert!(source.opens("bob"), "by one's own");
    // It is taken back, and then replayed.
    source.publish_again(&["alice"]);
    source.accepted();
    world.must(&format!("cp /root/old {BUNDLE}"));
    assert!(
        !source.refresh().ok() && !source.opens("bob"),
        "by an old one"
    );
    world.must("agentctl kill9; agentctl start");
    assert!(
        !source.refresh().ok() && !source.opens("bob"),
        "by an old one, after kill -9"
    );

    // A cut network: what was signed last holds for max_offline and no longer.
    source.configure(&source.config("lease = '2s'\nmax_offline = '5s'"));
    source.publish_again(&["bob"]);
    source.accepted();
    assert!(source.opens("bob"));
    world.must("nginx -c /etc/policy/nginx.conf -s stop");
    world.wait_for("the end of max_offline", || !source.opens("bob"));
    world.must("agentctl restart");
    assert!(!source.opens("bob"), "after a restart without a network");
}

#[test]
fn promise_3_no_allow_without_a_record_on_disk() {
    let world = world_without_bobs_password();
    world.must(
        "agentctl stop; mount -t tmpfs -o size=2m,mode=0700 state /var/lib/pam_jit; \
         mkdir -p /etc/pam_jit/grants.d",
    );
    world.write("/etc/pam_jit/agent.toml", BY_GRANT);
    world.write(
        "/etc/pam_jit/grants.d/bob.toml",
        "[[grant]]\nid = \"bob\"\nuser = \"bob\"\nservices = [\"sudo\"]\nnot_after = 2099-01-01T00:00:00Z\n",
    );
    world.must("agentctl start");
    world.wait_for("the grant", || becomes_root(&world, "bob"));
    // Whoever is told yes has a record, although the agent dies in the same moment.
    for round in 0..5 {
        let yes = world.run_as(
            "bob",
            &format!("sudo -n /bin/kill -9 $(cat /run/jit-agentd.pid); echo {round}"),
        );
        // Account and session of the first and of each round.
        let on_disk = allows(&world);
        assert!(on_disk >= 2 * (round + 2), "{yes:?}: {on_disk} records");
        world.must("agentctl start; jit audit verify");
    }
    for sudo in SUDOS {
        world.must("dd if=/dev/zero of=/var/lib/pam_jit/full bs=4k 2>/dev/null || true");
        // The page that the journal ends in has room for a few records more.
        let mut allowed = 0;
        let refused = loop {
            let before = allows(&world);
            let full = world.pty("bob", &format!("{sudo} -n id")).end();
            if !full.ok() {
                break full;
            }
            allowed += 1;
            assert!(
                allows(&world) >= before + 2,
                "allowed without a record: {full:?}"
            );
            assert!(allowed < 50, "a full disk stops nothing");
        };
        assert!(!refused.says(ROOT), "{refused:?}");
        assert!(refused.says("could not be put on record"), "{refused:?}");
        let again = world.run_as("bob", &format!("{sudo} -n touch {}", mark(0)));
        assert!(!again.ok(), "{again:?}");
        nobody_got_in(&world);
        assert!(
            world.root(&format!("{sudo} -n true")).ok(),
            "root is exempt"
        );
        world.must("rm /var/lib/pam_jit/full");
        world.wait_for("room", || becomes_root(&world, "bob"));
    }
    world.must("jit audit verify");
}

/// Allowed decisions in the journal.
fn allows(world: &World) -> usize {
    let journal = world.must("cat /var/lib/pam_jit/audit/*.jsonl");
    journal.matches("\"allow\"").count()
}

/// Everything that takes a code, each under the same name.
fn tried(world: &World, user: &'static str, door: &str, code: &str) -> bool {
    let ended: Ended = match door {
        "ssh" => {
            let ended = ssh(world, user, "keyboard-interactive", "localhost", code);
            return is_in(&ended, user);
        }
        "login" => return login(world, user, code).contains(&format!("in-as-{user}")),
        "su" => world
            .pty(user, "su -c id")
            .answer(&[("assword: ", "root-password"), ("ode: ", code)]),
        "verify" => world.pty(user, "jit verify").answer(&[("ode: ", code)]),
        "reset" => world.pty(user, "jit mfa reset").answer(&[("now: ", code)]),
        sudo => world
            .pty(user, &format!("{sudo} -k id"))
            .answer(&[("ode: ", code)]),
    };
    match door {
        "verify" | "reset" => ended.ok(),
        _ => ended.says(ROOT),
    }
}

#[test]
fn promise_4_a_code_works_once_on_a_host() {
    const DOORS: [&str; 7] = [
        "sudo",
        "/opt/sudo-rs/bin/sudo",
        "su",
        "ssh",
        "login",
        "verify",
        "reset",
    ];
    let world = World::new();
    world.config(&entry(false, "always"));
    nopasswd(&world);
    for (user, first) in [
        ("alice", "sudo"),
        ("bob", "ssh"),
        ("carol", "verify"),
        ("mallory", "login"),
    ] {
        world.enroll(user);
        world.grant(&format!(
            "--user {user} --service sudo --service su --mfa always --for 1h"
        ));
        let code = world.code(user);
        assert!(
            tried(&world, user, first, &code),
            "{user} {first}: the first time"
        );
        for door in DOORS {
            assert!(
                !tried(&world, user, door, &code),
                "{user}: {first}, then {door}"
            );
        }
        world.must("agentctl kill9; agentctl start");
        let door = if first == "ssh" { "sudo" } else { "ssh" };
        assert!(
            !tried(&world, user, door, &code),
            "{user}: {door} after kill -9"
        );
        let code = world.code(user);
        assert!(
            tried(&world, user, door, &code),
            "{user} {door}: the next code"
        );
    }
}

/// Stands in for the agent. `words`: what it does, and the uid it has by then.
const LIAR: &str = r#"
use strict; use Socket;
my ($does, $uid) = @ARGV;
my $path = "/run/pam_jit/agent.sock";
unlink $path; umask 0177;
socket(my $door, PF_UNIX, SOCK_STREAM, 0) or die; bind($door, sockaddr_un($path)) or die "$!";
$( = $) = $uid; $< = $> = $uid;
listen($door, 100) or die; $| = 1; $SIG{CHLD} = $SIG{PIPE} = "IGNORE";
open(my $ready, ">", "/tmp/liar.$uid.$does"); close $ready;
while (accept(my $c, $door)) {
  next if fork;
  $c->autoflush(1) if $c->can("autoflush");
  select $c; $| = 1;
  my $yes = '{"verdict":{"result":"allow","reason":"granted","message":null,"grant":null,' .
    '"until":null,"id":null,"principal":2002}}';
  if ($does eq "allow") {
    # Heard out first, or who is still talking finds the door shut.
    my ($head, $question);
    read($c, $head, 4) and read($c, $question, unpack("N", $head));
    print pack("N", length $yes) . $yes
  }
  elsif ($does eq "garbage") { print "\xff\x00\x13{{{" x 5000 }
  elsif ($does eq "empty") { print pack("N", 0) }
  elsif ($does eq "huge") { print pack("N", 0xffffffff) . "x" x 100000 }
  elsif ($does eq "other") { my $s = '{"done":"yes"}'; print pack("N", length $s) . $s }
  elsif ($does eq "halves") { print pack("N", length $yes) . substr($yes, 0, 40) }
  elsif ($does eq "drips") { for (split //, pack("N", length $yes) . $yes) { print; select(undef, undef, undef, 0.2) } }
  elsif ($does eq "info") { for (1..100000) { my $s = '{"info":"x"}'; print pack("N", length $s) . $s } }
  elsif ($does eq "silent") { sleep 60 }
  exit;
}
"#;

/// Replaces the agent by a liar.
fn lie(world: &World, does: &str, uid: u32) {
    world.must("agentctl stop; pkill -x perl; mkdir -p -m 0755 /run/pam_jit; rm -f /tmp/liar.*");
    world.write("/opt/world/liar", LIAR);
    world.must(&format!(
        "setsid perl /opt/world/liar {does} {uid} </dev/null >/dev/null 2>&1 &
         for i in $(seq 100); do test -e /tmp/liar.{uid}.{does} && exit; sleep 0.05; done; exit 1"
    ));
}

/// Puts the agent back.
fn tell_the_truth(world: &World) {
    world.must("pkill -x perl; rm -f /run/pam_jit/agent.sock; agentctl start");
}

/// The module waits two seconds; the rest is what a busy machine needs for a sudo.
const PROMPTLY: Duration = Duration::from_secs(6);

fn promptly<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let done = work();
    assert!(
        begun.elapsed() < PROMPTLY,
        "{what} took {:?}",
        begun.elapsed()
    );
    done
}

#[test]
fn promise_5_a_dead_hung_or_lying_agent_is_a_no_within_the_deadline() {
    let world = world_without_bobs_password();
    world.config(BY_GRANT);
    world.grant("--user bob --service sudo --for 1h");
    assert!(becomes_root(&world, "bob"));
    let shut = |trouble: &str| {
        for sudo in SUDOS {
            let what = format!("{sudo}: {trouble}");
            let bob = promptly(&what, || world.run_as("bob", &format!("{sudo} -n id")));
            assert!(!bob.ok() && !bob.out.contains(ROOT), "{what}: {bob:?}");
            assert!(bob.code < 128, "{what}: it crashed: {bob:?}");
            let root = promptly(&what, || world.root(&format!("{sudo} -n id")));
            assert!(root.ok(), "{what}: {root:?}");
        }
        let what = format!("ssh: {trouble}");
        let ssh = promptly(&what, || {
            world.run_as("bob", "ssh -o BatchMode=yes localhost id")
        });
        assert!(!ssh.ok() && !ssh.out.contains("uid="), "{what}: {ssh:?}");
    };
    world.must("agentctl freeze");
    shut("frozen");
    world.must("agentctl thaw; agentctl stop");
    shut("dead");
    for does in [
        "garbage", "empty", "huge", "other", "halves", "drips", "info", "silent",
    ] {
        lie(&world, does, 0);
        shut(does);
    }
    // Somebody else's agent says yes: what counts is whose it is.
    lie(&world, "allow", 2004);
    shut("not root's");
    lie(&world, "allow", 0);
    assert!(
        becomes_root(&world, "bob"),
        "root's own liar, which shows what the others lacked"
    );
    tell_the_truth(&world);
    assert!(becomes_root(&world, "bob"));
}

/// Holds as many connections to both sockets as it can, and says what no peer should.
const FLOOD: &str = r#"
use strict; use IO::Socket::UNIX; $SIG{PIPE} = "IGNORE";
my @held; my $until = time + 20;
open(my $ready, ">", "/tmp/flood.$$"); close $ready;
while (time < $until) {
  my $s = IO::Socket::UNIX->new(Peer => "/run/pam_jit/user.sock") or next;
  my $n = @held % 4;
  print $s pack("N", 64) . "x" if $n == 0;
  print $s "\xff" x 2000 if $n == 1;
  print $s pack("N", 18) . '{"v":1,"op":"status"' if $n == 2;
  $s->flush; push @held, $s; shift @held if @held > 500;
}
"#;

#[test]
fn promise_5_a_flood_from_one_person_starves_nobody() {
    let world = world_without_bobs_password();
    without_password(&world, "mallory");
    world.config(BY_GRANT);
    world.grant("--user bob --service sudo --for 1h");
    world.write("/opt/world/flood", FLOOD);
    let mut floods = Vec::new();
    for _ in 0..3 {
        floods.push(world.pty("mallory", "exec perl /opt/world/flood"));
    }
    floods.push(world.pty(
        "mallory",
        "while :; do sudo -n true >/dev/null 2>&1 & sleep 0.05; done",
    ));
    world.wait_for("the flood", || {
        world.must("ls /tmp/flood.* 2>/dev/null | wc -l").trim() == "3"
    });
    for _ in 0..5 {
        let bob = promptly("bob's sudo", || world.run_as("bob", "sudo -n id"));
        assert!(bob.ok(), "{bob:?}");
        let carol = promptly("alice's sudo", || world.run_as("alice", "sudo -n id"));
        assert!(!carol.ok(), "{carol:?}");
        let status = promptly("bob's status", || world.run_as("bob", "jit status"));
        assert!(status.ok(), "{status:?}");
    }
    let ssh = promptly("bob's ssh", || {
        world.run_as("bob", "ssh -o BatchMode=yes localhost id")
    });
    assert!(ssh.ok(), "{ssh:?}");
    for mut flood in floods {
        flood.keys(b"\x03");
    }
}

#[test]
fn promise_6_root_at_the_console_always_gets_in() {
    let world = World::new();
    let gets_in = |trouble: &str| {
        let console = promptly(trouble, || login(&world, "root", ""));
        assert!(console.contains("in-as-root"), "{trouble}: {console}");
        for command in [
            "sudo -n id",
            "/opt/sudo-rs/bin/sudo -n id",
            "su -c id",
            "su - bob -c id",
        ] {
            let ended = promptly(trouble, || world.pty("root", command).end());
            assert!(ended.ok(), "{trouble}: {command}: {}", ended.text);
        }
    };
    gets_in("in peace");
    world.must("agentctl freeze");
    gets_in("with a frozen agent");
    world.must("agentctl thaw");
    for (trouble, toml) in [
        ("broken", "[agent\nhost = ".to_owned()),
        (
            "exempt nobody",
            "[agent]\nhost = \"web1\"\nexempt_users = []\n".to_owned(),
        ),
        (
            "a grant and a code for everything",
            entry(true, "always").replace("[service.sudo]", "exempt_users = []\n[service.sudo]"),
        ),
    ] {
        world.config(&toml);
        gets_in(trouble);
    }
    world.must("agentctl stop");
    gets_in("with a dead agent");
    world.must("rm -rf /run/pam_jit /var/lib/pam_jit /etc/pam_jit");
    gets_in("with nothing left");
    world.must("sed -i 's/pam_jit.so/pam_jit.so nonsense=1/' /etc/pam.d/*");
    gets_in("with a wrong argument");
    lie(&world, "garbage", 0);
    gets_in("with a lying agent");
    // Only at the console, and only root.
    let alice = login(&world, "alice", "");
    assert!(!alice.contains("in-as-alice"), "{alice}");
    world.must("install -d -m 700 /root/.ssh; cp /home/alice/.ssh/id_ed25519.pub /root/.ssh/authorized_keys");
    let afar = world.run_as("alice", "ssh -o BatchMode=yes root@localhost id");
    assert!(!afar.ok() && !afar.out.contains(ROOT), "{afar:?}");
}

/// What a person may put around a call of sudo. `SUDO` stands for `sudo -n`, `RUN` for what it is
/// to run.
const TRICKS: [&str; 66] = [
    "SUDO RUN",
    // Environment.
    "env -i SUDO RUN",
    "USER=root LOGNAME=root SUDO_USER=root SUDO_UID=0 SUDO_GID=0 SUDO_COMMAND=/bin/true SUDO RUN",
    "LD_PRELOAD=/opt/world/wall.so LD_LIBRARY_PATH=/tmp LD_AUDIT=/tmp/x LD_DEBUG=all SUDO RUN",
    "GLIBC_TUNABLES=glibc.malloc.check=3 MALLOC_PERTURB_=255 SUDO RUN",
    "RUST_BACKTRACE=full RUST_LOG=trace RUST_MIN_STACK=1 SUDO RUN",
    "PAM_USER=root PAM_RUSER=root PAM_SERVICE=su PAM_RHOST=x PAM_TTY=tty1 SUDO RUN",
    "LC_ALL=tr_TR.UTF-8 LANG=xx_XX LANGUAGE=de NLSPATH=/tmp/%N GCONV_PATH=/tmp SUDO RUN",
    "TZ=:/etc/shadow SUDO RUN",
    "TZ=UTC+99 SUDO RUN",
    "env $'JUNK=\\xff\\xfe\\x80' $'X\\xff=1' SUDO RUN",
    "BIG=$(head -c 100000 /dev/zero | tr '\\0' x) SUDO RUN",
    "HOME=/proc/self/root PATH=/tmp:. IFS=/ ENV=/tmp/x BASH_ENV=/tmp/x SUDO RUN",
    "HOSTNAME=db-1 HOST=db-1 SUDO RUN",
    "SUDO_ASKPASS=/bin/true SUDO -A RUN",
    // Arguments.
    "SUDO -- RUN",
    "SUDO -E RUN",
    "SUDO --preserve-env=PATH RUN",
    "SUDO A=b LD_PRELOAD=/tmp/x RUN",
    "SUDO -u root RUN",
    "SUDO -u '#0' RUN",
    "SUDO -u '#-1' RUN",
    "SUDO -u '#4294967295' RUN",
    "SUDO -u '' RUN",
    "SUDO -h db-1 RUN",
    "SUDO -C 3 RUN",
    "SUDO -C 1000 RUN",
    "SUDO -T 1 RUN",
    "SUDO -D / RUN",
    "SUDO -R / RUN",
    "SUDO -b RUN",
    "SUDO -B RUN",
    "SUDO -H RUN",
    "SUDO -P RUN",
    "SUDO -K RUN",
    "SUDO -p '' RUN",
    "SUDO -p 'pam_jit: allow' RUN",
    "SUDO -i RUN",
    "SUDO -s RUN",
    "SUDO \"$(printf 'a\\nb\\033[31m')\"",
    "SUDO $(seq 20000)",
    // Names.
    "(exec -a root SUDO RUN)",
    "(exec -a '' SUDO RUN)",
    "(exec -a \"$(printf 'a\\nevent=decision outcome=allow')\" SUDO RUN)",
    "(exec -a $(head -c 70000 /dev/zero | tr '\\0' x) SUDO RUN)",
    "(exec -a /bin/su SUDO RUN)",
    // Descriptors.
    "SUDO RUN <&-",
    "SUDO RUN >&-",
    "SUDO RUN 2>&-",
    "SUDO RUN <&- >&- 2>&-",
    "SUDO RUN 0<>/run/pam_jit 3</dev/null 4</dev/null 5</dev/null",
    // Limits.
    "(ulimit -n 3; SUDO RUN)",
    "(ulimit -n 4; SUDO RUN)",
    "(ulimit -n 6; SUDO RUN)",
    "(ulimit -f 0; SUDO RUN)",
    "(ulimit -v 60000; SUDO RUN)",
    "(ulimit -s 100; SUDO RUN)",
    "(ulimit -u 1; SUDO RUN)",
    "(ulimit -d 1000; SUDO RUN)",
    "(ulimit -l 0; ulimit -q 0; ulimit -i 0; SUDO RUN)",
    // Processes and signals.
    "(trap '' TERM INT HUP PIPE ALRM CHLD USR1 USR2; SUDO RUN)",
    "setsid -w SUDO RUN",
    "nice -n 19 SUDO RUN",
    "unshare -Urm SUDO RUN",
    "umask 0777; cd /proc/self; SUDO RUN",
    "SUDO RUN & p=$!; for i in 1 2 3 4; do kill -STOP $p; sleep 0.6; kill -CONT $p; done; wait",
];

#[test]
fn promise_7_nothing_a_user_controls_turns_a_no_into_a_yes() {
    let world = world_without_bobs_password();
    world.config(BY_GRANT);
    // Something else of bob's holds, so that it is not all one "no".
    world.grant("--user bob --service login --for 1h");
    world.grant("--user bob --service sudo --run-as postgres --for 1h");
    let next = AtomicUsize::new(0);
    let walk = || {
        while let Some(trick) = TRICKS.get(next.fetch_add(1, Ordering::Relaxed) / 2) {
            let nr = next.load(Ordering::Relaxed);
            for sudo in SUDOS {
                let call = trick.replace("SUDO", &format!("{sudo} -n"));
                let call = call.replace("RUN", &format!("touch {}", mark(nr)));
                let ended = world.run_as("bob", &call);
                assert!(!ended.out.contains(ROOT), "{trick}: {ended:?}");
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(walk);
        }
    });
    nobody_got_in(&world);
    // On a terminal that is not what it seems, and hung up in the middle.
    for command in [
        "stty -echo raw; sudo -n touch /root/got-in-tty",
        "TERM=$'\\033[31m' sudo -n touch /root/got-in-tty",
        "sudo -n touch /root/got-in-tty & sleep 0.02; kill -HUP $$",
        "sudo -n touch /root/got-in-tty & kill -STOP $!; sleep 2.5; kill -CONT $!; wait",
    ] {
        let _ = world.pty("bob", command).end();
    }
    nobody_got_in(&world);
    let journal = world.must("jit audit verify && cat /var/lib/pam_jit/audit/*.jsonl");
    let mut lines = journal.lines().filter(|line| line.contains("\"decision\""));
    assert!(lines.all(|line| !line.contains("\"allow\"") || !line.contains("\"target\":\"root\"")));
    // The plain call works as soon as there is a grant: that is all that was missing.
    world.grant("--user bob --service sudo --for 1h");
    assert!(
        world
            .run_as("bob", &format!("sudo -n touch {}", mark(0)))
            .ok()
    );
    assert!(world.must("ls /root").contains("got-in-0"));
}

#[test]
fn promise_8_bad_input_never_stops_the_agent_and_is_named() {
    let world = world_without_bobs_password();
    world.config(BY_GRANT);
    let pid = world.must("mkdir -p /etc/pam_jit/grants.d; agentctl pid");
    let good = "[[grant]]\nid = \"good\"\nuser = \"bob\"\nservices = [\"sudo\"]\nnot_after = 2099-01-01T00:00:00Z\n";
    world.write("/etc/pam_jit/grants.d/good.toml", good);
    world.wait_for("the grant", || becomes_root(&world, "bob"));
    let grant = |rest: &str| {
        format!("[[grant]]\nid = \"bad\"\nuser = \"carol\"\nservices = [\"sudo\"]\n{rest}\n")
    };
    let end = "not_after = 2099-01-01T00:00:00Z";
    for (name, text, word) in [
        ("syntax", "[[grant]\nid = ".to_owned(), "line="),
        ("binary", "\u{0}\u{1}\u{2}".repeat(1000), "file="),
        ("no-end", grant(""), "not_after"),
        (
            "unknown",
            grant(&format!("{end}\ncolour = \"red\"")),
            "colour",
        ),
        (
            "backwards",
            grant(&format!("{end}\nnot_before = 2099-02-01T00:00:00Z")),
            "not_before",
        ),
        (
            "condition",
            grant(&format!("{end}\n[grant.when]\nmoon = \"full\"")),
            "moon",
        ),
        ("twice", grant(end) + &grant(end), "bad"),
        ("large", "#".repeat(40_000_000), "file="),
    ] {
        let path = format!("/etc/pam_jit/grants.d/{name}.toml");
        world.write(&path, &text);
        let named = world.logged(&["event=grant", "outcome=rejected", &path, word]);
        assert!(!named.is_empty(), "{name}");
        assert!(
            becomes_root(&world, "bob"),
            "{name} took the good grant with it"
        );
        world.must(&format!("rm {path}"));
    }
    let path = "/etc/pam_jit/grants.d/foreign.toml";
    world.must(&format!(
        "printf '%s' '{}' >/tmp/x; chown mallory /tmp/x; mv /tmp/x {path}",
        grant(end)
    ));
    world.logged(&["event=grant", "outcome=rejected", path]);
    world.must(&format!("rm {path}"));

    for (text, word) in [
        ("[agent\nhost = 1", "agent.toml:1:7: "),
        (
            "[agent]\nhost = \"web1\"\n[service.sudo]\nmode = \"enfroce\"\n",
            "enfroce",
        ),
        ("[agent]\nhost = \"web1\"\ncolour = \"red\"\n", "colour"),
    ] {
        world.write("/etc/pam_jit/agent.toml", text);
        world.logged(&["event=config", "outcome=rejected", word]);
        assert!(
            becomes_root(&world, "bob"),
            "the configuration before it is in force"
        );
    }

    world.write("/opt/world/flood", &FLOOD.replace("20", "2"));
    assert!(world.run_as("mallory", "exec perl /opt/world/flood").code < 128);
    for junk in [
        "\"; id",
        "--help",
        "../../x",
        "a b",
        "\u{1b}[31m",
        &"x".repeat(300),
    ] {
        let _ = world.run_as("mallory", &format!("jit check '{junk}' --service '{junk}'"));
        let _ = world.run_as(
            "root",
            &format!("jit grant add --user '{junk}' --service sudo --for 1h"),
        );
        let _ = world.run_as(
            "mallory",
            &format!("ssh -o BatchMode=yes '{junk}'@localhost"),
        );
    }
    assert_eq!(world.must("agentctl pid"), pid);
    assert!(becomes_root(&world, "bob"));
    assert_eq!(
        world
            .read("/var/log/jit-agentd.log")
            .matches("panicked")
            .count(),
        0
    );
}
