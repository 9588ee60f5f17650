//! Opening a bundle, as it came or with a true signature put around hostile parts.
//!
//! Input: `r` and the bundle's bytes; `k` and the bytes that were kept of one; or `s`, then the head's JSON and the grants' text with a NUL
//! between them, which are signed here by a key that is trusted.
#![no_main]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jit_policy::bundle::{Bundle, Floor, PAYLOAD_TYPE, Trust, open};
use jit_policy::sign::{PublicKey, SigningKey};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

static KEY: LazyLock<SigningKey> = LazyLock::new(|| {
    SigningKey::from_text(&format!("ed25519-secret:{}", STANDARD.encode([7; 32]))).unwrap()
});

fn check(bundle: &[u8]) {
    let keys: [PublicKey; 1] = [KEY.public()];
    let floor = Floor {
        seq: 5,
        hash: None,
        issued_at: None,
        host_specific: false,
    };
    let now = "2026-11-21T12:00:00Z".parse().unwrap();
    let trust = |floor| Trust {
        keys: &keys,
        realm: "prod",
        host: "db-1",
        floor,
        now,
    };
    match open(bundle, &trust(&floor)) {
        Ok(opened) => {
            assert_eq!(opened.head.realm, "prod");
            assert!(opened.head.host == "*" || opened.head.host.eq_ignore_ascii_case("db-1"));
            assert!(opened.head.seq >= 5 && opened.head.expires_at > now);
            // What was accepted once is accepted at every start, until it expires.
            let raised = floor.raised_by(&opened.head);
            assert_eq!(open(bundle, &trust(&raised)).as_ref(), Ok(&opened));
            // And so is what was kept of it.
            let verified = Bundle::read(bundle)
                .unwrap()
                .verify(&trust(&floor))
                .unwrap();
            let (line, text) = verified.to_keep();
            let kept = line + text;
            let restored = Bundle::restore(kept.as_bytes()).unwrap();
            assert_eq!(restored.verify(&trust(&raised)).unwrap().open(), Ok(opened));
        }
        Err(rejected) => assert!(!rejected.to_string().chars().any(char::is_control)),
    }
}

fn signed(parts: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(parts).ok()?;
    let (head, grants) = text.split_once('\0')?;
    let mut message = format!(
        "DSSEv1 {} {PAYLOAD_TYPE} {} ",
        PAYLOAD_TYPE.len(),
        head.len()
    )
    .into_bytes();
    message.extend_from_slice(head.as_bytes());
    let signature = STANDARD.encode(KEY.sign(&message).unwrap());
    let bundle = serde_json::json!({
        "head": {
            "payloadType": PAYLOAD_TYPE,
            "payload": STANDARD.encode(head),
            "signatures": [{ "sig": signature }],
        },
        "grants": grants,
    });
    Some(bundle.to_string())
}

/// A bundle as it lies on disk, which somebody has edited.
fn edited(kept: &[u8]) {
    let keys: [PublicKey; 1] = [KEY.public()];
    let trust = Trust {
        keys: &keys,
        realm: "prod",
        host: "db-1",
        floor: &Floor::default(),
        now: "2026-11-21T12:00:00Z".parse().unwrap(),
    };
    let opened = Bundle::restore(kept).and_then(|bundle| bundle.verify(&trust)?.open());
    if let Err(rejected) = opened {
        assert!(!rejected.to_string().chars().any(char::is_control));
    }
}

fuzz_target!(|data: &[u8]| {
    match data.split_first() {
        Some((b'k', kept)) => edited(kept),
        Some((b'r', bundle)) => check(bundle),
        Some((b's', parts)) => {
            if let Some(bundle) = signed(parts) {
                check(bundle.as_bytes());
            }
        }
        _ => {}
    }
});
