//! The journal, shown and proved, with and without somebody's fingers in it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use jit_journal::Hash;

use crate::world::{Ran, jit};

struct Journal {
    folder: tempfile::TempDir,
    lines: Vec<String>,
}

fn id(n: usize) -> String {
    format!("01JD0000{n:02}ABCDEFGHJKMNPQRS")
}

/// What stands between `time` and `id` in a record: event, outcome, user, reason, command.
const EVENTS: [[&str; 5]; 4] = [
    ["agent", "started", "", "started", ""],
    ["decision", "deny", "alice", "no_grant", "systemctl"],
    ["decision", "allow", "alice", "grant", "\u{1b}[2J evil=1"],
    ["decision", "deny", "bob", "expired", "id"],
];

impl Journal {
    fn new() -> Self {
        let mut lines = Vec::new();
        let mut prev = Hash::GENESIS.to_string();
        for (n, event) in EVENTS.iter().enumerate() {
            let null = |v: &str| match v {
                "" => serde_json::Value::Null,
                v => v.into(),
            };
            let command = null(event[4]).to_string().replace('\u{1b}', "\\u001b");
            let line = format!(
                r#"{{"time":"2026-11-21T12:0{n}:00Z","event":"{}","outcome":"{}","user":{},"reason":"{}","host":"web1","command":{command},"id":"{}","prev":"{prev}"}}"#,
                event[0],
                event[1],
                null(event[2]),
                event[3],
                id(n),
            );
            prev = Hash::of(line.as_bytes()).to_string();
            lines.push(line);
        }
        let journal = Self {
            folder: tempfile::tempdir().unwrap(),
            lines,
        };
        journal.write();
        journal
    }

    fn write(&self) {
        let text = self.lines.join("\n") + "\n";
        std::fs::write(self.folder.path().join(jit_journal::CURRENT), text).unwrap();
    }

    /// What a collector would have received.
    fn collected(&self) -> PathBuf {
        let mut text = String::new();
        for (n, line) in self.lines.iter().enumerate() {
            let event = EVENTS[n];
            let chain = Hash::of(line.as_bytes()).chain();
            let value = |v: &str| match v {
                "" => "-".to_owned(),
                v if v.contains(' ') => serde_json::Value::from(v).to_string(),
                v => v.to_owned(),
            };
            writeln!(
                text,
                "Nov 21 12:0{n}:00 web1 pam_jit[7]: event={} outcome={} user={} reason={} host=web1 command={} id={} chain={chain}",
                event[0], event[1], value(event[2]), event[3], value(event[4]), id(n),
            )
            .unwrap();
        }
        let path = self.folder.path().join("collected");
        std::fs::write(&path, text).unwrap();
        path
    }

    fn jit(&self, words: &[&str]) -> Ran {
        run(self.folder.path(), words)
    }
}

fn run(dir: &Path, words: &[&str]) -> Ran {
    jit(words).arg("--dir").arg(dir).output().unwrap().into()
}

