//! Talking to the agent: which socket, and one dialogue from request to last reply.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jit_protocol::client::{Client, ClientError, Deadline};
use jit_protocol::message::{Answer, Enrolment, Prompt, Reply, Request, Said};
use jit_protocol::{AGENT_SOCKET, USER_SOCKET};
use nix::unistd::{User, geteuid};

use crate::failure::Failure;
use crate::terminal::Terminal;
use crate::text::plain_lines;

/// How long the agent may take for what it answers from memory or with one write to disk.
const QUICK: Duration = Duration::from_secs(10);

/// How long it may take to fetch a bundle.
const FETCH: Duration = Duration::from_secs(90);

/// Which of the agent's two sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    /// Everybody's, about themselves.
    Own,
    /// Root's.
    Root,
}

/// Whether this process may do root's verbs.
pub(crate) fn is_root() -> bool {
    geteuid().is_root()
}

/// Refuses a verb of root's to anybody else.
///
/// The agent's socket would refuse too, but with words about permissions of a file.
///
/// # Errors
///
/// `not_permitted`, when the caller is not root.
pub(crate) fn root_only(verb: &str) -> Result<(), Failure> {
    match is_root() {
        true => Ok(()),
        false => Err(Failure::no(
            "not_permitted",
            format!("{verb} is for root; an administrator can run it as: sudo jit {verb}"),
        )),
    }
}

/// Which door to take for a question about `user`, and whom to name there. Nobody named means
/// oneself.
///
/// # Errors
///
/// `not_permitted`, when somebody who is not root asks about another.
pub(crate) fn about(user: Option<String>) -> Result<(Door, Option<String>), Failure> {
    let Some(name) = user else {
        return Ok((Door::Own, None));
    };
    if is_root() {
        return Ok((Door::Root, Some(name)));
    }
    let mine = User::from_uid(geteuid()).ok().flatten();
    if mine.is_some_and(|me| me.name == name) {
        return Ok((Door::Own, None));
    }
    Err(Failure::no(
        "not_permitted",
        format!("only root may ask about {name}; leave the name out to ask about yourself"),
    ))
}

/// A conversation that has begun.
pub(crate) struct Talk {
    client: Client,
    terminal: Option<Terminal>,
}

impl Talk {
    /// Connects and sends the request.
    ///
    /// # Errors
    ///
    /// When the agent cannot be reached or is not root's.
    pub(crate) fn begin(
        door: Door,
        socket: Option<&Path>,
        request: &Request,
    ) -> Result<Self, Failure> {
        let patience = match request {
            Request::PolicyRefresh(_) => FETCH,
            _ => QUICK,
        };
        Self::begin_within(patience, door, socket, request)
    }

    /// The same, for who can wait so long and no longer.
    ///
    /// # Errors
    ///
    /// As [`Talk::begin`].
    pub(crate) fn begin_within(
        patience: Duration,
        door: Door,
        socket: Option<&Path>,
        request: &Request,
    ) -> Result<Self, Failure> {
        let path = match (socket, door) {
            (Some(path), _) => PathBuf::from(path),
            (None, Door::Own) => PathBuf::from(USER_SOCKET),
            (None, Door::Root) => PathBuf::from(AGENT_SOCKET),
        };
        let mut client = Client::connect(&path, Deadline::after(patience)).map_err(unreachable)?;
        client.send(request).map_err(unreachable)?;
        Ok(Self {
            client,
            terminal: None,
        })
    }

    /// The next reply that is not merely a line or a question for the person; those are shown and
    /// asked on the terminal.
    ///
    /// # Errors
    ///
    /// What the agent refuses, as it says it; and whatever keeps it from answering.
    pub(crate) fn next(&mut self) -> Result<Reply, Failure> {
        loop {
            match self.client.recv().map_err(unreachable)? {
                Reply::Info(line) => self.info(&line)?,
                Reply::Prompt(prompt) => self.answer(&prompt)?,
                Reply::Refused(why) => return Err(Failure::no(why.reason, why.message)),
                other => return Ok(other),
            }
        }
    }

    /// The terminal, opened when it is first needed.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub(crate) fn terminal(&mut self) -> Result<&mut Terminal, Failure> {
        match &mut self.terminal {
            Some(terminal) => Ok(terminal),
            none => Ok(none.insert(Terminal::open()?)),
        }
    }

    fn info(&mut self, line: &str) -> Result<(), Failure> {
        let line = plain_lines(line) + "\n";
        match self.terminal() {
            Ok(terminal) => terminal.write(&line),
            // Best effort: without a terminal nobody would read it.
            Err(_) => Ok(()),
        }
    }

    fn answer(&mut self, prompt: &Prompt) -> Result<(), Failure> {
        self.terminal()?;
        let Self { client, terminal } = self;
        let (typed, _) = client.off_the_clock(|| match terminal {
            Some(terminal) => terminal.ask(&prompt.text, prompt.echo),
            None => Ok(None),
        });
        let answer = Answer {
            id: prompt.id,
            text: typed?,
        };
        client.send(&Said::Answer(answer)).map_err(unreachable)
    }
}

/// A reply that does not belong to this conversation: the agent is another version.
pub(crate) fn unexpected(reply: &Reply) -> Failure {
    let kind = match reply {
        Reply::Info(_) => "info",
        Reply::Prompt(_) => "prompt",
        Reply::Verdict(_) => "verdict",
        Reply::Status(_) => "status",
        Reply::Check(_) => "check",
        Reply::Enrolment(Enrolment { .. }) => "enrolment",
        Reply::Factor(_) => "factor",
        Reply::Grant(_) => "grant",
        Reply::Policy(_) => "policy",
        Reply::Clock(_) => "clock",
        Reply::Done(_) => "done",
        Reply::Refused(_) => "refused",
    };
    Failure::unreachable(format!(
        "the agent answered with {kind:?}, which is no answer to this; is it the same version as jit?"
    ))
}

fn unreachable(error: ClientError) -> Failure {
    Failure::unreachable(error.to_string())
}
