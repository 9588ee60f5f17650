//! Coming in: login on a terminal; sshd with a public key, keyboard-interactive and a password.

use std::time::Duration;

use jit_tests::{Pty, World};

use crate::people::{self, INSIDE, is_in, login, ssh, timed};

const KEY: &str = "publickey";
const KBD: &str = "keyboard-interactive";
const PASSWORD: &str = "password";

/// What the agent remembers of somebody's factor, as it lies on disk.
fn factor_file(world: &World, uid: u32) -> String {
    world.must(&format!("cat /var/lib/pam_jit/factors/{uid}*"))
}

/// The code alone stands between a stranger and a shell: what our line says is all that sshd says.
fn code_is_all_that_sshd_asks(world: &World) {
    world.must(
        "sed -i '/common-auth/d' /etc/pam.d/sshd && grep -c 'auth .*pam_jit' /etc/pam.d/sshd",
    );
}

#[test]
fn people_log_in_as_ever_after_installation() {
    let world = World::new();
    for method in [KEY, KBD, PASSWORD] {
        let ended = ssh(&world, "alice", method, "localhost", "unasked");
        assert!(is_in(&ended, "alice"), "{method}: {ended:?}");
        assert!(!ended.says("code"), "{method}: {ended:?}");
    }
    let shown = login(&world, "alice", "unasked");
    assert!(shown.contains("in-as-alice"), "{shown}");
    assert!(!shown.contains("code"), "{shown}");
    let words = [
        "event=decision",
        "user=alice",
        "outcome=allow",
        "reason=not_required",
    ];
    for service in ["service=sshd", "service=login"] {
        world.logged(&[&words[..], &[service, "phase=account"]].concat());
        world.logged(&["event=session", "outcome=open", "user=alice", service]);
        world.logged(&["event=session", "outcome=close", "user=alice", service]);
    }
    // A wrong password is still a wrong password.
    let mut wrong = world.pty(
        "alice",
        &format!("ssh -o PreferredAuthentications={KBD} localhost id"),
    );
    wrong.expect("assword");
    wrong.send("wrong");
    assert!(!wrong.end().ok());
}

#[test]
fn a_host_entered_by_grant_only() {
    let world = World::new();
    world.config(&people::entry(true, "none"));
    let doors = |world: &World| {
        let by_ssh = [KEY, KBD, PASSWORD].map(|method| {
            let ended = ssh(world, "alice", method, "localhost", "unasked");
            (is_in(&ended, "alice"), ended.text)
        });
        let shown = login(world, "alice", "unasked");
        let mut all = by_ssh.to_vec();
        all.push((shown.contains("in-as-alice"), shown));
        all
    };
    for (open, text) in doors(&world) {
        assert!(!open, "without a grant: {text}");
    }
    // A person with a key is told why; login says whatever it says.
    let refused = ssh(&world, "alice", KEY, "localhost", "unasked");
    assert!(refused.says("entered by grant only"), "{refused:?}");
    world.logged(&[
        "outcome=deny",
        "reason=no_grant",
        "user=alice",
        "service=sshd",
    ]);
    world.logged(&[
        "outcome=deny",
        "reason=no_grant",
        "user=alice",
        "service=login",
    ]);

    // Another service's grant opens nothing here, nor another person's.
    world.grant("--user alice --service sudo --for 1h");
    world.grant("--user bob --service sshd --service login --for 1h");
    for (open, text) in doors(&world) {
        assert!(!open, "with others' grants: {text}");
    }
    assert!(is_in(
        &ssh(&world, "bob", KEY, "localhost", "unasked"),
        "bob"
    ));

    let id = world.grant("--user alice --service sshd --service login --for 1h");
    for (open, text) in doors(&world) {
        assert!(open, "with a grant: {text}");
    }
    world.must(&format!("jit grant revoke {id}"));
    world.grant("--user alice --service sshd --service login --for 2s");
    std::thread::sleep(Duration::from_secs(3));
    for (open, text) in doors(&world) {
        assert!(!open, "past its end: {text}");
    }
    let expired = world.logged(&["outcome=deny", "reason=expired", "user=alice"]);
    assert_eq!(expired.len(), 4, "{expired:?}");
    // Root comes in at the console, grants or not.
    assert!(login(&world, "root", "unasked").contains("in-as-root"));
}

