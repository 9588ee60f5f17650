//! The built module under the real libpam, in a process of its own, against an agent that does as
//! a test says. These run as root: the module trusts nobody else's socket.

// What must not happen inside the module may happen in its tests.
#![allow(
    clippy::disallowed_macros,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod agent;
mod host;
mod pam;
mod place;

mod conversations;
mod faults;
mod names;
mod phases;
mod shape;
mod trouble;
mod unlucky;

#[test]
#[ignore = "the application's side of the other tests, in a process of its own"]
fn as_host() {
    host::play();
}

#[test]
#[ignore = "an agent for the other tests, in a process of its own"]
fn as_agent() {
    agent::play();
}
