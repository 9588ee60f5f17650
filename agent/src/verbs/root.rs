//! Root's verbs: local grants, the central policy, the clock.

use std::sync::Arc;

use jit_protocol::message::{GrantSpec, Reply};

use super::{Answer, Caller, No, blocking};
use crate::audit::{Event, Kind};
use crate::conversation::Conversation;
use crate::gate::Gate;

pub(super) async fn grant_add(gate: &Arc<Gate>, caller: &Caller, spec: GrantSpec) -> Answer {
    let (gate, by) = (Arc::clone(gate), on_behalf_of(caller));
    blocking(move || gate.grants.add(spec, &by, &gate.clock.now()))
        .await?
        .map(Reply::Grant)
        .map_err(|error| No::new("grant_refused", error.to_string()))
}

pub(super) async fn grant_list(gate: &Gate, talk: &mut Conversation) -> Answer {
    for row in gate.grants.rows(&gate.clock.now()) {
        talk.say(&Reply::Grant(row))
            .await
            .map_err(|broken| No::broken(&broken))?;
    }
    Ok(Reply::Done(String::new()))
}

pub(super) async fn grant_revoke(gate: &Arc<Gate>, caller: &Caller, id: String) -> Answer {
    let (gate, by) = (Arc::clone(gate), on_behalf_of(caller));
    blocking(move || gate.grants.revoke(&id, &by))
        .await?
        .map(|()| Reply::Done("Revoked.".to_owned()))
        .map_err(|error| No::new("grant_refused", error.to_string()))
}

pub(super) async fn policy_refresh(gate: &Gate) -> Answer {
    gate.grants
        .refresh()
        .await
        .map(Reply::Policy)
        .ok_or_else(|| {
            No::new(
                "no_policy",
                "agent.toml has no [policy]: there is no source to ask",
            )
        })
}

pub(super) async fn policy_reset_floor(gate: &Arc<Gate>, caller: &Caller) -> Answer {
    let (inner, by) = (Arc::clone(gate), on_behalf_of(caller));
    blocking(move || inner.grants.reset_floor(&by))
        .await?
        .map(|()| Reply::Done("The next bundle may carry any sequence number.".to_owned()))
        .map_err(|error| No::new("state", error))
}

pub(super) async fn clock_accept(gate: &Arc<Gate>, caller: &Caller) -> Answer {
    let clock = Arc::clone(&gate.clock);
    blocking(move || clock.accept_wall())
        .await?
        .map_err(|error| No::new("state", error.to_string()))?;
    let event = Event::new(Kind::Clock, "accepted").with("by", on_behalf_of(caller));
    let _ = gate.audit.record(event).await;
    Ok(Reply::Clock(gate.clock.report()))
}

/// `root`, or `root(alice)` where the kernel knows whose login this root shell grew from. For the
/// record alone.
fn on_behalf_of(caller: &Caller) -> String {
    match caller.process.login_uid {
        u32::MAX | 0 => "root".to_owned(),
        uid => format!("root(auid={uid})"),
    }
}
