//! How long after its start the agent knows what it will know, and what it holds then.

use std::error::Error;
use std::fs;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::options::{Options, Stack};
use crate::sample::Sample;
use crate::{table, transaction};

/// How often it is started.
const STARTS: u32 = 7;

/// How long until it must have answered.
const PATIENCE: Duration = Duration::from_secs(30);

/// Starts an agent several times and prints a row.
pub(crate) fn run(arguments: &[String]) -> Result<(), Box<dyn Error>> {
    let [name, stack, program, rest @ ..] = arguments else {
        return Err("--start NAME FOLDER,USERS,UID,COUNT PROGRAM [ARGUMENT]...".into());
    };
    let options = Options::parse(&[format!("{name}={stack}")])?;
    let stack = options.stacks.first().ok_or("no stack")?;
    let mut times = Sample::default();
    let (mut resident, mut proportional) = (0, 0);
    for _ in 0..STARTS {
        let from = Instant::now();
        let mut agent = Command::new(program)
            .args(rest)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()?;
        let seen = wait(&options, stack, &mut agent, from);
        let found = seen.and_then(|took| Ok((took, memory(agent.id())?)));
        agent.kill()?;
        agent.wait()?;
        let (took, (rss, pss)) = found?;
        times.add(took);
        resident = resident.max(rss);
        proportional = proportional.max(pss);
    }
    table::row([
        name,
        &format!("{:.0} ms", times.median().as_secs_f64() * 1e3),
        &format!("{:.0} ms", times.p99().as_secs_f64() * 1e3),
        &format!(
            "{} MiB, {} MiB",
            mebibytes(resident),
            mebibytes(proportional)
        ),
    ]);
    Ok(())
}

/// Asks until the answer is right; what a question takes is part of it.
fn wait(
    options: &Options,
    stack: &Stack,
    agent: &mut Child,
    from: Instant,
) -> Result<Duration, Box<dyn Error>> {
    while from.elapsed() < PATIENCE {
        if transaction::measure_once(options, stack).is_ok() {
            return Ok(from.elapsed());
        }
        if let Some(status) = agent.try_wait()? {
            return Err(format!("{}: the agent ended: {status}", stack.name).into());
        }
        sleep(Duration::from_millis(1));
    }
    Err(format!("{}: no right answer in {PATIENCE:?}", stack.name).into())
}

/// Resident and proportional size in KiB, when it has come to rest.
fn memory(pid: u32) -> Result<(u64, u64), Box<dyn Error>> {
    sleep(Duration::from_millis(1500));
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let field = |name: &str| {
        rollup
            .lines()
            .find_map(|line| line.strip_prefix(name)?.split_ascii_whitespace().next())
            .and_then(|number| number.parse().ok())
            .ok_or(format!("no {name} in smaps_rollup"))
    };
    Ok((field("Rss:")?, field("Pss:")?))
}

fn mebibytes(kib: u64) -> u64 {
    kib.div_ceil(1024)
}
