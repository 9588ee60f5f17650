//! `jit doctor` on a host in order, and on hosts that somebody has sabotaged.

use std::collections::BTreeSet;
use std::time::Duration;

use jit_tests::World;

use crate::people::timed;
use crate::steps::config;

/// The ids that the doctor finds, and whether it calls the host open.
fn findings(world: &World) -> (BTreeSet<String>, bool) {
    let ended = world.root("jit doctor --json");
    assert!(ended.code <= 1, "{ended:?}");
    let report = ended.json();
    let found = report["findings"].as_array().unwrap();
    for finding in found {
        for field in ["what", "why", "mend"] {
            assert!(!finding[field].as_str().unwrap().is_empty(), "{finding}");
        }
    }
    let open = report["open"].as_bool().unwrap();
    assert_eq!(open, ended.code == 1, "{report}");
    let ids = found.iter().map(|f| f["id"].as_str().unwrap().to_owned());
    (ids.collect(), open)
}

/// A host with every door gated, somebody enrolled, root's ssh shut, and whatever this machine
/// brings along that is no fault put away. What the doctor still says is about the kernel's clock.
fn in_order() -> (World, BTreeSet<String>) {
    let world = World::new();
    world.must("jit pam enable sudo sudo-i su sshd login");
    world.must(
        "sed -i 's/^PermitRootLogin.*/PermitRootLogin no/; $aMaxSessions 1' /etc/ssh/sshd_config",
    );
    world.must("rm -f /etc/pam.d/polkit-1 /usr/lib/pam.d/polkit-1 2>/dev/null; true");
    world.must(
        "find /usr/local /opt -xdev -perm -4000 ! -path '/opt/sudo-rs/*' -exec chmod u-s {} +",
    );
    world.enroll("alice");
    let (found, _) = findings(&world);
    let environment = [
        "clock-unsynchronised",
        "door-open",
        "setuid-unknown",
        "group-is-root",
    ];
    for id in &found {
        assert!(
            environment.contains(&id.as_str()),
            "not in order: {found:?}"
        );
    }
    (world, found)
}

/// Asserts that a sabotage is found under its id and nothing else new is, and that mending it makes
/// the doctor content again.
fn sabotage(world: &World, before: &BTreeSet<String>, id: &str, damage: &str, mend: &str) {
    world.must(damage);
    let (found, _) = findings(world);
    assert!(
        found.contains(id),
        "{id} not found after {damage}: {found:?}"
    );
    let strange: Vec<_> = found.difference(before).filter(|new| *new != id).collect();
    assert!(strange.is_empty(), "after {damage}: {strange:?}");
    world.must(mend);
    assert_eq!(findings(world).0, *before, "after {mend}");
}

#[test]
fn every_sabotage_of_pam_files_is_found() {
    let (world, before) = in_order();
    world.must("cp -a /etc/pam.d /root/good");
    let back = "rm -rf /etc/pam.d.bad; cp -a /root/good/. /etc/pam.d/";
    let sed = |script: &str| format!("sed -i '{script}' /etc/pam.d/sudo");
    for (id, damage) in [
        ("pam-account-missing", sed("/^account.*pam_jit/d")),
        ("pam-session-missing", sed("/^session.*pam_jit/d")),
        ("pam-auth-missing", sed("/^auth.*pam_jit/d")),
        (
            "pam-skipped",
            sed("s/^account.*pam_jit/account sufficient pam_unix.so\\n&/"),
        ),
        (
            "pam-skipped",
            sed("s/^account.*pam_jit/account [success=1 default=ignore] pam_unix.so\\n&/"),
        ),
        (
            "pam-auth-skipped",
            sed("s/^@include common-auth/auth sufficient pam_unix.so\\n&/"),
        ),
        (
            "pam-control",
            sed("s/^account.*pam_jit/account optional pam_jit/"),
        ),
        (
            "pam-control",
            sed(
                "s/^account.*pam_jit/account [success=ok authinfo_unavail=ignore default=bad] pam_jit/",
            ),
        ),
        (
            "pam-overruled",
            sed("s/^@include common-account/account [default=reset] pam_permit.so\\n&/"),
        ),
        ("pam-quiet", sed("s/^account.*pam_jit/-&/")),
        ("pam-observe", sed("s/pam_jit.so/& observe/")),
        ("pam-root-ask", sed("s/pam_jit.so/& root=ask/")),
        ("pam-broken", sed("$a@include not-there")),
        ("pam-broken", sed("s/$/\\r/")),
        (
            "pam-module-missing",
            sed("$aaccount required pam_not_there.so"),
        ),
        ("pam-file-writable", "chmod 666 /etc/pam.d/sudo".to_owned()),
    ] {
        sabotage(&world, &before, id, &damage, back);
    }
    sabotage(
        &world,
        &before,
        "pam-shared",
        "sed -i '1iaccount required pam_jit.so' /etc/pam.d/common-account",
        back,
    );
    let lines = "session required pam_unix.so\n";
    world.must(&format!(
        "printf '{lines}' >/etc/pam.d/doas; cp /bin/true /usr/local/bin/doas"
    ));
    assert!(findings(&world).0.contains("door-open"));
    world.must("rm /etc/pam.d/doas /usr/local/bin/doas; jit pam disable --all");
    assert!(findings(&world).0.contains("nothing-enabled"));
}

