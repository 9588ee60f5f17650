//! A connection that is watched only once somebody has to wait for it.
//!
//! Most conversations are over in two system calls: the question is there when it is looked for, and
//! the answer fits into the socket. To have the runtime watch each of them would cost more calls than
//! the conversation has.

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream as Plain;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, recv, send};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream as Watched;

/// One connected socket.
#[derive(Debug)]
pub enum Line {
    /// Nobody had to wait yet.
    Plain(Plain),
    /// The runtime says when it can be read or written.
    Watched(Watched),
}

impl Line {
    /// Holds the thread until something arrives, at most so long: for threads that have nothing else
    /// to do, which is cheaper than being told.
    pub fn linger(&self, most: Duration) {
        let mut polled = [PollFd::new(self.as_fd(), PollFlags::POLLIN)];
        let most = PollTimeout::try_from(most).unwrap_or(PollTimeout::ZERO);
        // Whatever it says, receiving says it better.
        let _ = poll(&mut polled, most);
    }

    /// Receives what has arrived, or waits for something to; 0 is the end of the stream.
    ///
    /// # Errors
    ///
    /// The system's.
    pub async fn recv(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if let Self::Plain(socket) = self {
            match recv(socket.as_raw_fd(), into, MsgFlags::MSG_DONTWAIT).map_err(io::Error::from) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                done => return done,
            }
        }
        self.watched()?.read(into).await
    }

    /// Sends all of it.
    ///
    /// # Errors
    ///
    /// The system's.
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut rest = bytes;
        if let Self::Plain(socket) = self {
            let how = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
            match send(socket.as_raw_fd(), bytes, how).map_err(io::Error::from) {
                Ok(sent) => rest = bytes.get(sent..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        if rest.is_empty() {
            return Ok(());
        }
        self.watched()?.write_all(rest).await
    }

    fn watched(&mut self) -> io::Result<&mut Watched> {
        if let Self::Plain(socket) = self {
            let socket = socket.try_clone()?;
            socket.set_nonblocking(true)?;
            *self = Self::Watched(Watched::from_std(socket)?);
        }
        match self {
            Self::Watched(socket) => Ok(socket),
            Self::Plain(_) => Err(ErrorKind::NotConnected.into()),
        }
    }
}

impl AsFd for Line {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Plain(socket) => socket.as_fd(),
            Self::Watched(socket) => socket.as_fd(),
        }
    }
}
