//! `jit doctor`: what would lock people out, and what lets them round the gate.

mod agent;
mod files;
mod groups;
mod host;
mod kinds;
mod pam;
mod sshd;
mod sudo;

use clap::Args;
use serde::Serialize;

use crate::Desk;
use crate::agent::is_root;
use crate::failure::{Exit, Failure};
use crate::notes;
use crate::text::{Paint, Tone, count};
use host::{Finding, Host};
use jit_policy::printable;
use kinds::Severity;

/// What it is for, at length.
pub(crate) const ABOUT: &str = "Find what would lock people out, what lets them round pam_jit on this host, and how to \
mend it: the agent, the policy and the clock; services' PAM files; sudoers and sudo; sshd; groups and accounts that \
are root in disguise; setuid programs.

It changes nothing. Run it as root: otherwise it says what it could not see.";

/// `jit doctor` takes nothing but the global options.
#[derive(Debug, Args)]
#[command(after_long_help = notes::DOCTOR)]
pub(crate) struct Doctor {}

#[derive(Debug, Serialize)]
struct Report {
    open: bool,
    findings: Vec<Finding>,
    unseen: Vec<String>,
}

impl Doctor {
    /// Looks and shows.
    ///
    /// # Errors
    ///
    /// When standard output cannot be written.
    pub(crate) fn run(&self, desk: &Desk) -> Result<Exit, Failure> {
        let host = Host::this();
        let gated = pam::gated(&host);
        let mut findings = agent::look(&host, desk.socket(), is_root(), &gated);
        findings.extend(pam::look(&host, &gated));
        findings.extend(sudo::look(&host, &gated));
        findings.extend(sshd::look(&host, &gated));
        findings.extend(groups::look(&host));
        findings.extend(files::look(&host));
        let report = Report::of(findings, host.unseen());
        desk.screen.show(&report, |paint| text(&report, paint))?;
        Ok(match report.open {
            true => Exit::No,
            false => Exit::Yes,
        })
    }
}

impl Report {
    fn of(mut findings: Vec<Finding>, unseen: Vec<String>) -> Self {
        findings.sort_by(|a, b| (a.severity, a.id, &a.what).cmp(&(b.severity, b.id, &b.what)));
        findings.dedup();
        Self {
            open: findings
                .iter()
                .any(|finding| finding.severity != Severity::Info),
            findings,
            unseen,
        }
    }
}

fn text(report: &Report, paint: Paint) -> String {
    let mut text = String::new();
    for finding in &report.findings {
        let (tone, word) = match finding.severity {
            Severity::Critical => (Tone::Bad, "critical"),
            Severity::Warn => (Tone::Warn, "warn"),
            Severity::Info => (Tone::Faint, "info"),
        };
        text.push_str(&format!(
            "{}  {}\n",
            paint.say(tone, word),
            paint.say(Tone::Strong, finding.id)
        ));
        for (word, words) in [
            ("", &*finding.what),
            ("why", finding.why),
            ("mend", &finding.mend),
        ] {
            let lead = match word {
                "" => String::new(),
                word => format!("{} ", paint.say(Tone::Faint, &format!("{word}:"))),
            };
            text.push_str(&format!("  {lead}{}\n", printable(words)));
        }
        text.push('\n');
    }
    for words in &report.unseen {
        text.push_str(&format!(
            "{} {}\n",
            paint.say(Tone::Warn, "not seen:"),
            printable(words)
        ));
    }
    let of = |severity| {
        let of = report
            .findings
            .iter()
            .filter(|finding| finding.severity == severity);
        of.count() as u64
    };
    text.push_str(&match report.findings.is_empty() {
        true => "nothing is open\n".to_owned(),
        false => format!(
            "{} critical, {}, {} for information\n",
            of(Severity::Critical),
            count(of(Severity::Warn), "warning"),
            of(Severity::Info)
        ),
    });
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANUAL: &str = include_str!("../../../../docs/doctor.md");

    /// The manual's sections: id and how bad.
    fn sections() -> Vec<(String, String)> {
        let mut lines = MANUAL.lines();
        let mut found = Vec::new();
        while let Some(line) = lines.next() {
            if let Some(id) = line.strip_prefix("### ") {
                let severity = lines.find(|line| !line.is_empty()).unwrap_or_default();
                let severity = severity
                    .trim_matches('*')
                    .split('*')
                    .next()
                    .unwrap_or_default();
                found.push((id.to_owned(), severity.trim_end_matches('.').to_owned()));
            }
        }
        found
    }

    #[test]
    fn every_finding_has_its_section_in_the_manual_and_none_is_made_up() {
        let word = |kind: &&kinds::Kind| {
            let severity = serde_json::to_string(&kind.severity).unwrap();
            (kind.id.to_owned(), severity.trim_matches('"').to_owned())
        };
        let mut known: Vec<_> = kinds::ALL.iter().map(word).collect();
        let mut written = sections();
        known.sort_unstable();
        written.sort_unstable();
        assert_eq!(known, written);
        written.dedup_by(|a, b| a.0 == b.0);
        assert_eq!(known.len(), written.len(), "an id twice");
    }

    #[test]
    fn the_worst_comes_first_and_is_said_once() {
        let finding = |kind| Finding::of(kind, "x\x1b", "do");
        let found = vec![
            finding(&kinds::PAM_OBSERVE),
            finding(&kinds::SSHD_ROOT),
            finding(&kinds::PAM_SKIPPED),
            finding(&kinds::PAM_SKIPPED),
        ];
        let report = Report::of(found, vec!["/etc/shadow".into()]);
        let ids: Vec<_> = report.findings.iter().map(|finding| finding.id).collect();
        assert_eq!(ids, ["pam-skipped", "sshd-root-login", "pam-observe"]);
        assert!(report.open);
        let text = text(&report, Paint { on: false });
        assert!(
            text.starts_with("critical  pam-skipped\n  x\\u{1b}\n  why: on this way"),
            "{text}"
        );
        assert!(
            text.ends_with("not seen: /etc/shadow\n1 critical, 1 warning, 1 for information\n"),
            "{text}"
        );
    }

    #[test]
    fn what_is_only_for_information_leaves_nothing_open() {
        let report = Report::of(vec![Finding::of(&kinds::PAM_OBSERVE, "x", "y")], Vec::new());
        assert!(!report.open);
        let none = Report::of(Vec::new(), Vec::new());
        assert_eq!(text(&none, Paint { on: false }), "nothing is open\n");
    }
}
