//! The frame decoder: a stream of bytes as a hostile peer may send it, frame after frame, in pieces of
//! any size. What comes out of pieces is what a look at the whole says.
#![no_main]

use jit_protocol::frame::{FrameError, HEADER, Inbox, MAX, body_len, decode};
use jit_protocol::message::{Reply, Request, Said};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|input: (u16, &[u8])| {
    let (piece, stream) = input;
    let whole = frames(stream);
    let mut inbox = Inbox::default();
    let mut rest = stream;
    let mut at = 0;
    loop {
        match inbox.take::<Value>() {
            Ok(Some(message)) => {
                assert_eq!(whole.get(at), Some(&Ok(message)));
                at += 1;
                continue;
            }
            Ok(None) if rest.is_empty() => return assert_eq!(at, whole.len()),
            Ok(None) => {}
            Err(error) => return assert_eq!(whole.get(at), Some(&Err(error))),
        }
        let room = inbox.room();
        assert!(!room.is_empty());
        let count = usize::from(piece).max(1).min(room.len()).min(rest.len());
        let (now, later) = rest.split_at(count);
        room[..count].copy_from_slice(now);
        inbox.arrived(count);
        rest = later;
    }
});

/// Every message up to the first that is none.
fn frames(stream: &[u8]) -> Vec<Result<Value, FrameError>> {
    let mut found = Vec::new();
    let mut rest = stream;
    while let Some((header, tail)) = rest.split_first_chunk::<HEADER>() {
        let len = match body_len(*header) {
            Ok(len) => len,
            Err(error) => {
                found.push(Err(error));
                return found;
            }
        };
        assert!((1..=MAX).contains(&len));
        let Some((body, tail)) = tail.split_at_checked(len) else {
            return found;
        };
        let _ = decode::<Request>(body);
        let _ = decode::<Reply>(body);
        let _ = decode::<Said>(body);
        let message = decode(body);
        let broken = message.is_err();
        found.push(message);
        if broken {
            return found;
        }
        rest = tail;
    }
    found
}
