//! Messages of the protocol: what is understood is said again in the same way.
//!
//! Input: the JSON text of one message.
#![no_main]

use jit_protocol::frame::{FrameError, HEADER, decode, encode};
use jit_protocol::message::{Reply, Request, Said};
use libfuzzer_sys::fuzz_target;
use serde::{Serialize, de::DeserializeOwned};

/// Reads the message; if it is one, writes it and reads that.
fn again<T: Serialize + DeserializeOwned + PartialEq>(body: &[u8]) -> Option<T> {
    let message: T = decode(body).ok()?;
    match encode(&message) {
        Ok(frame) => assert!(decode::<T>(&frame[HEADER..]).is_ok_and(|same| same == message)),
        // Written out it may be longer than it came.
        Err(error) => assert!(matches!(error, FrameError::Length(_))),
    }
    Some(message)
}

fuzz_target!(|body: &[u8]| {
    again::<Request>(body);
    again::<Reply>(body);
    if let Some(said) = again::<Said>(body) {
        // What a person typed is never shown.
        assert_eq!(format!("{said:?}"), "Said([redacted])");
    }
});
