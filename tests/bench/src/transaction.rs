//! One transaction, in a process that did nothing before it.

use std::error::Error;
use std::io::{self, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::unistd::{Uid, setresuid};

use crate::options::{Options, Stack};
use crate::pam::{Reply, Transaction};
use crate::sample::Sample;

/// How often a child repeats what it did, after the first time.
const AGAIN: u32 = 5;

/// Return codes, as `_pam_types.h` numbers them.
const SUCCESS: &str = "0";
const PERM_DENIED: &str = "6";

/// What a crowd came to.
#[derive(Debug, Default)]
pub(crate) struct Crowd {
    pub(crate) sample: Sample,
    /// From the moment that all were let go until the last one was done.
    pub(crate) whole: Duration,
}

/// The times of one new process: its first transaction, then the repeated ones.
///
/// # Errors
///
/// Also when an account check does not say what the stack has to say: it would be another thing
/// that was measured.
pub(crate) fn measure(
    options: &Options,
    stack: &Stack,
    turn: usize,
) -> Result<Vec<Duration>, Box<dyn Error>> {
    read(start(options, stack, turn, AGAIN, Stdio::null())?, stack)
}

/// As [`measure`], without repetition.
pub(crate) fn measure_once(
    options: &Options,
    stack: &Stack,
) -> Result<Vec<Duration>, Box<dyn Error>> {
    read(start(options, stack, 0, 0, Stdio::null())?, stack)
}

/// Many processes, each ready for its one transaction, let go at the same moment.
pub(crate) fn crowd(options: &Options, stack: &Stack) -> Result<Crowd, Box<dyn Error>> {
    // All wait for the end of the same pipe, which comes when this side of it is dropped.
    let (wait, go) = io::pipe()?;
    let mut children = Vec::new();
    for turn in 0..options.concurrent {
        children.push(start(options, stack, turn, 0, wait.try_clone()?.into())?);
    }
    // They are as good as ready when they have had the time to start.
    std::thread::sleep(Duration::from_millis(500));
    let from = Instant::now();
    drop(go);
    let mut crowd = Crowd::default();
    let mut wrong = Vec::new();
    for child in children {
        match read(child, stack) {
            Ok(times) => times.into_iter().for_each(|time| crowd.sample.add(time)),
            Err(error) => wrong.push(error.to_string()),
        }
    }
    crowd.whole = from.elapsed();
    match wrong.first() {
        None => Ok(crowd),
        Some(first) => Err(format!("{first} ({} of {})", wrong.len(), options.concurrent).into()),
    }
}

fn start(
    options: &Options,
    stack: &Stack,
    turn: usize,
    again: u32,
    stdin: Stdio,
) -> io::Result<Child> {
    let (user, ruid) = stack.people.at(turn);
    Command::new(std::env::current_exe()?)
        .arg("--one")
        .arg(&stack.folder)
        .args([&options.service, &user])
        .args([ruid.to_string(), again.to_string()])
        .stdin(stdin)
        .stdout(Stdio::piped())
        .spawn()
}

/// What a child said, if it is what the stack has to say.
fn read(child: Child, stack: &Stack) -> Result<Vec<Duration>, Box<dyn Error>> {
    let output = child.wait_with_output()?;
    if !output.status.success() {
        return Err(format!("{}: a transaction ended with {}", stack.name, output.status).into());
    }
    let mut times = Vec::new();
    for line in String::from_utf8(output.stdout)?.lines() {
        let (code, nanos) = line.split_once(' ').ok_or("a child said nonsense")?;
        let as_wanted = match stack.refused {
            false => code == SUCCESS,
            true => code == PERM_DENIED,
        };
        if !as_wanted {
            return Err(format!("{}: the account check says {code}", stack.name).into());
        }
        times.push(Duration::from_nanos(nanos.parse()?));
    }
    Ok(times)
}

/// The other side of [`start`].
pub(crate) fn child(arguments: &[String]) -> Result<(), Box<dyn Error>> {
    let [folder, service, user, ruid, again] = arguments else {
        return Err("--one is for this program itself".into());
    };
    let (ruid, again): (u32, u32) = (ruid.parse()?, again.parse()?);
    setresuid(Uid::from_raw(ruid), Uid::from_raw(0), Uid::from_raw(0))?;
    io::stdin().read_to_end(&mut Vec::new())?;
    let mut said = Vec::new();
    for _ in 0..=again {
        said.push(once(Path::new(folder), service, user));
    }
    for (code, time) in said {
        println!("{code} {}", time.as_nanos());
    }
    Ok(())
}

fn once(folder: &Path, service: &str, user: &str) -> (i32, Duration) {
    let from = Instant::now();
    let mut transaction = Transaction::start(
        folder,
        service,
        Some(user.as_bytes()),
        Box::new(|_, _| Reply::Nothing),
    );
    let code = transaction.account(0);
    drop(transaction);
    (code, from.elapsed())
}
