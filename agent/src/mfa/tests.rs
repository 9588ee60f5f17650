//! The rules of factors, with codes from oathtool.

use super::record::Record;
use super::*;
use jiff::Timestamp;
use jit_protocol::message::FactorReport;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

/// The middle of a step.
pub(super) const NOW: i64 = 1_795_000_005;
const STEP: i64 = 30;

const PASSED: Checked = Checked::Passed {
    method: Method::Totp,
};
const HOME: Scope<'static> = Scope::Entry {
    rhost: Some("198.51.100.1"),
};
const AWAY: Scope<'static> = Scope::Entry {
    rhost: Some("192.0.2.66"),
};
const CONSOLE: Scope<'static> = Scope::Entry { rhost: None };

pub(super) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

pub(super) fn alice() -> Person {
    Person {
        uid: 1001,
        name: "alice".to_owned(),
    }
}

pub(super) fn bob() -> Person {
    Person {
        uid: 1002,
        name: "bob".to_owned(),
    }
}

/// The codes of so many steps, from the one of `time` on, by another implementation than ours.
pub(super) fn oathtool<const STEPS: usize>(secret: &str, time: i64) -> [String; STEPS] {
    let more = (STEPS - 1).to_string();
    let output = Command::new("oathtool")
        .args([
            "--totp",
            "-b",
            secret,
            "-w",
            &more,
            "-N",
            &format!("@{time}"),
        ])
        .output()
        .expect("oathtool is needed by these tests (Debian: apt-get install oathtool)");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let codes: Vec<_> = text.lines().map(str::to_owned).collect();
    codes.try_into().unwrap()
}

/// A host's factors, with a boot clock that the test moves.
pub(super) struct Lab {
    dir: TempDir,
    factors: Option<Factors>,
    pub(super) faults: Vec<MfaError>,
    seal: Option<SealKey>,
    boot: BootId,
    pub(super) up: Duration,
}

impl Lab {
    pub(super) fn new() -> Self {
        Self::sealed(None)
    }

    pub(super) fn sealed(seal: Option<SealKey>) -> Self {
        let mut lab = Self {
            dir: tempfile::tempdir().unwrap(),
            factors: None,
            faults: Vec::new(),
            seal,
            boot: BootId(1),
            up: Duration::from_secs(1000),
        };
        lab.restart();
        lab
    }

    /// Another agent on the same state.
    pub(super) fn restart(&mut self) {
        self.factors = None;
        let (factors, faults) = open(self.dir.path(), self.boot, self.seal.clone());
        self.factors = Some(factors);
        self.faults = faults;
    }

    pub(super) fn restart_with(&mut self, seal: Option<SealKey>) {
        self.seal = seal;
        self.restart();
    }

    fn reboot(&mut self) {
        self.boot = BootId(self.boot.0 + 1);
        self.up = Duration::ZERO;
        self.restart();
    }

    fn wait(&mut self, seconds: u64) {
        self.up += Duration::from_secs(seconds);
    }

    fn factors(&self) -> &Factors {
        self.factors.as_ref().unwrap()
    }

    pub(super) fn file(&self, person: &Person) -> PathBuf {
        self.dir.path().join(format!("factors/{}.json", person.uid))
    }

    pub(super) fn record(&self, person: &Person) -> Record {
        self.factors().records.load(person.uid).unwrap().unwrap()
    }

    pub(super) fn enrol(&mut self, person: &Person) -> Enrolment {
        self.factors().enrol_now(person, at(NOW - 3600)).unwrap()
    }

    pub(super) fn code(&self, enrolment: &Enrolment, time: i64) -> String {
        let [code] = oathtool(&enrolment.secret, time);
        code
    }

    pub(super) fn try_check(
        &self,
        person: &Person,
        text: &str,
        scope: Scope<'_>,
        time: i64,
    ) -> Result<Checked, MfaError> {
        self.factors().check(person, text, scope, at(time), self.up)
    }

    fn check(&self, text: &str, scope: Scope<'_>, time: i64) -> Checked {
        self.try_check(&alice(), text, scope, time).unwrap()
    }

    /// Checks the right code of a time, at that time, at elevation.
    pub(super) fn totp(&self, person: &Person, enrolment: &Enrolment, time: i64) -> Checked {
        let code = self.code(enrolment, time);
        self.try_check(person, &code, Scope::Elevation, time)
            .unwrap()
    }

