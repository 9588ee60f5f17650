//! Questions on a real terminal: nothing typed is shown, and the terminal is given back as it was.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use jit_protocol::message::{Answer, Enrolment, Prompt, Refusal, Reply};
use nix::sys::signal::{Signal, kill};
use zeroize::Zeroizing;

use crate::pty::Pty;
use crate::world::{Agent, Line, Ran, status};

fn prompt(id: u32, text: &str) -> Reply {
    Reply::Prompt(Prompt {
        id,
        text: text.into(),
        echo: false,
    })
}

/// An agent that asks once and then says so.
fn asks_once() -> (Agent, Receiver<Answer>) {
    let (tell, told) = channel();
    let agent = Agent::start(move |line: &mut Line| {
        line.body();
        line.say(&Reply::Info("for alice\x1b[31m".into()));
        line.say(&prompt(7, "One-time code: "));
        tell.send(line.answer()).unwrap();
        line.say(&Reply::Done("proved for this login session".into()));
    });
    (agent, told)
}

/// An agent that asks and expects to be left.
fn is_left() -> Agent {
    Agent::start(|line| {
        line.body();
        line.say(&prompt(1, "One-time code: "));
        assert!(line.hung_up(), "an interrupted question has no answer");
    })
}

#[test]
fn a_code_is_asked_for_unseen_and_the_terminal_given_back() {
    let (agent, told) = asks_once();
    let mut pty = Pty::start(&agent.command(&["verify"]), None);
    pty.wait_for("for alice\\u{1b}[31m\r\n");
    pty.wait_for("One-time code: ");
    pty.wait_echo(false);
    pty.kind(b"123 456\n");
    pty.wait_for("proved for this login session");
    pty.wait_echo(true);
    let (ended, shown) = pty.end();
    assert_eq!(ended.code(), Some(0), "{shown}");
    assert!(!shown.contains("123") && !shown.contains("456"), "{shown}");
    let answer = told.recv().unwrap();
    assert_eq!((answer.id, answer.text.unwrap().as_str()), (7, "123 456"));
    agent.join();
}

#[test]
fn the_terminal_is_asked_even_when_everything_is_redirected() {
    let (agent, told) = asks_once();
    let mut command = Command::new("sh");
    command.args([
        "-c",
        "echo 999999 | \"$0\" verify --socket \"$1\" 2>/dev/null | cat >/dev/null",
    ]);
    command.arg(env!("CARGO_BIN_EXE_jit")).arg(agent.socket());
    let mut pty = Pty::start(&command, None);
    pty.wait_for("One-time code: ");
    pty.wait_echo(false);
    pty.kind(b"123456\n");
    assert_eq!(told.recv().unwrap().text.unwrap().as_str(), "123456");
    pty.end();
    agent.join();
}

#[test]
fn an_end_of_input_is_no_answer_and_a_backspace_corrects() {
    let (agent, told) = asks_once();
    let mut pty = Pty::start(&agent.command(&["verify"]), None);
    pty.wait_for("One-time code: ");
    pty.wait_echo(false);
    pty.kind(b"\x04");
    assert!(told.recv().unwrap().text.is_none());
    pty.end();
    agent.join();

    let (agent, told) = asks_once();
    let mut pty = Pty::start(&agent.command(&["verify"]), None);
    pty.wait_for("One-time code: ");
    pty.wait_echo(false);
    pty.kind(b"12345x\x7f6\n");
    assert_eq!(told.recv().unwrap().text.unwrap().as_str(), "123456");
    pty.end();
    agent.join();
}

#[test]
fn ctrl_c_and_its_kin_restore_the_echo_and_still_kill() {
    let by_key: [(&[u8], Signal); 2] = [(b"\x03", Signal::SIGINT), (b"\x1c", Signal::SIGQUIT)];
    for (key, signal) in by_key {
        let agent = is_left();
        let mut pty = Pty::start(&agent.command(&["verify"]), None);
        pty.wait_for("One-time code: ");
        pty.wait_echo(false);
        pty.kind(b"123");
        pty.kind(key);
        pty.wait_echo(true);
        let (ended, shown) = pty.end();
        assert_eq!(ended.signal(), Some(signal as i32), "{shown}");
        assert!(!shown.contains("123"));
        agent.join();
    }
    for signal in [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT] {
        let agent = is_left();
        let mut pty = Pty::start(&agent.command(&["verify"]), None);
        pty.wait_for("One-time code: ");
        pty.wait_echo(false);
        kill(pty.pid(), signal).unwrap();
        pty.wait_echo(true);
        assert_eq!(pty.end().0.signal(), Some(signal as i32));
        agent.join();
    }
}

