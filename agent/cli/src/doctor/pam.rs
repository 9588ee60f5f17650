//! Services' PAM files: is the gate where it should be, and does anything go round it?

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::host::{Finding, Host};
use super::kinds;
use crate::pam::file::{Flaw, Phase};
use crate::pam::module;
use crate::pam::stack::{Files, Stack};
use crate::pam::status::{Gate, Line, Service};
use crate::pam::walk::Hole;
use crate::pam::{MODULE, way_in};

/// Services through which people become another user, and the programs that ask for them. runuser
/// is for root alone.
const DOORS: [(&str, &[&str]); 6] = [
    (
        "sudo",
        &[
            "usr/bin/sudo",
            "usr/bin/sudo-rs",
            "usr/lib/cargo/bin/sudo",
            "usr/local/bin/sudo",
        ],
    ),
    (
        "sudo-i",
        &[
            "usr/bin/sudo",
            "usr/bin/sudo-rs",
            "usr/lib/cargo/bin/sudo",
            "usr/local/bin/sudo",
        ],
    ),
    ("su", &["usr/bin/su", "bin/su", "usr/bin/su-rs"]),
    ("su-l", &["usr/bin/su", "bin/su", "usr/bin/su-rs"]),
    ("polkit-1", &["usr/bin/pkexec", "usr/bin/run0"]),
    ("doas", &["usr/bin/doas", "usr/local/bin/doas"]),
];

/// Files that many services include.
const SHARED: [&str; 8] = [
    "system-auth",
    "password-auth",
    "postlogin",
    "system-login",
    "system-local-login",
    "system-remote-login",
    "fingerprint-auth",
    "smartcard-auth",
];

/// Every service that has lines of ours for itself, rather than with everybody else.
pub(super) fn gated(host: &Host) -> Vec<Service> {
    let all = carrying(&host.pam()).into_iter();
    let own = |service: &Service| lines(service).any(|line| !is_shared(&line.file));
    all.filter(own).collect()
}

fn carrying(files: &Files) -> Vec<Service> {
    let all = files
        .services()
        .into_iter()
        .map(|name| Service::of(files, &name));
    all.filter(Service::is_ours).collect()
}

fn lines(service: &Service) -> impl Iterator<Item = &Line> {
    service.phases.iter().flat_map(|gate| &gate.lines)
}

fn is_shared(file: &str) -> bool {
    let name = file.rsplit('/').next().unwrap_or_default();
    name.starts_with("common-") || SHARED.contains(&name)
}

/// Everything about PAM files.
pub(super) fn look(host: &Host, gated: &[Service]) -> Vec<Finding> {
    let files = host.pam();
    let mut found = Vec::new();
    for service in gated {
        found.extend(service_findings(&files, service));
    }
    found.extend(shared(&files));
    found.extend(doors(host, &files, gated));
    found.extend(modules(host, &files, gated));
    found.extend(writable(&files));
    found.extend(root_in(host, gated));
    found
}

fn service_findings(files: &Files, service: &Service) -> Vec<Finding> {
    let name = &service.service;
    let again = format!("jit pam enable {name}");
    let mut found = Vec::new();
    for gate in &service.phases {
        let phase = gate.phase.as_str();
        if gate.lines.is_empty() {
            let kind = match gate.phase {
                Phase::Auth => &kinds::PAM_AUTH_MISSING,
                Phase::Session => &kinds::PAM_SESSION_MISSING,
                _ => &kinds::PAM_ACCOUNT_MISSING,
            };
            let what = format!("{name}: its {phase} lines do not come to pam_jit, others of it do");
            found.push(Finding::of(kind, what, &again));
        }
        found.extend(holes(gate, &again));
        for line in gate.lines.iter().filter(|line| line.quiet) {
            let what = format!("{}:{}: '-{phase}' before our module", line.file, line.line);
            found.push(Finding::of(
                &kinds::PAM_QUIET,
                what,
                format!("write '{phase}' there"),
            ));
        }
        for trouble in &gate.troubles {
            let mend = "mend that line; 'jit pam status' shows what libpam makes of the file";
            found.push(Finding::of(&kinds::PAM_BROKEN, trouble, mend));
        }
    }
    found.extend(of_the_lines(service, &again));
    if let Some(path) = &service.file
        && let Ok(file) = files.read(Path::new(path))
        && let Some(flaw) = file.flaw()
    {
        let (line, what, mend) = match flaw {
            Flaw::CarriageReturn(line) => (
                line,
                "ends with a carriage return, which libpam takes for part of the module's name",
                format!("sed -i 's/\\r$//' {path}"),
            ),
            Flaw::Dangling(line) => (
                line,
                "ends with a backslash and nothing follows",
                "remove the backslash".to_owned(),
            ),
        };
        found.push(Finding::of(
            &kinds::PAM_BROKEN,
            format!("{path}:{line}: {what}"),
            mend,
        ));
    }
    found
}

