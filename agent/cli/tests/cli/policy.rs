//! Keys, bundles and grants files, through the real command and with fingers in everything.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::world::{Ran, jit};

/// A folder to sign in.
struct Desk(tempfile::TempDir);

const GRANT: &str = "\
[[grant]]
id = \"inc-4711\"
user = \"alice\"
services = [\"sudo\"]
not_after = 2999-01-01T00:00:00Z
reason = \"failover\"
";

impl Desk {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// A folder with a key named `key` and grants in `g.toml`.
    fn ready() -> (Self, String) {
        let desk = Self::new();
        desk.write("g.toml", GRANT);
        let key = desk.jit(&["policy", "keygen", "--out", "key"]);
        let public = key.expect(0).out.trim().to_owned();
        (desk, public)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    fn jit(&self, words: &[&str]) -> Ran {
        jit(words)
            .current_dir(self.0.path())
            .output()
            .unwrap()
            .into()
    }

    fn sign(&self, more: &[&str]) -> Ran {
        let mut words = vec![
            "policy", "sign", "--json", "--key", "key", "--realm", "prod", "-o", "b.json", "g.toml",
        ];
        words.extend(more);
        self.jit(&words)
    }

    fn verify(&self, public: &str, more: &[&str]) -> Ran {
        let mut words = vec![
            "policy", "verify", "--json", "--key", public, "--realm", "prod", "b.json",
        ];
        words.extend(more);
        self.jit(&words)
    }

    /// Files that nobody asked for.
    fn leftovers(&self) -> Vec<String> {
        let names = std::fs::read_dir(self.0.path()).unwrap();
        let names = names.map(|e| e.unwrap().file_name().into_string().unwrap());
        names.filter(|n| n.starts_with('.')).collect()
    }
}

fn reason(ran: &Ran) -> String {
    ran.json()["error"]["reason"].as_str().unwrap().to_owned()
}

#[test]
fn keygen_prints_the_public_key_and_keeps_the_secret_one() {
    let (desk, public) = Desk::ready();
    assert!(
        public.starts_with("ed25519:") && public.len() == 8 + 44,
        "{public}"
    );
    let facts = std::fs::metadata(desk.path("key")).unwrap();
    assert_eq!((facts.mode() & 0o7777, facts.uid()), (0o600, 0));
    let secret = desk.read("key");
    assert!(
        secret.starts_with("ed25519-secret:"),
        "the file holds the secret"
    );
    let ran = desk.jit(&["policy", "keygen", "--out", "other", "--json"]);
    let other = ran.expect(0).json()["public_key"].clone();
    assert_ne!(other, Value::from(public));
    let body = desk.read("other");
    assert!(
        !ran.out
            .contains(body.trim().trim_start_matches("ed25519-secret:"))
    );
}

#[test]
fn keygen_overwrites_nothing_and_follows_no_link() {
    let (desk, _) = Desk::ready();
    let before = desk.read("key");
    let ran = desk.jit(&["policy", "keygen", "--out", "key"]);
    assert!(
        ran.expect(1).err.contains("is there already"),
        "{}",
        ran.err
    );
    assert_eq!((desk.read("key"), ran.out.as_str()), (before, ""));
    symlink(desk.path("target"), desk.path("link")).unwrap();
    desk.jit(&["policy", "keygen", "--out", "link"]).expect(1);
    assert!(!desk.path("target").exists());
    desk.jit(&["policy", "keygen", "--out", "no/such/folder"])
        .expect(1);
}

#[test]
fn a_key_is_for_its_owner_only_whatever_the_umask() {
    let desk = Desk::new();
    let script = "umask 0; \"$0\" policy keygen --out key";
    let made = Command::new("sh")
        .args(["-c", script, env!("CARGO_BIN_EXE_jit")])
        .current_dir(desk.0.path())
        .output();
    assert!(made.unwrap().status.success());
    assert_eq!(
        std::fs::metadata(desk.path("key")).unwrap().mode() & 0o7777,
        0o600
    );
}

#[test]
fn what_was_signed_verifies_and_says_what_it_is() {
    let (desk, public) = Desk::ready();
    let signed = desk.sign(&[]);
    let facts = signed.expect(0).json();
    assert_eq!(
        (&facts["realm"], &facts["host"], &facts["grants"]),
        (&"prod".into(), &"*".into(), &1.into())
    );
    assert_eq!(facts["public_key"], Value::from(public.as_str()));
    assert_eq!(
        std::fs::metadata(desk.path("b.json")).unwrap().mode() & 0o777,
        0o644
    );
    assert!(signed.err.contains("max_offline"), "{}", signed.err);
    let verified = desk.verify(&public, &[]).expect(0).json();
    assert_eq!(
        (&verified["ok"], &verified["seq"]),
        (&true.into(), &facts["seq"])
    );
    // As a host would call itself.
    desk.verify(&public, &["--host", "web1"]).expect(0);
    assert!(desk.leftovers().is_empty());
}

#[test]
fn each_new_bundle_has_a_higher_number_even_if_the_clock_stood_still() {
    let (desk, public) = Desk::ready();
    let ahead = |seq: u64| (seq + 300_000).to_string();
    let first = desk.sign(&[]).expect(0).json()["seq"].as_u64().unwrap();
    let second = desk.sign(&["--seq", &ahead(first)]).expect(0).json()["seq"]
        .as_u64()
        .unwrap();
    assert_eq!(second, first + 300_000);
    let third = desk.sign(&[]).expect(0).json()["seq"].as_u64().unwrap();
    assert_eq!(third, second + 1, "the clock is behind the last number");
    desk.verify(&public, &[]).expect(0);
    let before = desk.read("b.json");
    assert_eq!(reason(desk.sign(&["--seq", "5"]).expect(1)), "rollback");
    let far = (third + 3_600_000).to_string();
    assert_eq!(reason(desk.sign(&["--seq", &far]).expect(1)), "seq_ahead");
    assert_eq!(
        desk.read("b.json"),
        before,
        "what was refused changed nothing"
    );
}

#[test]
fn an_expired_bundle_is_continued_and_its_number_counts() {
    let (desk, public) = Desk::ready();
    let first = desk.sign(&["--expires", "1s"]).expect(0).json()["seq"]
        .as_u64()
        .unwrap();
    desk.jit(&["policy", "lint", "g.toml"]).expect(0);
    std::thread::sleep(std::time::Duration::from_millis(1100));
    assert_eq!(reason(desk.verify(&public, &[]).expect(1)), "expired");
    let low = (first - 1).to_string();
    assert_eq!(reason(desk.sign(&["--seq", &low]).expect(1)), "rollback");
    let second = desk.sign(&[]).expect(0).json()["seq"].as_u64().unwrap();
    assert!(second > first);
}

#[test]
fn any_change_to_a_bundle_is_found() {
    let (desk, public) = Desk::ready();
    desk.sign(&[]).expect(0);
    let good = desk.read("b.json");
    let other = Desk::ready();
    other.0.write("g.toml", &GRANT.replace("alice", "mallory"));
    other.0.sign(&[]).expect(0);
    let foreign = other.0.read("b.json");
    let parse = |text: &str| -> Value { serde_json::from_str(text).unwrap() };
    let mixed = |head: &str, grants: &str| {
        let mut mixed = parse(head);
        mixed["grants"] = parse(grants)["grants"].clone();
        mixed.to_string()
    };
    let mut kind = parse(&good);
    kind["head"]["payloadType"] = "text/plain".into();
    let mut cut_signature = parse(&good);
    cut_signature["head"]["signatures"] = Value::Array(vec![]);
    let cases = [
        ("signature", foreign.clone()),
        ("signature", mixed(&foreign, &good)),
        ("hash", mixed(&good, &foreign)),
        ("hash", good.replace("alice", "malic")),
        ("type", kind.to_string()),
        ("signature", cut_signature.to_string()),
        ("malformed", good[..good.len() / 2].to_owned()),
        ("malformed", String::new()),
        ("malformed", "{}".to_owned()),
    ];
    for (wanted, text) in cases {
        assert_ne!(text, good);
        desk.write("b.json", &text);
        assert_eq!(
            reason(desk.verify(&public, &[]).expect(1)),
            wanted,
            "{text}"
        );
    }
    desk.write("b.json", &good);
    desk.verify(&public, &[]).expect(0);
}

#[test]
fn realm_host_and_key_must_be_the_ones_asked_for() {
    let (desk, public) = Desk::ready();
    desk.sign(&["--host", "web1"]).expect(0);
    desk.verify(&public, &["--host", "WEB1"]).expect(0);
    assert_eq!(
        reason(desk.verify(&public, &["--host", "web2"]).expect(1)),
        "host"
    );
    assert_eq!(reason(desk.verify(&public, &[]).expect(1)), "host");
    let words = [
        "policy", "verify", "--json", "--key", &public, "--realm", "test", "--host", "web1",
        "b.json",
    ];
    assert_eq!(reason(desk.jit(&words).expect(1)), "realm");
    let (_, stranger) = Desk::ready();
    assert_eq!(
        reason(desk.verify(&stranger, &["--host", "web1"]).expect(1)),
        "signature"
    );
    // Any one of several keys will do.
    desk.verify(&stranger, &["--key", &public, "--host", "web1"])
        .expect(0);
    desk.verify("ed25519:AAAA", &[]).expect(2);
    let secret = desk.read("key");
    let ran = desk.verify(secret.trim(), &[]);
    assert_eq!(ran.expect(2).out, "", "a secret key is no public one");
}

#[test]
fn a_file_that_is_no_bundle_of_ours_is_not_overwritten() {
    let (desk, _) = Desk::ready();
    desk.write("b.json", "somebody's only copy");
    let ran = desk.sign(&[]);
    assert!(
        ran.expect(1).err.contains("is there already"),
        "{}",
        ran.err
    );
    assert_eq!(desk.read("b.json"), "somebody's only copy");
    std::fs::remove_file(desk.path("b.json")).unwrap();
    desk.sign(&[]).expect(0);
    // Another realm's, another host's, another key's.
    for words in [["--realm", "test"], ["--host", "web1"], ["--key", "key2"]] {
        if words[0] == "--key" {
            desk.jit(&["policy", "keygen", "--out", "key2"]).expect(0);
        }
        let mut all: Vec<&str> = vec!["policy", "sign", "-o", "b.json", "g.toml"];
        for pair in [["--key", "key"], ["--realm", "prod"]] {
            if pair[0] != words[0] {
                all.extend(pair);
            }
        }
        all.extend(words);
        let before = desk.read("b.json");
        let ran = desk.jit(&all);
        assert!(
            ran.expect(1).err.contains("cannot be continued"),
            "{}",
            ran.err
        );
        assert_eq!(desk.read("b.json"), before);
    }
}

#[test]
fn a_key_that_others_can_read_signs_nothing() {
    let (desk, _) = Desk::ready();
    for mode in [0o640, 0o604, 0o620, 0o602] {
        std::fs::set_permissions(desk.path("key"), PermissionsExt::from_mode(mode)).unwrap();
        let ran = desk.sign(&[]);
        assert!(ran.expect(1).err.contains("chmod 600"), "{}", ran.err);
        assert!(!desk.path("b.json").exists());
    }
    std::fs::set_permissions(desk.path("key"), PermissionsExt::from_mode(0o400)).unwrap();
    desk.sign(&[]).expect(0);
    std::os::unix::fs::chown(desk.path("key"), Some(65534), None).unwrap();
    assert!(desk.sign(&[]).expect(1).err.contains("uid 65534"));
}

#[test]
fn what_is_no_key_is_not_repeated_in_the_error() {
    let (desk, public) = Desk::ready();
    let secret = desk.read("key");
    for text in [
        &secret[..30],
        &format!("{secret}{secret}"),
        &public,
        "",
        "\u{1b}[2J",
        &"x".repeat(9000),
    ] {
        desk.write("key", text);
        let ran = desk.sign(&[]);
        ran.expect(1);
        let said = format!("{}{}", ran.out, ran.err);
        assert!(
            said.contains("key") && !said.contains(&secret[16..30]),
            "{said}"
        );
    }
}

#[test]
fn sign_refuses_what_lint_would_and_names_every_error_with_its_line() {
    let (desk, _) = Desk::ready();
    let bad = "\
[[grant]]
id = \"good\"
user = \"alice\"
services = [\"sudo\"]
not_after = 2999-01-01T00:00:00Z

[[grant]]
id = \"no-end\"
user = \"bob\"
services = [\"sudo\"]

[[grant]]
id = \"odd\"
user = \"carol\"
services = [\"sudo\"]
not_after = 2999-01-01T00:00:00Z
unless = \"it rains\"
";
    desk.write("bad.toml", bad);
    let linted = desk.jit(&["policy", "lint", "--json", "g.toml", "bad.toml"]);
    let report = linted.expect(1).json();
    assert_eq!(
        (&report["ok"], &report["grants"]),
        (&false.into(), &2.into())
    );
    let errors = report["errors"].as_array().unwrap();
    let places: Vec<_> = errors
        .iter()
        .map(|e| (e["file"].as_str().unwrap(), e["line"].as_u64().unwrap()))
        .collect();
    assert_eq!(places.len(), 2, "{report}");
    assert!(
        places
            .iter()
            .all(|(file, line)| *file == "bad.toml" && *line >= 7),
        "{report}"
    );
    let ran = desk.sign(&["bad.toml"]);
    assert!(
        ran.expect(1).err.contains("2 errors") && ran.err.contains("bad.toml:"),
        "{}",
        ran.err
    );
    assert!(
        ran.err.contains("no-end") && ran.err.contains("unless"),
        "{}",
        ran.err
    );
    assert!(!desk.path("b.json").exists() && desk.leftovers().is_empty());
}

#[test]
fn one_id_in_two_files_is_an_error() {
    let (desk, _) = Desk::ready();
    desk.write("twin.toml", &GRANT.replace("alice", "bob"));
    let ran = desk.jit(&["policy", "lint", "g.toml", "twin.toml"]);
    assert!(
        ran.expect(1)
            .out
            .contains("twin.toml:2: grant inc-4711: the id is taken by a grant in g.toml"),
        "{}",
        ran.out
    );
    assert_eq!(reason(desk.sign(&["twin.toml"]).expect(1)), "lint");
}

#[test]
fn lint_warns_of_what_was_hardly_meant_and_still_exits_0() {
    let desk = Desk::new();
    desk.write(
        "g.toml",
        "\
[[grant]]
id = \"over\"
group = \"dba\"
services = [\"sudo\"]
not_after = 2020-01-01T00:00:00Z
",
    );
    let ran = desk.jit(&["policy", "lint", "g.toml"]);
    for word in [
        "g.toml:2: grant over: expired",
        "neither reason nor ticket",
        "names group dba",
        "1 grant, 0 errors, 3 warnings",
    ] {
        assert!(ran.expect(0).out.contains(word), "{word}: {}", ran.out);
    }
    assert!(ran.err.contains("max_offline"));
    desk.write("g.toml", GRANT);
    assert!(
        desk.jit(&["policy", "lint", "g.toml"])
            .expect(0)
            .out
            .contains("holds for")
    );
}

#[test]
fn files_that_are_no_grants_are_said_to_be_none() {
    let (desk, _) = Desk::ready();
    std::fs::write(desk.path("bin.toml"), b"\xff\xfe").unwrap();
    desk.write("broken.toml", "[[grant]\n\x1b[2J");
    desk.write("other.toml", "grants = 1\n");
    for (name, said) in [
        ("bin.toml", "UTF-8"),
        ("broken.toml", "broken.toml:1"),
        ("other.toml", "other.toml:1"),
        ("none.toml", "none.toml"),
    ] {
        let ran = desk.jit(&["policy", "lint", name]);
        ran.expect(1);
        let all = format!("{}{}", ran.out, ran.err);
        assert!(all.contains(said) && !all.contains('\x1b'), "{name}: {all}");
    }
}

#[test]
fn a_bundle_that_cannot_be_written_leaves_the_old_one() {
    let (desk, public) = Desk::ready();
    desk.sign(&[]).expect(0);
    let before = desk.read("b.json");
    // The new file may not grow: the disk is as good as full.
    let script =
        "trap '' XFSZ; ulimit -f 0; \"$0\" policy sign --key key --realm prod -o b.json g.toml";
    let ran: Ran = Command::new("bash")
        .args(["-c", script, env!("CARGO_BIN_EXE_jit")])
        .current_dir(desk.0.path())
        .output()
        .unwrap()
        .into();
    assert!(ran.expect(1).err.contains("b.json"), "{}", ran.err);
    assert_eq!(desk.read("b.json"), before);
    assert!(desk.leftovers().is_empty());
    desk.verify(&public, &[]).expect(0);
}
