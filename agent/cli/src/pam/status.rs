//! `jit pam status`: which services come to pam_jit, and whether anything goes round it.

use std::path::Path;

use clap::Args;
use serde::Serialize;

use super::file::Phase;
use super::plan::{counts, why};
use super::stack::{Files, Stack};
use super::walk::{Hole, holes};
use crate::Desk;
use crate::failure::{Exit, Failure};
use crate::notes;
use crate::text::{Paint, Table, Tone};
use jit_policy::printable;

/// Services by which people enter or elevate, worth a line even without ours.
const DOORS: [&str; 8] = [
    "sudo", "sudo-i", "su", "su-l", "doas", "polkit-1", "sshd", "login",
];

/// Which services.
#[derive(Debug, Args)]
#[command(after_long_help = notes::PAM_STATUS)]
pub(crate) struct Status {
    /// PAM services; those with our lines and the usual doors if left out
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Report {
    services: Vec<Service>,
}

/// A service as a gate.
#[derive(Debug, Serialize)]
pub(crate) struct Service {
    /// Its name.
    pub(crate) service: String,
    /// The file that libpam reads; nothing if there is none.
    pub(crate) file: Option<String>,
    /// All three phases come to us, and nothing goes round.
    pub(crate) enabled: bool,
    /// Some line of ours refuses nobody.
    pub(crate) observe: bool,
    /// Who passes when the agent cannot answer.
    pub(crate) rescue: Vec<String>,
    /// The phases that ours are for.
    pub(crate) phases: Vec<Gate>,
}

/// A phase as a gate.
#[derive(Debug, Serialize)]
pub(crate) struct Gate {
    /// Which.
    pub(crate) phase: Phase,
    /// Our lines in it.
    pub(crate) lines: Vec<Line>,
    /// How one gets round, in words.
    pub(crate) open: Vec<String>,
    /// The same, to reason about.
    #[serde(skip)]
    pub(crate) holes: Vec<(Hole, String)>,
    /// What libpam stumbles over in it.
    pub(crate) troubles: Vec<String>,
}

/// A line of ours.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Line {
    /// The file that it stands in.
    pub(crate) file: String,
    /// The number there.
    pub(crate) line: usize,
    /// Its control.
    pub(crate) control: String,
    /// Whether a refusal of it counts.
    #[serde(skip)]
    pub(crate) refuses: bool,
    /// `-` before the phase.
    #[serde(skip)]
    pub(crate) quiet: bool,
    /// The words behind the module.
    pub(crate) args: Vec<String>,
}

impl Service {
    /// Looks at a service.
    pub(crate) fn of(files: &Files, service: &str) -> Self {
        let phases: Vec<Gate> = Phase::OURS
            .into_iter()
            .map(|phase| Gate::of(files, service, phase))
            .collect();
        let args = || {
            phases
                .iter()
                .flat_map(|p| &p.lines)
                .flat_map(|line| &line.args)
        };
        let mut rescue: Vec<String> = args()
            .filter_map(|arg| arg.strip_prefix("rescue="))
            .flat_map(|names| names.split(','))
            .map(str::to_owned)
            .collect();
        rescue.sort_unstable();
        rescue.dedup();
        Self {
            service: service.to_owned(),
            file: files.find(service).map(|path| path.display().to_string()),
            enabled: phases
                .iter()
                .all(|p| !p.lines.is_empty() && p.open.is_empty()),
            observe: args().any(|arg| arg == "observe"),
            rescue,
            phases,
        }
    }

    /// Whether any line of ours is in it.
    pub(crate) fn is_ours(&self) -> bool {
        self.phases.iter().any(|phase| !phase.lines.is_empty())
    }
}

impl Gate {
    fn of(files: &Files, service: &str, phase: Phase) -> Self {
        let stack = Stack::of(files, service, phase);
        let lines = stack.elements.iter().filter_map(|element| {
            let module = element.module().filter(|module| module.is_ours())?;
            Some(Line {
                file: element.file.display().to_string(),
                line: element.line,
                control: module.control.text.clone(),
                refuses: module.control.refuses(),
                quiet: module.quiet,
                args: module.args.clone(),
            })
        });
        let lines: Vec<Line> = lines.collect();
        let found = match lines.is_empty() {
            true => Vec::new(),
            false => holes(&stack, service),
        };
        // What is skipped for want of a password is not asked for a code: the account phase asks.
        let found = found.into_iter().filter(|hole| counts(phase, *hole));
        let holes: Vec<(Hole, String)> = found
            .map(|hole| (hole, why(&stack, service, phase, hole)))
            .collect();
        let troubles = stack.troubles.iter();
        Self {
            phase,
            lines,
            open: holes.iter().map(|(_, words)| words.clone()).collect(),
            holes,
            troubles: troubles
                .map(|t| format!("{}: {}", t.place, t.what))
                .collect(),
        }
    }
}

