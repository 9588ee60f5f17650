//! Files that give root away: setuid programs nobody knows, and what the agent reads.

use std::collections::HashSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::host::{Finding, Host};
use super::kinds;
use crate::pam::module::trusted;

/// Setuid-root programs that distributions ship. Each is its own package's business, not a
/// surprise; the doors among them are looked at elsewhere.
const KNOWN: &[&str] = &[
    "Xorg.wrap",
    "at",
    "authopen",
    "bwrap",
    "cdda2wav",
    "cdrecord",
    "chage",
    "chfn",
    "chrome-sandbox",
    "chrome_sandbox",
    "chsh",
    "chkey",
    "crontab",
    "dbus-daemon-launch-helper",
    "doas",
    "exim4",
    "expiry",
    "fusermount",
    "fusermount-glusterfs",
    "fusermount3",
    "gpasswd",
    "gnome-system-log",
    "grub2-set-bootflag",
    "helper_suid",
    "incus-user",
    "ksu",
    "locate",
    "lxc-user-nic",
    "mount",
    "mount.cifs",
    "mount.davfs",
    "mount.ecryptfs_private",
    "mount.nfs",
    "mtr-packet",
    "ndisc6",
    "newgidmap",
    "newgrp",
    "newuidmap",
    "ntfs-3g",
    "opiepasswd",
    "pam-tmpdir-helper",
    "pam_timestamp_check",
    "passwd",
    "ping",
    "ping4",
    "ping6",
    "pkexec",
    "pmount",
    "polkit-agent-helper-1",
    "postdrop",
    "postqueue",
    "pppd",
    "procmail",
    "pumount",
    "rcp",
    "rdisc6",
    "rlogin",
    "rltraceroute6",
    "rsh",
    "sg",
    "snap-confine",
    "ssh-agent",
    "ssh-keysign",
    "staprun",
    "starter-suid",
    "su",
    "su-rs",
    "sudo",
    "sudo-rs",
    "sudoedit",
    "sudoedit-rs",
    "sudoreplay",
    "suexec",
    "suexec-custom",
    "suexec-pristine",
    "swtpm",
    "traceroute",
    "traceroute6",
    "traceroute6.iputils",
    "umount",
    "unix_chkpwd",
    "unix2_chkpwd",
    "userhelper",
    "usernetctl",
    "utempter",
    "vmware-user-suid-wrapper",
    "VBoxHeadless",
    "VBoxNetAdpCtl",
    "VBoxNetDHCP",
    "VBoxNetNAT",
    "VBoxSDL",
    "VBoxVolInfo",
    "VirtualBoxVM",
    "write",
    "xlock",
    "zypp-refresh-wrapper",
];

/// Where programs are looked for, in this order: what people run first.
const FOLDERS: [&str; 11] = [
    "usr/local/sbin",
    "usr/local/bin",
    "usr/sbin",
    "usr/bin",
    "sbin",
    "bin",
    "usr/libexec",
    "usr/lib",
    "opt",
    "usr/local",
    "usr",
];

/// How long looking for setuid programs may take.
const PATIENCE: Duration = Duration::from_millis(1500);

/// How many surprises are worth a finding each.
const MOST: usize = 20;

/// Everything about files.
pub(super) fn look(host: &Host) -> Vec<Finding> {
    let mut found = setuid(host, Instant::now() + PATIENCE);
    found.extend(configuration(host));
    found
}

/// Setuid-root programs that are not known, on the file systems of these folders.
fn setuid(host: &Host, end: Instant) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut seen = HashSet::new();
    // A folder comes before what is below it is met again from above.
    for folder in FOLDERS {
        let start = host.path(folder);
        let Ok(meta) = start.metadata() else { continue };
        let mut todo = vec![start.clone()];
        while let Some(folder) = todo.pop() {
            if Instant::now() >= end {
                let top = start.display();
                let left = format!(
                    "setuid programs in a part of {top}: there was too much to look through"
                );
                host.not_seen(left);
                return found;
            }
            let Ok(here) = folder.metadata() else {
                continue;
            };
            // Other file systems (network, containers) are not this host's programs.
            if here.dev() != meta.dev() || !seen.insert((here.dev(), here.ino())) {
                continue;
            }
            let Ok(entries) = folder.read_dir() else {
                continue;
            };
            for entry in entries.flatten() {
                match entry.file_type() {
                    Ok(kind) if kind.is_dir() => todo.push(entry.path()),
                    Ok(kind) if kind.is_file() => found.extend(surprise(&entry.path())),
                    _ => {}
                }
            }
        }
    }
    found.sort_by(|a, b| a.what.cmp(&b.what));
    found.dedup();
    if found.len() > MOST {
        host.not_seen(format!(
            "{} further setuid programs that are not known",
            found.len() - MOST
        ));
        found.truncate(MOST);
    }
    found
}

