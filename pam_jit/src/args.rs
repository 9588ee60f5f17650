//! The words on the module's line in `/etc/pam.d`.

use std::path::PathBuf;
use std::time::Duration;

use crate::names;

/// How long an exchange with the agent may take unless the line says otherwise.
const TIMEOUT: Duration = Duration::from_secs(2);

/// The longest `timeout=`, in seconds. A person waits in front of this.
const LONGEST_TIMEOUT: u64 = 60;

/// The longest path that a unix socket can have (`sun_path` in unix(7), less its NUL).
const LONGEST_SOCKET: usize = 107;

/// The module's line, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Args {
    /// Where the agent listens.
    pub(crate) socket: PathBuf,
    /// How long an exchange may take, without the time a person types.
    pub(crate) timeout: Duration,
    /// Root without a remote host passes whatever the agent says.
    pub(crate) root_passes: bool,
    /// Accounts that pass when the agent cannot answer.
    pub(crate) rescue: Vec<String>,
    /// Ask, but refuse nothing.
    pub(crate) observe: bool,
    /// Log each hook.
    pub(crate) debug: bool,
    /// Where to panic.
    #[cfg(feature = "fault-injection")]
    pub(crate) panic: Option<String>,
}

/// A line that is not understood. Nothing on it is believed but what keeps people from being
/// locked out by a slip of the pen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bad {
    /// Which word, and why, fit for a log.
    pub(crate) what: String,
    /// Whether root's way in is still open: it is, unless the line may have meant to close it.
    pub(crate) root_passes: bool,
}

/// Whether the line says `observe`. Asked separately, since it must hold even when the rest of the
/// line is wrong or the module itself is.
pub(crate) fn observes(words: &[&[u8]]) -> bool {
    words.contains(&b"observe".as_slice())
}

impl Args {
    /// Reads the line.
    pub(crate) fn parse(words: &[&[u8]]) -> Result<Self, Bad> {
        let mut args = Self {
            socket: PathBuf::from(jit_protocol::AGENT_SOCKET),
            timeout: TIMEOUT,
            root_passes: true,
            rescue: Vec::new(),
            observe: false,
            debug: false,
            #[cfg(feature = "fault-injection")]
            panic: None,
        };
        let mut seen: Vec<&str> = Vec::new();
        for word in words {
            args.take(word, &mut seen).map_err(|why| Bad {
                what: format!("argument \"{}\": {why}", names::escaped(word)),
                root_passes: !words
                    .iter()
                    .any(|word| word.starts_with(b"root") && *word != b"root=always"),
            })?;
        }
        Ok(args)
    }

    fn take<'w>(&mut self, word: &'w [u8], seen: &mut Vec<&'w str>) -> Result<(), &'static str> {
        let word = str::from_utf8(word).map_err(|_| "is not UTF-8")?;
        let (key, value) = match word.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (word, None),
        };
        if seen.contains(&key) {
            return Err("is given twice");
        }
        seen.push(key);
        match (key, value) {
            ("socket", Some(path)) => {
                if !path.starts_with('/') || path.len() > LONGEST_SOCKET {
                    return Err("needs an absolute path of at most 107 bytes");
                }
                self.socket = PathBuf::from(path);
            }
            ("timeout", Some(seconds)) => {
                self.timeout = seconds
                    .parse()
                    .ok()
                    .filter(|seconds| (1..=LONGEST_TIMEOUT).contains(seconds))
                    .map(Duration::from_secs)
                    .ok_or("needs whole seconds, 1 to 60")?;
            }
            ("root", Some("always")) => self.root_passes = true,
            ("root", Some("ask")) => self.root_passes = false,
            ("root", _) => return Err("needs root=always or root=ask"),
            ("rescue", Some(users)) => {
                self.rescue = users.split(',').map(str::to_owned).collect();
                if self.rescue.iter().any(|name| !is_account(name)) {
                    return Err("needs login names with commas between: rescue=alice,bob");
                }
            }
            ("observe", None) => self.observe = true,
            ("debug", None) => self.debug = true,
            #[cfg(feature = "fault-injection")]
            ("panic", Some(place)) => self.panic = Some(place.to_owned()),
            ("socket" | "timeout" | "rescue", None) => return Err("needs a value"),
            ("observe" | "debug", Some(_)) => return Err("takes no value"),
            _ => {
                return Err(
                    "is unknown; there are socket=PATH timeout=SECONDS root=always|ask rescue=USER,... observe debug",
                );
            }
        }
        Ok(())
    }
}

