//! What people do at the doors, for the tests of this program.

use std::time::{Duration, Instant};

use jit_tests::{Ended, Output, World};

/// sudo needs a grant and no factor: for tests that are about something else than factors.
pub(crate) const BY_GRANT: &str = r#"
[agent]
host = "web1"
[service.sudo]
mode = "enforce"
grant = true
mfa = "none"
"#;

/// A configuration in which entry needs this much.
pub(crate) fn entry(grant: bool, mfa: &str) -> String {
    let mut toml = BY_GRANT.to_owned();
    for service in ["sshd", "login"] {
        toml += &format!("[service.{service}]\nmode = \"enforce\"\n");
        toml += &format!("grant = {grant}\nmfa = \"{mfa}\"\n");
    }
    toml
}

/// Lets everybody use sudo without a password, so that our lines are all that stands in the way.
pub(crate) fn nopasswd(world: &World) {
    world.must(
        "echo 'alice,bob,carol,mallory ALL=(ALL:ALL) NOPASSWD: ALL' >/etc/sudoers.d/nopasswd",
    );
}

/// A world in which sudo asks for no password and needs a grant and no factor; alice has one.
pub(crate) fn granted_world() -> World {
    let world = World::new();
    nopasswd(&world);
    world.config(BY_GRANT);
    world.grant("--user alice --service sudo --for 1h --id alice");
    world
}

/// `sudo -n id`, without a terminal.
pub(crate) fn sudo(world: &World, user: &str) -> Output {
    world.run_as(user, "sudo -n id")
}

/// Whether a person becomes root.
pub(crate) fn becomes_root(world: &World, user: &str) -> bool {
    sudo(world, user).out.contains("uid=0(root)")
}

/// What is shown once somebody is in, whoever they are.
pub(crate) const INSIDE: &str = "in-as-";

/// `ssh` by one method, run by `user` on a terminal; `more` are further options and the address.
pub(crate) fn ssh(world: &World, user: &str, method: &str, more: &str, code: &str) -> Ended {
    let options = format!("-o LogLevel=INFO -o PreferredAuthentications={method}");
    let command = format!("ssh {options} {more} 'echo {INSIDE}$(id -un)'");
    world.type_at(user, &command, code)
}

/// Whether somebody got in as `user`.
pub(crate) fn is_in(ended: &Ended, user: &str) -> bool {
    ended.says(&format!("{INSIDE}{user}"))
}

/// `login` at the console of the machine: the password, the code where one is asked for, and out
/// again. All that was shown.
pub(crate) fn login(world: &World, user: &str, code: &str) -> String {
    let mut console = world.pty("root", "login");
    console.expect("login: ");
    console.send(user);
    loop {
        match console.first_of(&["assword: ", "One-time code: ", "incorrect", "$ ", "# "]) {
            Some(0) => console.send(&format!("{user}-password")),
            Some(1) => console.send(code),
            // The terminal echoes what is typed, so what is typed must not be the mark itself.
            Some(3 | 4) => {
                console.send("echo in-'as'-$(id -un); exit");
                return console.end().text;
            }
            _ => return console.shown(),
        }
    }
}

/// Does something and says how long it took.
pub(crate) fn timed<T>(what: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let done = what();
    (done, start.elapsed())
}

/// The time within which every door answers whatever the agent does: the module's deadline of two
/// seconds, what the programs around it take, and what a busy machine adds.
pub(crate) const PROMPTLY: Duration = Duration::from_secs(8);
