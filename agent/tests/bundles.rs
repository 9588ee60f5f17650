//! Central grants, from a real nginx with TLS: what is accepted, what is refused, what goes on.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]

mod common;

use common::source::{REALM, Source, free_port, json};
use common::{Agent, Host, grant};
use jiff::{SignedDuration, Timestamp};
use jit_policy::Reason;
use jit_policy::bundle::next_seq;
use jit_policy::sign::SigningKey;
use serde_json::Value;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt as _;
use std::process::Command;
use std::time::{Duration, Instant};

/// `refresh` is 1 s in these tests; the rest is what the machine needs for the work itself.
const SOON: Duration = Duration::from_millis(1800);
const LONG: Duration = Duration::from_secs(20);

/// A host that runs with the source's bundle for alice in force.
async fn accepted(source: &Source, more: &str) -> (Host, Agent) {
    source.serve(source.bundle(&grant("one", "alice")));
    let host = Host::new();
    let agent = host.start(&host.config(&source.policy(more))).await;
    agent.has(&["central:one"], LONG).await;
    assert_eq!(agent.asks("alice"), Reason::Granted);
    (host, agent)
}

/// Serves something that must be refused, and sees that it is, for this reason, and that alice's
/// grant stays in force.
async fn refused(source: &Source, agent: &Agent, bytes: impl AsRef<[u8]>, reason: &str) {
    source.serve(bytes);
    agent
        .recorded(&["\"rejected\"", &format!("\"{reason}\"")], LONG)
        .await;
    assert_eq!(agent.ids(), ["central:one"]);
    assert_eq!(agent.asks("mallory"), Reason::NoGrant);
    let report = agent.grants.policy_report(&agent.clock.now()).unwrap();
    assert_eq!(report.state, "fresh");
    assert!(report.last_error.is_some());
    // What is good again is taken again.
    source.serve(source.bundle(&(grant("one", "alice") + &grant("two", "bob"))));
    agent.has(&["central:one", "central:two"], LONG).await;
    let report = agent.grants.policy_report(&agent.clock.now()).unwrap();
    assert_eq!(report.last_error, None);
}

