//! The person's terminal: secrets are shown and typed here, never through standard output, which
//! may be a pipe or a file.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, raise};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use crate::failure::Failure;
use crate::screen::paint_for;
use crate::text::{Paint, plain_lines};

/// How long a question waits for its answer; the agent forgets it about then.
const PATIENCE: Duration = Duration::from_secs(120);

/// More than any code, less than a page.
const LONGEST: usize = 1024;

/// The controlling terminal, opened by name so that redirections do not matter.
#[derive(Debug)]
pub(crate) struct Terminal {
    file: File,
}

/// Why nothing was typed.
enum Silence {
    Signal(Signal),
    Timeout,
    Gone(Errno),
}

impl Terminal {
    /// Opens `/dev/tty`.
    ///
    /// # Errors
    ///
    /// When the process has no terminal.
    pub(crate) fn open() -> Result<Self, Failure> {
        OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(nix::libc::O_NOCTTY)
            .open("/dev/tty")
            .map(|file| Self { file })
            .map_err(|e| {
                Failure::no(
                    "no_terminal",
                    format!("this asks for a code and needs a terminal to ask on (/dev/tty: {e})"),
                )
            })
    }

    /// The colours of this terminal, whatever standard output is.
    pub(crate) fn paint(&self) -> Paint {
        paint_for(&self.file)
    }

    /// Writes as is; the caller has escaped what came from elsewhere.
    ///
    /// # Errors
    ///
    /// When the terminal is gone.
    pub(crate) fn write(&mut self, text: &str) -> Result<(), Failure> {
        self.file
            .write_all(text.as_bytes())
            .map_err(|e| Failure::no("no_terminal", format!("the terminal is gone: {e}")))
    }

    /// Asks, and gives the line typed; nothing if the person ended the input (Ctrl-D).
    ///
    /// Ctrl-C, a hang-up and their kin first give the terminal back its echo and then end the
    /// process as they always do; Ctrl-Z does too, and asks again afterwards.
    ///
    /// # Errors
    ///
    /// When nobody types for two minutes, or the terminal is gone.
    pub(crate) fn ask(
        &mut self,
        question: &str,
        echo: bool,
    ) -> Result<Option<Zeroizing<String>>, Failure> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let typed = self.listen(&plain_lines(question), echo, deadline);
            if !echo || typed.is_err() {
                self.write("\n")?;
            }
            match typed {
                Ok(None) => return Ok(None),
                Ok(Some(line)) => return text_of(&line).map(Some),
                // The mask is back as it was: this stops the process until SIGCONT, or ends it.
                Err(Silence::Signal(signal)) => {
                    raise(signal).map_err(|e| Failure::no("interrupted", e.to_string()))?;
                    if signal != Signal::SIGTSTP {
                        // Only when whoever started us had it blocked.
                        return Err(Failure::no("interrupted", "interrupted"));
                    }
                }
                Err(Silence::Timeout) => {
                    let message = "nothing was typed for two minutes; run it again";
                    return Err(Failure::no("timeout", message));
                }
                Err(Silence::Gone(e)) => {
                    let message = format!("the terminal is gone: {e}");
                    return Err(Failure::no("no_terminal", message));
                }
            }
        }
    }

    /// Shows the question only once the echo is off: whoever answers at once is heard, unseen.
    fn listen(
        &self,
        question: &str,
        echo: bool,
        deadline: Instant,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, Silence> {
        let hush = Hush::begin(&self.file, echo).map_err(Silence::Gone)?;
        (&self.file)
            .write_all(question.as_bytes())
            .map_err(|e| Silence::Gone(e.raw_os_error().map_or(Errno::EIO, Errno::from_raw)))?;
        hush.line(deadline)
    }
}

fn text_of(line: &[u8]) -> Result<Zeroizing<String>, Failure> {
    let text = std::str::from_utf8(line)
        .map_err(|_| Failure::no("not_text", "what was typed is not text; run it again"))?;
    Ok(Zeroizing::new(text.trim().to_owned()))
}