#[test]
fn keyboard_interactive_asks_for_a_code() {
    for mfa in ["15m", "always"] {
        let world = World::new();
        world.config(&people::entry(false, mfa));
        let factor = world.enroll("alice");
        let wrong = ssh(&world, "alice", KBD, "localhost", &factor.wrong_code());
        assert!(wrong.says("One-time code: "), "{wrong:?}");
        assert!(!is_in(&wrong, "alice"), "{wrong:?}");
        let code = world.code("alice");
        let right = ssh(&world, "alice", KBD, "localhost", &code);
        assert!(is_in(&right, "alice"), "{right:?}");
        let again = ssh(&world, "alice", KBD, "localhost", &code);
        assert!(!is_in(&again, "alice"), "a code works once: {again:?}");
        world.logged(&["event=mfa", "outcome=passed", "user=alice", "service=sshd"]);
        world.logged(&[
            "event=mfa",
            "outcome=failed",
            "reason=code_used",
            "user=alice",
        ]);
        // Nothing of the kind is remembered for the next login.
        let next = ssh(&world, "alice", KBD, "localhost", "no");
        assert!(
            next.says("One-time code: ") && !is_in(&next, "alice"),
            "{next:?}"
        );
        assert!(!world.syslog().contains(&code));
    }
}

#[test]
fn login_asks_for_a_code() {
    let world = World::new();
    world.config(&people::entry(false, "15m"));
    let factor = world.enroll("alice");
    let wrong = login(&world, "alice", &factor.wrong_code());
    assert!(
        wrong.contains("One-time code: ") && !wrong.contains("in-as-"),
        "{wrong}"
    );
    let right = login(&world, "alice", &world.code("alice"));
    assert!(right.contains("in-as-alice"), "{right}");
    let not_enrolled = login(&world, "carol", "123456");
    assert!(!not_enrolled.contains("in-as-"), "{not_enrolled}");
    let root = login(&world, "root", "unasked");
    assert!(
        root.contains("in-as-root") && !root.contains("code"),
        "{root}"
    );
}

#[test]
fn a_public_key_is_not_a_factor_and_is_told_what_to_do() {
    let world = World::new();
    world.config(&people::entry(false, "15m"));
    world.enroll("alice");
    let refused = ssh(&world, "alice", KEY, "localhost", "unasked");
    assert!(!is_in(&refused, "alice"), "{refused:?}");
    assert!(refused.says("keyboard-interactive"), "{refused:?}");
    world.logged(&["outcome=deny", "reason=proof_required", "service=sshd"]);
    // Key, then code: what an administrator sets up for both.
    world.must(
        "echo 'AuthenticationMethods publickey,keyboard-interactive' >>/etc/ssh/sshd_config; \
         kill -HUP $(cat /run/sshd.pid); sleep 0.5",
    );
    let both = format!("{KEY},{KBD}");
    let open = ssh(&world, "alice", &both, "localhost", &world.code("alice"));
    assert!(is_in(&open, "alice"), "{open:?}");
}

#[test]
fn a_password_given_for_the_code_is_refused_and_spends_nothing() {
    let world = World::new();
    world.config(&people::entry(false, "15m"));
    world.enroll("alice");
    let before = factor_file(&world, 2001);
    for _ in 0..7 {
        // sshd answers every hidden prompt with the password.
        let refused = ssh(&world, "alice", PASSWORD, "localhost", "unasked");
        assert!(!is_in(&refused, "alice"), "{refused:?}");
    }
    assert_eq!(factor_file(&world, 2001), before);
    world.logged(&[
        "event=mfa",
        "outcome=failed",
        "reason=not_a_code",
        "user=alice",
    ]);
    let open = ssh(&world, "alice", KBD, "localhost", &world.code("alice"));
    assert!(is_in(&open, "alice"), "{open:?}");
}

