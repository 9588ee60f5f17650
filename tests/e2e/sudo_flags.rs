//! Every way of calling sudo, under sudo and sudo-rs: none goes round the gate, and each works once
//! it is open.

use jit_tests::World;

use crate::steps::{
    NO_GRANT, SUDOS, at, floor, mark, nobody_got_in, refused_once, shell, times, without_password,
    world_without_bobs_password,
};

/// Options, and what they show of having worked. `-l` and `-v` run nothing.
const CALLS: [(&str, &str); 14] = [
    ("id", "uid=0(root)"),
    ("-i id", "uid=0(root)"),
    ("-s id", "uid=0(root)"),
    ("-u root id", "uid=0(root)"),
    ("-u postgres id", "uid=890(postgres)"),
    ("-u postgres -i id", "uid=890(postgres)"),
    ("-u postgres -s id", "uid=890(postgres)"),
    ("-g disk id", "(disk)"),
    ("-u postgres -g disk id", "(disk)"),
    ("-u '#890' id", "uid=890(postgres)"),
    ("-k id", "uid=0(root)"),
    ("-v", ""),
    ("-l", "may run the following"),
    ("-l id", "/usr/bin/id"),
];

#[test]
fn no_option_gets_anything_without_a_grant() {
    let world = world_without_bobs_password();
    for sudo in SUDOS {
        for (nr, (call, shown)) in CALLS.into_iter().enumerate() {
            let call = call.replace(" id", &format!(" touch {}", mark(nr)));
            for command in [format!("{sudo} {call}"), format!("{sudo} -n {call}")] {
                let ended = world.pty("bob", &command).end();
                assert!(!ended.ok(), "{command}: {}", ended.text);
                assert!(ended.says(NO_GRANT), "{command}: {}", ended.text);
                assert_eq!(
                    times(&ended.text, "pam_jit: "),
                    1,
                    "{command}: {}",
                    ended.text
                );
                assert!(
                    shown.is_empty() || !ended.says(shown),
                    "{command}: {}",
                    ended.text
                );
            }
        }
    }
    nobody_got_in(&world);
}

#[test]
fn every_option_works_with_a_grant_for_every_target() {
    let world = world_without_bobs_password();
    world.config(&floor("none"));
    world.grant("--user bob --service sudo --run-as '*' --for 1h");
    for sudo in SUDOS {
        for (call, shown) in CALLS {
            let ended = world.pty("bob", &format!("{sudo} -n {call}")).end();
            assert!(
                ended.ok() && ended.says(shown),
                "{sudo} {call}: {}",
                ended.text
            );
            assert_eq!(times(&ended.text, "pam_jit: "), 0, "{call}: {}", ended.text);
        }
    }
}

#[test]
fn a_chosen_group_takes_a_grant_for_root() {
    let world = world_without_bobs_password();
    world.config(&floor("none"));
    world.grant("--user bob --service sudo --run-as postgres --run-as bob --for 1h");
    for sudo in SUDOS {
        let plain = world.run_as("bob", &format!("{sudo} -n -u postgres id"));
        assert!(plain.ok(), "{plain:?}");
        for call in [
            "-g disk id",
            "-gdisk id",
            "-u postgres -g disk id",
            "-upostgres -gdisk id",
            "-ngdisk id",
            "-u postgres -g '#6' id",
            "--group disk id",
            "--group=disk id",
            "-u postgres --group=disk id",
            "A=b -g disk id",
            "-u postgres -s -g disk id",
        ] {
            let ended = world.run_as("bob", &format!("{sudo} -n {call}"));
            assert!(
                !ended.ok() && !ended.text().contains("disk)"),
                "{sudo} {call}: {ended:?}"
            );
        }
    }
    world.grant("--user bob --service sudo --run-as root --for 1h");
    for sudo in SUDOS {
        let open = world.run_as("bob", &format!("{sudo} -n -u postgres -g disk id"));
        assert!(open.ok() && open.out.contains("(disk)"), "{open:?}");
    }
}

