//! The journal as a whole: what it survives, and what it shows.

use crate::{
    Appender, CURRENT, Disturbance, Hash, Journal, Limits, Torn, What, push_logfmt,
    push_pairs_json, verify, verify_against,
};
use std::fs;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

const WIDE: Limits = Limits {
    max_bytes: 1 << 20,
    keep: 4,
};

/// A journal that is written the way the agent does it, and what syslog got.
struct Host {
    dir: TempDir,
    appender: Appender,
    collector: String,
    count: u32,
}

impl Host {
    fn new(limits: Limits) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (appender, torn) = Appender::open(dir.path(), limits).unwrap();
        assert_eq!(torn, None);
        Self {
            dir,
            appender,
            collector: String::new(),
            count: 0,
        }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn file(&self) -> std::path::PathBuf {
        self.path().join(CURRENT)
    }

    fn write(&mut self, records: u32) {
        for _ in 0..records {
            self.write_one().unwrap();
        }
    }

    fn write_one(&mut self) -> Result<Option<Disturbance>, crate::JournalError> {
        let id = format!("01{:08}RAND0MRAND0M{:04}", 10 * self.count, self.count);
        let user = format!("al\u{202e}ice {}", self.count);
        let pairs = [
            ("event", Some("decision")),
            ("user", Some(user.as_str())),
            ("host", Some("web1")),
            ("rhost", None),
            ("id", Some(id.as_str())),
        ];
        let (mut line, mut text) = (String::from("{"), String::new());
        push_pairs_json(&mut line, [("time", Some("2026-11-21T12:00:00.000Z"))]);
        line.push(',');
        push_pairs_json(&mut line, pairs);
        line.push(',');
        push_pairs_json(
            &mut line,
            [("prev", Some(self.appender.head().to_string().as_str()))],
        );
        line.push('}');
        let hash = Hash::of(line.as_bytes());
        line.push('\n');
        let disturbance = self.appender.append(line.as_bytes(), hash, false)?;
        let (chain, count) = (hash.chain(), self.count);
        let all = pairs.into_iter().chain([("chain", Some(chain.as_str()))]);
        if count.is_multiple_of(2) {
            push_logfmt(&mut text, all);
        } else {
            text.push('{');
            push_pairs_json(&mut text, all);
            text.push('}');
        }
        self.collector += &format!("Nov 21 12:00:00 web1 pam_jit[77]: {text}\n");
        self.count += 1;
        Ok(disturbance)
    }

    fn reopen(self, limits: Limits) -> (Self, Option<Torn>) {
        let (appender, torn) = Appender::open(self.dir.path(), limits).unwrap();
        (Self { appender, ..self }, torn)
    }

    fn assert_unbroken(&self) -> crate::VerifyReport {
        let report = verify(self.path()).unwrap();
        assert_eq!(report.faults, [], "{report:#?}");
        report
    }
}

fn lines(path: &Path) -> Vec<String> {
    fs::read_to_string(path)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect()
}

fn put(path: &Path, lines: &[String]) {
    fs::write(
        path,
        lines
            .iter()
            .map(|line| format!("{line}\n"))
            .collect::<String>(),
    )
    .unwrap();
}

#[test]
fn the_chain_begins_at_genesis_and_goes_on_after_a_restart() {
    let mut host = Host::new(WIDE);
    assert_eq!(verify(host.path()).unwrap().records, 0);
    host.write(3);
    let head = host.appender.head();
    let (mut host, torn) = host.reopen(WIDE);
    assert_eq!(torn, None);
    assert_eq!(host.appender.head(), head);
    host.write(2);
    let report = host.assert_unbroken();
    assert_eq!((report.records, report.from_start), (5, true));
    assert_eq!(report.last.unwrap().hash, host.appender.head());
    assert_eq!(report.first.unwrap().line, 1);
}

#[test]
fn a_folder_without_a_journal_is_an_error_and_not_an_empty_journal() {
    let dir = tempfile::tempdir().unwrap();
    let message = verify(dir.path()).unwrap_err().to_string();
    assert!(message.contains("no journal here"), "{message}");
    assert!(verify(&dir.path().join("absent")).is_err());
}

