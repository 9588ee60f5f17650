//! sudoers and sudo itself: settings with which sudo does not ask us.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::host::{Finding, Host};
use super::kinds;
use crate::pam::status::Service;

/// Where sudo-rs may be installed; the first two may be the other sudo.
const PROGRAMS: [&str; 4] = [
    "usr/bin/sudo",
    "usr/local/bin/sudo",
    "usr/bin/sudo-rs",
    "usr/lib/cargo/bin/sudo",
];

/// The first sudo-rs that runs the account phase for sudoedit and `-l`.
const FIXED: [u64; 3] = [0, 2, 14];

/// As sudo itself: deeper is a loop.
const DEEPEST: usize = 128;

/// The settings that name the PAM service.
const SERVICES: [&str; 3] = ["pam_service", "pam_login_service", "pam_askpass_service"];

/// Everything about sudo.
pub(super) fn look(host: &Host, gated: &[Service]) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut lines = Vec::new();
    // sudo-rs prefers a file of its own.
    for file in ["etc/sudoers", "etc/sudoers-rs"] {
        read(host, &host.path(file), 0, &mut lines);
    }
    directory(host);
    for line in &lines {
        found.extend(settings(line, gated));
    }
    let mut real = HashSet::new();
    for program in PROGRAMS {
        // Links to one program are one program.
        if host
            .path(program)
            .canonicalize()
            .is_ok_and(|path| real.insert(path))
        {
            found.extend(old(host, program));
        }
    }
    found
}

/// Rules that do not come out of files are not seen here.
fn directory(host: &Host) {
    let text = host
        .text(&host.path("etc/nsswitch.conf"))
        .unwrap_or_default();
    let sources = text
        .lines()
        .find_map(|line| line.trim_start().strip_prefix("sudoers:"));
    let other = |word: &str| !word.starts_with(['#', '[']) && word != "files";
    if sources.is_some_and(|sources| sources.split_whitespace().any(other)) {
        host.not_seen("sudoers that come from a directory (nsswitch.conf)");
    }
}

/// A line of sudoers, continuations joined.
struct Line {
    file: PathBuf,
    nr: usize,
    text: String,
}

fn read(host: &Host, path: &Path, depth: usize, lines: &mut Vec<Line>) {
    let Some(text) = host.text(path) else { return };
    if depth > DEEPEST {
        return;
    }
    let mut open: Option<(usize, String)> = None;
    for (nr, part) in text.lines().enumerate() {
        let (first, mut joined) = open.take().unwrap_or((nr + 1, String::new()));
        match part.strip_suffix('\\') {
            Some(part) => {
                joined.push_str(part);
                open = Some((first, joined));
            }
            None => {
                joined.push_str(part);
                line(host, path, first, joined.trim(), depth, lines);
            }
        }
    }
    if let Some((first, joined)) = open {
        line(host, path, first, joined.trim(), depth, lines);
    }
}

fn line(host: &Host, path: &Path, nr: usize, text: &str, depth: usize, lines: &mut Vec<Line>) {
    let directive = |word: &str| {
        let rest = text.strip_prefix(['#', '@'])?.strip_prefix(word)?;
        rest.starts_with([' ', '\t'])
            .then(|| rest.trim().trim_matches('"').replace("\\ ", " "))
    };
    let place = |name: &str| match name.strip_prefix('/') {
        Some(_) => host.path(name),
        None => path.with_file_name(name),
    };
    if let Some(folder) = directive("includedir") {
        let folder = place(&folder);
        let mut names: Vec<PathBuf> = match folder.read_dir() {
            Ok(entries) => entries.flatten().map(|entry| entry.path()).collect(),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(e) => {
                host.not_seen(format!("{}: {e}", folder.display()));
                Vec::new()
            }
        };
        names.sort_unstable();
        // sudo skips these too.
        let kept = |path: &&PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            !name.contains('.') && !name.ends_with('~')
        };
        for path in names.iter().filter(kept) {
            read(host, path, depth + 1, lines);
        }
    } else if let Some(file) = directive("include") {
        read(host, &place(&file), depth + 1, lines);
    } else if !text.starts_with('#') && text.starts_with("Defaults") {
        lines.push(Line {
            file: path.to_owned(),
            nr,
            text: text.split(" #").next().unwrap_or(text).to_owned(),
        });
    }
}

fn settings(line: &Line, gated: &[Service]) -> Vec<Finding> {
    let place = format!("{}:{}", line.file.display(), line.nr);
    let mend = "take it out, with visudo";
    let mut found = Vec::new();
    for (setting, kind) in [
        ("pam_acct_mgmt", &kinds::SUDOERS_ACCOUNT),
        ("pam_session", &kinds::SUDOERS_SESSION),
    ] {
        if is_off(&line.text, setting) {
            found.push(Finding::of(kind, format!("{place}: {}", line.text), mend));
        }
    }
    for setting in SERVICES {
        let Some(service) = value(&line.text, setting) else {
            continue;
        };
        if !gated
            .iter()
            .any(|gate| gate.service == service && gate.enabled)
        {
            let what = format!("{place}: {setting} is {service:?}, which does not come to pam_jit");
            found.push(Finding::of(
                &kinds::SUDOERS_SERVICE,
                what,
                format!("{mend}, or: jit pam enable {service}"),
            ));
        }
    }
    found
}

