//! People at the doors of a host: the real sudo, sudo-rs, su, login, sshd and rsyslogd with
//! `pam_jit`, each test in a private world of its own.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]

mod people;
mod source;
mod steps;

mod audit;
mod doctor;
mod edit;
mod elevation;
mod entry;
mod factor;
mod handover;
mod hostile;
mod observe;
mod pam;
mod policy;
mod promises;
mod sudo_flags;
mod time;