#[test]
fn the_chain_goes_on_from_file_to_file_and_old_files_go() {
    let limits = Limits {
        max_bytes: 600,
        keep: 3,
    };
    let mut host = Host::new(limits);
    host.write(8);
    let report = host.assert_unbroken();
    assert!(report.files.len() > 2 && report.from_start, "{report:#?}");
    host.write(40);
    let report = host.assert_unbroken();
    assert_eq!(report.files.len(), 4);
    assert!(!report.from_start);
    assert!(report.records < 48);
    let (mut host, _) = host.reopen(limits);
    host.write(1);
    host.assert_unbroken();
}

#[test]
fn a_crash_while_rotating_loses_nothing() {
    let limits = Limits {
        max_bytes: 1000,
        keep: 5,
    };
    let mut host = Host::new(limits);
    host.write(8);
    let files = verify(host.path()).unwrap().files.len();
    // Killed after everything was moved up and before the new file was made …
    for part in (1..files).rev() {
        fs::rename(
            host.path().join(format!("{CURRENT}.{part}")),
            host.path().join(format!("{CURRENT}.{}", part + 1)),
        )
        .unwrap();
    }
    host.assert_unbroken();
    fs::rename(host.file(), host.path().join(format!("{CURRENT}.1"))).unwrap();
    host.assert_unbroken();
    let (mut host, torn) = host.reopen(limits);
    assert_eq!(torn, None);
    host.write(9);
    let report = host.assert_unbroken();
    assert_eq!(report.records, 17);
    assert!(report.from_start);
}

#[test]
fn a_power_cut_at_any_byte_costs_the_torn_line_and_nothing_else() {
    let mut host = Host::new(WIDE);
    host.write(2);
    let whole = fs::read(host.file()).unwrap();
    let first = whole.iter().position(|b| *b == b'\n').unwrap() + 1;
    for len in 0..=whole.len() {
        fs::write(host.file(), &whole[..len]).unwrap();
        let (appender, torn) = Appender::open(host.path(), WIDE).unwrap();
        host.appender = appender;
        let kept = if len == whole.len() {
            len
        } else if len >= first {
            first
        } else {
            0
        };
        let bytes = (len - kept) as u64;
        assert_eq!(torn, (bytes > 0).then_some(Torn { bytes }), "cut at {len}");
        host.write(1);
        let report = host.assert_unbroken();
        assert_eq!(
            report.records,
            1 + (len >= first) as u64 + (len == whole.len()) as u64
        );
    }
}

#[test]
fn a_tail_of_zeros_is_cut_off() {
    let mut host = Host::new(WIDE);
    host.write(2);
    let mut bytes = fs::read(host.file()).unwrap();
    bytes.extend(vec![0; 100_000]);
    fs::write(host.file(), bytes).unwrap();
    let (mut host, torn) = host.reopen(WIDE);
    assert_eq!(torn, Some(Torn { bytes: 100_000 }));
    host.write(1);
    assert_eq!(host.assert_unbroken().records, 3);
}

#[test]
fn every_edit_but_of_the_end_breaks_the_chain() {
    let mut host = Host::new(WIDE);
    host.write(6);
    let original = lines(&host.file());
    let shows = |changed: &[String], at: u64| {
        put(&host.file(), changed);
        let faults = verify(host.path()).unwrap().faults;
        assert!(
            faults.iter().any(|fault| fault.line == at),
            "{at}: {faults:#?}"
        );
    };
    for nth in 0..5 {
        let mut changed = original.clone();
        changed[nth] = changed[nth].replace("ice", "ICE");
        shows(&changed, nth as u64 + 2);
    }
    for nth in 1..5 {
        let mut changed = original.clone();
        changed.remove(nth);
        shows(&changed, nth as u64 + 1);
        let mut changed = original.clone();
        changed.swap(nth, nth + 1);
        shows(&changed, nth as u64 + 1);
        let mut changed = original.clone();
        changed.insert(nth, original[nth].clone());
        shows(&changed, nth as u64 + 2);
        let mut changed = original.clone();
        changed[nth] = "{}".to_owned();
        shows(&changed, nth as u64 + 1);
        changed[nth] = "\u{0}garbage".to_owned();
        shows(&changed, nth as u64 + 1);
        changed[nth] = "x".repeat(1 << 20);
        shows(&changed, nth as u64 + 1);
    }
    let mut changed = original.clone();
    changed.remove(0);
    put(&host.file(), &changed);
    assert!(!verify(host.path()).unwrap().from_start);
}