#[test]
fn without_a_terminal_it_fails_at_once_and_says_what_to_do() {
    let world = world_without_bobs_password();
    world.enroll("bob");
    world.grant("--user bob --service sudo --for 1h");
    let begun = std::time::Instant::now();
    let ended = world.run_as("bob", "sudo -n id");
    assert!(!ended.ok() && !ended.text().contains("uid="), "{ended:?}");
    assert!(ended.err.contains("jit verify"), "{ended:?}");
    let ended = world.run_as("bob", "/opt/sudo-rs/bin/sudo -n id");
    assert!(!ended.ok() && !ended.text().contains("uid="), "{ended:?}");
    assert!(begun.elapsed().as_secs() < 10, "it waited for somebody");
}

#[test]
fn dash_n_on_a_terminal_never_asks() {
    let world = world_without_bobs_password();
    world.enroll("bob");
    world.grant("--user bob --service sudo --for 1h");
    for sudo in SUDOS {
        let ended = world.pty("bob", &format!("{sudo} -n id")).end();
        assert!(!ended.ok() && !ended.says("uid="), "{sudo}: {}", ended.text);
        assert!(!ended.says("ode: "), "{sudo} asked: {}", ended.text);
    }
}

#[test]
fn dash_s_capital_reads_the_code_from_standard_input() {
    let world = World::new();
    for (user, sudo) in [("alice", SUDOS[0]), ("carol", SUDOS[1])] {
        world.enroll(user);
        world.grant(&format!("--user {user} --service sudo --for 1h"));
        let lines = format!("{user}-password\n{}\n", world.code(user));
        let ended = world.feed(user, &format!("{sudo} -S id"), lines.as_bytes());
        assert!(
            ended.ok() && ended.out.contains("uid=0(root)"),
            "{sudo}: {ended:?}"
        );
        // Without a code, and with one too many tries.
        let lines = format!("{user}-password\n");
        let ended = world.feed(user, &format!("{sudo} -S -k id"), lines.as_bytes());
        assert!(!ended.ok() && ended.out.is_empty(), "{sudo}: {ended:?}");
    }
}

#[test]
fn dash_a_capital_asks_with_the_askpass_program() {
    let world = World::new();
    for (user, sudo) in [("alice", SUDOS[0]), ("carol", SUDOS[1])] {
        world.enroll(user);
        world.grant(&format!("--user {user} --service sudo --for 1h"));
        let home = format!("/home/{user}");
        world.write(
            &format!("{home}/askpass"),
            &format!(
                "#!/bin/sh\necho \"$1\" >>{home}/asked\n\
                 case \"$1\" in *ode:*) cat {home}/code ;; *) echo {user}-password ;; esac\n"
            ),
        );
        world.write(&format!("{home}/code"), &format!("{}\n", world.code(user)));
        world.must(&format!("chmod 755 {home}/askpass"));
        let command = format!("SUDO_ASKPASS={home}/askpass {sudo} -A id");
        let ended = world.run_as(user, &command);
        assert!(
            ended.ok() && ended.out.contains("uid=0(root)"),
            "{sudo}: {ended:?}"
        );
        let asked = world.read(&format!("{home}/asked"));
        assert!(asked.contains("One-time code: "), "{asked}");
    }
}

#[test]
fn dash_p_puts_the_persons_words_in_place_of_the_prompt() {
    let world = World::new();
    world.enroll("alice");
    world.grant("--user alice --service sudo --for 1h");
    let mut sudo = world.pty("alice", "sudo -p 'say friend: ' id");
    sudo.expect("say friend: ");
    sudo.send("alice-password");
    sudo.expect("say friend: ");
    sudo.send(&world.code("alice"));
    let ended = sudo.end();
    assert!(ended.ok() && ended.says("uid=0(root)"), "{}", ended.text);
    assert!(!ended.says("ode: "), "{}", ended.text);
}

#[test]
fn dash_v_makes_a_ticket_and_no_way_round_the_code() {
    for sudo in SUDOS {
        let world = World::new();
        world.enroll("alice");
        world.grant("--user alice --service sudo --mfa always --for 1h");
        let mut shell = shell(&world, "alice");
        let answers = [
            ("assword", "alice-password"),
            ("ode: ", &world.code("alice")),
        ];
        let valid = at(&mut shell, &format!("{sudo} -v"), &answers);
        assert!(valid.ok(), "{}", valid.text);
        // The ticket spares the password; the code that -v took is used up.
        let none = at(&mut shell, &format!("{sudo} -n id"), &[]);
        assert!(!none.ok() && !none.says("uid="), "{}", none.text);
        let asked = at(
            &mut shell,
            &format!("{sudo} id"),
            &[("ode: ", &world.code("alice"))],
        );
        assert!(asked.ok() && asked.says("uid=0(root)"), "{}", asked.text);
        assert!(!asked.says("assword"), "{}", asked.text);
    }
}

