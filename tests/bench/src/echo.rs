//! The least that an agent can do: take what is asked, answer, close.

use std::error::Error;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;

/// Answers one after the other, without an end.
pub(crate) fn run(arguments: &[String]) -> Result<(), Box<dyn Error>> {
    let [socket] = arguments else {
        return Err("--echo takes the path of a socket".into());
    };
    let listener = UnixListener::bind(socket)?;
    // Lengths as in `echo.c`.
    let (mut ask, answer) = ([0; 330], [0; 172]);
    loop {
        let (mut stream, _) = listener.accept()?;
        // Who went away has nothing to be told.
        let _ = stream
            .read_exact(&mut ask)
            .and_then(|()| stream.write_all(&answer));
    }
}
