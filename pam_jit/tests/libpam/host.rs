//! An application that uses PAM, in a process of its own: it may be setuid, have no standard
//! input, be confused by the environment, and crash.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::resource::{Resource, setrlimit};
use nix::unistd::{Uid, setresuid};
use serde::{Deserialize, Serialize};

use crate::pam::{self, Item, Transaction};
use crate::place::Place;

/// Among a hook's flags, as sudo always sets it.
pub(crate) const SILENT: i32 = 0x8000;

/// How long anything here may take before it counts as hung.
const HUNG: Duration = Duration::from_secs(30);

/// What the person, or a broken application, answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Reply {
    Text(Vec<u8>),
    /// After so many milliseconds.
    Late(u64, Vec<u8>),
    Nothing,
    NoResponse,
    Error(i32),
}

/// What the application does.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Host {
    confdir: PathBuf,
    report: PathBuf,
    service: String,
    user: Option<Vec<u8>>,
    ruser: Option<Vec<u8>>,
    tty: Option<Vec<u8>>,
    rhost: Option<Vec<u8>>,
    /// The real uid; the effective one stays 0.
    ruid: u32,
    flags: i32,
    reply: Reply,
    /// What info and error lines are answered with.
    reply_to_lines: Reply,
    closed_stdio: bool,
    interrupted: bool,
    no_descriptors: bool,
    steps: Vec<String>,
    #[serde(skip)]
    environment: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What came of it.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Report {
    /// Each step's return code.
    pub(crate) codes: Vec<i32>,
    /// How long each took, in milliseconds.
    pub(crate) millis: Vec<u64>,
    /// Style and text of what the person saw. Styles: 1 prompt, 2 visible prompt, 3 error, 4 info.
    pub(crate) shown: Vec<(i32, String)>,
    /// The lines that the module sent to syslog, from the service's name on.
    pub(crate) logged: Vec<String>,
    /// Descriptors that were open afterwards and not before.
    pub(crate) leaked: Vec<String>,
    /// What the process printed.
    #[serde(default)]
    pub(crate) printed: String,
}

impl Report {
    /// The one step's code, if it was in time.
    pub(crate) fn code(&self) -> i32 {
        assert_eq!(self.codes.len(), 1, "{self:?}");
        self.codes[0]
    }

    /// The error lines that the person saw.
    pub(crate) fn errors(&self) -> Vec<&str> {
        self.shown
            .iter()
            .filter(|(style, _)| *style == 3)
            .map(|(_, text)| text.as_str())
            .collect()
    }
}

impl Host {
    /// A setuid program of alice's (uid 1001), elevating to root by the name of sudo.
    pub(crate) fn sudo(place: &Place) -> Self {
        Self {
            confdir: place.confdir(),
            report: place.file("report"),
            service: "sudo".to_owned(),
            user: Some(b"alice".to_vec()),
            ruser: Some(b"alice".to_vec()),
            tty: Some(b"/dev/pts/3".to_vec()),
            rhost: None,
            ruid: 1001,
            flags: SILENT,
            reply: Reply::Text(b"123456".to_vec()),
            reply_to_lines: Reply::Nothing,
            closed_stdio: false,
            interrupted: false,
            no_descriptors: false,
            steps: Vec::new(),
            environment: Vec::new(),
        }
    }

    /// A daemon of root's that lets alice in from elsewhere.
    pub(crate) fn sshd(place: &Place) -> Self {
        Self {
            service: "sshd".to_owned(),
            ruser: None,
            tty: Some(b"ssh".to_vec()),
            rhost: Some(b"192.0.2.7".to_vec()),
            ruid: 0,
            flags: 0,
            ..Self::sudo(place)
        }
    }

    /// The console, where `user` comes in.
    pub(crate) fn login(place: &Place, user: &str) -> Self {
        Self {
            service: "login".to_owned(),
            user: Some(user.into()),
            tty: Some(b"/dev/tty1".to_vec()),
            rhost: None,
            ..Self::sshd(place)
        }
    }

    pub(crate) fn service(mut self, service: &str) -> Self {
        service.clone_into(&mut self.service);
        self
    }

    pub(crate) fn user(mut self, user: impl AsRef<[u8]>) -> Self {
        self.user = Some(user.as_ref().to_vec());
        self
    }

    pub(crate) fn nobody(mut self) -> Self {
        self.user = None;
        self
    }

    pub(crate) fn ruser(mut self, ruser: Option<&[u8]>) -> Self {
        self.ruser = ruser.map(<[u8]>::to_vec);
        self
    }

