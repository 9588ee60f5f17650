//! One dialogue over one connection: a request, perhaps one question and its answer, then the end.
//!
//! Every wait has a deadline, so that a peer that stops talking holds a connection and nothing else.

use std::time::Duration;

use jit_protocol::frame::{self, FrameError, Inbox};
use jit_protocol::message::{Answer, Prompt, Reply, Request, Said};
use serde::de::DeserializeOwned;
use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::line::Line;

/// For the first message, and for each write: the peer is a program, not a person.
const PROMPTLY: Duration = Duration::from_secs(2);

/// For the answer to a prompt. Longer than the module gives a person (120 s), so that it is the
/// module's message that ends a wait and not ours.
const PATIENTLY: Duration = Duration::from_secs(125);

/// Why a conversation ended early.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// The peer closed, or did not speak or listen in time.
    #[error("the peer fell silent or hung up")]
    Silent,
    /// The peer said something that the protocol does not allow.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The answer is to another question.
    #[error("an answer to a question that was not asked")]
    Answer,
}

/// A connection in mid-dialogue.
#[derive(Debug)]
pub struct Conversation {
    line: Line,
    inbox: Inbox,
    asked: u32,
}

impl Conversation {
    /// Starts on a fresh connection.
    #[must_use]
    pub fn new(line: Line) -> Self {
        Self {
            line,
            inbox: Inbox::default(),
            asked: 0,
        }
    }

    /// Reads the request that opens the conversation.
    ///
    /// # Errors
    ///
    /// [`Broken`] if none comes, or it is not one.
    pub async fn request(&mut self) -> Result<Request, Broken> {
        self.read(PROMPTLY).await
    }

    /// Says something to the peer.
    ///
    /// # Errors
    ///
    /// [`Broken::Silent`] if the peer does not take it.
    pub async fn say(&mut self, reply: &Reply) -> Result<(), Broken> {
        let bytes = frame::encode(reply)?;
        match timeout(PROMPTLY, self.line.send(&bytes)).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(Broken::Silent),
        }
    }

    /// Asks the person, echo off, and waits for the answer; `None` if they gave none.
    ///
    /// # Errors
    ///
    /// [`Broken`] if the peer hangs up, or answers something else.
    pub async fn ask(&mut self, text: String) -> Result<Option<Zeroizing<String>>, Broken> {
        self.asked += 1;
        let prompt = Prompt {
            id: self.asked,
            text,
            echo: false,
        };
        self.say(&Reply::Prompt(prompt)).await?;
        let Said::Answer(Answer { id, text }) = self.read(PATIENTLY).await?;
        if id == self.asked {
            Ok(text)
        } else {
            Err(Broken::Answer)
        }
    }

    async fn read<T: DeserializeOwned>(&mut self, patience: Duration) -> Result<T, Broken> {
        let whole = async {
            loop {
                if let Some(message) = self.inbox.take()? {
                    return Ok(message);
                }
                match self.line.recv(self.inbox.room()).await {
                    Ok(0) | Err(_) => return Err(Broken::Silent),
                    Ok(got) => self.inbox.arrived(got),
                }
            }
        };
        timeout(patience, whole)
            .await
            .unwrap_or(Err(Broken::Silent))
    }
}
