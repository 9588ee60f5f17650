//! The agent: does it answer, and from what?

use std::path::Path;
use std::time::{Duration, Instant};

use jit_protocol::message::{
    About, CheckAsk, ClockReport, Plain, PolicyReport, Reply, Request, StatusReport, V1,
};

use super::host::{Finding, Host};
use super::kinds;
use crate::agent::{Door, Talk, unexpected};
use crate::failure::{Exit, Failure};
use crate::pam::status::Service;
use crate::pam::way_in::accounts;
use crate::text::span;

/// The module's own deadline: who answers later does not answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// An answer from memory takes a millisecond; a machine in trouble some more.
const SLOW: Duration = Duration::from_millis(500);

/// Where the agent may be installed.
const PROGRAMS: [&str; 2] = ["usr/sbin/jit-agentd", "usr/local/sbin/jit-agentd"];

/// Everything about the agent.
pub(super) fn look(
    host: &Host,
    socket: Option<&Path>,
    root: bool,
    gated: &[Service],
) -> Vec<Finding> {
    let mut found = Vec::new();
    found.extend(configuration(host));
    let from = Instant::now();
    let status = match ask(Door::Own, socket, &Request::Status(Plain::default())) {
        Ok(Reply::Status(report)) => report,
        Ok(other) => return with(found, down(&unexpected(&other))),
        Err(failure) => return with(found, down(&failure)),
    };
    let took = from.elapsed();
    if took > SLOW {
        let what = format!("the agent took {} ms to answer", took.as_millis());
        let mend = "look at the machine's load and disk (uptime, iostat), and at the agent's log";
        found.push(Finding::of(&kinds::AGENT_SLOW, what, mend));
    }
    found.extend(of_status(&status));
    if !root {
        host.not_seen(
            "the clock, people's factors and services' sections, for which one has to be root",
        );
        return found;
    }
    match ask(Door::Root, socket, &Request::ClockShow(Plain::default())) {
        Ok(Reply::Clock(report)) => found.extend(clock(&report)),
        Ok(other) => found.push(down(&unexpected(&other))),
        Err(failure) => found.push(down(&failure)),
    }
    found.extend(enrolled(host, socket, gated));
    for service in gated {
        found.extend(section(socket, &service.service));
    }
    found
}

fn with(mut found: Vec<Finding>, last: Finding) -> Vec<Finding> {
    found.push(last);
    found
}

fn ask(door: Door, socket: Option<&Path>, request: &Request) -> Result<Reply, Failure> {
    Talk::begin_within(PATIENCE, door, socket, request)?.next()
}

fn down(failure: &Failure) -> Finding {
    let mend = "systemctl start jit-agentd, then journalctl -u jit-agentd (without systemd: start jit-agentd and read what it says)";
    Finding::of(&kinds::AGENT_DOWN, failure.message.clone(), mend)
}

/// What the agent itself would say to its configuration.
fn configuration(host: &Host) -> Option<Finding> {
    if !host.has("etc/pam_jit/agent.toml") {
        return None;
    }
    let config = host.path("etc/pam_jit/agent.toml").display().to_string();
    let said = PROGRAMS
        .iter()
        .find_map(|program| host.ask(program, &["--check", "--config", &config]));
    match said {
        Some(said) if said.trim() == "ok" => None,
        Some(said) => {
            let what = said.trim().trim_start_matches("jit-agentd: ").to_owned();
            Some(Finding::of(
                &kinds::CONFIG_BROKEN,
                what,
                "mend the line; the agent reads it again by itself",
            ))
        }
        None => {
            host.not_seen("whether agent.toml parses: jit-agentd is not in /usr/sbin or /usr/local/sbin, or is not root's");
            None
        }
    }
}

fn of_status(report: &StatusReport) -> Vec<Finding> {
    let mut found = Vec::new();
    if report.agent != env!("CARGO_PKG_VERSION") {
        let what = format!(
            "the agent is version {}, jit is {}",
            report.agent,
            env!("CARGO_PKG_VERSION")
        );
        found.push(Finding::of(
            &kinds::AGENT_VERSION,
            what,
            "systemctl restart jit-agentd",
        ));
    }
    found.extend(report.policy.as_ref().and_then(policy));
    found
}

fn policy(report: &PolicyReport) -> Option<Finding> {
    let kind = match report.state.as_str() {
        "fresh" => return None,
        "stale" => &kinds::POLICY_STALE,
        "none" => &kinds::POLICY_NONE,
        _ => &kinds::POLICY_EXPIRED,
    };
    let age = report
        .age_secs
        .map(|secs| format!(", signed {} ago", span(secs)));
    let error = report
        .last_error
        .as_ref()
        .map(|error| format!("; the last fetch: {error}"));
    let what = format!(
        "the policy of realm {} from {} is {}{}{}",
        report.realm,
        report.url,
        report.state,
        age.unwrap_or_default(),
        error.unwrap_or_default()
    );
    let mend = "jit policy refresh says what is wrong; a bundle signed by hand has to be signed again (jit policy sign)";
    Some(Finding::of(kind, what, mend))
}

fn clock(report: &ClockReport) -> Vec<Finding> {
    let mut found = Vec::new();
    let words = report
        .trouble
        .clone()
        .unwrap_or_else(|| "the clock is not trusted yet".to_owned());
    let accept = "wait for time synchronisation, or set the clock right and: jit clock accept";
    if !report.settled {
        found.push(Finding::of(&kinds::CLOCK_UNSETTLED, words, accept));
    } else if report.trouble.is_some() {
        found.push(Finding::of(&kinds::CLOCK_APART, words, accept));
    }
    if !report.synchronised {
        let what = "the kernel says that the clock is not synchronised";
        let mend = "run a time service (chrony, systemd-timesyncd) and see that it reaches its servers: timedatectl";
        found.push(Finding::of(&kinds::CLOCK_UNSYNCHRONISED, what, mend));
    }
    found
}

