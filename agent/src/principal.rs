//! Who becomes whom.
//!
//! *Elevation*: the principal is the real uid of the process that asks, whatever the PAM items say
//! (under `targetpw`, `rootpw` and su, `PAM_USER` is the target in every phase). In the session
//! phase it is the one that the account phase fixed, and is never worked out again.
//! *Entry*: principal and target are `PAM_USER`.

use std::sync::Arc;

use jit_protocol::message::{PamAsk, Phase};

use crate::cmdline;
use crate::names::{Account, NameError, Names};
use crate::peer::Process;

/// Becoming somebody else, or coming in as oneself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// sudo, su, and whatever else runs setuid root for somebody.
    Elevation,
    /// sshd, login and the rest.
    Entry,
}

/// What the principal becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Entry: themselves.
    Itself,
    /// Not known yet: PAM hears of sudo's target only in the session phase.
    Unknown,
    /// An account.
    Account {
        /// Its name.
        name: String,
        /// Whether it is uid 0, or could be (the look-up failed).
        uid0: bool,
    },
    /// More than one account: edit mode, or a chosen group.
    Everything,
}

impl Target {
    /// As the policy's question wants it.
    #[must_use]
    pub fn as_policy(&self) -> jit_policy::Target<'_> {
        match self {
            Self::Itself => jit_policy::Target::Itself,
            Self::Unknown => jit_policy::Target::Unknown,
            Self::Account { name, uid0 } => jit_policy::Target::Account { name, uid0: *uid0 },
            Self::Everything => jit_policy::Target::Everything,
        }
    }

    /// The word for audit records; `None` while it is unknown.
    #[must_use]
    pub fn word(&self) -> Option<&str> {
        match self {
            Self::Itself | Self::Unknown => None,
            Self::Account { name, .. } => Some(name),
            Self::Everything => Some("*"),
        }
    }
}

/// Who becomes whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parties {
    /// Which way this is.
    pub kind: Kind,
    /// The human who acts.
    pub principal: Arc<Account>,
    /// What they become.
    pub target: Target,
}

/// The parties could not be told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unclear {
    /// The process's real or effective uid is not what the module said.
    #[error("the module's uids are not those of its process")]
    Ids,
    /// `PAM_RUSER` names somebody other than the real uid.
    #[error("PAM_RUSER names another person than the one who runs this")]
    Ruser,
    /// A session of an elevation without a principal fixed by its account phase.
    #[error("a session without an account phase before it")]
    NotFixed,
    /// The name service does not know, or does not answer for, the principal.
    #[error("{0}")]
    Name(NameError),
}

impl Unclear {
    /// The stable code for audit records.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Ids => "peer_mismatch",
            Self::Ruser => "ruser_mismatch",
            Self::NotFixed => "no_account_phase",
            Self::Name(NameError::Unknown) => "unknown_user",
            Self::Name(NameError::Unavailable) => "name_service",
        }
    }
}

/// Whether a service is elevation when this process asks for it.
#[must_use]
pub fn kind(service: &str, ruid: u32, euid: u32) -> Kind {
    let named = matches!(service, "sudo" | "sudo-i" | "su" | "su-l");
    if named || (ruid != 0 && euid == 0) {
        Kind::Elevation
    } else {
        Kind::Entry
    }
}

/// Works out the parties.
///
/// # Errors
///
/// [`Unclear`]: then the answer is no.
pub async fn parties(ask: &PamAsk, process: &Process, names: &Names) -> Result<Parties, Unclear> {
    if (ask.ruid, ask.euid) != (process.ruid, process.euid) {
        return Err(Unclear::Ids);
    }
    let in_session = matches!(ask.phase, Phase::SessionOpen | Phase::SessionClose);
    let kind = match ask.fixed {
        // doas and sudoedit have real uid 0 by now: that account fixed somebody is what tells.
        Some(_) if in_session => Kind::Elevation,
        _ => kind(&ask.service, process.ruid, process.euid),
    };
    if kind == Kind::Entry {
        let principal = names.by_name(&ask.user).await.map_err(Unclear::Name)?;
        return Ok(Parties {
            kind,
            principal,
            target: Target::Itself,
        });
    }
    let uid = match (in_session, ask.fixed) {
        (true, Some(fixed)) => fixed,
        (true, None) => return Err(Unclear::NotFixed),
        (false, _) => process.ruid,
    };
    let principal = names.by_uid(uid).await.map_err(Unclear::Name)?;
    if !in_session {
        same_person(ask.ruser.as_deref(), uid, names).await?;
    }
    let target = target(ask, in_session, &principal, names).await;
    Ok(Parties {
        kind,
        principal,
        target,
    })
}

async fn same_person(ruser: Option<&str>, uid: u32, names: &Names) -> Result<(), Unclear> {
    match ruser {
        None | Some("") => Ok(()),
        Some(name) => match names.by_name(name).await {
            Ok(account) if account.uid == uid => Ok(()),
            Ok(_) | Err(NameError::Unknown) => Err(Unclear::Ruser),
            Err(e) => Err(Unclear::Name(e)),
        },
    }
}

async fn target(ask: &PamAsk, in_session: bool, principal: &Account, names: &Names) -> Target {
    let is_sudo = jit_policy::base_service(&ask.service) == "sudo";
    if is_sudo && cmdline::changes_more_than_the_user(ask.cmdline.as_deref()) {
        return Target::Everything;
    }
    let is_su = jit_policy::base_service(&ask.service) == "su";
    // sudo says its target in the session phase; so does doas, whose PAM_USER is the caller before.
    if !in_session && (is_sudo || (!is_su && ask.user == principal.name)) {
        return Target::Unknown;
    }
    // Not found in time, or not at all: then it may be a twin of root, which only `root` covers.
    let uid0 = names
        .by_name(&ask.user)
        .await
        .map_or(true, |account| account.uid == 0);
    Target::Account {
        name: ask.user.clone(),
        uid0,
    }
}