fn holes(gate: &Gate, again: &str) -> Vec<Finding> {
    let weak = gate.lines.iter().any(|line| !line.refuses);
    let mut found = Vec::new();
    for (hole, words) in &gate.holes {
        let by_hand = "move that line below ours, or make it 'required'; then: jit pam status";
        found.push(match hole {
            Hole::Skipped(_) if gate.phase == Phase::Auth => {
                Finding::of(&kinds::PAM_AUTH_SKIPPED, words, again)
            }
            Hole::Skipped(_) => Finding::of(&kinds::PAM_SKIPPED, words, again),
            // Said once, below, with the control itself.
            Hole::Overruled(_) if weak => continue,
            Hole::Overruled(_) => Finding::of(&kinds::PAM_OVERRULED, words, by_hand),
            Hole::OnlyUs if weak => continue,
            Hole::OnlyUs => Finding::of(&kinds::PAM_ONLY_US, words, by_hand),
        });
    }
    for line in gate.lines.iter().filter(|line| !line.refuses) {
        let what = format!(
            "{}:{}: our {} line is '{}', so that not every refusal counts",
            line.file,
            line.line,
            gate.phase.as_str(),
            line.control
        );
        found.push(Finding::of(
            &kinds::PAM_CONTROL,
            what,
            format!("write 'required' there, or: {again}"),
        ));
    }
    found
}

/// What the words and places of our lines say.
fn of_the_lines(service: &Service, again: &str) -> Vec<Finding> {
    let name = &service.service;
    let says = |word: &str| lines(service).any(|line| line.args.iter().any(|arg| arg == word));
    let mut found = Vec::new();
    if says("observe") {
        let what = format!("{name}: its lines say 'observe'");
        found.push(Finding::of(
            &kinds::PAM_OBSERVE,
            what,
            format!("when the records show no surprise: {again}"),
        ));
    }
    if says("root=ask") {
        let what = format!("{name}: its lines say 'root=ask'");
        let mend = "take it away, unless root is meant to depend on the agent";
        found.push(Finding::of(&kinds::PAM_ROOT_ASK, what, mend));
    }
    found
}

/// Our lines in files that many services include.
fn shared(files: &Files) -> Vec<Finding> {
    let mut through: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for service in carrying(files) {
        for line in lines(&service).filter(|line| is_shared(&line.file)) {
            let services = through.entry(line.file.clone()).or_default();
            services.insert(service.service.clone());
        }
    }
    let found = through.into_iter().map(|(file, mut services)| {
        let base = file.rsplit('/').next().unwrap_or_default();
        services.retain(|service| !is_shared(service));
        let names: Vec<String> = services.into_iter().collect();
        let what = format!(
            "{file} has lines of ours, and so have: {}",
            names.join(", ")
        );
        let mend = format!(
            "jit pam disable {base}; then enable the services themselves: jit pam enable sudo su …"
        );
        Finding::of(&kinds::PAM_SHARED, what, mend)
    });
    found.collect()
}