#[test]
fn ctrl_z_gives_the_terminal_back_and_asks_again_afterwards() {
    let (agent, told) = asks_once();
    let mut shell = Command::new("bash");
    shell.args([
        "--norc",
        "-c",
        "set -m; \"$0\" verify --socket \"$1\"; echo stopped; read line; fg >/dev/null",
    ]);
    shell
        .arg(env!("CARGO_BIN_EXE_jit"))
        .arg(agent.socket())
        .env("TERM", "dumb")
        .env("PATH", "/usr/bin:/bin");
    let mut pty = Pty::start(&shell, None);
    pty.wait_for("One-time code: ");
    pty.wait_echo(false);
    pty.kind(b"12\x1a");
    pty.wait_for("stopped");
    pty.wait_echo(true);
    pty.kind(b"\n");
    pty.wait_for("One-time code: ");
    pty.wait_echo(false);
    pty.kind(b"123456\n");
    assert_eq!(
        told.recv().unwrap().text.unwrap().as_str(),
        "123456",
        "what was typed before the stop is gone"
    );
    pty.end();
    agent.join();
}

#[test]
fn what_was_typed_before_the_question_or_after_the_line_is_dropped() {
    let (agent, told) = asks_once();
    // The shell that follows must not read the rest of a pasted text as commands.
    let mut shell = Command::new("sh");
    shell.args([
        "-c",
        "\"$0\" verify --socket \"$1\"; stty -icanon min 0 time 2; echo \"rest=[$(cat)]\"",
    ]);
    shell
        .arg(env!("CARGO_BIN_EXE_jit"))
        .arg(agent.socket())
        .env("PATH", "/usr/bin:/bin");
    let mut pty = Pty::start(&shell, None);
    pty.wait_for("One-time code: ");
    pty.wait_echo(false);
    pty.kind(b"123456\nrm -rf x\n");
    pty.wait_for("rest=[");
    pty.wait_for("]");
    let (_, shown) = pty.end();
    assert!(shown.contains("rest=[]"), "{shown}");
    assert_eq!(told.recv().unwrap().text.unwrap().as_str(), "123456");
    agent.join();
}

#[test]
fn what_is_not_text_is_refused_here_and_too_much_is_cut() {
    let agent = is_left();
    let mut pty = Pty::start(&agent.command(&["verify"]), None);
    pty.wait_for("One-time code: ");
    pty.wait_echo(false);
    pty.kind(b"\xff\xfe\n");
    pty.wait_for("is not text");
    assert_eq!(pty.end().0.code(), Some(1));
    agent.join();

    let (agent, told) = asks_once();
    let mut pty = Pty::start(&agent.command(&["verify"]), None);
    pty.wait_for("One-time code: ");
    pty.wait_echo(false);
    pty.kind(&[b'7'; 3000]);
    pty.kind(b"\n");
    assert_eq!(told.recv().unwrap().text.unwrap().len(), 1024);
    pty.end();
    agent.join();
}

#[test]
fn without_a_terminal_it_says_so_and_answers_nothing() {
    let agent = is_left();
    let mut command = Command::new("setsid");
    let jit = agent.command(&["verify"]);
    command
        .arg("--wait")
        .arg(jit.get_program())
        .args(jit.get_args())
        .stdin(Stdio::null());
    let ran: Ran = command.output().unwrap().into();
    assert!(
        ran.expect(1).err.contains("needs a terminal"),
        "{}",
        ran.err
    );
    agent.join();

    // Enrolment does not even ask for a secret that nobody could read: there is no agent here.
    let mut command = Command::new("setsid");
    command.args(["--wait", env!("CARGO_BIN_EXE_jit")]);
    command.args(["mfa", "enroll", "--socket", "/nowhere/s"]);
    let ran: Ran = command.stdin(Stdio::null()).output().unwrap().into();
    assert!(
        ran.expect(1).err.contains("needs a terminal"),
        "{}",
        ran.err
    );
}