#[test]
fn show_selects_and_escapes() {
    let journal = Journal::new();
    let ran = journal.jit(&["audit", "show"]);
    ran.expect(0);
    let lines: Vec<&str> = ran.out.lines().collect();
    assert_eq!(lines.len(), 5, "{}", ran.out);
    assert!(
        lines[1].starts_with("2026-11-21 12:00:00  agent     started  -"),
        "{}",
        ran.out
    );
    assert!(
        lines[2].contains("decision  deny     alice  reason=no_grant host=web1 command=systemctl"),
        "{}",
        ran.out
    );
    assert!(
        lines[3].contains(r#"command="\u{1b}[2J evil=1""#),
        "{}",
        ran.out
    );

    let ids = |words: &[&str]| -> Vec<String> {
        let mut all = vec!["audit", "show", "--json"];
        all.extend(words);
        let ran = journal.jit(&all);
        assert!(!ran.out.contains('\x1b'));
        let events = ran.expect(0).json()["events"].clone();
        events
            .as_array()
            .unwrap()
            .iter()
            .map(|e| e["id"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(ids(&[]), [id(0), id(1), id(2), id(3)]);
    assert_eq!(ids(&["--user", "alice"]), [id(1), id(2)]);
    assert_eq!(ids(&["--event", "agent"]), [id(0)]);
    assert_eq!(ids(&["--event", "decision", "-n", "1"]), [id(3)]);
    assert_eq!(ids(&["-n", "0"]).len(), 4);
    assert_eq!(ids(&["--since", "2026-11-21T12:02:00Z"]), [id(2), id(3)]);
    assert!(ids(&["--user", "nobody"]).is_empty());
    assert!(
        journal
            .jit(&["audit", "show", "--user", "x"])
            .out
            .contains("no such records")
    );
}

#[test]
fn a_line_that_cannot_be_read_is_not_passed_over_in_silence() {
    let mut journal = Journal::new();
    journal.lines.insert(2, "not json".into());
    journal.write();
    let ran = journal.jit(&["audit", "show"]);
    assert!(
        ran.expect(0)
            .err
            .contains("1 line of the journal cannot be read"),
        "{}",
        ran.err
    );
    let ran = journal.jit(&["audit", "show", "--json"]);
    assert_eq!(ran.json()["unreadable"][0]["line"], 3);
}

#[test]
fn verify_proves_an_untouched_journal_and_names_the_line_of_each_edit() {
    let journal = Journal::new();
    let ran = journal.jit(&["audit", "verify"]);
    assert!(
        ran.expect(0)
            .out
            .starts_with("unbroken  4 records in 1 file\n"),
        "{}",
        ran.out
    );
    let ran = journal.jit(&["audit", "verify", "--json"]);
    let proof = ran.expect(0).json();
    assert_eq!(
        (&proof["ok"], &proof["records"], &proof["from_start"]),
        (&true.into(), &4.into(), &true.into())
    );

    type Edit = (&'static str, fn(&mut Vec<String>), usize);
    let edits: [Edit; 4] = [
        (
            "changed",
            |lines| lines[1] = lines[1].replace("deny", "allow"),
            3,
        ),
        ("removed", |lines| drop(lines.remove(1)), 2),
        ("moved", |lines| lines.swap(1, 2), 2),
        ("doubled", |lines| lines.insert(1, lines[1].clone()), 3),
    ];
    for (what, edit, line) in edits {
        let mut journal = Journal::new();
        edit(&mut journal.lines);
        journal.write();
        let ran = journal.jit(&["audit", "verify"]);
        assert!(
            ran.expect(1).out.starts_with("BROKEN"),
            "{what}: {}",
            ran.out
        );
        let ran = journal.jit(&["audit", "verify", "--json"]);
        let proof = ran.expect(1).json();
        assert_eq!(
            (&proof["ok"], &proof["faults"][0]["line"]),
            (&false.into(), &line.into()),
            "{what}"
        );
    }
}

#[test]
fn against_the_collector_even_a_journal_with_a_new_chain_is_found_out() {
    let journal = Journal::new();
    let collected = journal.collected();
    let against = |journal: &Journal, path: &Path| {
        journal.jit(&["audit", "verify", "--against", path.to_str().unwrap()])
    };
    let ran = against(&journal, &collected);
    assert!(
        ran.expect(0).out.contains("same  4 records agree"),
        "{}",
        ran.out
    );

    // Somebody turns a denial into nothing and computes the chain anew.
    let mut edited = Journal::new();
    let mut prev = Hash::GENESIS.to_string();
    edited.lines.remove(1);
    for line in &mut edited.lines {
        let at = line.find("\"prev\"").unwrap();
        line.truncate(at);
        write!(line, "\"prev\":\"{prev}\"}}").unwrap();
        prev = Hash::of(line.as_bytes()).to_string();
    }
    edited.write();
    edited.jit(&["audit", "verify"]).expect(0);
    let ran = against(&edited, &collected);
    assert!(
        ran.expect(1)
            .out
            .contains(&format!("missing in the journal: {}", id(1))),
        "{}",
        ran.out
    );
    assert!(ran.out.contains("altered"), "{}", ran.out);
    let words = [
        "audit",
        "verify",
        "--json",
        "--against",
        collected.to_str().unwrap(),
    ];
    let proof = edited.jit(&words);
    assert_eq!(
        proof.expect(1).json()["against"]["not_in_journal"][0]["line"],
        2
    );
}

#[test]
fn a_comparison_with_nothing_is_no_proof() {
    let journal = Journal::new();
    let empty = journal.folder.path().join("empty");
    std::fs::write(&empty, "nothing of ours\n").unwrap();
    let ran = journal.jit(&["audit", "verify", "--against", empty.to_str().unwrap()]);
    assert!(
        ran.expect(1).out.contains("NOTHING IN COMMON"),
        "{}",
        ran.out
    );
    journal
        .jit(&["audit", "verify", "--against", "/nowhere/at/all"])
        .expect(1);
}

#[test]
fn no_journal_is_said_so() {
    let folder = tempfile::tempdir().unwrap();
    for verb in ["show", "verify"] {
        let ran = run(folder.path(), &["audit", verb, "--json"]);
        assert_eq!(ran.expect(1).json()["error"]["reason"], "journal");
    }
}
