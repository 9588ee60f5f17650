//! sshd: whether it asks PAM at all, and root's own keys.

use std::path::{Path, PathBuf};

use super::host::{Finding, Host};
use super::kinds;
use crate::pam::status::Service;

const PROGRAM: &str = "usr/sbin/sshd";
const CONFIG: &str = "etc/ssh/sshd_config";

/// How deep sshd follows `Include`.
const DEEPEST: usize = 16;

/// What of its configuration matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Settings {
    use_pam: String,
    root: String,
    sessions: String,
    keys: Vec<String>,
    /// Where a `Match` block lets root in although the rest does not: `file:line`.
    matched: Vec<String>,
}

/// Everything about sshd.
pub(super) fn look(host: &Host, gated: &[Service]) -> Vec<Finding> {
    if !host.has(PROGRAM) {
        return Vec::new();
    }
    let settings = settings(host);
    let mut found = Vec::new();
    if gated.iter().any(|service| service.service == "sshd") {
        if settings.use_pam != "yes" {
            let what = "sshd runs with 'UsePAM no'";
            found.push(Finding::of(
                &kinds::SSHD_USEPAM,
                what,
                "UsePAM yes in /etc/ssh/sshd_config; restart sshd",
            ));
        }
        if settings
            .sessions
            .parse::<u32>()
            .is_ok_and(|count| count > 1)
        {
            let what = format!(
                "sshd allows {} sessions over one connection (MaxSessions)",
                settings.sessions
            );
            let mend = "MaxSessions 1, if entry is by grant and must end with it";
            found.push(Finding::of(&kinds::SSHD_MULTIPLEX, what, mend));
        }
    }
    let mut root_enters = settings.root != "no";
    if root_enters {
        let what = format!("sshd lets root in (PermitRootLogin {})", settings.root);
        found.push(Finding::of(
            &kinds::SSHD_ROOT,
            what,
            "PermitRootLogin no; restart sshd",
        ));
    }
    for place in &settings.matched {
        root_enters = true;
        let what = format!("{place}: a Match block lets root in");
        found.push(Finding::of(
            &kinds::SSHD_ROOT,
            what,
            "take it out; restart sshd",
        ));
    }
    if root_enters {
        found.extend(keys(host, &settings));
    }
    found
}

/// What sshd itself says is in force, or else what its file says.
fn settings(host: &Host) -> Settings {
    let text = host.text(&host.path(CONFIG)).unwrap_or_default();
    let mut read = Reader {
        host,
        settings: Settings {
            use_pam: String::new(),
            root: String::new(),
            sessions: String::new(),
            keys: Vec::new(),
            matched: Vec::new(),
        },
        in_match: false,
    };
    read.lines(&text, &host.path(CONFIG), 0);
    let mut settings = read.settings;
    if let Some(said) = host.ask(PROGRAM, &["-T"]) {
        let value = |key: &str| {
            let mut lines = said.lines();
            lines
                .find_map(|line| line.strip_prefix(key)?.strip_prefix(' '))
                .map(str::to_owned)
        };
        // It says nothing of this without its host keys, which are root's.
        if let (Some(use_pam), Some(root)) = (value("usepam"), value("permitrootlogin")) {
            (settings.use_pam, settings.root) = (use_pam, root);
            settings.sessions = value("maxsessions").unwrap_or_default();
            let keys = value("authorizedkeysfile").unwrap_or_default();
            settings.keys = keys.split_whitespace().map(str::to_owned).collect();
            return settings;
        }
    }
    // sshd_config(5): what it is where nothing is said.
    let default = |value: &mut String, default: &str| {
        if value.is_empty() {
            default.clone_into(value);
        }
    };
    default(&mut settings.use_pam, "no");
    default(&mut settings.root, "prohibit-password");
    default(&mut settings.sessions, "10");
    if settings.keys.is_empty() {
        settings.keys = [".ssh/authorized_keys", ".ssh/authorized_keys2"]
            .map(str::to_owned)
            .into();
    }
    settings
}

struct Reader<'h> {
    host: &'h Host,
    settings: Settings,
    in_match: bool,
}