#[test]
fn faults_say_where_and_what() {
    let mut host = Host::new(WIDE);
    host.write(4);
    let mut changed = lines(&host.file());
    changed[1] = changed[1].replace("ice", "ICE");
    put(&host.file(), &changed);
    let mut bytes = fs::read(host.file()).unwrap();
    bytes.extend(b"{\"time\":");
    fs::write(host.file(), bytes).unwrap();
    let faults = verify(host.path()).unwrap().faults;
    assert_eq!(faults.len(), 2, "{faults:#?}");
    assert_eq!(
        (faults[0].line, faults[0].file.as_path()),
        (3, host.file().as_path())
    );
    assert!(
        faults[0]
            .what
            .to_string()
            .contains("the line before was changed")
    );
    assert_eq!((faults[1].line, &faults[1].what), (5, &What::Torn));
}

#[test]
fn the_collectors_copy_matches_in_both_forms() {
    let mut host = Host::new(Limits {
        max_bytes: 1000,
        keep: 9,
    });
    host.write(12);
    let text = host.collector.clone() + "Nov 21 12:00:01 web1 sshd[1]: something else\n";
    let report = verify_against(host.path(), text.as_bytes()).unwrap();
    assert_eq!(report.matched, 12, "{report:#?}");
    assert!(report.is_clean() && report.not_at_collector.is_empty());
    // Delivered twice is delivered once.
    let report = verify_against(host.path(), (text.clone() + &text).as_bytes()).unwrap();
    assert!(report.is_clean());
}

/// A thief with root: edits a record and computes a new chain from there on.
fn rewrite(host: &Host, edit: impl Fn(usize, &str) -> Option<String>) {
    let mut head = Hash::GENESIS;
    let mut out = Vec::new();
    for (nth, line) in lines(&host.file()).iter().enumerate() {
        let Some(line) = edit(nth, line) else {
            continue;
        };
        let start = line.find("\"prev\":\"").unwrap() + 8;
        let line = format!("{}{head}\"}}", &line[..start]);
        head = Hash::of(line.as_bytes());
        out.push(line);
    }
    put(&host.file(), &out);
}

#[test]
fn a_new_chain_fools_verify_and_not_the_collectors_copy() {
    let mut host = Host::new(WIDE);
    host.write(6);
    let original = lines(&host.file());
    rewrite(&host, |nth, line| {
        Some(if nth == 2 {
            line.replace("ice", "ICE")
        } else {
            line.to_owned()
        })
    });
    host.assert_unbroken();
    let report = verify_against(host.path(), host.collector.as_bytes()).unwrap();
    assert!(!report.is_clean());
    // The edited record and all after it: their hashes are others now.
    assert_eq!(report.altered.len(), 4);
    assert_eq!(report.altered[0].line, 3);
    assert!(
        report.altered[0].how.contains("other words"),
        "{:?}",
        report.altered
    );

    put(&host.file(), &original);
    rewrite(&host, |nth, line| (nth != 2).then(|| line.to_owned()));
    host.assert_unbroken();
    let report = verify_against(host.path(), host.collector.as_bytes()).unwrap();
    assert_eq!(report.not_in_journal.len(), 1);
    assert_eq!(report.not_in_journal[0].line, 3);

    // The end cut off: the plainest of all, and a journal that looks whole.
    put(&host.file(), &original[..4]);
    host.assert_unbroken();
    let report = verify_against(host.path(), host.collector.as_bytes()).unwrap();
    assert_eq!(
        report
            .not_in_journal
            .iter()
            .map(|s| s.line)
            .collect::<Vec<_>>(),
        [5, 6]
    );

    // The beginning cut off, and a new genesis.
    put(&host.file(), &original);
    rewrite(&host, |nth, line| (nth >= 2).then(|| line.to_owned()));
    let report = verify_against(host.path(), host.collector.as_bytes()).unwrap();
    assert_eq!(
        report
            .not_in_journal
            .iter()
            .map(|s| s.line)
            .collect::<Vec<_>>(),
        [1, 2]
    );

    // Everything thrown away.
    put(&host.file(), &[]);
    let report = verify_against(host.path(), host.collector.as_bytes()).unwrap();
    assert_eq!(report.not_in_journal.len(), 6);
}

