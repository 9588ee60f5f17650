//! A PAM service file, byte for byte: what libpam reads in it, and the lines it is made of.
//!
//! What counts as one entry was measured on libpam 1.5.2: a comment takes the rest of its line and
//! is never continued; a backslash at the end of a line joins the next one that is neither blank
//! nor a comment; a carriage return is part of the word it follows.

use super::control::Control;

/// One of the four stacks that a service has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Phase {
    /// Who are you?
    Auth,
    /// May you? The gate.
    Account,
    /// New passwords; none of our business.
    Password,
    /// Come in, and goodbye.
    Session,
}

impl Phase {
    /// Those that carry a line of ours, in the order in which PAM runs them.
    pub(crate) const OURS: [Self; 3] = [Self::Auth, Self::Account, Self::Session];

    /// The word that stands in the file.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Account => "account",
            Self::Password => "password",
            Self::Session => "session",
        }
    }

    fn from_word(word: &str) -> Option<Self> {
        [Self::Auth, Self::Account, Self::Password, Self::Session]
            .into_iter()
            .find(|phase| phase.as_str().eq_ignore_ascii_case(word))
    }
}

/// What an entry asks of libpam.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Everything of the phase in another file, as if it stood here.
    Include(String),
    /// The same, but its early ends and jumps stay inside.
    Substack(String),
    /// Ask a module.
    Module(Module),
    /// No sense in it: libpam fails the stack there.
    Broken,
}

/// A line that names a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Module {
    /// What its answers do to the stack.
    pub(crate) control: Control,
    /// As written: a name, or an absolute path.
    pub(crate) path: String,
    /// The words behind it.
    pub(crate) args: Vec<String>,
    /// `-` before the phase: nothing is logged when the module is missing.
    pub(crate) quiet: bool,
}

impl Module {
    /// The name without folder.
    pub(crate) fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    /// Whether it is ours, wherever it lies.
    pub(crate) fn is_ours(&self) -> bool {
        self.name() == super::MODULE
    }
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    /// A rule of one phase.
    Rule(Phase, Rule),
    /// `@include`: all of another file (Debian).
    IncludeAll(String),
    /// Nothing that libpam heeds.
    Unknown,
}

/// An entry and the lines it takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Index of its first line.
    pub(crate) first: usize,
    /// Index of its last line.
    pub(crate) last: usize,
    /// What it is.
    pub(crate) what: What,
}

impl Entry {
    /// Whether it is a line of ours.
    pub(crate) fn is_ours(&self) -> bool {
        matches!(&self.what, What::Rule(_, Rule::Module(module)) if module.is_ours())
    }
}

/// Something that libpam makes nothing good of; with the line's number, from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// The carriage return becomes part of the module's name.
    CarriageReturn(usize),
    /// A backslash with nothing behind it: libpam refuses the whole file.
    Dangling(usize),
}

/// A service file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PamFile {
    /// Each with its end of line; the last may have none.
    lines: Vec<Vec<u8>>,
    entries: Vec<Entry>,
    dangling: Option<usize>,
}

