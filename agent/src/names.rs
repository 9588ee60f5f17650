//! uid ↔ name and groups, as this host's name service (NSS) tells them.
//!
//! NSS may be LDAP on a bad day: every look-up runs on a small pool, has a deadline, and what it
//! found is remembered for a minute. uid 0 is never looked up. A look-up that fails is an answer of
//! its own, which callers turn into "no": names are not found out later.

use std::collections::HashMap;
use std::ffi::CString;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::unistd::{Gid, Group, Uid, User, getgrouplist};
use tokio::sync::Semaphore;

/// How long a look-up may take.
const DEADLINE: Duration = Duration::from_millis(500);
/// How long what was found is believed; a person taken out of a group keeps it at most so long.
const KEEP: Duration = Duration::from_secs(60);
/// Look-ups under way at once; further ones wait within their own deadline.
const AT_ONCE: usize = 8;
/// People remembered at once. Only people who exist are, so this is room enough; past it the cache
/// starts afresh.
const MOST: usize = 8192;

/// A person of this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Numeric id; everything that is remembered of a person hangs on it.
    pub uid: u32,
    /// Login name.
    pub name: String,
    /// Names of their groups, the primary one included; empty if they could not be had.
    pub groups: Vec<String>,
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// There is no such person.
    #[error("no such account on this host")]
    Unknown,
    /// The name service did not answer in time, or failed.
    #[error("the name service did not answer within 500 ms")]
    Unavailable,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    Uid(u32),
    Name(String),
}

/// Who was asked after, what was found, and when.
type Known = HashMap<Key, (Arc<Account>, Instant)>;

/// Looks people up. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Names {
    known: Arc<Mutex<Known>>,
    pool: Arc<Semaphore>,
}

impl Default for Names {
    fn default() -> Self {
        Self {
            known: Arc::default(),
            pool: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }
}

impl Names {
    /// The person with this uid.
    ///
    /// # Errors
    ///
    /// [`NameError::Unknown`] if nobody has it, [`NameError::Unavailable`] if it is not known in time.
    pub async fn by_uid(&self, uid: u32) -> Result<Arc<Account>, NameError> {
        if uid == 0 {
            return Ok(root());
        }
        self.find(Key::Uid(uid)).await
    }

    /// The person with this login name.
    ///
    /// # Errors
    ///
    /// As [`Self::by_uid`].
    pub async fn by_name(&self, name: &str) -> Result<Arc<Account>, NameError> {
        if name == "root" {
            return Ok(root());
        }
        self.find(Key::Name(name.to_owned())).await
    }

    async fn find(&self, key: Key) -> Result<Arc<Account>, NameError> {
        if let Some(known) = self.remembered(&key) {
            return Ok(known);
        }
        let look_up = async {
            let permit = Arc::clone(&self.pool).acquire_owned().await.ok()?;
            let wanted = key.clone();
            // The permit goes with the thread, not with the caller's patience: a name service that
            // hangs holds AT_ONCE threads and no more.
            tokio::task::spawn_blocking(move || {
                let _permit = permit;
                ask_nss(&wanted)
            })
            .await
            .ok()
        };
        let found = match tokio::time::timeout(DEADLINE, look_up).await {
            Ok(Some(answer)) => Arc::new(answer?),
            _ => return Err(NameError::Unavailable),
        };
        self.remember(key, &found);
        Ok(found)
    }

    fn remembered(&self, key: &Key) -> Option<Arc<Account>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (account, since) = known.get(key)?;
        (since.elapsed() < KEEP).then(|| Arc::clone(account))
    }

    fn remember(&self, key: Key, account: &Arc<Account>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(key, (Arc::clone(account), Instant::now()));
    }
}

fn root() -> Arc<Account> {
    Arc::new(Account {
        uid: 0,
        name: "root".into(),
        groups: vec!["root".into()],
    })
}

fn ask_nss(key: &Key) -> Result<Account, NameError> {
    let user = match key {
        Key::Uid(uid) => User::from_uid(Uid::from_raw(*uid)),
        Key::Name(name) => User::from_name(name),
    };
    let user = user
        .map_err(|_| NameError::Unavailable)?
        .ok_or(NameError::Unknown)?;
    // Some name services fold case or cut suffixes: the name they were asked for must be the name
    // they give, or one person could appear under two.
    if let Key::Name(asked) = key
        && *asked != user.name
    {
        return Err(NameError::Unknown);
    }
    let groups = groups_of(&user.name, user.gid).unwrap_or_default();
    Ok(Account {
        uid: user.uid.as_raw(),
        name: user.name,
        groups,
    })
}

/// `None` if any of it fails: half a list is no list.
fn groups_of(name: &str, primary: Gid) -> Option<Vec<String>> {
    let name = CString::new(name).ok()?;
    let gids = getgrouplist(&name, primary).ok()?;
    let mut names = Vec::with_capacity(gids.len());
    for gid in gids {
        // A gid without a name is ordinary; a failed look-up is not.
        if let Some(group) = Group::from_gid(gid).ok()? {
            names.push(group.name);
        }
    }
    Some(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn finds_people_by_both_ends_and_never_asks_about_root() {
        let names = Names::default();
        let daemon = names.by_name("daemon").await.unwrap();
        assert_eq!(names.by_uid(daemon.uid).await.unwrap().name, "daemon");
        assert!(daemon.groups.iter().any(|g| g == "daemon"));
        assert_eq!(names.by_uid(0).await.unwrap().name, "root");
        assert_eq!(
            names.by_name("no-such-person-here").await,
            Err(NameError::Unknown)
        );
        assert_eq!(names.by_name("../../x").await, Err(NameError::Unknown));
        assert!(names.by_name("a\0b").await.is_err());
    }
}
