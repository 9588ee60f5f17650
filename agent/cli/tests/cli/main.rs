//! The real `jit`, run as people run it: against a scripted agent on a real socket, on a real
//! terminal, with real files.
//!
//! These need root: the command trusts no socket that is not root's.

// Helpers of tests are tests too, which clippy does not know (its exemption is for #[test] alone).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod audit;
mod policy;
mod pty;
mod terminal;
mod verbs;
mod world;
