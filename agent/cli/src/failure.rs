//! Why a verb did not do what was asked, and the number the process ends with.

use std::fmt;

/// How the process ends. The numbers are a promise to scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Yes: it was done, it would be allowed, it holds.
    Yes = 0,
    /// No: refused, would be denied, does not hold, not permitted.
    No = 1,
    /// The command line made no sense.
    Misuse = 2,
    /// The agent did not answer.
    Unreachable = 3,
}

/// A verb that ends without its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// How the process ends.
    pub(crate) exit: Exit,
    /// Stable code for scripts.
    pub(crate) reason: String,
    /// For the person: what was wrong and what to do. Raw: it is escaped when it is printed.
    pub(crate) message: String,
}

impl Failure {
    /// A no, with the stable `reason` and words for a person.
    pub(crate) fn no(reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            exit: Exit::No,
            reason: reason.into(),
            message: message.into(),
        }
    }

    /// Arguments that clap let through but that make no sense.
    pub(crate) fn misuse(message: impl Into<String>) -> Self {
        Self {
            exit: Exit::Misuse,
            reason: "misuse".to_owned(),
            message: message.into(),
        }
    }

    /// The agent cannot be reached, or what answers cannot be trusted to be the agent.
    pub(crate) fn unreachable(message: impl Into<String>) -> Self {
        Self {
            exit: Exit::Unreachable,
            reason: "agent_unreachable".to_owned(),
            message: message.into(),
        }
    }

    /// Something about a file; the path comes first, as people search for it.
    pub(crate) fn file(path: &std::path::Path, what: impl fmt::Display) -> Self {
        Self::no("file", format!("{}: {what}", path.display()))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
