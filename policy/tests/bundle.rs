//! Each way in which a bundle can be wrong, one test by name; and that a right one opens.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
mod common;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::*;
use jiff::{SignedDuration, Timestamp};
use jit_policy::bundle::{
    Bundle, Facts, Floor, Head, MAX_SIZE, Opened, PAYLOAD_TYPE, Rejected, SealError, Trust,
    next_seq, open, seal,
};
use jit_policy::grant::to_json;
use jit_policy::sign::SigningKey;
use serde_json::{Value, json};

const NOW: &str = "2026-11-21T12:00:00Z";

struct World {
    key: SigningKey,
    now: Timestamp,
    floor: Floor,
}

impl World {
    fn new() -> Self {
        Self {
            key: SigningKey::generate().unwrap(),
            now: time(NOW),
            floor: Floor::default(),
        }
    }

    fn facts(&self) -> Facts {
        Facts {
            realm: "prod".into(),
            host: "*".into(),
            seq: next_seq(None, self.now),
            issued_at: self.now,
            expires_at: self.now + SignedDuration::from_hours(24),
        }
    }

    fn seal(&self, facts: &Facts) -> String {
        seal(&self.key, facts, &text("alice")).unwrap()
    }

    fn open(&self, bundle: &str) -> Result<Opened, Rejected> {
        self.open_bytes(bundle.as_bytes())
    }

    fn open_bytes(&self, bundle: &[u8]) -> Result<Opened, Rejected> {
        let trust = Trust {
            keys: &[SigningKey::generate().unwrap().public(), self.key.public()],
            realm: "prod",
            host: "db-1",
            floor: &self.floor,
            now: self.now,
        };
        let opened = open(bundle, &trust);
        // What is kept of it reads like it, and what is refused is not kept.
        let verified = Bundle::read(bundle).and_then(|bundle| bundle.verify(&trust));
        if let Ok(verified) = verified {
            let (line, text) = verified.to_keep();
            let kept = line + text;
            let restored = Bundle::restore(kept.as_bytes()).and_then(|b| b.verify(&trust));
            assert_eq!(restored.and_then(|bundle| bundle.open()), opened);
        } else {
            assert!(opened.is_err());
        }
        opened
    }

    fn accept(&mut self, bundle: &str) {
        let opened = self.open(bundle).unwrap();
        self.floor = self.floor.raised_by(&opened.head);
    }

    /// Signs any bytes as the head of these grants, with the true key.
    fn sign(&self, payload_type: &str, payload: &[u8], grants: &str) -> String {
        let mut signed = format!(
            "DSSEv1 {} {payload_type} {} ",
            payload_type.len(),
            payload.len()
        )
        .into_bytes();
        signed.extend_from_slice(payload);
        let sig = STANDARD.encode(self.key.sign(&signed).unwrap());
        let head = json!({
            "payloadType": payload_type,
            "payload": STANDARD.encode(payload),
            "signatures": [{ "sig": sig }],
        });
        json!({ "head": head, "grants": grants }).to_string()
    }
}

fn text(user: &str) -> String {
    let toml = format!(
        "[[grant]]\nid = \"inc-1\"\nuser = \"{user}\"\nservices = [\"sudo\"]\n\
         not_after = 2026-11-21T13:00:00Z\nreason = \"quotes \\\" and ünïcode\"\n"
    );
    to_json(&grants(&toml))
}

fn ago(world: &World, secs: i64) -> Timestamp {
    world.now - SignedDuration::from_secs(secs)
}

#[test]
fn a_good_bundle_opens() {
    let world = World::new();
    let opened = world.open(&world.seal(&world.facts())).unwrap();
    assert_eq!(opened.head.realm, "prod");
    assert_eq!(opened.head.grants_sha256.len(), 64);
    assert_eq!(
        (opened.parsed.grants.len(), opened.parsed.faults.len()),
        (1, 0)
    );
    // Its own host, in any case of letters.
    let facts = Facts {
        host: "DB-1".into(),
        ..world.facts()
    };
    assert!(world.open(&world.seal(&facts)).is_ok());
}

