//! Files that grant power, broken in every way: each gives nothing, is named in the log, and takes
//! nothing else with it.

use std::time::{Duration, Instant};

use jit_tests::World;

use crate::people::{self, becomes_root, granted_world};

const FOLDER: &str = "/etc/pam_jit/grants.d";

/// A good grant of sudo for somebody, for a year.
fn grant(id: &str, user: &str) -> String {
    format!(
        "[[grant]]\nid = \"{id}\"\nuser = \"{user}\"\nservices = [\"sudo\"]\n\
         not_after = 2099-01-01T00:00:00Z\n"
    )
}

/// Where bob's grant comes from, which has to hold all the time.
fn world() -> World {
    let world = granted_world();
    world.must(&format!("install -d -m 0755 {FOLDER}"));
    world.write(&format!("{FOLDER}/bob.toml"), &grant("bob", "bob"));
    world.wait_for("bob's grant", || becomes_root(&world, "bob"));
    world
}

/// Has `make` put something broken there that would grant mallory sudo; then the log names the
/// file with `words`, mallory has nothing, and alice (minted) and bob (beside it) what they had.
fn broken(world: &World, file: &str, make: &str, words: &[&str]) {
    println!("{file}: {make}");
    world.must(&format!("cd {FOLDER}; {make}"));
    let named = format!("file={FOLDER}/{file}");
    let words = [&["event=grant", "outcome=rejected", named.as_str()], words].concat();
    world.logged(&words);
    assert!(!becomes_root(world, "mallory"), "{file}: {make}");
    assert!(becomes_root(world, "alice"), "{file}: {make}");
    assert!(becomes_root(world, "bob"), "{file}: {make}");
    world.must(&format!(
        "cd {FOLDER}; chattr -i {file} 2>/dev/null; rm -rf {file}"
    ));
}

#[test]
fn a_file_that_others_could_have_written() {
    let world = world();
    world.write("/opt/world/good.toml", &grant("m", "mallory"));
    // That it would be a grant, if it were root's alone.
    world.must(&format!("cp /opt/world/good.toml {FOLDER}/good.toml"));
    world.wait_for("a good grant", || becomes_root(&world, "mallory"));
    world.must(&format!("rm {FOLDER}/good.toml"));
    world.wait_for("its end", || !becomes_root(&world, "mallory"));
    let agent = world.must("agentctl pid");

    for (file, make, word) in [
        (
            "world.toml",
            "install -m 0666 /opt/world/good.toml world.toml",
            "mode 0666",
        ),
        (
            "group.toml",
            "install -m 0664 /opt/world/good.toml group.toml",
            "mode 0664",
        ),
        (
            "foreign.toml",
            "install -o mallory /opt/world/good.toml foreign.toml",
            "uid 2004",
        ),
        (
            "link.toml",
            "ln -s /opt/world/good.toml link.toml",
            "symbolic link",
        ),
        (
            "dangling.toml",
            "ln -s /nowhere dangling.toml",
            "symbolic link",
        ),
        ("folder.toml", "mkdir folder.toml", "not a regular file"),
        ("pipe.toml", "mkfifo pipe.toml", "not a regular file"),
        (
            "device.toml",
            "mknod device.toml c 1 5",
            "not a regular file",
        ),
    ] {
        broken(&world, file, make, &[word]);
    }
    // One whose folder others may write to.
    world.must(&format!(
        "cp /opt/world/good.toml {FOLDER}/good.toml; chmod 0777 {FOLDER}; touch {FOLDER}/good.toml"
    ));
    world.logged(&[
        "event=grant",
        "outcome=rejected",
        &format!("file={FOLDER}"),
        "mode 0777",
    ]);
    assert!(!becomes_root(&world, "mallory"));
    assert_eq!(
        world.must("agentctl pid"),
        agent,
        "it is still the same agent"
    );
}

