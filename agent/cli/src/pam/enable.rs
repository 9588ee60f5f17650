//! `jit pam enable`.

use std::path::{Path, PathBuf};

use clap::Args;
use jit_protocol::message::{CheckAsk, Reply, Request, V1};

use super::disk::{Locked, editable};
use super::plan::{self, Wish};
use super::report::{Outcome, Report, diff};
use super::stack::Files;
use super::{module, trial, way_in};
use crate::Desk;
use crate::agent::{Door, Talk, root_only};
use crate::failure::{Exit, Failure};
use crate::notes;

/// What it is for, at length.
pub(crate) const ABOUT: &str = "Put pam_jit in front of services: writes its auth, account and session lines into \
/etc/pam.d/SERVICE, each where nothing can go round it.

The change is shown first. Before it counts, the new lines are tried with the real PAM library in a private \
folder: root must still pass, the agent must answer, and a refusal must refuse. What would lock root out is \
not written. The old file is kept in /etc/pam_jit/backup. Doing it twice changes nothing.";

/// Services with lines that run without anybody there to answer, or that root alone uses.
const NEVER: [(&str, &str); 8] = [
    (
        "other",
        "is what every service without a file of its own falls back to",
    ),
    (
        "systemd-user",
        "starts people's background services, where nobody can be asked",
    ),
    ("cron", "starts jobs, where nobody can be asked"),
    ("crond", "starts jobs, where nobody can be asked"),
    ("atd", "starts jobs, where nobody can be asked"),
    ("runuser", "is for root alone"),
    ("runuser-l", "is for root alone"),
    ("chpasswd", "is for root alone"),
];

/// Which services, and how.
#[derive(Debug, Args)]
#[command(after_long_help = notes::PAM_ENABLE)]
pub(crate) struct Enable {
    /// PAM services, by their files in /etc/pam.d: sudo, sudo-i, su, sshd, login, …
    #[arg(required = true, value_name = "SERVICE")]
    services: Vec<String>,
    /// Record only: whatever happens, these lines refuse nobody
    #[arg(long)]
    observe: bool,
    /// Local account that passes when the agent cannot answer (can be given again)
    #[arg(long, value_name = "USER", value_delimiter = ',')]
    rescue: Vec<String>,
    /// Show what would change, try it, write nothing
    #[arg(long)]
    dry_run: bool,
}

impl Enable {
    /// Plans, shows, tries and writes.
    ///
    /// # Errors
    ///
    /// Why nothing was written.
    pub(crate) fn run(self, desk: &Desk) -> Result<Exit, Failure> {
        root_only("pam enable")?;
        let root = Path::new("/");
        let files = Files::of(root);
        let lock = Locked::wait(root, &files)?;
        let wish = Wish {
            observe: self.observe,
            rescue: rescue(root, &self.rescue)?,
        };
        module::present(root).map_err(refused)?;
        let mut enforced = Vec::new();
        for service in &self.services {
            allowed(&files, service).map_err(refused)?;
            if mode(desk, service, self.observe)? == "enforce" && !self.observe {
                enforced.push(service.as_str());
            }
        }

        let mut report = Report::new(self.dry_run);
        let mut changes: Vec<(PathBuf, Vec<u8>, Vec<u8>)> = Vec::new();
        let mut after = files.clone();
        for service in in_order(&files, &self.services) {
            let path = files.folder().join(&service);
            let old = files.read(&path).map_err(refused)?;
            let plan = plan::enable(&after, &service, &wish).map_err(refused)?;
            let mut outcome = Outcome::new(
                &service,
                &path,
                diff(&path, &old.bytes(), &plan.file.bytes()),
            );
            outcome.notes.extend(plan.notes);
            if outcome.changed {
                no_lock_out(root, &service, &plan.args, self.observe).map_err(refused)?;
                outcome.show(desk)?;
                let note = trial::enabled(&after, &service, &plan.file, &plan.args);
                outcome.notes.extend(note.map_err(refused)?);
                after = after.with(&path, plan.file.bytes());
                changes.push((path, old.bytes(), plan.file.bytes()));
            }
            report.services.push(outcome);
        }
        if !self.dry_run && !changes.is_empty() {
            let backups = lock.replace(&changes)?;
            report.keep(&backups);
        }
        report.show(desk, "enabled")?;
        if !enforced.is_empty() && !changes.is_empty() {
            desk.screen.aside(&format!(
                "note: this refuses people from now on ({}). To watch first and refuse nobody: jit pam enable --observe {0}",
                enforced.join(" ")
            ));
        }
        Ok(Exit::Yes)
    }
}

