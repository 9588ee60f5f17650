//! Whole PAM transactions (`pam_start`, `pam_acct_mgmt`, `pam_end`) through the real libpam, several
//! stacks side by side in one run, so that what the machine does meanwhile hits all of them alike.
//!
//! ```text
//! pam-bench [--rounds N] [--concurrent N] [--service S] NAME=FOLDER,USERS,UID,COUNT[,refused]...
//! pam-bench --start NAME FOLDER,USERS,UID,COUNT PROGRAM [ARGUMENT]...
//! pam-bench --echo SOCKET
//! ```
//!
//! Each FOLDER holds PAM files as `/etc/pam.d` does; libpam loads what `other` names as well, so it
//! should name nothing else than the service's own file does. The transaction runs as in a
//! setuid-root program that its `PAM_USER` started: USERS1 with this UID, USERS2 with the next one,
//! and so on, taking turns. The first stack is what the others are compared with. A stack that says
//! anything but yes (or, with `refused`, no) even once ends the run.
//!
//! Two things are measured. *In a new process*: what sudo, su and sshd pay, the loading of the
//! module included. *Again in the same process*: what a daemon that stays pays from the second time
//! on. A module that asks not to be unloaded is loaded once in the latter case, so only the former
//! compares loading fairly.
//!
//! With `--start`: how long after its start the agent gives the answer that it will give from then
//! on, and how much memory it has then. With `--echo`: the other side of `pam_echo.so`, for as long
//! as it is left to run.

#![allow(clippy::print_stdout)]

mod echo;
mod options;
#[allow(dead_code, clippy::unwrap_used)]
#[path = "../../../pam_jit/tests/libpam/pam.rs"]
mod pam;
mod sample;
mod start;
mod table;
mod transaction;

use std::error::Error;
use std::process::ExitCode;

use options::Options;
use sample::Sample;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.split_first() {
        // What this program starts of itself.
        Some((word, rest)) if word == "--one" => transaction::child(rest),
        Some((word, rest)) if word == "--start" => start::run(rest),
        Some((word, rest)) if word == "--echo" => echo::run(rest),
        _ => Options::parse(&arguments).and_then(|options| run(&options)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pam-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let mut fresh = vec![Sample::default(); options.stacks.len()];
    let mut again = vec![Sample::default(); options.stacks.len()];
    for round in 0..options.rounds {
        // Each is the first of its round as often as the others.
        for at in 0..options.stacks.len() {
            let at = (at + round) % options.stacks.len();
            let Some(stack) = options.stacks.get(at) else {
                continue;
            };
            let mut times = transaction::measure(options, stack, round)?.into_iter();
            if let (Some(first), Some(sample)) = (times.next(), fresh.get_mut(at)) {
                sample.add(first);
            }
            if let Some(sample) = again.get_mut(at) {
                times.for_each(|time| sample.add(time));
            }
        }
    }
    table::compare("Account check in a new process", options, &fresh);
    table::compare("Again in the same process", options, &again);

    if options.concurrent > 0 {
        let mut all = Vec::new();
        for stack in &options.stacks {
            all.push(transaction::crowd(options, stack)?);
        }
        table::crowds(options, &all);
    }
    Ok(())
}
