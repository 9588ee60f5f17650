use super::*;
use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::thread;
use tempfile::TempDir;

fn folder() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    (dir, state)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

#[test]
fn what_is_written_is_read_by_the_next_agent() {
    let (_dir, path) = folder();
    let state = State::open(&path).unwrap();
    assert_eq!(state.read("floors").unwrap(), None);
    state.write("floors", b"one").unwrap();
    state.write("factors/1001.json", b"two").unwrap();
    state.write("floors", b"three").unwrap();
    let key = state.key().clone();
    assert!(state.key_is_new());
    drop(state);

    let state = State::open(&path).unwrap();
    assert_eq!(state.read("floors").unwrap().unwrap(), b"three");
    assert_eq!(state.read("factors/1001.json").unwrap().unwrap(), b"two");
    assert_eq!(state.list("factors").unwrap(), ["1001.json"]);
    assert_eq!(*state.key(), key);
    assert!(!state.key_is_new());
    assert_ne!(**state.key(), [0; 32]);

    state.remove("factors/1001.json").unwrap();
    state.remove("factors/1001.json").unwrap();
    assert_eq!(state.read("factors/1001.json").unwrap(), None);
    assert!(state.list("factors").unwrap().is_empty());
    assert!(state.list("grants.d").unwrap().is_empty());
}

#[test]
fn everything_is_for_its_owner_alone() {
    let (_dir, path) = folder();
    let state = State::open(&path).unwrap();
    state.write("factors/1001.json", b"x").unwrap();
    for folder in [path.clone(), path.join("factors")] {
        assert_eq!(mode(&folder), 0o700, "{}", folder.display());
    }
    for file in ["lock", "key", "factors/1001.json"] {
        assert_eq!(mode(&path.join(file)), 0o600, "{file}");
    }
}

#[test]
fn no_name_leaves_the_folder_or_hits_what_is_not_the_callers() {
    let (_dir, path) = folder();
    let state = State::open(&path).unwrap();
    let long = "x".repeat(129);
    let bad = [
        "",
        ".",
        "..",
        "../x",
        "/etc/shadow",
        "factors/../x",
        "factors/",
        "factors//x",
        "/x",
        "factors/.x",
        "factors/a/b",
        "other/x",
        "factors",
        "audit",
        ".unfinished.1",
        "a b",
        "a\n",
        "a\0",
        "ä",
        "factors/..",
        "./x",
        "../factors/x",
        &long,
    ];
    for name in bad {
        assert!(
            matches!(state.write(name, b"x"), Err(StateError::Name { .. })),
            "{name:?}"
        );
        assert!(
            matches!(state.read(name), Err(StateError::Name { .. })),
            "{name:?}"
        );
        assert!(
            matches!(state.remove(name), Err(StateError::Name { .. })),
            "{name:?}"
        );
    }
    for name in ["key", "lock"] {
        assert!(
            matches!(state.write(name, b"x"), Err(StateError::Name { .. })),
            "{name:?}"
        );
        assert!(
            matches!(state.remove(name), Err(StateError::Name { .. })),
            "{name:?}"
        );
    }
    for folder in ["", ".", "..", "other", "factors/..", "/"] {
        assert!(
            matches!(state.list(folder), Err(StateError::Name { .. })),
            "{folder:?}"
        );
    }
    for name in [
        "bundle",
        "floors",
        "factors/0.json",
        "grants.d/inc-4711.toml",
        "a_b-c.D9",
    ] {
        state.write(name, b"x").unwrap();
    }
}

#[test]
fn two_agents_cannot_run_on_one_folder() {
    let (_dir, path) = folder();
    let first = State::open(&path).unwrap();
    let error = State::open(&path).unwrap_err();
    assert!(matches!(error, StateError::Busy { .. }));
    let words = error.to_string();
    assert!(
        words.contains("state/lock") && words.contains("another jit-agentd"),
        "{words}"
    );
    first.write("floors", b"still works").unwrap();
    drop(first);
    State::open(&path).unwrap();
}

#[test]
fn a_folder_that_others_could_write_to_is_refused() {
    let (_dir, path) = folder();
    drop(State::open(&path).unwrap());
    for bad in [0o770, 0o702, 0o1777] {
        fs::set_permissions(&path, Permissions::from_mode(bad)).unwrap();
        let words = State::open(&path).unwrap_err().to_string();
        assert!(
            words.contains("lets others write") && words.contains("chmod 0700"),
            "{words}"
        );
    }
    // Others could read it, but nothing in it: it is closed and used.
    fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    drop(State::open(&path).unwrap());
    assert_eq!(mode(&path), 0o700);
}

