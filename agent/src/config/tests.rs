use super::read::parse;
use super::*;
use jit_policy::Factor;

const KEY: &str = "ed25519:11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";

fn good(text: &str) -> Config {
    parse(text, Some("from-system")).unwrap_or_else(|f| panic!("{f:?}"))
}

/// Line, key and message of what is wrong.
fn bad(text: &str) -> (usize, String, String) {
    let fault = parse(text, Some("from-system")).unwrap_err();
    (
        text[..fault.at].matches('\n').count() + 1,
        fault.key,
        fault.message,
    )
}

fn with_policy(line: &str) -> String {
    let mut lines = vec![
        "[agent]".to_owned(),
        "host = \"db-1\"".to_owned(),
        "[policy]".to_owned(),
        "realm = \"prod\"".to_owned(),
        "url = \"https://policy.example.org/v1/bundle\"".to_owned(),
        format!("trusted_keys = [\"{KEY}\"]"),
    ];
    let key = line.split(' ').next().unwrap();
    lines.retain(|l| !l.starts_with(&format!("{key} =")));
    lines.push(line.to_owned());
    lines.join("\n")
}

#[test]
fn an_empty_file_gives_the_defaults() {
    let config = good("");
    assert_eq!(config.agent.host, "from-system");
    assert_eq!(config.agent.exempt_users, ["root"]);
    assert!(config.agent.local_grants);
    assert_eq!(config.policy, None);
    let elevation = ServiceConfig {
        mode: Mode::Enforce,
        grant: true,
        mfa: Factor::Age(900),
    };
    let entry = ServiceConfig {
        mode: Mode::Enforce,
        grant: false,
        mfa: Factor::None,
    };
    assert_eq!(config.service("sudo"), Some(&elevation));
    assert_eq!(config.service("sudo-i"), Some(&elevation));
    assert_eq!(config.service("su-l"), Some(&elevation));
    assert_eq!(config.service("sshd"), Some(&entry));
    assert_eq!(config.service("login"), Some(&entry));
    assert_eq!(config.service("doas"), None);
    assert_eq!(config.mfa.issuer, "pam_jit");
    assert_eq!(config.mfa.self_enroll, SelfEnroll::Never);
    assert!(config.audit.durable);
    assert_eq!(config.audit.format, AuditFormat::Logfmt);
    assert_eq!(config.audit.command, CommandDetail::Name);
}

#[test]
fn the_whole_of_it_is_understood() {
    let config = good(&format!(
        r#"
        [agent]
        host = "db-1"
        labels = {{ env = "prod", role = "db" }}
        exempt_users = ["root", "breakglass"]
        local_grants = true
        [policy]
        realm = "prod"
        url = "https://policy.example.org/v1/bundle"
        trusted_keys = ["{KEY}"]
        ca_file = "/etc/pam_jit/ca.pem"
        refresh = "30s"
        lease = "10m"
        max_offline = "1h30m"
        [service.sudo]
        mode = "observe"
        grant = true
        mfa = "always"
        [service.doas]
        mode = "off"
        grant = false
        mfa = "none"
        [mfa]
        issuer = "Example"
        self_enroll = "first"
        [audit]
        format = "json"
        durable = false
        command = "full"
        "#
    ));
    assert_eq!(config.agent.host, "db-1");
    assert_eq!(config.agent.labels["env"], "prod");
    assert_eq!(config.agent.labels["role"], "db");
    assert_eq!(config.agent.exempt_users, ["root", "breakglass"]);
    assert!(config.agent.local_grants);
    let policy = config.policy.clone().unwrap();
    assert_eq!(policy.realm, "prod");
    assert_eq!(
        policy.url.to_string(),
        "https://policy.example.org/v1/bundle"
    );
    assert_eq!(policy.trusted_keys, [KEY.parse().unwrap()]);
    assert_eq!(
        policy.ca_file.as_deref(),
        Some(Path::new("/etc/pam_jit/ca.pem"))
    );
    assert_eq!(policy.refresh, Duration::from_secs(30));
    assert_eq!(policy.lease, Duration::from_secs(600));
    assert_eq!(policy.max_offline, Duration::from_secs(5400));
    let sudo = ServiceConfig {
        mode: Mode::Observe,
        grant: true,
        mfa: Factor::Always,
    };
    assert_eq!(config.service("sudo-i"), Some(&sudo));
    assert_eq!(config.service("doas").unwrap().mode, Mode::Off);
    assert_eq!(config.service("su").unwrap().mfa, Factor::Age(900));
    assert_eq!(config.mfa.self_enroll, SelfEnroll::First);
    assert_eq!(config.audit.command, CommandDetail::Full);
}

