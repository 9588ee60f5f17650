//! `jit pam`: lines that go in, lines that come out, and everything that must not happen meanwhile.

use jit_tests::World;

use crate::people::{becomes_root, nopasswd};
use crate::steps::{config, refused_once};

/// A world as it is before our lines are in any file, with the files that were there kept.
fn untouched() -> World {
    let world = World::new();
    world.must(
        "jit pam disable --all && ! grep -l pam_jit /etc/pam.d/* && cp -a /etc/pam.d /root/before",
    );
    world.must("rm -rf /etc/pam_jit/backup");
    world
}

/// Asserts that every PAM file is what it was, mode and owner included, and nothing lies about.
fn as_before(world: &World) {
    world.must("diff -r /root/before /etc/pam.d");
    let listing = |dir: &str| {
        world.must(&format!(
            "cd {dir} && stat -c '%n %a %u %g' * .[!.]* 2>/dev/null; true"
        ))
    };
    assert_eq!(listing("/root/before"), listing("/etc/pam.d"));
}

/// How many lines of ours a service's own file has.
fn lines(world: &World, service: &str) -> usize {
    world
        .read(&format!("/etc/pam.d/{service}"))
        .matches("required   pam_jit.so")
        .count()
}

#[test]
fn enabling_shuts_the_doors_and_disabling_gives_back_every_byte() {
    let world = untouched();
    assert!(world.type_at("alice", "sudo id", "").ok(), "open before");
    let shown = world.must("jit pam enable sudo sudo-i su");
    assert!(
        shown.contains("+account    required   pam_jit.so"),
        "{shown}"
    );
    assert!(!shown.contains('\x1b'), "no colours for a pipe: {shown}");
    assert!(world.root("jit pam status sudo sudo-i su su-l").ok());
    assert_eq!(lines(&world, "su-l"), 0, "su-l has them through su");

    refused_once(&world.type_at("alice", "sudo id", ""));
    refused_once(
        &world
            .pty("alice", "su -c id")
            .answer(&[("assword", "root-password")]),
    );
    refused_once(
        &world
            .pty("alice", "su - -c id")
            .answer(&[("assword", "root-password")]),
    );
    world.enroll("alice");
    world.grant("--user alice --service sudo --for 1h");
    let ended = world.type_at("alice", "sudo id", &world.code("alice"));
    assert!(ended.ok() && ended.says("uid=0(root)"), "{}", ended.text);
    // Root is never asked.
    assert!(world.root("sudo id && su -c id").ok());

    world.must("jit pam disable sudo sudo-i su");
    as_before(&world);
    assert_eq!(world.root("jit pam status sudo").code, 1);
    assert!(world.type_at("carol", "sudo id", "").ok(), "open again");
}

#[test]
fn every_shipped_service_takes_our_lines_and_gives_them_back() {
    let world = untouched();
    world.must("cp /etc/pam.d/sudo /etc/pam.d/doas; cp -a /etc/pam.d/doas /root/before/");
    for service in ["sudo", "sudo-i", "su", "sshd", "login", "doas"] {
        world.must(&format!("jit pam enable --observe {service}"));
        assert_eq!(lines(&world, service), 3, "{service}");
        assert!(
            world.root(&format!("jit pam status {service}")).ok(),
            "{service}"
        );
    }
    let report = world.root("jit pam status --json").json();
    let services = report["services"].as_array().unwrap();
    let sudo = services.iter().find(|s| s["service"] == "sudo").unwrap();
    assert_eq!(sudo["enabled"], true);
    assert_eq!(sudo["observe"], true);
    assert_eq!(sudo["phases"][1]["lines"][0]["args"][0], "observe");
    world.must("jit pam disable --all");
    as_before(&world);
}

#[test]
fn a_second_time_changes_nothing_and_keeps_no_second_backup() {
    let world = untouched();
    world.must("jit pam enable sudo");
    let (file, backups) = (
        world.read("/etc/pam.d/sudo"),
        world.must("ls /etc/pam_jit/backup"),
    );
    let again = world.root("jit pam enable sudo");
    assert!(
        again.ok() && again.out.contains("nothing to do"),
        "{again:?}"
    );
    assert_eq!(world.read("/etc/pam.d/sudo"), file);
    assert_eq!(world.must("ls /etc/pam_jit/backup"), backups);
    assert_eq!(backups.lines().count(), 1);
    // What is kept is what was there, for root alone.
    world.must("cmp /etc/pam_jit/backup/sudo.* /root/before/sudo");
    assert_eq!(world.must("stat -c %a /etc/pam_jit/backup"), "700\n");
    world.must("jit pam disable sudo");
    let again = world.root("jit pam disable sudo");
    assert!(
        again.ok() && again.out.contains("nothing to do"),
        "{again:?}"
    );
    as_before(&world);
}

