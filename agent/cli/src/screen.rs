//! Standard output: one answer, written once, as text for a person or as one JSON object.

use std::io::{self, IsTerminal, Write};

use jit_protocol::message::V1;
use serde::Serialize;
use zeroize::Zeroizing;

use crate::failure::Failure;
use crate::text::{Paint, Tone, plain_json, plain_lines};

/// Where answers go and in which form.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Screen {
    /// One JSON object instead of text.
    pub(crate) json: bool,
    /// Colours of standard output.
    pub(crate) paint: Paint,
}

#[derive(Serialize)]
struct Versioned<'a, T> {
    v: V1,
    #[serde(flatten)]
    body: &'a T,
}

#[derive(Serialize)]
struct Done<'a> {
    done: &'a str,
}

#[derive(Serialize)]
struct Trouble<'a> {
    error: TroubleBody<'a>,
}

#[derive(Serialize)]
struct TroubleBody<'a> {
    reason: &'a str,
    message: &'a str,
}

impl Screen {
    /// The screen of this process.
    pub(crate) fn new(json: bool) -> Self {
        Self {
            json,
            paint: paint_for(&io::stdout()),
        }
    }

    /// Shows an answer: `body` as JSON, or what `text` makes of it.
    ///
    /// # Errors
    ///
    /// When standard output cannot be written (a full disk). A reader who left is no error.
    pub(crate) fn show<T: Serialize>(
        &self,
        body: &T,
        text: impl FnOnce(Paint) -> String,
    ) -> Result<(), Failure> {
        match self.json {
            true => put(io::stdout(), &object(body)?),
            false => put(io::stdout(), &Zeroizing::new(text(self.paint))),
        }
    }

    /// Shows that something was done.
    ///
    /// # Errors
    ///
    /// As [`Screen::show`].
    pub(crate) fn done(&self, what: &str) -> Result<(), Failure> {
        self.show(&Done { done: what }, |_| plain_lines(what) + "\n")
    }

    /// Says why a verb failed: for people on standard error, and with `--json` also as an object
    /// on standard output, so that a script always reads exactly one.
    pub(crate) fn failure(&self, failure: &Failure) {
        if self.json {
            let error = TroubleBody {
                reason: &failure.reason,
                message: &failure.message,
            };
            // Nothing is left to be done about an output that cannot be written.
            let _ = object(&Trouble { error }).and_then(|text| put(io::stdout(), &text));
        }
        let name = paint_for(&io::stderr()).say(Tone::Bad, "jit:");
        note(&format!("{name} {}\n", plain_lines(&failure.message)));
    }

    /// A line for the person beside the answer, on standard error.
    pub(crate) fn aside(&self, line: &str) {
        note(&(plain_lines(line) + "\n"));
    }
}

/// Colours belong on terminals that can show them, and only if the person did not say no
/// (<https://no-color.org>: set and not empty).
pub(crate) fn paint_for(to: &impl IsTerminal) -> Paint {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
    let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    Paint {
        on: to.is_terminal() && !refused && !dumb,
    }
}

/// Prints text of our own making.
///
/// # Errors
///
/// As [`Screen::show`].
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    put(io::stdout(), text)
}

fn object<T: Serialize>(body: &T) -> Result<Zeroizing<String>, Failure> {
    let versioned = Versioned { v: V1, body };
    let json = serde_json::to_string(&versioned)
        .map(Zeroizing::new)
        .map_err(|e| Failure::no("output", format!("cannot write the answer as JSON: {e}")))?;
    let mut text = plain_json(&json);
    text.push('\n');
    Ok(text)
}

/// Writes past the buffer of `std::io`, which nobody would wipe: the text may be a new secret.
fn put(to: impl std::os::fd::AsFd, text: &str) -> Result<(), Failure> {
    let written = to
        .as_fd()
        .try_clone_to_owned()
        .map(std::fs::File::from)
        .and_then(|mut file| file.write_all(text.as_bytes()));
    match written {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => Err(Failure::no(
            "output",
            format!("cannot write the answer: {e}"),
        )),
        _ => Ok(()),
    }
}

/// Best effort; `eprint!` would panic when nobody listens.
fn note(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}
