//! Accounts and groups that are root in disguise.

use super::host::{Finding, Host};
use super::kinds;
use crate::pam::way_in::{Account, accounts};

/// Groups, and how a member becomes root.
const ROOT_IN_DISGUISE: [(&str, &str); 9] = [
    (
        "docker",
        "starts a container that holds the whole file system",
    ),
    ("lxd", "starts a container that holds the whole file system"),
    (
        "incus-admin",
        "starts a container that holds the whole file system",
    ),
    ("incus", "may start containers with the host's devices"),
    ("libvirt", "starts a machine with the host's disk"),
    ("disk", "writes to the disk past every permission"),
    ("shadow", "reads everybody's password hashes"),
    ("kmem", "reads the kernel's memory"),
    ("root", "writes whatever the group root may"),
];

/// Everything about accounts and groups.
pub(super) fn look(host: &Host) -> Vec<Finding> {
    let known = accounts(&host.root).unwrap_or_else(|why| {
        host.not_seen(why);
        Vec::new()
    });
    let mut found = Vec::new();
    for twin in known
        .iter()
        .filter(|account| account.uid == 0 && account.name != "root")
    {
        let what = format!("/etc/passwd: {:?} has uid 0", twin.name);
        found.push(Finding::of(
            &kinds::UID0_TWIN,
            what,
            format!("userdel {0}, or give it a uid of its own", twin.name),
        ));
    }
    let text = host.text(&host.path("etc/group")).unwrap_or_default();
    for (name, gid, listed) in text.lines().filter_map(group) {
        let Some((_, how)) = ROOT_IN_DISGUISE.iter().find(|(group, _)| *group == name) else {
            continue;
        };
        let members = members(&known, gid, &listed);
        if !members.is_empty() {
            let what = format!(
                "group {name} has members: {}. Who is in it {how}",
                members.join(", ")
            );
            let mend =
                format!("gpasswd -d USER {name}; give them a grant for what they need it for");
            found.push(Finding::of(&kinds::GROUP_ROOT, what, mend));
        }
    }
    found
}

fn group(line: &str) -> Option<(&str, u32, Vec<&str>)> {
    let mut fields = line.split(':');
    let name = fields.next()?;
    let gid = fields.nth(1)?.parse().ok()?;
    let listed = fields.next()?.split(',').filter(|name| !name.is_empty());
    Some((name, gid, listed.collect()))
}

/// The people in a group, by its list or as their own. Root needs none, and what runs under an
/// account that nobody can log in to is not a person.
fn members(known: &[Account], gid: u32, listed: &[&str]) -> Vec<String> {
    let is_person = |account: &&Account| {
        let shut = ["/nologin", "/false", "/sync"]
            .iter()
            .any(|end| account.shell.ends_with(end));
        account.uid != 0 && !shut
    };
    let own = known
        .iter()
        .filter(|account| account.gid == gid)
        .filter(is_person);
    let mut members: Vec<String> = own.map(|account| account.name.clone()).collect();
    for name in listed {
        // One that is not in the file may come from a directory.
        let account = known.iter().find(|account| account.name == *name);
        if account.is_none_or(|account| is_person(&account)) {
            members.push((*name).to_owned());
        }
    }
    members.sort_unstable();
    members.dedup();
    members
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::host::tests::{Made, ids};

    const PASSWD: &str = "root:x:0:0::/root:/bin/bash\ndaemon:x:1:1::/:/usr/sbin/nologin\nalice:x:1000:1000::/home/alice:/bin/bash\n";

    fn found(passwd: &str, group: &str) -> Vec<Finding> {
        look(&Made::of(&[("etc/passwd", passwd), ("etc/group", group)]).host)
    }

    #[test]
    fn people_in_groups_that_are_root_are_found_and_services_are_not() {
        for group in ["docker", "lxd", "disk", "shadow", "kmem"] {
            let found = found(PASSWD, &format!("{group}:x:77:daemon,alice\n"));
            assert_eq!(ids(&found), ["group-is-root"]);
            assert!(found[0].what.contains("members: alice. "), "{found:?}");
        }
        for (passwd, group) in [
            (
                PASSWD.to_owned(),
                "docker:x:77:\nshadow:x:42:daemon,root\nsudo:x:27:alice\n",
            ),
            (PASSWD.replace("1000:1000", "1000:77"), "dockers:x:77:\n"),
        ] {
            assert_eq!(ids(&found(&passwd, group)), [""; 0], "{group}");
        }
        let own = PASSWD.replace("1000:1000", "1000:77");
        assert_eq!(ids(&found(&own, "docker:x:77:\n")), ["group-is-root"]);
        assert_eq!(
            ids(&found(PASSWD, "docker:x:77:from-ldap\n")),
            ["group-is-root"]
        );
    }

    #[test]
    fn a_second_root_is_found() {
        let twin = format!("{PASSWD}toor:x:0:0::/root:/bin/sh\n");
        assert_eq!(ids(&found(&twin, "")), ["uid0-twin"]);
        assert_eq!(ids(&found(PASSWD, "")), [""; 0]);
    }
}
