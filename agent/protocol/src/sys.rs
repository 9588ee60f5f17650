//! The system calls that `std` has no safe door to. All of this crate's `unsafe` is here.
//!
//! `std`'s own unix sockets will not do: they connect without a limit when the listener's backlog
//! is full, and they may take the descriptors 0 to 2 when the program that loaded us has closed
//! them.
#![allow(unsafe_code)]

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

/// The lowest descriptor a socket of ours may have: below are standard input, output and error,
/// into which other code writes without looking.
const LOWEST_FD: libc::c_int = 3;

/// A stream socket that is not connected yet, closed on exec, on a descriptor of 3 or more.
pub(crate) fn socket() -> io::Result<OwnedFd> {
    // SAFETY: no pointers are passed; the result is checked before it is used.
    let raw = unsafe { libc::socket(libc::AF_UNIX, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) };
    if raw < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `raw` was just made by socket(2) and nothing else owns it.
    let made = unsafe { OwnedFd::from_raw_fd(raw) };
    if raw >= LOWEST_FD {
        return Ok(made);
    }
    // SAFETY: `made` is an open descriptor and F_DUPFD_CLOEXEC takes a plain integer.
    let raised = unsafe { libc::fcntl(made.as_raw_fd(), libc::F_DUPFD_CLOEXEC, LOWEST_FD) };
    if raised < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `raised` was just made by fcntl(2) and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(raised) })
}

/// The address of a socket file, if the path fits into one.
fn address(path: &Path) -> io::Result<libc::sockaddr_un> {
    // SAFETY: sockaddr_un is plain integers, for which all zeroes is a value.
    let mut to: libc::sockaddr_un = unsafe { mem::zeroed() };
    // The type of sun_family is narrower than that of the constant; the constant is 1.
    to.sun_family = libc::AF_UNIX as libc::sa_family_t;
    let bytes = path.as_os_str().as_bytes();
    if bytes.len() >= to.sun_path.len() || bytes.contains(&0) {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    for (slot, byte) in to.sun_path.iter_mut().zip(bytes) {
        *slot = byte.cast_signed();
    }
    Ok(to)
}

/// Connects, waiting at most `limit` for a place in the listener's queue (unix(7): without
/// `SO_SNDTIMEO`, connect(2) waits for ever when it is full).
///
/// The error is of kind `WouldBlock` when the time ran out, and `Interrupted` after a signal, in
/// which case nothing has happened yet and the call may be repeated.
pub(crate) fn connect(socket: &OwnedFd, path: &Path, limit: Duration) -> io::Result<()> {
    let limit = libc::timeval {
        tv_sec: libc::time_t::try_from(limit.as_secs()).unwrap_or(libc::time_t::MAX),
        // All zeroes would mean "for ever".
        tv_usec: libc::suseconds_t::from(limit.subsec_micros().max(1)),
    };
    // SAFETY: the pointer and the length describe `limit`, which lives across the call.
    let set = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_SNDTIMEO,
            (&raw const limit).cast(),
            size_of_socklen::<libc::timeval>(),
        )
    };
    if set != 0 {
        return Err(io::Error::last_os_error());
    }
    let to = address(path)?;
    // SAFETY: the pointer and the length describe `to`, which lives across the call and is
    // terminated, since `address` leaves at least one zero after the path.
    let connected = unsafe {
        libc::connect(
            socket.as_raw_fd(),
            (&raw const to).cast(),
            size_of_socklen::<libc::sockaddr_un>(),
        )
    };
    if connected == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// The uid that the other side had when it called listen(2).
pub(crate) fn peer_uid(socket: &OwnedFd) -> io::Result<u32> {
    let mut peer = libc::ucred {
        pid: 0,
        uid: u32::MAX,
        gid: u32::MAX,
    };
    let mut len = size_of_socklen::<libc::ucred>();
    // SAFETY: `peer` and `len` live across the call and `len` is the size of `peer`.
    let got = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut peer).cast(),
            &raw mut len,
        )
    };
    if got != 0 {
        return Err(io::Error::last_os_error());
    }
    if len != size_of_socklen::<libc::ucred>() {
        return Err(io::Error::from(io::ErrorKind::InvalidData));
    }
    Ok(peer.uid)
}

/// What [`wait`] waits for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum For {
    Reading,
    Writing,
}

/// Waits until the socket can be read or written, or `limit` is over; says whether it can.
/// The error is of kind `Interrupted` after a signal.
pub(crate) fn wait(socket: &OwnedFd, what: For, limit: Duration) -> io::Result<bool> {
    let mut asked = libc::pollfd {
        fd: socket.as_raw_fd(),
        events: match what {
            For::Reading => libc::POLLIN,
            For::Writing => libc::POLLOUT,
        },
        revents: 0,
    };
    // Rounded up, so that the last fraction of a millisecond is not spent spinning.
    let millis = limit.as_nanos().div_ceil(1_000_000);
    let millis = libc::c_int::try_from(millis).unwrap_or(libc::c_int::MAX);
    // SAFETY: `asked` is one pollfd, lives across the call, and the count says one.
    match unsafe { libc::poll(&raw mut asked, 1, millis) } {
        0 => Ok(false),
        1.. => Ok(true),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Sends what can be sent at once. Never raises `SIGPIPE`, whose action is the host program's.
pub(crate) fn send(socket: &OwnedFd, bytes: &[u8]) -> io::Result<usize> {
    // SAFETY: the pointer and the length are those of a live slice.
    let sent = unsafe {
        libc::send(
            socket.as_raw_fd(),
            bytes.as_ptr().cast(),
            bytes.len(),
            libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT,
        )
    };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// Receives what has already arrived; 0 is the end of the stream.
pub(crate) fn recv(socket: &OwnedFd, into: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the pointer and the length are those of a live slice that we alone may write.
    let got = unsafe {
        libc::recv(
            socket.as_raw_fd(),
            into.as_mut_ptr().cast(),
            into.len(),
            libc::MSG_DONTWAIT,
        )
    };
    usize::try_from(got).map_err(|_| io::Error::last_os_error())
}

/// The size of a small fixed struct, in the type that the socket calls want.
fn size_of_socklen<T>() -> libc::socklen_t {
    // No struct passed here is larger than a few hundred bytes.
    libc::socklen_t::try_from(mem::size_of::<T>()).unwrap_or(0)
}

/// Leaves a listener the shortest queue there is.
#[cfg(test)]
pub(crate) fn shorten_queue(listener: &std::os::unix::net::UnixListener) {
    // SAFETY: no pointers are passed; a second listen(2) only sets a new length.
    assert_eq!(unsafe { libc::listen(listener.as_raw_fd(), 0) }, 0);
}
