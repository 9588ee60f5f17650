//! `jit` as the only program of a terminal of its own.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::{Winsize, openpty};
use nix::sys::termios::{LocalFlags, tcgetattr};

/// A terminal with a program on it.
pub(crate) struct Pty {
    master: File,
    slave: OwnedFd,
    child: Child,
    /// Everything that was shown so far.
    pub(crate) shown: String,
    looked: usize,
}

impl Pty {
    /// Starts the command with the terminal as its controlling one. Its standard output and error
    /// are the terminal too, unless `out` is another.
    pub(crate) fn start(command: &Command, out: Option<Stdio>) -> Self {
        let size = Winsize {
            ws_row: 50,
            ws_col: 120,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let pty = openpty(&size, None).unwrap();
        let slave = || Stdio::from(pty.slave.try_clone().unwrap());
        // setsid(1) makes standard input the controlling terminal, and env(1) has signals do what
        // they do by default, whatever they do to these tests; doing it here would be unsafe.
        let mut session = Command::new("setsid");
        session
            .args(["--ctty", "env", "--default-signal"])
            .arg(command.get_program())
            .args(command.get_args());
        session.env_clear();
        for (key, value) in command.get_envs() {
            session.env(key, value.unwrap_or_default());
        }
        session
            .stdin(slave())
            .stdout(out.unwrap_or_else(slave))
            .stderr(slave());
        let child = session.spawn().unwrap();
        Self {
            master: File::from(pty.master),
            slave: pty.slave,
            child,
            shown: String::new(),
            looked: 0,
        }
    }

    /// Waits until this is shown, after what was waited for before.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, text: &str) {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            if let Some(at) = self.shown.get(self.looked..).and_then(|s| s.find(text)) {
                self.looked += at + text.len();
                return;
            }
            assert!(
                Instant::now() < deadline && self.read(),
                "{text:?} was not shown; this was:\n{}",
                self.shown
            );
        }
    }

    /// Takes what there is, waiting a little; false at the end.
    fn read(&mut self) -> bool {
        let mut fds = [PollFd::new(self.master.as_fd(), PollFlags::POLLIN)];
        if poll(&mut fds, PollTimeout::from(100_u16)).unwrap() == 0 {
            return true;
        }
        let mut chunk = [0; 4096];
        match self.master.read(&mut chunk) {
            Ok(got) if got > 0 => {
                self.shown.push_str(&String::from_utf8_lossy(&chunk[..got]));
                true
            }
            _ => false,
        }
    }

    pub(crate) fn kind(&mut self, keys: &[u8]) {
        self.master.write_all(keys).unwrap();
    }

    pub(crate) fn echoes(&self) -> bool {
        tcgetattr(&self.slave)
            .unwrap()
            .local_flags
            .contains(LocalFlags::ECHO)
    }

    /// Waits until the echo is as wanted: the program sets it just after it shows its question.
    #[track_caller]
    pub(crate) fn wait_echo(&self, wanted: bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.echoes() != wanted {
            assert!(Instant::now() < deadline, "echo never became {wanted}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn pid(&self) -> nix::unistd::Pid {
        nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap())
    }

    /// Waits for the end and reads what is left.
    pub(crate) fn end(mut self) -> (ExitStatus, String) {
        let deadline = Instant::now() + Duration::from_secs(20);
        let status = loop {
            self.read();
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if Instant::now() > deadline {
                let _ = self.child.kill();
                panic!("it did not end; shown:\n{}", self.shown);
            }
        };
        // What was written before the end is in the terminal's buffer by now.
        let before = self.shown.len();
        self.read();
        while self.shown.len() > before && self.child.try_wait().is_err() {}
        (status, std::mem::take(&mut self.shown))
    }
}