    fn wrong(&self, scope: Scope<'_>) -> Checked {
        // Eighty zero bits are none of ten random codes.
        self.check("AAAA-AAAA-AAAA-AAAA", scope, NOW)
    }

    pub(super) fn hindrance(
        &self,
        person: &Person,
        scope: Scope<'_>,
    ) -> Result<Option<Checked>, MfaError> {
        self.factors().hindrance(person, scope, self.up)
    }

    pub(super) fn report(&self, person: &Person) -> FactorReport {
        self.factors().report(person, self.up)
    }

    pub(super) fn begin(
        &self,
        person: &Person,
        authority: Authority<'_>,
    ) -> Result<Begun, MfaError> {
        self.factors().begin(person, authority, at(NOW), self.up)
    }

    fn pending(&self, authority: Authority<'_>) -> Enrolment {
        match self.begin(&alice(), authority).unwrap() {
            Begun::Pending(enrolment) => enrolment,
            other => panic!("{other:?}"),
        }
    }

    fn confirm(&self, code: &str, time: i64) -> Confirmed {
        let factors = self.factors();
        factors.confirm(&alice(), code, at(time), self.up).unwrap()
    }

    pub(super) fn reset_as_root(&self, person: &Person) -> Reset {
        self.factors().reset_as_root(person).unwrap()
    }
}

pub(super) fn open(dir: &Path, boot: BootId, seal: Option<SealKey>) -> (Factors, Vec<MfaError>) {
    let setup = Setup {
        issuer: "pam_jit".to_owned(),
        host: "web1".to_owned(),
        seal,
        boot,
    };
    Factors::open(Arc::new(State::open(dir).unwrap()), setup).unwrap()
}

fn enrolled() -> (Lab, Enrolment) {
    let mut lab = Lab::new();
    let enrolment = lab.enrol(&alice());
    (lab, enrolment)
}

fn wrong(in_a_row: u32, locked: Option<u64>) -> Checked {
    Checked::Wrong {
        in_a_row,
        locked,
        disabled: false,
    }
}

#[test]
fn a_code_of_this_step_or_a_neighbour_passes() {
    for off in [-1, 0, 1] {
        let (lab, enrolment) = enrolled();
        let code = lab.code(&enrolment, NOW + off * STEP);
        assert_eq!(lab.check(&code, Scope::Elevation, NOW), PASSED, "{off}");
    }
    for off in [-2, 2] {
        let (lab, enrolment) = enrolled();
        let code = lab.code(&enrolment, NOW + off * STEP);
        let checked = lab.check(&code, Scope::Elevation, NOW);
        assert_eq!(checked, wrong(1, None), "{off}");
    }
    let (lab, enrolment) = enrolled();
    let code = lab.code(&enrolment, NOW);
    let spaced = format!("{} {}\n", &code[..3], &code[3..]);
    assert_eq!(lab.check(&spaced, Scope::Elevation, NOW), PASSED);
}

#[test]
fn a_code_works_once_on_a_host_whatever_the_service() {
    let (mut lab, enrolment) = enrolled();
    let code = lab.code(&enrolment, NOW);
    assert_eq!(lab.check(&code, HOME, NOW), PASSED);
    let replayed = Checked::Replayed { next_in: Some(15) };
    assert_eq!(lab.check(&code, Scope::Elevation, NOW), replayed);
    assert_eq!(lab.check(&code, HOME, NOW), replayed);
    lab.restart();
    assert_eq!(lab.check(&code, Scope::Elevation, NOW), replayed);
    // The next one is another code.
    assert_eq!(lab.totp(&alice(), &enrolment, NOW + STEP), PASSED);
}

#[test]
fn whoever_types_a_spent_code_again_is_not_locked() {
    let (lab, enrolment) = enrolled();
    let code = lab.code(&enrolment, NOW);
    assert_eq!(lab.check(&code, HOME, NOW), PASSED);
    for _ in 0..50 {
        let again = lab.check(&code, Scope::Elevation, NOW);
        assert!(matches!(again, Checked::Replayed { .. }), "{again:?}");
    }
    assert_eq!(lab.totp(&alice(), &enrolment, NOW + STEP), PASSED);
}

