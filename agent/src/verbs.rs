//! What `jit` asks: everybody about themselves at user.sock, root about anybody at agent.sock.

mod factor;
mod own;
mod root;

use std::sync::Arc;

use jit_protocol::message::{Refusal, Reply, Request};

use crate::conversation::{Broken, Conversation};
use crate::gate::Gate;
use crate::listener::Door;
use crate::mfa::Person;
use crate::names::{Account, NameError};
use crate::peer::{Peer, Process};

/// Who asks, by which door.
struct Caller {
    account: Arc<Account>,
    process: Process,
    /// Came in by agent.sock, which only root can open.
    is_root: bool,
}

/// A verb that was not done.
struct No(Refusal);

type Answer = Result<Reply, No>;

impl No {
    fn new(reason: &str, message: impl Into<String>) -> Self {
        Self(Refusal {
            reason: reason.to_owned(),
            message: message.into(),
        })
    }

    fn root_only() -> Self {
        Self::new("not_permitted", "only root may do this")
    }

    fn broken(broken: &Broken) -> Self {
        Self::new("protocol", broken.to_string())
    }

    /// A task of ours died; what it was doing did not happen.
    fn internal() -> Self {
        Self::new("internal", "the agent could not finish this; see its log")
    }
}

/// Answers one request. The last thing said ends the conversation.
pub async fn serve(
    gate: &Arc<Gate>,
    door: Door,
    peer: &Peer,
    request: Request,
    talk: &mut Conversation,
) {
    let answer = match Caller::of(gate, door, peer).await {
        Ok(caller) => dispatch(gate, &caller, peer, request, talk).await,
        Err(no) => Err(no),
    };
    let reply = answer.unwrap_or_else(|no| Reply::Refused(no.0));
    let _ = talk.say(&reply).await;
}

async fn dispatch(
    gate: &Arc<Gate>,
    caller: &Caller,
    peer: &Peer,
    request: Request,
    talk: &mut Conversation,
) -> Answer {
    match request {
        Request::Status(_) => Ok(own::status(gate, caller)),
        Request::Check(ask) => own::check(gate, caller, &ask).await,
        Request::Verify(_) => own::verify(gate, caller, peer, talk).await,
        Request::MfaEnroll(ask) => factor::enroll(gate, caller, &ask, talk).await,
        Request::MfaStatus(about) => factor::status(gate, caller, &about).await,
        Request::MfaReset(about) => factor::reset(gate, caller, &about, talk).await,
        _ if !caller.is_root => Err(No::root_only()),
        Request::GrantAdd(spec) => root::grant_add(gate, caller, *spec).await,
        Request::GrantList(_) => root::grant_list(gate, talk).await,
        Request::GrantRevoke(id) => root::grant_revoke(gate, caller, id.id).await,
        Request::PolicyRefresh(_) => root::policy_refresh(gate).await,
        Request::PolicyResetFloor(_) => root::policy_reset_floor(gate, caller).await,
        Request::ClockShow(_) => Ok(Reply::Clock(gate.clock.report())),
        Request::ClockAccept(_) => root::clock_accept(gate, caller).await,
        Request::Pam(_) => Err(No::new(
            "not_permitted",
            "this socket is not the PAM module's",
        )),
    }
}

impl Caller {
    async fn of(gate: &Gate, door: Door, peer: &Peer) -> Result<Self, No> {
        let process = peer.process().map_err(|e| No::new("peer", e.to_string()))?;
        let account = gate.names.by_uid(peer.uid).await.map_err(no_name)?;
        Ok(Self {
            account,
            process,
            is_root: door == Door::Agent,
        })
    }

    fn person(&self) -> Person {
        person(&self.account)
    }

    /// The person a request is about. Another than oneself is for root.
    async fn about(&self, gate: &Gate, user: Option<&str>) -> Result<Arc<Account>, No> {
        match user {
            None => Ok(Arc::clone(&self.account)),
            Some(name) if name == self.account.name => Ok(Arc::clone(&self.account)),
            Some(name) if self.is_root => gate.names.by_name(name).await.map_err(no_name),
            Some(_) => Err(No::new(
                "not_permitted",
                "only root may ask about somebody else",
            )),
        }
    }
}

fn person(account: &Account) -> Person {
    Person {
        uid: account.uid,
        name: account.name.clone(),
    }
}

fn no_name(error: NameError) -> No {
    let reason = match error {
        NameError::Unknown => "unknown_user",
        NameError::Unavailable => "name_service",
    };
    No::new(reason, error.to_string())
}

/// Runs what waits for the disk where waiting harms nobody.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, No> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| No::internal())
}