/// Whether it could stand in the first field of a line of passwd(5).
fn is_account(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c == ':' || c.is_control() || c.is_whitespace())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Args, Bad> {
        let words: Vec<&[u8]> = line.split_whitespace().map(str::as_bytes).collect();
        Args::parse(&words)
    }

    #[test]
    fn an_empty_line_means_the_defaults() {
        let args = parse("").unwrap();
        assert_eq!(args.socket, PathBuf::from("/run/pam_jit/agent.sock"));
        assert_eq!(args.timeout, Duration::from_secs(2));
        assert!(args.root_passes && args.rescue.is_empty() && !args.observe && !args.debug);
    }

    #[test]
    fn every_word_is_understood() {
        let args = parse("socket=/x/y timeout=5 root=ask rescue=alice,bob observe debug").unwrap();
        assert_eq!(args.socket, PathBuf::from("/x/y"));
        assert_eq!(args.timeout, Duration::from_secs(5));
        assert!(!args.root_passes && args.observe && args.debug);
        assert_eq!(args.rescue, ["alice", "bob"]);
    }

    #[test]
    fn a_bad_word_is_named() {
        let long = format!("socket=/{}", "x".repeat(107));
        for bad in [
            "sokcet=/x",
            "socket=run/x",
            "socket",
            "socket=",
            &long,
            "timeout=0",
            "timeout=61",
            "timeout=-1",
            "timeout=2s",
            "timeout=",
            "timeout=99999999999999999999",
            "root",
            "root=",
            "root=no",
            "rescue=",
            "rescue=alice,",
            "rescue=a:b",
            "observe=yes",
            "observe=",
            "Observe",
            "debug=1",
            "nullok",
            "=",
        ] {
            let error = parse(bad).unwrap_err();
            assert!(error.what.contains(&format!("\"{bad}\"")), "{}", error.what);
        }
        assert!(parse("debug debug").unwrap_err().what.contains("twice"));
        assert!(parse("root=ask root=always").is_err());
        assert!(Args::parse(&[b"socket=/\xff"]).is_err());
        assert!(Args::parse(&[b""]).is_err());
    }

    #[test]
    fn what_is_bad_is_escaped() {
        let error = Args::parse(&[b"x\n\x1b[2J"]).unwrap_err();
        assert!(error.what.contains(r"x\n\x1b[2J"), "{}", error.what);
    }

    #[test]
    fn a_slip_leaves_root_in_unless_it_may_have_meant_root() {
        assert!(parse("sokcet=/x").unwrap_err().root_passes);
        assert!(parse("sokcet=/x root=always").unwrap_err().root_passes);
        assert!(!parse("sokcet=/x root=ask").unwrap_err().root_passes);
        assert!(!parse("root=aks").unwrap_err().root_passes);
        assert!(!parse("rootask").unwrap_err().root_passes);
    }

    #[test]
    fn observe_is_seen_on_a_line_that_is_wrong() {
        assert!(observes(&[b"nonsense", b"observe"]));
        assert!(!observes(&[b"observe=yes", b"observer"]));
    }

    /// The refusal of an unknown word says what is known: that is what the manual must have.
    #[test]
    fn the_manual_has_every_argument() {
        let page = include_str!("../../docs/man/pam_jit.8");
        let error = parse("nonsense").unwrap_err().what;
        let (_, known) = error.split_once("there are ").unwrap();
        for word in known.split(' ') {
            let name = word.split('=').next().unwrap();
            assert!(
                page.lines()
                    .any(|line| line.split(' ').take(3).eq([".It", "Cm", name])),
                "{name} is not in docs/man/pam_jit.8"
            );
        }
    }
}
