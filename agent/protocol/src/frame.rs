//! Framing: a big-endian `u32` length, then that many bytes of JSON.
//!
//! The length is checked before anything is allocated, so that a lying peer costs nothing.

use serde::{Serialize, de::DeserializeOwned};
use zeroize::Zeroizing;

/// The longest JSON text a frame may carry, in bytes.
pub const MAX: usize = 64 * 1024;

/// Bytes of the length that goes before each JSON text.
pub const HEADER: usize = 4;

/// Why a frame was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FrameError {
    /// The length says zero or more than [`MAX`] bytes.
    Length(u32),
    /// The bytes are not the JSON of the message that was expected; the text says where.
    Json(String),
}

impl std::fmt::Display for FrameError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Length(n) => write!(f, "a frame of {n} bytes; allowed are 1 to {MAX}"),
            Self::Json(why) => write!(f, "not the expected message: {why}"),
        }
    }
}

impl std::error::Error for FrameError {}

/// Reads a header and gives the number of JSON bytes that follow.
///
/// # Errors
///
/// [`FrameError::Length`] if the frame would be empty or longer than [`MAX`].
pub fn body_len(header: [u8; HEADER]) -> Result<usize, FrameError> {
    let announced = u32::from_be_bytes(header);
    match usize::try_from(announced) {
        Ok(len) if (1..=MAX).contains(&len) => Ok(len),
        _ => Err(FrameError::Length(announced)),
    }
}

/// Reads one message from the JSON bytes of a frame.
///
/// # Errors
///
/// [`FrameError::Json`] for anything but exactly one message of type `T`.
pub fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, FrameError> {
    serde_json::from_slice(body).map_err(|e| FrameError::Json(e.to_string()))
}

/// Puts frames together from whatever a socket gives: a frame in one piece, or byte by byte. Wiped on
/// drop: what arrives may be a code, or a new factor's secret.
#[derive(Debug)]
pub struct Inbox {
    bytes: Zeroizing<Vec<u8>>,
    have: usize,
}

impl Default for Inbox {
    fn default() -> Self {
        // Enough for most messages; a longer one says so in its header, and gets its room then.
        Self {
            bytes: Zeroizing::new(vec![0; 2048]),
            have: 0,
        }
    }
}

impl Inbox {
    /// Where what arrives next belongs. Never empty after [`Inbox::take`] gave nothing.
    pub fn room(&mut self) -> &mut [u8] {
        self.bytes.get_mut(self.have..).unwrap_or_default()
    }

    /// So many bytes were put into [`Inbox::room`].
    pub fn arrived(&mut self, count: usize) {
        self.have = self.have.saturating_add(count).min(self.bytes.len());
    }

    /// The next message, once all of it is there.
    ///
    /// # Errors
    ///
    /// [`FrameError::Length`] as soon as a header announces what it may not, before anything is
    /// allocated for it; [`FrameError::Json`].
    pub fn take<T: DeserializeOwned>(&mut self) -> Result<Option<T>, FrameError> {
        let arrived = self.bytes.get(..self.have).unwrap_or_default();
        let Some((header, rest)) = arrived.split_first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let len = body_len(*header)?;
        let Some((body, after)) = rest.split_at_checked(len) else {
            self.make_room_for(HEADER + len);
            return Ok(None);
        };
        let message = decode(body)?;
        let after = after.len();
        self.bytes.copy_within(HEADER + len..self.have, 0);
        self.have = after;
        Ok(Some(message))
    }

    fn make_room_for(&mut self, frame: usize) {
        if self.bytes.len() < frame {
            let mut larger = Zeroizing::new(vec![0; frame]);
            for (to, from) in larger.iter_mut().zip(self.bytes.iter()) {
                *to = *from;
            }
            self.bytes = larger;
        }
    }
}

