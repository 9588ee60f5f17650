//! Text that others chose. User names, terminals and host names reach the module from the network
//! and from command lines; grants and their reasons reach it through the agent.

/// The longest item, in bytes, that is taken for a name.
const LONGEST: usize = 256;

/// The longest line, in characters, that is shown or logged.
const LONGEST_LINE: usize = 600;

/// Why bytes are not a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Odd {
    TooLong,
    NotText,
    Control,
}

impl Odd {
    pub(crate) fn why(self) -> &'static str {
        match self {
            Self::TooLong => "is longer than 256 bytes",
            Self::NotText => "is not UTF-8",
            Self::Control => "holds control characters",
        }
    }
}

/// Takes bytes for a name, or says why not.
pub(crate) fn checked(bytes: Vec<u8>) -> Result<String, (Odd, Vec<u8>)> {
    if bytes.len() > LONGEST {
        return Err((Odd::TooLong, bytes));
    }
    match String::from_utf8(bytes) {
        Ok(name) if name.chars().any(char::is_control) => Err((Odd::Control, name.into_bytes())),
        Ok(name) => Ok(name),
        Err(error) => Err((Odd::NotText, error.into_bytes())),
    }
}

/// Bytes as they may stand in a log line: printable ASCII, the rest as escapes, cut.
pub(crate) fn escaped(bytes: &[u8]) -> String {
    let shown = bytes.get(..LONGEST).unwrap_or(bytes);
    let mut text = shown.escape_ascii().to_string();
    if shown.len() < bytes.len() {
        text.push_str("...");
    }
    text
}

/// Text as it may be shown on a terminal or written to a log: one line, no escape codes, cut.
pub(crate) fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(LONGEST_LINE)
        .collect()
}

/// Base64 (RFC 4648, section 4).
pub(crate) fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let bits = chunk
            .iter()
            .chain([0, 0].iter())
            .take(3)
            .fold(0usize, |bits, byte| bits << 8 | usize::from(*byte));
        for digit in 0..4 {
            // A chunk of n bytes fills n + 1 digits.
            let shown = DIGITS.get(bits >> (18 - 6 * digit) & 63);
            text.push(match shown {
                Some(shown) if digit <= chunk.len() => char::from(*shown),
                _ => '=',
            });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_text_of_some_length_without_controls() {
        for fine in ["alice", "a b", "../../x", "żółw", &"x".repeat(256)] {
            assert_eq!(checked(fine.into()), Ok(fine.to_owned()));
        }
        let odd = |bytes: &[u8]| checked(bytes.to_vec()).unwrap_err().0;
        assert_eq!(odd(&[b'x'; 257]), Odd::TooLong);
        assert_eq!(odd(b"al\xffce"), Odd::NotText);
        for control in ["a\nb", "a\x1b[2Jb", "a\x7f", "a\u{85}b", "a\tb", "\r"] {
            assert_eq!(odd(control.as_bytes()), Odd::Control);
        }
    }

    #[test]
    fn nothing_hostile_reaches_a_log_line() {
        assert_eq!(escaped(b"a\n\x1b[2J\xff"), r"a\n\x1b[2J\xff");
        assert_eq!(escaped(&[b'x'; 300]), format!("{}...", "x".repeat(256)));
        assert_eq!(one_line("a\nb\x1b[2J\0\u{9b}c"), "a b [2J  c");
        assert_eq!(one_line(&"x".repeat(9999)).len(), LONGEST_LINE);
    }

    #[test]
    fn base64_as_in_the_rfc() {
        // RFC 4648, section 10.
        let known = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ];
        for (bytes, text) in known {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
        assert_eq!(base64(&[0xff, 0xfe, 0xfd]), "//79");
    }
}
