//! What the PAM module, the `jit` command and the agent say to each other.
//!
//! One connection carries one conversation: the client sends a [`message::Request`], the agent
//! answers with any number of [`message::Reply`]s, of which the last one ends the conversation.
//! A [`message::Reply::Prompt`] is answered once with a [`message::Answer`]. Every message is one
//! [`frame`]: a length and a JSON text.
//!
//! This crate is loaded into setuid processes by way of the PAM module, so it has no runtime, no
//! threads and few dependencies.

pub mod client;
pub mod frame;
pub mod message;
mod sys;

/// Where the agent listens for the PAM module and for root's verbs (mode 0600).
pub const AGENT_SOCKET: &str = "/run/pam_jit/agent.sock";

/// Where the agent listens for everybody, about themselves only (mode 0666).
pub const USER_SOCKET: &str = "/run/pam_jit/user.sock";