impl PamFile {
    /// Reads a file's bytes. Nothing is refused: what cannot be read is what libpam makes of it.
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let lines: Vec<Vec<u8>> = bytes
            .split_inclusive(|b| *b == b'\n')
            .map(<[u8]>::to_vec)
            .collect();
        let mut entries = Vec::new();
        let mut open: Option<(usize, String)> = None;
        for (nr, line) in lines.iter().enumerate() {
            let text = String::from_utf8_lossy(line);
            let (text, commented) = match text.split_once('#') {
                Some((before, _)) => (before, true),
                None => (&*text, false),
            };
            let text = text.trim_end_matches([' ', '\t', '\n', '\r']);
            // Only blanks are cut there, so a return within the line stays.
            if text.trim_start_matches([' ', '\t']).is_empty() {
                continue;
            }
            let (part, goes_on) = match text.strip_suffix('\\') {
                Some(part) if !commented => (part, true),
                _ => (text, false),
            };
            let (first, mut joined) = open.take().unwrap_or((nr, String::new()));
            joined.push(' ');
            joined.push_str(part);
            if goes_on {
                open = Some((first, joined));
            } else {
                entries.push(Entry {
                    first,
                    last: nr,
                    what: what(&joined),
                });
            }
        }
        Self {
            dangling: open.map(|(first, _)| first),
            lines,
            entries,
        }
    }

    /// The file's bytes.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.lines.concat()
    }

    /// Its entries, in order.
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// What libpam would stumble over.
    pub(crate) fn flaw(&self) -> Option<Flaw> {
        let returns = |entry: &&Entry| {
            self.lines
                .get(entry.last)
                .is_some_and(|line| line.ends_with(b"\r\n") || line.ends_with(b"\r"))
        };
        let dangling = self.dangling.map(|first| Flaw::Dangling(first + 1));
        dangling.or_else(|| {
            let entry = self.entries.iter().find(returns)?;
            Some(Flaw::CarriageReturn(entry.last + 1))
        })
    }

    /// The file without our lines, whoever wrote them.
    pub(crate) fn without_ours(&self) -> Self {
        let mut lines = self.lines.clone();
        for entry in self.entries.iter().rev().filter(|entry| entry.is_ours()) {
            let was_open = lines.get(entry.last).is_some_and(|l| !l.ends_with(b"\n"));
            lines.drain(entry.first..=entry.last);
            // A line of ours at the end of a file that had no end of line took that over.
            if was_open
                && let Some(before) = lines.last_mut()
                && before.ends_with(b"\n")
            {
                before.pop();
            }
        }
        Self::parse(&lines.concat())
    }

    /// The file without these lines.
    pub(super) fn without_line(&self, first: usize, last: usize) -> Self {
        let left = self.lines.iter().enumerate();
        let left = left.filter(|(nr, _)| !(first..=last).contains(nr));
        Self::parse(&left.flat_map(|(_, line)| line.clone()).collect::<Vec<u8>>())
    }

    /// The file with `text` as a line before the line with this index.
    pub(crate) fn with_line(&self, at: usize, text: &str) -> Self {
        let mut lines = self.lines.clone();
        let mut line = text.as_bytes().to_vec();
        let at = at.min(lines.len());
        match at.checked_sub(1).and_then(|before| lines.get_mut(before)) {
            Some(before) if !before.ends_with(b"\n") => before.push(b'\n'),
            _ => line.push(b'\n'),
        }
        lines.insert(at, line);
        Self::parse(&lines.concat())
    }
}

fn what(text: &str) -> What {
    let mut words = words(text).into_iter();
    let Some(head) = words.next() else {
        return What::Unknown;
    };
    if head.eq_ignore_ascii_case("@include") {
        return words.next().map_or(What::Unknown, What::IncludeAll);
    }
    let (quiet, word) = match head.strip_prefix('-') {
        Some(word) => (true, word),
        None => (false, head.as_str()),
    };
    let Some(phase) = Phase::from_word(word) else {
        return What::Unknown;
    };
    let (Some(control), Some(path)) = (words.next(), words.next()) else {
        return What::Rule(phase, Rule::Broken);
    };
    let rule = match control.to_ascii_lowercase().as_str() {
        "include" => Rule::Include(path),
        "substack" => Rule::Substack(path),
        _ => Rule::Module(Module {
            control: Control::parse(&control),
            path,
            args: words.collect(),
            quiet,
        }),
    };
    What::Rule(phase, rule)
}

/// Words as pam.d(5) has them: a word in square brackets may hold blanks, and `\]` a bracket.
/// Brackets are kept, so that a control can be told from a word.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = text.trim_start_matches([' ', '\t', '\n']);
    while !rest.is_empty() {
        let end = match rest.starts_with('[') {
            true => bracket_end(rest),
            false => rest.find([' ', '\t', '\n']).unwrap_or(rest.len()),
        };
        let (word, after) = rest.split_at(end);
        words.push(word.to_owned());
        rest = after.trim_start_matches([' ', '\t', '\n']);
    }
    words
}