/// Whether anybody has a factor, where one is asked for.
fn enrolled(host: &Host, socket: Option<&Path>, gated: &[Service]) -> Option<Finding> {
    let elevates =
        |service: &Service| ["sudo", "sudo-i", "su", "su-l"].contains(&service.service.as_str());
    let folder = host.path("var/lib/pam_jit/factors");
    let names: Vec<String> = match folder.read_dir() {
        Ok(entries) => {
            let names = entries.flatten().map(|entry| entry.file_name());
            names
                .map(|name| name.to_string_lossy().into_owned())
                .collect()
        }
        // It is made for the first of them.
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(e) => {
            host.not_seen(format!("{}: {e}", folder.display()));
            return None;
        }
    };
    let known = accounts(&host.root).unwrap_or_default();
    let live = |name: &String| {
        let uid = name
            .strip_suffix(".json")
            .and_then(|uid| uid.parse::<u32>().ok());
        let Some(uid) = uid else { return false };
        // Somebody out of a directory is taken to have one.
        let account = known.iter().find(|account| account.uid == uid);
        account.is_none_or(|account| is_enrolled(socket, &account.name))
    };
    (gated.iter().any(elevates) && !names.iter().any(live)).then(|| {
        let what = "nobody has enrolled a factor on this host";
        Finding::of(
            &kinds::NOBODY_ENROLLED,
            what,
            "jit mfa enroll USER, for everybody who elevates",
        )
    })
}

/// Asked, because a person's file stays when the factor is reset.
fn is_enrolled(socket: Option<&Path>, name: &str) -> bool {
    let user = Some(name.to_owned());
    match ask(
        Door::Root,
        socket,
        &Request::MfaStatus(About { v: V1, user }),
    ) {
        Ok(Reply::Factor(report)) => report.state == "enrolled",
        _ => true,
    }
}

/// What agent.toml says about a service that has our lines.
fn section(socket: Option<&Path>, service: &str) -> Option<Finding> {
    let request = Request::Check(CheckAsk {
        v: V1,
        // Anybody but root, who is exempt before his service is looked up.
        user: Some("nobody".to_owned()),
        service: service.to_owned(),
        run_as: None,
        at: None,
        from: None,
    });
    let report = match ask(Door::Root, socket, &request) {
        Ok(Reply::Check(report)) => report,
        Err(failure) if failure.exit == Exit::Unreachable => return Some(down(&failure)),
        _ => return None,
    };
    let name = &report.service;
    if report.reason == "no_section" {
        let what = format!("agent.toml has no [service.{name}]");
        let mend = format!("write one (mode, grant, mfa), or: jit pam disable {service}");
        return Some(Finding::of(&kinds::SERVICE_NO_SECTION, what, mend));
    }
    match report.mode.as_str() {
        "off" => {
            let what = format!("agent.toml says mode = \"off\" for {name}");
            Some(Finding::of(
                &kinds::SERVICE_OFF,
                what,
                "mode = \"observe\" or \"enforce\" there",
            ))
        }
        "observe" => {
            let what = format!("agent.toml says mode = \"observe\" for {name}");
            let mend = "when the records show no surprise (would=deny): mode = \"enforce\"";
            Some(Finding::of(&kinds::SERVICE_OBSERVED, what, mend))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::host::tests::Made;

    #[test]
    fn each_state_of_the_policy_has_its_finding() {
        for (state, id) in [
            ("fresh", None),
            ("stale", Some("policy-stale")),
            ("expired", Some("policy-expired")),
            ("none", Some("policy-none")),
        ] {
            let report = PolicyReport {
                realm: "prod".into(),
                url: "https://p.example/b".into(),
                state: state.into(),
                seq: None,
                age_secs: Some(1860),
                grants: 0,
                last_error: Some("connection refused".into()),
            };
            assert_eq!(policy(&report).map(|finding| finding.id), id);
        }
    }

    #[test]
    fn each_trouble_of_the_clock_has_its_finding() {
        let found = |settled, synchronised, trouble: Option<&str>| -> Vec<&str> {
            let report = ClockReport {
                trusted: String::new(),
                wall: String::new(),
                synchronised,
                settled,
                trouble: trouble.map(str::to_owned),
            };
            clock(&report).iter().map(|finding| finding.id).collect()
        };
        assert_eq!(found(true, true, None), [""; 0]);
        assert_eq!(found(true, false, None), ["clock-unsynchronised"]);
        assert_eq!(found(true, true, Some("apart")), ["clock-apart"]);
        assert_eq!(found(false, true, Some("below")), ["clock-unsettled"]);
    }

    #[test]
    fn a_configuration_that_does_not_parse_is_told_in_the_agents_words() {
        let files = [("etc/pam_jit/agent.toml", "x"), ("usr/sbin/jit-agentd", "")];
        let said = |words: &'static str| {
            configuration(&Made::answering(&files, move |_, _| Some(words.into())).host)
        };
        assert_eq!(said("ok\n"), None);
        let finding = said("jit-agentd: /etc/pam_jit/agent.toml:1:1: bad\n").unwrap();
        assert_eq!(
            (finding.id, &*finding.what),
            ("config-broken", "/etc/pam_jit/agent.toml:1:1: bad")
        );
        let made = Made::of(&files);
        assert_eq!(configuration(&made.host), None);
        assert_eq!(made.host.unseen().len(), 1);
        assert_eq!(configuration(&Made::of(&[]).host), None);
    }
}
