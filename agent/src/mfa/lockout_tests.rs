use super::*;
use proptest::prelude::*;

const BOOT: BootId = BootId(1);
const NEXT_BOOT: BootId = BootId(2);

fn up(secs: u64) -> Stamp {
    Stamp::new(BOOT, Duration::from_secs(secs))
}

fn from(rhost: &str) -> Origin {
    Origin::new(Some(rhost), |text| format!("{:x}", text.len()))
}

#[test]
fn five_are_free_then_the_locks_double_to_a_quarter_of_an_hour() {
    let mut count = Count::default();
    let mut now = 1000;
    let mut locks = Vec::new();
    for _ in 0..14 {
        count.add(up(now));
        let secs = count.locked(up(now)).unwrap_or(0);
        locks.push(secs);
        now += secs;
        assert_eq!(count.locked(up(now)), None);
        assert_eq!(secs > 0, count.locked(up(now - 1)) == Some(1));
    }
    assert_eq!(
        locks,
        [0, 0, 0, 0, 0, 30, 60, 120, 240, 480, 900, 900, 900, 900]
    );
}

#[test]
fn a_hundred_in_a_row_disable() {
    let mut count = Count::default();
    for wrong in 1..=DISABLED_AFTER {
        assert!(!count.disabled());
        count.add(up(1_000_000 * u64::from(wrong)));
    }
    assert!(count.disabled());
    for _ in 0..3 {
        count.add(up(1));
    }
    assert!(count.disabled());
}

fn locked_at(secs: u64) -> Count {
    let mut count = Count::default();
    for _ in 0..11 {
        count.add(up(secs));
    }
    assert_eq!(count.locked(up(secs)), Some(900));
    count
}

#[test]
fn a_reboot_never_shortens_a_lock() {
    let count = locked_at(1_000_000);
    let later = |secs| Stamp::new(NEXT_BOOT, Duration::from_secs(secs));
    assert_eq!(count.locked(later(0)), Some(900));
    assert_eq!(count.locked(later(899)), Some(1));
    assert_eq!(count.locked(later(900)), None);
    // Up for longer than the machine was when the lock began: still a boot of its own.
    assert_eq!(locked_at(10).locked(later(20)), Some(880));
}

#[test]
fn a_boot_clock_that_started_anew_does_not_lock_for_ever() {
    let count = locked_at(1_000_000);
    assert_eq!(count.locked(up(5)), Some(895));
    assert_eq!(count.locked(up(900)), None);
}

#[test]
fn a_lock_is_the_same_after_it_was_on_disk() {
    let count = locked_at(77);
    let back: Count = serde_json::from_str(&serde_json::to_string(&count).unwrap()).unwrap();
    assert_eq!(back, count);
    assert_eq!(back.locked(up(78)), Some(899));
}

#[test]
fn one_machine_is_one_origin_however_it_writes_itself() {
    assert_eq!(from("192.0.2.7"), from("::ffff:192.0.2.7"));
    assert_eq!(from("2001:db8:1:2::1"), from("2001:DB8:1:2:ffff::9"));
    assert_ne!(from("2001:db8:1:2::1"), from("2001:db8:1:3::1"));
    assert_eq!(from("fe80::1%eth0"), from("fe80::2%eth1"));
    assert_ne!(from("192.0.2.7"), from("192.0.2.8"));
    assert!(from("\u{1b}[31m\n".repeat(500).as_str()).0.len() < 40);
    let here = Origin::new(None, |_| unreachable!());
    assert_eq!(here, Origin::new(Some(""), |_| unreachable!()));
    // No text that a remote host could have for a name is the console.
    assert_ne!(here, from("here"));
}

#[test]
fn entry_is_throttled_by_host() {
    let mut entries = Entries::default();
    let (bad, good) = (from("192.0.2.66"), from("198.51.100.1"));
    for _ in 0..6 {
        entries.add(&bad, up(0));
    }
    assert_eq!(entries.locked(&bad, up(0)), Some(30));
    assert_eq!(entries.wrong(&bad), 6);
    assert_eq!(entries.locked(&good, up(0)), None);
    assert_eq!(entries.wrong(&good), 0);
    entries.pass(&good);
    assert_eq!(entries.wrong(&bad), 6);
    entries.pass(&bad);
    assert_eq!(
        (entries.wrong(&bad), entries.locked(&bad, up(0))),
        (0, None)
    );
}

fn spend_budget(entries: &mut Entries, now: Stamp) {
    for nr in 0..BUDGET {
        let host = from(&format!("203.0.113.{nr}"));
        assert_eq!(entries.locked(&host, now), None, "{nr}");
        entries.add(&host, now);
    }
}