#[test]
fn steps_only_rise() {
    let (lab, enrolment) = enrolled();
    let earlier = lab.code(&enrolment, NOW - STEP);
    assert_eq!(lab.totp(&alice(), &enrolment, NOW), PASSED);
    let checked = lab.check(&earlier, Scope::Elevation, NOW);
    assert_eq!(checked, Checked::Replayed { next_in: Some(15) });
}

#[test]
fn a_clock_set_back_brings_no_code_back() {
    let (lab, enrolment) = enrolled();
    let codes: [String; 5] = oathtool(&enrolment.secret, NOW);
    for (nr, code) in (0..).zip(&codes) {
        assert_eq!(lab.check(code, Scope::Elevation, NOW + nr * STEP), PASSED);
    }
    for (nr, code) in (0..).zip(&codes) {
        let checked = lab.check(code, Scope::Elevation, NOW + nr * STEP);
        assert!(matches!(checked, Checked::Replayed { .. }), "{checked:?}");
    }
    // An hour back nothing passes but a recovery code, and nobody is locked for it.
    let early = NOW - 3600;
    let checked = lab.totp(&alice(), &enrolment, early);
    assert_eq!(
        checked,
        Checked::Replayed {
            next_in: Some(3600 + 4 * 30 + 15)
        }
    );
    let recovery = &enrolment.recovery_codes[0];
    let checked = lab.check(recovery, Scope::Elevation, early);
    assert!(matches!(checked, Checked::Passed { .. }), "{checked:?}");
}

#[test]
fn of_racing_checks_with_one_code_exactly_one_passes() {
    let (lab, enrolment) = enrolled();
    let codes: [String; 20] = oathtool(&enrolment.secret, NOW);
    for (nr, code) in (0..).zip(&codes) {
        assert_eq!(race(&lab, code, NOW + nr * STEP), 1, "{nr}");
    }
    for code in &enrolment.recovery_codes {
        assert_eq!(race(&lab, code, NOW), 1);
    }
}

fn race(lab: &Lab, code: &str, time: i64) -> usize {
    std::thread::scope(|scope| {
        let racers: Vec<_> = (0..6)
            .map(|nr| {
                let services = if nr % 2 == 0 { Scope::Elevation } else { HOME };
                scope.spawn(move || lab.check(code, services, time))
            })
            .collect();
        let said: Vec<_> = racers.into_iter().map(|r| r.join().unwrap()).collect();
        let passed = |said: &&Checked| matches!(said, Checked::Passed { .. });
        let replayed = |said: &&Checked| matches!(said, Checked::Replayed { .. });
        let won = said.iter().filter(passed).count();
        assert_eq!(said.iter().filter(replayed).count(), 6 - won, "{said:?}");
        won
    })
}

#[test]
fn people_do_not_wait_for_each_other() {
    let mut lab = Lab::new();
    let (alices, bobs) = (lab.enrol(&alice()), lab.enrol(&bob()));
    let turn = lab.factors().turn(alice().uid);
    let held = lock(&turn);
    assert_eq!(lab.totp(&bob(), &bobs, NOW), PASSED);
    drop(held);
    assert_eq!(lab.totp(&alice(), &alices, NOW), PASSED);
    drop(turn);
    drop(lab.factors().turn(bob().uid));
    assert_eq!(
        lock(&lab.factors().turns).len(),
        1,
        "turns that nobody waits for are dropped"
    );
}

#[test]
fn a_recovery_code_works_once_and_is_counted_down() {
    let (mut lab, enrolment) = enrolled();
    let code = enrolment.recovery_codes[3].to_lowercase();
    let passed = Checked::Passed {
        method: Method::Recovery { left: 9 },
    };
    assert_eq!(lab.check(&code, Scope::Elevation, NOW), passed);
    let again = Checked::Replayed { next_in: None };
    assert_eq!(lab.check(&code, HOME, NOW), again);
    lab.restart();
    assert_eq!(lab.check(&code, Scope::Elevation, NOW), again);
    assert_eq!(lab.report(&alice()).recovery_codes_left, 9);
    // Another person's are wrong.
    let bobs = lab.enrol(&bob());
    let checked = lab.check(&bobs.recovery_codes[0], Scope::Elevation, NOW);
    assert_eq!(checked, wrong(1, None));
}