#[test]
fn two_at_once_take_turns() {
    let world = untouched();
    world.must(
        "for i in 1 2 3; do for s in sudo sudo-i su; do jit pam enable $s >/tmp/$s.$i 2>&1 || touch /tmp/failed & done; done; \
         wait; cat /tmp/su*; test ! -e /tmp/failed",
    );
    for service in ["sudo", "sudo-i", "su"] {
        assert_eq!(lines(&world, service), 3, "{service}");
    }
    world.must("for i in 1 2 3; do jit pam disable --all & done; wait");
    as_before(&world);
}

#[test]
fn a_dry_run_and_the_one_before_it_counts_write_nothing() {
    let world = untouched();
    let shown = world.root("jit pam enable --dry-run sudo su");
    assert!(
        shown.ok() && shown.out.contains("+auth       required   pam_jit.so"),
        "{shown:?}"
    );
    assert!(shown.out.contains("nothing was written"), "{shown:?}");
    as_before(&world);
    world.must("! test -e /etc/pam_jit/backup && ! ls /run/jit-pam-* 2>/dev/null");
    let report = world.root("jit pam enable --dry-run --json sudo").json();
    assert_eq!(report["dry_run"], true);
    assert_eq!(report["services"][0]["changed"], true);
    assert!(
        report["services"][0]["diff"]
            .as_str()
            .unwrap()
            .contains("@@"),
        "{report}"
    );
}

#[test]
fn observe_first_and_enforce_later_are_the_same_lines() {
    let world = untouched();
    nopasswd(&world);
    let told = world.root("jit pam enable --observe sudo");
    assert!(
        told.ok() && !told.err.contains("refuses people"),
        "{told:?}"
    );
    assert!(becomes_root(&world, "alice"));
    world.logged(&["user=alice", "outcome=allow", "would=deny", "mode=observe"]);
    world.must("sed -i 's/pam_jit.so observe/pam_jit.so timeout=5 observe/' /etc/pam.d/sudo");

    let told = world.root("jit pam enable sudo");
    assert!(
        told.ok() && told.err.contains("--observe sudo"),
        "recommends observe: {told:?}"
    );
    assert!(!becomes_root(&world, "alice"));
    assert_eq!(
        world
            .read("/etc/pam.d/sudo")
            .matches("pam_jit.so timeout=5\n")
            .count(),
        3
    );
    // agent.toml observes already: nothing to recommend.
    world.config(&config("observe", "15m", ""));
    world.must("jit pam disable sudo");
    let told = world.root("jit pam enable sudo");
    assert!(told.ok() && !told.err.contains("--observe"), "{told:?}");
}

/// Runs `jit pam enable …`, which must be refused with these words and change nothing.
fn refused(world: &World, arguments: &str, says: &str) {
    let before = world.must("cat /etc/pam.d/* | sha256sum; ls -A /etc/pam.d");
    let ended = world.root(&format!("jit pam enable {arguments}"));
    assert_eq!(ended.code, 1, "{arguments}: {ended:?}");
    assert!(ended.err.contains(says), "{arguments}: {ended:?}");
    let after = world.must("cat /etc/pam.d/* | sha256sum; ls -A /etc/pam.d");
    assert_eq!(before, after, "{arguments}");
}

#[test]
fn what_would_lock_root_out_is_not_written() {
    let world = untouched();
    // A cloud image: nobody could get in without the agent.
    world.must("usermod -L root");
    refused(&world, "sudo", "--rescue USER");
    world.must("jit pam enable --observe --dry-run sudo");
    assert_eq!(
        world.root("jit pam enable sudo --rescue nobody-here").code,
        2
    );
    world.must("jit pam enable sudo --rescue bob");
    assert_eq!(
        world
            .read("/etc/pam.d/sudo")
            .matches("pam_jit.so rescue=bob\n")
            .count(),
        3
    );
    nopasswd(&world);
    world.must("agentctl stop");
    assert!(becomes_root(&world, "bob") && !becomes_root(&world, "alice"));
    // Without an agent nothing is enabled.
    assert_eq!(world.root("jit pam enable su --rescue bob").code, 3);
    world.must("agentctl start && usermod -U root && jit pam disable --all");

    // A module that is not there, that is not ours to trust, or that says no to root.
    let module = "$(ls /usr/lib/*-linux-gnu/security/pam_jit.so)";
    world.must(&format!("mv {module} /root/good.so"));
    refused(&world, "sudo", "install it first");
    let there = "$(dirname /usr/lib/*-linux-gnu/security/pam_deny.so)";
    world.must(&format!("cp {there}/pam_deny.so {there}/pam_jit.so"));
    refused(&world, "sudo", "our line alone refuses root");
    world.must(&format!(
        "cp /root/good.so {there}/pam_jit.so && chmod 666 {there}/pam_jit.so"
    ));
    refused(&world, "sudo", "chmod go-w");
    world.must(&format!("chmod 644 {there}/pam_jit.so"));

    // Who keeps root out already may, and is told that the trial says nothing then.
    world.must(
        "sed -i 's/^@include common-account/account required pam_deny.so\\n&/' /etc/pam.d/su",
    );
    let told = world.root("jit pam enable --dry-run su");
    assert!(
        told.ok() && told.out.contains("with or without our lines"),
        "{told:?}"
    );
    world.must("cp /root/before/su /etc/pam.d/su");

    world.must("sed -i 's/^@include common-account/account required pam_jit.so root=ask\\n&/' /etc/pam.d/sudo");
    refused(&world, "sudo", "root=ask");
    world.must("cp /root/before/sudo /etc/pam.d/sudo");
    as_before(&world);
    world.must("jit pam enable sudo");
}

