//! What `enable` and `disable` say about what they did.

use std::path::{Path, PathBuf};

use serde::Serialize;
use similar::TextDiff;

use crate::Desk;
use crate::failure::Failure;
use crate::text::{Paint, Tone, plain_lines};
use jit_policy::printable;

/// All of it.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    dry_run: bool,
    /// One for each file.
    pub(super) services: Vec<Outcome>,
}

/// What became of one file.
#[derive(Debug, Serialize)]
pub(super) struct Outcome {
    service: String,
    file: String,
    /// Whether it is, or would be, another than before.
    pub(super) changed: bool,
    diff: String,
    backup: Option<String>,
    /// What the administrator should know.
    pub(super) notes: Vec<String>,
}

/// The change in unified form; empty if there is none.
pub(super) fn diff(path: &Path, old: &[u8], new: &[u8]) -> String {
    let (old, new) = (String::from_utf8_lossy(old), String::from_utf8_lossy(new));
    if old == new {
        return String::new();
    }
    let name = path.display().to_string();
    TextDiff::from_lines(&*old, &*new)
        .unified_diff()
        .context_radius(3)
        .header(&name, &name)
        .to_string()
}

impl Outcome {
    pub(super) fn new(service: &str, path: &Path, diff: String) -> Self {
        Self {
            service: service.to_owned(),
            file: path.display().to_string(),
            changed: !diff.is_empty(),
            diff,
            backup: None,
            notes: Vec::new(),
        }
    }

    /// Shows the change to a person, before it is made.
    ///
    /// # Errors
    ///
    /// When standard output cannot be written.
    pub(super) fn show(&self, desk: &Desk) -> Result<(), Failure> {
        match desk.screen.json {
            true => Ok(()),
            false => crate::screen::print(&coloured(&self.diff, desk.screen.paint)),
        }
    }
}

fn coloured(diff: &str, paint: Paint) -> String {
    let tone = |line: &str| match line.as_bytes().first() {
        _ if line.starts_with("+++") || line.starts_with("---") => Tone::Strong,
        Some(b'+') => Tone::Good,
        Some(b'-') => Tone::Bad,
        Some(b'@') => Tone::Faint,
        _ => Tone::Normal,
    };
    let lines = diff.lines().map(|line| {
        // Tabs are layout here, and harmless.
        let safe = line
            .split('\t')
            .map(printable)
            .collect::<Vec<_>>()
            .join("\t");
        paint.say(tone(line), &safe) + "\n"
    });
    lines.collect()
}

impl Report {
    pub(super) fn new(dry_run: bool) -> Self {
        Self {
            dry_run,
            services: Vec::new(),
        }
    }

    /// Where the old files of those that changed are kept.
    pub(super) fn keep(&mut self, backups: &[PathBuf]) {
        let changed = self.services.iter_mut().filter(|outcome| outcome.changed);
        for (outcome, backup) in changed.zip(backups) {
            outcome.backup = Some(backup.display().to_string());
        }
    }

    /// Shows the end of it.
    ///
    /// # Errors
    ///
    /// When standard output cannot be written.
    pub(super) fn show(&self, desk: &Desk, done: &str) -> Result<(), Failure> {
        desk.screen.show(self, |paint| self.text(done, paint))
    }

    fn text(&self, done: &str, paint: Paint) -> String {
        let mut text = String::new();
        if self.services.is_empty() {
            text.push_str("nothing to do: no file in /etc/pam.d has lines of ours\n");
        }
        for outcome in &self.services {
            let (tone, what) = match (outcome.changed, &outcome.backup) {
                (false, _) => (Tone::Faint, format!("nothing to do, already {done}")),
                (true, None) => (Tone::Warn, format!("would be {done}; nothing was written")),
                (true, Some(backup)) => (Tone::Good, format!("{done}; the old file is {backup}")),
            };
            let service = printable(&outcome.service);
            text.push_str(&format!(
                "{service}: {}\n",
                paint.say(tone, &printable(&what))
            ));
            for note in &outcome.notes {
                text.push_str(&format!("  {}\n", plain_lines(note)));
            }
        }
        text
    }
}