    pub(crate) fn tty(mut self, tty: impl AsRef<[u8]>) -> Self {
        self.tty = Some(tty.as_ref().to_vec());
        self
    }

    pub(crate) fn rhost(mut self, rhost: impl AsRef<[u8]>) -> Self {
        self.rhost = Some(rhost.as_ref().to_vec());
        self
    }

    pub(crate) fn ruid(mut self, ruid: u32) -> Self {
        self.ruid = ruid;
        self
    }

    pub(crate) fn flags(mut self, flags: i32) -> Self {
        self.flags = flags;
        self
    }

    pub(crate) fn reply(mut self, reply: Reply) -> Self {
        self.reply = reply;
        self
    }

    pub(crate) fn reply_to_lines(mut self, reply: Reply) -> Self {
        self.reply_to_lines = reply;
        self
    }

    pub(crate) fn closed_stdio(mut self) -> Self {
        self.closed_stdio = true;
        self
    }

    /// Signals arrive all the time.
    pub(crate) fn interrupted(mut self) -> Self {
        self.interrupted = true;
        self
    }

    /// Once the modules are loaded, not one more descriptor can be had.
    pub(crate) fn no_descriptors(mut self) -> Self {
        self.no_descriptors = true;
        self
    }

    pub(crate) fn environment(mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.environment
            .push((name.as_ref().to_vec(), value.as_ref().to_vec()));
        self
    }

    /// Does these steps in one transaction (`auth`, `account`, `open`, `close`, `setcred`,
    /// `chauthtok`; `uid=N` changes the real uid meanwhile), and reports. Fails if the process
    /// crashes or hangs.
    pub(crate) fn run(mut self, steps: &[&str]) -> Report {
        use std::os::unix::ffi::OsStringExt;
        self.steps = steps.iter().map(|step| (*step).to_owned()).collect();
        let scenario = self.report.with_extension("scenario");
        fs::write(&scenario, serde_json::to_vec(&self).unwrap()).unwrap();
        let mut command = Command::new(env::current_exe().unwrap());
        command
            .args(["--exact", "as_host", "--ignored", "--nocapture"])
            .env("PAM_JIT_TEST_SCENARIO", &scenario)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        for (name, value) in &self.environment {
            command.env(
                std::ffi::OsString::from_vec(name.clone()),
                std::ffi::OsString::from_vec(value.clone()),
            );
        }
        let mut child = command.spawn().unwrap();
        let mut streams = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let status = wait(&mut child);
        let mut printed = String::new();
        streams.0.read_to_string(&mut printed).unwrap();
        streams.1.read_to_string(&mut printed).unwrap();
        assert!(
            status.success(),
            "the host ended with {status} (signal {:?})\n{printed}",
            status.signal()
        );
        let report = fs::read(&self.report).unwrap();
        fs::remove_file(&self.report).unwrap();
        let mut report: Report = serde_json::from_slice(&report).unwrap();
        report.printed = printed;
        report
    }
}

