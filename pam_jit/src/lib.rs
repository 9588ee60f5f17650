//! `pam_jit.so`: the PAM module. It runs inside setuid and root programs that we did not write,
//! so it is small, blocking and dull: it collects what PAM knows, asks the local agent, and turns
//! the agent's verdict into a PAM return code. It decides nothing that the agent can decide.
//!
//! One hook is one connection: made, used and closed before the hook returns.
//!
//! | file | what it holds |
//! |---|---|
//! | `phase` | what auth, account and session do |
//! | `standing` | elevation or entry, and whether root acts |
//! | `exchange` | one conversation with the agent |
//! | `verdict` | outcome → return code, in one table |
//! | `args` | the words on the module's line |
//! | `names` | text that others chose: checked, escaped, cut |
//! | `rescue` | the accounts that pass when the agent cannot answer |
//! | `fault` | panics are contained here and become denials |
//! | `host` | what the module needs of PAM and of its process, as a trait |
//! | `ffi` | that trait over libpam, and the hooks; all of the `unsafe` |

#![deny(
    clippy::disallowed_macros,
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::print_stdout
)]

#[cfg(not(panic = "unwind"))]
compile_error!(
    "pam_jit must be built with panic = \"unwind\": a panic that aborts takes sudo, login or sshd with it"
);

#[cfg(all(feature = "fault-injection", not(debug_assertions)))]
compile_error!("the feature fault-injection is for tests and must never be in an optimised build");

mod args;
mod exchange;
mod fault;
mod ffi;
mod host;
mod names;
mod phase;
mod rescue;
mod standing;
mod verdict;

#[cfg(test)]
mod tests;
