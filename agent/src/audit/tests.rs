//! The audit against the real syslog daemon, a full disk and a killed agent.

use super::*;
use jit_journal::{AgainstReport, VerifyReport, verify, verify_against};
use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

const LIMITS: Limits = Limits {
    max_bytes: 1 << 20,
    keep: 3,
};

fn settings(format: Format, durable: bool) -> AuditSettings {
    AuditSettings {
        format,
        durable,
        host: "web1".to_owned(),
    }
}

fn allow(user: &str) -> Event {
    Event::new(Kind::Decision, "allow")
        .with("reason", "granted")
        .with("user", user)
        .with("uid", 1001)
        .maybe("rhost", None::<&str>)
}

fn deny(uid: u32) -> Event {
    Event::new(Kind::Decision, "deny")
        .with("reason", "expired")
        .with("user", "alice")
        .with("uid", uid)
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if done() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("{what}: not within ten seconds");
}

/// A folder with a syslog daemon's socket and file, and a journal.
struct World {
    dir: TempDir,
    daemon: Option<Child>,
}

impl World {
    /// No daemon listens.
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().display();
        let config = format!(
            "module(load=\"imuxsock\" SysSock.Use=\"off\")\n\
             input(type=\"imuxsock\" Socket=\"{path}/log\" CreatePath=\"off\")\n\
             template(name=\"plain\" type=\"string\" string=\"%pri-text% %timestamp% %syslogtag%%msg%\\n\")\n\
             *.* action(type=\"omfile\" file=\"{path}/received\" template=\"plain\")\n"
        );
        fs::write(dir.path().join("rsyslog.conf"), config).unwrap();
        Self { dir, daemon: None }
    }

    fn with_daemon() -> Self {
        let mut world = Self::new();
        world.start_daemon();
        world
    }

    fn start_daemon(&mut self) {
        let child = Command::new("rsyslogd")
            .args(["-n", "-iNONE", "-f"])
            .arg(self.dir.path().join("rsyslog.conf"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("these tests run the real rsyslogd: install it");
        self.daemon = Some(child);
        let socket = self.places().syslog;
        until("rsyslogd listens", || {
            std::os::unix::net::UnixDatagram::unbound()
                .unwrap()
                .connect(&socket)
                .is_ok()
        });
    }

    fn stop_daemon(&mut self) {
        self.signal("TERM");
        self.daemon.take().unwrap().wait().unwrap();
    }

    fn signal(&self, signal: &str) {
        let pid = self.daemon.as_ref().unwrap().id().to_string();
        assert!(
            Command::new("kill")
                .args(["-s", signal, &pid])
                .status()
                .unwrap()
                .success()
        );
    }

    fn places(&self) -> Places {
        Places {
            journal: self.dir.path().join("audit"),
            syslog: self.dir.path().join("log"),
            limits: LIMITS,
        }
    }

    fn audit(&self, format: Format, durable: bool) -> Audit {
        Audit::start(self.places(), settings(format, durable)).unwrap()
    }

    fn received(&self) -> String {
        fs::read_to_string(self.dir.path().join("received")).unwrap_or_default()
    }

    fn wait_for(&self, text: &str) {
        until(text, || self.received().contains(text));
    }

    fn unbroken(&self) -> VerifyReport {
        let report = verify(&self.places().journal).unwrap();
        assert_eq!(report.faults, [], "{report:#?}");
        report
    }

    fn journal(&self) -> String {
        fs::read_to_string(self.places().journal.join(jit_journal::CURRENT)).unwrap()
    }

    fn compare(&self) -> AgainstReport {
        verify_against(&self.places().journal, self.received().as_bytes()).unwrap()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

#[test]
fn rsyslogd_receives_what_the_journal_holds() {
    for (format, durable) in [(Format::Logfmt, true), (Format::Json, false)] {
        let world = World::with_daemon();
        let audit = world.audit(format, durable);
        let hostile = "eve\n<86>Nov 21 pam_jit[1]: event=decision outcome=allow user=root \u{1b}[2J \u{202e} é \"";
        let receipt = block_on(audit.record(allow(hostile))).unwrap();
        audit.note(deny(7));
        audit.note(Event::new(Kind::Agent, "stopped"));
        world.wait_for("stopped");
        drop(audit);
        let received = world.received();
        let lines: Vec<&str> = received.lines().collect();
        assert_eq!(lines.len(), 3, "{received}");
        assert!(lines[0].contains(&receipt.id));
        assert!(lines[0].starts_with("authpriv.info"), "{received}");
        assert!(lines[1].starts_with("authpriv.warning"), "{received}");
        assert!(
            lines[0].contains(&format!(" pam_jit[{}]: ", std::process::id())),
            "{received}"
        );
        assert!(
            received
                .bytes()
                .all(|b| b == b'\n' || (b' '..=b'~').contains(&b))
        );
        let compared = world.compare();
        assert!(compared.is_clean(), "{compared:#?}");
        assert_eq!(compared.matched, 3);
        assert_eq!(compared.not_at_collector, []);
    }
}

#[test]
fn a_decision_reads_as_the_manual_says() {
    let world = World::with_daemon();
    let audit = world.audit(Format::Logfmt, true);
    let event = Event::new(Kind::Decision, "deny")
        .with("reason", "expired")
        .with("user", "alice")
        .with("tty", "pts/3")
        .maybe("rhost", None::<&str>)
        .with("grant", "local:inc-4711-alice")
        .with("until", "2026-11-21T12:00:00Z")
        .with("age", "12s");
    let receipt = audit.enter(event);
    audit.call();
    world.wait_for("chain=");
    drop(audit);
    let last = world.unbroken().last.unwrap();
    let expected = format!(
        "]: event=decision outcome=deny reason=expired user=alice tty=pts/3 rhost=- grant=local:inc-4711-alice \
         until=2026-11-21T12:00:00Z age=12s host=web1 id={} chain={}\n",
        receipt.id,
        last.hash.chain()
    );
    assert!(
        world.received().ends_with(&expected),
        "{}",
        world.received()
    );
    assert!(
        world.journal().starts_with("{\"time\":\"20"),
        "{}",
        world.journal()
    );
}

#[test]
fn an_event_that_is_stuffed_to_the_brim_arrives_whole() {
    let world = World::with_daemon();
    let audit = world.audit(Format::Json, true);
    let long = "\u{1f600}\n\"".repeat(5000);
    let mut event = Event::new(Kind::Decision, "deny").with("command", &long);
    for key in [
        "user", "target", "service", "tty", "rhost", "detail", "a", "b", "c", "d", "e", "f", "g",
        "h",
    ] {
        event = event.with(key, &long);
    }
    block_on(audit.record(event)).unwrap();
    world.wait_for("\"chain\"");
    drop(audit);
    let received = world.received();
    assert_eq!(received.lines().count(), 1);
    assert!(
        received.contains("\"cut\":\"command,user,target,"),
        "{received}"
    );
    assert!((7000..8000).contains(&received.len()), "{}", received.len());
    assert!(world.compare().is_clean());
}

#[test]
fn a_restarted_rsyslogd_is_found_again_and_told_what_it_missed() {
    let mut world = World::with_daemon();
    let audit = world.audit(Format::Logfmt, true);
    block_on(audit.record(allow("before"))).unwrap();
    world.wait_for("before");
    world.stop_daemon();
    for _ in 0..3 {
        block_on(audit.record(allow("meanwhile"))).unwrap();
    }
    world.start_daemon();
    block_on(audit.record(allow("after"))).unwrap();
    world.wait_for("outcome=recovered");
    drop(audit);
    let received = world.received();
    assert!(received.contains("after") && !received.contains("meanwhile"));
    assert!(
        received.contains("outcome=recovered reason=syslog dropped=3 "),
        "{received}"
    );
    // The journal has them all, and says when the outage began.
    assert_eq!(world.unbroken().records, 7);
    assert_eq!(
        world
            .journal()
            .matches("\"failed\",\"reason\":\"syslog\"")
            .count(),
        1
    );
    let compared = world.compare();
    assert!(compared.is_clean());
    assert_eq!(compared.not_at_collector.len(), 4);
}

#[test]
fn a_stopped_rsyslogd_holds_nobody_up() {
    let world = World::with_daemon();
    let audit = world.audit(Format::Logfmt, false);
    block_on(audit.record(allow("before"))).unwrap();
    world.wait_for("before");
    world.signal("STOP");
    let start = Instant::now();
    for _ in 0..3000 {
        let one = Instant::now();
        block_on(audit.record(allow("meanwhile"))).unwrap();
        assert!(one.elapsed() < Duration::from_secs(2));
    }
    // Had each waited for the daemon, it would have been two and a half minutes.
    assert!(
        start.elapsed() < Duration::from_secs(60),
        "{:?}",
        start.elapsed()
    );
    world.signal("CONT");
    until("the daemon reads again", || {
        audit.note(allow("after"));
        world.received().contains("outcome=recovered reason=syslog")
    });
    drop(audit);
    world.unbroken();
    let compared = world.compare();
    assert!(compared.is_clean(), "{compared:#?}");
    assert!(!compared.not_at_collector.is_empty());
}

#[test]
fn no_daemon_at_all_costs_nothing_but_its_lines() {
    let world = World::new();
    let audit = world.audit(Format::Logfmt, true);
    for _ in 0..20 {
        block_on(audit.record(allow("alice"))).unwrap();
    }
    drop(audit);
    assert_eq!(world.unbroken().records, 21);
}

#[test]
fn concurrent_records_are_one_chain() {
    let world = World::with_daemon();
    let audit = world.audit(Format::Logfmt, true);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut tasks = Vec::new();
        for n in 0..400u32 {
            let audit = audit.clone();
            tasks.push(tokio::spawn(async move {
                let event = allow("alice").with("nth", n);
                if n % 2 == 0 {
                    audit.record(event).await.unwrap();
                } else {
                    audit.note(event);
                }
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
    });
    audit.close();
    audit.close();
    assert_eq!(world.unbroken().records, 400);
    until("all lines", || world.received().lines().count() >= 400);
    assert_eq!(world.compare().matched, 400);
}

#[test]
fn a_record_is_on_disk_before_the_wait_ends_and_a_dropped_wait_undoes_nothing() {
    let world = World::with_daemon();
    let audit = world.audit(Format::Logfmt, true);
    for n in 1..=20 {
        block_on(audit.record(allow("alice"))).unwrap();
        assert_eq!(world.unbroken().records, n);
    }
    block_on(async {
        let wait = audit.record(allow("hung-up"));
        let _ = tokio::time::timeout(Duration::ZERO, wait).await;
    });
    world.wait_for("hung-up");
    drop(audit);
    assert!(world.compare().is_clean());
    assert_eq!(world.unbroken().records, 21);
}

#[test]
fn a_flood_of_denials_is_a_handful_of_records() {
    let world = World::with_daemon();
    let audit = world.audit(Format::Logfmt, true);
    let ids: Vec<String> = (0..5000).map(|_| audit.enter(deny(1001)).id).collect();
    audit.note(deny(1002));
    until("the count", || world.journal().contains("\"repeated\""));
    drop(audit);
    let journal = world.journal();
    let written = u64::try_from(journal.lines().count()).unwrap();
    assert!((12..60).contains(&written), "{written}");
    let counted: u64 = journal
        .lines()
        .filter_map(|line| {
            line.split_once("\"repeated\":\"")?
                .1
                .split_once('"')?
                .0
                .parse::<u64>()
                .ok()
        })
        .sum();
    let single = journal
        .lines()
        .filter(|line| !line.contains("repeated"))
        .count() as u64;
    assert_eq!(counted + single, 5001);
    // Every receipt names a record.
    assert!(ids.iter().all(|id| journal.contains(id)));
    assert!(world.compare().is_clean());
}

#[test]
fn a_torn_line_is_cut_off_and_told() {
    let world = World::with_daemon();
    drop({
        let audit = world.audit(Format::Logfmt, true);
        audit.note(allow("alice"));
        audit
    });
    let file = world.places().journal.join(jit_journal::CURRENT);
    let mut bytes = fs::read(&file).unwrap();
    bytes.extend(b"{\"time\":\"2026");
    fs::write(&file, bytes).unwrap();
    drop(world.audit(Format::Logfmt, true));
    assert_eq!(world.unbroken().records, 2);
    assert!(
        world
            .journal()
            .contains("\"repaired\",\"reason\":\"torn_line\",\"bytes\":\"13\"")
    );
    world.wait_for("outcome=repaired reason=torn_line bytes=13");
}

#[test]
fn a_journal_that_cannot_be_opened_refuses_and_is_found_again() {
    let world = World::with_daemon();
    // A file where the folder should be.
    fs::write(world.places().journal, "").unwrap();
    let audit = world.audit(Format::Logfmt, true);
    world.wait_for("outcome=failed reason=journal");
    let error = block_on(audit.record(allow("early"))).unwrap_err();
    assert!(error.to_string().contains("cannot be opened"), "{error}");
    audit.note(deny(7));
    world.wait_for("uid=7 host=web1");
    fs::remove_file(world.places().journal).unwrap();
    world.wait_for("outcome=recovered reason=journal lost=1 ");
    block_on(audit.record(allow("late"))).unwrap();
    drop(audit);
    assert_eq!(world.unbroken().records, 2);
    let compared = world.compare();
    assert!(compared.is_clean(), "{compared:#?}");
    assert_eq!(compared.unchained.len(), 2);
    // What was refused was never told as an allow.
    assert!(!world.received().contains("early"));
}

#[test]
fn settings_change_on_the_run() {
    let world = World::with_daemon();
    let audit = world.audit(Format::Logfmt, false);
    audit.note(allow("first"));
    world.wait_for("user=first");
    audit.reconfigure(settings(Format::Json, true));
    block_on(audit.record(allow("second"))).unwrap();
    world.wait_for("\"second\"");
    drop(audit);
    assert_eq!(world.compare().matched, 2);
}

/// A file system of 64 KiB.
struct TinyDisk(TempDir);

impl TinyDisk {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"])
            .arg(dir.path())
            .status()
            .unwrap();
        assert!(
            mounted.success(),
            "this test mounts a tmpfs: run it as root"
        );
        Self(dir)
    }
}

impl Drop for TinyDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk_refuses_an_allow_never_tells_of_it_and_recovers_by_itself() {
    let (world, disk) = (World::with_daemon(), TinyDisk::new());
    let journal = disk.0.path().join("audit");
    let places = Places {
        journal: journal.clone(),
        ..world.places()
    };
    let audit = Audit::start(places, settings(Format::Logfmt, true)).unwrap();
    let ballast = disk.0.path().join("ballast");
    block_on(audit.record(allow("before"))).unwrap();
    let _ = fs::write(&ballast, vec![0; 1 << 20]);
    let error = (0..1000)
        .find_map(|_| block_on(audit.record(allow("filler"))).err())
        .unwrap();
    assert!(error.to_string().contains("No space left"), "{error}");
    block_on(audit.record(allow("refused"))).unwrap_err();
    for _ in 0..5 {
        audit.note(deny(7));
    }
    block_on(audit.record(allow("refused"))).unwrap_err();
    assert_eq!(verify(&journal).unwrap().faults, []);
    fs::remove_file(ballast).unwrap();
    block_on(audit.record(allow("after"))).unwrap();
    world.wait_for("outcome=recovered reason=journal lost=5 ");
    drop(audit);
    let received = world.received();
    assert_eq!(
        received.matches("outcome=failed reason=journal").count(),
        1,
        "{received}"
    );
    assert!(!received.contains("refused"));
    let report = verify(&journal).unwrap();
    assert_eq!(report.faults, []);
    let compared = verify_against(&journal, received.as_bytes()).unwrap();
    // The five denials and the alarm went to syslog alone, and the journal says how many it missed.
    assert_eq!(compared.unchained.len(), 6, "{compared:#?}");
    assert_eq!(compared.not_in_journal, []);
    assert_eq!(compared.altered, []);
    assert_eq!(compared.not_at_collector, []);
}