/// The terminal while it listens. Dropping it gives back echo and signals.
struct Hush<'t> {
    tty: &'t File,
    before: Termios,
    mask: SigSet,
    signals: SignalFd,
}

impl<'t> Hush<'t> {
    fn begin(tty: &'t File, echo: bool) -> Result<Self, Errno> {
        let mut wanted = SigSet::empty();
        for signal in [
            Signal::SIGINT,
            Signal::SIGQUIT,
            Signal::SIGTERM,
            Signal::SIGHUP,
            Signal::SIGTSTP,
        ] {
            wanted.add(signal);
        }
        let before = tcgetattr(tty)?;
        let signals = SignalFd::with_flags(&wanted, SfdFlags::SFD_CLOEXEC)?;
        // This process has one thread, so its mask is the process's.
        let mask = SigSet::thread_get_mask()?;
        wanted.thread_block()?;
        let hush = Self {
            tty,
            before,
            mask,
            signals,
        };
        let mut during = hush.before.clone();
        if !echo {
            during.local_flags.remove(LocalFlags::ECHO);
            during.local_flags.remove(LocalFlags::ECHONL);
        }
        during
            .local_flags
            .insert(LocalFlags::ICANON | LocalFlags::ISIG);
        // Flush: what was typed before the question is not its answer.
        tcsetattr(tty, SetArg::TCSAFLUSH, &during)?;
        Ok(hush)
    }

    /// One line, without its end; nothing at end of input.
    fn line(&self, deadline: Instant) -> Result<Option<Zeroizing<Vec<u8>>>, Silence> {
        // Whole from the start: growing would leave copies behind that nobody wipes.
        let mut line = Zeroizing::new(Vec::with_capacity(LONGEST));
        let mut chunk = Zeroizing::new([0_u8; LONGEST]);
        loop {
            self.wait(deadline)?;
            let room = LONGEST - line.len();
            let part = chunk.get_mut(..room).unwrap_or_default();
            let got = nix::unistd::read(self.tty, part).map_err(Silence::Gone)?;
            let new = chunk.get(..got).unwrap_or_default();
            let end = new.iter().position(|b| *b == b'\n');
            line.extend_from_slice(new.get(..end.unwrap_or(got)).unwrap_or_default());
            if got == 0 && line.is_empty() {
                return Ok(None);
            }
            if end.is_some() || got == 0 || line.len() == LONGEST {
                return Ok(Some(line));
            }
        }
    }

    /// Until something was typed or a signal came.
    fn wait(&self, deadline: Instant) -> Result<(), Silence> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let millis = i32::try_from(left.as_millis()).unwrap_or(i32::MAX);
            let timeout = PollTimeout::try_from(millis).unwrap_or(PollTimeout::ZERO);
            let mut both = [
                PollFd::new(self.tty.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
            ];
            match poll(&mut both, timeout) {
                Ok(0) => return Err(Silence::Timeout),
                Err(Errno::EINTR) => continue,
                Err(e) => return Err(Silence::Gone(e)),
                Ok(_) => {}
            }
            let [tty, signals] = both;
            if signals.any() == Some(true) {
                return Err(self.signal());
            }
            if tty.any() == Some(true) {
                return Ok(());
            }
        }
    }

    fn signal(&self) -> Silence {
        match self.signals.read_signal() {
            Ok(Some(info)) => i32::try_from(info.ssi_signo)
                .ok()
                .and_then(|number| Signal::try_from(number).ok())
                .map_or(Silence::Gone(Errno::EINTR), Silence::Signal),
            Ok(None) => Silence::Gone(Errno::EINTR),
            Err(e) => Silence::Gone(e),
        }
    }
}

impl Drop for Hush<'_> {
    fn drop(&mut self) {
        // Flush: the rest of a pasted line must not become a command of the shell. Nothing can
        // be done about a terminal that is gone.
        let _ = tcsetattr(self.tty, SetArg::TCSAFLUSH, &self.before);
        let _ = self.mask.thread_set_mask();
    }
}
