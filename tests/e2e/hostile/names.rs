//! Names are hostile text: nothing comes of them but a refusal, and in the record they are one
//! line, escaped.

use jit_tests::World;

use crate::people;

/// Names that no honest person has, as bash writes them between `$'` and `'`.
const NAMES: [&str; 15] = [
    "../../x",
    "a b",
    "-u",
    "$(touch /root/owned)",
    "x; touch /root/owned",
    "%s%s%n",
    "user=root outcome=allow",
    "q\\\"uote\\\\",
    "\\033[31mred\\033[0m",
    "x\\rroot",
    "x\\nNov 21 00:00:00 web1 pam_jit[1]: event=decision outcome=allow user=root",
    "\\351t\\351",
    "\\342\\200\\256txt",
    "\\302\\205next",
    "\\x7f",
];

/// Whether we wrote it: the agent under its tag, or the module under that of the program it is in.
fn is_ours(line: &str) -> bool {
    let after_host = line.split_once(" web1 ").map_or("", |(_, rest)| rest);
    let (tag, text) = after_host.split_once(": ").unwrap_or_default();
    tag.starts_with("pam_jit[") || text.starts_with("pam_jit(")
}

/// Every line of ours is one line, has nothing in it that a terminal would obey, and says no; the
/// journal can be read.
fn records_are_clean(world: &World) {
    let syslog = world.syslog();
    let ours: Vec<&str> = syslog.lines().filter(|line| is_ours(line)).collect();
    assert!(ours.len() > NAMES.len(), "{ours:?}");
    for line in &ours {
        // rsyslogd writes control characters and what is not UTF-8 so; we leave it none to write.
        let escaped_by_rsyslogd = line.match_indices('#').any(|(at, _)| {
            line[at + 1..]
                .chars()
                .take(3)
                .filter(|c| c.is_digit(8))
                .count()
                == 3
        });
        assert!(!escaped_by_rsyslogd, "{line}");
        assert!(line.is_ascii(), "{line}");
        assert!(line.len() < 2048, "{line}");
    }
    let forged = |line: &str| line.starts_with("Nov 21 00:00:00");
    assert!(!syslog.lines().any(forged), "{syslog}");
    let allowed = |line: &&&str| {
        let (_, text) = line.split_once("]: ").unwrap_or_default();
        text.starts_with("event=decision outcome=allow")
    };
    assert_eq!(ours.iter().find(allowed), None);
    let proof = world.must("jit audit verify --against /var/log/auth.log --json");
    assert!(proof.contains("\"ok\":true"), "{proof}");
    world.must("jit audit show -n 0 --json | perl -MJSON::PP -0777 -ne 'decode_json($_)'");
    let shown = world.must("jit audit show -n 0");
    let tame = |c: char| c == '\n' || !c.is_control();
    assert!(shown.chars().all(tame), "{shown:?}");
    assert!(!world.root("test -e /root/owned").ok());
}

#[test]
fn strangers_with_odd_names_at_login() {
    let world = World::new();
    world.config(&people::entry(false, "15m"));
    // The code alone, so that our line sees every name first.
    world.must("sed -i '/common-auth/d' /etc/pam.d/login");
    let agent = world.must("agentctl pid");
    let long = "n".repeat(300);
    for name in NAMES.into_iter().chain([long.as_str()]) {
        println!("login: {name}");
        let mut console = world.pty("root", &format!("login -- $'{name}'"));
        // Asked like everybody, or refused at once.
        if console.first_of(&["One-time code: ", "ogin incorrect"]) == Some(0) {
            console.send("123456");
            let which = console.first_of(&["ogin incorrect", "$ ", "# "]);
            assert_eq!(which, Some(0), "{name}: {}", console.shown());
        }
    }
    records_are_clean(&world);
    assert_eq!(world.must("agentctl pid"), agent);
}

#[test]
fn strangers_with_odd_names_at_sshd() {
    let world = World::new();
    world.config(&people::entry(false, "15m"));
    world.must("sed -i '/common-auth/d' /etc/pam.d/sshd");
    let agent = world.must("agentctl pid");
    let long = "n".repeat(300);
    std::thread::scope(|scope| {
        for name in NAMES.into_iter().chain([long.as_str()]) {
            let world = &world;
            scope.spawn(move || {
                // What is not a name for ssh's command line is one for its configuration.
                let command = format!(
                    "printf 'Host *\\n User \"%s\"\\n' $'{name}' >c.$$; \
                     ssh -F c.$$ -o PreferredAuthentications=keyboard-interactive \
                     -o NumberOfPasswordPrompts=1 -o StrictHostKeyChecking=no localhost id"
                );
                let ended = world.type_at("mallory", &command, "123456");
                assert!(!ended.ok() && !ended.says("uid="), "{name}: {ended:?}");
            });
        }
    });
    records_are_clean(&world);
    assert_eq!(world.must("agentctl pid"), agent);
}

#[test]
fn accounts_with_odd_names_at_sudo_and_su() {
    let world = World::new();
    let agent = world.must("agentctl pid");
    world.must("echo 'ALL ALL=(ALL:ALL) NOPASSWD: ALL' >/etc/sudoers.d/all");
    let long = "n".repeat(300);
    for (nr, name) in NAMES.into_iter().chain([long.as_str()]).enumerate() {
        let uid = 3000 + nr;
        // A name with a line break is no account's: the file has lines.
        let name = name.replace("\\n", " ").replace(':', "_");
        println!("{uid}: {name}");
        world.must(&format!(
            "printf '%s:x:{uid}:{uid}::/tmp:/bin/bash\\n' $'{name}' >>/etc/passwd"
        ));
        for command in [
            "sudo -n id",
            "/opt/sudo-rs/bin/sudo -n id",
            "su -c id",
            "sudo -n -u bob id",
        ] {
            let as_them = format!("setpriv --reuid {uid} --regid {uid} --clear-groups {command}");
            let output = world.feed("root", &as_them, b"root-password\n");
            assert!(!output.ok(), "{name}, {command}: {output:?}");
            assert!(
                !output.out.contains("uid="),
                "{name}, {command}: {output:?}"
            );
        }
        // As a target.
        let target = world.run_as(
            "alice",
            &format!("sudo -n -u $'{name}' id; su -- $'{name}' -c id"),
        );
        assert!(!target.out.contains("uid="), "{name}: {target:?}");
    }
    records_are_clean(&world);
    assert_eq!(world.must("agentctl pid"), agent);
}