#[test]
fn stacks_that_would_go_round_us_or_are_not_ours_to_change_are_refused() {
    let world = untouched();
    refused(&world, "common-auth", "is no service");
    refused(&world, "nothing-here", "no such service");
    refused(&world, "../shadow", "cannot be the name");
    refused(&world, "cron", "pam_jit does not belong there");
    world.must("cp /etc/pam.d/su /etc/pam.d/shared; for s in one two; do echo '@include shared' >/etc/pam.d/$s; done");
    refused(&world, "shared", "is included by one, two");
    world.must("ln -s /root/before/su /etc/pam.d/linked");
    refused(&world, "linked", "is a link to /root/before/su");
    world.must("cp /etc/pam.d/sudo /etc/pam.d/mine; chown alice /etc/pam.d/mine");
    refused(&world, "mine", "chown root");
    world.must("chown root /etc/pam.d/mine; chmod 664 /etc/pam.d/mine");
    refused(&world, "mine", "chmod go-w");
    world.must("chmod 644 /etc/pam.d/mine");
    // No section: everybody but root would be refused.
    refused(&world, "mine", "no [service.mine]");
    world.must("jit pam enable --observe mine && jit pam disable mine");

    world.must("printf 'account [default=reset] pam_permit.so\\naccount required pam_permit.so\\n' >>/etc/pam.d/su");
    refused(&world, "su", "say yes although pam_jit said no");
    // All or nothing: sudo was fine.
    refused(&world, "sudo su", "say yes although pam_jit said no");
    assert!(
        world
            .run_as("alice", "jit pam enable sudo")
            .err
            .contains("for root")
    );
}

#[test]
fn a_full_or_read_only_disk_leaves_the_old_file_whole() {
    let world = untouched();
    world.must("mount -o remount,bind,ro /etc");
    refused(&world, "sudo su", "Read-only file system");
    world.must("mount -o remount,bind,rw /etc");

    // Room for the file, none for the new one beside it.
    world.must(
        "mount -t tmpfs -o size=256k,mode=755 tmpfs /etc/pam.d && cp -a /root/before/. /etc/pam.d/ && \
         { dd if=/dev/zero of=/etc/pam.d/.fill bs=4k 2>/dev/null; true; }",
    );
    refused(&world, "sudo su", "No space left on device");
    let ended = world.root("jit pam enable sudo");
    assert!(ended.err.contains("as it was"), "{ended:?}");
    world.must("rm /etc/pam.d/.fill");
    world.must("jit pam enable sudo");
    world.must(
        "dd if=/dev/zero of=/etc/pam.d/.fill bs=4k 2>/dev/null; cp /etc/pam.d/sudo /root/enabled",
    );
    assert_eq!(world.root("jit pam disable sudo").code, 1);
    world.must("cmp /etc/pam.d/sudo /root/enabled; rm /etc/pam.d/.fill; jit pam disable sudo");
    as_before(&world);

    // No room for the backup.
    world.must("mkdir -p /etc/pam_jit/backup; mount -t tmpfs -o size=4k,mode=700 tmpfs /etc/pam_jit/backup; \
                dd if=/dev/zero of=/etc/pam_jit/backup/fill bs=4k 2>/dev/null; true");
    refused(&world, "sudo", "no backup can be kept");
}

#[test]
fn what_the_file_was_like_it_stays() {
    let world = untouched();
    world.must("cd /etc/pam.d && printf '# no end of line\\n%s' \"$(cat sudo)\" >su && chmod 640 su && chgrp shadow su && cp -a su /root/before/su");
    world.must("jit pam enable su");
    assert_eq!(lines(&world, "su"), 3);
    assert_eq!(
        world.must("stat -c '%a %U %G' /etc/pam.d/su"),
        "640 root shadow\n"
    );
    world.must("jit pam disable su");
    as_before(&world);
}