#[test]
fn many_hosts_share_one_slow_budget() {
    let mut entries = Entries::default();
    spend_budget(&mut entries, up(100));
    let new = from("198.51.100.9");
    assert_eq!(entries.locked(&new, up(100)), Some(900));
    assert_eq!(entries.locked(&new, up(999)), Some(1));
    assert_eq!(entries.locked(&new, up(1000)), None);
    entries.add(&new, up(1000));
    assert_eq!(entries.locked(&from("198.51.100.10"), up(1000)), Some(900));
    // Ten refills later ten more are free, and no more.
    let mut now = 1000 + 9000;
    for nr in 20..30 {
        let host = from(&format!("198.51.100.{nr}"));
        assert_eq!(entries.locked(&host, up(now)), None);
        entries.add(&host, up(now));
        now += 1;
    }
    assert!(entries.locked(&from("198.51.100.99"), up(now)).is_some());
}

#[test]
fn nobody_is_kept_out_of_where_they_come_from_by_somebody_elsewhere() {
    let mut entries = Entries::default();
    let (home, here) = (from("198.51.100.1"), Origin::new(None, |_| unreachable!()));
    entries.pass(&home);
    spend_budget(&mut entries, up(0));
    assert!(entries.locked(&from("198.51.100.2"), up(0)).is_some());
    assert_eq!(entries.locked(&home, up(0)), None);
    assert_eq!(entries.locked(&here, up(0)), None);
    // Not without limit, though: what is known is still one host.
    for _ in 0..6 {
        entries.add(&home, up(0));
        entries.add(&here, up(0));
    }
    assert_eq!(entries.locked(&home, up(0)), Some(30));
    assert_eq!(entries.locked(&here, up(0)), Some(30));
}

#[test]
fn a_pass_does_not_refill_the_budget() {
    let mut entries = Entries::default();
    spend_budget(&mut entries, up(0));
    entries.pass(&from("198.51.100.1"));
    assert_eq!(entries.locked(&from("198.51.100.2"), up(0)), Some(900));
}

#[test]
fn a_reboot_does_not_refill_the_budget() {
    let mut entries = Entries::default();
    spend_budget(&mut entries, up(5_000_000));
    let later = |secs| Stamp::new(NEXT_BOOT, Duration::from_secs(secs));
    let new = from("198.51.100.2");
    assert_eq!(entries.locked(&new, later(0)), Some(900));
    assert_eq!(entries.locked(&new, later(900)), None);
    entries.add(&new, later(901));
    let newer = from("198.51.100.3");
    assert_eq!(entries.locked(&newer, later(901)), Some(899));
    assert_eq!(entries.locked(&newer, later(1800)), None);
}

#[test]
fn what_is_kept_is_bounded_whatever_strangers_send() {
    let mut entries = Entries::default();
    for nr in 0..10_000_u32 {
        let host = from(&Ipv6Addr::from(u128::from(nr) << 64).to_string());
        entries.add(&host, up(u64::from(nr)));
        entries.pass(&from(
            &Ipv6Addr::from(u128::from(nr + 20_000) << 64).to_string(),
        ));
    }
    assert_eq!(entries.hosts.len(), MOST_HOSTS);
    assert_eq!(entries.known.len(), MOST_KNOWN);
}

#[test]
fn a_locked_host_is_the_last_to_be_forgotten() {
    let mut entries = Entries::default();
    let bad = from("192.0.2.66");
    for _ in 0..8 {
        entries.add(&bad, up(0));
    }
    for nr in 0..200_u32 {
        entries.add(&from(&format!("10.0.0.{nr}")), up(1));
    }
    assert_eq!(entries.wrong(&bad), 8);
}

proptest! {
    /// However an attacker spreads guesses over hosts and time, and however often the machine
    /// starts anew meanwhile: hosts without a good past get the budget and its refills, no more.
    #[test]
    fn no_spread_of_guesses_beats_the_budget(
        moves in prop::collection::vec((0_u32..200, 0_u64..4000, prop::bool::weighted(0.02)), 1..400)
    ) {
        let mut entries = Entries::default();
        let (mut boot, mut now, mut elapsed, mut looked_at) = (1, 0_u64, 0_u64, 0_u64);
        for (host, pause, reboot) in moves {
            if reboot {
                boot += 1;
                now = 0;
            }
            now += pause;
            elapsed += pause;
            let stamp = Stamp::new(BootId(boot), Duration::from_secs(now));
            let host = from(&format!("10.0.0.{host}"));
            if entries.locked(&host, stamp).is_none() {
                entries.add(&host, stamp);
                looked_at += 1;
            }
            prop_assert!(looked_at <= u64::from(BUDGET) + elapsed / BUDGET_REFILL);
        }
    }

    /// At one host, and at elevation: no more than the schedule allows.
    #[test]
    fn no_timing_of_guesses_beats_the_locks(pauses in prop::collection::vec(0_u64..2000, 1..300)) {
        let mut count = Count::default();
        let (mut now, mut first_locked, mut looked_at) = (0, None, 0_u64);
        for pause in pauses {
            now += pause;
            if count.locked(up(now)).is_none() {
                count.add(up(now));
                looked_at += 1;
                if looked_at == 11 {
                    first_locked = Some(now);
                }
            }
            if let Some(first) = first_locked {
                prop_assert!(looked_at <= 11 + (now - first) / LONGEST_LOCK);
            }
        }
    }
}