#[test]
fn junk_and_the_login_password_are_refused_without_counting() {
    let (lab, enrolment) = enrolled();
    let before = std::fs::read(lab.file(&alice())).unwrap();
    let long = "9".repeat(10_000);
    let junk = [
        "",
        "hunter2",
        "\u{8}\n\r\u{7f}INCORRECT",
        "correct horse",
        "12345",
        "1234567",
        &long,
    ];
    for _ in 0..30 {
        for text in junk {
            assert_eq!(lab.check(text, HOME, NOW), Checked::NotACode);
            assert_eq!(lab.check(text, Scope::Elevation, NOW), Checked::NotACode);
        }
    }
    assert_eq!(std::fs::read(lab.file(&alice())).unwrap(), before);
    assert_eq!(lab.totp(&alice(), &enrolment, NOW), PASSED);
}

#[test]
fn wrong_codes_lock_and_only_a_passed_factor_clears_the_count() {
    let (mut lab, enrolment) = enrolled();
    for nr in 1..=5 {
        assert_eq!(lab.wrong(Scope::Elevation), wrong(nr, None));
    }
    // Months later they are still in a row.
    lab.wait(100 * 24 * 3600);
    assert_eq!(lab.wrong(Scope::Elevation), wrong(6, Some(30)));
    lab.wait(30);
    assert_eq!(lab.wrong(Scope::Elevation), wrong(7, Some(60)));
    lab.wait(60);
    assert_eq!(lab.hindrance(&alice(), Scope::Elevation).unwrap(), None);
    assert_eq!(lab.totp(&alice(), &enrolment, NOW), PASSED);
    for nr in 1..=5 {
        assert_eq!(lab.wrong(Scope::Elevation), wrong(nr, None));
    }
}

#[test]
fn while_locked_nothing_is_looked_at_or_counted() {
    let (mut lab, enrolment) = enrolled();
    for _ in 0..6 {
        lab.wrong(Scope::Elevation);
    }
    let before = std::fs::read(lab.file(&alice())).unwrap();
    let code = lab.code(&enrolment, NOW);
    let locked = Checked::Locked { secs: 30 };
    for _ in 0..50 {
        assert_eq!(lab.wrong(Scope::Elevation), locked);
        assert_eq!(lab.check(&code, Scope::Elevation, NOW), locked);
        assert_eq!(
            lab.check(&enrolment.recovery_codes[0], Scope::Elevation, NOW),
            locked
        );
        assert_eq!(lab.check("junk", Scope::Elevation, NOW), locked);
    }
    assert_eq!(
        lab.hindrance(&alice(), Scope::Elevation).unwrap(),
        Some(locked)
    );
    assert_eq!(lab.report(&alice()).locked_secs, Some(30));
    assert_eq!(std::fs::read(lab.file(&alice())).unwrap(), before);
    lab.wait(30);
    // The code that was refused unseen was not spent.
    assert_eq!(lab.check(&code, Scope::Elevation, NOW), PASSED);
}

#[test]
fn no_restart_reboot_or_clock_shortens_a_lock() {
    let (mut lab, enrolment) = enrolled();
    for _ in 0..6 {
        lab.wrong(Scope::Elevation);
    }
    lab.wait(10);
    lab.restart();
    let code = lab.code(&enrolment, NOW + 10_000);
    let locked = |secs| Checked::Locked { secs };
    assert_eq!(lab.check(&code, Scope::Elevation, NOW + 10_000), locked(20));
    lab.reboot();
    assert_eq!(lab.check(&code, Scope::Elevation, NOW + 10_000), locked(30));
    lab.wait(29);
    assert_eq!(lab.check(&code, Scope::Elevation, NOW + 10_000), locked(1));
    lab.wait(1);
    assert_eq!(lab.check(&code, Scope::Elevation, NOW + 10_000), PASSED);
}

/// Ninety-nine wrong codes at elevation, with the waits between them.
fn almost_disabled(lab: &mut Lab) {
    for nr in 1..100 {
        let said = lab.wrong(Scope::Elevation);
        let Checked::Wrong {
            in_a_row,
            locked,
            disabled: false,
        } = said
        else {
            panic!("{nr}: {said:?}");
        };
        assert_eq!(in_a_row, nr);
        lab.wait(locked.unwrap_or(0));
    }
}