#[test]
fn disabling_needs_neither_agent_nor_module_and_takes_any_line_of_ours() {
    let world = untouched();
    world.must("jit pam enable sudo sudo-i su");
    // By hand, oddly spelled, in a file where it has no place.
    world.must("printf 'account \\\\\\n  optional \\\\\\n  /lib/security/pam_jit.so debug\\n' >>/etc/pam.d/common-account");
    world.must("agentctl stop; rm /usr/lib/*-linux-gnu/security/pam_jit.so");
    world.must("jit pam disable --all");
    as_before(&world);
    assert!(world.type_at("alice", "sudo id", "").ok());
    // A file that may not be changed does not keep the others as they are, and is named.
    world.must("echo 'account required pam_jit.so' >/root/elsewhere; ln -s /root/elsewhere /etc/pam.d/linked; \
                cp /root/elsewhere /etc/pam.d/plain");
    let ended = world.root("jit pam disable --all");
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(
        ended.err.contains("still there: /etc/pam.d/linked"),
        "{ended:?}"
    );
    assert_eq!(world.read("/etc/pam.d/plain"), "");
    // Where there is nothing to take away, a package's removal goes on.
    world.must("mv /etc/pam.d /root/gone && jit pam disable --all");
}

/// Red Hat's files: `include` of a stack that a right password ends, and `substack` of it.
#[test]
fn red_hats_shapes_stand_in_front_of_the_real_sudo_and_su() {
    let world = untouched();
    world.write(
        "/etc/pam.d/system-auth",
        "auth required pam_env.so\nauth sufficient pam_unix.so nullok\nauth required pam_deny.so\n\
         account required pam_unix.so\naccount sufficient pam_localuser.so\naccount required pam_permit.so\n\
         session required pam_limits.so\nsession required pam_unix.so\n",
    );
    world.write(
        "/etc/pam.d/sudo",
        "#%PAM-1.0\nauth       include      system-auth\naccount    include      system-auth\n\
         password   include      system-auth\nsession    include      system-auth\n",
    );
    world.write(
        "/etc/pam.d/su",
        "auth sufficient pam_rootok.so\nauth substack system-auth\n\
         account sufficient pam_succeed_if.so uid = 0 use_uid quiet\naccount include system-auth\n\
         session include system-auth\nsession optional pam_xauth.so\n",
    );
    world.must("cp /etc/pam.d/sudo /root/before/; cp /etc/pam.d/su /root/before/; cp /etc/pam.d/system-auth /root/before/");
    world.must("jit pam enable sudo su");
    assert!(world.root("jit pam status sudo su").ok());

    refused_once(&world.type_at("alice", "sudo id", ""));
    refused_once(
        &world
            .pty("alice", "su -c id")
            .answer(&[("assword", "root-password")]),
    );
    assert!(world.root("su -c id && sudo id").ok());
    world.enroll("alice");
    world.grant("--user alice --service sudo --service su --for 1h");
    // A right password does not make up for a wrong code, nor a right code for a wrong password.
    let ended = world.type_at("alice", "sudo id", "000000");
    assert!(!ended.ok() && !ended.says("uid=0"), "{}", ended.text);
    let mut sudo = world.pty("alice", "sudo id");
    sudo.expect("ode: ");
    sudo.send(&world.code("alice"));
    for _ in 0..3 {
        sudo.expect("assword");
        sudo.send("wrong");
    }
    let ended = sudo.end();
    assert!(!ended.ok() && !ended.says("uid=0"), "{}", ended.text);
    let ended = world.type_at("alice", "sudo id", &world.code("alice"));
    assert!(ended.ok() && ended.says("uid=0(root)"), "{}", ended.text);
    let su = [
        ("assword", "root-password"),
        ("ode: ", &*world.code("alice")),
    ];
    let ended = world.pty("alice", "su -c id").answer(&su);
    assert!(ended.ok() && ended.says("uid=0(root)"), "{}", ended.text);
    world.must("jit pam disable --all");
    as_before(&world);
}

/// A module may hang: the trial ends, takes its children with it, and the file stands.
#[test]
fn a_stack_that_gives_no_answer_is_not_written() {
    let world = untouched();
    world.must("sed -i 's,^@include common-account,account optional pam_exec.so /bin/sleep 4711\\n&,' /etc/pam.d/su");
    refused(&world, "su", "gave no answer");
    world.must("! pgrep -x sleep && ! ls -d /run/jit-pam-* 2>/dev/null");
}