#[test]
fn with_a_policy_source_local_grants_are_off_unless_said_otherwise() {
    assert!(!good(&with_policy("refresh = \"60s\"")).agent.local_grants);
    let text = with_policy("refresh = \"60s\"").replace("host =", "local_grants = true\nhost =");
    assert!(good(&text).agent.local_grants);
}

#[test]
fn unknown_keys_are_errors_with_their_place() {
    let (line, key, message) = bad("[agent]\nhost = \"a\"\nlocal_grant = false\n");
    assert_eq!((line, key.as_str()), (3, "agent.local_grant"));
    assert!(message.contains("local_grants"), "{message}");
    assert_eq!(bad("[agnt]\nhost = \"a\"\n").1, "agnt");
    assert_eq!(bad("host = \"a\"\n").1, "host");
    let text = "[service.sudo]\nmode = \"enforce\"\ngrant = true\nmfa = \"15m\"\nmfaa = 1\n";
    assert_eq!(
        (bad(text).0, bad(text).1.as_str()),
        (5, "service.sudo.mfaa")
    );
    assert_eq!(bad("[mfa]\nself_enrol = \"first\"").1, "mfa.self_enrol");
    assert_eq!(bad("[audit]\nformats = \"json\"").1, "audit.formats");
    assert_eq!(bad(&with_policy("leese = \"1m\"")).1, "policy.leese");
}

#[test]
fn a_present_service_names_all_its_keys() {
    let all = ["mode = \"enforce\"", "grant = true", "mfa = \"15m\""];
    for missing in 0..3 {
        let mut lines = vec!["[mfa]", "[service.sudo]"];
        lines.extend(
            all.iter()
                .enumerate()
                .filter(|(n, _)| *n != missing)
                .map(|(_, l)| *l),
        );
        let (line, key, message) = bad(&lines.join("\n"));
        assert_eq!(line, 2);
        assert_eq!(
            key,
            [
                "service.sudo.mode",
                "service.sudo.grant",
                "service.sudo.mfa"
            ][missing]
        );
        assert!(message.starts_with("missing"), "{message}");
    }
}

#[test]
fn sudo_i_and_su_l_are_to_be_written_by_their_base_names() {
    for (name, base) in [("sudo-i", "sudo"), ("su-l", "su")] {
        let text = format!("[service.{name}]\nmode = \"off\"\ngrant = false\nmfa = \"none\"\n");
        let (_, key, message) = bad(&text);
        assert_eq!(key, format!("service.{name}"));
        assert!(message.contains(&format!("[service.{base}]")), "{message}");
    }
}

#[test]
fn values_of_the_wrong_kind_are_errors() {
    for (text, key) in [
        ("agent = 5", "agent"),
        ("[agent]\nhost = 5", "agent.host"),
        ("[agent]\nlocal_grants = \"yes\"", "agent.local_grants"),
        ("[agent]\nexempt_users = \"root\"", "agent.exempt_users"),
        ("[agent]\nexempt_users = [1]", "agent.exempt_users"),
        ("[agent]\nexempt_users = [\"\"]", "agent.exempt_users"),
        ("[agent]\nlabels = [\"env\"]", "agent.labels"),
        ("[agent]\nlabels = { env = 1 }", "agent.labels.env"),
        ("[agent]\nlabels = { \"a b\" = \"x\" }", "agent.labels.a b"),
        ("[agent]\nlabels = { a = \"x=y\" }", "agent.labels.a"),
        ("[agent]\nhost = \"*\"", "agent.host"),
        ("[agent]\nhost = \"\"", "agent.host"),
        ("[agent]\nhost = \"a b\"", "agent.host"),
        ("[service]\nsudo = true", "service.sudo"),
        (
            "[service.sudo]\nmode = \"on\"\ngrant = true\nmfa = \"15m\"",
            "service.sudo.mode",
        ),
        (
            "[service.sudo]\nmode = \"off\"\ngrant = 1\nmfa = \"15m\"",
            "service.sudo.grant",
        ),
        (
            "[service.sudo]\nmode = \"off\"\ngrant = true\nmfa = \"soon\"",
            "service.sudo.mfa",
        ),
        (
            "[service.sudo]\nmode = \"off\"\ngrant = true\nmfa = 900",
            "service.sudo.mfa",
        ),
        (
            "[service.\"a b\"]\nmode = \"off\"\ngrant = true\nmfa = \"none\"",
            "service.a b",
        ),
        ("[mfa]\nissuer = \"a:b\"", "mfa.issuer"),
        ("[mfa]\nissuer = \"\"", "mfa.issuer"),
        ("[mfa]\nself_enroll = \"always\"", "mfa.self_enroll"),
        ("[audit]\nformat = \"xml\"", "audit.format"),
        ("[audit]\ncommand = true", "audit.command"),
    ] {
        assert_eq!(bad(text).1, key, "{text}");
    }
}

