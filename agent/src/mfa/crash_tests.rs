//! What a killed agent and a full disk leave behind. Each test starts this very test program once
//! more and lets that one die, or run out of room.

use super::tests::{NOW, alice, at, oathtool, open};
use super::*;
use crate::state::failpoint::{Point, die_at};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

const UP: Duration = Duration::from_secs(1000);
const BOOT: BootId = BootId(1);
const STEP: i64 = 30;
/// How the child knows what to do; without it the child's tests do nothing.
const ORDERS: &str = "PAM_JIT_TEST_ORDERS";

fn child(name: &str, orders: &[&str]) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let test = format!("{}::{name}", module_path!().split_once("::").unwrap().1);
    command.args([&test, "--exact", "--ignored", "--nocapture"]);
    command.env(ORDERS, orders.join("\n"));
    command
}

fn orders() -> Option<Vec<String>> {
    let orders = std::env::var(ORDERS).ok()?;
    Some(orders.lines().map(str::to_owned).collect())
}

fn check(factors: &Factors, code: &str, time: i64) -> Result<Checked, MfaError> {
    factors.check(&alice(), code, Scope::Elevation, at(time), UP)
}

fn passed(said: &Result<Checked, MfaError>) -> bool {
    matches!(said, Ok(Checked::Passed { .. }))
}

fn replayed(said: &Result<Checked, MfaError>) -> bool {
    matches!(said, Ok(Checked::Replayed { .. }))
}

fn no_unfinished_file(dir: &Path) {
    for folder in [dir.to_owned(), dir.join("factors")] {
        for entry in fs::read_dir(folder).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert!(!name.starts_with('.'), "{name}");
        }
    }
}

/// Killed anywhere between "the code is right" and "the code is spent": nobody hears yes, and the
/// code is good once more at most, never twice.
#[test]
fn killed_between_right_and_spent() {
    for point in [
        Point::Created,
        Point::Written,
        Point::Synced,
        Point::Renamed,
    ] {
        let dir = tempfile::tempdir().unwrap();
        let (factors, _) = open(dir.path(), BOOT, None);
        let enrolment = factors.enrol_now(&alice(), at(NOW)).unwrap();
        drop(factors);
        let [code] = oathtool(&enrolment.secret, NOW);
        for text in [code.as_str(), enrolment.recovery_codes[0].as_str()] {
            let path = dir.path().to_str().unwrap();
            let output = child("dies_at_a_point", &[path, &format!("{point:?}"), text])
                .output()
                .unwrap();
            assert_eq!(output.status.signal(), Some(9), "{output:?}");
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(
                said.contains("asked") && !said.contains("answered"),
                "{said}"
            );

            let (factors, faults) = open(dir.path(), BOOT, None);
            assert!(faults.is_empty(), "{faults:?}");
            no_unfinished_file(dir.path());
            let first = check(&factors, text, NOW);
            if point == Point::Renamed {
                assert!(replayed(&first), "{point:?} {first:?}");
            } else {
                assert!(passed(&first), "{point:?} {first:?}");
            }
            assert!(replayed(&check(&factors, text, NOW)));
        }
    }
}

#[test]
#[ignore = "started by killed_between_right_and_spent"]
fn dies_at_a_point() {
    let Some(orders) = orders() else { return };
    let [dir, point, code] = orders.as_slice() else {
        panic!("{orders:?}")
    };
    let (factors, _) = open(Path::new(dir), BOOT, None);
    let points = [
        Point::Created,
        Point::Written,
        Point::Synced,
        Point::Renamed,
    ];
    let point = points.into_iter().find(|p| format!("{p:?}") == *point);
    die_at(point.unwrap());
    println!("asked");
    std::io::stdout().flush().unwrap();
    println!("answered {:?}", check(&factors, code, NOW));
}

/// Killed at any instant whatever: no code that was answered with yes works again, and what is on
/// disk is whole.
#[test]
fn killed_at_any_instant() {
    let dir = tempfile::tempdir().unwrap();
    let (factors, _) = open(dir.path(), BOOT, None);
    let enrolment = factors.enrol_now(&alice(), at(NOW)).unwrap();
    drop(factors);
    let codes: [String; 400] = oathtool(&enrolment.secret, NOW);
    let list = dir.path().join("codes");
    fs::write(&list, codes.join("\n")).unwrap();
    let path = dir.path().to_str().unwrap();

    let mut from = 0;
    let mut deaths = 0;
    for round in 0..25_u64 {
        let start = from.to_string();
        let mut running = child("spends_codes", &[path, &start])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(running.stdout.take().unwrap()).lines();
        assert!(lines.by_ref().any(|line| line.unwrap().ends_with("ready")));
        std::thread::sleep(Duration::from_micros(round * 1900 % 23_000));
        running.kill().unwrap();
        deaths += usize::from(running.wait().unwrap().signal() == Some(9));
        let said: Vec<_> = lines.map(Result::unwrap).collect();
        let answered: Vec<usize> = said
            .iter()
            .filter_map(|line| line.strip_prefix("yes ")?.parse().ok())
            .collect();

        let (factors, faults) = open(dir.path(), BOOT, None);
        assert!(faults.is_empty(), "{faults:?}");
        no_unfinished_file(dir.path());
        let mut next = from;
        for nr in &answered {
            assert_eq!(*nr, next, "{said:?}");
            let again = check(
                &factors,
                &codes[*nr],
                NOW + i64::try_from(*nr).unwrap() * STEP,
            );
            assert!(replayed(&again), "{nr} {again:?}");
            next += 1;
        }
        if next >= codes.len() - 2 {
            break;
        }
        // The one it died over was spent or not, and works no second time.
        let time = NOW + i64::try_from(next).unwrap() * STEP;
        let first = check(&factors, &codes[next], time);
        assert!(passed(&first) || replayed(&first), "{first:?}");
        assert!(replayed(&check(&factors, &codes[next], time)));
        from = next + 1;
    }
    assert!(deaths > 5, "only {deaths} died at work");
}

