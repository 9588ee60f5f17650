//! The local agent. It answers from memory: nothing that a PAM application waits for waits for the network.

pub mod audit;
pub mod clock;
pub mod cmdline;
pub mod config;
pub mod conversation;
pub mod ffi;
pub mod gate;
pub mod grants;
pub mod line;
pub mod listener;
pub mod logins;
pub mod mfa;
pub mod names;
pub mod peer;
pub mod principal;
pub mod state;
pub mod trusted_file;
pub mod verbs;