impl Reader<'_> {
    /// The first value of a key counts; keywords know no case.
    fn lines(&mut self, text: &str, path: &Path, depth: usize) {
        for (nr, line) in text.lines().enumerate() {
            let line = line.trim();
            let end = line.find([' ', '\t', '=']).unwrap_or(line.len());
            let (key, value) = line.split_at_checked(end).unwrap_or((line, ""));
            let value = value
                .trim_start_matches([' ', '\t', '='])
                .trim()
                .trim_matches('"');
            let set = |place: &mut String| {
                if place.is_empty() {
                    value.to_ascii_lowercase().clone_into(place);
                }
            };
            match key.to_ascii_lowercase().as_str() {
                "match" => self.in_match = !value.eq_ignore_ascii_case("all"),
                "permitrootlogin" if self.in_match && value.eq_ignore_ascii_case("no") => {}
                "permitrootlogin" if self.in_match => {
                    let place = format!("{}:{}", path.display(), nr + 1);
                    self.settings.matched.push(place);
                }
                "include" if depth < DEEPEST => {
                    for pattern in value.split_whitespace() {
                        self.include(pattern, depth);
                    }
                }
                _ if self.in_match => {}
                "permitrootlogin" => set(&mut self.settings.root),
                "usepam" => set(&mut self.settings.use_pam),
                "maxsessions" => set(&mut self.settings.sessions),
                "authorizedkeysfile" if self.settings.keys.is_empty() => {
                    self.settings.keys = value.split_whitespace().map(str::to_owned).collect();
                }
                _ => {}
            }
        }
    }

    /// A file, or all of a folder by a pattern in the last part (`/etc/ssh/sshd_config.d/*.conf`).
    fn include(&mut self, pattern: &str, depth: usize) {
        let whole = match pattern.starts_with('/') {
            true => self.host.path(pattern),
            false => self.host.path("etc/ssh").join(pattern),
        };
        let name = whole
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let mut paths = vec![whole.clone()];
        if let Some((start, end)) = name.split_once('*') {
            let entries = whole.parent().and_then(|folder| folder.read_dir().ok());
            paths = entries
                .into_iter()
                .flatten()
                .flatten()
                .map(|e| e.path())
                .collect();
            paths.retain(|path: &PathBuf| {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                name.starts_with(start) && name.ends_with(end) && !name.starts_with('.')
            });
            paths.sort_unstable();
        }
        for path in paths {
            if let Some(text) = self.host.text(&path) {
                self.lines(&text, &path, depth + 1);
            }
        }
    }
}

fn keys(host: &Host, settings: &Settings) -> Option<Finding> {
    let mut found = Vec::new();
    for file in &settings.keys {
        let path = file.replace("%h", "/root").replace("%u", "root");
        let path = match path.starts_with('/') {
            true => host.path(&path),
            false => host.path("root").join(&path),
        };
        let Some(text) = host.text(&path) else {
            continue;
        };
        let keys = text.lines().map(str::trim);
        let count = keys
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .count();
        if count > 0 {
            found.push(format!("{} ({count})", path.display()));
        }
    }
    let what = format!("root has authorized keys: {}", found.join(", "));
    let mend = "remove them, or PermitRootLogin no; keep a way in at the console";
    (!found.is_empty()).then(|| Finding::of(&kinds::ROOT_KEYS, what, mend))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::host::tests::{Made, ids};

    const LINES: &str =
        "auth required pam_jit.so\naccount required pam_jit.so\nsession required pam_jit.so\n";
    const KEYS: (&str, &str) = ("root/.ssh/authorized_keys", "# c\n\nssh-ed25519 AAAA x\n");

    fn made(config: &str, more: &[(&str, &str)]) -> Made {
        let made = Made::of(more);
        made.write("usr/sbin/sshd", "");
        made.write(CONFIG, config);
        made
    }

    fn found(made: &Made) -> Vec<&'static str> {
        ids(&look(&made.host, &crate::doctor::pam::gated(&made.host)))
    }

    #[test]
    fn what_the_file_says_is_read_where_sshd_says_nothing() {
        assert_eq!(
            found(&made(
                "UsePAM yes\nPermitRootLogin no\nMaxSessions 1\n",
                &[]
            )),
            [""; 0]
        );
        // Its own defaults let root in by key, and do not ask PAM.
        let host = made("", &[("etc/pam.d/sshd", LINES), KEYS]);
        assert_eq!(
            found(&host),
            [
                "root-authorized-keys",
                "sshd-multiplexing",
                "sshd-root-login",
                "sshd-usepam-no"
            ]
        );
        assert_eq!(
            found(&made("permitrootlogin=NO\nPermitRootLogin yes\n", &[KEYS])),
            [""; 0]
        );
        let block =
            "PermitRootLogin no\nMatch Address 10.0.0.0/8\n PermitRootLogin yes\nMatch all\n";
        assert_eq!(found(&made(block, &[])), ["sshd-root-login"]);
        let include = "Include /etc/ssh/sshd_config.d/*.conf\nPermitRootLogin yes\n";
        let inner = ("etc/ssh/sshd_config.d/a.conf", "PermitRootLogin no\n");
        assert_eq!(found(&made(include, &[inner])), [""; 0]);
        assert_eq!(
            found(&made("Include sshd_config\nPermitRootLogin no", &[])),
            [""; 0]
        );
    }

    #[test]
    fn what_sshd_says_outranks_its_file() {
        let made = Made::answering(
            &[
                ("usr/sbin/sshd", ""),
                (CONFIG, "PermitRootLogin yes\n"),
                ("etc/pam.d/sshd", LINES),
            ],
            |_, _| {
                Some("usepam yes\npermitrootlogin no\nmaxsessions 1\nauthorizedkeysfile .ssh/authorized_keys\n".to_owned())
            },
        );
        assert_eq!(found(&made), [""; 0]);
    }

    #[test]
    fn without_sshd_there_is_nothing_to_say() {
        assert_eq!(
            found(&Made::of(&[(CONFIG, "PermitRootLogin yes\n")])),
            [""; 0]
        );
    }
}
