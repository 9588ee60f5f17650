//! The code parser: whatever a person, sshd or a login form puts in a prompt's answer.
#![no_main]

// The file itself: the agent around it would take an hour to build with a fuzzer's flags.
#[allow(dead_code)]
#[path = "../../agent/src/mfa/code.rs"]
mod code;

use code::{Code, parse_code};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|typed: &str| {
    let Some(parsed) = parse_code(typed) else {
        return;
    };
    let letters: String = typed
        .chars()
        .filter(|c| c.is_ascii_alphanumeric())
        .collect();
    match &parsed {
        Code::Totp(digits) => assert_eq!(letters.as_bytes(), digits),
        // 80 bits in base32.
        Code::Recovery(_) => assert_eq!(letters.len(), 16),
    }
    // Neither case nor white space around it makes another code of it.
    let again = format!(" {}\r\n", typed.trim().to_ascii_lowercase());
    assert!(parse_code(&again).as_ref() == Some(&parsed));
});