impl Status {
    /// Looks and shows.
    ///
    /// # Errors
    ///
    /// When standard output cannot be written, or a service is not there.
    pub(crate) fn run(self, desk: &Desk) -> Result<Exit, Failure> {
        let files = Files::of(Path::new("/"));
        let asked = !self.services.is_empty();
        let names = match asked {
            true => self.services,
            false => files.services(),
        };
        let mut services = Vec::new();
        for name in names {
            let odd = name.contains('/') || name.starts_with('.');
            if asked && (odd || files.find(&name).is_none()) {
                return Err(Failure::no(
                    "no_service",
                    format!("/etc/pam.d/{name} is not there"),
                ));
            }
            let service = Service::of(&files, &name);
            if asked || service.is_ours() || DOORS.contains(&name.as_str()) {
                services.push(service);
            }
        }
        let report = Report { services };
        desk.screen.show(&report, |paint| text(&report, paint))?;
        Ok(match asked && report.services.iter().any(|s| !s.enabled) {
            true => Exit::No,
            false => Exit::Yes,
        })
    }
}

fn text(report: &Report, paint: Paint) -> String {
    let mut table = Table::default();
    for service in &report.services {
        let (tone, word) = match (service.enabled, service.is_ours(), service.observe) {
            (true, _, false) => (Tone::Good, "enabled"),
            (true, _, true) => (Tone::Warn, "observe"),
            (false, true, _) => (Tone::Bad, "open"),
            (false, false, _) => (Tone::Faint, "-"),
        };
        let phases: Vec<String> = service.phases.iter().filter_map(phase_words).collect();
        table.row([
            (tone, word),
            (Tone::Normal, &service.service),
            (Tone::Faint, &phases.join("  ")),
        ]);
    }
    let mut text = table.show(0, paint);
    for service in report.services.iter().filter(|service| service.is_ours()) {
        for phase in &service.phases {
            if phase.lines.is_empty() {
                let (name, phase) = (printable(&service.service), phase.phase.as_str());
                text.push_str(&format!(
                    "{name}: its {phase} lines do not come to pam_jit\n"
                ));
            }
            for words in phase.open.iter().chain(&phase.troubles) {
                let words = printable(words);
                text.push_str(&format!("{}\n", paint.say(Tone::Bad, &words)));
            }
        }
    }
    text
}

/// Where the lines of a phase stand: `account sudo:7 required`.
fn phase_words(gate: &Gate) -> Option<String> {
    let line = gate.lines.first()?;
    let file = Path::new(&line.file).file_name().unwrap_or_default();
    let mut words = format!(
        "{} {}:{} {}",
        gate.phase.as_str(),
        file.to_string_lossy(),
        line.line,
        line.control
    );
    for arg in &line.args {
        words.push(' ');
        words.push_str(arg);
    }
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pam::tests::Etc;

    #[test]
    fn a_service_is_enabled_only_if_every_phase_is_shut() {
        let etc = Etc::of(&[(
            "sudo",
            "auth required pam_unix.so\nauth required pam_jit.so\naccount required pam_jit.so rescue=ops\n\
             account required pam_unix.so\nsession required pam_unix.so\nsession required pam_jit.so\n",
        )]);
        let look = || Service::of(&etc.files(), "sudo");
        assert!(look().enabled && look().rescue == ["ops"]);
        let good = String::from_utf8(etc.bytes("sudo")).unwrap();
        for (from, to) in [
            (
                "account required pam_jit.so rescue=ops",
                "account optional pam_jit.so",
            ),
            (
                "account required pam_jit.so rescue=ops",
                "account sufficient pam_unix.so\naccount required pam_jit.so",
            ),
            (
                "session required pam_jit.so",
                "# session required pam_jit.so",
            ),
            ("auth required pam_unix.so", "auth sufficient pam_unix.so"),
        ] {
            etc.write("sudo", &good.replace(from, to));
            assert!(!look().enabled && look().is_ours(), "{to}");
        }
        etc.write("sudo", &good.replace("pam_jit.so", "pam_jit.so observe"));
        assert!(look().enabled && look().observe);
    }
}