/// Whether a setting is switched off, with `!` before it and perhaps blanks between.
fn is_off(text: &str, setting: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.match_indices(setting).any(|(at, _)| {
        let (before, after) = text.split_at(at);
        let after = after.get(setting.len()..).unwrap_or_default();
        !after.starts_with(word) && before.trim_end().ends_with('!')
    })
}

fn value<'t>(text: &'t str, setting: &str) -> Option<&'t str> {
    let at = text.match_indices(setting).find(|(at, _)| {
        // Not pam_service within pam_login_service's neighbours: a whole word.
        let before = text.get(..*at).unwrap_or_default();
        !before.ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
    })?;
    let rest = text
        .get(at.0 + setting.len()..)?
        .trim_start()
        .strip_prefix('=')?;
    let rest = rest.trim_start().trim_start_matches('"');
    rest.split([',', '"', ' ', '\t'])
        .next()
        .filter(|name| !name.is_empty())
}

/// An installed sudo-rs that is too old.
fn old(host: &Host, program: &str) -> Option<Finding> {
    let said = host.ask(program, &["--version"])?;
    let version = said
        .lines()
        .find_map(|line| line.strip_prefix("sudo-rs "))?;
    let version = version.split_whitespace().next()?;
    let mut numbers = version.split('.').map(|part| {
        let digits: String = part.chars().take_while(char::is_ascii_digit).collect();
        digits.parse::<u64>().unwrap_or(0)
    });
    let mine: [u64; 3] = std::array::from_fn(|_| numbers.next().unwrap_or(0));
    (mine < FIXED).then(|| {
        let what = format!("/{program} is sudo-rs {version}");
        Finding::of(
            &kinds::SUDO_RS_OLD,
            what,
            "install sudo-rs 0.2.14 or later, or the other sudo",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::host::tests::{Made, ids};

    fn found(sudoers: &str, more: &[(&str, &str)]) -> Vec<&'static str> {
        let made = Made::of(more);
        made.write("etc/sudoers", sudoers);
        ids(&look(&made.host, &[]))
    }

    #[test]
    fn switches_that_leave_us_out_are_found_in_every_spelling() {
        for (line, id) in [
            ("Defaults !pam_acct_mgmt", "sudoers-pam-acct-mgmt"),
            ("Defaults\tenv_reset, ! pam_session", "sudoers-pam-session"),
            ("Defaults:alice !pam_session", "sudoers-pam-session"),
            (
                "Defaults>root,postgres !pam_acct_mgmt,env_reset",
                "sudoers-pam-acct-mgmt",
            ),
            ("Defaults@web1 !pam_session", "sudoers-pam-session"),
            (
                "Defaults!/usr/bin/vi, /usr/bin/id !pam_session",
                "sudoers-pam-session",
            ),
            (
                "Defaults env_reset, \\\n  !pam_session",
                "sudoers-pam-session",
            ),
            ("Defaults pam_service = \"other\"", "sudoers-pam-service"),
            ("Defaults pam_login_service=su", "sudoers-pam-service"),
            (
                "Defaults pam_askpass_service=x, env_reset",
                "sudoers-pam-service",
            ),
        ] {
            assert_eq!(found(line, &[]), [id], "{line}");
        }
        for line in [
            "# Defaults !pam_session",
            "Defaults pam_session, !env_reset",
            "Defaults !pam_sessions",
            "Defaults env_reset # !pam_session",
            "alice ALL=(ALL) !pam_session",
        ] {
            assert_eq!(found(line, &[]), [""; 0], "{line}");
        }
    }

    #[test]
    fn rules_out_of_a_directory_are_said_not_to_be_seen() {
        for (sources, seen) in [
            ("sudoers: files sss", false),
            ("sudoers: files", true),
            ("sudo: ldap", true),
        ] {
            let made = Made::of(&[("etc/nsswitch.conf", sources)]);
            look(&made.host, &[]);
            assert_eq!(made.host.unseen().is_empty(), seen, "{sources}");
        }
    }

    #[test]
    fn includes_are_followed_and_loops_end() {
        let bad = "Defaults !pam_session\n";
        for include in [
            "@includedir /etc/sudoers.d",
            "#includedir /etc/sudoers.d",
            "@include sudoers.d/x",
            "#include \"/etc/sudoers.d/x\"",
        ] {
            assert_eq!(
                found(include, &[("etc/sudoers.d/x", bad)]),
                ["sudoers-pam-session"],
                "{include}"
            );
        }
        assert_eq!(
            found(
                "@includedir /etc/sudoers.d",
                &[("etc/sudoers.d/x.bak", bad), ("etc/sudoers.d/x~", bad)]
            ),
            [""; 0]
        );
        assert_eq!(
            found("@include /etc/sudoers\nDefaults !pam_session", &[]),
            ["sudoers-pam-session"]
        );
        assert_eq!(
            found("", &[("etc/sudoers-rs", bad)]),
            ["sudoers-pam-session"]
        );
    }

    #[test]
    fn an_old_sudo_rs_is_found_and_a_new_one_and_the_other_sudo_are_not() {
        for (version, old) in [
            ("sudo-rs 0.2.5", true),
            ("sudo-rs 0.2.13-0ubuntu1", true),
            ("sudo-rs 0.2.14", false),
            ("sudo-rs 0.3.0", false),
            ("sudo-rs 1.0.0", false),
            ("Sudo version 1.9.13p3", false),
        ] {
            let made = Made::answering(&[("usr/bin/sudo", "")], move |_, _| {
                Some(version.to_owned())
            });
            assert_eq!(!look(&made.host, &[]).is_empty(), old, "{version}");
        }
    }
}
