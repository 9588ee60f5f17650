//! Large texts in parts, several at once.
//!
//! A text is cut where one grant most likely ends and the next begins, without reading it. That is
//! safe because every part must then read well on its own: whoever reads JSON or TOML from the left
//! stands, at the end of what reads well alone, between two grants and nowhere else, so the next
//! part begins where it seems to. Where a cut was wrong, the part before it ends in the middle of
//! something and does not read; then the text is read whole, as if it had never been cut.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

/// About how long a part is, in bytes: what is made of it on the way stays in a core's own cache.
pub(crate) const SIZE: usize = 128 * 1024;

/// How many threads share the parts, the caller's among them. More than there are cores costs next
/// to nothing, and how many those are is not for a pure function to find out.
const HANDS: usize = 4;

/// Cuts a text after each `size` bytes or a little more, at the next place where `mark` stands; the
/// new part begins `skip` bytes into it.
pub(crate) fn cut(text: &str, mark: &str, skip: usize, size: usize) -> Vec<Range<usize>> {
    let mut parts = Vec::new();
    let mut begin: usize = 0;
    loop {
        let from = begin.saturating_add(size);
        // Nowhere to look from: beyond the end, or inside a character.
        let found = (from..text.len())
            .find(|at| text.is_char_boundary(*at))
            .and_then(|from| Some(from + text.get(from..)?.find(mark)?));
        let Some(found) = found else { break };
        parts.push(begin..found + skip);
        begin = found + skip;
    }
    parts.push(begin..text.len());
    parts
}

/// Does the work on each item, several at once; the results stand in the items' order, up to the
/// first that failed.
pub(crate) fn each<T, R, F>(items: &[T], work: F) -> Option<Vec<R>>
where
    T: Sync,
    R: Send,
    F: Fn(&T) -> Option<R> + Sync,
{
    if items.len() < 2 {
        return items.iter().map(work).collect();
    }
    let next = AtomicUsize::new(0);
    let hand = || {
        let mut done = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(at) else {
                return Some(done);
            };
            let Some(result) = work(item) else {
                // What the others would still do is for nothing.
                next.store(items.len(), Ordering::Relaxed);
                return None;
            };
            done.push((at, result));
        }
    };
    let mut done = std::thread::scope(|scope| {
        let spawn = || std::thread::Builder::new().spawn_scoped(scope, hand);
        // Where the system gives no more threads, those that there are do it all.
        let others: Vec<_> = (1..HANDS.min(items.len()))
            .map_while(|_| spawn().ok())
            .collect();
        let mut done = hand();
        for other in others {
            let theirs = other.join().ok().flatten();
            done = done.zip(theirs).map(|(mut mine, theirs)| {
                mine.extend(theirs);
                mine
            });
        }
        done
    })?;
    done.sort_unstable_by_key(|(at, _)| *at);
    Some(done.into_iter().map(|(_, result)| result).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_make_up_the_whole() {
        for (text, size) in [
            ("", 1),
            (",", 1),
            ("a,b,c", 1),
            ("a,b,c", 9),
            ("ü,ü,ü,,", 1),
            ("ü,ü", 2),
        ] {
            let parts = cut(text, ",", 1, size);
            let joined: String = parts.iter().map(|part| &text[part.clone()]).collect();
            assert_eq!(joined, text);
        }
        assert_eq!(cut("a,b,c", ",", 1, 1), [0..2, 2..4, 4..5]);
        assert_eq!(cut("a,b,c", ",", 0, 1), [0..1, 1..3, 3..5]);
    }

    #[test]
    fn results_stand_in_their_order_and_one_failure_is_everybodys() {
        let items: Vec<usize> = (0..1000).collect();
        assert_eq!(each(&items, |n| Some(n * 2)).unwrap()[999], 1998);
        let order = each(&items, |n| Some(*n)).unwrap();
        assert_eq!(order, items);
        for bad in [0, 1, 500, 999] {
            assert_eq!(each(&items, |n| (*n != bad).then_some(*n)), None);
        }
        assert_eq!(each::<usize, usize, _>(&[], |n| Some(*n)), Some(vec![]));
    }
}
