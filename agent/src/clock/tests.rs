//! Every promise about time, on a clock that is told what to show.

use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

const START: &str = "2026-11-21T10:00:00Z";
const MINUTE: i64 = 60;
const HOUR: i64 = 3600;
const DAY: i64 = 86_400;
const YEAR: i64 = 365 * DAY;

/// A machine: its wall clock is set, its time since boot passes, and nothing else happens.
#[derive(Debug)]
struct Script {
    wall: i64,
    boot: i64,
    synchronised: bool,
    boot_id: u128,
}

#[derive(Debug, Clone)]
struct Machine(Arc<Mutex<Script>>);

impl TimeSource for Machine {
    fn wall(&self) -> Timestamp {
        Timestamp::from_second(self.0.lock().unwrap().wall).unwrap()
    }
    fn boottime(&self) -> Duration {
        Duration::from_secs(self.0.lock().unwrap().boot.unsigned_abs())
    }
    fn synchronised(&self) -> bool {
        self.0.lock().unwrap().synchronised
    }
    fn boot_id(&self) -> Result<BootId, StateError> {
        Ok(BootId(self.0.lock().unwrap().boot_id))
    }
}

/// A machine, its disk and its agent.
struct Host {
    dir: TempDir,
    machine: Machine,
    clock: Option<Clock>,
    said: Vec<Event>,
}

impl Host {
    fn new() -> Self {
        let wall = start().as_second();
        let machine = Machine(Arc::new(Mutex::new(Script {
            wall,
            boot: 100,
            synchronised: false,
            boot_id: 1,
        })));
        let mut host = Self {
            // In memory: there are thousands of writes, each flushed.
            dir: tempfile::tempdir_in("/dev/shm").unwrap(),
            machine,
            clock: None,
            said: Vec::new(),
        };
        host.agent_starts();
        host
    }

    /// A host whose clock has been synchronised, an hour after it started.
    fn synchronised() -> Self {
        let mut host = Self::new();
        host.ntp(0);
        host.passes(HOUR);
        host
    }

    fn agent_starts(&mut self) {
        let state = Arc::new(State::open(&self.dir.path().join("state")).unwrap());
        self.clock = Some(Clock::start(Box::new(self.machine.clone()), state).unwrap());
        self.tick();
    }

    fn clock(&self) -> &Clock {
        self.clock.as_ref().unwrap()
    }

    fn set(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.machine.0.lock().unwrap());
    }

    fn tick(&mut self) {
        let said = self.clock().tick();
        self.said.extend(said);
    }

    fn passes(&mut self, seconds: i64) {
        self.set(|s| {
            s.wall += seconds;
            s.boot += seconds;
        });
        self.tick();
    }

    /// `date -s`: by so many seconds from what it shows, and the kernel no longer calls it
    /// synchronised.
    fn date(&mut self, by: i64) {
        self.set(|s| {
            s.wall += by;
            s.synchronised = false;
        });
        self.tick();
    }

    /// A time daemon moves the clock and vouches for it.
    fn ntp(&mut self, by: i64) {
        self.set(|s| {
            s.wall += by;
            s.synchronised = true;
        });
        self.tick();
    }

    fn agent_restarts(&mut self) {
        self.clock = None;
        self.agent_starts();
    }

    /// Off for so many seconds; the clock chip then shows something that is off by so many.
    fn reboots(&mut self, off: i64, chip: i64) {
        self.clock = None;
        self.boots(off, chip);
    }

    /// The same by the power button: the agent had no time to write anything.
    fn loses_power(&mut self, off: i64, chip: i64) {
        let saved = std::fs::read(self.file()).unwrap();
        self.clock = None;
        std::fs::write(self.file(), saved).unwrap();
        self.boots(off, chip);
    }

    fn boots(&mut self, off: i64, chip: i64) {
        self.set(|s| {
            s.wall += off + chip;
            s.boot = 20;
            s.boot_id += 1;
            s.synchronised = false;
        });
        self.agent_starts();
    }

    fn file(&self) -> std::path::PathBuf {
        self.dir.path().join("state").join(FILE)
    }

    fn now(&self) -> Now {
        self.clock().now()
    }

    /// Trusted time, in seconds since the start.
    fn trusted(&self) -> i64 {
        self.now().trusted().as_second() - start().as_second()
    }

    fn chain(&self) -> i64 {
        self.now().chain.as_second() - start().as_second()
    }

    fn said(&mut self) -> Vec<&'static str> {
        std::mem::take(&mut self.said)
            .iter()
            .map(Event::outcome)
            .collect()
    }
}

