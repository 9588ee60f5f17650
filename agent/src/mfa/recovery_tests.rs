use super::*;
use crate::mfa::code::{Code, parse_code};

const KEY: [u8; 32] = [7; 32];

fn bits(text: &str) -> [u8; 10] {
    match parse_code(text) {
        Some(Code::Recovery(ref bits)) => *bits,
        other => panic!("{text} is {other:?}"),
    }
}

#[test]
fn ten_codes_each_found_once() {
    let (shown, mut kept) = generate(&KEY, 1001).unwrap();
    assert_eq!((shown.len(), kept.len(), left(&kept)), (10, 10, 10));
    for (nr, code) in shown.iter().enumerate() {
        assert_eq!(find(&kept, &KEY, 1001, &bits(code)), Match::Fresh(nr));
        spend(&mut kept, nr);
        assert_eq!(find(&kept, &KEY, 1001, &bits(code)), Match::Spent);
        let used = u32::try_from(nr).unwrap() + 1;
        assert_eq!(left(&kept), 10 - used);
    }
}

#[test]
fn codes_are_worth_nothing_to_another_uid_or_under_another_key() {
    let (shown, kept) = generate(&KEY, 1001).unwrap();
    let code = bits(&shown[0]);
    assert_eq!(find(&kept, &KEY, 1002, &code), Match::No);
    assert_eq!(find(&kept, &[8; 32], 1001, &code), Match::No);
    assert_eq!(find(&[], &KEY, 1001, &code), Match::No);
}

#[test]
fn codes_look_as_documented_and_are_not_kept() {
    let (shown, kept) = generate(&KEY, 1001).unwrap();
    let on_disk = serde_json::to_string(&kept).unwrap();
    for code in &shown {
        let groups: Vec<_> = code.split('-').collect();
        assert_eq!(groups.len(), 4, "{}", code.as_str());
        assert!(
            groups.iter().all(|group| group.len() == 4),
            "{}",
            code.as_str()
        );
        assert!(!on_disk.contains(code.as_str()));
    }
    let mut sorted: Vec<_> = shown.iter().map(|code| code.as_str()).collect();
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!(sorted.len(), 10);
}

/// RFC 4648, section 10, cut to ten bytes: `foobarfoob`.
#[test]
fn the_base32_is_rfc_4648s() {
    assert_eq!(show(b"foobarfoob").as_str(), "MZXW-6YTB-OJTG-633C");
}
