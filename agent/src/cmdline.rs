//! A conservative reading of sudo's command line.
//!
//! PAM never hears of sudo's edit mode or of a chosen group, and both give more than the target
//! user: sudoedit copies files into the caller's hands before any session opens, and `-g disk`
//! adds a group to whichever user. So the command line is read for anything that *could* ask for
//! them. A wrong yes costs a person a grant for `root`; a wrong no would cost a file.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// sudo's short options that take an argument, of every sudo and platform (`sudo(8)`); where one
/// takes it only sometimes (`-h`), taking it is the reading that looks further.
const TAKES_ARGUMENT: &[u8] = b"aCcDghpRrTtuU";

/// Whether this command line (`/proc/PID/cmdline` in base64) could ask for edit mode or for a
/// group. Yes for one that is absent, unreadable or empty.
#[must_use]
pub fn changes_more_than_the_user(encoded: Option<&str>) -> bool {
    let Some(bytes) = encoded.and_then(|text| STANDARD.decode(text).ok()) else {
        return true;
    };
    let words = words(&bytes);
    let Some((program, rest)) = words.split_first() else {
        return true;
    };
    base_name(program).ends_with(b"edit")
        || words
            .iter()
            .any(|word| matches!(base_name(word), b"sudoedit" | b"sudoedit-rs"))
        || options_ask_for_more(rest)
}

/// The command's base name, for the audit record: the first word that is neither an option nor an
/// option's argument nor `VAR=value`. A guess for people to read, nothing depends on it.
#[must_use]
pub fn command(encoded: Option<&str>, full: bool) -> Option<String> {
    let bytes = STANDARD.decode(encoded?).ok()?;
    let words = words(&bytes);
    let rest = words.get(1..)?;
    let mut takes_argument = false;
    let at = rest.iter().position(|word| {
        let is_argument = std::mem::take(&mut takes_argument) && !word.starts_with(b"-");
        if word.starts_with(b"-") {
            takes_argument = expects_argument(word);
        }
        !is_argument && !word.starts_with(b"-") && !word.contains(&b'=')
    })?;
    let command = rest.get(at..)?;
    let text = if full {
        command.join(&b' ')
    } else {
        base_name(command.first()?).to_vec()
    };
    Some(String::from_utf8_lossy(&text).into_owned())
}

fn words(bytes: &[u8]) -> Vec<&[u8]> {
    let bytes = bytes.strip_suffix(b"\0").unwrap_or(bytes);
    if bytes.is_empty() {
        Vec::new()
    } else {
        bytes.split(|b| *b == 0).collect()
    }
}

fn base_name(word: &[u8]) -> &[u8] {
    word.rsplit(|b| *b == b'/').next().unwrap_or(word)
}

fn options_ask_for_more(words: &[&[u8]]) -> bool {
    let mut is_argument = false;
    for word in words {
        // A word in an argument's place that looks like an option is read as one all the same.
        let was_argument = std::mem::replace(&mut is_argument, expects_argument(word));
        if let Some(long) = word.strip_prefix(b"--") {
            if long.is_empty() && !was_argument {
                return false;
            }
            if could_be(long, b"edit") || could_be(long, b"group") {
                return true;
            }
        } else if let Some(cluster) = word.strip_prefix(b"-") {
            if cluster.iter().any(|b| matches!(b, b'e' | b'g')) {
                return true;
            }
        } else if !was_argument && !word.contains(&b'=') {
            // The command: what follows is its own.
            return false;
        }
    }
    false
}

/// Whether `getopt_long(3)` would take this word, without its `=value`, for that option. An empty
/// name (`--` in an argument's place) is no option.
fn could_be(word: &[u8], option: &[u8]) -> bool {
    let name = word.split(|b| *b == b'=').next().unwrap_or(word);
    !name.is_empty() && option.starts_with(name)
}

fn expects_argument(word: &[u8]) -> bool {
    if let Some(long) = word.strip_prefix(b"--") {
        // Which long options take one differs between sudos: look past the next word always.
        return !long.is_empty() && !long.contains(&b'=');
    }
    word.strip_prefix(b"-")
        .and_then(<[u8]>::last)
        .is_some_and(|last| TAKES_ARGUMENT.contains(last))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(line: &str) -> String {
        let mut bytes: Vec<u8> = line.split(' ').collect::<Vec<_>>().join("\0").into_bytes();
        bytes.push(0);
        STANDARD.encode(bytes)
    }

    fn more(line: &str) -> bool {
        changes_more_than_the_user(Some(&encode(line)))
    }

    #[test]
    fn edit_mode_and_groups_are_seen_wherever_sudo_would_see_them() {
        for line in [
            "sudoedit /etc/shadow",
            "/usr/bin/sudoedit f",
            "myedit f",
            "sudo -e f",
            "sudo -ne f",
            "sudo -nu postgres -e f",
            "sudo sudoedit f",
            "sudo -u postgres /usr/bin/sudoedit f",
            "sudo sudoedit-rs f",
            "sudo --edit f",
            "sudo --ed f",
            "sudo --e f",
            "sudo -g disk id",
            "sudo -gdisk id",
            "sudo -u postgres -g disk id",
            "sudo -upostgres -gdisk id",
            "sudo --user postgres --group disk id",
            "sudo --user=postgres --group=disk id",
            "sudo --us postgres --gr disk id",
            "sudo A=b -g disk id",
            "sudo -u postgres A=b -g disk id",
            "sudo -p -- -g disk id",
            "sudo -h web1 -g disk id",
            "sudo -C 5 -D /tmp -g disk id",
        ] {
            assert!(more(line), "{line}");
        }
    }

    #[test]
    fn a_plain_command_with_such_options_of_its_own_is_plain() {
        for line in [
            "sudo id",
            "sudo -u postgres psql -e",
            "sudo -n -u postgres grep -e x --group f",
            "sudo -u postgres -- ls -g",
            "sudo -k",
            "sudo -S -p code: id -g",
            "sudo A=b id -g",
            "sudo -i -u postgres",
            "sudo -s",
            "sudo -l",
            "sudo --user=postgres id -e",
        ] {
            assert!(!more(line), "{line}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_taken_for_the_worst() {
        assert!(changes_more_than_the_user(None));
        assert!(changes_more_than_the_user(Some("")));
        assert!(changes_more_than_the_user(Some("not base64 !")));
        assert!(changes_more_than_the_user(Some(&STANDARD.encode(b"\0"))));
    }

    #[test]
    fn names_the_command_for_the_record() {
        assert_eq!(
            command(Some(&encode("sudo -nu bob A=b /bin/ls -l")), false).unwrap(),
            "ls"
        );
        assert_eq!(
            command(Some(&encode("sudo -u bob ls -l /x")), true).unwrap(),
            "ls -l /x"
        );
        assert_eq!(command(Some(&encode("sudo -v")), false), None);
    }
}