#[test]
fn what_sshd_answers_for_people_it_does_not_let_in_spends_nothing() {
    let world = World::new();
    world.config(&people::entry(false, "15m"));
    code_is_all_that_sshd_asks(&world);
    let factor = world.enroll("bob");
    // sshd asks on their behalf and answers junk, whatever is typed.
    world.must(
        "echo 'DenyUsers bob' >>/etc/ssh/sshd_config; kill -HUP $(cat /run/sshd.pid); sleep 0.5",
    );
    let before = factor_file(&world, 2002);
    for _ in 0..7 {
        let code = factor.wrong_code();
        let refused = ssh(&world, "alice", KBD, "bob@localhost", &code);
        assert!(
            refused.says("One-time code: ") && !is_in(&refused, "bob"),
            "{refused:?}"
        );
    }
    assert_eq!(factor_file(&world, 2002), before);
    world.logged(&[
        "event=mfa",
        "outcome=failed",
        "reason=not_a_code",
        "user=bob",
    ]);
}

/// Types a code at the only prompt; what was shown, and how long the answer took.
fn answer_at(mut pty: Pty, code: &str) -> (String, Duration) {
    pty.expect("One-time code: ");
    pty.send(code);
    let (ended, took) = timed(|| pty.end());
    (ended.text, took)
}

#[test]
fn a_stranger_cannot_tell_who_exists_and_who_has_a_factor() {
    let world = World::new();
    world.config(&people::entry(false, "15m"));
    code_is_all_that_sshd_asks(&world);
    let factor = world.enroll("alice");
    let code = factor.wrong_code();
    // The least of some tries: a busy machine only ever adds.
    let least = |user: &str| {
        let mut all = Vec::new();
        for _ in 0..4 {
            let options = format!("-o LogLevel=INFO -o PreferredAuthentications={KBD}");
            let pty = world.pty("mallory", &format!("ssh {options} {user}@localhost id"));
            let (text, took) = answer_at(pty, &code);
            all.push((took, text.replace(user, "USER")));
        }
        all.sort();
        all.swap_remove(0)
    };
    let wrong = least("alice");
    let not_enrolled = least("carol");
    let unknown = least("nosuchuser");
    assert_eq!(wrong.1, not_enrolled.1);
    assert_eq!(wrong.1, unknown.1);
    for (took, _) in [&not_enrolled, &unknown] {
        // libpam draws the delay of a failure at random, half a second to either side.
        let apart = took.abs_diff(wrong.0);
        assert!(
            apart < Duration::from_millis(900),
            "{took:?} and {:?}",
            wrong.0
        );
    }
    // In the record the three are told apart.
    world.logged(&["event=mfa", "reason=wrong_code", "user=alice"]);
    world.logged(&["event=mfa", "reason=not_enrolled", "user=carol"]);
    world.logged(&["event=mfa", "user=nosuchuser", "uid=-"]);
}

/// sshd's part of the dialogue without libpam, whose delay after a failure is drawn at random: says how
/// many milliseconds a wrong code's answer took.
const DOOR: &str = r#"
use strict; use IO::Socket::UNIX;
my ($user, $txn, $code) = @ARGV;
my $s = IO::Socket::UNIX->new(Peer => "/run/pam_jit/agent.sock") or die "agent.sock: $!";
# clock_gettime(CLOCK_MONOTONIC), by its number: a minimal perl has no Time::HiRes.
my $clock_gettime = `uname -m` =~ /x86_64/ ? 228 : 113;
sub now {
    my $time = "\0" x 16;
    syscall($clock_gettime, 1, $time) == 0 or die "clock_gettime: $!";
    my ($seconds, $nanos) = unpack "q2", $time;
    $seconds + $nanos / 1e9
}
sub say_it { my $text = shift; print $s pack("N", length $text) . $text; $s->flush }
sub hear { read($s, my $head, 4) == 4 or die "no answer"; read($s, my $text, unpack("N", $head)); $text }
say_it(qq({"op":"pam","v":1,"phase":"auth","txn":"$txn","service":"sshd","flags":0,"ruid":0,"euid":0,)
     . qq("user":"$user","ruser":null,"tty":"ssh","rhost":"192.0.2.$$","interactive":true,"observe":false,)
     . qq("fixed":null,"cmdline":null}));
