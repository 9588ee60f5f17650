//! `jit status`: what I may do now, and what stands in the way.

use clap::Args;
use jiff::Timestamp;
use jit_protocol::message::{FactorReport, Plain, PolicyReport, Reply, Request, StatusReport};

use crate::Desk;
use crate::agent::{Door, Talk, unexpected};
use crate::failure::{Exit, Failure};
use crate::grant;
use crate::notes;
use crate::text::{Paint, Table, Tone, count, relative, span};
use jit_policy::printable;

/// `jit status` takes nothing but the global options.
#[derive(Debug, Args)]
#[command(after_long_help = notes::STATUS)]
pub(crate) struct Status {}

impl Status {
    /// Asks and shows.
    ///
    /// # Errors
    ///
    /// When the agent does not answer or refuses.
    pub(crate) fn run(&self, desk: &Desk) -> Result<Exit, Failure> {
        let request = Request::Status(Plain::default());
        let mut talk = Talk::begin(Door::Own, desk.socket(), &request)?;
        match talk.next()? {
            Reply::Status(report) => {
                let text = |paint| text(&report, Timestamp::now(), paint);
                desk.screen.show(&report, text).map(|()| Exit::Yes)
            }
            other => Err(unexpected(&other)),
        }
    }
}

/// The report for a person.
fn text(report: &StatusReport, now: Timestamp, paint: Paint) -> String {
    let (user, host) = (printable(&report.user), printable(&report.host));
    let mut text = paint.say(Tone::Strong, &format!("{user} on {host}"));
    text.push_str("\n\n");
    if report.grants.is_empty() {
        text.push_str("  no grants on this host now\n");
    } else {
        text.push_str(&grant::table(&report.grants, false).show(2, paint));
    }
    text.push('\n');
    let mut facts = Table::default();
    let (tone, words) = factor(&report.factor, report.proved_secs_ago, now);
    facts.row([(Tone::Faint, "factor"), (tone, &words)]);
    if let Some(policy) = &report.policy {
        let (tone, words) = policy_words(policy);
        facts.row([(Tone::Faint, "policy"), (tone, &words)]);
        if let Some(error) = &policy.last_error {
            facts.row([(Tone::Faint, ""), (Tone::Warn, error)]);
        }
    }
    if let Some(trouble) = &report.clock {
        facts.row([(Tone::Faint, "clock"), (Tone::Bad, trouble)]);
    }
    text + &facts.show(2, paint)
}

/// A factor in one line, and how good that is.
pub(crate) fn factor(report: &FactorReport, proved: Option<u64>, now: Timestamp) -> (Tone, String) {
    let (mut tone, mut words) = match report.state.as_str() {
        "enrolled" => (Tone::Good, "enrolled".to_owned()),
        "none" => (Tone::Warn, "none enrolled (jit mfa enroll)".to_owned()),
        "pending" => (
            Tone::Warn,
            "enrolment not finished (jit mfa enroll)".to_owned(),
        ),
        "disabled" => {
            let why = "disabled after too many wrong codes; root can reset it (jit mfa reset)";
            (Tone::Bad, why.to_owned())
        }
        "unusable" => {
            let why = "cannot be used now; root finds out why: jit audit show";
            (Tone::Bad, why.to_owned())
        }
        "mismatch" => {
            let why = "belongs to the uid's former name; root can reset it (jit mfa reset)";
            (Tone::Bad, why.to_owned())
        }
        other => (Tone::Warn, other.to_owned()),
    };
    if report.state == "enrolled" {
        if let Some(since) = report.since.as_deref().and_then(|t| relative(t, now)) {
            words.push_str(&format!(" {since}"));
        }
        let left = u64::from(report.recovery_codes_left);
        words.push_str(&format!(", {} left", count(left, "recovery code")));
        if left < 3 {
            tone = Tone::Warn;
        }
    }
    if let Some(secs) = proved {
        words.push_str(&format!(", proved {} ago in this session", span(secs)));
    }
    if let Some(secs) = report.locked_secs {
        tone = Tone::Bad;
        words.push_str(&format!(", locked for {}", span(secs)));
    }
    (tone, words)
}

/// The central policy's state in one line, and how good that is.
pub(crate) fn policy_words(report: &PolicyReport) -> (Tone, String) {
    let tone = match report.state.as_str() {
        "fresh" => Tone::Good,
        "stale" => Tone::Warn,
        _ => Tone::Bad,
    };
    let state = match report.state.as_str() {
        "none" => "no bundle yet".to_owned(),
        "expired" => "expired: its grants no longer hold".to_owned(),
        "stale" => "stale: no fresh bundle came".to_owned(),
        other => other.to_owned(),
    };
    let mut words = format!("{}: {state}", report.realm);
    if let Some(age) = report.age_secs {
        words.push_str(&format!(", signed {} ago", span(age)));
    }
    words.push_str(&format!(
        ", {} for this host",
        count(report.grants, "grant")
    ));
    (tone, words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grant::tests::row;

    fn report() -> StatusReport {
        StatusReport {
            user: "alice".into(),
            host: "web1".into(),
            agent: "0.1.0".into(),
            grants: vec![row("local:inc-4711", "active", "42 min left")],
            factor: FactorReport {
                user: "alice".into(),
                state: "enrolled".into(),
                since: Some("2026-11-20T12:00:00Z".into()),
                recovery_codes_left: 9,
                locked_secs: None,
            },
            proved_secs_ago: Some(180),
            policy: Some(PolicyReport {
                realm: "prod".into(),
                url: "https://p.example/b".into(),
                state: "stale".into(),
                seq: Some(1),
                age_secs: Some(1860),
                grants: 1,
                last_error: Some("connection refused\x1b[31m".into()),
            }),
            clock: None,
        }
    }

    fn show(report: &StatusReport) -> String {
        let now = "2026-11-21T12:00:00Z".parse().unwrap();
        text(report, now, Paint { on: false })
    }

    #[test]
    fn a_status_reads_at_a_glance() {
        assert_eq!(
            show(&report()),
            "\
alice on web1

  active  local:inc-4711  sudo  as root  42 min left  failover

  factor  enrolled 24 h ago, 9 recovery codes left, proved 3 min ago in this session
  policy  prod: stale: no fresh bundle came, signed 31 min ago, 1 grant for this host
          connection refused\\u{1b}[31m
"
        );
    }

    #[test]
    fn without_grants_or_factor_it_says_what_is_missing() {
        let mut bare = report();
        bare.grants.clear();
        bare.policy = None;
        bare.proved_secs_ago = None;
        bare.factor.state = "none".into();
        bare.factor.locked_secs = Some(30);
        bare.clock = Some("the clock went back".into());
        assert_eq!(
            show(&bare),
            "\
alice on web1

  no grants on this host now

  factor  none enrolled (jit mfa enroll), locked for 30 s
  clock   the clock went back
"
        );
    }

    #[test]
    fn colours_are_there_when_wanted_and_say_nothing_else() {
        let now = "2026-11-21T12:00:00Z".parse().unwrap();
        let coloured = text(&report(), now, Paint { on: true });
        assert!(coloured.contains("\x1b[32mactive\x1b[0m"));
        assert!(
            !coloured.contains("refused\x1b[31m"),
            "the agent's text brings no colours"
        );
    }
}
