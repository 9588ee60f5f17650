//! One-time codes and their proofs: each code opens one thing once, and a proof opens nothing but
//! what it was made for. Every code here comes from `oathtool`.

use std::time::{Duration, Instant};

use jit_tests::{Ended, Factor, Pty, World};

use crate::people::{entry, is_in, ssh};
use crate::steps::{
    NO_GRANT, SUDOS, at, config, floor, passwords_asked, shell, times, without_password,
    world_without_bobs_password,
};

const USED: &str = "that code was used already";

/// `sudo id` that needs no password, with a code; the end of it.
fn sudo_with(world: &World, user: &str, code: &str) -> Ended {
    world.pty(user, "sudo id").answer(&[("ode: ", code)])
}

fn verify(shell: &mut Pty, code: &str) -> Ended {
    at(shell, "jit verify", &[("ode: ", code)])
}

fn is_root(ended: &Ended) -> bool {
    ended.ok() && ended.says("uid=0(root)")
}

// What each grant asks for.

#[test]
fn root_asks_although_a_grant_for_another_target_does_not() {
    let world = world_without_bobs_password();
    world.config(&floor("none"));
    world.enroll("bob");
    let postgres = world.grant("--user bob --service sudo --run-as postgres --mfa none --for 2h");
    world.grant("--user bob --service sudo --run-as root --mfa 15m --for 1h");
    for sudo in SUDOS {
        let silent = world.run_as("bob", &format!("{sudo} -n id"));
        assert!(
            !silent.ok() && !silent.text().contains("uid="),
            "{silent:?}"
        );
        // The target is not known when the question is put, so root's need decides.
        let asked = world
            .pty("bob", &format!("{sudo} id"))
            .answer(&[("ode: ", &world.code("bob"))]);
        assert!(is_root(&asked) && asked.says("ode: "), "{}", asked.text);
    }
    world.must(&format!("jit grant revoke {postgres}"));
    world.must("jit grant list --json");
    // With the one for postgres alone nothing is asked, and root is refused.
    let world = world_without_bobs_password();
    world.config(&floor("none"));
    world.grant("--user bob --service sudo --run-as postgres --mfa none --for 2h");
    assert!(world.run_as("bob", "sudo -n -u postgres id").ok());
    assert!(!world.run_as("bob", "sudo -n id").ok());
}

#[test]
fn a_grant_may_ask_for_more_than_the_floor_and_never_for_less() {
    let world = World::new();
    without_password(&world, "bob");
    without_password(&world, "carol");
    world.config(&floor("15m"));
    world.grant("--user bob --service sudo --mfa none --for 1h");
    let silent = world.run_as("bob", "sudo -n id");
    assert!(
        !silent.ok() && silent.err.contains("no factor enrolled"),
        "{silent:?}"
    );

    world.enroll("carol");
    world.grant("--user carol --service sudo --mfa always --for 1h");
    let mut shell = shell(&world, "carol");
    assert!(verify(&mut shell, &world.code("carol")).ok());
    let silent = at(&mut shell, "sudo -n id", &[]);
    assert!(!silent.ok() && !silent.says("uid="), "{}", silent.text);
}

#[test]
fn a_proof_lasts_as_long_as_the_grant_says_and_no_longer() {
    let world = world_without_bobs_password();
    world.enroll("bob");
    world.config(&floor("2s"));
    world.grant("--user bob --service sudo --for 1h");
    let mut shell = shell(&world, "bob");
    assert!(!at(&mut shell, "sudo -n id", &[]).ok(), "before any proof");
    assert!(verify(&mut shell, &world.code("bob")).ok());
    let proved = Instant::now();
    let young = at(&mut shell, "sudo -n id", &[]);
    assert!(
        is_root(&young) || proved.elapsed() > Duration::from_secs(2),
        "{}",
        young.text
    );
    std::thread::sleep(Duration::from_millis(2200));
    for sudo in SUDOS {
        let old = at(&mut shell, &format!("{sudo} -n id"), &[]);
        assert!(!old.ok() && !old.says("uid="), "{}", old.text);
    }
}

// Where a proof counts.

