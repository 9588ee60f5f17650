//! Ed25519 keys and signatures (RFC 8032), by aws-lc.

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;
use zeroize::Zeroizing;

/// What goes before a public key's base64.
const PUBLIC: &str = "ed25519:";
/// What goes before a signing key's base64: nobody should take one for the other.
const SECRET: &str = "ed25519-secret:";

/// Why a text is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// A public key is `ed25519:` and 32 bytes in base64.
    #[error(
        "not a public key: it is \"ed25519:\" and 44 characters of base64, as jit policy keygen prints it"
    )]
    Public,
    /// A signing key is `ed25519-secret:` and 32 bytes in base64. The text is not repeated.
    #[error(
        "not a signing key: the file holds \"ed25519-secret:\" and 44 characters of base64, as jit policy keygen writes it"
    )]
    Secret,
    /// The system gave no randomness, or the library refused the key.
    #[error("the cryptographic library refused to make a key")]
    Library,
}

/// A key that signs bundles. The secret is wiped on drop and never shown.
pub struct SigningKey {
    seed: Zeroizing<[u8; 32]>,
    pair: Ed25519KeyPair,
}

impl SigningKey {
    /// Makes a new key from the system's randomness.
    ///
    /// # Errors
    ///
    /// [`KeyError::Library`] if there is none.
    pub fn generate() -> Result<Self, KeyError> {
        let mut seed = Zeroizing::new([0; 32]);
        aws_lc_rs::rand::fill(&mut *seed).map_err(|_| KeyError::Library)?;
        Self::from_seed(seed)
    }

    fn from_seed(seed: Zeroizing<[u8; 32]>) -> Result<Self, KeyError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(&*seed).map_err(|_| KeyError::Library)?;
        Ok(Self { seed, pair })
    }

    /// Reads what [`SigningKey::to_text`] wrote; white space around it does not matter.
    ///
    /// # Errors
    ///
    /// [`KeyError::Secret`] for anything else.
    pub fn from_text(text: &str) -> Result<Self, KeyError> {
        let seed = text
            .trim()
            .strip_prefix(SECRET)
            .and_then(key_bytes)
            .ok_or(KeyError::Secret)?;
        Self::from_seed(seed)
    }

    /// The key as one line of text, to be kept in a file that only its owner can read.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        // Room for everything beforehand: growing would leave a copy behind.
        let mut text = Zeroizing::new(String::with_capacity(SECRET.len() + 48));
        text.push_str(SECRET);
        STANDARD.encode_string(self.seed.as_slice(), &mut text);
        text.push('\n');
        text
    }

    /// The key that verifies what this one signs.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        let mut bytes = [0; 32];
        for (to, from) in bytes.iter_mut().zip(self.pair.public_key().as_ref()) {
            *to = *from;
        }
        PublicKey(bytes)
    }

    /// Signs.
    ///
    /// # Errors
    ///
    /// [`KeyError::Library`] if the library fails.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let signature = self.pair.try_sign(message).map_err(|_| KeyError::Library)?;
        Ok(signature.as_ref().to_vec())
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({}, secret redacted)", self.public())
    }
}

/// A key that verifies bundles: `ed25519:` and 32 bytes in base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// Whether the signature is this key's over exactly this message.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.0)
            .verify(message, signature)
            .is_ok()
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let bytes = text.strip_prefix(PUBLIC).and_then(key_bytes);
        bytes.map(|bytes| Self(*bytes)).ok_or(KeyError::Public)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PUBLIC}{}", STANDARD.encode(self.0))
    }
}

impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// 32 bytes from base64 in its one canonical form.
fn key_bytes(base64: &str) -> Option<Zeroizing<[u8; 32]>> {
    // Decoding needs room for a whole group more than the 32 bytes.
    let mut buffer = Zeroizing::new([0; 36]);
    let len = STANDARD.decode_slice(base64, &mut *buffer).ok()?;
    let bytes: [u8; 32] = buffer.get(..len)?.try_into().ok()?;
    Some(Zeroizing::new(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    // RFC 8032, section 7.1, tests 1 and 3.
    const VECTORS: [(&str, &str, &[u8], &str); 2] = [
        (
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            b"",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
        ),
        (
            "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
            "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
            b"\xaf\x82",
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
        ),
    ];

    fn unhex(text: &str) -> Vec<u8> {
        let digits: Vec<u32> = text.chars().map(|c| c.to_digit(16).unwrap()).collect();
        digits
            .chunks(2)
            .map(|pair| (pair[0] * 16 + pair[1]) as u8)
            .collect()
    }

    #[test]
    fn signatures_are_those_of_the_standard() {
        for (seed, public, message, signature) in VECTORS {
            let text = format!("{SECRET}{}", STANDARD.encode(unhex(seed)));
            let key = SigningKey::from_text(&text).unwrap();
            assert_eq!(key.public().0.to_vec(), unhex(public));
            assert_eq!(key.sign(message).unwrap(), unhex(signature));
            assert!(key.public().verifies(message, &unhex(signature)));
        }
    }

    #[test]
    fn a_signature_is_of_one_message_by_one_key() {
        let key = SigningKey::generate().unwrap();
        let other = SigningKey::generate().unwrap();
        let signature = key.sign(b"message").unwrap();
        assert!(key.public().verifies(b"message", &signature));
        assert!(!key.public().verifies(b"messagf", &signature));
        assert!(!other.public().verifies(b"message", &signature));
        for cut in 0..signature.len() {
            assert!(!key.public().verifies(b"message", &signature[..cut]));
        }
        let longer = [&signature[..], b"x"].concat();
        assert!(!key.public().verifies(b"message", &longer));
    }

    #[test]
    fn keys_read_back_and_two_are_never_the_same() {
        let key = SigningKey::generate().unwrap();
        let again = SigningKey::from_text(&key.to_text()).unwrap();
        assert_eq!(again.public(), key.public());
        let text = key.public().to_string();
        assert!(text.starts_with("ed25519:") && text.len() == 52, "{text}");
        assert_eq!(text.parse(), Ok(key.public()));
        assert_ne!(SigningKey::generate().unwrap().public(), key.public());
    }

    #[test]
    fn nothing_else_is_a_key() {
        let key = SigningKey::generate().unwrap();
        let (public, secret) = (key.public().to_string(), key.to_text());
        for text in [
            "",
            "ed25519:",
            "ed25519:AAAA",
            &*secret,
            &public[1..],
            &public[..51],
            &format!("{public}\n"),
        ] {
            assert_eq!(text.parse::<PublicKey>(), Err(KeyError::Public), "{text}");
        }
        for text in [
            "",
            "ed25519-secret:",
            "ed25519-secret:AAAA",
            &public,
            &secret[..secret.len() - 3],
        ] {
            assert_eq!(
                SigningKey::from_text(text).err(),
                Some(KeyError::Secret),
                "{text}"
            );
        }
        // One form only: the bits that base64 leaves over must be zero.
        let loose = format!("{PUBLIC}{}B=", &STANDARD.encode([0; 32])[..42]);
        assert_eq!(loose.parse::<PublicKey>(), Err(KeyError::Public), "{loose}");
    }

    #[test]
    fn a_secret_is_not_shown() {
        let key = SigningKey::generate().unwrap();
        let secret = key.to_text();
        let secret = secret.trim().strip_prefix(SECRET).unwrap();
        assert!(!format!("{key:?}").contains(secret));
        let wrong = format!("{SECRET}{secret}A");
        assert!(
            !SigningKey::from_text(&wrong)
                .unwrap_err()
                .to_string()
                .contains(secret)
        );
    }
}