#[test]
fn a_file_that_does_not_say_what_it_should() {
    let world = world();
    let agent = world.must("agentctl pid");
    let good = grant("m", "mallory");
    let end = "not_after = 2099-01-01T00:00:00Z\n";
    for (name, text, words) in [
        ("broken", format!("{good}[[grant\n"), vec!["line=6"]),
        (
            "truncated",
            good[..good.len() - 12].to_owned(),
            vec!["line=5"],
        ),
        ("quote", good.replace("\"sudo\"", "\"sudo"), vec!["line="]),
        (
            "unknown",
            format!("{good}colour = \"red\"\n"),
            vec!["grant=local:m", "colour", "line="],
        ),
        (
            "unknown-when",
            format!("{good}[grant.when]\nmoon = \"full\"\n"),
            vec!["grant=local:m", "moon"],
        ),
        (
            "unknown-table",
            format!("{good}[grants]\nx = 1\n"),
            vec!["grants"],
        ),
        (
            "no-end",
            good.replace(end, ""),
            vec!["grant=local:m", "not_after", "line="],
        ),
        (
            "end-first",
            format!("{good}not_before = 2099-01-02T00:00:00Z\n"),
            vec!["grant=local:m", "line="],
        ),
        (
            "no-user",
            good.replace("user = \"mallory\"\n", ""),
            vec!["grant=local:m", "user"],
        ),
        (
            "both",
            format!("{good}group = \"dba\"\n"),
            vec!["grant=local:m", "group"],
        ),
        (
            "bare-time",
            good.replace("00Z", "00"),
            vec!["grant=local:m", "offset"],
        ),
        (
            "wildcard",
            good.replace("[\"sudo\"]", "[\"*\"]"),
            vec!["grant=local:m", "service"],
        ),
        (
            "no-services",
            good.replace("[\"sudo\"]", "[]"),
            vec!["grant=local:m", "service"],
        ),
        ("bad-id", good.replace("\"m\"", "\"../m\""), vec!["id"]),
        (
            "bad-mfa",
            format!("{good}mfa = \"soon\"\n"),
            vec!["grant=local:m", "mfa"],
        ),
        (
            "bad-source",
            format!("{good}[grant.when]\nsource = [\"10.8\"]\n"),
            vec!["grant=local:m", "source"],
        ),
        (
            "twice-key",
            format!("{good}user = \"mallory\"\n"),
            vec!["line="],
        ),
        ("nul", good.replace("mallory", "mal\0lory"), vec!["line=3"]),
    ] {
        let file = format!("{name}.toml");
        world.write(&format!("/opt/world/{file}"), &text);
        broken(
            &world,
            &file,
            &format!("cp /opt/world/{file} {file}"),
            &words,
        );
    }
    // Not UTF-8.
    let latin = "printf '[[grant]]\\nid = \"m\"\\nuser = \"mallory\\351\"\\n' >latin.toml";
    broken(&world, "latin.toml", latin, &["UTF-8"]);
    // 50 MB: of nothing, and of grants.
    broken(
        &world,
        "zeros.toml",
        "truncate -s 50M zeros.toml",
        &["bytes long"],
    );
    let many = "for i in $(seq 1000); do cat bob.toml; done | sed s/bob/m/ >big.toml; \
                while [ $(stat -c %s big.toml) -lt 52428800 ]; do cat big.toml big.toml >b && mv b big.toml; done";
    broken(&world, "big.toml", many, &["bytes long"]);
    assert_eq!(
        world.must("agentctl pid"),
        agent,
        "it is still the same agent"
    );
}

#[test]
fn one_bad_grant_takes_no_good_one_with_it() {
    let world = world();
    let text = format!(
        "{}{}{}",
        grant("carols", "carol"),
        grant("m", "mallory").replace("[\"sudo\"]", "[\"sudo\"]\nsevices = 1"),
        grant("m2", "mallory").replace("not_after", "not_afterwards"),
    );
    world.write(&format!("{FOLDER}/mixed.toml"), &text);
    let file = format!("file={FOLDER}/mixed.toml");
    world.logged(&[
        "event=grant",
        "outcome=rejected",
        "grant=local:m",
        &file,
        "sevices",
    ]);
    world.logged(&[
        "event=grant",
        "outcome=rejected",
        "grant=local:m2",
        &file,
        "not_after",
    ]);
    assert!(becomes_root(&world, "carol"));
    assert!(!becomes_root(&world, "mallory"));

    // An id that two hold is nobody's: which of the two was meant, and which one a revocation
    // takes away, cannot be told.
    world.write(&format!("{FOLDER}/again.toml"), &grant("carols", "mallory"));
    world.logged(&[
        "event=grant",
        "outcome=rejected",
        "grant=local:carols",
        "again.toml and",
        "mixed.toml",
    ]);
    world.wait_for("both to go", || !becomes_root(&world, "carol"));
    assert!(!becomes_root(&world, "mallory"));
    assert!(becomes_root(&world, "bob"));
    world.must(&format!("rm {FOLDER}/again.toml"));
    world.wait_for("the one that is left", || becomes_root(&world, "carol"));
    // An administrator's file cannot take a minted grant's name either.
    world.write(&format!("{FOLDER}/again.toml"), &grant("alice", "mallory"));
    world.logged(&["event=grant", "outcome=rejected", "grant=local:alice"]);
    assert!(!becomes_root(&world, "mallory"));
    // An edit that breaks a file takes what it gave: a slip must not undo a revocation.
    world.must(&format!("echo '[[' >>{FOLDER}/bob.toml"));
    world.wait_for("the broken file's end", || !becomes_root(&world, "bob"));
}

#[test]
fn a_file_caught_half_written_gives_nothing() {
    let world = world();
    // Up to the comment it is a good grant without conditions; what follows narrows it. The writer
    // takes its time, and at no time is the first half believed.
    let half = grant("m", "mallory").replace('\n', "\\n");
    world.must(&format!(
        "(printf '{half}' >{FOLDER}/slow.toml
          for i in $(seq 12); do sleep 0.15; printf '# not yet\\n' >>{FOLDER}/slow.toml; done
          printf 'hosts = [\"elsewhere\"]\\n' >>{FOLDER}/slow.toml) >/dev/null 2>&1 &"
    ));
    let end = Instant::now() + Duration::from_secs(4);
    while Instant::now() < end {
        assert!(
            !becomes_root(&world, "mallory"),
            "the first half was believed"
        );
    }
    assert!(
        world
            .read(&format!("{FOLDER}/slow.toml"))
            .contains("elsewhere")
    );
    // By rename it is whole from the beginning, and counts at once.
    world.write(&format!("{FOLDER}/slow.toml"), &grant("m", "mallory"));
    world.wait_for("the whole file", || becomes_root(&world, "mallory"));
}

