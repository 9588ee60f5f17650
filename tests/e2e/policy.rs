//! Central grants: from a real nginx with TLS, signed, checked, in force, stale, ended. Each way of
//! cheating with a bundle has a test by name.

use crate::source::{BUNDLE, Source, grant, keygen, make_ca};

#[test]
fn a_change_at_the_source_is_in_force_within_refresh() {
    let source = Source::new();
    assert!(!source.opens("alice"));
    source.publish(&["alice"]);
    source
        .world
        .wait_for("alice's central grant", || source.opens("alice"));
    assert!(!source.opens("bob"));
    let allowed = source
        .world
        .logged(&["outcome=allow", "user=alice", "phase=session_open"]);
    for fact in [
        "grant=central:for-alice",
        "source=central",
        " seq=1",
        " age=",
    ] {
        assert!(allowed[0].contains(fact), "{fact}: {allowed:?}");
    }
    // Somebody else instead.
    source.publish(&["bob"]);
    source
        .world
        .wait_for("alice's revocation", || !source.opens("alice"));
    assert!(source.opens("bob"));
    assert_eq!(
        source.world.logged(&["event=policy outcome=applied"]).len(),
        2
    );
}

#[test]
fn people_see_the_policy_and_how_fresh_it_is() {
    let source = Source::new();
    let before = source.world.run_as("alice", "jit status --json").json();
    assert_eq!(before["policy"]["state"], "none");
    source.publish(&["alice", "bob"]);
    let report = source.accepted();
    assert_eq!(report["state"], "fresh");
    assert_eq!(report["grants"], 2);
    let status = source.world.run_as("alice", "jit status --json").json();
    assert_eq!(status["policy"]["seq"], report["seq"]);
    assert_eq!(status["grants"][0]["id"], "central:for-alice");
    assert_eq!(status["grants"].as_array().unwrap().len(), 1, "{status}");
}

#[test]
fn rollback_is_refused_also_after_a_restart() {
    let source = Source::new();
    source.publish(&["alice"]);
    source.accepted();
    source.world.must(&format!("cp {BUNDLE} /root/old.json"));
    source.publish(&["bob"]);
    source.accepted();
    source.world.must(&format!("cp /root/old.json {BUNDLE}"));
    source.refused("rollback", false);
    source.world.must("agentctl restart");
    source.refused("rollback", false);
    source.world.must("agentctl kill9 && agentctl start");
    source.refused("rollback", false);
    assert!(source.opens("bob"));
    // Root may mend a runaway number, and it is on record.
    source.world.must("jit policy reset-floor");
    source
        .world
        .wait_for("the old bundle", || source.opens("alice"));
    source
        .world
        .logged(&["event=policy", "outcome=floor_reset", "by=root"]);
}

#[test]
fn the_same_number_with_other_grants_is_refused() {
    let source = Source::new();
    source.sign(&["bob"], "--realm prod --seq 7", BUNDLE);
    source.accepted();
    source.world.must(&format!("rm {BUNDLE}"));
    source.sign(&["alice"], "--realm prod --seq 7", BUNDLE);
    source.refused("reused", false);
}

#[test]
fn a_bundle_for_another_host_is_refused() {
    let source = Source::new();
    source.sign(&["alice"], "--realm prod --host web2", BUNDLE);
    source.refused("host", false);
}

#[test]
fn once_a_bundle_was_for_this_very_host_one_for_all_is_refused() {
    let source = Source::new();
    source.sign(&["bob"], "--realm prod --host web1", BUNDLE);
    source.accepted();
    source.world.must(&format!("rm {BUNDLE}"));
    source.sign(&["alice"], "--realm prod", BUNDLE);
    source.refused("not_specific", false);
    assert!(source.opens("bob"));
}

#[test]
fn a_frozen_source_is_stale_then_ends_central_grants() {
    let source = Source::new();
    source.publish(&["alice"]);
    source.configure(&source.config("refresh = '1s'\nlease = '3s'\nmax_offline = '8s'"));
    // The source goes on serving the same bundle, whose age counts from its signature.
    source.publish(&["alice"]);
    source.accepted();
    assert!(source.opens("alice"));
    let state =
        || source.world.run_as("alice", "jit status --json").json()["policy"]["state"].clone();
    source.world.wait_for("stale", || state() == "stale");
    assert!(source.opens("alice"), "stale grants hold");
    source.world.wait_for("expired", || state() == "expired");
    assert!(!source.opens("alice"), "expired grants do not hold");
    source.world.logged(&["event=policy", "outcome=stale"]);
    source.world.logged(&["event=policy", "outcome=expired"]);
    source
        .world
        .logged(&["outcome=deny", "user=alice", "reason=offline"]);
    // Signed again, it holds again.
    source.publish(&["alice"]);
    source
        .world
        .wait_for("a new signature", || source.opens("alice"));
}