fn doors(host: &Host, files: &Files, gated: &[Service]) -> Vec<Finding> {
    let closed = |name: &str| gated.iter().any(|service| service.service == name);
    if gated.is_empty() {
        let what = "no file in /etc/pam.d has lines of pam_jit";
        let mend =
            "jit pam enable --observe sudo sudo-i su; 'jit pam enable --help' tells the first hour";
        return vec![Finding::of(&kinds::NOTHING_ENABLED, what, mend)];
    }
    let open = DOORS.iter().filter(|(service, programs)| {
        !closed(service)
            && files.find(service).is_some()
            && programs.iter().any(|program| host.has(program))
    });
    open.map(|(service, programs)| {
        let program = programs
            .iter()
            .find(|program| host.has(program))
            .unwrap_or(&"");
        let what = format!("{service}: /{program} does not come to pam_jit");
        let section = match *service {
            "polkit-1" | "doas" => format!(" (it needs a [service.{service}] in agent.toml)"),
            _ => String::new(),
        };
        Finding::of(
            &kinds::DOOR_OPEN,
            what,
            format!("jit pam enable {service}{section}"),
        )
    })
    .collect()
}

/// Modules that are named and not there, and ours if others can change it.
fn modules(host: &Host, files: &Files, gated: &[Service]) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut missing: BTreeSet<(String, String)> = BTreeSet::new();
    let mut ours = BTreeSet::new();
    for service in files.services() {
        for phase in Phase::OURS {
            for element in Stack::of(files, &service, phase).elements {
                let Some(module) = element.module() else {
                    continue;
                };
                match module::find(&host.root, &module.path) {
                    Some(path) if module.is_ours() => drop(ours.insert(path)),
                    Some(_) => {}
                    None if module.control.refuses() => {
                        missing.insert((module.path.clone(), element.file.display().to_string()));
                    }
                    None => {}
                }
            }
        }
    }
    // Where libpam looks is not known on every host.
    if module::folders(&host.root).is_empty() {
        host.not_seen(
            "where libpam keeps its modules: none of the usual folders has pam_permit.so",
        );
        missing.clear();
    }
    for (path, file) in missing {
        let mend = match path.ends_with(MODULE) {
            true => format!(
                "install pam_jit again, or: jit pam disable {}",
                file.rsplit('/').next().unwrap_or_default()
            ),
            false => "install its package, or take the line away".to_owned(),
        };
        found.push(Finding::of(
            &kinds::PAM_MODULE_MISSING,
            format!("{file} names {path}, which is not there"),
            mend,
        ));
    }
    if !gated.is_empty() {
        let faults = ours.iter().filter_map(|path| module::trusted(path).err());
        found.extend(faults.map(|fault| {
            let (what, mend) = fault
                .rsplit_once("; run: ")
                .unwrap_or((&fault, "make it root's"));
            Finding::of(&kinds::PAM_MODULE_WRITABLE, what, mend)
        }));
    }
    found
}

fn writable(files: &Files) -> Vec<Finding> {
    let paths = files
        .services()
        .into_iter()
        .map(|name| files.folder().join(name));
    let mut found = Vec::new();
    for path in paths.chain([files.folder()]) {
        let Ok(meta) = path.metadata() else { continue };
        if meta.uid() != 0 || meta.mode() & 0o022 != 0 {
            let what = format!(
                "{}: uid {}, mode {:04o}",
                path.display(),
                meta.uid(),
                meta.mode() & 0o7777
            );
            let mend = format!(
                "chown root {0}; chmod go-w {0}; and look at what it says",
                path.display()
            );
            found.push(Finding::of(&kinds::PAM_FILE_WRITABLE, what, mend));
        }
    }
    found
}

/// Whether anybody gets in when the agent cannot answer.
fn root_in(host: &Host, gated: &[Service]) -> Vec<Finding> {
    let refusing = gated
        .iter()
        .filter(|service| !service.observe && service.rescue.is_empty());
    let names: Vec<&str> = refusing.map(|service| service.service.as_str()).collect();
    if names.is_empty() {
        return Vec::new();
    }
    match way_in::root_is_shut_out(&host.root) {
        Ok(None) => Vec::new(),
        Ok(Some(why)) => {
            let what = format!(
                "{why}, and no rescue account is named for {}",
                names.join(", ")
            );
            let mend = format!(
                "jit pam enable --rescue USER {}; or give root a password: passwd root",
                names.join(" ")
            );
            vec![Finding::of(&kinds::ROOT_SHUT_OUT, what, mend)]
        }
        Err(why) => {
            host.not_seen(format!("whether root has a usable password ({why})"));
            Vec::new()
        }
    }
}

#[cfg(test)]
mod tests;
