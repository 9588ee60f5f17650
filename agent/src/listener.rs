//! The two sockets, and who may hold how many connections.
//!
//! agent.sock is for root: the PAM module inside root's and setuid processes, and root's verbs. Its
//! connections are counted by the *real* uid of the peer (whose sudo it is), or, for entry, by
//! service and remote host. user.sock is for everybody about themselves, counted by uid. So nobody
//! can starve another person's sudo, and a flood through sshd cannot starve sudo, su and login.

mod handover;
mod quota;

use std::fs;
use std::io;
use std::iter;
use std::num::NonZero;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use jit_protocol::message::{PamAsk, Refusal, Reply, Request};
use nix::sys::socket::{Shutdown, shutdown};
use nix::sys::stat::{Mode, umask};
use tokio::runtime::Handle;

use crate::conversation::Conversation;
use crate::gate::Gate;
use crate::line::Line;
use crate::names::NameError;
use crate::peer::Peer;
use crate::principal::{self, Kind};
use crate::verbs;
pub use handover::Kept;
use quota::{Caller, Quota};

/// Threads that accept at agent.sock. More would answer no sooner: an answer is work for a core.
const MOST_THREADS: usize = 4;

/// How long a thread that accepts waits for the question. The module connects before it has put the
/// question together, so most often it is on its way.
const SHORTLY: Duration = Duration::from_millis(20);

/// How long an agent that ends waits for the answers it has begun: a decision and its record on disk
/// take less. Nobody waits for a person who still types.
const LAST_ANSWERS: Duration = Duration::from_millis(500);

/// Which socket a connection came in by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// agent.sock: root.
    Agent,
    /// user.sock: everybody, about themselves.
    User,
}

/// Both sockets, bound.
#[derive(Debug)]
pub struct Listener {
    agent: UnixListener,
    user: UnixListener,
}

/// Sockets that are being served until this is dropped.
#[derive(Debug)]
pub struct Serving {
    site: Arc<Site>,
    /// Each with the door at which it accepts.
    threads: Vec<(Door, JoinHandle<()>)>,
}

/// What the threads that accept share.
#[derive(Debug)]
struct Site {
    listener: Listener,
    gate: Arc<Gate>,
    quota: Arc<Quota>,
    runtime: Handle,
    stopped: AtomicBool,
}

impl Listener {
    /// Takes over `agent.sock` (0600) and `user.sock` (0666) in a root-owned folder if the
    /// supervisor kept them. Else binds them, in place of what may be there, and leaves them with
    /// the supervisor; the folder is made if it is not there.
    ///
    /// # Errors
    ///
    /// The system's, with the path; also if the folder belongs to somebody else or others may
    /// write to it: then whoever can would be the agent.
    pub fn bind(run: &Path, mut kept: Kept) -> io::Result<Self> {
        prepare(run)?;
        let mut open = |name, mode| -> io::Result<UnixListener> {
            let path = run.join(name);
            if let Some(listener) = kept.listening(name, &path) {
                return Ok(listener);
            }
            let listener = bind(&path, mode)?;
            handover::leave(name, &listener);
            Ok(listener)
        };
        Ok(Self {
            agent: open("agent.sock", 0o600)?,
            user: open("user.sock", 0o666)?,
        })
    }

    fn at(&self, door: Door) -> &UnixListener {
        match door {
            Door::Agent => &self.agent,
            Door::User => &self.user,
        }
    }

    /// Serves from now on: threads of its own accept, and take a conversation of the module's as far
    /// as it goes without waiting; the runtime has all that wait.
    ///
    /// # Errors
    ///
    /// No thread could be started.
    pub fn serve(self, gate: Arc<Gate>, runtime: Handle) -> io::Result<Serving> {
        let mut serving = Serving {
            site: Arc::new(Site {
                listener: self,
                gate,
                quota: Arc::default(),
                runtime,
                stopped: AtomicBool::new(false),
            }),
            threads: Vec::new(),
        };
        let cores = thread::available_parallelism().map_or(MOST_THREADS, NonZero::get);
        let doors =
            iter::once(Door::User).chain(iter::repeat_n(Door::Agent, cores.clamp(2, MOST_THREADS)));
        for door in doors {
            let site = Arc::clone(&serving.site);
            let thread = thread::Builder::new()
                .name("listener".to_owned())
                .spawn(move || site.accept(door))?;
            serving.threads.push((door, thread));
        }
        Ok(serving)
    }
}