fn surprise(path: &Path) -> Option<Finding> {
    let meta = path.symlink_metadata().ok()?;
    let runs_as_root = meta.mode() & 0o4000 != 0 && meta.uid() == 0 && meta.mode() & 0o111 != 0;
    let name = path.file_name()?.to_str().unwrap_or_default();
    // What distributions ship lies elsewhere.
    let shipped = !path.components().any(|part| part.as_os_str() == "local");
    if !runs_as_root || shipped && KNOWN.contains(&name) {
        return None;
    }
    let what = format!(
        "{} is setuid root (mode {:04o})",
        path.display(),
        meta.mode() & 0o7777
    );
    let mend = format!(
        "find out whose it is (dpkg -S or rpm -qf {0}); if nobody needs it: chmod u-s {0}",
        path.display()
    );
    Some(Finding::of(&kinds::SETUID_UNKNOWN, what, mend))
}

/// The agent's own files, which it does not believe if others can write them.
fn configuration(host: &Host) -> Vec<Finding> {
    let mut paths: Vec<PathBuf> = vec![host.path("etc/pam_jit/agent.toml")];
    if let Ok(entries) = host.path("etc/pam_jit/grants.d").read_dir() {
        let grants = entries.flatten().map(|entry| entry.path());
        paths.extend(grants.filter(|path| path.extension().is_some_and(|end| end == "toml")));
    }
    paths.retain(|path| path.exists());
    let faults = paths.iter().filter_map(|path| trusted(path).err());
    faults
        .map(|fault| {
            let (what, mend) = fault
                .rsplit_once("; run: ")
                .unwrap_or((&fault, "make it root's"));
            Finding::of(&kinds::CONFIG_UNTRUSTED, what, mend)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::host::tests::{Made, ids};
    use std::os::unix::fs::PermissionsExt;

    fn mode(made: &Made, path: &str, mode: u32) {
        std::fs::set_permissions(made.host.path(path), PermissionsExt::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_setuid_program_that_nobody_knows_is_found_wherever_it_hides() {
        let made = Made::of(&[
            ("usr/bin/passwd", ""),
            ("usr/lib/a/b/c/helper", ""),
            ("usr/local/bin/rootme", ""),
            ("usr/bin/plain", ""),
        ]);
        mode(&made, "usr/bin/passwd", 0o4755);
        assert_eq!(look(&made.host), []);
        mode(&made, "usr/lib/a/b/c/helper", 0o4711);
        made.write("usr/local/bin/passwd", "");
        mode(&made, "usr/local/bin/passwd", 0o4755);
        mode(&made, "usr/local/bin/rootme", 0o6755);
        // Without the right to run it, the bit does nothing.
        mode(&made, "usr/bin/plain", 0o4644);
        let found = look(&made.host);
        assert_eq!(found.len(), 3, "{found:?}");
        assert_eq!(ids(&found), ["setuid-unknown"]);
    }

    #[test]
    fn a_search_that_takes_too_long_says_what_it_left_out() {
        let made = Made::of(&[]);
        assert_eq!(setuid(&made.host, Instant::now()), []);
        assert!(made.host.unseen()[0].contains("too much"));
    }

    #[test]
    fn files_that_grant_power_and_are_not_roots_alone_are_found() {
        let made = Made::of(&[
            ("etc/pam_jit/agent.toml", ""),
            ("etc/pam_jit/grants.d/a.toml", ""),
        ]);
        assert_eq!(look(&made.host), []);
        mode(&made, "etc/pam_jit/grants.d/a.toml", 0o664);
        mode(&made, "etc/pam_jit/agent.toml", 0o646);
        let found = look(&made.host);
        assert_eq!((found.len(), ids(&found)), (2, vec!["config-untrusted"]));
    }
}
