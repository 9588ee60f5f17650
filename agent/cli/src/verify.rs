//! `jit verify`: prove a factor now, for this login session.

use clap::Args;
use jit_protocol::message::{Plain, Reply, Request};

use crate::Desk;
use crate::agent::{Door, Talk, unexpected};
use crate::failure::{Exit, Failure};

/// What it is for, at length.
pub(crate) const ABOUT: &str = "Prove your factor now, for this login session.

sudo then need not ask for it (or cannot, for want of a terminal) as long as the proof is young \
enough. It counts for this login session and terminal only, and not for grants that want a code \
every time.

The code is asked for on the terminal and not shown. It is never an argument: arguments can be \
read by everybody on the machine.";

/// `jit verify` takes nothing but the global options.
#[derive(Debug, Args)]
pub(crate) struct Verify {}

impl Verify {
    /// Asks for the code and passes it on.
    ///
    /// # Errors
    ///
    /// When the factor was not proved, and why.
    pub(crate) fn run(&self, desk: &Desk) -> Result<Exit, Failure> {
        let request = Request::Verify(Plain::default());
        let mut talk = Talk::begin(Door::Own, desk.socket(), &request)?;
        match talk.next()? {
            Reply::Done(what) => desk.screen.done(&what).map(|()| Exit::Yes),
            other => Err(unexpected(&other)),
        }
    }
}