my $asked = hear(); $asked =~ /"prompt":\{"id":(\d+)/ or die "not asked: $asked";
my $from = now();
say_it(qq({"answer":{"id":$1,"text":"$code"}}));
my $verdict = hear();
printf "%d %s\n", (now() - $from) * 1000, $verdict =~ s/"id":"[^"]*"/"id":"ID"/r;
"#;

#[test]
fn the_agent_takes_as_long_for_a_stranger_as_for_a_wrong_code() {
    let world = World::new();
    world.config(&people::entry(false, "15m"));
    let code = world.enroll("alice").wrong_code();
    world.write("/opt/world/door", DOOR);
    let mut turn = 0;
    let mut least = |user: &str| {
        let answers: Vec<(u32, String)> = (0..4)
            .map(|_| {
                turn += 1;
                let said = world.must(&format!("perl /opt/world/door {user} {turn:032x} {code}"));
                let (millis, verdict) = said.trim().split_once(' ').unwrap();
                (millis.parse().unwrap(), verdict.to_owned())
            })
            .collect();
        // A busy machine only ever adds.
        answers.into_iter().min().unwrap()
    };
    let wrong = least("alice");
    assert!(wrong.1.contains("\"unproven\""), "{wrong:?}");
    for user in ["carol", "nosuchuser"] {
        let other = least(user);
        assert!(
            other.0.abs_diff(wrong.0) < 25,
            "{user}: {other:?} {wrong:?}"
        );
        // On a slower disk the work alone would tell; every "no" takes longer than the work.
        assert!(other.0.min(wrong.0) >= 400, "{user}: {other:?} {wrong:?}");
        // What differs is for the record; the module passes none of it on.
        let said = |verdict: &str| {
            let at = verdict.find("\"message\":").unwrap();
            verdict[at..].split(',').next().unwrap().to_owned()
        };
        assert_eq!(said(&other.1), said(&wrong.1));
    }
}

#[test]
fn guessing_from_afar_locks_out_the_guesser_and_nobody_else() {
    let world = World::new();
    world.config(&people::entry(false, "15m"));
    code_is_all_that_sshd_asks(&world);
    let factor = world.enroll("alice");
    let home = "-b 10.8.0.7 alice@10.8.0.7";
    let open = ssh(&world, "mallory", KBD, home, &world.code("alice"));
    assert!(is_in(&open, "alice"), "{open:?}");

    // Six hosts, six wrong codes each: more than the budget of all hosts together.
    let code = factor.wrong_code();
    std::thread::scope(|scope| {
        for host in 2..8 {
            let (world, code) = (&world, &code);
            scope.spawn(move || {
                for _ in 0..6 {
                    let from = format!("-b 127.0.0.{host} alice@localhost");
                    let refused = ssh(world, "mallory", KBD, &from, code);
                    assert!(!is_in(&refused, "alice"), "{refused:?}");
                }
            });
        }
    });
    // From there, and from any other strange host, not even a right code is looked at…
    let mut right = factor.recovery.iter();
    let mut right = || right.next().unwrap();
    for from in [
        "-b 127.0.0.2 alice@localhost",
        "-b 192.0.2.7 alice@10.8.0.7",
    ] {
        let late = ssh(&world, "mallory", KBD, from, right());
        assert!(!is_in(&late, "alice"), "{from}: {late:?}");
    }
    world.logged(&[
        "event=mfa",
        "outcome=locked",
        "user=alice",
        "rhost=192.0.2.7",
    ]);
    // …but whence alice came before, and at the console, and at sudo, nothing has changed.
    let status = world.must("jit mfa status alice --json");
    assert!(status.contains("\"enrolled\""), "{status}");
    let again = ssh(&world, "mallory", KBD, home, right());
    assert!(is_in(&again, "alice"), "{again:?}");
    let shown = login(&world, "alice", right());
    assert!(shown.contains("in-as-alice"), "{shown}");
}