#[test]
fn a_hundred_in_a_row_at_elevation_disable_until_root_resets() {
    let (mut lab, enrolment) = enrolled();
    almost_disabled(&mut lab);
    let last = lab.wrong(Scope::Elevation);
    assert!(
        matches!(
            last,
            Checked::Wrong {
                in_a_row: 100,
                disabled: true,
                ..
            }
        ),
        "{last:?}"
    );
    lab.wait(1_000_000);
    lab.reboot();
    lab.wait(1_000_000);
    let code = lab.code(&enrolment, NOW);
    let recovery = enrolment.recovery_codes[0].as_str();
    for scope in [Scope::Elevation, HOME, CONSOLE] {
        assert_eq!(lab.check(&code, scope, NOW), Checked::Disabled);
        assert_eq!(lab.check(recovery, scope, NOW), Checked::Disabled);
    }
    assert_eq!(lab.report(&alice()).state, "disabled");
    let begun = lab.begin(&alice(), Authority::Own { code: &code }).unwrap();
    assert!(
        matches!(begun, Begun::Refused(Checked::Disabled)),
        "{begun:?}"
    );
    let own = lab
        .factors()
        .reset_own(&alice(), &code, at(NOW), lab.up)
        .unwrap();
    assert_eq!(own, Reset::Refused(Checked::Disabled));

    assert_eq!(lab.reset_as_root(&alice()), Reset::Done);
    assert_eq!(
        lab.check(&code, Scope::Elevation, NOW),
        Checked::NotEnrolled
    );
    let anew = lab.enrol(&alice());
    assert_eq!(lab.totp(&alice(), &anew, NOW), PASSED);
}

#[test]
fn the_hundredth_code_may_still_be_right() {
    let (mut lab, enrolment) = enrolled();
    almost_disabled(&mut lab);
    assert_eq!(lab.totp(&alice(), &enrolment, NOW), PASSED);
    assert_eq!(lab.wrong(Scope::Elevation), wrong(1, None));
}

#[test]
fn elevation_and_entry_are_counted_apart() {
    let (lab, enrolment) = enrolled();
    for _ in 0..6 {
        lab.wrong(AWAY);
    }
    assert_eq!(lab.wrong(AWAY), Checked::Locked { secs: 30 });
    assert_eq!(lab.wrong(Scope::Elevation), wrong(1, None));
    assert_eq!(lab.wrong(HOME), wrong(1, None));
    assert_eq!(lab.wrong(CONSOLE), wrong(1, None));
    // A pass in one place clears that place alone.
    assert_eq!(lab.totp(&alice(), &enrolment, NOW), PASSED);
    assert_eq!(lab.wrong(AWAY), Checked::Locked { secs: 30 });
    assert_eq!(lab.wrong(HOME), wrong(2, None));
    assert_eq!(lab.wrong(Scope::Elevation), wrong(1, None));
}

#[test]
fn entry_never_disables() {
    let (mut lab, enrolment) = enrolled();
    for _ in 0..300 {
        let said = lab.wrong(AWAY);
        let Checked::Wrong {
            locked,
            disabled: false,
            ..
        } = said
        else {
            panic!("{said:?}");
        };
        lab.wait(locked.unwrap_or(0));
    }
    assert_eq!(lab.report(&alice()).state, "enrolled");
    let code = lab.code(&enrolment, NOW);
    assert_eq!(lab.check(&code, AWAY, NOW), PASSED);
    assert_eq!(lab.wrong(AWAY), wrong(1, None));
}

#[test]
fn nobody_is_locked_out_from_afar() {
    let (mut lab, enrolment) = enrolled();
    let codes: [String; 4] = oathtool(&enrolment.secret, NOW);
    assert_eq!(lab.check(&codes[0], HOME, NOW), PASSED);
    for nr in 0..500 {
        let rhost = format!("203.0.{}.{}", nr / 250, nr % 250);
        lab.wrong(Scope::Entry {
            rhost: Some(&rhost),
        });
    }
    lab.restart();
    // Strangers have used up what strangers may; where she comes from, and the console, are free.
    let stranger = Scope::Entry {
        rhost: Some("203.0.113.200"),
    };
    let said = lab.check(&codes[1], stranger, NOW + STEP);
    assert!(
        matches!(said, Checked::Locked { secs: 1..=900 }),
        "{said:?}"
    );
    assert_eq!(lab.check(&codes[1], HOME, NOW + STEP), PASSED);
    assert_eq!(lab.check(&codes[2], CONSOLE, NOW + 2 * STEP), PASSED);
    assert_eq!(
        lab.check(&codes[3], Scope::Elevation, NOW + 3 * STEP),
        PASSED
    );
}

