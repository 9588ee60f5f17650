use super::*;
use crate::mfa::lockout::{Origin, Stamp};
use crate::mfa::tests::{Lab, NOW, alice, bob};
use crate::mfa::{Authority, Begun, Checked, Method, Scope};
use crate::state::BootId;
use std::fs;
use std::time::Duration;

const PASSED: Checked = Checked::Passed {
    method: Method::Totp,
};

fn key(letter: u8) -> Option<SealKey> {
    Some(SealKey::from_secret(&[letter; 32]))
}

#[test]
fn without_a_key_a_record_is_plain_and_for_root_alone() {
    let mut lab = Lab::new();
    let enrolment = lab.enrol(&alice());
    let file = lab.file(&alice());
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains(enrolment.secret.as_str()));
    assert!(!text.contains(enrolment.recovery_codes[0].as_str()));
    let mode = std::os::unix::fs::MetadataExt::mode(&fs::metadata(&file).unwrap());
    assert_eq!(mode & 0o7777, 0o600);
    lab.restart();
    assert_eq!(lab.totp(&alice(), &enrolment, NOW), PASSED);
}

#[test]
fn with_a_key_nothing_of_a_factor_can_be_read_on_disk() {
    let mut lab = Lab::sealed(key(1));
    let enrolment = lab.enrol(&alice());
    let bytes = fs::read(lab.file(&alice())).unwrap();
    let text = String::from_utf8_lossy(&bytes);
    for part in ["alice", "secret", "since", enrolment.secret.as_str()] {
        assert!(!text.contains(part), "{part}");
    }
    lab.restart();
    assert_eq!(lab.totp(&alice(), &enrolment, NOW), PASSED);
}

#[test]
fn a_sealed_record_without_the_key_passes_nobody_and_says_why() {
    let mut lab = Lab::sealed(key(1));
    let enrolment = lab.enrol(&alice());
    lab.restart_with(None);
    let code = lab.code(&enrolment, NOW);
    let error = lab
        .try_check(&alice(), &code, Scope::Elevation, NOW)
        .unwrap_err();
    assert!(matches!(error, MfaError::Sealed { .. }));
    let words = error.to_string();
    assert!(
        words.contains("factors/1001.json") && words.contains("pam_jit.key"),
        "{words}"
    );
    assert_eq!(lab.report(&alice()).state, "unusable");
    assert_eq!(lab.faults.len(), 1);
    assert!(
        lab.begin(&alice(), Authority::First).is_err(),
        "nor is it a first enrolment"
    );

    lab.restart_with(key(2));
    let error = lab
        .try_check(&alice(), &code, Scope::Elevation, NOW)
        .unwrap_err();
    assert!(error.to_string().contains("does not open it"), "{error}");

    lab.restart_with(key(1));
    assert_eq!(lab.totp(&alice(), &enrolment, NOW), PASSED);
}

#[test]
fn what_was_written_before_there_was_a_key_is_sealed_at_the_start() {
    let mut lab = Lab::new();
    let enrolment = lab.enrol(&alice());
    lab.restart_with(key(1));
    let bytes = fs::read(lab.file(&alice())).unwrap();
    assert!(bytes.starts_with(SEALED));
    assert_eq!(lab.totp(&alice(), &enrolment, NOW), PASSED);
}

#[test]
fn a_sealed_record_is_no_other_persons_and_cannot_be_changed() {
    let mut lab = Lab::sealed(key(1));
    lab.enrol(&alice());
    lab.enrol(&bob());
    let bytes = fs::read(lab.file(&alice())).unwrap();
    fs::write(lab.file(&bob()), &bytes).unwrap();
    assert!(
        lab.try_check(&bob(), "000000", Scope::Elevation, NOW)
            .is_err()
    );
    for at in [SEALED.len(), SEALED.len() + NONCE, bytes.len() - 1] {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        fs::write(lab.file(&alice()), &changed).unwrap();
        assert!(
            lab.try_check(&alice(), "000000", Scope::Elevation, NOW)
                .is_err(),
            "{at}"
        );
    }
    fs::write(lab.file(&alice()), SEALED).unwrap();
    assert!(
        lab.try_check(&alice(), "000000", Scope::Elevation, NOW)
            .is_err()
    );
}