#[test]
fn what_the_collector_did_not_get_is_told_apart_from_what_it_cannot_have_yet() {
    let mut host = Host::new(WIDE);
    host.write(6);
    let mut got: Vec<&str> = host.collector.lines().collect();
    got.remove(5);
    got.remove(2);
    got.remove(0);
    let report = verify_against(host.path(), got.join("\n").as_bytes()).unwrap();
    assert!(report.is_clean());
    assert_eq!(report.matched, 3);
    assert_eq!(
        report
            .not_at_collector
            .iter()
            .map(|s| s.line)
            .collect::<Vec<_>>(),
        [3]
    );
    assert_eq!(report.after_collector, 1);
}

#[test]
fn lines_from_before_the_journal_and_from_other_hosts_are_no_faults() {
    let mut host = Host::new(Limits {
        max_bytes: 1000,
        keep: 2,
    });
    host.write(30);
    let text = host.collector.clone()
        + "x pam_jit[1]: event=decision host=web2 id=01AAAAAAAAAAAAAAAAAAAAAAAA chain=000000000000\n";
    let report = verify_against(host.path(), text.as_bytes()).unwrap();
    assert!(report.is_clean(), "{report:#?}");
    assert!(report.before_journal > 0);
    assert_eq!(report.matched + report.before_journal, 30);
    assert_eq!(report.other_hosts, 1);
}

#[test]
fn a_clock_set_back_does_not_make_a_removed_record_look_rotated_away() {
    let mut host = Host::new(Limits {
        max_bytes: 1000,
        keep: 2,
    });
    host.write(30);
    let old = host.collector.lines().next().unwrap().to_owned();
    let far = "x\n".repeat(2000);
    let text = format!(
        "{}{far}{}\n",
        host.collector,
        old.replace("RAND0M", "OTHER0")
    );
    let report = verify_against(host.path(), text.as_bytes()).unwrap();
    assert_eq!(report.not_in_journal.len(), 1, "{report:#?}");
}

#[test]
fn forged_lines_are_shown_whichever_way_they_are_forged() {
    let mut host = Host::new(WIDE);
    host.write(4);
    let genuine: Vec<&str> = host.collector.lines().collect();
    let forged = genuine[2].replace("ice", "eve");
    for text in [
        format!("{}{forged}\n", host.collector),
        format!("{forged}\n{}", host.collector),
    ] {
        let report = verify_against(host.path(), text.as_bytes()).unwrap();
        assert_eq!(report.altered.len(), 1, "{report:#?}");
        assert!(!report.is_clean());
    }
    let invented = "x root: event=decision outcome=allow host=web1 id=7ZAAAAAAAAAAAAAAAAAAAAAAAA chain=0123456789ab\n\
                    x root: event=decision user=\"no end\n\
                    x root: event=agent host=web1 id=7ZBBBBBBBBBBBBBBBBBBBBBBBB chain=-\n\
                    x root: event=decision host=web1\n";
    let text = host.collector.clone() + invented;
    let report = verify_against(host.path(), text.as_bytes()).unwrap();
    assert_eq!(
        report
            .not_in_journal
            .iter()
            .map(|s| s.line)
            .collect::<Vec<_>>(),
        [5]
    );
    assert_eq!(report.unreadable, [6, 8]);
    assert_eq!(
        report.unchained.iter().map(|s| s.line).collect::<Vec<_>>(),
        [7]
    );
}

#[test]
fn a_line_that_cannot_be_utf8_or_never_ends_does_not_stop_the_comparison() {
    let mut host = Host::new(WIDE);
    host.write(2);
    let mut text = b"\xff\xfe event=".to_vec();
    text.extend(vec![b'x'; 3 << 20]);
    text.push(b'\n');
    text.extend(host.collector.as_bytes());
    let report = verify_against(host.path(), text.as_slice()).unwrap();
    assert_eq!(report.matched, 2);
    assert_eq!(report.unreadable, [1]);
}