#[test]
fn a_cut_network_ends_central_grants_and_no_restart_revives_them() {
    let source = Source::new();
    source.publish(&["alice"]);
    source.accepted();
    source.world.must("nginx -c /etc/policy/nginx.conf -s stop");
    source.world.must("agentctl restart");
    assert!(
        source.opens("alice"),
        "the bundle on disk holds within max_offline"
    );
    source.configure(&source.config("refresh = '1s'\nlease = '1s'\nmax_offline = '2s'"));
    source
        .world
        .wait_for("the end of max_offline", || !source.opens("alice"));
    source.world.must("agentctl restart");
    assert!(!source.opens("alice"));
    source
        .world
        .logged(&["event=policy", "outcome=rejected", "reason=unreachable"]);
}

#[test]
fn a_grant_may_end_offline_sooner_than_the_agent_says() {
    let source = Source::new();
    let grants = grant("alice") + "max_offline = '3s'\n" + &grant("bob");
    source.world.write("/root/grants.toml", &grants);
    source.world.must(&format!(
        "jit policy sign --key /etc/policy/sign.key --realm prod -o {BUNDLE} /root/grants.toml"
    ));
    source.accepted();
    assert!(source.opens("alice"));
    source
        .world
        .wait_for("the grant's own max_offline", || !source.opens("alice"));
    assert!(source.opens("bob"));
}

#[test]
fn a_truncated_bundle_is_refused() {
    let source = Source::new();
    let whole = source.signed(&["alice"]).to_string();
    source.world.write(BUNDLE, &whole[..whole.len() - 20]);
    source.refused("malformed", false);
    source.world.write(BUNDLE, "");
    assert_eq!(source.refresh().code, 1);
}

#[test]
fn the_head_of_one_bundle_with_the_grants_of_another_is_refused() {
    let source = Source::new();
    let mut bundle = source.signed(&["bob"]);
    bundle["grants"] = source.signed(&["alice"])["grants"].clone();
    source.publish_made(&bundle);
    source.refused("hash", false);
}

#[test]
fn a_bundle_of_the_future_is_refused() {
    let source = Source::new();
    source.world.make_wall();
    source.world.set_wall(3600, true);
    source.world.write("/root/grants.toml", &grant("alice"));
    let sign = |more: &str| {
        source.world.must(&format!(
            "rm -f {BUNDLE}; {} jit policy sign --key /etc/policy/sign.key --realm prod {more} \
                -o {BUNDLE} /root/grants.toml",
            jit_tests::BY_WALL
        ))
    };
    sign("");
    source.refused("seq_ahead", false);
    sign("--seq 1");
    source.refused("issued_ahead", false);
}

#[test]
fn an_endless_body_is_cut_off() {
    let source = Source::new();
    source.publish(&["alice"]);
    source.accepted();
    source.world.must(
        r#"perl -MIO::Socket::INET -e '
            $SIG{PIPE} = "DEFAULT";
            $s = IO::Socket::INET->new(LocalAddr => "127.0.0.1", LocalPort => 8080, Listen => 5) or die;
            while ($c = $s->accept) {
                next if fork;
                print $c "HTTP/1.0 200 OK\r\n\r\n";
                print $c " " x 65536 while 1;
            }' >/dev/null 2>&1 &"#,
    );
    source.configure(&source.config("url = 'https://policy.example/endless'"));
    source
        .world
        .must("test -n \"$(ss -ltn 'sport = 8080' | tail -n +2)\"");
    source.refused("size", true);
    let memory = source.world.must("grep VmHWM /proc/$(agentctl pid)/status");
    let kib: u64 = memory.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(kib < 300 * 1024, "the agent swallowed {memory}");
}

#[test]
fn a_bundle_by_a_key_that_is_not_trusted_is_refused() {
    let source = Source::new();
    keygen(&source.world, "/root/other.key");
    source.sign(&["alice"], "--key /root/other.key --realm prod", BUNDLE);
    source.refused("signature", false);
}