#[test]
fn a_damaged_record_disables_its_person_and_nobody_else() {
    let mut lab = Lab::new();
    lab.enrol(&alice());
    let bobs = lab.enrol(&bob());
    let whole = fs::read_to_string(lab.file(&alice())).unwrap();
    let damages = [
        String::new(),
        "{}".to_owned(),
        "not a record".to_owned(),
        "\0".repeat(100),
        whole.trim_end().chars().take(200).collect(),
        whole.replace("\"v\":1", "\"v\":2"),
        whole.replace("\"uid\":1001", "\"uid\":1002"),
        whole.replace("\"secret\":\"", "\"secret\":\"!"),
        whole.replace("\"name\"", "\"extra\":1,\"name\""),
        fs::read_to_string(lab.file(&bob())).unwrap(),
    ];
    for damage in damages {
        fs::write(lab.file(&alice()), &damage).unwrap();
        lab.restart();
        let words = lab
            .faults
            .iter()
            .map(ToString::to_string)
            .collect::<String>();
        assert!(words.contains("factors/1001.json: "), "{words}");
        assert!(!words.contains("1002.json"), "{words}");
        let error = lab
            .try_check(&alice(), "123456", Scope::Elevation, NOW)
            .unwrap_err();
        assert!(matches!(error, MfaError::Damaged { .. }), "{error}");
        assert!(error.to_string().contains("jit mfa reset"), "{error}");
        assert!(lab.hindrance(&alice(), Scope::Elevation).is_err());
        assert_eq!(lab.report(&alice()).state, "unusable");
        // Not being readable is not the same as never having been enrolled.
        assert!(lab.begin(&alice(), Authority::First).is_err());
        assert!(lab.begin(&alice(), Authority::Root).is_err());
        assert_eq!(fs::read_to_string(lab.file(&alice())).unwrap(), damage);
        assert_eq!(lab.report(&bob()).state, "enrolled");
    }
    assert_eq!(lab.totp(&bob(), &bobs, NOW), PASSED);

    lab.reset_as_root(&alice());
    assert_eq!(lab.report(&alice()).state, "none");
    assert!(matches!(
        lab.begin(&alice(), Authority::First),
        Ok(Begun::NotFirst)
    ));
    let anew = lab.enrol(&alice());
    assert_eq!(lab.totp(&alice(), &anew, NOW), PASSED);
}

#[test]
fn a_right_code_and_a_wrong_one_take_the_same_room_on_disk() {
    for seal in [None, key(1)] {
        let mut lab = Lab::sealed(seal);
        let enrolment = lab.enrol(&alice());
        let mut sizes = vec![fs::metadata(lab.file(&alice())).unwrap().len()];
        for nr in 0..60_u32 {
            let rhost = format!("2001:db8:ffff:{:x}::1", 0xf000 + nr);
            let scope = Scope::Entry {
                rhost: Some(&rhost),
            };
            let said = lab
                .try_check(&alice(), "AAAA-AAAA-AAAA-AAAA", scope, NOW)
                .unwrap();
            let guessed = matches!(said, Checked::Wrong { .. } | Checked::Locked { .. });
            assert!(guessed, "{said:?}");
            sizes.push(fs::metadata(lab.file(&alice())).unwrap().len());
        }
        assert_eq!(lab.totp(&alice(), &enrolment, NOW), PASSED);
        sizes.push(fs::metadata(lab.file(&alice())).unwrap().len());
        sizes.dedup();
        assert_eq!(sizes.len(), 1, "{sizes:?}");
    }
}

#[test]
fn a_credential_is_read_and_a_short_one_refused() {
    let dir = tempfile::tempdir().unwrap();
    assert!(SealKey::load(dir.path()).unwrap().is_none());
    let file = dir.path().join(SealKey::CREDENTIAL);
    fs::write(&file, [1; 31]).unwrap();
    let words = SealKey::load(dir.path()).unwrap_err().to_string();
    assert!(words.contains("pam_jit.key: 31 bytes"), "{words}");
    fs::write(&file, [1; 32]).unwrap();
    let loaded = SealKey::load(dir.path()).unwrap().unwrap();
    assert_eq!(*loaded.0, *key(1).unwrap().0);
    assert_ne!(*loaded.0, [1; 32]);
    assert_eq!(format!("{loaded:?}"), "SealKey([redacted])");
}

#[test]
fn a_record_shows_no_secret_when_printed() {
    let mut lab = Lab::new();
    let enrolment = lab.enrol(&alice());
    let record = lab.record(&alice());
    assert!(!format!("{record:?}").contains(enrolment.secret.as_str()));
}

#[test]
fn the_largest_record_fits() {
    let mut lab = Lab::new();
    lab.enrol(&alice());
    let mut record = lab.record(&alice());
    let now = Stamp::new(BootId(u128::MAX), Duration::from_millis(u64::MAX));
    for nr in 0..100 {
        let hostile = format!("{}{nr}", "\u{1b}".repeat(300));
        let from = Origin::new(Some(&hostile), |_| format!("{nr:032x}"));
        (0..20).for_each(|_| record.entries.add(&from, now));
        (0..20).for_each(|_| record.elevation.add(now));
        let known = Origin::new(Some("x"), |_| format!("{:032x}", nr + 1000));
        record.entries.pass(&known);
    }
    record.last_step = Some(u64::MAX);
    let json = serde_json::to_vec(&record).unwrap();
    // The longest login name useradd(8) makes is 256 bytes, and control characters are no name.
    assert!(json.len() + 256 < SIZE, "{}", json.len());
}

#[test]
fn a_lost_key_is_shouted_about_and_takes_the_recovery_codes_only() {
    let mut lab = Lab::new();
    let enrolment = lab.enrol(&alice());
    fs::remove_file(lab.file(&alice()).with_file_name("../key")).unwrap();
    lab.restart();
    let words = lab
        .faults
        .iter()
        .map(ToString::to_string)
        .collect::<String>();
    assert!(words.contains("key: was missing"), "{words}");
    let code = &enrolment.recovery_codes[0];
    let said = lab
        .try_check(&alice(), code, Scope::Elevation, NOW)
        .unwrap();
    assert!(matches!(said, Checked::Wrong { .. }), "{said:?}");
    assert_eq!(lab.totp(&alice(), &enrolment, NOW), PASSED);
    lab.restart();
    assert!(lab.faults.is_empty(), "{:?}", lab.faults);
}