fn start() -> Timestamp {
    START.parse().unwrap()
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(start().as_second() + seconds).unwrap()
}

#[test]
fn a_moment_ends_by_the_later_and_starts_by_the_earlier() {
    let now = |wall: i64, chain: i64| Now {
        wall: at(wall),
        chain: at(chain),
        reached: at(0),
        boot: Duration::ZERO,
        settled: true,
    };
    for (wall, chain) in [(5, 9), (9, 5)] {
        let moment = now(wall, chain).moment();
        assert_eq!(
            (moment.earliest, moment.latest, moment.settled),
            (at(5), at(9), true)
        );
    }
    let later = Now {
        reached: at(20),
        ..now(5, 9)
    };
    assert_eq!(later.moment().latest, at(20));
    assert!(
        !Now {
            settled: false,
            ..now(1, 1)
        }
        .moment()
        .settled
    );
}

#[test]
fn at_first_the_wall_clock_is_believed_and_time_elapses() {
    let mut host = Host::new();
    assert!(host.now().settled);
    host.passes(HOUR);
    assert_eq!((host.trusted(), host.chain()), (HOUR, HOUR));
    assert_eq!(host.said(), Vec::<&str>::new());
}

#[test]
fn setting_the_clock_back_undoes_nothing() {
    for mut host in [Host::new(), Host::synchronised()] {
        host.said();
        let before = host.trusted();
        host.date(-HOUR);
        assert_eq!(host.trusted(), before);
        assert_eq!(host.now().moment().earliest, at(before - HOUR));
        host.passes(MINUTE);
        assert_eq!(host.trusted(), before + MINUTE);
        assert_eq!(host.said(), ["disagree"]);
        host.agent_restarts();
        assert_eq!(host.trusted(), before + MINUTE);
        assert_eq!(host.said(), ["disagree"]);
        host.date(HOUR);
        assert_eq!(host.said(), ["agree"]);
    }
}

#[test]
fn setting_the_clock_forward_ends_grants_now_and_is_forgotten_when_it_is_set_right() {
    let mut host = Host::synchronised();
    host.said();
    host.date(YEAR);
    assert_eq!(host.trusted(), HOUR + YEAR);
    // Starts do not come early by it.
    assert_eq!(host.now().moment().earliest, at(HOUR));
    host.passes(MINUTE);
    host.date(-YEAR);
    assert_eq!(host.trusted(), HOUR + MINUTE);
    assert_eq!(host.said(), ["disagree", "agree"]);
    host.date(YEAR);
    host.ntp(-YEAR);
    assert_eq!(host.trusted(), HOUR + MINUTE);
}

#[test]
fn a_bad_clock_chip_does_not_outlive_its_boot() {
    let mut host = Host::synchronised();
    host.reboots(MINUTE, YEAR);
    assert_eq!(host.trusted(), HOUR + MINUTE + YEAR);
    host.passes(HOUR);
    // … not even when it is set back by hand in the same boot,
    host.date(-YEAR);
    assert!(host.trusted() >= YEAR);
    // … but in the next boot it is gone: an hour more of this boot has elapsed.
    host.reboots(MINUTE, 0);
    assert_eq!(host.trusted(), HOUR + MINUTE + HOUR + MINUTE);
    assert!(host.now().settled);
    // And synchronisation may take it back at once: nothing of it was ever proven.
    host.reboots(MINUTE, YEAR);
    host.ntp(-YEAR);
    assert_eq!(host.trusted(), 2 * HOUR + 3 * MINUTE);
}