#[test]
fn oversize() {
    let world = World::new();
    let bundle = vec![b' '; MAX_SIZE + 1];
    assert_eq!(
        world.open_bytes(&bundle),
        Err(Rejected::TooLarge(MAX_SIZE + 1))
    );
    // Nothing but its size is wrong with a good bundle in too much white space.
    let mut bundle = world.seal(&world.facts()).into_bytes();
    bundle.resize(MAX_SIZE, b' ');
    assert!(world.open_bytes(&bundle).is_ok());
    bundle.push(b' ');
    assert_eq!(
        world.open_bytes(&bundle),
        Err(Rejected::TooLarge(MAX_SIZE + 1))
    );
}

#[test]
fn truncation() {
    let world = World::new();
    let bundle = world.seal(&world.facts());
    for cut in 0..bundle.len() {
        let refused = world.open_bytes(&bundle.as_bytes()[..cut]);
        assert!(
            matches!(refused, Err(Rejected::Malformed(_))),
            "{cut}: {refused:?}"
        );
    }
}

#[test]
fn any_changed_byte_is_noticed() {
    let world = World::new();
    let bundle = world.seal(&world.facts());
    let good = world.open(&bundle).unwrap();
    for at in 0..bundle.len() {
        for flip in [1, 0x20, 0x80] {
            let mut bytes = bundle.clone().into_bytes();
            bytes[at] ^= flip;
            // The key id is a hint that nobody signed.
            if let Ok(opened) = world.open_bytes(&bytes) {
                assert_eq!(opened, good);
                let keyid = bundle.find("keyid").unwrap();
                assert!((keyid..keyid + 70).contains(&at), "{at}: {}", &bundle[at..]);
            }
        }
    }
}

#[test]
fn garbage() {
    let world = World::new();
    let deep = "[".repeat(1_000_000);
    let many = format!(
        "{{\"head\":{{\"payloadType\":\"x\",\"payload\":\"\",\"signatures\":[{}]}},\"grants\":\"\"}}",
        vec!["{\"sig\":\"\"}"; 17].join(",")
    );
    let long = format!(
        "{{\"head\":{{\"payloadType\":\"x\",\"payload\":\"{}\",\"signatures\":[]}},\"grants\":\"\"}}",
        "A".repeat(20_000)
    );
    for text in [
        "",
        "null",
        "[]",
        "{}",
        "7",
        "\u{1b}[2J",
        "<html>",
        "{\"grants\":\"\"}",
        &deep,
        &many,
        &long,
    ] {
        let refused = world.open(text).unwrap_err();
        assert!(matches!(refused, Rejected::Malformed(_)), "{refused:?}");
        assert!(!refused.to_string().chars().any(char::is_control));
    }
    assert!(matches!(
        world.open_bytes(b"\xff\xfe{}"),
        Err(Rejected::Malformed(_))
    ));
    let mut extra: Value = serde_json::from_str(&world.seal(&world.facts())).unwrap();
    extra["note"] = json!("hello");
    assert!(matches!(
        world.open(&extra.to_string()),
        Err(Rejected::Malformed(_))
    ));
}

#[test]
fn wrong_type() {
    let world = World::new();
    let good = world.seal(&world.facts());
    let other = good.replace(PAYLOAD_TYPE, "application/vnd.in-toto+json");
    assert_eq!(
        world.open(&other),
        Err(Rejected::Type("application/vnd.in-toto+json".into()))
    );
    // Signed as what it says, it is still no head.
    let other = world.sign("application/vnd.pam-jit.head.v2+json", b"{}", "");
    assert!(matches!(world.open(&other), Err(Rejected::Type(_))));
}

#[test]
fn the_type_is_signed_too() {
    // A signature over the same payload as another type must not pass for one over a head.
    let world = World::new();
    let facts = world.facts();
    let grants = text("alice");
    let head: Value = serde_json::from_str(&world.seal(&facts)).unwrap();
    let payload = STANDARD
        .decode(head["head"]["payload"].as_str().unwrap())
        .unwrap();
    let other = world.sign("text/plain", &payload, &grants);
    assert_eq!(
        world.open(&other.replace("text/plain", PAYLOAD_TYPE)),
        Err(Rejected::Signature)
    );
    assert!(
        world
            .open(&world.sign(PAYLOAD_TYPE, &payload, &grants))
            .is_ok()
    );
}

