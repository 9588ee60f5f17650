//! From the text of `agent.toml` to a checked [`Config`].

use super::section::{Fault, Item, Section};
use super::{
    AgentConfig, AuditConfig, AuditFormat, CommandDetail, Config, MfaConfig, Mode, PolicyConfig,
    SelfEnroll, ServiceConfig, SourceUrl, default_audit, default_mfa, default_services,
};
use jit_policy::sign::PublicKey;
use jit_policy::{Factor, base_service, parse_duration};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(super) fn parse(text: &str, system_host: Option<&str>) -> Result<Config, Fault> {
    let mut top = Section::parse(text)?;
    let policy = top.section("policy")?.map(policy).transpose()?;
    let agent = match top.section("agent")? {
        Some(section) => agent(section, policy.is_some(), system_host)?,
        None => agent(Section::absent("agent"), policy.is_some(), system_host)?,
    };
    let services = services(top.section("service")?)?;
    let mfa = top.section("mfa")?.map_or_else(|| Ok(default_mfa()), mfa)?;
    let audit = top
        .section("audit")?
        .map_or_else(|| Ok(default_audit()), audit)?;
    top.end()?;
    Ok(Config {
        agent,
        policy,
        services,
        mfa,
        audit,
    })
}

fn agent(
    mut section: Section<'_>,
    has_policy: bool,
    system_host: Option<&str>,
) -> Result<AgentConfig, Fault> {
    let host = match section.text("host")? {
        Some(host) if is_host(&host.value) => host.value,
        Some(host) => {
            return Err(host.fault(format!(
                "\"{}\" cannot be a host's name; use letters, digits, dots, dashes and underscores",
                host.value.escape_debug()
            )));
        }
        None if has_policy => {
            return Err(section.fault(
                "host",
                "missing; with [policy], say what the policy source calls this machine, \
                 host = \"db-1\"",
            ));
        }
        None => system_host
            .ok_or_else(|| {
                section.fault(
                    "host",
                    "missing, and /etc/hostname names no host; set it here",
                )
            })?
            .to_owned(),
    };
    let mut labels = BTreeMap::new();
    if let Some(mut table) = section.section("labels")? {
        for name in table.names() {
            if !is_word(&name) {
                return Err(table.fault(
                    &name,
                    "a label's name is made of letters, digits, dots, dashes and underscores",
                ));
            }
            if let Some(value) = table.text(&name)? {
                if !is_word(&value.value) {
                    return Err(value.fault(
                        "a label's value is made of letters, digits, dots, dashes and underscores",
                    ));
                }
                labels.insert(name, value.value);
            }
        }
    }
    let mut exempt_users = vec!["root".to_owned()];
    if let Some(names) = section.texts("exempt_users")? {
        for name in &names {
            if name.value.is_empty() || name.value.contains(|c: char| c.is_control() || c == ':') {
                return Err(name.fault("not a login name"));
            }
        }
        exempt_users = names.into_iter().map(|name| name.value).collect();
    }
    let local_grants = section.flag("local_grants")?.unwrap_or(!has_policy);
    section.end()?;
    Ok(AgentConfig {
        host,
        labels,
        exempt_users,
        local_grants,
    })
}

fn policy(mut section: Section<'_>) -> Result<PolicyConfig, Fault> {
    let realm = section.text("realm")?.ok_or_else(|| {
        section.fault(
            "realm",
            "missing; it must equal the bundles' realm, realm = \"prod\"",
        )
    })?;
    if realm.value.is_empty() {
        return Err(realm.fault("empty; it must equal the bundles' realm"));
    }
    let url = section
        .text("url")?
        .ok_or_else(|| section.fault("url", "missing; say where bundles come from"))
        .and_then(|url| source_url(&url))?;
    let keys = section.texts("trusted_keys")?.unwrap_or_default();
    if keys.is_empty() {
        return Err(section.fault(
            "trusted_keys",
            "name at least one key, as `jit policy keygen` printed it: [\"ed25519:…\"]",
        ));
    }
    let trusted_keys = keys
        .iter()
        .map(|key| {
            key.value
                .parse::<PublicKey>()
                .map_err(|e| key.fault(e.to_string()))
        })
        .collect::<Result<_, _>>()?;
    let ca_file = match section.text("ca_file")? {
        Some(path) if !Path::new(&path.value).is_absolute() => {
            return Err(path.fault("must be an absolute path, /etc/pam_jit/ca.pem"));
        }
        Some(path) if matches!(url, SourceUrl::File(_)) => {
            return Err(path.fault("means nothing with a file:// url; leave it out"));
        }
        other => other.map(|path| PathBuf::from(path.value)),
    };
    let refresh = duration(&mut section, "refresh", 60)?;
    let lease = duration(&mut section, "lease", 15 * 60)?;
    let max_offline = duration(&mut section, "max_offline", 60 * 60)?;
    if refresh < Duration::from_secs(1) {
        return Err(section.fault("refresh", "must be at least 1s"));
    }
    if refresh > max_offline {
        return Err(section.fault(
            "refresh",
            "longer than max_offline: central grants would stop holding between two looks",
        ));
    }
    if lease > max_offline {
        return Err(section.fault(
            "lease",
            "longer than max_offline: a bundle would end before it is stale; make it shorter",
        ));
    }
    section.end()?;
    Ok(PolicyConfig {
        realm: realm.value,
        url,
        trusted_keys,
        ca_file,
        refresh,
        lease,
        max_offline,
    })
}