#[test]
fn a_ticket_is_no_proof() {
    // The password is cached, the factor's proof is of another terminal.
    let world = World::new();
    without_password(&world, "bob");
    world.enroll("bob");
    world.grant("--user bob --service sudo --for 1h");
    let mut first = shell(&world, "bob");
    let ended = at(&mut first, "sudo id", &[("ode: ", &world.code("bob"))]);
    assert!(ended.ok(), "{}", ended.text);
    assert!(at(&mut first, "sudo -n id", &[]).says("uid=0(root)"));
    let mut second = shell(&world, "bob");
    let other = at(&mut second, "sudo -n id", &[]);
    assert!(!other.ok() && !other.says("uid="), "{}", other.text);
    assert!(other.says("jit verify"), "{}", other.text);
}

#[test]
fn a_wrong_code_costs_a_try_and_a_right_one_then_opens() {
    let world = World::new();
    for (user, sudo) in [("alice", SUDOS[0]), ("carol", SUDOS[1])] {
        let factor = world.enroll(user);
        world.grant(&format!("--user {user} --service sudo --for 1h"));
        let mut tty = world.pty(user, &format!("{sudo} id"));
        tty.expect("assword");
        tty.send(&format!("{user}-password"));
        tty.expect("ode: ");
        tty.send(&factor.wrong_code());
        tty.expect("pam_jit: wrong code");
        tty.expect("assword");
        tty.send(&format!("{user}-password"));
        tty.expect("ode: ");
        tty.send(&world.code(user));
        let ended = tty.end();
        assert!(ended.ok() && ended.says("uid=0(root)"), "{}", ended.text);
    }
}

#[test]
fn an_unenrolled_person_is_told_how_to_enrol_and_not_asked() {
    let world = World::new();
    world.grant("--user alice --service sudo --for 1h");
    let ended = world.type_at("alice", "sudo id", "000000");
    assert!(!ended.ok() && !ended.says("uid="), "{}", ended.text);
    assert!(
        ended.says("no factor enrolled: jit mfa enroll"),
        "{}",
        ended.text
    );
    assert!(!ended.says("ode: "), "{}", ended.text);
}

#[test]
fn the_command_line_is_read_and_not_believed_too_much() {
    // What follows the command is the command's own.
    let world = world_without_bobs_password();
    world.config(&floor("none"));
    world.grant("--user bob --service sudo --run-as postgres --for 1h");
    for sudo in SUDOS {
        let ended = world.run_as("bob", &format!("{sudo} -n -u postgres id -g"));
        assert!(ended.ok() && ended.out == "890\n", "{ended:?}");
        let ended = world.run_as("bob", &format!("{sudo} -n -u postgres echo --edit -e"));
        assert!(ended.ok(), "{ended:?}");
    }
    // A program that lies about its name gains nothing by it.
    world.must("ln -s /usr/bin/sudo /home/bob/doas");
    let ended = world.run_as("bob", "exec -a ps sudo -n -u postgres -g disk id");
    assert!(!ended.ok() && !ended.text().contains("disk)"), "{ended:?}");
    let ended = world.run_as("bob", "/home/bob/doas -n -u postgres -g disk id");
    assert!(!ended.ok() && !ended.text().contains("disk)"), "{ended:?}");
    let ended = world.run_as("bob", "/home/bob/doas -n id");
    assert!(!ended.ok() && !ended.text().contains("uid="), "{ended:?}");
    refused_if_longer(&world);
}

/// A command line too long to be read whole is taken for the worst.
fn refused_if_longer(world: &World) {
    let long = "sudo -n -u postgres $(printf -- '-u postgres %.0s' $(seq 9000)) -g disk id";
    let ended = world.run_as("bob", long);
    assert!(
        !ended.ok() && !ended.text().contains("disk)"),
        "{}",
        ended.code
    );
    let ended = world.type_at("alice", "sudo id", "");
    refused_once(&ended);
}
