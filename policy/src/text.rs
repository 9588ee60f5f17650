//! Text from elsewhere: what may stand in a grant, and how any text is shown.

/// The longest excerpt of foreign text that a message repeats, in characters.
const EXCERPT: usize = 120;

/// The text with everything that could move a cursor, recolour a terminal, break a line or turn
/// its direction written as an escape (`\u{1b}`, `\n`); a backslash is doubled, so that no text can
/// pretend to be an escape. Quotes stand as they are.
#[must_use]
pub fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    text.chars().for_each(|c| push_printable(&mut shown, c));
    shown
}

/// In quotes, printable, and cut short if it is long.
pub(crate) fn quoted(text: &str) -> String {
    let mut shown = String::from("\"");
    for (n, c) in text.chars().enumerate() {
        if n == EXCERPT {
            shown.push('…');
            break;
        }
        push_printable(&mut shown, c);
    }
    shown.push('"');
    shown
}

fn push_printable(to: &mut String, c: char) {
    if is_printable(c) && c != '\\' {
        to.push(c);
    } else {
        to.extend(c.escape_debug());
    }
}

/// Whether a character shows itself and does nothing else.
///
/// The standard library knows Unicode's unprintable characters (controls, bidirectional marks, line
/// separators, private use) by escaping them; after a letter it lets combining marks stand, which
/// many scripts are written with.
fn is_printable(c: char) -> bool {
    if c.is_ascii() {
        return !c.is_ascii_control();
    }
    let mut buffer = [b'a'; 5];
    let [_, rest @ ..] = &mut buffer;
    let len = 1 + c.encode_utf8(rest).len();
    let pair = buffer.get(..len).and_then(|b| std::str::from_utf8(b).ok());
    pair.is_some_and(|pair| pair.escape_debug().count() == 2)
}

/// Whether the text reads the same on every terminal: nothing in it needs an escape.
fn is_plain(text: &str) -> bool {
    // Nearly all text is ASCII, and there a look at each byte is enough.
    text.bytes().all(|b| (b' '..=b'~').contains(&b)) || text.chars().all(is_printable)
}

/// Checks an identifier: `[A-Za-z0-9._-]{1,64}`.
pub(crate) fn check_id(what: &str, text: &str) -> Result<(), String> {
    let fits = (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    if fits {
        Ok(())
    } else {
        Err(format!(
            "{what} {} must be 1 to 64 of A-Z a-z 0-9 . _ -",
            quoted(text)
        ))
    }
}

/// Checks the name of a person, a group or a target. There is no wildcard among people: `*` would
/// read as everybody and match nobody.
pub(crate) fn check_name(what: &str, text: &str) -> Result<(), String> {
    if text == "*" {
        return Err(format!(
            "{what} \"*\": no wildcard is understood here, name a group instead"
        ));
    }
    let fits = (1..=256).contains(&text.len())
        && is_plain(text)
        && text.trim() == text
        && !text.contains([':', ',']);
    if fits {
        Ok(())
    } else {
        Err(format!(
            "{what} {} is no account name: 1 to 256 bytes, nothing unprintable, no : or , and no space at its ends",
            quoted(text)
        ))
    }
}

/// Checks a remark (reason, ticket): shown to people, so one printable line.
pub(crate) fn check_remark(what: &str, text: &str) -> Result<(), String> {
    if text.len() <= 1024 && is_plain(text) {
        Ok(())
    } else {
        Err(format!(
            "{what} {} must be one printable line of at most 1024 bytes",
            quoted(text)
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_moves_a_terminal_gets_through() {
        let hostile = "a\u{1b}[2J\r\n\t\0\u{7f}\u{9b}\u{202e}\u{2028}\u{feff}\u{200b}\\n";
        let shown = printable(hostile);
        assert_eq!(
            shown,
            "a\\u{1b}[2J\\r\\n\\t\\0\\u{7f}\\u{9b}\\u{202e}\\u{2028}\\u{feff}\\u{200b}\\\\n"
        );
        assert!(quoted(hostile).chars().all(|c| c == '"' || !c.is_control()));
    }

    #[test]
    fn people_keep_their_letters() {
        assert_eq!(printable("O'Brien «Zoë» 日本"), "O'Brien «Zoë» 日本");
        assert_eq!(
            check_remark("reason", "e\u{301}tat, हिन्दी में, 'ok' \"ok\" \\"),
            Ok(())
        );
        assert_eq!(check_name("user", "zoë"), Ok(()));
        assert_eq!(check_name("group", "domain users"), Ok(()));
        assert_eq!(check_name("user", "EXAMPLE\\alice"), Ok(()));
    }

    #[test]
    fn a_long_text_is_cut() {
        assert!(quoted(&"x".repeat(1_000_000)).len() < 200);
    }

    #[test]
    fn ids_and_names_are_bounded() {
        let long = "a".repeat(65);
        for id in ["", "a b", "a/b", "é", "a:b", "a\n", &long] {
            assert!(check_id("id", id).is_err(), "{id:?}");
        }
        assert_eq!(check_id("id", &"a".repeat(64)), Ok(()));
        let long = "a".repeat(257);
        for name in [
            "",
            "*",
            " a",
            "a ",
            "a\nb",
            "a:b",
            "a,b",
            "a\u{202e}b",
            &long,
        ] {
            assert!(check_name("user", name).is_err(), "{name:?}");
        }
    }
}