#[test]
fn a_policy_source_must_be_complete_and_sane() {
    for (line, key) in [
        ("url = \"http://policy.example.org/\"", "policy.url"),
        (
            "url = \"https://me:secret@policy.example.org/\"",
            "policy.url",
        ),
        ("url = \"policy.example.org\"", "policy.url"),
        ("url = \"file://elsewhere/bundle.json\"", "policy.url"),
        ("realm = \"\"", "policy.realm"),
        ("trusted_keys = []", "policy.trusted_keys"),
        ("trusted_keys = [\"ed25519:AAAA\"]", "policy.trusted_keys"),
        ("trusted_keys = [\"\"]", "policy.trusted_keys"),
        ("ca_file = \"ca.pem\"", "policy.ca_file"),
        ("refresh = \"0s\"", "policy.refresh"),
        ("refresh = \"2h\"", "policy.refresh"),
        ("refresh = \"often\"", "policy.refresh"),
        ("refresh = 60", "policy.refresh"),
        ("lease = \"2h\"", "policy.lease"),
    ] {
        assert_eq!(bad(&with_policy(line)).1, key, "{line}");
    }
    for missing in ["realm", "url", "trusted_keys"] {
        let text = with_policy("refresh = \"60s\"");
        let text: Vec<_> = text.lines().filter(|l| !l.starts_with(missing)).collect();
        assert_eq!(bad(&text.join("\n")).1, format!("policy.{missing}"));
    }
    let no_host = with_policy("refresh = \"60s\"").replace("host = \"db-1\"", "");
    assert_eq!(
        (bad(&no_host).0, bad(&no_host).1.as_str()),
        (1, "agent.host")
    );
}

#[test]
fn a_file_source_is_an_absolute_path() {
    let policy = good(&with_policy("url = \"file:///srv/bundle.json\""))
        .policy
        .unwrap();
    assert_eq!(
        policy.url,
        SourceUrl::File(PathBuf::from("/srv/bundle.json"))
    );
    assert_eq!(policy.url.to_string(), "file:///srv/bundle.json");
    let text = with_policy("url = \"file:///srv/b\"") + "\nca_file = \"/etc/ca.pem\"";
    assert_eq!(bad(&text).1, "policy.ca_file");
}

#[test]
fn a_query_is_used_but_not_shown() {
    let url = "https://store.example.org/bundle?signature=secret";
    let policy = good(&with_policy(&format!("url = \"{url}\"")))
        .policy
        .unwrap();
    assert_eq!(policy.url.to_string(), "https://store.example.org/bundle?…");
    assert!(matches!(policy.url, SourceUrl::Https(whole) if whole.as_str() == url));
}

#[test]
fn no_host_anywhere_is_an_error_and_not_a_guess() {
    assert_eq!(parse("", None).unwrap_err().key, "agent.host");
    assert!(parse("[agent]\nhost = \"a\"", None).is_ok());
}

