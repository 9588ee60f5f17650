//! What people do in more than one test, and how one sees that they got in.

use jit_tests::{Ended, Pty, World};

/// The two programs that are called sudo.
pub(crate) const SUDOS: [&str; 2] = ["sudo", "/opt/sudo-rs/bin/sudo"];

/// Every refusal for want of a grant begins so.
pub(crate) const NO_GRANT: &str = "pam_jit: no active grant for";

/// `agent.toml` in which sudo and su ask for a factor as `mfa` says.
pub(crate) fn floor(mfa: &str) -> String {
    config("enforce", mfa, "")
}

/// `agent.toml` with sudo and su in one mode and with one floor, and `more` after it.
pub(crate) fn config(mode: &str, mfa: &str, more: &str) -> String {
    let section =
        |name| format!("[service.{name}]\nmode = \"{mode}\"\ngrant = true\nmfa = \"{mfa}\"\n");
    format!(
        "[agent]\nhost = \"web1\"\n{}{}{more}",
        section("sudo"),
        section("su")
    )
}

/// A world in which bob's sudo asks for no password.
pub(crate) fn world_without_bobs_password() -> World {
    let world = World::new();
    without_password(&world, "bob");
    world
}

/// Lets `user` use sudo without a password; `-v` spares it only if every rule does.
pub(crate) fn without_password(world: &World, user: &str) {
    world.must(&format!(
        "sed -i -E '/ALL=/s/(^|,){user}\\>/\\1nobody/' /etc/sudoers"
    ));
    world.write(
        &format!("/etc/sudoers.d/nopasswd-{user}"),
        &format!("{user} ALL=(ALL:ALL) NOPASSWD: ALL\n"),
    );
}

/// A shell of `user` on a terminal, with a prompt that is no answer to anything.
pub(crate) fn shell(world: &World, user: &str) -> Pty {
    let mut shell = world.pty(user, "PS1=':> ' bash --norc --noprofile");
    shell.expect(":> ");
    shell
}

/// Runs a command in a shell, answering what is asked; its exit status and what was shown
/// meanwhile. The command must not leave the shell.
pub(crate) fn at(shell: &mut Pty, command: &str, answers: &[(&str, &str)]) -> Ended {
    let before = shell.shown().len();
    // Written so that the echo of what is typed is not taken for the end.
    shell.send(&format!("{command}; echo en''ded=$?."));
    let mut texts: Vec<&str> = answers.iter().map(|(text, _)| *text).collect();
    texts.push("ended=");
    loop {
        match shell.first_of(&texts) {
            Some(which) if which < answers.len() => shell.send(answers[which].1),
            Some(_) => break,
            None => panic!("the shell ended: {}", shell.shown()),
        }
    }
    shell.expect(".");
    let text = shell.shown()[before..].to_owned();
    let (text, code) = text.rsplit_once("ended=").unwrap();
    let code = code.split('.').next().unwrap().parse().unwrap();
    Ended {
        code,
        text: text.to_owned(),
    }
}

/// How often sudo, sudo-rs or su asked for a password.
pub(crate) fn passwords_asked(text: &str) -> usize {
    times(text, "assword for ") + times(text, "assword: ")
}

/// How often `what` stands in `text`.
pub(crate) fn times(text: &str, what: &str) -> usize {
    text.matches(what).count()
}

/// Asserts that an elevation was refused for want of a grant, saying so exactly once, and that
/// nobody became root.
pub(crate) fn refused_once(ended: &Ended) {
    assert!(!ended.ok(), "not refused: {}", ended.text);
    assert_eq!(times(&ended.text, "pam_jit: "), 1, "{}", ended.text);
    assert!(ended.says(NO_GRANT), "{}", ended.text);
    assert!(!ended.says("uid=0(root)"), "{}", ended.text);
}

/// Files that only root can make, one for each attempt: the surest sign of having got in.
pub(crate) fn mark(nr: usize) -> String {
    format!("/root/got-in-{nr}")
}

/// Asserts that no attempt left a [`mark`].
pub(crate) fn nobody_got_in(world: &World) {
    let marks = world.must("ls /root");
    assert!(!marks.contains("got-in"), "somebody got in: {marks}");
}
