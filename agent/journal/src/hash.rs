//! What links a record to the one before.

use aws_lc_rs::digest;
use std::fmt;

/// SHA-256 of one journal line, without its newline.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hash([u8; 32]);

impl Hash {
    /// The `prev` of the very first record.
    pub const GENESIS: Self = Self([0; 32]);

    /// How many hex digits of a hash a syslog line carries as `chain`.
    pub const CHAIN_DIGITS: usize = 12;

    /// The hash of a line, given without its newline.
    #[must_use]
    pub fn of(line: &[u8]) -> Self {
        let mut bytes = [0; 32];
        let digest = digest::digest(&digest::SHA256, line);
        for (to, from) in bytes.iter_mut().zip(digest.as_ref()) {
            *to = *from;
        }
        Self(bytes)
    }

    /// Reads 64 lower-case hex digits: `prev` has one spelling only.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let digits = text.as_bytes();
        if digits.len() != 64 {
            return None;
        }
        let mut bytes = [0; 32];
        for (to, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let [high, low] = *pair else { return None };
            *to = nibble(high)? << 4 | nibble(low)?;
        }
        Some(Self(bytes))
    }

    /// What a syslog line carries as `chain`.
    #[must_use]
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        text.truncate(Self::CHAIN_DIGITS);
        text
    }
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // One write for all 64 digits: this stands on the path of every decision.
        let mut digits = [0u8; 64];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(self.0) {
            for (to, value) in pair.iter_mut().zip([byte >> 4, byte & 15]) {
                *to = if value < 10 {
                    b'0' + value
                } else {
                    b'a' + value - 10
                };
            }
        }
        f.write_str(std::str::from_utf8(&digits).unwrap_or_default())
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_is_what_sha256sum_prints_and_reads_back() {
        let hash = Hash::of(b"abc");
        let known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hash.to_string(), known);
        assert_eq!(hash.chain(), "ba7816bf8f01");
        assert_eq!(Hash::from_hex(known), Some(hash));
        assert_eq!(Hash::GENESIS.to_string(), "0".repeat(64));
    }

    #[test]
    fn only_one_spelling_is_read() {
        let upper = "BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD";
        assert_eq!(Hash::from_hex(upper), None);
        assert_eq!(Hash::from_hex(&"0".repeat(63)), None);
        assert_eq!(Hash::from_hex(&"0".repeat(66)), None);
        assert_eq!(Hash::from_hex(&"é".repeat(32)), None);
    }
}
