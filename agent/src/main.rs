//! `jit-agentd`: the local agent. It runs in the foreground, under a supervisor or plainly.

mod service;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use jit_agent::config::Config;

/// Answers the PAM module: may this person become that account, now?
#[derive(Debug, Parser)]
#[command(name = "jit-agentd", version)]
struct Args {
    /// Configuration.
    #[arg(long, value_name = "FILE", default_value = jit_agent::config::PATH)]
    config: PathBuf,
    /// Folder of the administrator's grants (*.toml).
    #[arg(long, value_name = "DIR", default_value = "/etc/pam_jit/grants.d")]
    grants: PathBuf,
    /// Folder of the agent's state; root's, made if absent.
    #[arg(long, value_name = "DIR", default_value = "/var/lib/pam_jit")]
    state: PathBuf,
    /// Folder of the sockets; root's, made if absent.
    #[arg(long, value_name = "DIR", default_value = "/run/pam_jit")]
    run: PathBuf,
    /// Only read the configuration: "ok", or what is wrong with it.
    #[arg(long)]
    check: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    if args.check {
        return check(&args.config);
    }
    match service::run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("jit-agentd: {error}");
            ExitCode::FAILURE
        }
    }
}

fn check(config: &Path) -> ExitCode {
    match Config::load(config) {
        Ok(_) => {
            println!("ok");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("jit-agentd: {error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_manual_has_every_option() {
        let page = include_str!("../../docs/man/jit-agentd.8");
        let mut command = super::Args::command();
        command.build();
        for option in command.get_arguments() {
            let long = option.get_long().unwrap();
            assert!(
                page.contains(&format!("\n.It Fl -{long}")),
                "--{long} is not in docs/man/jit-agentd.8"
            );
        }
    }
}