pub(super) fn refused(why: String) -> Failure {
    Failure::no("refused", why)
}

/// Included files first, so that what includes them finds our lines there.
fn in_order(files: &Files, services: &[String]) -> Vec<String> {
    let mut order: Vec<String> = services.to_vec();
    order.sort_unstable();
    order.dedup();
    order.sort_by_key(|service| files.included_by(service).len());
    order
}

/// Whether the service may have lines of ours at all.
fn allowed(files: &Files, service: &str) -> Result<(), String> {
    let word = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if service.is_empty() || !service.chars().all(word) || service.starts_with('.') {
        return Err(format!("{service:?} cannot be the name of a service"));
    }
    if service.chars().any(|c| c.is_ascii_uppercase()) {
        return Err(format!(
            "{service:?}: libpam asks for services in lower case, so nobody reads such a file"
        ));
    }
    if let Some((_, why)) = NEVER.iter().find(|(name, _)| *name == service) {
        return Err(format!("{service} {why}; pam_jit does not belong there"));
    }
    if service.starts_with("common-") {
        return Err(format!(
            "{service} is no service: cron, greeters and systemd --user read it too. Name the services themselves: sudo, su, …"
        ));
    }
    editable(files, service)?;
    // su-l may include su: it is another name for the same door.
    let variant = |name: &String| {
        name.strip_prefix(service)
            .is_some_and(|end| ["-l", "-i"].contains(&end))
    };
    let path = files.folder().join(service);
    let all = files.services();
    let users = all
        .iter()
        .filter(|name| files.included_by(name).contains(&path));
    let (variants, users): (Vec<_>, Vec<_>) = users.partition(|name| variant(name));
    if !users.is_empty() {
        let names: Vec<&str> = users.iter().map(|name| name.as_str()).collect();
        return Err(format!(
            "{service} is included by {}, which would all get our lines; name the services themselves",
            names.join(", ")
        ));
    }
    for name in variants {
        let own = files.read(&files.folder().join(name))?;
        if own.entries().iter().any(super::file::Entry::is_ours) {
            return Err(format!(
                "{name} includes {service} and has lines of its own, so it would ask twice; first: jit pam disable {name}"
            ));
        }
    }
    Ok(())
}

/// The rescue accounts, which must be there.
fn rescue(root: &Path, names: &[String]) -> Result<Vec<String>, Failure> {
    let known = way_in::accounts(root).map_err(refused)?;
    for name in names {
        if !known.iter().any(|account| account.name == *name) {
            return Err(Failure::misuse(format!(
                "--rescue {name:?}: /etc/passwd has no such account, and only a local one can be a rescue account"
            )));
        }
    }
    Ok(names.to_vec())
}

/// Somebody must get in when the agent cannot answer.
fn no_lock_out(root: &Path, service: &str, args: &[String], observe: bool) -> Result<(), String> {
    let rescue = args.iter().any(|arg| arg.starts_with("rescue="));
    if observe || rescue {
        return Ok(());
    }
    if args.iter().any(|arg| arg == "root=ask") {
        return Err(format!(
            "the lines of {service} say root=ask, so root depends on the agent, and nobody is named to pass without it; \
             add --rescue USER, or take root=ask away"
        ));
    }
    match way_in::root_is_shut_out(root)? {
        None => Ok(()),
        Some(why) => Err(format!(
            "{why}, so nobody could get in while the agent does not answer. Name a local account that then passes: \
             --rescue USER; or give root a password: passwd root"
        )),
    }
}

/// What the agent does with a service; it has to answer.
fn mode(desk: &Desk, service: &str, observe: bool) -> Result<String, Failure> {
    let request = Request::Check(CheckAsk {
        v: V1,
        // Anybody but root, who is exempt before his service is looked up.
        user: Some("nobody".to_owned()),
        service: service.to_owned(),
        run_as: None,
        at: None,
        from: None,
    });
    let mut talk = Talk::begin(Door::Root, desk.socket(), &request)?;
    match talk.next() {
        Ok(Reply::Check(report)) if report.reason == "no_section" && !observe => {
            Err(refused(format!(
                "/etc/pam_jit/agent.toml has no [service.{0}], so everybody but root would be refused. Write one first \
             (mode, grant and mfa), or watch only: jit pam enable --observe {service}",
                report.service
            )))
        }
        Ok(Reply::Check(report)) => Ok(report.mode),
        Ok(other) => Err(crate::agent::unexpected(&other)),
        // It answered; that it does not know this person is not about the service.
        Err(failure) if failure.exit == Exit::No => Ok(String::new()),
        Err(failure) => Err(failure),
    }
}
