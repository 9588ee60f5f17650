//! `jit grant`: local grants, for root.

use clap::{Args, Subcommand};
use jiff::Timestamp;
use jit_protocol::message::{GrantId, GrantRow, GrantSpec, Plain, Reply, Request, V1};
use serde::Serialize;

use crate::Desk;
use crate::agent::{Door, Talk, root_only, unexpected};
use crate::failure::{Exit, Failure};
use crate::notes;
use crate::text::{Paint, Table, Tone, clip, relative};
use crate::when;
use jit_policy::printable;

/// What to do with grants.
#[derive(Debug, Subcommand)]
pub(crate) enum Grant {
    /// Let somebody do something for a while
    Add(Box<Add>),
    /// Show the grants on this host
    #[command(after_long_help = notes::GRANT_LIST)]
    List,
    /// Take a grant back, at once
    #[command(long_about = "Take a grant back, at once.

Only grants made with 'jit grant add' are taken back by this; one that stands in a file of the \
administrator's is taken back by editing that file, a central one where it was signed. What runs already \
runs on.")]
    Revoke {
        /// As shown by 'jit grant list', with or without local:
        id: String,
    },
}

/// A grant to make.
#[derive(Debug, Args)]
#[command(
    group = clap::ArgGroup::new("who").required(true).args(["user", "group"]),
    group = clap::ArgGroup::new("end").required(true).args(["for_", "until"]),
    after_long_help = notes::GRANT_ADD
)]
pub(crate) struct Add {
    /// Login name of the person
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// Group of this host whose members get it
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
    /// PAM service; sudo covers sudo-i, su covers su-l (may be repeated)
    #[arg(long = "service", value_name = "SERVICE", required = true)]
    services: Vec<String>,
    /// Account they may become; root if left out, '*' for any (may be repeated)
    #[arg(long, value_name = "USER")]
    run_as: Vec<String>,
    /// How long from its start, as 30m, 1h or 2h30m
    #[arg(long = "for", id = "for_", value_name = "SPAN", value_parser = when::span)]
    for_: Option<u32>,
    /// When it ends
    #[arg(long, value_name = "TIME", value_parser = when::time, long_help = when::help("When it ends."))]
    until: Option<Timestamp>,
    /// When it starts; at once if left out
    #[arg(long, value_name = "TIME", value_parser = when::time, long_help = when::help("When it starts; at once if left out."))]
    from: Option<Timestamp>,
    /// Factor to ask for: always, none, or at most so old, as 15m; the service's if left out
    #[arg(long, value_name = "FACTOR", value_parser = factor)]
    mfa: Option<String>,
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Ticket, for the record
    #[arg(long, value_name = "ID")]
    ticket: Option<String>,
    /// Network the person must come from, as 10.8.0.0/16 (may be repeated)
    #[arg(long, value_name = "CIDR")]
    source: Vec<String>,
    /// Name of the grant; made up if left out
    #[arg(long, value_name = "ID")]
    id: Option<String>,
}

#[derive(Serialize)]
struct List {
    grants: Vec<GrantRow>,
}

impl Grant {
    /// Does it.
    ///
    /// # Errors
    ///
    /// When the caller is not root, or the agent does not answer or refuses.
    pub(crate) fn run(self, desk: &Desk) -> Result<Exit, Failure> {
        match self {
            Self::Add(add) => add.run(desk),
            Self::List => list(desk),
            Self::Revoke { id } => revoke(id, desk),
        }
    }
}

impl Add {
    fn run(self, desk: &Desk) -> Result<Exit, Failure> {
        root_only("grant add")?;
        let request = Request::GrantAdd(Box::new(self.spec()));
        let mut talk = Talk::begin(Door::Root, desk.socket(), &request)?;
        match talk.next()? {
            Reply::Grant(row) => {
                let text = |paint| added(&row, Timestamp::now(), paint);
                desk.screen.show(&row, text).map(|()| Exit::Yes)
            }
            other => Err(unexpected(&other)),
        }
    }

    fn spec(self) -> GrantSpec {
        GrantSpec {
            v: V1,
            id: self.id,
            user: self.user,
            group: self.group,
            services: self.services,
            run_as: self.run_as,
            for_secs: self.for_.map(u64::from),
            not_after: self.until.map(|t| t.to_string()),
            not_before: self.from.map(|t| t.to_string()),
            mfa: self.mfa,
            reason: self.reason,
            ticket: self.ticket,
            source: self.source,
        }
    }
}

fn factor(text: &str) -> Result<String, String> {
    text.parse::<jit_policy::Factor>()
        .map(|factor| factor.to_string())
        .map_err(|e| e.to_string())
}