#[test]
fn hostile_remote_hosts_are_bounded_and_never_on_disk_as_they_are() {
    let (lab, enrolment) = enrolled();
    let hostile = [
        "\u{1b}[2J\n",
        "\"},{",
        &"x".repeat(100_000),
        "../../etc",
        "a b",
        "\0",
    ];
    for rhost in hostile {
        lab.wrong(Scope::Entry { rhost: Some(rhost) });
    }
    let text = std::fs::read_to_string(lab.file(&alice())).unwrap();
    assert!(text.len() <= 16 * 1024);
    for part in ["[2J", "\\\"},{", "../../etc", "xxxxxxxxxx", "a b"] {
        assert!(!text.contains(part), "{part} in {text}");
    }
    assert_eq!(lab.totp(&alice(), &enrolment, NOW), PASSED);
}

#[test]
fn a_person_who_never_enrolled_has_no_factor_and_no_file() {
    let lab = Lab::new();
    for scope in [Scope::Elevation, HOME] {
        assert_eq!(lab.check("123456", scope, NOW), Checked::NotEnrolled);
        assert_eq!(
            lab.hindrance(&alice(), scope).unwrap(),
            Some(Checked::NotEnrolled)
        );
    }
    assert_eq!(lab.report(&alice()).state, "none");
    assert!(!lab.file(&alice()).exists());
    assert_eq!(lab.reset_as_root(&alice()), Reset::Nothing);
    let own = Authority::Own { code: "123456" };
    let begun = lab.begin(&alice(), own).unwrap();
    assert!(
        matches!(begun, Begun::Refused(Checked::NotEnrolled)),
        "{begun:?}"
    );
}

#[test]
fn an_enrolment_counts_after_its_first_code_and_spends_it() {
    let mut lab = Lab::new();
    let enrolment = lab.pending(Authority::First);
    assert_eq!(lab.report(&alice()).state, "pending");
    let [code, next] = oathtool(&enrolment.secret, NOW);
    assert_eq!(
        lab.check(&code, Scope::Elevation, NOW),
        Checked::NotEnrolled
    );
    assert_eq!(lab.confirm("junk", NOW), Confirmed::NotACode);
    assert_eq!(
        lab.confirm(&enrolment.recovery_codes[0], NOW),
        Confirmed::NotACode
    );
    let stale = lab.code(&enrolment, NOW - 3 * STEP);
    assert_eq!(lab.confirm(&stale, NOW), Confirmed::Wrong);
    assert!(!lab.file(&alice()).exists());
    assert_eq!(lab.confirm(&code, NOW), Confirmed::Enrolled);
    assert_eq!(lab.confirm(&next, NOW), Confirmed::NothingPending);

    lab.restart();
    let report = lab.report(&alice());
    assert_eq!(
        (report.state.as_str(), report.recovery_codes_left),
        ("enrolled", 10)
    );
    assert_eq!(report.since, Some(at(NOW).to_string()));
    let replayed = Checked::Replayed { next_in: Some(15) };
    assert_eq!(lab.check(&code, Scope::Elevation, NOW), replayed);
    assert_eq!(lab.check(&next, Scope::Elevation, NOW), PASSED);
}

#[test]
fn an_enrolment_says_what_an_app_and_a_person_need() {
    let lab = Lab::new();
    let enrolment = lab.pending(Authority::First);
    assert!(enrolment.otpauth.contains(enrolment.secret.as_str()));
    assert!(enrolment.otpauth.contains("pam_jit") && enrolment.otpauth.contains("web1"));
    assert_eq!(enrolment.secret.len(), 32);
    assert_eq!(enrolment.recovery_codes.len(), 10);
}

#[test]
fn a_pending_enrolment_replaces_nothing() {
    let (mut lab, old) = enrolled();
    let new = lab.pending(Authority::Root);
    assert_eq!(lab.report(&alice()).state, "enrolled");
    assert_eq!(lab.totp(&alice(), &old, NOW), PASSED);
    assert_eq!(
        lab.check(&lab.code(&new, NOW), Scope::Elevation, NOW),
        wrong(1, None)
    );
    // Not waiting for ever, nor over a restart.
    lab.wait(601);
    assert_eq!(
        lab.confirm(&lab.code(&new, NOW), NOW),
        Confirmed::NothingPending
    );
    let new = lab.pending(Authority::Root);
    lab.restart();
    assert_eq!(
        lab.confirm(&lab.code(&new, NOW), NOW),
        Confirmed::NothingPending
    );
    assert_eq!(lab.totp(&alice(), &old, NOW + STEP), PASSED);
}