#[test]
fn every_sabotage_beside_pam_files_is_found() {
    let (world, before) = in_order();
    let module = "/usr/lib/*-linux-gnu/security/pam_jit.so";
    let file = |text: &str| format!("echo '{text}' >/etc/sudoers.d/bad");
    let gone = "rm /etc/sudoers.d/bad";
    for (id, damage, mend) in [
        (
            "sudoers-pam-acct-mgmt",
            file("Defaults:alice ! pam_acct_mgmt"),
            gone,
        ),
        (
            "sudoers-pam-session",
            file("Defaults env_reset, !pam_session"),
            gone,
        ),
        (
            "sudoers-pam-service",
            file("Defaults pam_service=other"),
            gone,
        ),
        (
            "pam-module-writable",
            format!("chmod 666 {module}"),
            "chmod 644 /usr/lib/*-linux-gnu/security/pam_jit.so",
        ),
        (
            "root-shut-out",
            "usermod -L root".to_owned(),
            "usermod -U root",
        ),
        (
            "uid0-twin",
            "echo 'toor:x:0:0::/root:/bin/sh' >>/etc/passwd".to_owned(),
            "sed -i /^toor/d /etc/passwd",
        ),
        (
            "group-is-root",
            "echo 'lxd:x:987:mallory' >>/etc/group".to_owned(),
            "sed -i /^lxd:/d /etc/group",
        ),
        (
            "setuid-unknown",
            "cp /bin/sh /usr/local/bin/innocent; chmod 4755 /usr/local/bin/innocent".to_owned(),
            "rm /usr/local/bin/innocent",
        ),
        (
            "sshd-root-login",
            "sed -i 's/^PermitRootLogin.*/PermitRootLogin yes/' /etc/ssh/sshd_config".to_owned(),
            "sed -i 's/^PermitRootLogin.*/PermitRootLogin no/' /etc/ssh/sshd_config",
        ),
        (
            "sshd-usepam-no",
            "sed -i 's/^UsePAM.*/UsePAM no/' /etc/ssh/sshd_config".to_owned(),
            "sed -i 's/^UsePAM.*/UsePAM yes/' /etc/ssh/sshd_config",
        ),
        (
            "sshd-multiplexing",
            "sed -i /^MaxSessions/d /etc/ssh/sshd_config".to_owned(),
            "echo MaxSessions 1 >>/etc/ssh/sshd_config",
        ),
        (
            "config-untrusted",
            "mkdir -p /etc/pam_jit/grants.d; touch /etc/pam_jit/grants.d/x.toml; chmod 666 /etc/pam_jit/grants.d/x.toml".to_owned(),
            "rm /etc/pam_jit/grants.d/x.toml",
        ),
        (
            "nobody-enrolled",
            "jit mfa reset alice".to_owned(),
            "jit mfa enroll alice --json >/dev/null",
        ),
    ] {
        if before.contains(id) {
            continue;
        }
        sabotage(&world, &before, id, &damage, mend);
    }
    // A module that is gone is named for what it does: it locks everybody out.
    world.must(&format!("mv {module} /root/"));
    assert!(findings(&world).0.contains("pam-module-missing"));
    world.must("mv /root/pam_jit.so \"$(dirname /usr/lib/*-linux-gnu/security/pam_permit.so)\"");
    // Root's keys matter only while root may enter with them.
    world.must("install -d -m 700 /root/.ssh; cp /home/alice/.ssh/authorized_keys /root/.ssh/");
    assert_eq!(findings(&world).0, before);
    world.must(
        "sed -i 's/^PermitRootLogin.*/PermitRootLogin prohibit-password/' /etc/ssh/sshd_config",
    );
    assert!(findings(&world).0.contains("root-authorized-keys"));
}

#[test]
fn the_agents_troubles_are_found() {
    let (world, before) = in_order();
    let good = world.read("/etc/pam_jit/agent.toml");
    sabotage(
        &world,
        &before,
        "config-broken",
        "echo 'nonsense = 1' >>/etc/pam_jit/agent.toml; sleep 0.5",
        "sed -i /^nonsense/d /etc/pam_jit/agent.toml; sleep 0.5",
    );
    world.config(&config("observe", "15m", ""));
    let (found, _) = findings(&world);
    assert!(found.contains("service-observed"), "{found:?}");
    world.config(&config("off", "15m", ""));
    assert!(findings(&world).0.contains("service-off"));
    world.config(&good);
    world.must("cp /etc/pam.d/sudo /etc/pam.d/vault");
    assert!(findings(&world).0.contains("service-no-section"));
    world.must("rm /etc/pam.d/vault");

    // A hung agent is found out within the doctor's own time.
    world.must("agentctl freeze");
    let ((found, open), took) = timed(|| findings(&world));
    assert!(found.contains("agent-down") && open, "{found:?}");
    assert!(took < Duration::from_secs(8), "{took:?}");
    world.must("agentctl thaw; agentctl stop");
    let ((found, open), took) = timed(|| findings(&world));
    assert!(found.contains("agent-down") && open, "{found:?}");
    assert!(took < Duration::from_secs(4), "{took:?}");
    let told = world.root("jit doctor");
    assert!(
        told.out.starts_with("critical  agent-down\n"),
        "worst first: {told:?}"
    );
}

#[test]
fn an_old_sudo_rs_and_a_person_without_rights_are_told() {
    let (world, before) = in_order();
    world.write("/usr/local/bin/sudo", "#!/bin/sh\necho sudo-rs 0.2.13\n");
    world.must("chmod 755 /usr/local/bin/sudo");
    let (found, _) = findings(&world);
    let new: Vec<_> = found.difference(&before).collect();
    assert_eq!(new, ["sudo-rs-old"]);
    world.must("chown alice /usr/local/bin/sudo");
    // What is not root's is not run.
    assert_eq!(findings(&world).0, before);

    let report = world.run_as("alice", "jit doctor --json").json();
    let unseen = report["unseen"].to_string();
    for what in ["/etc/sudoers", "the clock", "usable password"] {
        assert!(unseen.contains(what), "{unseen}");
    }
}
