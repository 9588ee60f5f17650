//! Ids of records: 48 bits of milliseconds and 80 random ones, 26 characters that sort by time.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Crockford's base 32: no letter that looks like a digit.
const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// This run's own keys, and how many ids it has made. Ids are names, not secrets: they must not
/// repeat, and nothing more. The random generator of the cryptographic library takes 50 ms to wake
/// up, and the first record would wait for it, with everybody behind it.
static KEYS: LazyLock<RandomState> = LazyLock::new(RandomState::new);
static MADE: AtomicU64 = AtomicU64::new(0);

/// A new id for something that happens at `millis` since 1970.
pub(crate) fn new(millis: i64) -> String {
    let nth = MADE.fetch_add(1, Ordering::Relaxed);
    let random =
        u128::from(KEYS.hash_one((nth, 0_u8))) << 64 | u128::from(KEYS.hash_one((nth, 1_u8)));
    encode(u128::from(millis.unsigned_abs()) << 80 | random >> 48)
}

fn encode(value: u128) -> String {
    (0..26u32)
        .rev()
        .filter_map(|nth| DIGITS.get((value >> (nth * 5) & 31) as usize))
        .map(|digit| char::from(*digit))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_by_time_and_do_not_repeat() {
        assert_eq!(encode(0), "0".repeat(26));
        assert_eq!(encode(u128::MAX), "7ZZZZZZZZZZZZZZZZZZZZZZZZZ");
        // The specification's example of a time: 01ARZ3NDEK is 1469922850259.
        assert!(new(1_469_922_850_259).starts_with("01ARZ3NDEK"));
        assert!(new(1_800_000_000_000) < new(1_800_000_000_001));
        let many: std::collections::HashSet<String> = (0..1000).map(|_| new(1)).collect();
        assert_eq!(many.len(), 1000);
        assert!(many.iter().all(|id| id.len() == 26));
    }
}
