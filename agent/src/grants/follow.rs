//! Noticing that grants files change.

use super::local::Local;
use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::Notify;

/// How often to look although nothing was heard: a folder that does not exist yet cannot be
/// watched, and neither can what another host changes on a network file system.
const POLL: Duration = Duration::from_secs(5);
/// Changes come in swarms; wait for so long until a swarm is over.
const SWARM: Duration = Duration::from_millis(100);

/// Keeps the local grants as the folders have them, for as long as it is polled.
pub(super) async fn run(local: Arc<Local>) {
    let ear = Ear::new();
    loop {
        for folder in local.folders() {
            ear.listen_to(&folder);
        }
        let looking = Arc::clone(&local);
        let again = tokio::task::spawn_blocking(move || looking.rescan()).await;
        if let Some(wait) = again.unwrap_or(Some(POLL)) {
            tokio::time::sleep(wait).await;
            continue;
        }
        if tokio::time::timeout(POLL, ear.heard.notified())
            .await
            .is_ok()
        {
            tokio::time::sleep(SWARM).await;
        }
    }
}

/// Hears when something happens in a folder. What it was does not matter: all is looked at.
struct Ear {
    heard: Arc<Notify>,
    /// `None` where the system allows no more of them: then only the poll notices.
    inotify: Option<Arc<Inotify>>,
}

impl Ear {
    fn new() -> Self {
        let heard = Arc::new(Notify::new());
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC).ok().map(Arc::new);
        let listening = inotify.clone().zip(Some(Arc::downgrade(&heard)));
        let inotify = inotify.filter(|_| {
            let thread = std::thread::Builder::new().name("grants".to_owned());
            listening.is_some_and(|(inotify, heard)| {
                thread.spawn(move || listen(&inotify, &heard)).is_ok()
            })
        });
        Self { heard, inotify }
    }

    /// A folder that was replaced is another one to the kernel, so this is called again and again;
    /// one that is listened to already is not listened to twice.
    fn listen_to(&self, folder: &Path) {
        let what = AddWatchFlags::IN_MODIFY
            | AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_ATTRIB
            | AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_MOVE
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_MOVE_SELF
            | AddWatchFlags::IN_ONLYDIR;
        if let Some(inotify) = &self.inotify {
            // It may not exist yet: then the poll finds it.
            let _ = inotify.add_watch(folder, what);
        }
    }
}

/// Blocks for the kernel's news, on a thread of its own, until nobody wants them any more.
fn listen(inotify: &Inotify, heard: &Weak<Notify>) {
    loop {
        match inotify.read_events() {
            // signal(7): after a stop signal this read is not restarted by itself.
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return,
        }
        match heard.upgrade() {
            Some(heard) => heard.notify_one(),
            None => return,
        }
    }
}