#[test]
fn a_link_or_a_file_instead_of_the_folder_is_refused() {
    let (dir, path) = folder();
    drop(State::open(&path).unwrap());
    let link = dir.path().join("link");
    symlink(&path, &link).unwrap();
    assert!(matches!(State::open(&link), Err(StateError::Io { .. })));
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(matches!(State::open(&file), Err(StateError::Io { .. })));
    let missing = dir.path().join("no/such");
    let words = State::open(&missing).unwrap_err().to_string();
    assert!(words.contains("no/such: making the folder"), "{words}");
}

#[test]
fn a_foreign_folder_is_refused() {
    if !nix::unistd::geteuid().is_root() {
        // Only root can give a folder away; then the same refusal shows on a folder of root's.
        let words = State::open(Path::new("/root")).unwrap_err().to_string();
        assert!(words.starts_with("/root: "), "{words}");
        return;
    }
    let (_dir, path) = folder();
    drop(State::open(&path).unwrap());
    std::os::unix::fs::chown(&path, Some(65534), None).unwrap();
    let words = State::open(&path).unwrap_err().to_string();
    assert!(
        words.contains("belongs to uid 65534 and not to 0"),
        "{words}"
    );
}

#[test]
fn a_damaged_key_is_named_and_not_replaced() {
    let (_dir, path) = folder();
    drop(State::open(&path).unwrap());
    fs::write(path.join("key"), b"short").unwrap();
    let words = State::open(&path).unwrap_err().to_string();
    assert!(words.contains("state/key: holds 5 bytes"), "{words}");
    assert_eq!(fs::read(path.join("key")).unwrap(), b"short");
}

#[test]
fn what_a_killed_agent_left_unfinished_is_swept() {
    let (_dir, path) = folder();
    let state = State::open(&path).unwrap();
    state.write("factors/1001.json", b"whole").unwrap();
    let left = [
        path.join(".unfinished.7"),
        path.join("factors/.unfinished.0"),
    ];
    for file in &left {
        fs::write(file, "half").unwrap();
    }
    fs::write(path.join("notes"), "root's own").unwrap();
    assert_eq!(state.list("factors").unwrap(), ["1001.json"]);
    drop(state);
    let state = State::open(&path).unwrap();
    assert!(left.iter().all(|file| !file.exists()));
    assert!(path.join("notes").exists());
    assert_eq!(state.read("factors/1001.json").unwrap().unwrap(), b"whole");
}

#[test]
fn readers_see_the_old_content_or_the_new_and_no_mix() {
    let (_dir, path) = folder();
    let state = Arc::new(State::open(&path).unwrap());
    state.write("floors", &[b'a'; 50_000]).unwrap();
    thread::scope(|scope| {
        for letter in *b"bcd" {
            let state = Arc::clone(&state);
            scope.spawn(move || {
                for _ in 0..25 {
                    state.write("floors", &[letter; 50_000]).unwrap();
                }
            });
        }
        for _ in 0..200 {
            let seen = state.read("floors").unwrap().unwrap();
            assert_eq!(seen.len(), 50_000);
            assert!(seen.iter().all(|byte| *byte == seen[0]));
        }
    });
    let names = names_in(&path).unwrap();
    assert!(
        !names.iter().any(|name| name.starts_with(UNFINISHED)),
        "{names:?}"
    );
}

#[test]
fn a_failed_write_leaves_the_old_content_and_says_where() {
    let (_dir, path) = folder();
    let state = State::open(&path).unwrap();
    // A folder where the file should go: the rename fails, as root or not.
    fs::create_dir_all(path.join("floors/full")).unwrap();
    let words = state.write("floors", b"x").unwrap_err().to_string();
    assert!(words.contains("state/floors: renaming"), "{words}");
    assert!(path.join("floors/full").exists());
    let names = names_in(&path).unwrap();
    assert!(
        !names.iter().any(|name| name.starts_with(UNFINISHED)),
        "{names:?}"
    );
}

#[test]
fn this_boot_has_an_id() {
    let boot = BootId::current().unwrap();
    assert_eq!(boot, BootId::current().unwrap());
    let text = serde_json::to_string(&boot).unwrap();
    assert_eq!(serde_json::from_str::<BootId>(&text).unwrap(), boot);
    let kernel = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    assert_eq!(text.trim_matches('"'), kernel.trim().replace('-', ""));
    for bad in [
        "",
        "12",
        "+2345678901234567890123456789012",
        "g2345678901234567890123456789012",
    ] {
        assert!(
            serde_json::from_value::<BootId>(bad.into()).is_err(),
            "{bad}"
        );
    }
}