#[test]
fn wrong_key() {
    let world = World::new();
    let stranger = World {
        key: SigningKey::generate().unwrap(),
        ..World::new()
    };
    assert_eq!(
        world.open(&stranger.seal(&world.facts())),
        Err(Rejected::Signature)
    );
    // Claiming the right key's id does not help.
    let claimed = stranger.seal(&world.facts()).replace(
        &stranger.key.public().to_string(),
        &world.key.public().to_string(),
    );
    assert_eq!(world.open(&claimed), Err(Rejected::Signature));
}

#[test]
fn no_key_trusted_or_no_signature() {
    let world = World::new();
    let bundle = world.seal(&world.facts());
    let trust = Trust {
        keys: &[],
        realm: "prod",
        host: "db-1",
        floor: &world.floor,
        now: world.now,
    };
    assert_eq!(open(bundle.as_bytes(), &trust), Err(Rejected::Signature));
    let mut value: Value = serde_json::from_str(&bundle).unwrap();
    for signatures in [
        json!([]),
        json!([{"sig": ""}]),
        json!([{"sig": "!"}]),
        json!([{"sig": "AAAA"}]),
    ] {
        value["head"]["signatures"] = signatures;
        assert_eq!(world.open(&value.to_string()), Err(Rejected::Signature));
    }
    value["head"]["payload"] = json!("not base64");
    assert_eq!(world.open(&value.to_string()), Err(Rejected::Signature));
}

#[test]
fn any_one_trusted_signature_is_enough() {
    let world = World::new();
    let mut value: Value = serde_json::from_str(&world.seal(&world.facts())).unwrap();
    let good = value["head"]["signatures"][0].clone();
    value["head"]["signatures"] = json!([{"sig": "AAAA"}, good]);
    assert!(world.open(&value.to_string()).is_ok());
}

#[test]
fn a_signed_head_that_is_none() {
    let world = World::new();
    for payload in ["", "{}", "null", "{\"realm\":\"prod\"}", "\u{1b}"] {
        let refused = world
            .open(&world.sign(PAYLOAD_TYPE, payload.as_bytes(), ""))
            .unwrap_err();
        assert!(matches!(refused, Rejected::Head(_)), "{refused:?}");
    }
    let head = Head {
        realm: "prod".into(),
        host: "*".into(),
        seq: 1,
        issued_at: world.now,
        expires_at: world.now,
        grants_sha256: String::new(),
    };
    let mut extra = serde_json::to_value(&head).unwrap();
    extra["note"] = json!(1);
    let refused = world.open(&world.sign(PAYLOAD_TYPE, extra.to_string().as_bytes(), ""));
    assert!(matches!(refused, Err(Rejected::Head(_))));
}

#[test]
fn wrong_realm() {
    let world = World::new();
    for realm in ["test", "Prod", "prod ", "*", "\u{1b}"] {
        let refused = world
            .open(&world.seal(&Facts {
                realm: realm.into(),
                ..world.facts()
            }))
            .unwrap_err();
        assert_eq!(refused, Rejected::Realm(realm.into()));
        assert!(!refused.to_string().chars().any(char::is_control));
    }
}

#[test]
fn replay_for_another_host() {
    let world = World::new();
    for host in ["db-2", "db-*", "db-1.example.org", "db-", "**", "\u{1b}"] {
        let refused = world
            .open(&world.seal(&Facts {
                host: host.into(),
                ..world.facts()
            }))
            .unwrap_err();
        assert_eq!(refused, Rejected::Host(host.into()));
    }
}

#[test]
fn once_host_specific_always_host_specific() {
    let mut world = World::new();
    let every = world.facts();
    world.accept(&world.seal(&every));
    let mine = Facts {
        host: "db-1".into(),
        seq: every.seq + 1,
        ..every.clone()
    };
    world.accept(&world.seal(&mine));
    let later = Facts {
        seq: every.seq + 2,
        ..every
    };
    assert_eq!(world.open(&world.seal(&later)), Err(Rejected::NotSpecific));
    assert!(
        world
            .open(&world.seal(&Facts {
                seq: every_seq(&later),
                ..mine
            }))
            .is_ok()
    );
}

fn every_seq(facts: &Facts) -> u64 {
    facts.seq + 1
}