#[test]
fn a_grant_for_people_who_come_from_somewhere() {
    let world = World::new();
    people::nopasswd(&world);
    world.config(people::BY_GRANT);
    world.grant("--user alice --service sudo --for 1h --source 10.8.0.0/16");
    let from = |address: &str, command: &str| {
        let ssh = format!("ssh -o BatchMode=yes -b {address} alice@10.8.0.7");
        world.run_as("alice", &format!("{ssh} \"{command}\""))
    };
    let open = from("10.8.0.7", "sudo -n id");
    assert!(open.out.contains("uid=0(root)"), "{open:?}");
    let shut = from("192.0.2.7", "sudo -n id");
    assert!(!shut.out.contains("uid=0"), "{shut:?}");
    assert!(
        shut.err.contains("192.0.2.7") && shut.err.contains("10.8.0.0/16"),
        "{shut:?}"
    );
    // Where nobody knows where they come from, and where they say so themselves.
    let unknown = world.run_as(
        "alice",
        "SSH_CLIENT='10.8.0.7 1 22' SSH_CONNECTION='10.8.0.7 1 10.8.0.7 22' sudo -n id",
    );
    assert!(!unknown.ok(), "{unknown:?}");
    assert!(unknown.err.contains("10.8.0.0/16"), "{unknown:?}");
    // Who stays behind when the login session ends came from nowhere any more.
    let detach = "setsid -f sh -c 'sleep 1; sudo -n id >out 2>&1' </dev/null >/dev/null 2>&1";
    assert!(from("10.8.0.7", detach).ok());
    let ended = || world.read("/home/alice/out").contains("10.8.0.0/16");
    world.wait_for("a refusal of who stayed behind", ended);
    // Another's login session is nobody's evidence.
    world.must("sed -i '1i auth sufficient pam_permit.so' /etc/pam.d/su");
    world.grant("--user bob --service su --run-as alice --for 1h --mfa none");
    let su = "[service.su]\nmode = \"enforce\"\ngrant = true\nmfa = \"none\"\n";
    world.config(&format!("{}{su}", people::BY_GRANT));
    let other = world.run_as(
        "bob",
        "ssh -o BatchMode=yes -b 10.8.0.7 bob@10.8.0.7 'su alice -c \"sudo -n id\"'",
    );
    assert!(!other.out.contains("uid=0"), "{other:?}");
    assert!(other.err.contains("10.8.0.0/16"), "{other:?}");
    // And all that time the right way was open.
    let open = from("10.8.0.7", "sudo -n id");
    assert!(open.out.contains("uid=0(root)"), "{open:?}");
}

#[test]
fn an_entry_grant_for_people_who_come_from_somewhere() {
    let world = World::new();
    world.config(&people::entry(true, "none"));
    world.grant("--user alice --service sshd --service login --for 1h --source 10.8.0.0/16");
    let open = ssh(&world, "alice", KEY, "-b 10.8.0.7 10.8.0.7", "unasked");
    assert!(is_in(&open, "alice"), "{open:?}");
    let shut = ssh(&world, "alice", KEY, "-b 192.0.2.7 10.8.0.7", "unasked");
    assert!(!is_in(&shut, "alice"), "{shut:?}");
    // The console has no address, and unknown does not match.
    let console = login(&world, "alice", "unasked");
    assert!(!console.contains(INSIDE), "{console}");
}
