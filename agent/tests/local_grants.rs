//! Local grants, from real files that change under a running agent.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]

mod common;

use common::{Agent, Host, grant, grant_until};
use jiff::{SignedDuration, Timestamp};
use jit_agent::grants::LocalError;
use jit_policy::Reason;
use jit_protocol::message::GrantSpec;
use nix::sys::stat::Mode;
use nix::unistd::{Gid, Uid, chown, mkfifo};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::{Duration, Instant};

/// What a change takes to count, and a little for a busy machine.
const SOON: Duration = Duration::from_millis(1500);
const LONG: Duration = Duration::from_secs(20);

async fn started(host: &Host) -> Agent {
    host.start(&host.config("")).await
}

fn spec(user: &str) -> GrantSpec {
    GrantSpec {
        user: Some(user.to_owned()),
        services: vec!["sudo".to_owned()],
        for_secs: Some(3600),
        ..GrantSpec::default()
    }
}

fn add(agent: &Agent, spec: GrantSpec) -> Result<String, LocalError> {
    Ok(agent.grants.add(spec, "root", &agent.clock.now())?.id)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_there_counts_at_the_start() {
    let host = Host::new();
    host.grants_file("a.toml", &grant("one", "alice"));
    let agent = started(&host).await;
    assert_eq!(agent.ids(), ["local:one"]);
    assert_eq!(agent.asks("alice"), Reason::Granted);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_come_change_and_go_count_within_a_second() {
    let host = Host::new();
    let agent = started(&host).await;
    assert_eq!(agent.ids(), [""; 0]);
    tokio::time::sleep(Duration::from_millis(300)).await;
    host.fresh_file("a.toml", &grant("one", "alice"));
    agent.has(&["local:one"], SOON).await;
    host.fresh_file("a.toml", &grant("two", "alice"));
    agent.has(&["local:two"], SOON).await;
    fs::rename(
        host.path("grants.d/a.toml"),
        host.path("grants.d/a.toml.off"),
    )
    .unwrap();
    agent.has(&[], SOON).await;
    fs::rename(
        host.path("grants.d/a.toml.off"),
        host.path("grants.d/b.toml"),
    )
    .unwrap();
    agent.has(&["local:two"], SOON).await;
    host.remove_file("b.toml");
    agent.has(&[], SOON).await;
    assert_eq!(agent.asks("alice"), Reason::NoGrant);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_comes_later_or_anew_is_found() {
    let host = Host::new();
    fs::remove_dir(host.path("grants.d")).unwrap();
    let agent = started(&host).await;
    fs::create_dir(host.path("grants.d")).unwrap();
    host.fresh_file("a.toml", &grant("one", "alice"));
    agent.has(&["local:one"], LONG).await;
    fs::rename(host.path("grants.d"), host.path("away")).unwrap();
    agent.has(&[], LONG).await;
    fs::create_dir(host.path("grants.d")).unwrap();
    host.fresh_file("a.toml", &grant("two", "alice"));
    agent.has(&["local:two"], LONG).await;
    assert_eq!(agent.count(&["\"rejected\""]), 0, "no folder is no mistake");
}

/// A good file beside one that must be refused, and said to be.
async fn refused_alone(make_bad: impl FnOnce(&Host), reason: &str, words: &str) {
    let host = Host::new();
    make_bad(&host);
    host.grants_file("good.toml", &grant("good", "alice"));
    let agent = started(&host).await;
    agent
        .recorded(
            &["\"rejected\"", &format!("\"{reason}\""), "bad", words],
            LONG,
        )
        .await;
    assert_eq!(agent.ids(), ["local:good"]);
    assert_eq!(agent.asks("mallory"), Reason::NoGrant);
    // Said once, however often it is looked at.
    host.fresh_file("another.toml", &grant("another", "alice"));
    agent.has(&["local:another", "local:good"], LONG).await;
    assert_eq!(
        agent.count(&["\"rejected\"", "bad"]),
        1,
        "{}",
        agent.journal()
    );
}

fn bad_file(host: &Host) -> std::path::PathBuf {
    host.fresh_file("bad.toml", &grant("bad", "mallory"));
    host.path("grants.d/bad.toml")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_world_writable_file_is_refused_alone() {
    let spoil = |host: &Host| {
        fs::set_permissions(bad_file(host), Permissions::from_mode(0o666)).unwrap();
    };
    refused_alone(spoil, "file", "written by others").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_is_refused_alone() {
    let spoil = |host: &Host| {
        fs::rename(bad_file(host), host.path("elsewhere.toml")).unwrap();
        symlink(host.path("elsewhere.toml"), host.path("grants.d/bad.toml")).unwrap();
    };
    refused_alone(spoil, "file", "symbolic link").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_somebody_else_is_refused_alone() {
    let spoil =
        |host: &Host| chown(&bad_file(host), Some(Uid::from_raw(1234)), None::<Gid>).unwrap();
    refused_alone(spoil, "file", "uid 1234").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipe_is_refused_alone() {
    let spoil = |host: &Host| mkfifo(&host.path("grants.d/bad.toml"), Mode::S_IRWXU).unwrap();
    refused_alone(spoil, "file", "a pipe").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_50_mb_file_is_refused_alone() {
    let spoil = |host: &Host| {
        File::create(bad_file(host))
            .unwrap()
            .set_len(50_000_000)
            .unwrap()
    };
    refused_alone(spoil, "file", "50000000 bytes").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_toml_gives_nothing_and_names_the_line() {
    let text = grant("bad", "mallory") + "[[grant]\n";
    refused_alone(
        |host| host.fresh_file("bad.toml", &text),
        "syntax",
        "\"line\":\"6\"",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn truncated_toml_gives_nothing() {
    let text = grant("bad", "mallory");
    let text = format!("{text}run_as = [\"postgres\", ");
    refused_alone(|host| host.fresh_file("bad.toml", &text), "syntax", "line").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_no_text_give_nothing() {
    let spoil = |host: &Host| fs::write(bad_file(host), b"# \xff\n").unwrap();
    refused_alone(spoil, "file", "UTF-8").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_key_costs_its_grant_alone() {
    let text = format!("{}sudo = true\n", grant("bad", "mallory"));
    refused_alone(|host| host.fresh_file("bad.toml", &text), "invalid", "sudo").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_without_an_end_is_dropped_alone() {
    let text = grant("bad", "mallory");
    let text: Vec<_> = text
        .lines()
        .filter(|line| !line.starts_with("not_after"))
        .collect();
    let text = text.join("\n");
    refused_alone(
        |host| host.fresh_file("bad.toml", &text),
        "invalid",
        "not_after",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_that_ends_before_it_starts_is_dropped_alone() {
    let text = grant("bad", "mallory") + "not_before = 2099-01-01T00:00:00Z\n";
    refused_alone(
        |host| host.fresh_file("bad.toml", &text),
        "invalid",
        "not_before",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_grant_leaves_the_others_of_its_file() {
    let host = Host::new();
    let odd = grant("odd", "bob") + "moon = \"full\"\n";
    host.grants_file(
        "a.toml",
        &[grant("one", "alice"), odd, grant("two", "carol")].concat(),
    );
    let agent = started(&host).await;
    assert_eq!(agent.ids(), ["local:one", "local:two"]);
    agent
        .recorded(
            &[
                "\"rejected\"",
                "\"invalid\"",
                "a.toml",
                "\"local:odd\"",
                "moon",
                "line",
            ],
            LONG,
        )
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_that_breaks_a_file_takes_its_grants_away() {
    let host = Host::new();
    host.grants_file("a.toml", &grant("one", "alice"));
    let agent = started(&host).await;
    assert_eq!(agent.ids(), ["local:one"]);
    // Somebody meant to revoke it, and slipped.
    host.fresh_file(
        "a.toml",
        "#revoked\n[[grant]]\nid = \"one\nuser = \"alice\"\n",
    );
    agent.has(&[], SOON).await;
    agent
        .recorded(&["\"rejected\"", "\"syntax\"", "a.toml"], LONG)
        .await;
    // Mended and broken again: said again.
    host.fresh_file("a.toml", &grant("one", "alice"));
    agent.has(&["local:one"], SOON).await;
    host.fresh_file(
        "a.toml",
        "#revoked\n[[grant]]\nid = \"one\nuser = \"alice\"\n",
    );
    agent.has(&[], SOON).await;
    assert_eq!(agent.count(&["\"rejected\"", "\"syntax\""]), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_half_written_grant_never_counts() {
    let host = Host::new();
    let agent = started(&host).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    // Up to its last line it grants more than it means: on every host, from everywhere.
    let mut file = File::create(host.path("grants.d/a.toml")).unwrap();
    let started = Instant::now();
    for line in grant("one", "alice").lines() {
        writeln!(file, "{line}").unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(agent.ids(), [""; 0], "{:?}", started.elapsed());
    }
    writeln!(file, "hosts = [\"elsewhere\"]").unwrap();
    tokio::time::sleep(SOON).await;
    assert_eq!(agent.ids(), [""; 0]);
    writeln!(file, "# done").unwrap();
    tokio::time::sleep(SOON).await;
    assert_eq!(agent.ids(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_file_is_written_its_old_grants_hold_but_not_for_long() {
    let host = Host::new();
    host.grants_file("a.toml", &grant("one", "alice"));
    let agent = started(&host).await;
    let mut file = OpenOptions::new()
        .append(true)
        .open(host.path("grants.d/a.toml"))
        .unwrap();
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(2) {
        writeln!(file, "#").unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(agent.ids(), ["local:one"], "{:?}", started.elapsed());
    }
    while agent.count(&["\"rejected\"", "keeps changing"]) == 0 {
        assert!(started.elapsed() < LONG);
        writeln!(file, "#").unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(agent.ids(), [""; 0]);
    drop(file);
    agent.has(&["local:one"], LONG).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_in_two_files_counts_in_neither() {
    let host = Host::new();
    host.grants_file("a.toml", &(grant("same", "alice") + &grant("one", "alice")));
    host.grants_file("b.toml", &(grant("same", "mallory") + &grant("two", "bob")));
    let agent = started(&host).await;
    assert_eq!(agent.ids(), ["local:one", "local:two"]);
    agent
        .recorded(
            &[
                "\"rejected\"",
                "\"duplicate\"",
                "a.toml and",
                "b.toml",
                "local:same",
            ],
            LONG,
        )
        .await;
    host.fresh_file("b.toml", &grant("two", "bob"));
    agent
        .has(&["local:one", "local:same", "local:two"], SOON)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_grant_of_the_same_id_counts_as_a_holder() {
    let host = Host::new();
    host.grants_file("a.toml", &grant("same", "alice"));
    host.grants_file("b.toml", &(grant("same", "alice") + "moon = \"full\"\n"));
    let agent = started(&host).await;
    assert_eq!(agent.ids(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_peoples_folders_give_nothing() {
    let host = Host::new();
    host.grants_file("a.toml", &grant("one", "mallory"));
    fs::set_permissions(host.path("grants.d"), Permissions::from_mode(0o777)).unwrap();
    let agent = started(&host).await;
    assert_eq!(agent.ids(), [""; 0]);
    agent
        .recorded(
            &["\"rejected\"", "\"file\"", "grants.d", "written by others"],
            LONG,
        )
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn grants_for_other_hosts_do_not_count_here() {
    let host = Host::new();
    let labelled = grant("labelled", "alice") + "hosts = [\"role=web\"]\n";
    let elsewhere = grant("elsewhere", "alice") + "hosts = [\"db-*\"]\n";
    host.grants_file(
        "a.toml",
        &[labelled, elsewhere, grant("here", "alice")].concat(),
    );
    let agent = started(&host).await;
    assert_eq!(agent.ids(), ["local:here"]);
    agent
        .grants
        .apply_config(host.config("labels = { role = \"web\" }"));
    assert_eq!(agent.ids(), ["local:here", "local:labelled"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_added_is_in_force_and_on_disk_when_add_returns() {
    let host = Host::new();
    host.grants_file("a.toml", &grant("one", "alice"));
    let agent = started(&host).await;
    let id = add(&agent, spec("bob")).unwrap();
    assert!(id.starts_with("local:bob-sudo-"), "{id}");
    assert_eq!(agent.asks("bob"), Reason::Granted);
    assert_eq!(agent.asks("alice"), Reason::Granted);
    let name = format!("state/grants.d/{}.toml", id.strip_prefix("local:").unwrap());
    let mode = fs::metadata(host.path(&name)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    agent
        .recorded(
            &["\"grant\"", "\"added\"", &id, "\"bob\"", "\"root\""],
            LONG,
        )
        .await;
    // The watch, which hears of the new file, sees nothing else than add did.
    tokio::time::sleep(SOON).await;
    assert_eq!(agent.ids(), [id.clone(), "local:one".to_owned()]);
    agent.stop().await;
    let agent = started(&host).await;
    assert_eq!(agent.asks("bob"), Reason::Granted);
    agent.grants.revoke(&id, "root").unwrap();
    assert_eq!(agent.asks("bob"), Reason::NoGrant);
    assert!(!host.path(&name).exists());
    agent
        .recorded(&["\"grant\"", "\"revoked\"", &id], LONG)
        .await;
    agent.stop().await;
    assert_eq!(started(&host).await.ids(), ["local:one"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_field_of_what_is_added_is_kept() {
    let host = Host::new();
    let agent = started(&host).await;
    let start = Timestamp::from_nanosecond(4_000_000_000_250_000_000).unwrap();
    let wanted = GrantSpec {
        id: Some("night".to_owned()),
        group: Some("dba".to_owned()),
        services: vec!["sudo".to_owned(), "su".to_owned()],
        run_as: vec!["postgres".to_owned()],
        for_secs: Some(60),
        not_before: Some(start.to_string()),
        mfa: Some("always".to_owned()),
        reason: Some("INC-4711 \"failover\"".to_owned()),
        ticket: Some("INC-4711".to_owned()),
        source: vec!["10.8.0.0/16".to_owned()],
        ..GrantSpec::default()
    };
    add(&agent, wanted).unwrap();
    agent.stop().await;
    let agent = started(&host).await;
    let rows = agent.grants.rows(&agent.clock.now());
    let [row] = rows.as_slice() else {
        panic!("{rows:?}")
    };
    assert_eq!(
        (row.id.as_str(), row.state.as_str()),
        ("local:night", "later")
    );
    assert_eq!(
        (row.user.as_deref(), row.group.as_deref()),
        (None, Some("dba"))
    );
    assert_eq!(row.services, ["sudo", "su"]);
    assert_eq!(row.run_as, ["postgres"]);
    assert_eq!(row.not_before, Some(start.to_string()));
    let end: Timestamp = row.not_after.parse().unwrap();
    let counted_from_start = (start + SignedDuration::from_secs(60)).as_second();
    assert_eq!(
        end.as_second(),
        counted_from_start + 1,
        "up to a whole second"
    );
    assert_eq!(end.subsec_nanosecond(), 0);
    assert_eq!(row.mfa.as_deref(), Some("always"));
    assert_eq!(row.reason.as_deref(), Some("INC-4711 \"failover\""));
    assert_eq!(row.ticket.as_deref(), Some("INC-4711"));
    let snapshot = agent.grants.snapshot();
    let held = snapshot.all().next().unwrap();
    assert_eq!(held.grant.terms.when.source.len(), 1);
    // Whoever is asked for: members of the group, before it starts too.
    let of = |user: &str, groups: &[String]| {
        agent
            .grants
            .rows_for(user, groups, None, &agent.clock.now())
            .len()
    };
    assert_eq!(
        (
            of("eve", &["dba".to_owned()]),
            of("eve", &[]),
            of("dba", &[])
        ),
        (1, 0, 0)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_a_grant_is_not_added() {
    let host = Host::new();
    host.grants_file(
        "a.toml",
        &(grant("taken", "alice") + "hosts = [\"elsewhere\"]\n"),
    );
    let agent = started(&host).await;
    let past = Timestamp::now() - SignedDuration::from_secs(1);
    let cases: Vec<(&str, GrantSpec)> = vec![
        (
            "taken",
            GrantSpec {
                id: Some("taken".to_owned()),
                ..spec("bob")
            },
        ),
        (
            "id",
            GrantSpec {
                id: Some("../../etc/x".to_owned()),
                ..spec("bob")
            },
        ),
        (
            "id",
            GrantSpec {
                id: Some(String::new()),
                ..spec("bob")
            },
        ),
        (
            "state",
            GrantSpec {
                id: Some(".hidden".to_owned()),
                ..spec("bob")
            },
        ),
        (
            "user or group",
            GrantSpec {
                user: None,
                ..spec("bob")
            },
        ),
        (
            "not both",
            GrantSpec {
                group: Some("dba".to_owned()),
                ..spec("bob")
            },
        ),
        ("user", spec("*")),
        ("user", spec("a\nb")),
        (
            "services",
            GrantSpec {
                services: vec![],
                ..spec("bob")
            },
        ),
        (
            "sudo",
            GrantSpec {
                services: vec!["sudo-i".to_owned()],
                ..spec("bob")
            },
        ),
        (
            "ends",
            GrantSpec {
                for_secs: None,
                ..spec("bob")
            },
        ),
        (
            "ends",
            GrantSpec {
                not_after: Some("2099-01-01T00:00:00Z".to_owned()),
                ..spec("bob")
            },
        ),
        (
            "nothing",
            GrantSpec {
                for_secs: Some(0),
                ..spec("bob")
            },
        ),
        (
            "end of time",
            GrantSpec {
                for_secs: Some(u64::MAX),
                ..spec("bob")
            },
        ),
        (
            "passed",
            GrantSpec {
                for_secs: None,
                not_after: Some(past.to_string()),
                ..spec("bob")
            },
        ),
        (
            "offset",
            GrantSpec {
                for_secs: None,
                not_after: Some("2099-01-01".to_owned()),
                ..spec("bob")
            },
        ),
        (
            "offset",
            GrantSpec {
                not_before: Some("soon".to_owned()),
                ..spec("bob")
            },
        ),
        (
            "mfa",
            GrantSpec {
                mfa: Some("maybe".to_owned()),
                ..spec("bob")
            },
        ),
        (
            "10.8.0.0",
            GrantSpec {
                source: vec!["10.8.0.0/99".to_owned()],
                ..spec("bob")
            },
        ),
    ];
    for (words, spec) in cases {
        let shown = format!("{spec:?}");
        let error = add(&agent, spec).unwrap_err().to_string();
        assert!(error.contains(words), "{error:?} for {shown}");
        assert_eq!(agent.ids(), [""; 0]);
    }
    let files = fs::read_dir(host.path("state/grants.d")).map_or(0, Iterator::count);
    assert_eq!(files, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_adds_at_once_all_count() {
    let host = Host::new();
    let agent = started(&host).await;
    std::thread::scope(|scope| {
        for n in 0..8 {
            let agent = &agent;
            scope.spawn(move || {
                for _ in 0..5 {
                    add(agent, spec(&format!("user-{n}"))).unwrap();
                }
                let same = GrantSpec {
                    id: Some("same".to_owned()),
                    ..spec("bob")
                };
                let _ = add(agent, same);
            });
        }
    });
    assert_eq!(agent.ids().len(), 41);
    tokio::time::sleep(SOON).await;
    assert_eq!(agent.ids().len(), 41);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_minted_grants_can_be_revoked() {
    let host = Host::new();
    host.grants_file("a.toml", &grant("one", "alice"));
    let agent = started(&host).await;
    let error = agent.grants.revoke("local:one", "root").unwrap_err();
    let file = host.path("grants.d/a.toml");
    assert!(
        error.to_string().contains(file.to_str().unwrap()),
        "{error}"
    );
    for id in ["none", "central:one", "../a", "", "local:"] {
        assert!(agent.grants.revoke(id, "root").is_err(), "{id}");
    }
    assert_eq!(agent.ids(), ["local:one"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_local_grants_do_not_count_none_does() {
    let host = Host::new();
    host.grants_file("a.toml", &grant("one", "alice"));
    let agent = started(&host).await;
    let id = add(&agent, spec("bob")).unwrap();
    agent
        .grants
        .apply_config(host.config("local_grants = false"));
    assert_eq!(agent.ids(), [""; 0], "at once");
    assert!(matches!(add(&agent, spec("carol")), Err(LocalError::Off)));
    host.fresh_file("b.toml", &grant("two", "mallory"));
    tokio::time::sleep(SOON).await;
    assert_eq!(agent.ids(), [""; 0]);
    // What is revoked meanwhile does not come back with the rest.
    agent.grants.revoke(&id, "root").unwrap();
    agent.grants.apply_config(host.config(""));
    assert_eq!(agent.ids(), ["local:one", "local:two"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_that_runs_out_is_recorded_once() {
    let host = Host::new();
    let end = Timestamp::now() + SignedDuration::from_secs(3);
    let past = Timestamp::now() - SignedDuration::from_secs(3);
    host.grants_file(
        "a.toml",
        &(grant_until("one", "alice", end) + &grant_until("old", "alice", past)),
    );
    let agent = started(&host).await;
    assert_eq!(agent.asks("alice"), Reason::Granted);
    agent
        .recorded(
            &["\"grant\"", "\"expired\"", "local:one", "\"alice\""],
            LONG,
        )
        .await;
    assert!(Timestamp::now() >= end);
    assert_eq!(agent.asks("alice"), Reason::Expired);
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(agent.count(&["\"expired\""]), 1);
    assert!(
        agent
            .grants
            .rows_for("alice", &[], None, &agent.clock.now())
            .is_empty()
    );
    assert_eq!(agent.grants.rows(&agent.clock.now()).len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_mistakes_are_not_a_thousand_records() {
    let host = Host::new();
    let bad: String = (0..1000).map(|n| grant(&format!("g-{n}"), "*")).collect();
    host.grants_file("a.toml", &bad);
    let agent = started(&host).await;
    agent
        .recorded(&["\"rejected\"", "\"more\"", "and 980 more"], LONG)
        .await;
    assert_eq!(agent.count(&["\"rejected\"", "\"invalid\""]), 20);
}
