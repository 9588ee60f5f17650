//! `jit pam disable`.

use std::path::{Path, PathBuf};

use clap::Args;

use super::disk::{Locked, editable};
use super::enable::refused;
use super::file::{Entry, Phase};
use super::plan::{jumps_moved, through};
use super::report::{Outcome, Report, diff};
use super::stack::{Files, Stack};
use crate::Desk;
use crate::agent::root_only;
use crate::failure::{Exit, Failure};
use crate::notes;

/// What it is for, at length.
pub(crate) const ABOUT: &str = "Take pam_jit's lines out of /etc/pam.d/SERVICE, whoever wrote them, and leave every \
other byte as it is. The service is then as open as it was without pam_jit.

It needs neither the agent nor the module. The old file is kept in /etc/pam_jit/backup. Doing it twice changes \
nothing.";

/// Which services.
#[derive(Debug, Args)]
#[command(after_long_help = notes::PAM_DISABLE)]
pub(crate) struct Disable {
    /// PAM services, by their files in /etc/pam.d
    #[arg(required_unless_present = "all", value_name = "SERVICE")]
    services: Vec<String>,
    /// Every file in /etc/pam.d that has lines of ours
    #[arg(long, conflicts_with = "services")]
    all: bool,
    /// Show what would change, write nothing
    #[arg(long)]
    dry_run: bool,
}

impl Disable {
    /// Shows and writes.
    ///
    /// # Errors
    ///
    /// Why nothing was written.
    pub(crate) fn run(self, desk: &Desk) -> Result<Exit, Failure> {
        root_only("pam disable")?;
        let root = Path::new("/");
        let files = Files::of(root);
        let mut report = Report::new(self.dry_run);
        if self.all && !files.folder().is_dir() {
            // A package's removal must not fail for that.
            return report.show(desk, "disabled").map(|()| Exit::Yes);
        }
        let lock = Locked::wait(root, &files)?;
        let named = match self.all {
            true => carrying(&files),
            false => self.services,
        };
        let mut changes: Vec<(PathBuf, Vec<u8>, Vec<u8>)> = Vec::new();
        // With --all one file that may not be changed must not keep the others as they are.
        let mut left = Vec::new();
        for service in &named {
            if service.contains('/') || service.starts_with('.') {
                return Err(refused(format!(
                    "{service:?} cannot be the name of a service"
                )));
            }
            match editable(&files, service) {
                Ok(()) => {}
                Err(why) if self.all => {
                    left.push(why);
                    continue;
                }
                Err(why) => return Err(refused(why)),
            }
            let path = files.folder().join(service);
            let old = files.read(&path).map_err(refused)?;
            let new = old.without_ours();
            let mut outcome = Outcome::new(service, &path, diff(&path, &old.bytes(), &new.bytes()));
            outcome.notes.extend(remarks(&files, &path, service));
            if outcome.changed {
                outcome.show(desk)?;
                changes.push((path, old.bytes(), new.bytes()));
            }
            report.services.push(outcome);
        }
        if !self.dry_run && !changes.is_empty() {
            let backups = lock.replace(&changes)?;
            report.keep(&backups);
        }
        report.show(desk, "disabled")?;
        match left.is_empty() {
            true => Ok(Exit::Yes),
            false => Err(refused(format!(
                "our lines are still there: {}",
                left.join("; ")
            ))),
        }
    }
}

/// Every name in the folder whose file has lines of ours, odd names too: what is read by nobody
/// today may be renamed tomorrow.
fn carrying(files: &Files) -> Vec<String> {
    let Ok(entries) = files.folder().read_dir() else {
        return Vec::new();
    };
    let names = entries
        .flatten()
        .filter_map(|e| e.file_name().into_string().ok());
    let ours = |name: &String| {
        let file = files.read(&files.folder().join(name));
        !name.starts_with('.') && file.is_ok_and(|file| file.entries().iter().any(Entry::is_ours))
    };
    let mut names: Vec<String> = names.filter(ours).collect();
    names.sort_unstable();
    names
}

/// What remains, and what taking lines away does to the others.
fn remarks(files: &Files, path: &Path, service: &str) -> Vec<String> {
    let mut remarks = Vec::new();
    let Ok(old) = files.read(path) else {
        return remarks;
    };
    let after = files.with(path, old.without_ours().bytes());
    for phase in Phase::OURS {
        let (was, is) = (
            Stack::of(files, service, phase),
            Stack::of(&after, service, phase),
        );
        if is.elements.iter().any(|element| element.is_ours()) {
            remarks.push(format!(
                "its {} lines still come to pam_jit through {}; disable that",
                phase.as_str(),
                through(&after, service, phase)
            ));
        }
        // Read backwards: adding ours to what is left gives what was there.
        if jumps_moved(&is, &was) {
            remarks.push(format!(
                "one of its {} lines jumps ([…=N]) over where ours was and now lands elsewhere; look at the numbers",
                phase.as_str()
            ));
        }
    }
    remarks
}