#[test]
fn rollback() {
    let mut world = World::new();
    let old = world.seal(&Facts {
        seq: 100,
        ..world.facts()
    });
    world.accept(&old);
    world.accept(&world.seal(&Facts {
        seq: 101,
        ..world.facts()
    }));
    assert_eq!(
        world.open(&old),
        Err(Rejected::Rollback {
            seq: 100,
            floor: 101
        })
    );
}

#[test]
fn the_same_number_only_with_the_same_grants() {
    let mut world = World::new();
    let facts = world.facts();
    let bundle = world.seal(&facts);
    world.accept(&bundle);
    // As at every start.
    assert!(world.open(&bundle).is_ok());
    let other = seal(&world.key, &facts, &text("mallory")).unwrap();
    assert_eq!(world.open(&other), Err(Rejected::Reused(facts.seq)));
}

#[test]
fn a_number_from_the_future() {
    let world = World::new();
    let limit = next_seq(None, world.now) + 600_000;
    assert!(
        world
            .open(&world.seal(&Facts {
                seq: limit,
                ..world.facts()
            }))
            .is_ok()
    );
    for seq in [limit + 1, i64::MAX as u64, u64::MAX] {
        let refused = world.open(&world.seal(&Facts {
            seq,
            ..world.facts()
        }));
        assert_eq!(refused, Err(Rejected::SeqAhead(seq)));
    }
}

#[test]
fn freeze() {
    let mut world = World::new();
    let facts = world.facts();
    world.accept(&world.seal(&facts));
    // A higher number over an older date: somebody stretches what was true before.
    let stale = Facts {
        seq: facts.seq + 1,
        issued_at: ago(&world, 1),
        ..facts
    };
    let refused = world.open(&world.seal(&stale));
    assert_eq!(
        refused,
        Err(Rejected::Older {
            issued_at: ago(&world, 1),
            floor: world.now
        })
    );
}

#[test]
fn a_frozen_bundle_grows_old() {
    // The same bundle offered for ever: it opens, with an age that ends its grants.
    let mut world = World::new();
    let bundle = world.seal(&world.facts());
    world.accept(&bundle);
    world.now = time("2026-11-21T23:00:00Z");
    let opened = world.open(&bundle).unwrap();
    assert_eq!(
        world.now.duration_since(opened.head.issued_at),
        SignedDuration::from_hours(11)
    );
    world.now = time("2026-11-22T12:00:00Z");
    assert!(matches!(world.open(&bundle), Err(Rejected::Expired(_))));
}

#[test]
fn future_date() {
    let world = World::new();
    let ahead = |secs| world.now + SignedDuration::from_secs(secs);
    assert!(
        world
            .open(&world.seal(&Facts {
                issued_at: ahead(600),
                ..world.facts()
            }))
            .is_ok()
    );
    let refused = world.open(&world.seal(&Facts {
        issued_at: ahead(601),
        ..world.facts()
    }));
    assert_eq!(refused, Err(Rejected::IssuedAhead(ahead(601))));
}

#[test]
fn expired() {
    let mut world = World::new();
    let bundle = world.seal(&world.facts());
    world.now = time("2026-11-22T11:59:59.999999999Z");
    assert!(world.open(&bundle).is_ok());
    world.now = time("2026-11-22T12:00:00Z");
    assert_eq!(world.open(&bundle), Err(Rejected::Expired(world.now)));
}

#[test]
fn mix_of_head_and_grants() {
    let world = World::new();
    let mine: Value = serde_json::from_str(&world.seal(&world.facts())).unwrap();
    let facts = Facts {
        seq: world.facts().seq + 1,
        ..world.facts()
    };
    let other = seal(&world.key, &facts, &text("mallory")).unwrap();
    let mut mixed: Value = serde_json::from_str(&other).unwrap();
    mixed["head"] = mine["head"].clone();
    assert_eq!(world.open(&mixed.to_string()), Err(Rejected::Hash));
    mixed["grants"] = json!("");
    assert_eq!(world.open(&mixed.to_string()), Err(Rejected::Hash));
    // What is no text at all, and what is no UTF-8 even unescaped.
    for grants in [json!(null), json!({"grants": []}), json!(7)] {
        mixed["grants"] = grants;
        let refused = world.open(&mixed.to_string());
        assert!(
            matches!(refused, Err(Rejected::Malformed(_))),
            "{refused:?}"
        );
    }
    let text = mixed.to_string();
    assert!(text.contains("\"grants\":7"));
    let text = text.replace("\"grants\":7", "\"grants\":\"\\ud800\"");
    assert!(matches!(world.open(&text), Err(Rejected::Malformed(_))));
}