impl Drop for Serving {
    /// Lets those who are inside have their answers, if these do not take long, and waits for the
    /// threads: they hold the gate, and what it knows is written down when the last who holds it
    /// lets go. Who still waits outside stays in the queue, for the next agent if the sockets are
    /// kept for one.
    fn drop(&mut self) {
        let site = &self.site;
        site.stopped.store(true, Ordering::Relaxed);
        for (door, _) in &self.threads {
            // Whoever sleeps in accept(2) is woken by a caller, be it one who says nothing.
            let path = site.listener.at(*door).local_addr();
            let path = path.iter().find_map(SocketAddr::as_pathname);
            let _ = path.map(handover::call);
        }
        let out = || self.threads.iter().all(|(_, thread)| thread.is_finished());
        let end = Instant::now() + LAST_ANSWERS;
        while !(out() && site.quota.is_idle()) && Instant::now() < end {
            thread::sleep(Duration::from_millis(2));
        }
        if !out() {
            // Nobody could be called there. This wakes them, but the sockets are done with.
            for (door, _) in &self.threads {
                let _ = shutdown(site.listener.at(*door).as_raw_fd(), Shutdown::Both);
            }
        }
        for (_, thread) in self.threads.drain(..) {
            // One that panicked is out already.
            let _ = thread.join();
        }
    }
}

impl Site {
    fn accept(&self, door: Door) {
        let listener = self.listener.at(door);
        while !self.stopped.load(Ordering::Relaxed) {
            match listener.accept() {
                Ok((socket, _)) => self.attend(socket, door),
                // Out of descriptors, most likely: those that are open will close.
                Err(_) => thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    /// To wake another thread would cost about as much as the answer, so the one that accepted begins
    /// the conversation, and mostly ends it. A flood is held up by that, too: it cannot pile up work
    /// for the runtime faster than one thread does the first part of it.
    fn attend(&self, socket: UnixStream, door: Door) {
        let (gate, quota) = (Arc::clone(&self.gate), Arc::clone(&self.quota));
        let talk = serve_one(Line::Plain(socket), door, gate, quota);
        let mut talk = Box::pin(talk);
        let _inside = self.runtime.enter();
        let begun = catch_unwind(AssertUnwindSafe(|| {
            talk.as_mut().poll(&mut Context::from_waker(Waker::noop()))
        }));
        // The runtime looks at it afresh, so nothing is lost with the waker that does nothing.
        if matches!(begun, Ok(Poll::Pending)) {
            self.runtime.spawn(talk);
        }
    }
}

fn prepare(run: &Path) -> io::Result<()> {
    match fs::DirBuilder::new().mode(0o755).create(run) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(at(run, e)),
        _ => {}
    }
    let found = fs::symlink_metadata(run).map_err(|e| at(run, e))?;
    if !found.is_dir() || found.uid() != 0 || found.mode() & 0o022 != 0 {
        let why = "must be a folder of root's that others cannot write to";
        return Err(at(
            run,
            io::Error::new(io::ErrorKind::PermissionDenied, why),
        ));
    }
    Ok(())
}

fn bind(path: &Path, mode: u32) -> io::Result<UnixListener> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(at(path, e)),
        _ => {}
    }
    // Nobody but root may connect between bind and chmod.
    let before = umask(Mode::from_bits_truncate(0o177));
    let bound = UnixListener::bind(path);
    umask(before);
    let bound = bound.map_err(|e| at(path, e))?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(|e| at(path, e))?;
    Ok(bound)
}

fn at(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// Serves one connection. Whoever is over a limit, or has no business here, is hung up on.
async fn serve_one(line: Line, door: Door, gate: Arc<Gate>, quota: Arc<Quota>) {
    let Ok(peer) = Peer::of(&line) else { return };
    let (caller, process) = match door {
        Door::User => (Caller::Uid(peer.uid), None),
        Door::Agent if peer.uid != 0 => return,
        Door::Agent => match peer.process() {
            Ok(process) if process.ruid != 0 => (Caller::Sudoer(process.ruid), Some(process)),
            Ok(process) => (Caller::Root, Some(process)),
            Err(_) => return,
        },
    };
    let Some(mut place) = quota.enter(caller) else {
        return;
    };
    if door == Door::User && gate.names.by_uid(peer.uid).await == Err(NameError::Unknown) {
        return;
    }
    if door == Door::Agent {
        line.linger(SHORTLY);
    }
    let mut talk = Conversation::new(line);
    let request = match talk.request().await {
        Ok(request) => request,
        Err(broken) => {
            let reason = "protocol".to_owned();
            let refusal = Refusal {
                reason,
                message: broken.to_string(),
            };
            let _ = talk.say(&Reply::Refused(refusal)).await;
            return;
        }
    };
    match (process, request) {
        (Some(process), Request::Pam(ask)) => {
            if let Caller::Root = place.caller()
                && let Some(caller) = at_the_door(&ask)
                && !quota.change(&mut place, caller)
            {
                return;
            }
            let verdict = gate.pam(&ask, process, &mut talk).await;
            let _ = talk.say(&Reply::Verdict(verdict)).await;
            // Who was answered shall not wait for the pen.
            gate.audit.call();
        }
        (_, request) => verbs::serve(&gate, door, &peer, request, &mut talk).await,
    }
}

/// What an entry service's connection counts as; `None` for root's own elevation.
fn at_the_door(ask: &PamAsk) -> Option<Caller> {
    (principal::kind(&ask.service, ask.ruid, ask.euid) == Kind::Entry).then(|| Caller::Entry {
        service: ask.service.clone(),
        rhost: ask.rhost.clone().unwrap_or_default(),
    })
}