#[test]
fn verified_in_a_terminal_sudo_opens_there_and_nowhere_else() {
    let world = world_without_bobs_password();
    world.enroll("bob");
    world.grant("--user bob --service sudo --for 1h");
    let (mut here, mut there) = (shell(&world, "bob"), shell(&world, "bob"));
    let done = verify(&mut here, &world.code("bob"));
    assert!(
        done.ok() && done.says("Proved, for this login session."),
        "{}",
        done.text
    );
    for sudo in SUDOS {
        assert!(is_root(&at(&mut here, &format!("{sudo} -n id"), &[])));
        let elsewhere = at(&mut there, &format!("{sudo} -n id"), &[]);
        assert!(
            !elsewhere.ok() && !elsewhere.says("uid="),
            "{}",
            elsewhere.text
        );
        let nowhere = world.run_as("bob", &format!("{sudo} -n id"));
        assert!(!nowhere.ok(), "without a terminal: {nowhere:?}");
        // A session of its own on the same terminal is another one, as is none at all.
        let detached = at(&mut here, &format!("setsid -w {sudo} -n id"), &[]);
        assert!(
            !detached.ok() && !detached.says("uid="),
            "{}",
            detached.text
        );
    }
}

#[test]
fn a_proof_dies_with_the_shell_that_leads_its_session() {
    let world = world_without_bobs_password();
    world.enroll("bob");
    world.grant("--user bob --service sudo --for 1h");
    // The leader ends; a process of its session stays behind and elevates.
    world.must("install -d -o bob /home/bob/out");
    let mut shell = shell(&world, "bob");
    assert!(verify(&mut shell, &world.code("bob")).ok());
    let late = "(trap '' HUP; sudo -n id >out/before 2>&1; while kill -0 $$ 2>/dev/null; do \
                sleep 0.05; done; sudo -n id >out/after 2>&1; echo >out/done) & sleep 0.5; exit";
    shell.send(late);
    world.wait_for("the orphan", || {
        world.root("test -e /home/bob/out/done").ok()
    });
    assert!(world.read("/home/bob/out/before").contains("uid=0(root)"));
    let after = world.read("/home/bob/out/after");
    assert!(!after.contains("uid="), "{after}");
}

#[test]
fn outside_a_login_session_verify_says_so() {
    let world = World::new();
    world.enroll("bob");
    let nowhere = world.run_as("bob", "jit verify");
    assert_eq!(nowhere.code, 1, "{nowhere:?}");
    assert!(nowhere.err.contains("login session"), "{nowhere:?}");
}

#[test]
fn one_ssh_logins_proof_is_none_for_another() {
    let world = world_without_bobs_password();
    world.enroll("bob");
    world.grant("--user bob --service sudo --for 1h");
    let mut logins: Vec<Pty> = (0..2)
        .map(|_| {
            let mut login = world.pty("bob", "ssh -tt localhost \"PS1=':> ' bash --norc\"");
            login.expect(":> ");
            login
        })
        .collect();
    assert!(verify(&mut logins[0], &world.code("bob")).ok());
    assert!(is_root(&at(&mut logins[0], "sudo -n id", &[])));
    let other = at(&mut logins[1], "sudo -n id", &[]);
    assert!(!other.ok() && !other.says("uid="), "{}", other.text);
    assert!(other.says("jit verify"), "{}", other.text);
    // Nor does a third one inherit the number of a terminal that was closed.
    logins.remove(0).send("exit");
    world.logged(&["event=session", "outcome=close", "service=sshd"]);
    let mut third = world.pty("bob", "ssh -tt localhost \"PS1=':> ' bash --norc\"");
    third.expect(":> ");
    let reborn = at(&mut third, "sudo -n id", &[]);
    assert!(!reborn.ok() && !reborn.says("uid="), "{}", reborn.text);
}

/// Between the account phase and the session other modules have their say, and take their time.
#[test]
fn a_proof_that_grows_old_before_the_session_opens_opens_none() {
    let world = world_without_bobs_password();
    world.enroll("bob");
    world.config(&floor("none"));
    world.grant("--user bob --service sudo --mfa 20s --for 1h");
    world.must(
        "sed -i '/account .*pam_jit/a account optional pam_exec.so /bin/sleep 21' /etc/pam.d/sudo",
    );
    let mut shell = shell(&world, "bob");
    assert!(verify(&mut shell, &world.code("bob")).ok());
    let late = at(&mut shell, "sudo -n id", &[]);
    assert!(!late.ok() && !late.says("uid="), "{}", late.text);
    world.logged(&["outcome=allow", "phase=account", "user=bob", "mfa=session"]);
    world.logged(&["reason=proof_expired", "phase=session", "user=bob"]);
    world.must("sed -i /pam_exec/d /etc/pam.d/sudo");
    assert!(is_root(&at(
        &mut shell,
        "sudo id",
        &[("ode: ", &world.code("bob"))]
    )));
}