fn list(desk: &Desk) -> Result<Exit, Failure> {
    root_only("grant list")?;
    let request = Request::GrantList(Plain::default());
    let mut talk = Talk::begin(Door::Root, desk.socket(), &request)?;
    let mut list = List { grants: Vec::new() };
    loop {
        match talk.next()? {
            Reply::Grant(row) => list.grants.push(row),
            Reply::Done(_) => break,
            other => return Err(unexpected(&other)),
        }
    }
    let text = |paint| match list.grants.as_slice() {
        [] => "no grants on this host\n".to_owned(),
        rows => table(rows, true).show(0, paint),
    };
    desk.screen.show(&list, text).map(|()| Exit::Yes)
}

fn revoke(id: String, desk: &Desk) -> Result<Exit, Failure> {
    root_only("grant revoke")?;
    let request = Request::GrantRevoke(GrantId { v: V1, id });
    let mut talk = Talk::begin(Door::Root, desk.socket(), &request)?;
    match talk.next()? {
        Reply::Done(what) => desk.screen.done(&what).map(|()| Exit::Yes),
        other => Err(unexpected(&other)),
    }
}

/// What was made, and how to undo it.
fn added(row: &GrantRow, now: Timestamp, paint: Paint) -> String {
    let end = relative(&row.not_after, now).map(|r| format!(" ({r})"));
    let start = row
        .not_before
        .as_deref()
        .map(|t| format!(" from {}", printable(t)));
    format!(
        "{}  {} may {} {}{} until {}{}\ntake it back: jit grant revoke {}\n",
        paint.say(Tone::Good, &printable(&row.id)),
        printable(&who(row)),
        printable(&row.services.join(", ")),
        printable(&targets(row)),
        start.unwrap_or_default(),
        printable(&row.not_after),
        end.unwrap_or_default(),
        printable(&row.id),
    )
}

/// Grants as a table; `whose` adds the column that says whom each is for.
pub(crate) fn table(rows: &[GrantRow], whose: bool) -> Table {
    let mut table = Table::default();
    for row in rows {
        let tone = match row.state.as_str() {
            "active" => Tone::Good,
            "expired" => Tone::Faint,
            _ => Tone::Warn,
        };
        let (services, targets) = (row.services.join(", "), targets(row));
        let why = clip(
            row.reason
                .as_deref()
                .or(row.ticket.as_deref())
                .unwrap_or(""),
            60,
        );
        let (state, id) = ((tone, row.state.as_str()), (Tone::Strong, row.id.as_str()));
        let services = (Tone::Normal, services.as_str());
        let targets = (Tone::Normal, targets.as_str());
        let (detail, why) = ((tone, row.detail.as_str()), (Tone::Faint, why.as_str()));
        match whose {
            true => {
                let who = who(row);
                let who = (Tone::Normal, who.as_str());
                table.row([state, id, who, services, targets, detail, why]);
            }
            false => table.row([state, id, services, targets, detail, why]),
        }
    }
    table
}

fn who(row: &GrantRow) -> String {
    match (&row.user, &row.group) {
        (Some(user), _) => user.clone(),
        (None, Some(group)) => format!("group {group}"),
        (None, None) => "-".to_owned(),
    }
}

fn targets(row: &GrantRow) -> String {
    match row.run_as.as_slice() {
        [] => String::new(),
        names => format!("as {}", names.join(", ")),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn row(id: &str, state: &str, detail: &str) -> GrantRow {
        GrantRow {
            id: id.into(),
            state: state.into(),
            detail: detail.into(),
            user: Some("alice".into()),
            group: None,
            services: vec!["sudo".into()],
            run_as: vec!["root".into()],
            not_before: None,
            not_after: "2026-11-21T12:42:00Z".into(),
            until: None,
            mfa: None,
            reason: Some("failover".into()),
            ticket: None,
            approved_by: vec![],
        }
    }

    #[test]
    fn a_list_lines_up_and_clips_and_escapes_reasons() {
        let mut other = row("central:x", "later", "starts in 2 h");
        other.user = None;
        other.group = Some("dba".into());
        other.reason = Some(format!("\x1b[2J{}", "a".repeat(500)));
        let text = table(
            &[row("local:inc-4711", "active", "42 min left"), other],
            true,
        )
        .show(0, Paint { on: false });
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[0],
            "active  local:inc-4711  alice      sudo  as root  42 min left    failover"
        );
        assert!(lines[1].starts_with(
            "later   central:x       group dba  sudo  as root  starts in 2 h  \\u{1b}[2Jaaa"
        ));
        assert!(lines[1].ends_with('…') && lines[1].chars().count() < 140);
    }

    #[test]
    fn what_was_added_says_how_to_undo_it() {
        let now = "2026-11-21T12:00:00Z".parse().unwrap();
        assert_eq!(
            added(&row("local:a", "active", ""), now, Paint { on: false }),
            "local:a  alice may sudo as root until 2026-11-21T12:42:00Z (in 42 min)\n\
             take it back: jit grant revoke local:a\n"
        );
    }
}
