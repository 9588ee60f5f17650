//! `jit`: what people and administrators type to see and steer pam_jit.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod agent;
mod audit;
mod check;
mod clock;
mod doctor;
mod failure;
mod files;
mod grant;
mod manual;
mod mfa;
mod notes;
mod pam;
mod policy;
mod qr;
mod screen;
mod status;
mod terminal;
mod text;
mod verify;
mod when;

use failure::{Exit, Failure};
use screen::Screen;

/// Just-in-time privilege for this host.
#[derive(Debug, Parser)]
#[command(
    name = "jit",
    version,
    about = "Just-in-time privilege: see what you may do now, and for how long",
    long_about = "Just-in-time privilege: see what you may do now, and for how long.

Nobody holds root all day on this host. sudo, su and logins open while a grant says so, and ask for \
a second factor when it matters. jit shows the grants, sets up the factor, and lets root give and \
take grants.",
    after_help = "Exit status: 0 yes, 1 no (refused, would be denied), 2 misuse, 3 the agent cannot be reached.",
    after_long_help = notes::JIT,
    subcommand_required = true,
    arg_required_else_help = true
)]
struct Cli {
    /// Print one JSON object instead of text
    #[arg(long, global = true, display_order = 900)]
    json: bool,
    /// The agent's socket, in place of the usual ones
    #[arg(long, global = true, hide = true, value_name = "PATH")]
    socket: Option<PathBuf>,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show my grants, the time left, and my factor
    Status(status::Status),
    /// Say what would happen, and why
    Check(check::Check),
    /// Prove my factor now, for this login session
    #[command(long_about = verify::ABOUT)]
    Verify(verify::Verify),
    /// Set up, show or forget a second factor
    #[command(subcommand)]
    Mfa(mfa::Mfa),
    /// Give, show and take back local grants (root)
    #[command(subcommand)]
    Grant(grant::Grant),
    /// Sign bundles of grants, check them, and steer the central policy
    #[command(subcommand)]
    Policy(policy::Policy),
    /// Read the audit journal, and prove that nobody edited it (root)
    #[command(subcommand)]
    Audit(audit::Audit),
    /// Compare trusted time with the wall clock (root)
    #[command(subcommand)]
    Clock(clock::Clock),
    /// Find what would lock people out, and ways round pam_jit
    #[command(long_about = doctor::ABOUT)]
    Doctor(doctor::Doctor),
    /// Put pam_jit in front of services, and take it away
    #[command(subcommand)]
    Pam(pam::Pam),
    /// Write the man pages
    #[command(hide = true)]
    Man(manual::Man),
    /// Print a completion script
    #[command(hide = true)]
    Completions(manual::Completions),
}

/// What every verb works with.
struct Desk {
    screen: Screen,
    socket: Option<PathBuf>,
}

impl Desk {
    fn socket(&self) -> Option<&Path> {
        self.socket.as_deref()
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let desk = Desk {
        screen: Screen::new(cli.json),
        socket: cli.socket,
    };
    let exit = run(cli.verb, &desk).unwrap_or_else(|failure| {
        desk.screen.failure(&failure);
        failure.exit
    });
    ExitCode::from(exit as u8)
}

fn run(verb: Verb, desk: &Desk) -> Result<Exit, Failure> {
    match verb {
        Verb::Status(verb) => verb.run(desk),
        Verb::Check(verb) => verb.run(desk),
        Verb::Verify(verb) => verb.run(desk),
        Verb::Mfa(verb) => verb.run(desk),
        Verb::Grant(verb) => verb.run(desk),
        Verb::Policy(verb) => verb.run(desk),
        Verb::Audit(verb) => verb.run(desk),
        Verb::Clock(verb) => verb.run(desk),
        Verb::Doctor(verb) => verb.run(desk),
        Verb::Pam(verb) => verb.run(desk),
        Verb::Man(verb) => verb.run(),
        Verb::Completions(verb) => verb.run(),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_defined() {
        super::Cli::command().debug_assert();
    }

    #[test]
    fn notes_fit_a_terminal() {
        fn narrow(command: &clap::Command) {
            let notes = command.get_after_long_help().map(ToString::to_string);
            for line in notes.iter().flat_map(|notes| notes.lines()) {
                let wide = line.chars().count();
                assert!(wide <= 80, "jit {}: {line}", command.get_name());
            }
            command.get_subcommands().for_each(narrow);
        }
        narrow(&super::Cli::command());
    }
}