fn enrolment() -> Reply {
    Reply::Enrolment(Enrolment {
        otpauth: Zeroizing::new(
            "otpauth://totp/pam_jit:root?secret=JBSWY3DPEHPK3PXP&issuer=pam_jit".into(),
        ),
        secret: Zeroizing::new("JBSWY3DPEHPK3PXP".into()),
        recovery_codes: vec![
            Zeroizing::new("AAAA-BBBB".into()),
            Zeroizing::new("CCCC-DDDD".into()),
        ],
    })
}

#[test]
fn enrolling_shows_the_picture_asks_and_only_then_shows_recovery_codes() {
    let agent = Agent::start(|line| {
        line.body();
        // Somebody who has a factor proves it first.
        line.say(&prompt(1, "Current code: "));
        assert_eq!(line.answer().text.unwrap().as_str(), "111111");
        line.say(&enrolment());
        line.say(&prompt(2, "Code from the app: "));
        assert_eq!(line.answer().text.unwrap().as_str(), "222222");
        line.say(&Reply::Info("wrong, once more".into()));
        line.say(&prompt(3, "Code from the app: "));
        assert_eq!(line.answer().text.unwrap().as_str(), "333333");
        line.say(&Reply::Done("factor enrolled".into()));
    });
    // Standard output is a pipe here: no secret may go there.
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut pty = Pty::start(&agent.command(&["mfa", "enroll"]), Some(writer.into()));
    pty.wait_for("Current code: ");
    pty.wait_echo(false);
    pty.kind(b"111111\n");
    pty.wait_for("\x1b[38;5;16;48;5;231m");
    pty.wait_for("JBSW Y3DP EHPK 3PXP");
    pty.wait_for("Code from the app: ");
    assert!(!pty.shown.contains("AAAA"), "recovery codes come last");
    pty.wait_echo(false);
    pty.kind(b"222222\n");
    pty.wait_for("wrong, once more");
    pty.wait_for("Code from the app: ");
    pty.wait_echo(false);
    pty.kind(b"333333\n");
    pty.wait_for("AAAA-BBBB    CCCC-DDDD");
    let (ended, _) = pty.end();
    assert_eq!(ended.code(), Some(0));
    let mut out = String::new();
    std::io::Read::read_to_string(&mut reader, &mut out).unwrap();
    assert_eq!(out, "factor enrolled\n");
    agent.join();
}

#[test]
fn an_enrolment_that_fails_shows_no_recovery_codes() {
    let agent = Agent::start(|line| {
        line.body();
        line.say(&enrolment());
        line.say(&prompt(2, "Code from the app: "));
        line.answer();
        line.say(&Reply::Refused(Refusal {
            reason: "wrong".into(),
            message: "that code is wrong".into(),
        }));
    });
    let mut pty = Pty::start(&agent.command(&["mfa", "enroll"]), None);
    pty.wait_for("Code from the app: ");
    pty.wait_echo(false);
    pty.kind(b"222222\n");
    pty.wait_for("that code is wrong");
    let (ended, shown) = pty.end();
    assert_eq!(ended.code(), Some(1));
    assert!(!shown.contains("AAAA"));
    agent.join();
}

#[test]
fn colours_are_for_terminals_and_for_those_who_want_them() {
    let shown = |set: &[(&str, &str)]| {
        let agent = Agent::says([Reply::Status(status())]);
        let mut command = agent.command(&["status"]);
        command.envs(set.iter().copied());
        let mut pty = Pty::start(&command, None);
        pty.wait_for("factor");
        let (_, shown) = pty.end();
        agent.join();
        shown
    };
    assert!(shown(&[]).contains("\x1b[32mactive\x1b[0m"));
    assert!(
        shown(&[("NO_COLOR", "")]).contains('\x1b'),
        "empty means not set"
    );
    assert!(!shown(&[("NO_COLOR", "1")]).contains('\x1b'));
    assert!(!shown(&[("TERM", "dumb")]).contains('\x1b'));
    let piped = Agent::says([Reply::Status(status())]).run(&["status"]);
    assert!(!piped.out.contains('\x1b'));
}
