use super::*;
use proptest::prelude::*;

fn digits(text: &str) -> Option<[u8; 6]> {
    match parse_code(text) {
        Some(Code::Totp(ref digits)) => Some(*digits),
        _ => None,
    }
}

#[test]
fn six_digits_with_any_spaces_are_a_code() {
    for text in [
        "123456",
        "123 456",
        " 123456\n",
        "1 2 3 4 5 6",
        "12  34   56\r\n",
        "\t123456",
    ] {
        assert_eq!(digits(text), Some(*b"123456"), "{text:?}");
    }
    assert_eq!(digits("000000"), Some(*b"000000"));
}

#[test]
fn a_recovery_code_is_read_in_either_case() {
    let upper = parse_code("ABCD-EFGH-IJKL-2345").unwrap();
    assert!(matches!(upper, Code::Recovery(_)));
    assert_eq!(parse_code("abcd-efgh-ijkl-2345"), Some(upper.clone()));
    assert_eq!(parse_code(" AbCd-EfGh-IjKl-2345 \n"), Some(upper));
    assert_eq!(
        parse_code("AAAA-AAAA-AAAA-AAAB"),
        Some(Code::Recovery([0, 0, 0, 0, 0, 0, 0, 0, 0, 1]))
    );
    assert_eq!(
        parse_code("7777-7777-7777-7777"),
        Some(Code::Recovery([255; 10]))
    );
}

#[test]
fn whatever_else_is_typed_is_no_code() {
    let long = "1".repeat(10_000);
    let longer = " ".repeat(9_994) + "123 456";
    let junk = [
        "",
        " ",
        "12345",
        "1234567",
        "+12345",
        "-12345",
        "12345a",
        "１２３４５６",
        "123\t456",
        "123-456",
        "123\n456",
        "123456\0",
        "\u{8}\n\r\u{7f}INCORRECT",
        "correct horse",
        "hunter2",
        "correcthorsebatt",
        "ABCDEFGHIJKL2345",
        "ABCD-EFGH-IJKL-234",
        "ABCD-EFGH-IJKL-23456",
        "ABCD-EFGH-IJKL",
        "ABCD-EFGH-IJKL-2345-",
        "-ABCD-EFGH-IJKL-2345",
        "ABCD-EFGH-IJKL-2345-ABCD",
        "ABCD-EFGH-IJKL-1890",
        "ABC\u{e9}-EFG-IJKL-2345",
        "ABCDE-FGH-IJKL-2345",
        "ABCD EFGH IJKL 2345",
        &long,
    ];
    for text in junk {
        assert_eq!(parse_code(text), None, "{text:?}");
    }
    // Spaces around a code are nothing, however many.
    assert_eq!(digits(&longer), Some(*b"123456"));
}

#[test]
fn nothing_of_a_code_is_shown() {
    let shown = format!(
        "{:?} {:?}",
        parse_code("987654"),
        parse_code("7777-7777-7777-7777")
    );
    assert!(
        !shown.contains("987") && !shown.contains("55") && !shown.contains("57"),
        "{shown}"
    );
}

proptest! {
    #[test]
    fn any_text_is_answered(text in ".{0,200}") {
        let _ = parse_code(&text);
    }

    #[test]
    fn near_codes_agree_with_a_plain_reading(text in "[0-9 +-]{0,12}") {
        let kept: String = text.chars().filter(|c| *c != ' ').collect();
        let code = kept.len() == 6 && kept.chars().all(|c| c.is_ascii_digit());
        prop_assert_eq!(parse_code(&text).is_some(), code);
    }

    #[test]
    fn recovery_codes_of_other_bits_differ(a in any::<[u8; 10]>(), b in any::<[u8; 10]>()) {
        let (ta, tb) = (crate::mfa::recovery::show(&a), crate::mfa::recovery::show(&b));
        prop_assert_eq!(parse_code(&ta), Some(Code::Recovery(a)));
        prop_assert_eq!(ta == tb, a == b);
    }
}