#[test]
fn a_file_that_never_rests_does_not_keep_its_old_grants_for_ever() {
    let world = world();
    assert!(becomes_root(&world, "bob"));
    world.must(&format!(
        "(while :; do printf '#' >>{FOLDER}/bob.toml; sleep 0.1; done) >/dev/null 2>&1 &"
    ));
    world.wait_for("the restless file to be given up", || {
        !becomes_root(&world, "bob")
    });
    world.logged(&[
        "event=grant",
        "outcome=rejected",
        "bob.toml",
        "keeps changing",
    ]);
    assert!(becomes_root(&world, "alice"));
}

#[test]
fn a_configuration_that_breaks_keeps_the_one_before_it() {
    let world = world();
    let conf = "/etc/pam_jit/agent.toml";
    for (edit, words) in [
        (
            "echo 'colour = \"red\"' >>agent.toml",
            vec!["agent.toml:8:1", "colour"],
        ),
        ("echo '[service.sudo' >>agent.toml", vec!["agent.toml:8"]),
        (
            "sed -i 's/enforce/enfroce/' agent.toml",
            vec!["agent.toml:5", "service.sudo.mode"],
        ),
        (
            "sed -i 's/grant = true/grant = \"no\"/' agent.toml",
            vec!["agent.toml:6", "service.sudo.grant"],
        ),
        ("sed -i '/^mfa/d' agent.toml", vec!["mfa"]),
        ("chmod 0666 agent.toml", vec!["mode 0666"]),
        ("chown mallory agent.toml", vec!["uid 2004"]),
        ("mv agent.toml a; ln -s a agent.toml", vec!["symbolic link"]),
        ("truncate -s 2M agent.toml", vec!["bytes long"]),
        ("rm agent.toml", vec!["does not exist"]),
    ] {
        let kept = world.syslog().matches("kept=previous").count();
        world.must(&format!("cd /etc/pam_jit; {edit}"));
        world.wait_for(edit, || {
            world.syslog().matches("kept=previous").count() > kept
        });
        let lines = world.logged(&["event=config", "outcome=rejected", "kept=previous"]);
        let last = lines.last().unwrap();
        for word in words {
            assert!(last.contains(word), "{edit}: {word} not in {last}");
        }
        assert!(
            world
                .read("/var/log/jit-agentd.log")
                .contains("stays in force")
        );
        // The old one, in which sudo wants a grant and no factor, holds.
        assert!(becomes_root(&world, "alice"), "{edit}");
        assert!(!becomes_root(&world, "mallory"), "{edit}");
        let loaded = world
            .syslog()
            .matches("event=config outcome=loaded")
            .count();
        world.must(&format!("rm -f {conf}"));
        world.write(conf, people::BY_GRANT);
        world.wait_for("the good one", || {
            world
                .syslog()
                .matches("event=config outcome=loaded")
                .count()
                > loaded
        });
    }
    // On SIGHUP likewise.
    let before = world
        .syslog()
        .matches("event=config outcome=loaded")
        .count();
    world.must("kill -HUP $(agentctl pid)");
    world.wait_for("a reload", || {
        world
            .syslog()
            .matches("event=config outcome=loaded")
            .count()
            > before
    });
    assert!(becomes_root(&world, "alice"));
}

#[test]
fn a_configuration_broken_at_the_start_enforces_everything_and_grants_nothing() {
    let world = world();
    for broken in ["[service.sudo]\nmode = \"off\"\n", "not toml", ""] {
        // An empty file is a good one: it has the defaults.
        let empty = broken.is_empty();
        world.config(broken);
        for user in ["alice", "bob", "mallory"] {
            let output = people::sudo(&world, user);
            assert!(!output.out.contains("uid=0"), "{broken:?}: {output:?}");
        }
        assert!(world.root("sudo id").ok());
        if !empty {
            world.logged(&[
                "event=config",
                "outcome=rejected",
                "kept=lockdown",
                "agent.toml:1",
            ]);
            let minted = world
                .root("jit grant add --user mallory --service sudo --for 1h --mfa none --reason x");
            assert!(!minted.ok(), "no grant counts: {minted:?}");
        }
    }
    world.must("rm /etc/pam_jit/agent.toml; agentctl restart");
    assert!(!becomes_root(&world, "alice"));
    world.must("printf '[agent]\\nhost = \"web1\"\\n' >/etc/pam_jit/agent.toml; chmod 0666 /etc/pam_jit/agent.toml");
    world.must("agentctl restart");
    assert!(!becomes_root(&world, "alice"));
    // Mended, without a restart.
    world.must("rm /etc/pam_jit/agent.toml");
    world.write("/etc/pam_jit/agent.toml", people::BY_GRANT);
    world.wait_for("the mended one", || becomes_root(&world, "alice"));
}