/// Writes one message as a whole frame, header included. Wiped on drop: it may carry a code.
///
/// # Errors
///
/// [`FrameError::Length`] if the message is longer than [`MAX`].
pub fn encode<T: Serialize>(message: &T) -> Result<Zeroizing<Vec<u8>>, FrameError> {
    // Large enough for any message with a secret in it, so that growing never leaves a copy behind
    // that nobody wipes: the longest answer is 512 bytes, each of which may be escaped to six.
    let mut frame = Zeroizing::new(Vec::with_capacity(4096));
    frame.extend_from_slice(&[0; HEADER]);
    serde_json::to_writer(&mut *frame, message).map_err(|e| FrameError::Json(e.to_string()))?;
    let len = frame.len() - HEADER;
    let announced = u32::try_from(len).unwrap_or(u32::MAX);
    if len > MAX {
        return Err(FrameError::Length(announced));
    }
    for (to, from) in frame.iter_mut().zip(announced.to_be_bytes()) {
        *to = from;
    }
    Ok(frame)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Answer, Plain, Request, Said};
    use proptest::prelude::*;

    #[test]
    fn a_frame_is_a_length_and_its_json() {
        let frame = encode(&Request::Status(Plain::default())).unwrap();
        let body = br#"{"op":"status","v":1}"#;
        assert_eq!(frame.as_slice(), [&[0, 0, 0, 21], body.as_slice()].concat());
    }

    #[test]
    fn lengths() {
        assert_eq!(body_len([0, 0, 0, 0]), Err(FrameError::Length(0)));
        assert_eq!(body_len([0, 0, 0, 1]), Ok(1));
        assert_eq!(body_len([0, 1, 0, 0]), Ok(MAX));
        assert_eq!(body_len([0, 1, 0, 1]), Err(FrameError::Length(65_537)));
        assert_eq!(body_len([0xff; 4]), Err(FrameError::Length(u32::MAX)));
    }

    #[test]
    fn the_longest_message_is_not_one_byte_longer() {
        // Two quotes are JSON too.
        assert_eq!(encode(&"x".repeat(MAX - 2)).unwrap().len(), HEADER + MAX);
        let error = encode(&"x".repeat(MAX - 1)).unwrap_err();
        assert_eq!(error, FrameError::Length(65_537));
    }

    #[test]
    fn a_frame_holds_one_message_and_nothing_after_it() {
        assert!(decode::<u8>(b"1 ").is_ok());
        for more in [&b"1 2"[..], b"1\0", b"", b" ", b"\xff", b"1}"] {
            assert!(decode::<u8>(more).is_err(), "{more:?}");
        }
    }

    #[test]
    fn the_longest_answer_does_not_outgrow_its_frame() {
        let worst = Said::Answer(Answer {
            id: u32::MAX,
            text: Some(Zeroizing::new("\u{1}".repeat(512))),
        });
        assert!(encode(&worst).unwrap().len() <= 4096);
    }

    #[test]
    fn a_frame_arrives_in_any_pieces_and_what_follows_it_waits() {
        let long = "x".repeat(5000);
        let stream: Vec<u8> = [long.as_str(), "second", "third"]
            .iter()
            .flat_map(|text| encode(text).unwrap().to_vec())
            .collect();
        for piece in [1, 3, 7, 2047, 2048, 6000] {
            let (mut inbox, mut got) = (Inbox::default(), Vec::new());
            let mut rest = stream.as_slice();
            while !rest.is_empty() {
                let room = inbox.room();
                assert!(!room.is_empty());
                let count = piece.min(room.len()).min(rest.len());
                room[..count].copy_from_slice(&rest[..count]);
                inbox.arrived(count);
                rest = &rest[count..];
                while let Some(text) = inbox.take::<String>().unwrap() {
                    got.push(text);
                }
            }
            assert_eq!(got, [long.as_str(), "second", "third"], "{piece}");
        }
    }

    #[test]
    fn a_lying_header_costs_nothing() {
        let mut inbox = Inbox::default();
        inbox.room()[..HEADER].copy_from_slice(&[0xff; HEADER]);
        inbox.arrived(HEADER);
        assert_eq!(inbox.take::<u8>(), Err(FrameError::Length(u32::MAX)));
        assert_eq!(inbox.bytes.len(), 2048);
    }

    #[test]
    fn nesting_without_end_is_an_error_and_not_a_crash() {
        assert!(decode::<serde_json::Value>(&[b'['; MAX]).is_err());
        assert!(decode::<Request>(&b"{\"op\":".repeat(9000)).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_message_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode::<Request>(&bytes);
            let _ = decode::<Said>(&bytes);
        }

        #[test]
        fn what_is_encoded_is_decoded(text in ".{0,512}", id in any::<u32>()) {
            let said = Said::Answer(Answer { id, text: Some(Zeroizing::new(text)) });
            let frame = encode(&said).unwrap();
            let (header, body) = frame.split_first_chunk::<HEADER>().unwrap();
            prop_assert_eq!(body_len(*header).unwrap(), body.len());
            prop_assert!(decode::<Said>(body).unwrap() == said);
        }
    }
}