#[test]
fn broken_text_is_reported_with_file_line_and_column() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("agent.toml");
    for (text, place) in [
        ("[agent]\nhost = \"é\" x\n", ":2:12: not TOML"),
        ("[agent]\nhost = \"a\"\nhost = \"b\"\n", ":3:1: not TOML"),
        ("[agent", ":1:7: not TOML"),
        (
            "[agent]\nexempt_users = [ \"é\", 5 ]\n",
            ":2:23: agent.exempt_users: must be",
        ),
    ] {
        std::fs::write(&path, text).unwrap();
        let message = Config::load(&path).unwrap_err().to_string();
        assert!(message.starts_with(path.to_str().unwrap()), "{message}");
        assert!(message.contains(place), "{message}");
    }
    std::fs::write(&path, b"[agent]\nhost = \"\xff\"\n").unwrap();
    assert!(
        Config::load(&path)
            .unwrap_err()
            .to_string()
            .contains(":2:9: not UTF-8")
    );
    std::fs::write(&path, vec![b'#'; 2_000_000]).unwrap();
    assert!(matches!(Config::load(&path), Err(ConfigError::File(_))));
}

#[test]
fn lockdown_enforces_and_believes_nobody() {
    let config = Config::lockdown();
    assert_eq!(config.agent.exempt_users, ["root"]);
    assert!(!config.agent.local_grants && config.policy.is_none());
    for name in ["sudo", "su", "sshd", "login"] {
        assert_eq!(config.service(name).unwrap().mode, Mode::Enforce);
    }
    assert!(config.service("sudo").unwrap().grant && config.service("su").unwrap().grant);
}

/// What is installed as `/etc/pam_jit/agent.toml` is silent, and right where its marks are taken away.
#[test]
fn the_installed_file_says_nothing_until_it_is_edited() {
    let installed = include_str!("../../../package/agent.toml");
    assert_eq!(good(installed), good(""));
    let is_toml = |line: &&str| !line.starts_with("# ") && *line != "#";
    let edited: Vec<&str> = installed
        .lines()
        .filter(is_toml)
        .map(|line| line.trim_start_matches('#'))
        .collect();
    let edited = good(&edited.join("\n"));
    for name in ["sudo", "su"] {
        let (now, then) = (edited.service(name).unwrap(), good(""));
        assert_eq!(now.mode, Mode::Observe);
        // Observing and then enforcing must differ in nothing but the mode.
        let enforced = ServiceConfig {
            mode: Mode::Enforce,
            ..*now
        };
        assert_eq!(Some(&enforced), then.service(name));
    }
    assert_eq!(edited.agent.labels.len(), 2);
}

#[test]
fn the_example_is_good_but_for_its_key() {
    let example = include_str!("../../../package/examples/agent.toml");
    let (_, key, _) = bad(example);
    assert_eq!(key, "policy.trusted_keys");
    let config = good(&example.replace("ed25519:YOURS", KEY));
    let mut defaults = good(&with_policy("realm = \"prod\""));
    defaults.agent.labels = config.agent.labels.clone();
    assert_eq!(
        config, defaults,
        "it shows the defaults, where there are any"
    );
}

/// The parser says what it knows when it meets what it does not: that is what the manual must have.
#[test]
fn the_manual_has_every_key() {
    let page = include_str!("../../../docs/man/agent.toml.5");
    let service = "mode = \"off\"\ngrant = true\nmfa = \"none\"\n";
    for (section, text) in [
        ("[agent]", "[agent]\n".to_owned()),
        ("[policy]", with_policy("realm = \"prod\"") + "\n"),
        ("[service.NAME]", format!("[service.sudo]\n{service}")),
        ("[mfa]", "[mfa]\n".to_owned()),
        ("[audit]", "[audit]\n".to_owned()),
    ] {
        let (_, _, message) = bad(&(text + "x = 1\n"));
        let known = message.split_once("known here: ").unwrap().1;
        let heading = format!("\n.Sh {section}\n");
        let part = page.split_once(&heading).unwrap().1;
        let part = part.split("\n.Sh ").next().unwrap();
        for key in known.split(", ") {
            assert!(
                part.contains(&format!("\n.It Ic {key} No = Ar ")),
                "{section}: {key} is not in docs/man/agent.toml.5"
            );
        }
        let described = part.matches("\n.It Ic ").count();
        assert_eq!(known.split(", ").count(), described, "{section}: {known}");
    }
}