#[test]
fn a_journal_that_is_removed_replaced_or_cut_meanwhile_is_noticed_and_goes_on() {
    let mut host = Host::new(WIDE);
    host.write(2);
    fs::remove_file(host.file()).unwrap();
    assert_eq!(host.write_one().unwrap(), Some(Disturbance::Removed));
    let report = host.assert_unbroken();
    assert_eq!((report.records, report.from_start), (1, false));

    fs::write(host.file(), "").unwrap();
    assert_eq!(host.write_one().unwrap(), Some(Disturbance::Changed));
    host.write(1);
    host.assert_unbroken();

    let mut bytes = fs::read(host.file()).unwrap();
    bytes.extend(b"{\"half\":");
    fs::write(host.file(), bytes).unwrap();
    assert_eq!(host.write_one().unwrap(), Some(Disturbance::Changed));
    assert_eq!(host.assert_unbroken().records, 3);

    let other = host.path().join("other");
    fs::copy(host.file(), &other).unwrap();
    host.write(1);
    fs::rename(other, host.file()).unwrap();
    assert_eq!(host.write_one().unwrap(), Some(Disturbance::Changed));
    // A record is gone with the file that was replaced: that shows.
    assert_eq!(verify(host.path()).unwrap().faults.len(), 1);
}

#[test]
fn reading_while_it_is_written_and_rotated_shows_no_fault() {
    let mut host = Host::new(Limits {
        max_bytes: 4000,
        keep: 3,
    });
    host.write(1);
    let dir = host.path().to_owned();
    let reader = std::thread::spawn(move || {
        let mut seen = 0;
        for _ in 0..300 {
            let report = match verify(&dir) {
                Err(crate::JournalError::Restless(_)) => continue,
                report => report.unwrap(),
            };
            assert_eq!(report.faults, [], "{report:#?}");
            seen += report.records;
        }
        seen
    });
    while !reader.is_finished() {
        host.write(1);
    }
    assert!(reader.join().unwrap() > 300);
}

#[test]
fn a_line_that_is_on_its_way_is_waited_for() {
    let mut host = Host::new(WIDE);
    host.write(2);
    let whole = fs::read(host.file()).unwrap();
    let (start, rest) = whole.split_at(whole.len() - 10);
    fs::write(host.file(), start).unwrap();
    let mut records = Journal::open_read(host.path()).unwrap().records();
    assert!(records.next().unwrap().record.is_ok());
    let (path, rest) = (host.file(), rest.to_vec());
    let agent = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(50));
        let mut file = fs::OpenOptions::new().append(true).open(path).unwrap();
        std::io::Write::write_all(&mut file, &rest).unwrap();
    });
    let entry = records.next().unwrap();
    agent.join().unwrap();
    assert_eq!(
        (entry.hash, entry.record.is_ok()),
        (host.appender.head(), true)
    );
    assert!(records.next().is_none());
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
fn a_full_disk_takes_a_record_whole_or_not_at_all_and_recovers() {
    let disk = TinyDisk::new();
    let dir = disk.0.path().join("audit");
    let ballast = disk.0.path().join("ballast");
    let mut host = Host::new(WIDE);
    host.appender = Appender::open(&dir, WIDE).unwrap().0;
    host.write(10);
    // Fill the disk to the last byte of the last page, and leave the journal's own page half full.
    let _ = fs::write(&ballast, vec![0; 1 << 20]);
    let mut written = 10;
    let error = loop {
        match host.write_one() {
            Ok(_) => written += 1,
            Err(error) => break error.to_string(),
        }
    };
    assert!(error.contains("No space left"), "{error}");
    assert!(error.contains("journal.jsonl"), "{error}");
    for _ in 0..5 {
        let head = host.appender.head();
        assert!(host.write_one().is_err());
        assert_eq!(host.appender.head(), head);
        let report = verify(&dir).unwrap();
        assert_eq!((report.faults, report.records), (vec![], written));
    }
    fs::remove_file(ballast).unwrap();
    host.write(10);
    let report = verify(&dir).unwrap();
    assert_eq!((report.faults, report.records), (vec![], written + 10));
}

#[test]
fn files_are_for_root_alone() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let audit = dir.path().join("audit");
    Appender::open(&audit, WIDE).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&audit), 0o700);
    assert_eq!(mode(&audit.join(CURRENT)), 0o600);
}
