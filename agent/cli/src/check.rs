//! `jit check`: what would happen, and why.

use clap::Args;
use jiff::Timestamp;
use jit_protocol::message::{CheckAsk, CheckReport, Reply, Request, V1};

use crate::Desk;
use crate::agent::{Talk, about, unexpected};
use crate::failure::{Exit, Failure};
use crate::notes;
use crate::text::{Paint, Table, Tone, relative};
use crate::when;
use jit_policy::printable;

/// The question.
#[derive(Debug, Args)]
#[command(after_long_help = notes::CHECK)]
pub(crate) struct Check {
    /// Login name; yourself if left out (others: root only)
    user: Option<String>,
    /// PAM service: sudo, su, sshd, login, …
    #[arg(long, value_name = "SERVICE")]
    service: String,
    /// Account to become; root if left out, for sudo and su
    #[arg(long, value_name = "USER")]
    run_as: Option<String>,
    /// Time to ask about instead of now
    #[arg(long, value_name = "TIME", value_parser = when::time, allow_hyphen_values = true, long_help = when::help("Time to ask about instead of now."))]
    at: Option<Timestamp>,
    /// Address the person would come from
    #[arg(long, value_name = "IP")]
    from: Option<std::net::IpAddr>,
}

impl Check {
    /// Asks and shows.
    ///
    /// # Errors
    ///
    /// When the agent does not answer or refuses.
    pub(crate) fn run(self, desk: &Desk) -> Result<Exit, Failure> {
        let (door, user) = about(self.user)?;
        let request = Request::Check(CheckAsk {
            v: V1,
            user,
            service: self.service,
            run_as: self.run_as,
            at: self.at.map(|t| t.to_string()),
            from: self.from.map(|ip| ip.to_string()),
        });
        let mut talk = Talk::begin(door, desk.socket(), &request)?;
        match talk.next()? {
            Reply::Check(report) => {
                let text = |paint| text(&report, Timestamp::now(), paint);
                desk.screen.show(&report, text)?;
                Ok(match report.decision.as_str() {
                    "allow" => Exit::Yes,
                    _ => Exit::No,
                })
            }
            other => Err(unexpected(&other)),
        }
    }
}

/// The report for a person.
fn text(report: &CheckReport, now: Timestamp, paint: Paint) -> String {
    let (tone, word) = match report.decision.as_str() {
        "allow" => (Tone::Good, "allow"),
        _ => (Tone::Bad, "deny"),
    };
    let target = report
        .run_as
        .as_deref()
        .map(|t| format!(" as {}", printable(t)));
    let mut text = format!(
        "{}  {} {}{}: {}\n\n",
        paint.say(tone, word),
        printable(&report.user),
        printable(&report.service),
        target.unwrap_or_default(),
        printable(&report.detail),
    );
    let mut facts = Table::default();
    facts.row([(Tone::Faint, "reason"), (Tone::Normal, &report.reason)]);
    let need = match report.need.as_str() {
        "none" => "none".to_owned(),
        "always" => "a code every time".to_owned(),
        age => format!("a code within the last {age} of this login session"),
    };
    facts.row([(Tone::Faint, "factor"), (Tone::Normal, &need)]);
    if let Some(until) = &report.until {
        let left = relative(until, now)
            .map(|r| format!(" ({r})"))
            .unwrap_or_default();
        facts.row([
            (Tone::Faint, "until"),
            (Tone::Normal, &format!("{until}{left}")),
        ]);
    }
    match report.mode.as_str() {
        "observe" => facts.row([
            (Tone::Faint, "mode"),
            (Tone::Warn, "observe: recorded only, nothing is refused yet"),
        ]),
        "off" => facts.row([
            (Tone::Faint, "mode"),
            (Tone::Warn, "off: pam_jit stays out of this service"),
        ]),
        _ => {}
    }
    text.push_str(&facts.show(2, paint));
    if !report.grants.is_empty() {
        text.push('\n');
        let mut grants = Table::default();
        for grant in &report.grants {
            let (tone, mark) = match grant.matched {
                true => (Tone::Good, "yes"),
                false => (Tone::Bad, "no"),
            };
            grants.row([
                (tone, mark),
                (Tone::Normal, &grant.id),
                (Tone::Normal, &grant.detail),
            ]);
        }
        text.push_str(&grants.show(2, paint));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use jit_protocol::message::CheckedGrant;

    #[test]
    fn a_denial_names_each_grant_and_what_failed() {
        let grant = |id: &str, matched, detail: &str| CheckedGrant {
            id: id.into(),
            matched,
            failed: (!matched).then(|| "expired".into()),
            detail: detail.into(),
        };
        let mut report = CheckReport {
            user: "alice".into(),
            service: "sudo".into(),
            run_as: Some("root".into()),
            at: "2026-11-21T12:00:00Z".into(),
            decision: "deny".into(),
            reason: "expired".into(),
            detail: "grant local:a expired 4 min ago".into(),
            need: "15m".into(),
            mode: "observe".into(),
            until: None,
            grants: vec![grant("local:a", false, "expired 4 min ago")],
        };
        let now = "2026-11-21T12:00:00Z".parse().unwrap();
        assert_eq!(
            text(&report, now, Paint { on: false }),
            "\
deny  alice sudo as root: grant local:a expired 4 min ago

  reason  expired
  factor  a code within the last 15m of this login session
  mode    observe: recorded only, nothing is refused yet

  no  local:a  expired 4 min ago
"
        );
        report.decision = "allow".into();
        report.reason = "grant".into();
        report.detail = "grant local:a\x1b]0;x\x07".into();
        report.mode = "enforce".into();
        report.need = "always".into();
        report.until = Some("2026-11-21T12:42:00Z".into());
        report.grants = vec![grant("local:a", true, "matches")];
        assert_eq!(
            text(&report, now, Paint { on: false }),
            "\
allow  alice sudo as root: grant local:a\\u{1b}]0;x\\u{7}

  reason  grant
  factor  a code every time
  until   2026-11-21T12:42:00Z (in 42 min)

  yes  local:a  matches
"
        );
    }
}
