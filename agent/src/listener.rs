//! The two sockets, and who may hold how many connections.
//!
//! agent.sock is for root: the PAM module inside root's and setuid processes, and root's verbs. Its
//! connections are counted by the *real* uid of the peer (whose sudo it is), or, for entry, by
//! service and remote host. user.sock is for everybody about themselves, counted by uid. So nobody
//! can starve another person's sudo, and a flood through sshd cannot starve sudo, su and login.

mod quota;

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;

use jit_protocol::message::{PamAsk, Refusal, Reply, Request};
use nix::sys::stat::{Mode, umask};
use tokio::net::{UnixListener, UnixStream};

use crate::conversation::Conversation;
use crate::gate::Gate;
use crate::names::NameError;
use crate::peer::Peer;
use crate::principal::{self, Kind};
use crate::verbs;
use quota::{Caller, Quota};

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

impl Listener {
    /// Binds `agent.sock` (0600) and `user.sock` (0666) in a root-owned folder, which is made if it
    /// is not there. What an earlier agent left is replaced.
    ///
    /// # Errors
    ///
    /// The system's, with the path; also if the folder belongs to somebody else or others may
    /// write to it: then whoever can would be the agent.
    pub fn bind(run: &Path) -> io::Result<Self> {
        prepare(run)?;
        Ok(Self {
            agent: bind(&run.join("agent.sock"), 0o600)?,
            user: bind(&run.join("user.sock"), 0o666)?,
        })
    }

    /// Serves until the future is dropped.
    pub async fn serve(self, gate: Arc<Gate>) {
        let quota = Arc::new(Quota::default());
        tokio::join!(
            accept(
                self.agent,
                Door::Agent,
                Arc::clone(&gate),
                Arc::clone(&quota)
            ),
            accept(self.user, Door::User, gate, quota),
        );
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

async fn accept(listener: UnixListener, door: Door, gate: Arc<Gate>, quota: Arc<Quota>) {
    loop {
        match listener.accept().await {
            Ok((socket, _)) => {
                let (gate, quota) = (Arc::clone(&gate), Arc::clone(&quota));
                tokio::spawn(async move { serve_one(socket, door, gate, quota).await });
            }
            // Out of descriptors, most likely: those that are open will close.
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
        }
    }
}

/// Serves one connection. Whoever is over a limit, or has no business here, is hung up on.
async fn serve_one(socket: UnixStream, door: Door, gate: Arc<Gate>, quota: Arc<Quota>) {
    let Ok(peer) = Peer::of(&socket) else { return };
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
    let mut talk = Conversation::new(socket);
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
