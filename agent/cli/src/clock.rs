//! `jit clock`: trusted time beside the wall clock.

use clap::Subcommand;
use jit_protocol::message::{ClockReport, Plain, Reply, Request};

use crate::Desk;
use crate::agent::{Door, Talk, root_only, unexpected};
use crate::failure::{Exit, Failure};
use crate::notes;
use crate::text::{Paint, Table, Tone, span};

/// What to do with the clock.
#[derive(Debug, Subcommand)]
pub(crate) enum Clock {
    /// Show trusted time beside the wall clock
    #[command(after_long_help = notes::CLOCK)]
    Show,
    /// Take the wall clock as trusted time (recorded)
    #[command(
        long_about = "Take the wall clock as trusted time (recorded).

Trusted time does not go back when somebody sets the clock back, so that an ended grant stays \
ended. After the clock was truly wrong, and is right now, this tells the agent so. Look at 'jit \
clock show' first: whatever the wall clock says will be believed.",
        after_long_help = notes::CLOCK
    )]
    Accept,
}

impl Clock {
    /// Asks and shows.
    ///
    /// # Errors
    ///
    /// When the caller is not root, or the agent does not answer or refuses.
    pub(crate) fn run(&self, desk: &Desk) -> Result<Exit, Failure> {
        let (verb, request) = match self {
            Self::Show => ("clock show", Request::ClockShow(Plain::default())),
            Self::Accept => ("clock accept", Request::ClockAccept(Plain::default())),
        };
        root_only(verb)?;
        let mut talk = Talk::begin(Door::Root, desk.socket(), &request)?;
        match talk.next()? {
            Reply::Clock(report) => {
                let text = |paint| text(&report, paint);
                desk.screen.show(&report, text).map(|()| Exit::Yes)
            }
            other => Err(unexpected(&other)),
        }
    }
}

/// The report for a person.
fn text(report: &ClockReport, paint: Paint) -> String {
    let mut facts = Table::default();
    let wall = format!("{}{}", report.wall, apart(report));
    facts.row([(Tone::Faint, "trusted"), (Tone::Strong, &report.trusted)]);
    facts.row([(Tone::Faint, "wall"), (Tone::Normal, &wall)]);
    let (tone, words) = match report.synchronised {
        true => (Tone::Good, "synchronised, says the kernel"),
        false => (Tone::Warn, "not synchronised, says the kernel"),
    };
    facts.row([(Tone::Faint, "source"), (tone, words)]);
    if !report.settled {
        facts.row([
            (Tone::Faint, "grants"),
            (
                Tone::Bad,
                "none holds until the clock is synchronised or accepted",
            ),
        ]);
    }
    if let Some(trouble) = &report.trouble {
        facts.row([(Tone::Faint, "trouble"), (Tone::Bad, trouble)]);
    }
    facts.show(0, paint)
}

/// How far the wall clock is from trusted time, if it is worth saying.
fn apart(report: &ClockReport) -> String {
    let times = (
        report.wall.parse::<jiff::Timestamp>(),
        report.trusted.parse(),
    );
    let (Ok(wall), Ok(trusted)) = times else {
        return String::new();
    };
    match wall.duration_since(trusted).as_secs() {
        -1..=1 => String::new(),
        late @ 2.. => format!(" ({} ahead)", span(late.unsigned_abs())),
        early => format!(" ({} behind)", span(early.unsigned_abs())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_set_back_is_shown_with_its_distance() {
        let report = ClockReport {
            trusted: "2026-11-21T12:00:00Z".into(),
            wall: "2026-11-20T10:00:00Z".into(),
            synchronised: false,
            settled: false,
            trouble: Some("the wall clock is below the floor".into()),
        };
        assert_eq!(
            text(&report, Paint { on: false }),
            "\
trusted  2026-11-21T12:00:00Z
wall     2026-11-20T10:00:00Z (26 h behind)
source   not synchronised, says the kernel
grants   none holds until the clock is synchronised or accepted
trouble  the wall clock is below the floor
"
        );
    }
}
