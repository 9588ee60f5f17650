//! What a grant is, when it holds, and how bundles of grants are signed.
//!
//! Pure: no I/O, no clock, no async, no unsafe. Every input of a decision is an argument, the time
//! too. Two things come from outside when text is read, never when a question is answered: the
//! rules of a named time zone (the system's zone database), and the randomness of a new key.

#![forbid(unsafe_code)]

mod alike;
pub mod bundle;
pub mod condition;
pub mod decide;
mod draft;
mod duration;
pub mod factor;
pub mod grant;
mod host;
mod parse;
mod parts;
mod schedule;
pub mod sign;
pub mod snapshot;
mod text;
mod words;

pub use decide::{Ask, Decision, Explained, Moment, Reason, Target, decide, explain};
pub use duration::{DurationError, format_duration, parse_duration};
pub use factor::Factor;
pub use grant::{Grant, Who};
pub use snapshot::{HostFacts, Index, Origin, Snapshot};
pub use text::printable;
pub use words::span_in_words;

/// The name that configuration and grants use for a PAM service: `sudo` covers `sudo-i`, `su`
/// covers `su-l`; every other name stands for itself.
#[must_use]
pub fn base_service(service: &str) -> &str {
    match service {
        "sudo-i" => "sudo",
        "su-l" => "su",
        other => other,
    }
}