#[test]
fn a_clock_below_the_floor_at_boot_settles_only_when_somebody_vouches() {
    let behind = || {
        let mut host = Host::synchronised();
        host.said();
        host.reboots(MINUTE, -DAY);
        assert!(!host.now().settled && !host.now().moment().settled);
        assert_eq!(host.trusted(), HOUR);
        assert_eq!(host.said(), ["unsettled", "disagree"]);
        assert!(
            host.clock()
                .report()
                .trouble
                .unwrap()
                .contains("jit clock accept")
        );
        host
    };
    // Elapsed time, a restart of the agent, a clock set by hand: none of these.
    let mut host = behind();
    host.passes(HOUR);
    host.agent_restarts();
    host.date(DAY);
    assert!(!host.now().settled);
    // Another reboot with a clock that shows a later time: as good as any.
    host.reboots(MINUTE, 0);
    assert!(host.now().settled);

    let mut host = behind();
    host.ntp(DAY);
    assert!(host.now().settled);
    assert_eq!(host.trusted(), HOUR + MINUTE);
    assert_eq!(host.said(), ["settled", "agree"]);

    let mut host = behind();
    host.passes(MINUTE);
    host.clock().signed(at(HOUR - 1)).unwrap();
    assert!(!host.now().settled, "an old head, played again");
    host.clock().signed(at(HOUR + 5)).unwrap();
    assert!(host.now().settled);
    host.tick();
    assert_eq!(host.said(), ["settled"]);
    host.agent_restarts();
    assert!(host.now().settled);

    let host = behind();
    host.clock().accept_wall().unwrap();
    assert!(host.now().settled);
    assert_eq!(host.trusted(), HOUR + MINUTE - DAY);
}

#[test]
fn whole_seconds_of_a_clock_chip_are_not_a_clock_set_back() {
    let mut host = Host::synchronised();
    host.reboots(5, -10);
    assert!(host.now().settled);
    assert_eq!(host.trusted(), HOUR);
    host.reboots(0, -121);
    assert!(!host.now().settled);
}

#[test]
fn suspension_counts() {
    let mut host = Host::synchronised();
    // CLOCK_BOOTTIME runs on; the wall clock is set from the chip, which somebody set back.
    host.set(|s| {
        s.boot += 8 * HOUR;
        s.wall += 8 * HOUR;
        s.synchronised = false;
    });
    host.date(-8 * HOUR);
    assert_eq!(host.trusted(), 9 * HOUR);
}

#[test]
fn a_synchronised_clock_is_followed_forward_at_once() {
    let mut host = Host::synchronised();
    host.said();
    host.ntp(10 * DAY);
    assert_eq!(
        (host.trusted(), host.chain()),
        (HOUR + 10 * DAY, HOUR + 10 * DAY)
    );
    assert_eq!(host.said(), ["moved"]);
    // A guest that was paused: its time since boot stood still.
    host.date(-5 * DAY);
    assert_eq!(host.trusted(), HOUR + 10 * DAY);
}

#[test]
fn what_was_never_synchronised_may_be_taken_back_all_the_way() {
    let mut host = Host::new();
    host.date(YEAR);
    host.agent_restarts();
    host.reboots(0, 0);
    assert!(host.trusted() >= YEAR);
    host.ntp(-YEAR);
    assert_eq!(host.trusted(), 0);
    // The next boot knows no more of it.
    host.reboots(MINUTE, 0);
    assert!(host.now().settled);
    assert_eq!(host.trusted(), MINUTE);
}

