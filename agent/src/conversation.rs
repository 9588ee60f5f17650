//! One dialogue over one connection: a request, perhaps one question and its answer, then the end.
//!
//! Every wait has a deadline, so that a peer that stops talking holds a connection and nothing else.

use std::time::Duration;

use jit_protocol::frame::{self, FrameError, HEADER};
use jit_protocol::message::{Answer, Prompt, Reply, Request, Said};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::time::timeout;
use zeroize::Zeroizing;

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
    socket: UnixStream,
    asked: u32,
}

impl Conversation {
    /// Starts on a fresh connection.
    #[must_use]
    pub fn new(socket: UnixStream) -> Self {
        Self { socket, asked: 0 }
    }

    /// Reads the request that opens the conversation.
    ///
    /// # Errors
    ///
    /// [`Broken`] if none comes, or it is not one.
    pub async fn request(&mut self) -> Result<Request, Broken> {
        let body = self.read(PROMPTLY).await?;
        Ok(frame::decode(&body)?)
    }

    /// Says something to the peer.
    ///
    /// # Errors
    ///
    /// [`Broken::Silent`] if the peer does not take it.
    pub async fn say(&mut self, reply: &Reply) -> Result<(), Broken> {
        let bytes = frame::encode(reply)?;
        match timeout(PROMPTLY, self.socket.write_all(&bytes)).await {
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
        let body = self.read(PATIENTLY).await?;
        let Said::Answer(Answer { id, text }) = frame::decode(&body)?;
        if id == self.asked {
            Ok(text)
        } else {
            Err(Broken::Answer)
        }
    }

    async fn read(&mut self, patience: Duration) -> Result<Zeroizing<Vec<u8>>, Broken> {
        let whole = async {
            let mut header = [0; HEADER];
            self.socket
                .read_exact(&mut header)
                .await
                .map_err(|_| Broken::Silent)?;
            let mut body = Zeroizing::new(vec![0; frame::body_len(header)?]);
            self.socket
                .read_exact(&mut body)
                .await
                .map_err(|_| Broken::Silent)?;
            Ok(body)
        };
        timeout(patience, whole)
            .await
            .unwrap_or(Err(Broken::Silent))
    }

    /// Which process is at the other end.
    #[must_use]
    pub fn socket(&self) -> &UnixStream {
        &self.socket
    }
}