fn source_url(item: &Item<String>) -> Result<SourceUrl, Fault> {
    let url = reqwest::Url::parse(&item.value)
        .map_err(|e| item.fault(format!("not a URL ({e}); write https://… or file:///…")))?;
    match url.scheme() {
        // It would be shown in status and logs.
        "https" if !url.username().is_empty() || url.password().is_some() => {
            Err(item.fault("holds a user name or password; a bundle is no secret, leave them out"))
        }
        "https" => Ok(SourceUrl::Https(url)),
        "file" => match url.to_file_path() {
            Ok(path) if url.query().is_none() && url.fragment().is_none() => {
                Ok(SourceUrl::File(path))
            }
            _ => Err(item.fault("must name an absolute path on this host: file:///…")),
        },
        other => Err(item.fault(format!(
            "{other}:// cannot carry a bundle; write https://… or file:///…"
        ))),
    }
}

fn duration(section: &mut Section<'_>, key: &str, default_secs: u32) -> Result<Duration, Fault> {
    let secs = match section.text(key)? {
        None => default_secs,
        Some(text) => parse_duration(&text.value).map_err(|e| text.fault(e.to_string()))?,
    };
    Ok(Duration::from_secs(secs.into()))
}

fn services(section: Option<Section<'_>>) -> Result<BTreeMap<String, ServiceConfig>, Fault> {
    let mut services = default_services();
    let Some(mut section) = section else {
        return Ok(services);
    };
    for name in section.names() {
        if base_service(&name) != name {
            return Err(section.fault(
                &name,
                format!(
                    "[service.{base}] covers it; write that",
                    base = base_service(&name)
                ),
            ));
        }
        if !is_word(&name) || name.len() > 64 {
            return Err(section.fault(&name, "not the name of a PAM service"));
        }
        if let Some(found) = section.section(&name)? {
            services.insert(name, service(found)?);
        }
    }
    Ok(services)
}

fn service(mut section: Section<'_>) -> Result<ServiceConfig, Fault> {
    const ALL: &str = "missing; a service's section names all of mode, grant and mfa";
    let mode = section
        .choice(
            "mode",
            &[
                ("enforce", Mode::Enforce),
                ("observe", Mode::Observe),
                ("off", Mode::Off),
            ],
        )?
        .ok_or_else(|| section.fault("mode", ALL))?;
    let grant = section
        .flag("grant")?
        .ok_or_else(|| section.fault("grant", ALL))?;
    let mfa = section
        .text("mfa")?
        .ok_or_else(|| section.fault("mfa", ALL))?;
    let mfa = mfa
        .value
        .parse::<Factor>()
        .map_err(|e| mfa.fault(e.to_string()))?;
    section.end()?;
    Ok(ServiceConfig { mode, grant, mfa })
}

fn mfa(mut section: Section<'_>) -> Result<MfaConfig, Fault> {
    let mut mfa = default_mfa();
    if let Some(issuer) = section.text("issuer")? {
        // A colon ends the issuer in an otpauth:// label.
        let fits = !issuer.value.trim().is_empty()
            && issuer.value.len() <= 64
            && !issuer.value.contains(|c: char| c == ':' || c.is_control());
        if !fits {
            return Err(issuer.fault("1 to 64 bytes of text without a colon"));
        }
        mfa.issuer = issuer.value;
    }
    let words = [("never", SelfEnroll::Never), ("first", SelfEnroll::First)];
    if let Some(self_enroll) = section.choice("self_enroll", &words)? {
        mfa.self_enroll = self_enroll;
    }
    section.end()?;
    Ok(mfa)
}

fn audit(mut section: Section<'_>) -> Result<AuditConfig, Fault> {
    let mut audit = default_audit();
    let formats = [("logfmt", AuditFormat::Logfmt), ("json", AuditFormat::Json)];
    if let Some(format) = section.choice("format", &formats)? {
        audit.format = format;
    }
    if let Some(durable) = section.flag("durable")? {
        audit.durable = durable;
    }
    let details = [
        ("off", CommandDetail::Off),
        ("name", CommandDetail::Name),
        ("full", CommandDetail::Full),
    ];
    if let Some(command) = section.choice("command", &details)? {
        audit.command = command;
    }
    section.end()?;
    Ok(audit)
}

/// Letters, digits, dots, dashes, underscores: no globs (a host called `*` would take every
/// other host's bundle), nothing that needs escaping in a log.
fn is_word(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

pub(super) fn is_host(text: &str) -> bool {
    is_word(text) && text.len() <= 253
}
