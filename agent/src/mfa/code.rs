//! What a person typed: a one-time code, a recovery code, or nothing that could be either.

use zeroize::{Zeroize, ZeroizeOnDrop};

/// Longest text that is looked at. A code with a space after every character is shorter.
const LONGEST: usize = 64;
/// Base32 as in RFC 4648, section 6.
pub(super) const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
/// Characters in a group of a recovery code, and groups.
pub(super) const GROUP: usize = 4;
pub(super) const GROUPS: usize = 4;

/// Something that has the shape of a code. Wiped on drop.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub enum Code {
    /// Six ASCII digits.
    Totp([u8; 6]),
    /// The 80 bits of a recovery code.
    Recovery([u8; 10]),
}

impl std::fmt::Debug for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Totp(_) => "Totp([redacted])",
            Self::Recovery(_) => "Recovery([redacted])",
        })
    }
}

/// Reads what was typed: six digits with any spaces (`123 456`), or a recovery code in its four
/// groups (`ABCD-EFGH-IJKL-MNOP`, upper or lower case). `None` is junk: sshd's answers for unknown
/// users and login passwords come by here, and must not count as wrong codes.
#[must_use]
pub fn parse_code(text: &str) -> Option<Code> {
    let text = text.trim_matches([' ', '\t', '\r', '\n']);
    if text.len() > LONGEST {
        return None;
    }
    totp(text).or_else(|| recovery(text))
}

fn totp(text: &str) -> Option<Code> {
    let mut digits = [0; 6];
    let mut slots = digits.iter_mut();
    for typed in text.bytes().filter(|b| *b != b' ') {
        if !typed.is_ascii_digit() {
            digits.zeroize();
            return None;
        }
        *slots.next()? = typed;
    }
    slots.next().is_none().then_some(Code::Totp(digits))
}

fn recovery(text: &str) -> Option<Code> {
    let mut bits: u128 = 0;
    let mut groups = 0;
    for group in text.split('-') {
        groups += 1;
        if group.len() != GROUP {
            return None;
        }
        for typed in group.bytes() {
            let typed = typed.to_ascii_uppercase();
            let value = BASE32.iter().position(|b| *b == typed)?;
            bits = bits << 5 | u128::try_from(value).ok()?;
        }
        if groups > GROUPS {
            return None;
        }
    }
    if groups != GROUPS {
        return None;
    }
    let [_, _, _, _, _, _, bytes @ ..] = bits.to_be_bytes();
    Some(Code::Recovery(bytes))
}

#[cfg(test)]
#[path = "code_tests.rs"]
mod tests;
