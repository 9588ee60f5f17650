//! A program on a terminal of the world.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, unlockpt};

/// How long a program may take to say what a test waits for.
const PATIENCE: Duration = Duration::from_secs(30);

/// A program with a terminal, and the person in front of it. Hung up when dropped.
pub struct Pty {
    child: Child,
    keyboard: File,
    screen: Arc<Screen>,
    reader: Option<JoinHandle<()>>,
    read: usize,
}

/// How a program on a terminal ended.
#[derive(Debug, Clone)]
pub struct Ended {
    /// Exit status; 128 + n for signal n.
    pub code: i32,
    /// All that was shown.
    pub text: String,
}

impl Ended {
    /// Whether it exited with 0.
    #[must_use]
    pub fn ok(&self) -> bool {
        self.code == 0
    }

    /// Whether any of what was shown contains `text`.
    #[must_use]
    pub fn says(&self, text: &str) -> bool {
        self.text.contains(text)
    }
}

#[derive(Default)]
struct Screen {
    shown: Mutex<Shown>,
    changed: Condvar,
    left: AtomicBool,
}

#[derive(Default)]
struct Shown {
    bytes: Vec<u8>,
    ended: bool,
}

impl Screen {
    /// Shows what the program writes, until it ends or nobody looks any more.
    fn follow(&self, mut source: File) {
        let glance = Timespec {
            tv_sec: 0,
            tv_nsec: 50_000_000,
        };
        let mut buffer = [0; 4096];
        while !self.left.load(Ordering::Relaxed) {
            let waiting = poll(&mut [PollFd::new(&source, PollFlags::IN)], Some(&glance));
            if waiting == Ok(0) {
                continue;
            }
            let n = source.read(&mut buffer).unwrap_or(0);
            let mut shown = self.shown.lock().unwrap();
            shown.bytes.extend_from_slice(&buffer[..n]);
            shown.ended = n == 0;
            self.changed.notify_all();
            if n == 0 {
                break;
            }
        }
    }
}

impl Pty {
    /// Starts `command` on a new terminal of the devpts instance that `ptmx` belongs to.
    pub(crate) fn start(ptmx: &str, mut command: Command) -> Self {
        let flags = OFlags::NOCTTY | OFlags::CLOEXEC;
        let master = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(i32::try_from(flags.bits()).unwrap())
            .open(ptmx)
            .unwrap_or_else(|e| panic!("{ptmx}: {e}"));
        unlockpt(&master).unwrap();
        let slave: OwnedFd = ioctl_tiocgptpeer(
            &master,
            OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC,
        )
        .unwrap();
        command.stdin(slave.try_clone().unwrap());
        command.stdout(slave.try_clone().unwrap());
        command.stderr(slave);
        let child = command.spawn().unwrap();
        // Our copies of the terminal, or its end would never be seen.
        drop(command);

        let screen = Arc::new(Screen::default());
        let (source, sink) = (master.try_clone().unwrap(), Arc::clone(&screen));
        let reader = std::thread::spawn(move || sink.follow(source));
        Self {
            child,
            keyboard: master,
            screen,
            reader: Some(reader),
            read: 0,
        }
    }

    /// Types a line.
    pub fn send(&mut self, line: &str) {
        self.keys(format!("{line}\n").as_bytes());
    }

    /// Types bytes as they are (`\x03` interrupts).
    pub fn keys(&mut self, bytes: &[u8]) {
        self.keyboard.write_all(bytes).unwrap();
    }

    /// Waits for the first of `texts` to be shown after what was waited for before; which one.
    /// None when the program ends first. Panics when neither happens.
    pub fn first_of(&mut self, texts: &[&str]) -> Option<usize> {
        let end = Instant::now() + PATIENCE;
        let mut shown = self.screen.shown.lock().unwrap();
        loop {
            let fresh = &shown.bytes[self.read..];
            let hit = texts
                .iter()
                .enumerate()
                .filter_map(|(i, text)| find(fresh, text.as_bytes()).map(|at| (at, i)))
                .min();
            if let Some((at, which)) = hit {
                self.read += at + texts[which].len();
                return Some(which);
            }
            if shown.ended {
                return None;
            }
            let left = end.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero(),
                "waited in vain for {texts:?}; shown: {}",
                String::from_utf8_lossy(&shown.bytes)
            );
            shown = self.screen.changed.wait_timeout(shown, left).unwrap().0;
        }
    }

    /// Waits for `text` to be shown.
    pub fn expect(&mut self, text: &str) {
        assert!(
            self.first_of(&[text]).is_some(),
            "ended without showing {text:?}; shown: {}",
            self.shown()
        );
    }

    /// Everything shown up to now.
    #[must_use]
    pub fn shown(&self) -> String {
        let shown = self.screen.shown.lock().unwrap();
        String::from_utf8_lossy(&shown.bytes).into_owned()
    }

    /// Answers every prompt with the line that belongs to it, until the program ends.
    #[must_use]
    pub fn answer(mut self, prompts: &[(&str, &str)]) -> Ended {
        let texts: Vec<&str> = prompts.iter().map(|(text, _)| *text).collect();
        while let Some(which) = self.first_of(&texts) {
            self.send(prompts[which].1);
        }
        self.end()
    }

    /// Waits until the program has ended.
    #[must_use]
    pub fn end(mut self) -> Ended {
        while self.first_of(&[]).is_some() {}
        let code = crate::status(self.child.wait().unwrap());
        Ended {
            code,
            text: self.shown(),
        }
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        // The reader's copy of the terminal has to go too, or nothing would be hung up.
        self.screen.left.store(true, Ordering::Relaxed);
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|w| w == needle)
}