#[test]
fn the_last_begun_enrolment_is_the_one_that_waits() {
    let lab = Lab::new();
    let first = lab.pending(Authority::First);
    let second = lab.pending(Authority::First);
    assert_eq!(lab.confirm(&lab.code(&first, NOW), NOW), Confirmed::Wrong);
    assert_eq!(
        lab.confirm(&lab.code(&second, NOW), NOW),
        Confirmed::Enrolled
    );
}

#[test]
fn enrolling_over_a_live_factor_takes_that_factor() {
    let (lab, old) = enrolled();
    // Whoever holds the shell but not the phone: neither as first, nor with a guess.
    assert!(matches!(
        lab.begin(&alice(), Authority::First),
        Ok(Begun::NotFirst)
    ));
    for nr in 1..=6 {
        let begun = lab
            .begin(
                &alice(),
                Authority::Own {
                    code: "AAAA-AAAA-AAAA-AAAA",
                },
            )
            .unwrap();
        assert!(matches!(begun, Begun::Refused(Checked::Wrong { in_a_row, .. }) if in_a_row == nr));
    }
    let code = lab.code(&old, NOW);
    let begun = lab.begin(&alice(), Authority::Own { code: &code }).unwrap();
    assert!(
        matches!(begun, Begun::Refused(Checked::Locked { secs: 30 })),
        "{begun:?}"
    );
    assert_eq!(lab.confirm(&code, NOW), Confirmed::NothingPending);
}

#[test]
fn with_ones_own_code_a_factor_is_replaced_at_once_in_the_same_half_minute() {
    let (lab, old) = enrolled();
    let [code, next] = oathtool(&old.secret, NOW);
    let new = lab.pending(Authority::Own { code: &code });
    // The code shown is spent, whatever comes of the enrolment.
    let replayed = Checked::Replayed { next_in: Some(15) };
    assert_eq!(lab.check(&code, Scope::Elevation, NOW), replayed);
    let code = lab.code(&new, NOW);
    assert_eq!(lab.confirm(&code, NOW), Confirmed::Enrolled);
    assert_eq!(lab.check(&code, Scope::Elevation, NOW), replayed);
    assert_eq!(lab.check(&next, Scope::Elevation, NOW), wrong(1, None));
    assert_eq!(
        lab.check(&old.recovery_codes[0], Scope::Elevation, NOW),
        wrong(2, None)
    );
    assert_eq!(lab.totp(&alice(), &new, NOW + STEP), PASSED);
}

#[test]
fn a_new_factor_does_not_take_accepted_steps_back() {
    let (lab, old) = enrolled();
    let ahead = lab.code(&old, NOW + STEP);
    assert_eq!(lab.check(&ahead, Scope::Elevation, NOW), PASSED);
    let before = lab.record(&alice()).last_step;
    let new = lab.pending(Authority::Root);
    assert_eq!(
        lab.confirm(&lab.code(&new, NOW - STEP), NOW),
        Confirmed::Enrolled
    );
    assert_eq!(lab.record(&alice()).last_step, before);
    lab.reset_as_root(&alice());
    assert_eq!(lab.record(&alice()).last_step, before);
}

#[test]
fn somebody_disabled_meanwhile_does_not_get_out_of_it_by_an_enrolment_of_their_own() {
    let (mut lab, old) = enrolled();
    lab.up = Duration::from_secs(1000);
    almost_disabled(&mut lab);
    let code = lab.code(&old, NOW);
    let new = lab.pending(Authority::Own { code: &code });
    let began = lab.up;
    almost_disabled(&mut lab);
    lab.wrong(Scope::Elevation);
    lab.up = began;
    let said = lab.confirm(&lab.code(&new, NOW), NOW);
    assert_eq!(said, Confirmed::Refused(Checked::Disabled));
    // Root's enrolment is a reset.
    let new = lab.pending(Authority::Root);
    assert_eq!(lab.confirm(&lab.code(&new, NOW), NOW), Confirmed::Enrolled);
    assert_eq!(lab.totp(&alice(), &new, NOW + STEP), PASSED);
}