#[test]
fn the_hash_is_of_the_decoded_text() {
    let world = World::new();
    let bundle = world.seal(&world.facts());
    let escaped = bundle.replace('ü', "\\u00fc");
    assert_ne!(bundle, escaped);
    assert!(world.open(&escaped).is_ok());
}

/// A head for any grants' text, rightly signed.
fn sealed_anyway(world: &World, grants: &str) -> String {
    let good: Value = serde_json::from_str(&world.seal(&world.facts())).unwrap();
    let payload = STANDARD
        .decode(good["head"]["payload"].as_str().unwrap())
        .unwrap();
    let mut head: Head = serde_json::from_slice(&payload).unwrap();
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, grants.as_bytes());
    head.grants_sha256 = digest.as_ref().iter().map(|b| format!("{b:02x}")).collect();
    world.sign(PAYLOAD_TYPE, &serde_json::to_vec(&head).unwrap(), grants)
}

#[test]
fn grants_that_are_no_json() {
    let world = World::new();
    for grants in ["", "[]", "nonsense", "{\"grants\":7}"] {
        let refused = world.open(&sealed_anyway(&world, grants));
        assert!(matches!(refused, Err(Rejected::Grants(_))), "{refused:?}");
    }
}

#[test]
fn one_odd_grant_does_not_hold_up_the_rest() {
    let world = World::new();
    let good = text("alice");
    let odd = good.replace(
        "{\"grants\":[",
        "{\"grants\":[{\"id\":\"odd\",\"when\":{\"moon\":\"full\"}},",
    );
    let opened = world.open(&sealed_anyway(&world, &odd)).unwrap();
    assert_eq!(opened.parsed.grants.len(), 1);
    assert_eq!(opened.parsed.faults[0].id.as_deref(), Some("odd"));
    // But nobody makes such a bundle with our tools.
    let refused = seal(&world.key, &world.facts(), &odd);
    assert!(matches!(refused, Err(SealError::Fault(fault)) if fault.id.as_deref() == Some("odd")));
}

#[test]
fn seal_refuses_what_no_host_would_take() {
    let world = World::new();
    let facts = world.facts();
    let grants = text("alice");
    for bad in [
        Facts {
            realm: String::new(),
            ..facts.clone()
        },
        Facts {
            host: String::new(),
            ..facts.clone()
        },
        Facts {
            expires_at: facts.issued_at,
            ..facts.clone()
        },
    ] {
        assert!(
            matches!(seal(&world.key, &bad, &grants), Err(SealError::Facts(_))),
            "{bad:?}"
        );
    }
    assert!(matches!(
        seal(&world.key, &facts, "[]"),
        Err(SealError::Grants(_))
    ));
    let huge = format!("{{\"grants\":[]{}}}", " ".repeat(MAX_SIZE));
    assert!(matches!(
        seal(&world.key, &facts, &huge),
        Err(SealError::TooLarge(_))
    ));
}