#[test]
fn what_had_ended_does_not_come_back_with_proven_time() {
    let mut host = Host::synchronised();
    let ends_by = |host: &Host| host.now().moment().latest;
    host.ntp(-90);
    assert_eq!(host.chain(), HOUR - 90);
    assert_eq!(ends_by(&host), at(HOUR));
    host.passes(MINUTE);
    host.agent_restarts();
    assert_eq!(ends_by(&host), at(HOUR));
    host.reboots(10, 0);
    assert_eq!(ends_by(&host), at(HOUR));
    host.passes(MINUTE);
    assert_eq!(ends_by(&host), at(HOUR + 40));
    // Root may say otherwise.
    host.ntp(-20);
    host.date(-HOUR);
    host.clock().accept_wall().unwrap();
    assert!(ends_by(&host) < at(HOUR));
}

#[test]
fn proven_time_goes_back_by_two_minutes_a_day_at_most() {
    let mut host = Host::synchronised();
    host.ntp(-90);
    assert_eq!(host.chain(), HOUR - 90);
    host.ntp(-90);
    // 30 seconds are left.
    assert_eq!(host.chain(), HOUR - 120);
    host.agent_restarts();
    host.ntp(-HOUR);
    assert_eq!(host.chain(), HOUR - 120);
    host.passes(12 * HOUR);
    assert_eq!(host.chain(), 13 * HOUR - 180);
    // … across reboots too; time that the machine was off does not count.
    host.reboots(DAY, -2 * DAY);
    host.ntp(0);
    let floor = 13 * HOUR - 180;
    assert!(
        (floor - 1..=floor).contains(&host.chain()),
        "{} {floor}",
        host.chain()
    );
    host.said();
    assert!(host.clock().report().trouble.unwrap().contains("apart"));
    host.clock().accept_wall().unwrap();
    assert!(host.clock().report().trouble.is_none());
}

#[test]
fn date_s_ends_synchronisation_and_what_it_sets_is_not_proven() {
    let mut host = Host::synchronised();
    host.date(-HOUR);
    assert_eq!(host.chain(), HOUR);
    host.reboots(MINUTE, 0);
    // The floor knows better.
    assert!(!host.now().settled);
    assert_eq!(host.trusted(), HOUR);
}

#[test]
fn a_signed_time_moves_the_chain_forward_by_ten_minutes_at_most() {
    let mut host = Host::synchronised();
    host.clock().signed(at(0)).unwrap();
    assert_eq!(host.chain(), HOUR);
    host.clock().signed(at(HOUR + 9 * MINUTE)).unwrap();
    assert_eq!(host.chain(), HOUR + 9 * MINUTE);
    let refused = host.clock().signed(at(HOUR + 20 * MINUTE)).unwrap_err();
    assert_eq!(refused.trusted, at(HOUR + 9 * MINUTE));
    assert!(refused.to_string().contains("jit clock accept"));
    assert_eq!(host.chain(), HOUR + 9 * MINUTE);
    // It is proven: it is on disk, and going back below it is limited.
    host.loses_power(0, 0);
    assert_eq!(host.trusted(), HOUR + 9 * MINUTE);
    host.ntp(-HOUR);
    assert_eq!(host.chain(), HOUR + 7 * MINUTE);
}

#[test]
fn a_signed_time_behind_a_wall_clock_that_is_ahead_still_moves_the_chain_slowly() {
    let mut host = Host::synchronised();
    host.date(HOUR);
    host.clock().signed(at(2 * HOUR)).unwrap();
    assert_eq!(host.chain(), HOUR + 10 * MINUTE);
}

#[test]
fn the_floor_rises_by_elapsed_time_even_if_the_power_fails() {
    let mut host = Host::synchronised();
    for _ in 0..60 {
        host.passes(MINUTE);
    }
    host.set(|s| s.synchronised = false);
    for _ in 0..60 {
        host.passes(MINUTE);
    }
    host.loses_power(MINUTE, -DAY);
    assert!((3 * HOUR - MINUTE..=3 * HOUR).contains(&host.trusted()));
    assert!(!host.now().settled);
}

