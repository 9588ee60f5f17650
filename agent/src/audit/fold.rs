//! Refusals of one principal beyond ten a second become one record with a count, so that a loop
//! around `sudo -n`, or around `jit verify` with junk, cannot push what matters out of the log.

use super::event::{Event, Kind};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Records of one principal written one by one within [`WINDOW`].
const PLENTY: u32 = 10;
const WINDOW: Duration = Duration::from_secs(1);
/// Principals watched at a time. Names at the entry are the attacker's to invent: beyond so many, they
/// share one count.
const MOST_PRINCIPALS: usize = 1024;

/// What to do with a denial.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fold {
    /// Write it.
    Write,
    /// It is counted in the record with this id, which is written when the second is over.
    Into(String),
}

/// A record that stands for many.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Folded {
    pub(crate) id: String,
    pub(crate) event: Event,
}

#[derive(Debug)]
struct Count {
    since: Instant,
    seen: u32,
    folded: Option<Pile>,
}

#[derive(Debug)]
struct Pile {
    id: String,
    event: Event,
    repeated: u64,
}

impl Pile {
    fn into_folded(self) -> Folded {
        Folded {
            id: self.id,
            event: self.event.with("repeated", self.repeated),
        }
    }
}

/// Counts denials per principal.
#[derive(Debug, Default)]
pub(crate) struct Folds {
    counts: HashMap<String, Count>,
    piles: usize,
}

impl Folds {
    /// Whether an event is of the kind that folds.
    pub(crate) fn concerns(event: &Event) -> bool {
        match event.kind() {
            Kind::Decision => event.outcome() == "deny",
            Kind::Mfa => matches!(event.outcome(), "failed" | "locked"),
            _ => false,
        }
    }

    /// Counts a denial. `id` is the id that it would have. What was folded before and is due comes
    /// back as well, to be written first.
    pub(crate) fn take(&mut self, event: &Event, id: &str, now: Instant) -> (Fold, Option<Folded>) {
        let key = self.key(event, now);
        let count = self.counts.entry(key).or_insert_with(|| Count {
            since: now,
            seen: 0,
            folded: None,
        });
        let mut due = None;
        if now.duration_since(count.since) >= WINDOW {
            due = count.folded.take();
            (count.since, count.seen) = (now, 0);
        }
        count.seen += 1;
        let fold = if count.seen <= PLENTY {
            Fold::Write
        } else if let Some(pile) = count.folded.as_mut() {
            pile.event = pile.event.folded_with(event);
            pile.repeated += 1;
            Fold::Into(pile.id.clone())
        } else {
            self.piles += 1;
            count.folded = Some(Pile {
                id: id.to_owned(),
                event: event.clone(),
                repeated: 1,
            });
            Fold::Into(id.to_owned())
        };
        self.piles -= usize::from(due.is_some());
        (fold, due.map(Pile::into_folded))
    }

    /// Takes out what is due, or everything when the agent stops.
    pub(crate) fn due(&mut self, now: Instant, all: bool) -> Vec<Folded> {
        let mut due = Vec::new();
        self.counts.retain(|_, count| {
            let over = all || now.duration_since(count.since) >= WINDOW;
            if over {
                due.extend(count.folded.take().map(Pile::into_folded));
            }
            !over
        });
        self.piles -= due.len();
        due
    }

    /// Whether anything waits to be written.
    pub(crate) fn pending(&self) -> bool {
        self.piles > 0
    }

    fn key(&mut self, event: &Event, now: Instant) -> String {
        let who = match (event.get("uid"), event.get("user")) {
            (Some(uid), _) => format!("uid {uid}"),
            (None, user) => format!("user {}", user.unwrap_or_default()),
        };
        let own = format!("{} {who}", event.kind().as_str());
        if self.counts.contains_key(&own) {
            return own;
        }
        if self.counts.len() >= MOST_PRINCIPALS {
            self.counts.retain(|_, count| {
                count.folded.is_some() || now.duration_since(count.since) < WINDOW
            });
        }
        if self.counts.len() >= MOST_PRINCIPALS {
            return "everyone else".to_owned();
        }
        own
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn denial(uid: u32, command: &str) -> Event {
        Event::new(Kind::Decision, "deny")
            .with("uid", uid)
            .with("command", command)
    }

    #[test]
    fn ten_a_second_are_written_and_the_rest_becomes_one() {
        let (mut folds, start) = (Folds::default(), Instant::now());
        for n in 0..10 {
            assert_eq!(
                folds.take(&denial(7, "ls"), &format!("id{n}"), start),
                (Fold::Write, None)
            );
        }
        assert!(!folds.pending());
        for n in 10..500 {
            let command = if n < 400 { "ls" } else { "cat" };
            assert_eq!(
                folds.take(&denial(7, command), &format!("id{n}"), start),
                (Fold::Into("id10".into()), None)
            );
        }
        // Another principal is not concerned.
        assert_eq!(
            folds.take(&denial(8, "ls"), "x", start),
            (Fold::Write, None)
        );
        assert!(
            folds
                .due(start + Duration::from_millis(999), false)
                .is_empty()
        );
        let due = folds.due(start + WINDOW, false);
        assert_eq!(due.len(), 1);
        assert_eq!(due[0].id, "id10");
        assert_eq!(due[0].event.get("repeated"), Some("490"));
        assert_eq!(due[0].event.get("uid"), Some("7"));
        assert_eq!(due[0].event.get("command"), Some("(several)"));
        assert!(!folds.pending());
        assert!(folds.counts.is_empty());
    }

    #[test]
    fn a_flood_that_goes_on_is_written_once_a_second() {
        let (mut folds, start) = (Folds::default(), Instant::now());
        for _ in 0..30 {
            folds.take(&denial(7, "ls"), "first", start);
        }
        let (fold, due) = folds.take(&denial(7, "ls"), "next", start + WINDOW);
        assert_eq!(fold, Fold::Write);
        assert_eq!(due.unwrap().event.get("repeated"), Some("20"));
        assert!(!folds.pending());
    }

    #[test]
    fn invented_names_do_not_fill_the_memory() {
        let (mut folds, now) = (Folds::default(), Instant::now());
        let mut written = 0;
        for n in 0..100_000 {
            let event = Event::new(Kind::Decision, "deny").with("user", format!("name{n}"));
            if folds.take(&event, "id", now).0 == Fold::Write {
                written += 1;
            }
        }
        assert!(folds.counts.len() <= MOST_PRINCIPALS + 1);
        assert_eq!(written, MOST_PRINCIPALS + 10);
        let due = folds.due(now, true);
        assert_eq!(due.len(), 1);
        assert_eq!(due[0].event.get("user"), Some("(several)"));
        assert_eq!(
            due[0].event.get("repeated"),
            Some((100_000 - written).to_string().as_str())
        );
    }

    #[test]
    fn only_denials_fold() {
        assert!(Folds::concerns(&denial(1, "x")));
        assert!(!Folds::concerns(&Event::new(Kind::Decision, "allow")));
        assert!(!Folds::concerns(&Event::new(Kind::Mfa, "passed")));
        assert!(Folds::concerns(&Event::new(Kind::Mfa, "failed")));
    }
}