#[test]
#[ignore = "started by killed_at_any_instant"]
fn spends_codes() {
    let Some(orders) = orders() else { return };
    let [dir, from] = orders.as_slice() else {
        panic!("{orders:?}")
    };
    let codes = fs::read_to_string(Path::new(dir).join("codes")).unwrap();
    let (factors, _) = open(Path::new(dir), BOOT, None);
    println!("ready");
    for (nr, code) in codes.lines().enumerate().skip(from.parse().unwrap()) {
        let said = check(&factors, code, NOW + i64::try_from(nr).unwrap() * STEP);
        assert!(passed(&said), "{nr} {said:?}");
        println!("yes {nr}");
        std::io::stdout().flush().unwrap();
    }
}

/// A disk that is full at each write, to the page: whatever is typed is refused, nothing is lost,
/// and everything works again when there is room.
#[test]
fn a_full_disk_passes_nobody_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let child = child("runs_on_a_full_disk", &[dir.path().to_str().unwrap()]);
    // A mount namespace of its own, so that the little disk is gone with it.
    let mut outer = Command::new("unshare");
    if !nix::unistd::geteuid().is_root() {
        outer.arg("--map-root-user");
    }
    outer.args(["--mount", "sh", "-c"]);
    outer.arg("mount -t tmpfs -o size=96k,mode=700 none \"$0\" && exec \"$@\"");
    outer
        .arg(dir.path())
        .arg(child.get_program())
        .args(child.get_args());
    outer.env(ORDERS, dir.path());
    let output = outer.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    assert!(said.contains("1 passed") && said.contains("done"), "{said}");
}

#[test]
#[ignore = "started by a_full_disk_passes_nobody_and_loses_nothing"]
fn runs_on_a_full_disk() {
    let Some(orders) = orders() else { return };
    let [dir] = orders.as_slice() else {
        panic!("{orders:?}")
    };
    let dir = Path::new(dir);
    let (factors, _) = open(dir, BOOT, None);
    let enrolment = factors.enrol_now(&alice(), at(NOW)).unwrap();
    let [code, next] = oathtool(&enrolment.secret, NOW);
    let file = dir.join("factors/1001.json");
    let whole = fs::read(&file).unwrap();
    let mut refused = 0;
    for pages in 0..4 {
        fill(dir, pages);
        for text in [
            code.as_str(),
            &enrolment.recovery_codes[0],
            "AAAA-AAAA-AAAA-AAAA",
        ] {
            let error = check(&factors, text, NOW).unwrap_err().to_string();
            assert!(error.contains("No space left"), "{error}");
            assert!(!error.contains(text));
            assert_eq!(fs::read(&file).unwrap(), whole);
            refused += 1;
        }
        assert!(
            factors
                .begin(&alice(), Authority::Own { code: &code }, at(NOW), UP)
                .is_err()
        );
        assert!(factors.reset_as_root(&alice()).is_err());
        assert!(factors.enrol_now(&alice(), at(NOW)).is_err());
        let Ok(Begun::Pending(new)) = factors.begin(&alice(), Authority::Root, at(NOW), UP) else {
            panic!("beginning writes nothing")
        };
        let [first] = oathtool(&new.secret, NOW);
        assert!(factors.confirm(&alice(), &first, at(NOW), UP).is_err());
        assert_eq!(fs::read(&file).unwrap(), whole);
        no_unfinished_file(dir);
    }
    assert_eq!(refused, 12);
    // With just the room that a record takes, both a right and a wrong code are recorded.
    fill(dir, 4);
    let said = check(&factors, "AAAA-AAAA-AAAA-AAAA", NOW);
    assert!(
        matches!(said, Ok(Checked::Wrong { in_a_row: 1, .. })),
        "{said:?}"
    );
    assert!(passed(&check(&factors, &code, NOW)));
    fs::remove_file(dir.join("filler")).unwrap();
    assert!(replayed(&check(&factors, &code, NOW)));
    assert!(passed(&check(&factors, &next, NOW)));
    println!("done");
}

/// Leaves exactly so many pages free.
fn fill(dir: &Path, pages: u64) {
    let page = 4096_u64;
    let mut filler = fs::File::create(dir.join("filler")).unwrap();
    let mut filled = 0;
    while filler.write_all(&[0; 4096]).is_ok() {
        filled += page;
    }
    filler.set_len(filled - pages * page).unwrap();
    let mut held = Vec::new();
    fs::File::open(dir.join("filler"))
        .unwrap()
        .read_to_end(&mut held)
        .unwrap();
    assert_eq!(held.len() as u64, filled - pages * page);
}