/// Of several things wrong, the first in the order of checks is named.
#[test]
fn checks_come_in_their_order() {
    let mut world = World::new();
    world.floor = Floor {
        seq: 2_000_000_000_000_000,
        hash: Some("x".into()),
        issued_at: Some(time("2030-01-01T00:00:00Z")),
        host_specific: true,
    };
    let mut facts = Facts {
        realm: "test".into(),
        host: "db-2".into(),
        seq: 1,
        issued_at: time("2026-01-01T00:00:00Z"),
        expires_at: time("2026-01-02T00:00:00Z"),
    };
    let stranger = World::new();
    let mixed = |bundle: String| bundle.replace("inc-1", "inc-2");
    let refused =
        |world: &World, facts: &Facts| world.open(&mixed(world.seal(facts))).unwrap_err().as_str();

    let foreign = stranger.seal(&facts).replace(PAYLOAD_TYPE, "text/plain");
    assert_eq!(world.open(&foreign).unwrap_err().as_str(), "type");
    assert_eq!(
        world.open(&stranger.seal(&facts)).unwrap_err().as_str(),
        "signature"
    );
    assert_eq!(refused(&world, &facts), "realm");
    facts.realm = "prod".into();
    assert_eq!(refused(&world, &facts), "host");
    facts.host = "*".into();
    assert_eq!(refused(&world, &facts), "not_specific");
    facts.host = "db-1".into();
    assert_eq!(refused(&world, &facts), "rollback");
    facts.seq = world.floor.seq;
    assert_eq!(refused(&world, &facts), "reused");
    facts.seq += 1;
    assert_eq!(refused(&world, &facts), "seq_ahead");
    world.floor.seq = 1;
    facts.seq = 2;
    assert_eq!(refused(&world, &facts), "older");
    facts.issued_at = time("2030-01-01T00:00:00Z");
    facts.expires_at = time("2030-01-02T00:00:00Z");
    assert_eq!(refused(&world, &facts), "issued_ahead");
    world.floor.issued_at = None;
    facts.issued_at = time("2026-01-01T00:00:00Z");
    facts.expires_at = time("2026-01-02T00:00:00Z");
    assert_eq!(refused(&world, &facts), "expired");
    facts.expires_at = time("2027-01-02T00:00:00Z");
    assert_eq!(refused(&world, &facts), "hash");
    assert!(world.open(&world.seal(&facts)).is_ok());
}

#[test]
fn numbers_only_increase() {
    let now = time(NOW);
    let millis = now.as_millisecond() as u64;
    assert_eq!(next_seq(None, now), millis);
    assert_eq!(next_seq(Some(5), now), millis);
    assert_eq!(next_seq(Some(millis), now), millis + 1);
    assert_eq!(next_seq(Some(millis + 7), now), millis + 8);
    assert_eq!(next_seq(Some(u64::MAX), now), u64::MAX);
    assert_eq!(next_seq(None, Timestamp::MIN), 0);
}

#[test]
fn a_floor_only_rises() {
    let world = World::new();
    let opened = world.open(&world.seal(&world.facts())).unwrap();
    let floor = Floor::default().raised_by(&opened.head);
    let lower = Head {
        seq: 1,
        issued_at: Timestamp::MIN,
        ..opened.head.clone()
    };
    let again = floor.raised_by(&lower);
    assert_eq!((again.seq, again.issued_at), (floor.seq, floor.issued_at));
    let text = serde_json::to_string(&floor).unwrap();
    assert_eq!(serde_json::from_str::<Floor>(&text).unwrap(), floor);
}

/// What is kept of a bundle may be lost in part, or be something else by now.
#[test]
fn what_was_kept_is_believed_whole_or_not_at_all() {
    let world = World::new();
    let sent = world.seal(&world.facts());
    let trust = Trust {
        keys: &[world.key.public()],
        realm: "prod",
        host: "db-1",
        floor: &world.floor,
        now: world.now,
    };
    let restored = |kept: &[u8]| {
        let bundle = Bundle::restore(kept)?;
        bundle.verify(&trust)?.open()
    };
    let verified = Bundle::read(sent.as_bytes()).unwrap().verify(&trust);
    let verified = verified.unwrap();
    let (line, text) = verified.to_keep();
    let kept = format!("{line}{text}");
    assert!(restored(kept.as_bytes()).is_ok());
    for end in 0..kept.len() {
        let whole_head = end >= line.len() && kept.is_char_boundary(end);
        let wanted = if whole_head { "hash" } else { "malformed" };
        let refused = restored(&kept.as_bytes()[..end]).unwrap_err();
        assert_eq!(refused.as_str(), wanted, "{end}");
    }
    for (other, wanted) in [
        (format!("{line}{text} "), "hash"),
        (format!("{line}\n{text}"), "hash"),
        (format!("\n{kept}"), "malformed"),
        (sent.clone(), "malformed"),
        (kept.replace("alice", "mallory"), "hash"),
    ] {
        let refused = restored(other.as_bytes()).unwrap_err();
        assert_eq!(refused.as_str(), wanted, "{other}");
    }
}
