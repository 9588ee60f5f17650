use super::*;
use crate::mfa::tests::{at, oathtool};

const SECRET_32: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";

fn secret() -> Secret {
    Secret::try_from_base32(SECRET_32).unwrap()
}

fn digits(text: &str) -> [u8; 6] {
    text.as_bytes().try_into().unwrap()
}

#[test]
fn the_vectors_of_rfc_6238_match_at_their_step() {
    // Appendix B, SHA-1, the last six of its eight digits.
    for (time, code) in [
        (59, "287082"),
        (1_111_111_109, "081804"),
        (1_234_567_890, "005924"),
        (2_000_000_000, "279037"),
        (20_000_000_000, "353130"),
    ] {
        let found = find(&secret(), &digits(code), at(time), None).unwrap();
        let step = u64::try_from(time / 30).unwrap();
        assert_eq!(found, Match::Fresh(step), "{time}");
    }
}

#[test]
fn one_step_to_either_side_and_no_more() {
    let now = 1_795_000_015;
    for (off, right) in [(-2, false), (-1, true), (0, true), (1, true), (2, false)] {
        let [code] = oathtool(SECRET_32, now + 30 * off);
        let found = find(&secret(), &digits(&code), at(now), None).unwrap();
        let step = u64::try_from(now / 30 + off).unwrap();
        let wanted = if right { Match::Fresh(step) } else { Match::No };
        assert_eq!(found, wanted, "{off}");
    }
}

#[test]
fn a_step_counts_only_if_it_is_later_than_the_last() {
    let now = 1_795_000_015;
    let step = u64::try_from(now / 30).unwrap();
    let [before, same, after] = oathtool(SECRET_32, now - 30);
    let find = |code: &str, spent| find(&secret(), &digits(code), at(now), Some(spent)).unwrap();
    assert_eq!(find(&before, step - 1), Match::Spent);
    assert_eq!(find(&before, step + 9), Match::Spent);
    assert_eq!(find(&same, step - 1), Match::Fresh(step));
    assert_eq!(find(&same, step), Match::Spent);
    assert_eq!(find(&after, step), Match::Fresh(step + 1));
    assert_eq!(find(&after, step + 1), Match::Spent);
}

/// Two steps of one window that have the same code: when the earlier is spent, the later counts. A
/// search that stops at the first match would call it used.
#[test]
fn of_two_steps_with_the_same_code_the_one_not_spent_counts() {
    let totp = build(Builder::new().with_secret(secret())).unwrap();
    let code = |step: u64| totp.generate(step * STEP).to_string();
    // One pair in a million has it; this is the secret's first.
    let step = (910_000..5_000_000)
        .find(|step| code(*step) == code(step + 1))
        .unwrap();
    let now = at(i64::try_from((step + 1) * STEP).unwrap());
    let typed = digits(&code(step));
    let find = |spent| find(&secret(), &typed, now, spent).unwrap();
    assert_eq!(find(None), Match::Fresh(step));
    assert_eq!(find(Some(step)), Match::Fresh(step + 1));
    assert_eq!(find(Some(step + 1)), Match::Spent);
}

#[test]
fn the_ends_of_time_are_no_panic() {
    let code = digits("000000");
    assert!(matches!(
        find(&secret(), &code, at(-1), None),
        Err(MfaError::Clock)
    ));
    assert!(find(&secret(), &code, at(0), None).is_ok());
    assert!(find(&secret(), &code, Timestamp::MAX, Some(u64::MAX)).is_ok());
    assert!(matches!(
        find(&secret(), &code, Timestamp::MIN, None),
        Err(MfaError::Clock)
    ));
    assert_eq!(next_in(u64::MAX, at(0)), u64::MAX);
    assert_eq!(next_in(0, Timestamp::MIN), 30);
}

#[test]
fn the_uri_is_what_apps_read() {
    let uri = otpauth(&secret(), "Acme & Söhne", "alice@web 1").unwrap();
    let back = Totp::from_url(uri.as_str()).unwrap();
    assert_eq!(back.secret(), &secret());
    assert_eq!(back.issuer(), Some("Acme & Söhne"));
    assert_eq!(back.account_name(), "alice@web 1");
    assert_eq!((back.digits(), back.step()), (6, 30));
    assert_eq!(back.algorithm(), Algorithm::SHA1);
    assert!(uri.starts_with("otpauth://totp/"), "{}", uri.as_str());
    assert!(otpauth(&secret(), "", "alice@web1").is_ok());
    let error = otpauth(&secret(), "a:b", "alice@web1").unwrap_err();
    assert!(error.to_string().contains("issuer"), "{error}");
}

#[test]
fn secrets_are_160_bits_and_differ() {
    let (a, b) = (generate().unwrap(), generate().unwrap());
    assert_eq!((a.len(), b.len()), (20, 20));
    assert_ne!(a, b);
}
