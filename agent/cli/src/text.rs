//! Words and columns: text made safe for a terminal, spans of time, colours, tables.

use std::fmt::Write as _;

use jit_policy::printable;

/// Text made safe to show, but lines stay lines: for messages that were written as several.
pub(crate) fn plain_lines(text: &str) -> String {
    text.split('\n')
        .map(printable)
        .collect::<Vec<_>>()
        .join("\n")
}

/// JSON text in which whatever a terminal might obey is spelled `\uXXXX`.
///
/// serde_json leaves DEL, the C1 controls and the bidirectional characters as they are. Outside
/// of strings JSON is ASCII without them, so replacing them cannot change what the text means.
pub(crate) fn plain_json(json: &str) -> zeroize::Zeroizing<String> {
    let mut safe = zeroize::Zeroizing::new(String::with_capacity(json.len() + json.len() / 8));
    for c in json.chars() {
        if c == '\n' || matches!(c, ' '..='~') || is_printable(c) {
            safe.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to a String cannot fail.
                let _ = write!(*safe, "\\u{unit:04x}");
            }
        }
    }
    safe
}

fn is_printable(c: char) -> bool {
    c.escape_debug().len() == 1
}

/// At most `most` characters, with an ellipsis for what was left out.
pub(crate) fn clip(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(most.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// Seconds as people say them: `42 min`.
pub(crate) fn span(secs: u64) -> String {
    jit_policy::span_in_words(jiff::SignedDuration::from_secs(
        i64::try_from(secs).unwrap_or(i64::MAX),
    ))
}

/// Where an RFC 3339 time lies from `now`: `in 42 min`, `4 min ago`. Text that is no time gives
/// nothing: it is the agent's and is shown beside this anyway.
pub(crate) fn relative(time: &str, now: jiff::Timestamp) -> Option<String> {
    let time: jiff::Timestamp = time.parse().ok()?;
    let secs = time.as_second().saturating_sub(now.as_second());
    Some(match secs {
        0 => "now".to_owned(),
        1.. => format!("in {}", span(secs.unsigned_abs())),
        _ => format!("{} ago", span(secs.unsigned_abs())),
    })
}

/// `1 grant`, `2 grants`.
pub(crate) fn count(n: u64, one: &str) -> String {
    match n {
        1 => format!("1 {one}"),
        _ => format!("{n} {one}s"),
    }
}

/// What a piece of text means; how that looks is for [`Paint`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// As it is.
    Normal,
    /// A heading, or what the eye should find first.
    Strong,
    /// Yes, in force, well.
    Good,
    /// Mind this.
    Warn,
    /// No, broken.
    Bad,
    /// Less important than its neighbours.
    Faint,
}

/// Whether colours are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Paint {
    /// False: every tone is plain text.
    pub(crate) on: bool,
}

impl Paint {
    /// The text in its tone.
    pub(crate) fn say(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Strong => "1",
            Tone::Good => "32",
            Tone::Warn => "33",
            Tone::Bad => "31",
            Tone::Faint => "2",
            Tone::Normal => return text.to_owned(),
        };
        match self.on {
            true => format!("\x1b[{code}m{text}\x1b[0m"),
            false => text.to_owned(),
        }
    }
}

/// Columns that line up. Every cell is escaped on its way in.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: Vec<Vec<(Tone, String)>>,
}

impl Table {
    /// Adds a row.
    pub(crate) fn row<const N: usize>(&mut self, cells: [(Tone, &str); N]) {
        let safe = cells.iter().map(|(tone, text)| (*tone, printable(text)));
        self.rows.push(safe.collect());
    }

    /// The table, each line behind `indent` spaces; nothing trails a line's last cell.
    pub(crate) fn show(&self, indent: usize, paint: Paint) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells
                .map(|(_, text)| text.chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            let last = row.iter().rposition(|(_, cell)| !cell.is_empty());
            text.push_str(&" ".repeat(indent));
            for (column, (tone, cell)) in row.iter().enumerate() {
                let Some(last) = last.filter(|last| column <= *last) else {
                    break;
                };
                text.push_str(&paint.say(*tone, cell));
                if column < last {
                    let wide = widths.get(column).copied().unwrap_or(0);
                    let gap = wide.saturating_sub(cell.chars().count()) + 2;
                    text.push_str(&" ".repeat(gap));
                }
            }
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_stays_the_same_value_and_loses_its_teeth() {
        let value = serde_json::json!({"r": "a\u{9b}31m\u{202e}\u{7f}\u{e0001}\"\\\né東"});
        let text = plain_json(&value.to_string());
        assert!(
            text.chars()
                .all(|c| !c.is_control() && c != '\u{202e}' && c != '\u{e0001}')
        );
        let back: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(back, value);
    }

    #[test]
    fn times_are_told_from_now() {
        let now = "2026-11-21T12:00:00Z".parse().unwrap();
        assert_eq!(relative("2026-11-21T12:42:00Z", now).unwrap(), "in 42 min");
        assert_eq!(
            relative("2026-11-21T11:56:00+00:00", now).unwrap(),
            "4 min ago"
        );
        assert_eq!(relative("soon", now), None);
    }

    #[test]
    fn columns_line_up_and_nothing_trails() {
        let mut table = Table::default();
        table.row([
            (Tone::Good, "active"),
            (Tone::Normal, "x"),
            (Tone::Faint, ""),
        ]);
        table.row([
            (Tone::Warn, "later"),
            (Tone::Normal, "longer\x1b"),
            (Tone::Faint, "why"),
        ]);
        let text = table.show(2, Paint { on: false });
        assert_eq!(text, "  active  x\n  later   longer\\u{1b}  why\n");
    }
}