fn edited(bundle: &str, edit: impl FnOnce(&mut Value)) -> String {
    let mut value: Value = serde_json::from_str(bundle).unwrap();
    edit(&mut value);
    value.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_is_applied() {
    let source = Source::new();
    let (_host, agent) = accepted(&source, "").await;
    agent
        .recorded(&["\"policy\"", "\"applied\"", "\"grants\""], LONG)
        .await;
    let report = agent.grants.policy_report(&agent.clock.now()).unwrap();
    assert_eq!((report.state.as_str(), report.grants), ("fresh", 1));
    assert_eq!(report.realm, REALM);
    let provenance = agent.grants.provenance(&agent.clock.now()).unwrap();
    assert_eq!(Some(provenance.seq), report.seq);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_at_the_source_is_in_force_within_refresh() {
    let source = Source::new();
    let (_host, agent) = accepted(&source, "").await;
    for round in 0..3 {
        let id = format!("round-{round}");
        source.serve(source.bundle(&grant(&id, "bob")));
        agent.has(&[&format!("central:{id}")], SOON).await;
    }
    assert_eq!(agent.asks("alice"), Reason::NoGrant);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_bundle_is_not_sent_twice() {
    let source = Source::new();
    let (_host, agent) = accepted(&source, "").await;
    // Until then the server's tag does not tell it from another one of the same second.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    agent.grants.refresh().await.unwrap();
    agent.grants.refresh().await.unwrap();
    assert!(
        source.access_log().contains("\" 304 "),
        "{}",
        source.access_log()
    );
    assert_eq!(agent.count(&["\"applied\""]), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_start_what_is_in_force_is_known_when_it_comes_again() {
    let source = Source::new();
    let bundle = source.bundle(&grant("one", "alice"));
    source.serve(&bundle);
    let host = Host::new();
    let config = host.config(&source.policy(""));
    let agent = host.start(&config).await;
    agent.has(&["central:one"], LONG).await;
    agent.stop().await;
    let kept = || fs::metadata(host.path("state/bundle")).unwrap().ino();
    let before = kept();
    let agent = host.start(&config).await;
    let asked = source.access_log().len();
    agent.grants.refresh().await.unwrap();
    assert!(source.access_log().len() > asked);
    assert_eq!(agent.count(&["\"applied\""]), 2, "once at each start");
    assert_eq!(kept(), before);
    // The head in force around other grants.
    let mixed = bundle.replace("alice", "mallory");
    refused(&source, &agent, mixed, "hash").await;
}

/// How keys are changed: everybody trusts both, the source signs with the new one, nobody trusts the
/// old one any more.
#[tokio::test(flavor = "multi_thread")]
async fn the_same_head_signed_by_another_key_is_kept() {
    let mut source = Source::new();
    let grants = grant("one", "alice");
    let mut facts = None;
    source.serve(source.bundle_of(&grants, |made| facts = Some(made.clone())));
    let old = std::mem::replace(&mut source.key, SigningKey::generate().unwrap());
    let both = format!(
        "trusted_keys = [\"{}\", \"{}\"]",
        old.public(),
        source.key.public()
    );
    let host = Host::new();
    let agent = host.start(&host.config(&source.policy(&both))).await;
    agent.has(&["central:one"], LONG).await;
    source.serve(source.bundle_of(&grants, |made| *made = facts.unwrap()));
    agent.grants.refresh().await.unwrap();
    source.down();
    agent.grants.apply_config(host.config(&source.policy("")));
    assert_eq!(agent.ids(), ["central:one"], "without the source");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_bundles_of_one_second_and_size_are_told_apart() {
    let source = Source::new();
    let (_host, agent) = accepted(&source, "").await;
    for user in ["bobby", "carol", "david", "emily", "felix", "gwyne"] {
        source.serve(source.bundle(&grant("one", user)));
        agent.grants.refresh().await.unwrap();
        assert_eq!(agent.asks(user), Reason::Granted, "{}", source.access_log());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tampered_grants_are_refused() {
    let source = Source::new();
    let (_host, agent) = accepted(&source, "").await;
    let bundle = source
        .bundle(&grant("one", "alice"))
        .replace("alice", "mallory");
    refused(&source, &agent, bundle, "hash").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tampered_head_is_refused() {
    let source = Source::new();
    let (_host, agent) = accepted(&source, "").await;
    let bundle = edited(&source.bundle(&grant("one", "mallory")), |bundle| {
        let payload = bundle["head"]["payload"].as_str().unwrap();
        // The last character may hold bits that do not count.
        let other = if payload.starts_with('e') { 'f' } else { 'e' };
        bundle["head"]["payload"] = format!("{other}{}", &payload[1..]).into();
    });
    refused(&source, &agent, bundle, "signature").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rollback_is_refused_also_after_a_restart() {
    let source = Source::new();
    let old = source.bundle(&grant("old", "mallory"));
    let (host, agent) = accepted(&source, "").await;
    refused(&source, &agent, &old, "rollback").await;
    agent.stop().await;
    source.serve(&old);
    let agent = host.start(&host.config(&source.policy(""))).await;
    assert_eq!(
        agent.ids(),
        ["central:one", "central:two"],
        "from disk, before any fetch"
    );
    let report = agent.grants.refresh().await.unwrap();
    assert!(report.last_error.unwrap().contains("seq"));
    assert_eq!(agent.ids(), ["central:one", "central:two"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_grants_under_the_same_number_are_refused() {
    let source = Source::new();
    let (_host, agent) = accepted(&source, "").await;
    let seq = agent.grants.provenance(&agent.clock.now()).unwrap().seq;
    let bundle = source.bundle_of(&grant("one", "mallory"), |facts| facts.seq = seq);
    refused(&source, &agent, bundle, "reused").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replay_for_another_host_is_refused() {
    let source = Source::new();
    let (_host, agent) = accepted(&source, "").await;
    let bundle = source.bundle_of(&grant("one", "mallory"), |f| f.host = "web-2".to_owned());
    refused(&source, &agent, bundle, "host").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_one_of_its_own_a_bundle_for_every_host_is_refused() {
    let source = Source::new();
    let own = |grants: &str| source.bundle_of(grants, |facts| facts.host = "web-1".to_owned());
    source.serve(own(&grant("one", "alice")));
    let host = Host::new();
    let agent = host.start(&host.config(&source.policy(""))).await;
    agent.has(&["central:one"], LONG).await;
    source.serve(source.bundle(&grant("one", "mallory")));
    agent
        .recorded(&["\"rejected\"", "\"not_specific\""], LONG)
        .await;
    assert_eq!(agent.asks("alice"), Reason::Granted);
    source.serve(own(&grant("two", "alice")));
    agent.has(&["central:two"], LONG).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_source_grows_stale_and_then_its_grants_end() {
    let source = Source::new();
    let (_host, agent) = accepted(&source, "lease = \"2s\"\nmax_offline = \"4s\"").await;
    let state = || {
        agent
            .grants
            .policy_report(&agent.clock.now())
            .unwrap()
            .state
    };
    let frozen = Instant::now();
    assert_eq!(state(), "fresh");
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(
        (state().as_str(), agent.asks("alice")),
        ("stale", Reason::Granted)
    );
    tokio::time::sleep(Duration::from_millis(2000)).await;
    assert_eq!(
        (state().as_str(), agent.asks("alice")),
        ("expired", Reason::Offline)
    );
    agent.recorded(&["\"policy\"", "\"expired\""], LONG).await;
    assert!(frozen.elapsed() < LONG);
    // All the while it answered, and well.
    let report = agent.grants.refresh().await.unwrap();
    assert_eq!(
        (report.state.as_str(), report.last_error),
        ("expired", None)
    );
    source.serve(source.bundle(&grant("one", "alice")));
    agent.grants.refresh().await.unwrap();
    assert_eq!(
        (state().as_str(), agent.asks("alice")),
        ("fresh", Reason::Granted)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_that_ends_stops_holding() {
    let source = Source::new();
    source.serve(source.bundle_of(&grant("one", "alice"), |facts| {
        facts.expires_at = facts.issued_at + SignedDuration::from_secs(4);
    }));
    let host = Host::new();
    let agent = host.start(&host.config(&source.policy(""))).await;
    agent.has(&["central:one"], LONG).await;
    assert_eq!(agent.asks("alice"), Reason::Granted);
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(agent.asks("alice"), Reason::Offline);
    let report = agent.grants.policy_report(&agent.clock.now()).unwrap();
    assert_eq!(report.state, "expired");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ended_bundle_is_refused() {
    let source = Source::new();
    let (_host, agent) = accepted(&source, "").await;
    let bundle = source.bundle_of(&grant("one", "mallory"), |facts| {
        facts.expires_at = facts.issued_at + SignedDuration::from_millis(1);
    });
    refused(&source, &agent, bundle, "expired").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn truncation_is_refused() {
    let source = Source::new();
    let (_host, agent) = accepted(&source, "").await;
    let bundle = source.bundle(&grant("one", "mallory"));
    refused(&source, &agent, &bundle[..bundle.len() / 2], "malformed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_cut_off_changes_nothing() {
    let mut source = Source::new();
    let (_host, agent) = accepted(&source, "").await;
    let bundle = source.bundle(&grant("one", "mallory"));
    let port = proxied(move |mut peer| {
        let half = &bundle[..bundle.len() / 2];
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
            bundle.len()
        );
        let _ = peer.write_all(head.as_bytes());
        let _ = peer.write_all(half.as_bytes());
    });
    source.up_with("server", &pass(port));
    agent
        .recorded(&["\"rejected\"", "\"unreachable\""], LONG)
        .await;
    assert_eq!(agent.asks("alice"), Reason::Granted);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_head_of_one_with_the_grants_of_another_is_refused() {
    let source = Source::new();
    let (_host, agent) = accepted(&source, "").await;
    let mallory: Value = serde_json::from_str(&source.bundle(&grant("one", "mallory"))).unwrap();
    let mixed = edited(&source.bundle(&grant("one", "alice")), |bundle| {
        bundle["grants"] = mallory["grants"].clone();
    });
    refused(&source, &agent, mixed, "hash").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_date_in_the_future_is_refused() {
    let source = Source::new();
    let (_host, agent) = accepted(&source, "").await;
    let future = Timestamp::now() + SignedDuration::from_mins(11);
    let bundle = source.bundle_of(&grant("one", "mallory"), |facts| facts.issued_at = future);
    refused(&source, &agent, bundle, "issued_ahead").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_from_the_future_is_refused() {
    let source = Source::new();
    let (_host, agent) = accepted(&source, "").await;
    let future = Timestamp::now() + SignedDuration::from_mins(11);
    let bundle = source.bundle_of(&grant("one", "mallory"), |facts| {
        facts.seq = next_seq(None, future)
    });
    refused(&source, &agent, bundle, "seq_ahead").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_is_refused() {
    let mut source = Source::new();
    let (_host, agent) = accepted(&source, "").await;
    let right = std::mem::replace(&mut source.key, SigningKey::generate().unwrap());
    let bundle = source.bundle(&grant("one", "mallory"));
    source.key = right;
    refused(&source, &agent, bundle, "signature").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_realm_is_refused() {
    let source = Source::new();
    let (_host, agent) = accepted(&source, "").await;
    let bundle = source.bundle_of(&grant("one", "mallory"), |f| f.realm = "test".to_owned());
    refused(&source, &agent, bundle, "realm").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_odd_grant_does_not_hold_up_the_others() {
    let source = Source::new();
    // `seal` refuses to sign such grants; a newer source may know more conditions than this host.
    let odd = json(&(grant("one", "alice") + &grant("odd", "bob")))
        .replace("\"id\":\"odd\"", "\"id\":\"odd\",\"moon\":\"full\"");
    let bundle = source.bundle(&grant("one", "alice"));
    let bundle = resealed(&source, &bundle, &odd);
    source.serve(bundle);
    let host = Host::new();
    let agent = host.start(&host.config(&source.policy(""))).await;
    agent.has(&["central:one"], LONG).await;
    agent
        .recorded(
            &["\"rejected\"", "\"invalid\"", "\"central:odd\"", "moon"],
            LONG,
        )
        .await;
}

/// A bundle with other grants, signed by hand.
fn resealed(source: &Source, bundle: &str, grants: &str) -> String {
    use aws_lc_rs::digest::{SHA256, digest};
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    edited(bundle, |bundle| {
        let payload = STANDARD
            .decode(bundle["head"]["payload"].as_str().unwrap())
            .unwrap();
        let mut head: Value = serde_json::from_slice(&payload).unwrap();
        let hash = digest(&SHA256, grants.as_bytes());
        let hex: String = hash
            .as_ref()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        head["grants_sha256"] = hex.into();
        let payload = head.to_string();
        let kind = bundle["head"]["payloadType"].as_str().unwrap().to_owned();
        let signed =
            format!("DSSEv1 {} {kind} {} {payload}", kind.len(), payload.len()).into_bytes();
        bundle["head"]["payload"] = STANDARD.encode(&payload).into();
        let signature = STANDARD.encode(source.key.sign(&signed).unwrap());
        bundle["head"]["signatures"] = serde_json::json!([{ "sig": signature }]);
        bundle["grants"] = grants.into();
    })
}

/// Answers every connection in its own way; nginx passes the answers on.
fn proxied(answer: impl Fn(std::net::TcpStream) + Send + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for peer in listener.incoming() {
            let mut peer = peer.unwrap();
            let _ = peer.read(&mut [0; 4096]);
            answer(peer);
        }
    });
    port
}

fn pass(port: u16) -> String {
    format!("location = /bundle {{ proxy_pass http://127.0.0.1:{port}; proxy_buffering off; }}")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endless_body_is_cut_off_at_the_limit() {
    let mut source = Source::new();
    let (_host, agent) = accepted(&source, "").await;
    let port = proxied(|mut peer| {
        let _ = peer.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        while peer.write_all(&[b' '; 65536]).is_ok() {}
    });
    source.up_with("server", &pass(port));
    agent.recorded(&["\"rejected\"", "\"size\""], LONG).await;
    assert_eq!(agent.asks("alice"), Reason::Granted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_announces_too_much_is_not_read() {
    let mut source = Source::new();
    let (_host, agent) = accepted(&source, "").await;
    let port = proxied(|mut peer| {
        let _ = peer.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4294967296\r\n\r\n");
        std::thread::sleep(Duration::from_secs(60));
    });
    source.up_with("server", &pass(port));
    agent.recorded(&["\"rejected\"", "\"size\""], LONG).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trickling_body_is_given_up() {
    let mut source = Source::new();
    let (_host, agent) = accepted(&source, "").await;
    let port = proxied(|mut peer| {
        let _ = peer.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        while peer.write_all(b" ").is_ok() {
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    source.up_with("server", &pass(port));
    agent
        .recorded(
            &["\"rejected\"", "\"unreachable\"", "did not arrive whole"],
            LONG,
        )
        .await;
    assert_eq!(agent.asks("alice"), Reason::Granted);
    source.up();
    source.serve(source.bundle(&grant("two", "alice")));
    agent.has(&["central:two"], LONG).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_not_followed() {
    let mut source = Source::new();
    let (_host, agent) = accepted(&source, "").await;
    fs::write(
        source.path("www/other"),
        source.bundle(&grant("one", "mallory")),
    )
    .unwrap();
    let location = format!(
        "location = /bundle {{ return 302 https://127.0.0.1:{}/other; }}",
        source.port
    );
    source.up_with("server", &location);
    agent
        .recorded(&["\"rejected\"", "redirects are not followed"], LONG)
        .await;
    assert_eq!(agent.asks("alice"), Reason::Granted);
    assert!(!source.access_log().contains("/other"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_bundle_is_no_empty_one() {
    let source = Source::new();
    let (_host, agent) = accepted(&source, "").await;
    fs::remove_file(source.path("www/bundle")).unwrap();
    agent.recorded(&["\"rejected\"", "404"], LONG).await;
    assert_eq!(agent.asks("alice"), Reason::Granted);
    source.serve("");
    agent
        .recorded(&["\"rejected\"", "\"malformed\""], LONG)
        .await;
    assert_eq!(agent.asks("alice"), Reason::Granted);
}

/// Runs a test of this file again, with these variables.
fn rerun(test: &str, variables: &[(&str, &str)]) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test])
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}"
    );
}

#[test]
fn proxy_variables_are_not_heeded() {
    let proxy = format!("http://127.0.0.1:{}", free_port());
    let names = [
        "HTTPS_PROXY",
        "https_proxy",
        "ALL_PROXY",
        "all_proxy",
        "HTTP_PROXY",
    ];
    rerun(
        "a_bundle_is_applied",
        &names.map(|name| (name, proxy.as_str())),
    );
}

async fn distrusted(source: Source, words: &str) {
    source.serve(source.bundle(&grant("one", "mallory")));
    let host = Host::new();
    let agent = host.start(&host.config(&source.policy(""))).await;
    agent
        .recorded(&["\"rejected\"", "\"unreachable\"", words], LONG)
        .await;
    assert_eq!(agent.ids(), [""; 0]);
    assert!(
        !source.access_log().contains("/bundle"),
        "asked before it was trusted"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_another_authority_is_refused() {
    let mut source = Source::new();
    source.up_with("other", "");
    distrusted(source, "UnknownIssuer").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_certificate_is_refused() {
    let mut source = Source::new();
    source.up_with("expired", "");
    distrusted(source, "xpired").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_for_another_name_is_refused() {
    let mut source = Source::new();
    source.up_with("elsewhere", "");
    distrusted(source, "not valid for").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_ca_file_a_private_authority_is_not_trusted() {
    let source = Source::new();
    source.serve(source.bundle(&grant("one", "mallory")));
    let host = Host::new();
    let policy = source.policy("");
    let lines: Vec<_> = policy
        .lines()
        .filter(|line| !line.starts_with("ca_file"))
        .collect();
    let agent = host.start(&host.config(&lines.join("\n"))).await;
    agent
        .recorded(&["\"rejected\"", "\"unreachable\""], LONG)
        .await;
    assert!(!source.access_log().contains("/bundle"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_is_down_changes_nothing_until_it_is_up() {
    let mut source = Source::new();
    let (_host, agent) = accepted(&source, "").await;
    source.down();
    agent
        .recorded(&["\"rejected\"", "\"unreachable\""], LONG)
        .await;
    agent.grants.refresh().await.unwrap();
    agent.grants.refresh().await.unwrap();
    assert_eq!(agent.asks("alice"), Reason::Granted);
    assert_eq!(agent.count(&["\"rejected\""]), 1, "an outage is one record");
    source.up();
    source.serve(source.bundle(&grant("two", "alice")));
    agent.has(&["central:two"], LONG).await;
    assert_eq!(agent.grants.refresh().await.unwrap().last_error, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_can_be_the_source() {
    let source = Source::new();
    let path = source.path("www/bundle");
    source.serve(source.bundle(&grant("one", "alice")));
    let host = Host::new();
    let url = format!("file://{}", path.display());
    let agent = host.start(&host.config(&source.policy_at(&url, ""))).await;
    agent.has(&["central:one"], LONG).await;
    source.serve(source.bundle(&grant("two", "alice")));
    agent.has(&["central:two"], SOON).await;
    fs::remove_file(&path).unwrap();
    agent
        .recorded(&["\"rejected\"", "\"unreachable\""], LONG)
        .await;
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let report = agent.grants.refresh().await.unwrap();
    assert!(report.last_error.unwrap().contains("not a regular file"));
    fs::remove_file(&path).unwrap();
    fs::File::create(&path)
        .unwrap()
        .set_len(65 * 1024 * 1024)
        .unwrap();
    agent.recorded(&["\"rejected\"", "\"size\""], LONG).await;
    assert_eq!(agent.asks("alice"), Reason::Granted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_outlives_the_agent_and_its_source() {
    let mut source = Source::new();
    let (host, agent) = accepted(&source, "").await;
    agent.stop().await;
    source.down();
    let agent = host.start(&host.config(&source.policy(""))).await;
    assert_eq!(agent.ids(), ["central:one"], "at once");
    assert_eq!(agent.asks("alice"), Reason::Granted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_that_time_refused_at_the_start_is_tried_again_without_a_source() {
    let mut source = Source::new();
    let (host, agent) = accepted(&source, "").await;
    agent.stop().await;
    source.down();
    // As after a start with the clock some minutes slow.
    let ahead = Timestamp::now() + SignedDuration::from_secs(10 * 60 + 4);
    let bundle = source.bundle_of(&grant("two", "alice"), |facts| facts.issued_at = ahead);
    let bundle: serde_json::Value = serde_json::from_str(&bundle).unwrap();
    let kept = format!("{}\n{}", bundle["head"], bundle["grants"].as_str().unwrap());
    fs::write(host.path("state/bundle"), kept).unwrap();
    let agent = host.start(&host.config(&source.policy(""))).await;
    assert_eq!(agent.ids(), [""; 0]);
    agent
        .recorded(&["\"rejected\"", "\"issued_ahead\""], LONG)
        .await;
    agent.has(&["central:two"], LONG).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_that_was_edited_on_disk_does_not_hold() {
    let mut source = Source::new();
    let (host, agent) = accepted(&source, "").await;
    agent.stop().await;
    source.down();
    let path = host.path("state/bundle");
    let text = fs::read_to_string(&path)
        .unwrap()
        .replace("alice", "mallory");
    fs::write(&path, text).unwrap();
    let agent = host.start(&host.config(&source.policy(""))).await;
    assert_eq!(agent.ids(), [""; 0]);
    agent.recorded(&["\"rejected\"", "\"hash\""], LONG).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_trusted_no_more_takes_its_grants_along() {
    let mut source = Source::new();
    let (host, agent) = accepted(&source, "").await;
    let old = source.policy("");
    let old_key = std::mem::replace(&mut source.key, SigningKey::generate().unwrap());
    agent.grants.apply_config(host.config(&source.policy("")));
    assert_eq!(agent.ids(), [""; 0], "at once");
    agent
        .recorded(&["\"rejected\"", "\"signature\""], LONG)
        .await;
    source.serve(source.bundle(&grant("two", "alice")));
    agent.has(&["central:two"], LONG).await;
    // And the old key's bundle, though good again to the letter, is below the floor by now.
    source.key = old_key;
    agent.grants.apply_config(host.config(&old));
    assert_eq!(agent.ids(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_configuration_is_held_against_the_bundle_on_disk() {
    let mut source = Source::new();
    source.serve(source.bundle(&format!(
        "{}hosts = [\"role=web\"]\n{}",
        grant("web", "alice"),
        grant("any", "alice")
    )));
    let host = Host::new();
    let agent = host.start(&host.config(&source.policy(""))).await;
    agent.has(&["central:any"], LONG).await;
    source.down();
    let labelled = format!("labels = {{ role = \"web\" }}\n{}", source.policy(""));
    agent.grants.apply_config(host.config(&labelled));
    assert_eq!(
        agent.ids(),
        ["central:any", "central:web"],
        "without the source"
    );
    agent
        .grants
        .apply_config(host.config(&source.policy("realm = \"test\"")));
    assert_eq!(agent.ids(), [""; 0]);
    agent.grants.apply_config(host.config(&labelled));
    assert_eq!(agent.ids(), ["central:any", "central:web"]);
    agent.grants.apply_config(host.config(""));
    assert_eq!(agent.ids(), [""; 0]);
    assert!(agent.grants.policy_report(&agent.clock.now()).is_none());
    assert!(agent.grants.refresh().await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn root_can_reset_the_floor() {
    let source = Source::new();
    let old = source.bundle(&grant("old", "alice"));
    let (host, agent) = accepted(&source, "").await;
    source.serve(&old);
    let report = agent.grants.refresh().await.unwrap();
    assert!(report.last_error.is_some());
    agent.grants.reset_floor("root").unwrap();
    agent
        .recorded(&["\"policy\"", "\"floor_reset\"", "\"root\""], LONG)
        .await;
    agent.has(&["central:old"], LONG).await;
    agent.stop().await;
    let agent = host.start(&host.config(&source.policy(""))).await;
    assert_eq!(agent.ids(), ["central:old"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_floor_stays_down_over_a_restart() {
    let mut source = Source::new();
    let old = source.bundle(&grant("old", "alice"));
    let (host, agent) = accepted(&source, "").await;
    source.down();
    agent.grants.reset_floor("root").unwrap();
    agent.stop().await;
    let agent = host.start(&host.config(&source.policy(""))).await;
    assert_eq!(agent.ids(), ["central:one"], "what was in force still is");
    source.up();
    source.serve(&old);
    agent.has(&["central:old"], LONG).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_agent_may_leave_the_bundle_ahead_of_the_floor() {
    let mut source = Source::new();
    let old = source.bundle(&grant("old", "mallory"));
    let (host, agent) = accepted(&source, "").await;
    let floors = fs::read(host.path("state/floors")).unwrap();
    source.serve(source.bundle(&grant("two", "alice")));
    agent.has(&["central:two"], LONG).await;
    let middle = agent.grants.provenance(&agent.clock.now()).unwrap().seq - 1;
    agent.stop().await;
    source.down();
    fs::write(host.path("state/floors"), floors).unwrap();
    let agent = host.start(&host.config(&source.policy(""))).await;
    assert_eq!(agent.ids(), ["central:two"]);
    // The floor came up with it.
    source.up();
    for bundle in [
        old,
        source.bundle_of(&grant("m", "mallory"), |facts| facts.seq = middle),
    ] {
        source.serve(bundle);
        let report = agent.grants.refresh().await.unwrap();
        assert!(report.last_error.is_some());
        assert_eq!(agent.ids(), ["central:two"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_floors_refuse_everything_until_root_resets_them() {
    let source = Source::new();
    let (host, agent) = accepted(&source, "").await;
    agent.stop().await;
    fs::write(host.path("state/floors"), "{").unwrap();
    let agent = host.start(&host.config(&source.policy(""))).await;
    assert_eq!(agent.ids(), [""; 0]);
    agent
        .recorded(&["\"rejected\"", "\"state\"", "reset-floor"], LONG)
        .await;
    agent.grants.reset_floor("root").unwrap();
    agent.has(&["central:one"], LONG).await;
}

/// A file system of its own on the state folder.
struct Tiny(std::path::PathBuf);

impl Tiny {
    fn on(path: std::path::PathBuf, size: &str) -> Self {
        fs::create_dir(&path).unwrap();
        let options = format!("size={size},mode=0700");
        let status = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(&path)
            .status();
        assert!(status.unwrap().success());
        Self(path)
    }
}

impl Drop for Tiny {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_that_does_not_fit_on_the_disk_does_not_count() {
    let source = Source::new();
    source.serve(source.bundle(&grant("one", "alice")));
    let host = Host::new();
    let _tiny = Tiny::on(host.path("state"), "64k");
    let agent = host.start(&host.config(&source.policy(""))).await;
    agent.has(&["central:one"], LONG).await;
    let many: String = (0..1000)
        .map(|n| grant(&format!("many-{n}"), "mallory"))
        .collect();
    refused(&source, &agent, source.bundle(&many), "state").await;
}
