//! The frame decoder: a stream of bytes as a hostile peer may send it, frame after frame.
#![no_main]

use jit_protocol::frame::{HEADER, MAX, body_len, decode};
use jit_protocol::message::{Reply, Request, Said};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|stream: &[u8]| {
    let mut rest = stream;
    while let Some((header, tail)) = rest.split_first_chunk::<HEADER>() {
        let len = match body_len(*header) {
            Ok(len) => len,
            Err(error) => {
                assert!(!error.to_string().is_empty());
                return;
            }
        };
        assert!((1..=MAX).contains(&len));
        let Some((body, tail)) = tail.split_at_checked(len) else {
            return;
        };
        let _ = decode::<Request>(body);
        let _ = decode::<Reply>(body);
        let _ = decode::<Said>(body);
        rest = tail;
    }
});