fn wait(child: &mut Child) -> ExitStatus {
    let from = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if from.elapsed() > HUNG {
            let _ = child.kill();
            panic!("the host hangs");
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// The other side of [`Host::run`]. Does not return: with its descriptors closed, the test
/// harness could not even say that all is well.
pub(crate) fn play() {
    let scenario = env::var_os("PAM_JIT_TEST_SCENARIO").unwrap();
    let host: Host = serde_json::from_slice(&fs::read(scenario).unwrap()).unwrap();
    pam::let_sigpipe_kill();
    let syslog = collect_syslog();
    let mut writer = fs::File::create(&host.report).unwrap();
    if host.closed_stdio {
        for descriptor in 0..=2 {
            nix::unistd::close(descriptor).unwrap();
        }
    }
    if host.ruid != 0 {
        setresuid(host.ruid.into(), Uid::from_raw(0), Uid::from_raw(0)).unwrap();
    }
    let shown = Mutex::new(Vec::new());
    let mut report = Report::default();
    let before = descriptors();
    {
        let mut transaction = Transaction::start(
            &host.confdir,
            &host.service,
            host.user.as_deref(),
            Box::new(|style, text| {
                let text = String::from_utf8_lossy(text).into_owned();
                shown.lock().unwrap().push((style, text));
                let reply = if style <= 2 {
                    host.reply.clone()
                } else {
                    host.reply_to_lines.clone()
                };
                match reply {
                    Reply::Text(text) => pam::Reply::Text(text),
                    Reply::Late(millis, text) => {
                        thread::sleep(Duration::from_millis(millis));
                        pam::Reply::Text(text)
                    }
                    Reply::Nothing => pam::Reply::Nothing,
                    Reply::NoResponse => pam::Reply::NoResponse,
                    Reply::Error(code) => pam::Reply::Error(code),
                }
            }),
        );
        for (item, value) in [
            (Item::RUser, &host.ruser),
            (Item::Tty, &host.tty),
            (Item::RHost, &host.rhost),
        ] {
            if let Some(value) = value {
                transaction.set(item, value);
            }
        }
        let _interruptions = host.interrupted.then(pam::interruptions);
        if host.no_descriptors {
            setrlimit(Resource::RLIMIT_NOFILE, 0, 0).unwrap();
        }
        for step in &host.steps {
            if let Some(uid) = step.strip_prefix("uid=") {
                let uid = Uid::from_raw(uid.parse().unwrap());
                setresuid(uid, Uid::from_raw(0), Uid::from_raw(0)).unwrap();
                continue;
            }
            if let Some(user) = step.strip_prefix("user=") {
                transaction.set(Item::User, user.as_bytes());
                continue;
            }
            let from = Instant::now();
            report.codes.push(match step.as_str() {
                "auth" => transaction.authenticate(host.flags),
                "account" => transaction.account(host.flags),
                "open" => transaction.open(host.flags),
                "close" => transaction.close(host.flags),
                "setcred" => transaction.setcred(host.flags | 2),
                "chauthtok" => transaction.chauthtok(host.flags),
                other => panic!("no such step: {other}"),
            });
            let millis = from.elapsed().as_millis();
            report.millis.push(millis.try_into().unwrap());
        }
        let after = if host.no_descriptors {
            BTreeMap::new()
        } else {
            descriptors()
        };
        for (descriptor, what) in after {
            // libc keeps its line to syslogd.
            if !before.contains_key(&descriptor) && !is_datagram(&what) {
                report.leaked.push(format!("{descriptor} {what}"));
            }
        }
    }
    report.shown = shown.into_inner().unwrap();
    report.logged = syslog.lines();
    writer
        .write_all(&serde_json::to_vec(&report).unwrap())
        .unwrap();
    pam::leave();
}

/// A `/dev/log` of our own, and what went there.
struct Syslog {
    lines: mpsc::Receiver<String>,
    ourselves: UnixDatagram,
}

/// What we send there ourselves, last.
const LAST: &str = "that was all";

/// Puts it into a mount namespace of our own.
fn collect_syslog() -> Syslog {
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
    mount(Some("dev"), "/dev", Some("tmpfs"), MsFlags::empty(), none).unwrap();
    let socket = UnixDatagram::bind("/dev/log").unwrap();
    let (keep, lines) = mpsc::channel();
    thread::spawn(move || {
        let mut line = [0; 8192];
        while let Ok(length) = socket.recv(&mut line) {
            let text = String::from_utf8_lossy(&line[..length]).into_owned();
            keep.send(text).unwrap();
        }
    });
    let ourselves = UnixDatagram::unbound().unwrap();
    ourselves.connect("/dev/log").unwrap();
    Syslog { lines, ourselves }
}

impl Syslog {
    /// What the module sent there.
    fn lines(self) -> Vec<String> {
        self.ourselves.send(LAST.as_bytes()).unwrap();
        self.lines
            .iter()
            .take_while(|line| line != LAST)
            // After "<priority>time tag: " pam_syslog(3) names the module; libpam itself, which
            // complains about the module that stands for an ignore, does not.
            .filter_map(|line| Some(line.split_once(": libpam_jit(")?.1.to_owned()))
            .collect()
    }
}

fn descriptors() -> BTreeMap<i32, String> {
    fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|entry| {
            let entry = entry.unwrap();
            let what = fs::read_link(entry.path()).ok()?;
            let descriptor = entry.file_name().to_str().unwrap().parse().unwrap();
            Some((descriptor, what.to_string_lossy().into_owned()))
        })
        // The folder that is being read.
        .filter(|(_, what)| !what.ends_with("/fd"))
        .collect()
}

/// Whether it is a datagram socket, of which a host makes only one: libc's line to syslogd.
pub(crate) fn is_datagram(what: &str) -> bool {
    let Some(inode) = what
        .strip_prefix("socket:[")
        .and_then(|rest| rest.strip_suffix(']'))
    else {
        return false;
    };
    // The fifth field of a line there is the type: 0002 is a datagram socket.
    fs::read_to_string("/proc/self/net/unix")
        .unwrap()
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .any(|fields| fields.get(6) == Some(&inode) && fields.get(4) == Some(&"0002"))
}