fn bracket_end(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            ']' if !escaped => return at + 1,
            _ => escaped = c == '\\' && !escaped,
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn modules(text: &str) -> Vec<String> {
        let file = PamFile::parse(text.as_bytes());
        assert_eq!(file.bytes(), text.as_bytes(), "lossless");
        let entries = file.entries().iter();
        entries
            .map(|entry| match &entry.what {
                What::Rule(phase, Rule::Module(m)) => {
                    format!("{} {} {}", phase.as_str(), m.path, m.args.join("|"))
                }
                other => format!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn odd_spacing_comments_and_continuations_are_read_as_libpam_does() {
        assert_eq!(
            modules("\t account\trequired   pam_x.so  a\tb # c \\\nauth optional pam_y.so"),
            ["account pam_x.so a|b", "auth pam_y.so "]
        );
        assert_eq!(
            modules("account \\\n# hello\n\n  required \\\n pam_x.so a\n"),
            ["account pam_x.so a"]
        );
        assert_eq!(
            modules("# hello \\\naccount required pam_x.so\n"),
            ["account pam_x.so "]
        );
        assert_eq!(
            modules("account [ success=ok \\\n default=bad ] pam_x.so [a b\\]c] d\n"),
            ["account pam_x.so [a b\\]c]|d"]
        );
        assert_eq!(
            modules("-ACCOUNT Required pam_x.so\n"),
            ["account pam_x.so "]
        );
        assert_eq!(modules(""), [""; 0]);
    }

    #[test]
    fn what_is_no_entry_counts_for_nothing() {
        assert_eq!(
            modules("acount required pam_x.so\n--account required pam_x.so\nfoo\n"),
            ["Unknown"; 3]
        );
        assert_eq!(
            modules("account\nsession required\n"),
            ["Rule(Account, Broken)", "Rule(Session, Broken)"]
        );
    }

    #[test]
    fn flaws_are_found_where_they_are() {
        let flaw = |text: &str| PamFile::parse(text.as_bytes()).flaw();
        assert_eq!(
            flaw("# c\naccount required pam_x.so\r\n"),
            Some(Flaw::CarriageReturn(2))
        );
        assert_eq!(flaw("# only a comment\r\n\r\n"), None);
        assert_eq!(
            flaw("\naccount required pam_x.so \\\n# end\n"),
            Some(Flaw::Dangling(2))
        );
        assert_eq!(flaw("account required pam_x.so # \\\n"), None);
    }

    #[test]
    fn what_is_added_can_be_taken_away_to_the_last_byte() {
        for text in [
            &b""[..],
            b"\n",
            b"a",
            b"account required pam_x.so",
            b"account required pam_x.so\n",
            b"# \xff no UTF-8\naccount \\\n required pam_x.so\n\n\n# end",
        ] {
            let file = PamFile::parse(text);
            let count = file.lines.len();
            for at in 0..=count {
                let with = file.with_line(at, "account required pam_jit.so");
                if at > 0 && at < count && file.lines[at - 1].ends_with(b"\\\n") {
                    continue;
                }
                assert_eq!(with.without_ours().bytes(), text, "{text:?} {at}");
            }
        }
    }

    #[test]
    fn our_lines_are_known_by_any_spelling_and_nothing_else_is() {
        let text = "-account optional /lib/security/pam_jit.so debug\nauth required pam_jit.so.old\n\
                    session required \\\n pam_jit.so\n# auth required pam_jit.so\n";
        let left = PamFile::parse(text.as_bytes()).without_ours().bytes();
        assert_eq!(
            String::from_utf8(left).unwrap(),
            "auth required pam_jit.so.old\n# auth required pam_jit.so\n"
        );
    }
}