#[test]
fn the_state_is_written_once_a_minute_and_not_at_every_tick() {
    let mut host = Host::synchronised();
    let written = |host: &Host| std::fs::read(host.file()).unwrap();
    host.passes(MINUTE);
    let before = written(&host);
    for _ in 0..59 {
        host.passes(1);
    }
    assert_eq!(written(&host), before);
    host.passes(1);
    assert_ne!(written(&host), before);
}

#[test]
fn a_state_that_cannot_be_read_leaves_nothing_known() {
    let mut host = Host::synchronised();
    host.set(|s| s.synchronised = false);
    for damage in [&b"{}"[..], b"", b"\0\0\0", b"{\"boot\":1}"] {
        host.clock = None;
        std::fs::write(host.file(), damage).unwrap();
        host.agent_starts();
        assert!(!host.now().settled);
        assert_eq!(host.said(), ["failed", "unsettled"]);
    }
    // Nor does it become known by starting once more.
    host.agent_restarts();
    assert!(!host.now().settled);
    host.ntp(0);
    assert!(host.now().settled);
}

#[test]
fn a_state_that_cannot_be_written_is_told_once_and_accepts_nothing() {
    let mut host = Host::synchronised();
    host.said();
    let state = host.dir.path().join("state");
    // A folder in the file's place: a rename onto it fails, whoever tries.
    std::fs::remove_file(host.file()).unwrap();
    std::fs::create_dir(host.file()).unwrap();
    for _ in 0..5 {
        host.passes(MINUTE);
    }
    assert_eq!(host.said(), ["failed"]);
    assert!(
        host.clock()
            .report()
            .trouble
            .unwrap()
            .contains("written down")
    );
    host.date(-HOUR);
    let before = host.now();
    assert!(host.clock().accept_wall().is_err());
    assert_eq!(host.now(), before);
    std::fs::remove_dir(state.join(FILE)).unwrap();
    host.date(HOUR);
    host.passes(MINUTE);
    assert_eq!(host.clock().report().trouble, None);
}

#[test]
fn the_kernels_own_clocks_are_read_fast_and_agree() {
    let dir = tempfile::tempdir().unwrap();
    let state = Arc::new(State::open(&dir.path().join("state")).unwrap());
    let clock = Clock::start(Box::new(SystemTime), state).unwrap();
    let (first, then) = (clock.now(), clock.now());
    assert!(first.settled && then.boot >= first.boot && then.chain >= first.chain);
    assert!(nanos(first.wall).abs_diff(nanos(first.chain)) < 1_000_000_000);
    let up: f64 = std::fs::read_to_string("/proc/uptime")
        .unwrap()
        .split_once(' ')
        .unwrap()
        .0
        .parse()
        .unwrap();
    assert!((first.boot.as_secs_f64() - up).abs() < 5.0);
    let report = clock.report();
    assert_eq!(report.trouble, None);
    assert!(report.wall.ends_with('Z'), "{}", report.wall);
}

/// What may happen to a host.
#[derive(Debug, Clone)]
enum Act {
    Passes(i64),
    Date(i64),
    AgentRestarts,
    Reboots { off: i64, chip: i64 },
    LosesPower { off: i64, chip: i64 },
    Signed(i64),
    Ntp(i64),
}

fn unvouched() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (0..2 * DAY).prop_map(Act::Passes),
        3 => (-3 * DAY..3 * DAY).prop_map(Act::Date),
        1 => Just(Act::AgentRestarts),
        1 => (0..DAY, -3 * DAY..3 * DAY).prop_map(|(off, chip)| Act::Reboots { off, chip }),
        1 => (0..DAY, -3 * DAY..3 * DAY).prop_map(|(off, chip)| Act::LosesPower { off, chip }),
        1 => (-DAY..DAY).prop_map(Act::Signed),
    ]
}