#[test]
fn first_is_only_for_those_who_never_had_a_factor() {
    let (lab, enrolment) = enrolled();
    let code = lab.code(&enrolment, NOW);
    let own = |code: &str| {
        lab.factors()
            .reset_own(&alice(), code, at(NOW), lab.up)
            .unwrap()
    };
    assert_eq!(own("junk"), Reset::Refused(Checked::NotACode));
    assert_eq!(own("AAAA-AAAA-AAAA-AAAA"), Reset::Refused(wrong(1, None)));
    assert_eq!(lab.report(&alice()).state, "enrolled");
    assert_eq!(own(&code), Reset::Done);
    assert_eq!(lab.report(&alice()).state, "none");
    assert_eq!(own(&code), Reset::Refused(Checked::NotEnrolled));
    assert!(matches!(
        lab.begin(&alice(), Authority::First),
        Ok(Begun::NotFirst)
    ));
    assert_eq!(lab.reset_as_root(&alice()), Reset::Nothing);
    assert!(matches!(
        lab.begin(&alice(), Authority::First),
        Ok(Begun::NotFirst)
    ));
    let new = lab.pending(Authority::Root);
    assert_eq!(lab.confirm(&lab.code(&new, NOW), NOW), Confirmed::Enrolled);
}

#[test]
fn a_reset_takes_what_waits_along() {
    let lab = Lab::new();
    let waiting = lab.pending(Authority::First);
    lab.reset_as_root(&alice());
    assert_eq!(
        lab.confirm(&lab.code(&waiting, NOW), NOW),
        Confirmed::NothingPending
    );
}

#[test]
fn a_uid_handed_on_does_not_hand_on_the_factor() {
    let (lab, enrolment) = enrolled();
    let carol = Person {
        uid: 1001,
        name: "carol".to_owned(),
    };
    let code = lab.code(&enrolment, NOW);
    for scope in [Scope::Elevation, HOME] {
        assert_eq!(
            lab.try_check(&carol, &code, scope, NOW).unwrap(),
            Checked::Mismatch
        );
    }
    let report = lab.report(&carol);
    assert_eq!((report.state.as_str(), report.since), ("mismatch", None));
    assert!(matches!(
        lab.begin(&carol, Authority::First),
        Ok(Begun::NotFirst)
    ));
    let own = lab.begin(&carol, Authority::Own { code: &code });
    assert!(
        matches!(own, Ok(Begun::Refused(Checked::Mismatch))),
        "{own:?}"
    );
    let error = lab.begin(&carol, Authority::Root).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("enrolled as alice and is carol now"),
        "{error}"
    );
    assert!(lab.factors().enrol_now(&carol, at(NOW)).is_err());
    // None of that touched the factor of whoever it was.
    assert_eq!(lab.check(&code, Scope::Elevation, NOW), PASSED);

    assert_eq!(lab.reset_as_root(&carol), Reset::Done);
    assert!(matches!(
        lab.begin(&carol, Authority::First),
        Ok(Begun::Pending(_))
    ));
    assert_eq!(
        lab.check(&code, Scope::Elevation, NOW),
        Checked::NotEnrolled
    );
}

#[test]
fn nothing_secret_is_shown_by_printing() {
    let (lab, old) = enrolled();
    let new = lab.pending(Authority::Root);
    let shown = format!(
        "{:?} {:?}",
        lab.factors(),
        lab.begin(&alice(), Authority::Root)
    );
    for secret in [&old.secret, &new.secret, &new.recovery_codes[0]] {
        assert!(!shown.contains(secret.as_str()), "{shown}");
    }
    let key = hex(&std::fs::read(lab.dir.path().join("key")).unwrap());
    assert!(!shown.contains(&key));
}

fn hex(bytes: &[u8]) -> String {
    let decimal: Vec<_> = bytes.iter().map(ToString::to_string).collect();
    decimal.join(", ")
}

#[test]
fn a_clock_before_1970_passes_nobody_and_counts_nobody() {
    let (lab, enrolment) = enrolled();
    let before = std::fs::read(lab.file(&alice())).unwrap();
    let error = lab
        .try_check(&alice(), "123456", Scope::Elevation, -5)
        .unwrap_err();
    assert!(matches!(error, MfaError::Clock), "{error}");
    assert_eq!(std::fs::read(lab.file(&alice())).unwrap(), before);
    assert_eq!(lab.totp(&alice(), &enrolment, NOW), PASSED);
}
