//! Which hosts a grant aims at.

use crate::snapshot::HostFacts;
use crate::text::quoted;

/// Checks one entry of `hosts`: `label=value`, or a host name in which `*` stands for any run of
/// characters and `?` for one.
///
/// Brackets and braces are refused rather than taken literally: in other globs they mean something.
pub(crate) fn check_pattern(pattern: &str) -> Result<(), String> {
    let (label, value) = match pattern.split_once('=') {
        Some(parts) => parts,
        None => return check_glob(pattern),
    };
    let plain = |text: &str| {
        !text.is_empty() && text.trim() == text && crate::text::check_remark("", text).is_ok()
    };
    if pattern.len() <= 256 && plain(label) && plain(value) && !pattern.contains(['*', '?']) {
        Ok(())
    } else {
        Err(format!(
            "hosts entry {} must be label=value in full: labels know no wildcard",
            quoted(pattern)
        ))
    }
}

fn check_glob(pattern: &str) -> Result<(), String> {
    let fits = (1..=256).contains(&pattern.len())
        && pattern
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'*' | b'?'));
    if fits {
        Ok(())
    } else {
        Err(format!(
            "hosts entry {} must be a host name of letters, digits, . _ - with * and ? as wildcards, or label=value",
            quoted(pattern)
        ))
    }
}

/// Whether one entry of `hosts` covers this host.
pub(crate) fn matches(pattern: &str, host: &HostFacts) -> bool {
    match pattern.split_once('=') {
        Some((label, value)) => host.labels.get(label).is_some_and(|has| has == value),
        None => glob(pattern.as_bytes(), host.name.as_bytes()),
    }
}

/// Matches the whole name, letters of either case alike.
///
/// One star is remembered at a time: when a later part fails, only the last star can help, because
/// it may take everything that an earlier one could. So the cost is at most pattern times name.
fn glob(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut star = None;
    while let Some(&c) = name.get(n) {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(&want) if want == b'?' || want.eq_ignore_ascii_case(&c) => {
                p += 1;
                n += 1;
            }
            _ => match star {
                Some((at, taken)) => {
                    p = at + 1;
                    n = taken + 1;
                    star = Some((at, n));
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(p).all(|&c| c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn host() -> HostFacts {
        HostFacts {
            name: "DB-1.example.org".into(),
            labels: [("env".into(), "prod".into()), ("Role".into(), "a=b".into())].into(),
        }
    }

    #[test]
    fn names_match_whole_and_case_folded() {
        for pattern in [
            "db-1.example.org",
            "DB-*",
            "*",
            "db-?.example.*",
            "*.ORG",
            "d*1*g",
            "**",
        ] {
            assert!(matches(pattern, &host()), "{pattern}");
        }
        for pattern in [
            "db-1",
            "b-1.example.org",
            "db-",
            "db-??.example.org",
            "*.com",
            "",
        ] {
            assert!(!matches(pattern, &host()), "{pattern}");
        }
    }

    #[test]
    fn labels_match_exactly() {
        assert!(matches("env=prod", &host()));
        assert!(matches("Role=a=b", &host()));
        for pattern in [
            "env=Prod",
            "ENV=prod",
            "env=pro",
            "role=a=b",
            "zone=prod",
            "env=",
        ] {
            assert!(!matches(pattern, &host()), "{pattern}");
        }
    }

    #[test]
    fn patterns_that_mean_something_elsewhere_are_refused() {
        let long = "a".repeat(257);
        for pattern in [
            "",
            "db-[12]",
            "db-{1,2}",
            "db 1",
            "!db",
            "db\\*",
            "dé",
            "db/1",
            "a\n",
            "=x",
            "x=",
            "env=*",
            "e?v=prod",
            "env = prod",
            "env=a\u{1b}",
            &long,
        ] {
            assert!(check_pattern(pattern).is_err(), "{pattern:?}");
        }
        for pattern in ["*", "db-*", "env=prod", "role=a b", "x_y.z-0"] {
            assert_eq!(check_pattern(pattern), Ok(()), "{pattern}");
        }
    }

    #[test]
    fn many_stars_against_a_long_name_end_soon() {
        let pattern = format!("{}b", "*a".repeat(127));
        let name = "a".repeat(100_000);
        assert!(!glob(pattern.as_bytes(), name.as_bytes()));
    }

    /// The definition, straight: a star takes nothing, or one character and goes on.
    fn defined(pattern: &[u8], name: &[u8]) -> bool {
        match (pattern.split_first(), name.split_first()) {
            (None, None) => true,
            (Some((b'*', p)), _) if defined(p, name) => true,
            (Some((b'*', _)), Some((_, n))) => defined(pattern, n),
            (Some((&c, p)), Some((&d, n))) => {
                (c == b'?' || c.eq_ignore_ascii_case(&d)) && defined(p, n)
            }
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn glob_is_what_its_definition_says(pattern in "[aB*?]{0,8}", name in "[aAb]{0,8}") {
            prop_assert_eq!(
                glob(pattern.as_bytes(), name.as_bytes()),
                defined(pattern.as_bytes(), name.as_bytes())
            );
        }
    }
}