fn anything() -> impl Strategy<Value = Act> {
    prop_oneof![
        8 => unvouched(),
        2 => (-DAY..DAY).prop_map(Act::Ntp),
    ]
}

impl Host {
    fn act(&mut self, act: &Act) {
        match *act {
            // In steps of the agent's own, as time passes.
            Act::Passes(seconds) => {
                for _ in 0..seconds / (HOUR / 2) {
                    self.passes(HOUR / 2);
                }
                self.passes(seconds % (HOUR / 2));
            }
            Act::Date(by) => self.date(by),
            Act::AgentRestarts => self.agent_restarts(),
            Act::Reboots { off, chip } => self.reboots(off, chip),
            Act::LosesPower { off, chip } => self.loses_power(off, chip),
            Act::Signed(ahead) => {
                let _ = self.clock().signed(at(self.trusted() + ahead));
            }
            Act::Ntp(by) => self.ntp(by),
        }
    }

    fn boot_id(&self) -> u128 {
        self.machine.0.lock().unwrap().boot_id
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    /// Nobody who vouches means: what has elapsed on this host stays elapsed, whatever the wall clock
    /// is set to, restarts and reboots included. So a `not_after` that has passed stays passed.
    #[test]
    fn no_end_is_undone_by_setting_the_clock(acts in proptest::collection::vec(unvouched(), 1..25)) {
        let mut host = Host::new();
        let mut elapsed = 0;
        for act in &acts {
            let (before, boot) = (host.chain(), host.boot_id());
            host.act(act);
            if let Act::Passes(seconds) = act {
                elapsed += seconds;
            }
            if let Act::LosesPower { .. } = act {
                // The last half hour (the step of this test) was not on disk yet.
                elapsed -= HOUR / 2;
            }
            let now = host.now();
            prop_assert!(host.trusted() >= elapsed, "{} < {elapsed}", host.trusted());
            if host.boot_id() == boot {
                prop_assert!(host.chain() >= before, "{act:?}: {} < {before}", host.chain());
            }
            prop_assert!(now.moment().latest >= now.moment().earliest);
        }
    }

    /// Whoever vouches, proven time goes back by no more than two minutes a day.
    #[test]
    fn proven_time_never_runs_back(acts in proptest::collection::vec(anything(), 1..25)) {
        let mut host = Host::synchronised();
        let (mut elapsed, mut highest, mut vouched, mut written) = (HOUR, HOUR, HOUR, HOUR);
        for act in &acts {
            host.act(act);
            if let Act::Passes(seconds) = act {
                elapsed += seconds;
                highest += seconds;
            }
            if let Act::LosesPower { .. } = act {
                (elapsed, highest) = (elapsed - HOUR / 2, highest - HOUR / 2);
                // The agent writes down once a minute what elapsed, so a power cut costs less than
                // one; what it did not cost the first time is safe from the next.
                written = written.max(vouched - MINUTE);
                vouched = written;
            }
            if let Act::Ntp(_) = act {
                highest = highest.max(host.chain());
                vouched = vouched.max(host.chain());
            }
            // … and what had ended by then has ended. What is less than a second is not written down
            // at once.
            prop_assert!(host.now().moment().latest >= at(vouched - 2), "{act:?}: {vouched}");
            let allowed = 120 + 120 * elapsed.max(0) / DAY + 1;
            prop_assert!(host.chain() >= highest - allowed, "{act:?}: {} {highest} {allowed}", host.chain());
        }
    }

    /// Restarting the agent changes nothing that its next look at the clock would not.
    #[test]
    fn a_restart_of_the_agent_changes_nothing(acts in proptest::collection::vec(anything(), 1..25)) {
        let mut host = Host::new();
        for act in &acts {
            host.act(act);
        }
        host.tick();
        let before = host.now();
        host.agent_restarts();
        prop_assert_eq!(host.now(), before);
    }
}