#[test]
fn the_code_that_let_somebody_in_is_no_proof_at_elevation() {
    let world = world_without_bobs_password();
    world.enroll("bob");
    world.config(
        &(config("enforce", "15m", "")
            + "[service.sshd]\nmode = \"enforce\"\ngrant = false\nmfa = \"always\"\n"),
    );
    world.grant("--user bob --service sudo --for 1h");
    let code = world.code("bob");
    let mut login = world.pty(
        "bob",
        "ssh -tt -o PreferredAuthentications=keyboard-interactive localhost \"PS1=':> ' bash --norc\"",
    );
    login.expect("assword: ");
    login.send("bob-password");
    login.expect("ode: ");
    login.send(&code);
    login.expect(":> ");
    let silent = at(&mut login, "sudo -n id", &[]);
    assert!(!silent.ok() && !silent.says("uid="), "{}", silent.text);
    let again = at(&mut login, "sudo id", &[("ode: ", &code)]);
    assert!(!again.ok() && again.says(USED), "{}", again.text);
    let fresh = at(&mut login, "sudo id", &[("ode: ", &world.code("bob"))]);
    assert!(is_root(&fresh), "{}", fresh.text);
}

/// Talks to the agent itself: proves, waits, and becomes sudo, all in one process, so that pid,
/// start time, session and terminal are the same when PAM asks.
const PROVE_THEN_SUDO: &str = r#"
use strict; use IO::Socket::UNIX;
my ($code, @then) = @ARGV;
sub talk { my ($path, $ask) = @_;
  my $s = IO::Socket::UNIX->new(Peer => $path) or return "no: $!";
  print $s pack("N", length $ask) . $ask; $s->flush;
  my $all = "";
  while (read($s, my $n, 4) == 4) {
    read($s, my $said, unpack("N", $n)); $all .= $said;
    if ($said =~ /"prompt":\{"id":(\d+)/) {
      my $answer = qq({"answer":{"id":$1,"text":"$code"}});
      print $s pack("N", length $answer) . $answer; $s->flush;
    }
  }
  return $all;
}
my $pam = '"phase":"auth","txn":"00000000000000000000000000000000","service":"sudo","flags":0,' .
  '"ruid":2002,"euid":2002,"user":"bob","ruser":"bob","tty":null,"rhost":null,"interactive":true,' .
  '"observe":false,"fixed":null,"cmdline":null';
print "root's socket: ", talk("/run/pam_jit/agent.sock", qq({"v":1,"op":"verify"})), "\n";
print "as the module: ", talk("/run/pam_jit/user.sock", qq({"v":1,"op":"pam",$pam})), "\n";
print "verified: ", talk("/run/pam_jit/user.sock", qq({"v":1,"op":"verify"})), "\n";
sleep 1;
exec @then;
"#;

#[test]
fn a_process_that_proves_by_itself_and_becomes_sudo_has_no_code_in_its_transaction() {
    for sudo in SUDOS {
        let world = world_without_bobs_password();
        world.enroll("bob");
        world.write("/opt/world/prove", PROVE_THEN_SUDO);
        let run = |code: &str| {
            let command = format!("exec perl /opt/world/prove {code} {sudo} -n id");
            world.pty("bob", &command).end()
        };
        world.grant("--user bob --service sudo --mfa always --for 1h --id strict");
        let ended = run(&world.code("bob"));
        assert!(
            ended.says("{\"done\":\"Proved, "),
            "it did prove: {}",
            ended.text
        );
        assert!(
            ended.says("root's socket: no: Permission denied"),
            "{}",
            ended.text
        );
        assert!(ended.says("as the module: {\"refused\""), "{}", ended.text);
        assert!(!ended.ok() && !ended.says("uid=0"), "{}", ended.text);
        // An age is content with a proof of this login session: that is what it is for.
        world.must("jit grant revoke strict");
        world.grant("--user bob --service sudo --mfa 15m --for 1h");
        let ended = run(&world.code("bob"));
        assert!(is_root(&ended), "{}", ended.text);
    }
}

#[test]
fn always_means_a_code_for_each_elevation() {
    let world = World::new();
    for (user, sudo) in [("bob", SUDOS[0]), ("carol", SUDOS[1])] {
        without_password(&world, user);
        world.enroll(user);
        world.grant(&format!(
            "--user {user} --service sudo --mfa always --for 1h"
        ));
        let mut shell = shell(&world, user);
        for _ in 0..2 {
            let code = world.code(user);
            let ended = at(&mut shell, &format!("{sudo} id"), &[("ode: ", &code)]);
            assert!(is_root(&ended), "{}", ended.text);
            let silent = at(&mut shell, &format!("{sudo} -n id"), &[]);
            assert!(!silent.ok() && !silent.says("uid="), "{}", silent.text);
        }
    }
}

// Each code once.

#[test]
fn the_same_code_opens_ssh_and_then_not_sudo() {
    let world = world_without_bobs_password();
    world.enroll("bob");
    world.config(&entry(false, "always"));
    world.grant("--user bob --service sudo --mfa always --for 1h");
    let code = world.code("bob");
    let ended = ssh(&world, "bob", "keyboard-interactive", "localhost", &code);
    assert!(is_in(&ended, "bob"), "{}", ended.text);
    let ended = sudo_with(&world, "bob", &code);
    assert!(!is_root(&ended) && ended.says(USED), "{}", ended.text);
    // And an older one is as dead as that.
    let code = world.code("bob");
    assert!(is_root(&sudo_with(&world, "bob", &code)));
    let ended = ssh(&world, "bob", "keyboard-interactive", "localhost", &code);
    assert!(!is_in(&ended, "bob"), "{}", ended.text);
}

#[test]
fn of_many_sudos_with_one_code_exactly_one_wins() {
    // bob is asked in the account phase, alice in the auth phase.
    let world = world_without_bobs_password();
    for user in ["alice", "bob"] {
        world.enroll(user);
        world.grant(&format!("--user {user} --service sudo --for 1h"));
        // Of sudo-rs one only: it lets nobody else be asked meanwhile.
        let mut racers: Vec<Pty> = [SUDOS[0], SUDOS[0], SUDOS[0], SUDOS[1]]
            .into_iter()
            .map(|sudo| {
                let mut tty = world.pty(user, &format!("{sudo} id"));
                if user == "alice" {
                    tty.expect("assword");
                    tty.send("alice-password");
                }
                tty.expect("ode: ");
                tty
            })
            .collect();
        let code = world.code(user);
        std::thread::scope(|scope| {
            for tty in &mut racers {
                scope.spawn(|| tty.send(&code));
            }
        });
        let mut won = 0;
        for mut tty in racers {
            let first = tty.first_of(&["uid=0(root)", USED]);
            assert!(first.is_some(), "{user}: {}", tty.shown());
            won += u32::from(first == Some(0));
        }
        assert_eq!(won, 1, "{user}");
    }
}

#[test]
fn a_code_is_spent_although_the_agent_starts_anew() {
    let world = world_without_bobs_password();
    world.enroll("bob");
    world.grant("--user bob --service sudo --for 1h");
    let code = world.code("bob");
    assert!(is_root(&sudo_with(&world, "bob", &code)));
    for how in ["restart", "kill9"] {
        world.must(&format!(
            "agentctl {how}; agentctl start 2>/dev/null || true"
        ));
        let ended = sudo_with(&world, "bob", &code);
        assert!(
            !is_root(&ended) && ended.says(USED),
            "{how}: {}",
            ended.text
        );
    }
}

#[test]
fn a_recovery_code_works_once() {
    let world = world_without_bobs_password();
    let codes = world.enroll("bob").recovery;
    assert_eq!(codes.len(), 10);
    world.grant("--user bob --service sudo --for 1h");
    assert!(is_root(&sudo_with(&world, "bob", &codes[3])));
    let again = sudo_with(&world, "bob", &codes[3]);
    assert!(
        !is_root(&again) && again.says("that recovery code was used already"),
        "{}",
        again.text
    );
    // As people type them.
    let sloppy = codes[7].to_lowercase();
    assert!(is_root(&sudo_with(&world, "bob", &sloppy)));
    let left = world.root("jit mfa status bob --json").json();
    assert_eq!(left["recovery_codes_left"], 8, "{left}");
    world.logged(&["event=mfa", "method=recovery"]);
    let log = world.syslog();
    assert!(
        codes.iter().all(|code| !log.contains(code.as_str())),
        "a code in the log"
    );
}

// Wrong ones.

#[test]
fn a_wrong_password_after_a_right_code_spends_the_code_once() {
    // Where an administrator put our line before the password's.
    let world = World::new();
    for (user, sudo) in [("alice", SUDOS[0]), ("carol", SUDOS[1])] {
        world.enroll(user);
        world.grant(&format!(
            "--user {user} --service sudo --mfa always --for 1h"
        ));
        world.must(
            "sed -i -e '/auth .*pam_jit/d' -e '/include common-auth/i auth required pam_jit.so' /etc/pam.d/sudo",
        );
        let mut tty = world.pty(user, &format!("{sudo} id"));
        tty.expect("ode: ");
        tty.send(&world.code(user));
        tty.expect("assword");
        tty.send("not the password");
        // The factor passed in this transaction; only the password is asked for again.
        assert_eq!(
            tty.first_of(&["assword: ", "assword for ", "ode: "])
                .map(|n| n < 2),
            Some(true)
        );
        tty.send(&format!("{user}-password"));
        let ended = tty.end();
        assert!(is_root(&ended), "{}", ended.text);
        assert_eq!(times(&ended.text, "ode: "), 1, "{}", ended.text);
        assert!(passwords_asked(&ended.text) >= 2, "{}", ended.text);
    }
}

#[test]
fn a_wrong_password_costs_no_code() {
    let world = World::new();
    world.enroll("alice");
    world.grant("--user alice --service sudo --for 1h");
    let mut tty = world.pty("alice", "sudo id");
    tty.expect("assword");
    tty.send("not the password");
    assert_eq!(
        tty.first_of(&["assword for", "ode: "]),
        Some(0),
        "{}",
        tty.shown()
    );
    tty.send("alice-password");
    tty.expect("ode: ");
    tty.send(&world.code("alice"));
    let ended = tty.end();
    assert!(is_root(&ended), "{}", ended.text);
}

#[test]
fn a_wrong_password_with_a_right_code_never_opens() {
    let world = World::new();
    world.enroll("alice");
    world.grant("--user alice --service sudo --for 1h");
    world.must(
        "sed -i -e '/auth .*pam_jit/d' -e '/include common-auth/i auth required pam_jit.so' /etc/pam.d/sudo",
    );
    let ended = world
        .pty("alice", "sudo id")
        .answer(&[("ode: ", &world.code("alice")), ("assword", "wrong")]);
    assert!(!ended.ok() && !ended.says("uid="), "{}", ended.text);
    // The unused proof of that transaction is good for no other.
    let silent = world.run_as("alice", "sudo -n id");
    assert!(!silent.ok(), "{silent:?}");
}

#[test]
fn five_wrong_codes_are_free_and_the_next_locks() {
    let world = world_without_bobs_password();
    let factor = world.enroll("bob");
    world.grant("--user bob --service sudo --for 1h");
    let mut shell = shell(&world, "bob");
    for nr in 1..=6 {
        // Across the ways in.
        let command = if nr % 2 == 0 { "jit verify" } else { "sudo id" };
        let ended = at(&mut shell, command, &[("ode: ", &factor.wrong_code())]);
        assert!(
            !ended.ok() && ended.says("wrong code"),
            "{nr}: {}",
            ended.text
        );
        assert_eq!(
            ended.says("the next is looked at in 30 s"),
            nr == 6,
            "{nr}: {}",
            ended.text
        );
    }
    for sudo in SUDOS {
        // A right code is not looked at, so it is not spent either; and it is not asked for.
        let locked = at(&mut shell, &format!("{sudo} id"), &[("ode: ", "000000")]);
        assert!(
            !locked.ok() && locked.says("too many wrong codes; try again in "),
            "{}",
            locked.text
        );
        assert!(!locked.says("ode: "), "{}", locked.text);
    }
    world.logged(&["event=mfa", "outcome=locked", "user=bob"]);
    world.must("agentctl kill9; agentctl start");
    let ended = verify(&mut shell, &world.code("bob"));
    assert!(
        !ended.ok() && ended.says("too many wrong codes"),
        "{}",
        ended.text
    );
    let status = at(&mut shell, "jit status", &[]);
    assert!(status.says("locked for "), "{}", status.text);
    // Root can mend it, and others were never concerned.
    without_password(&world, "carol");
    world.enroll("carol");
    world.grant("--user carol --service sudo --for 1h");
    assert!(is_root(&sudo_with(&world, "carol", &world.code("carol"))));
    world.must("jit mfa reset bob");
    world.enroll("bob");
    assert!(is_root(&sudo_with(&world, "bob", &world.code("bob"))));
}

#[test]
fn what_cannot_be_a_code_costs_nothing() {
    let world = world_without_bobs_password();
    world.enroll("bob");
    world.grant("--user bob --service sudo --for 1h");
    let mut shell = shell(&world, "bob");
    for junk in [
        "bob-password",
        "",
        "12345",
        "1234567",
        "yes",
        "１２３４５６",
        "'; id #",
    ] {
        let ended = at(&mut shell, "sudo id", &[("ode: ", junk)]);
        assert!(!ended.ok() && !ended.says("uid="), "{junk}: {}", ended.text);
        assert!(!ended.says("wrong code"), "{junk}: {}", ended.text);
    }
    assert!(is_root(&at(
        &mut shell,
        "sudo id",
        &[("ode: ", &world.code("bob"))]
    )));
    assert!(!world.syslog().contains("bob-password"));
}

#[test]
fn an_interrupted_prompt_is_a_no() {
    let world = world_without_bobs_password();
    world.enroll("bob");
    world.grant("--user bob --service sudo --for 1h");
    for sudo in SUDOS {
        for key in [b"\x03", b"\x04"] {
            let mut tty = world.pty("bob", &format!("{sudo} id"));
            tty.expect("ode: ");
            // sudo forgets a signal that comes between its prompt and its read(2).
            std::thread::sleep(Duration::from_millis(500));
            tty.keys(key);
            let ended = tty.end();
            assert!(!ended.ok() && !ended.says("uid="), "{sudo}: {}", ended.text);
        }
    }
}

#[test]
fn a_code_typed_after_the_grant_ran_out_opens_nothing() {
    let world = world_without_bobs_password();
    // alice is asked in the auth phase, bob in the account phase, carol by su.
    let mut waiting = Vec::new();
    for user in ["alice", "bob", "carol"] {
        world.enroll(user);
    }
    for (user, command) in [
        ("alice", "sudo id"),
        ("bob", "sudo id"),
        ("bob", "/opt/sudo-rs/bin/sudo id"),
        ("carol", "su -c id"),
    ] {
        let service = if user == "carol" { "su" } else { "sudo" };
        let id = world.grant(&format!("--user {user} --service {service} --for 4s"));
        let mut tty = world.pty(user, command);
        if tty.first_of(&["assword", "ode: "]) == Some(0) {
            tty.send(if user == "carol" {
                "root-password"
            } else {
                "alice-password"
            });
            tty.expect("ode: ");
        }
        waiting.push((user, command, tty, id));
    }
    std::thread::sleep(Duration::from_millis(5100));
    for (user, command, mut tty, id) in waiting {
        tty.send(&world.code(user));
        let ended = tty.end();
        assert!(
            !ended.ok() && !ended.says("uid="),
            "{command}: {}",
            ended.text
        );
        assert!(
            ended.says(NO_GRANT) && ended.says("expired"),
            "{command} {id}: {}",
            ended.text
        );
    }
    let denied = world.logged_times(4, &["event=decision", "outcome=deny", "reason=expired"]);
    assert_eq!(denied.len(), 4, "{denied:#?}");
}

#[test]
fn a_code_typed_too_late_opens_nothing_where_no_session_decides_again() {
    // sudo-rs edits without a session, and -l and -v have none: the account phase is the last word.
    let world = world_without_bobs_password();
    world.must("umask 077; echo the-secret-of-root >/etc/secret");
    let recovery = world.enroll("bob").recovery;
    for (nr, (command, mark)) in [
        (
            "EDITOR=cat /opt/sudo-rs/bin/sudo -e /etc/secret",
            "the-secret",
        ),
        ("EDITOR=cat sudo -e /etc/secret", "the-secret"),
        ("/opt/sudo-rs/bin/sudo -l", "may run the following"),
        ("sudo -l", "may run the following"),
        ("sudo -v && echo val''id", "valid"),
    ]
    .into_iter()
    .enumerate()
    {
        let id = world.grant("--user bob --service sudo --for 1h");
        let mut tty = world.pty("bob", command);
        tty.expect("ode: ");
        world.must(&format!("jit grant revoke {id}"));
        tty.send(&recovery[nr]);
        let ended = tty.end();
        assert!(
            !ended.ok() && !ended.says(mark),
            "{command}: {}",
            ended.text
        );
        assert!(ended.says(NO_GRANT), "{command}: {}", ended.text);
    }
}

#[test]
fn a_grant_revoked_while_a_code_is_typed_opens_nothing() {
    let world = world_without_bobs_password();
    world.enroll("bob");
    let id = world.grant("--user bob --service sudo --for 1h");
    let mut tty = world.pty("bob", "sudo id");
    tty.expect("ode: ");
    world.must(&format!("jit grant revoke {id}"));
    tty.send(&world.code("bob"));
    let ended = tty.end();
    assert!(!ended.ok() && ended.says(NO_GRANT), "{}", ended.text);
}

// Enrolling and forgetting.

/// Reads the key of a new factor off the screen.
fn key_shown(text: &str) -> Factor {
    let after = text.split("30 seconds):").nth(1).expect(text);
    let line = after.lines().map(str::trim).find(|line| !line.is_empty());
    let secret: String = line.unwrap().split_whitespace().collect();
    let json = serde_json::json!({"secret": secret, "otpauth": "", "recovery_codes": []});
    Factor::from_json(&json.to_string())
}

fn self_enroll(rule: &str) -> String {
    floor("15m") + &format!("[mfa]\nissuer = \"pam_jit\"\nself_enroll = \"{rule}\"\n")
}

#[test]
fn by_default_people_do_not_enrol_themselves() {
    let world = World::new();
    let ended = world.type_at("alice", "jit mfa enroll", "");
    assert_eq!(ended.code, 1, "{}", ended.text);
    assert!(ended.says("ask root"), "{}", ended.text);
    assert!(!ended.says("30 seconds"), "{}", ended.text);
    let other = world.run_as("alice", "jit mfa enroll bob --json");
    assert!(
        !other.ok() && !other.text().contains("otpauth"),
        "{other:?}"
    );
}

#[test]
fn a_first_factor_may_be_ones_own_and_it_stays_the_first() {
    let world = world_without_bobs_password();
    world.config(&self_enroll("first"));
    world.grant("--user bob --service sudo --for 1h");
    let mut tty = world.pty("bob", "jit mfa enroll");
    tty.expect("app shows now: ");
    let factor = key_shown(&tty.shown());
    assert!(tty.shown().contains('█'), "no QR code: {}", tty.shown());
    // A wrong code does not put it in force.
    tty.send(&factor.wrong_code());
    tty.expect("app shows now: ");
    tty.send(&factor.next_code());
    let ended = tty.end();
    assert!(ended.ok() && ended.says("Recovery codes"), "{}", ended.text);
    world.logged(&["event=mfa", "outcome=enrolled", "user=bob", "by=self_first"]);
    assert!(is_root(&sudo_with(&world, "bob", &factor.next_code())));

    // After a reset by root it would not be the first.
    world.must("jit mfa reset bob");
    let again = world.pty("bob", "jit mfa enroll").end();
    assert!(!again.ok() && again.says("ask root"), "{}", again.text);
}

#[test]
fn an_enrolment_that_was_not_confirmed_is_none() {
    let world = world_without_bobs_password();
    world.config(&self_enroll("first"));
    world.grant("--user bob --service sudo --for 1h");
    let mut tty = world.pty("bob", "jit mfa enroll");
    tty.expect("app shows now: ");
    let factor = key_shown(&tty.shown());
    let ended = sudo_with(&world, "bob", &factor.next_code());
    assert!(
        !is_root(&ended) && ended.says("no factor enrolled"),
        "{}",
        ended.text
    );
    drop(tty);
    let mut tty = world.pty("bob", "jit mfa enroll");
    for _ in 0..3 {
        tty.expect("app shows now: ");
        tty.send("000000");
    }
    let ended = tty.end();
    assert!(
        !ended.ok() && ended.says("Nothing has changed"),
        "{}",
        ended.text
    );
    assert!(!ended.says("Recovery codes"), "{}", ended.text);
}

#[test]
fn over_a_live_factor_nobody_enrols_without_it() {
    let world = world_without_bobs_password();
    world.config(&self_enroll("first"));
    let old = world.enroll("bob");
    world.grant("--user bob --service sudo --for 1h");
    for command in ["jit mfa enroll", "jit mfa reset"] {
        for answer in [old.wrong_code(), String::new(), "bob-password".to_owned()] {
            let ended = world
                .pty("bob", command)
                .answer(&[("you have now: ", &answer), ("ode: ", &answer)]);
            assert!(!ended.ok(), "{command} {answer}: {}", ended.text);
            assert!(
                !ended.says("30 seconds"),
                "{command} {answer}: {}",
                ended.text
            );
        }
        let silent = world.run_as("bob", command);
        assert!(!silent.ok(), "{silent:?}");
    }
    // The old one is still the one.
    assert!(is_root(&sudo_with(&world, "bob", &world.code("bob"))));

    // With it, it is replaced, by a code of the new one and not before.
    let mut tty = world.pty("bob", "jit mfa enroll");
    tty.expect("you have now: ");
    tty.send(&world.code("bob"));
    tty.expect("app shows now: ");
    let new = key_shown(&tty.shown());
    tty.send(&new.next_code());
    let ended = tty.end();
    assert!(ended.ok(), "{}", ended.text);
    let ended = sudo_with(&world, "bob", &world.code("bob"));
    assert!(
        !is_root(&ended) && ended.says("wrong code"),
        "{}",
        ended.text
    );
    // Its code of the step that the old one spent is as spent.
    let _ = new.next_code();
    assert!(is_root(&sudo_with(&world, "bob", &new.next_code())));
}

#[test]
fn a_wrong_code_at_enrolment_counts_like_any_other() {
    let world = World::new();
    world.config(&self_enroll("first"));
    let old = world.enroll("bob");
    for nr in 1..=7 {
        let ended = world
            .pty("bob", "jit mfa enroll")
            .answer(&[("you have now: ", &old.wrong_code())]);
        assert!(!ended.ok(), "{}", ended.text);
        assert_eq!(
            ended.says("too many wrong codes"),
            nr == 7,
            "{nr}: {}",
            ended.text
        );
    }
}

#[test]
fn a_reset_takes_the_proofs_with_it() {
    let world = world_without_bobs_password();
    world.enroll("bob");
    world.grant("--user bob --service sudo --for 1h");
    let mut shell = shell(&world, "bob");
    assert!(verify(&mut shell, &world.code("bob")).ok());
    assert!(is_root(&at(&mut shell, "sudo -n id", &[])));
    world.must("jit mfa reset bob");
    let ended = at(&mut shell, "sudo id", &[]);
    assert!(
        !ended.ok() && ended.says("no factor enrolled"),
        "{}",
        ended.text
    );
    // Steps stay spent whatever the secret, so a recovery code saves waiting for the next.
    let code = world.enroll("bob").recovery.remove(0);
    let ended = at(&mut shell, "sudo -n id", &[]);
    assert!(!ended.ok() && !ended.says("uid="), "{}", ended.text);
    assert!(is_root(&at(&mut shell, "sudo id", &[("ode: ", &code)])));
    // A new enrolment over it, too.
    assert!(is_root(&at(&mut shell, "sudo -n id", &[])));
    world.enroll("bob");
    assert!(!at(&mut shell, "sudo -n id", &[]).ok());
}

#[test]
fn ones_own_reset_takes_the_factor() {
    let world = world_without_bobs_password();
    world.enroll("bob");
    let ended = world
        .pty("bob", "jit mfa reset")
        .answer(&[("you have now: ", &world.code("bob"))]);
    assert!(ended.ok(), "{}", ended.text);
    let state = world.root("jit mfa status bob --json").json();
    assert_eq!(state["state"], "none", "{state}");
    let others = world.run_as("bob", "jit mfa reset alice");
    assert!(!others.ok(), "{others:?}");
}

#[test]
fn a_factor_belongs_to_its_name_too() {
    // The uid was given to somebody else: what the first one enrolled is not theirs.
    let world = world_without_bobs_password();
    world.enroll("bob");
    world.must("sed -i 's/^bob:/rob:/' /etc/passwd /etc/shadow /etc/group");
    without_password(&world, "rob");
    world.grant("--user rob --service sudo --for 1h");
    world.must("agentctl restart");
    let ended = sudo_with(&world, "rob", &world.code("bob"));
    assert!(
        !is_root(&ended) && ended.says("belongs to another name"),
        "{}",
        ended.text
    );
}