#[test]
fn a_bundle_of_another_realm_is_refused() {
    let source = Source::new();
    source.sign(&["alice"], "--realm test", BUNDLE);
    source.refused("realm", false);
}

#[test]
fn a_signature_or_a_payload_that_was_touched_is_refused() {
    let source = Source::new();
    let bundle = source.signed(&["alice"]);
    let mut other_type = bundle.clone();
    other_type["head"]["payloadType"] = "application/json".into();
    source.publish_made(&other_type);
    source.refused("type", false);
    let payload = bundle["head"]["payload"].as_str().unwrap();
    let other = if payload.starts_with("eyJyZWFsbSI6InBy") {
        "eyJyZWFsbSI6InBz"
    } else {
        "AAAAAAAAAAAAAAAA"
    };
    let mut other_payload = bundle.clone();
    other_payload["head"]["payload"] = payload.replacen(&payload[..16], other, 1).into();
    source.publish_made(&other_payload);
    source.refused("signature", false);
}

#[test]
fn the_carrier_has_to_prove_who_it_is_and_may_not_send_us_elsewhere() {
    let source = Source::new();
    source.unheard();
    source.publish(&["alice"]);
    // A certificate that the configured CA has not signed.
    make_ca(&source.world, "other");
    let config = source.config("");
    source.configure(&config.replace("ca.pem", "other.pem"));
    source.refused("unreachable", false);
    // Another name than the certificate's.
    source.configure(&config.replace("https://policy.example/", "https://localhost/"));
    source.refused("unreachable", false);
    // A redirect is not followed.
    source.configure(&source.config("url = 'https://policy.example/moved'"));
    source.refused("unreachable", false);
    let error = source.refresh().json()["last_error"].to_string();
    assert!(error.contains("redirect"), "{error}");
    // Nor is a proxy of the agent's environment heeded.
    source.world.write("/etc/pam_jit/agent.toml", &config);
    source.world.must("AGENT_ENV='https_proxy=http://127.0.0.1:9 HTTPS_PROXY=http://127.0.0.1:9 ALL_PROXY=http://127.0.0.1:9' agentctl restart");
    source.accepted();
    assert!(source.opens("alice"));
}

#[test]
fn a_key_that_is_trusted_no_more_takes_its_grants_with_it() {
    let source = Source::new();
    source.publish(&["alice"]);
    source.accepted();
    assert!(source.opens("alice"));
    let other = keygen(&source.world, "/root/other.key");
    let config = source.config("").replace(&source.key, &other);
    source.world.write("/etc/pam_jit/agent.toml", &config);
    source
        .world
        .wait_for("the new keys", || !source.opens("alice"));
    source.world.must("agentctl restart");
    assert!(!source.opens("alice"));
}

#[test]
fn a_bundle_edited_on_disk_is_not_believed() {
    let source = Source::new();
    source.publish(&["bob"]);
    source.accepted();
    source
        .world
        .must("nginx -c /etc/policy/nginx.conf -s stop; agentctl stop");
    source
        .world
        .must("sed -i s/bob/alice/g /var/lib/pam_jit/bundle && agentctl start");
    assert!(!source.opens("alice"));
    source
        .world
        .logged(&["event=policy", "outcome=rejected", "reason=hash"]);
}

#[test]
fn a_host_with_a_source_takes_no_local_grants_unless_told() {
    let source = Source::new();
    source.publish(&["alice"]);
    source.accepted();
    let added = source
        .world
        .root("jit grant add --user bob --service sudo --for 1h --reason test");
    assert_eq!(added.code, 1, "{added:?}");
    source.world.must("mkdir -p /etc/pam_jit/grants.d");
    source
        .world
        .write("/etc/pam_jit/grants.d/bob.toml", &grant("bob"));
    source.world.must("agentctl restart");
    assert!(source.opens("alice") && !source.opens("bob"));
    source.configure(
        &source
            .config("")
            .replace("[agent]", "[agent]\nlocal_grants = true"),
    );
    source
        .world
        .wait_for("the local grant", || source.opens("bob"));
    assert!(source.opens("alice"));
}

#[test]
fn a_bundle_may_come_as_a_file() {
    let source = Source::new();
    source.configure(&source.config(&format!("url = 'file://{BUNDLE}'")));
    source.publish(&["alice"]);
    source.world.wait_for("the file", || source.opens("alice"));
    source.publish(&["bob"]);
    source
        .world
        .wait_for("the file's change", || !source.opens("alice"));
}
