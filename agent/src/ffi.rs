//! What no safe wrapper offers.
#![allow(unsafe_code)]

use std::os::fd::{FromRawFd as _, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether the kernel says that the wall clock is synchronised: adjtimex(2) without `STA_UNSYNC`.
/// Whatever sets the clock by hand (`date -s`, clock_settime) makes the kernel set that flag, as does
/// a time daemon that has heard nothing for hours. If the kernel will not say, it is not.
#[must_use]
pub fn clock_is_synchronised() -> bool {
    // SAFETY: `timex` is a plain C struct of integers, for which all zeros is a valid value;
    // `modes` = 0 asks to read and set nothing.
    let mut timex: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a live, exclusively borrowed `timex`, which the call fills in.
    let state = unsafe { libc::adjtimex(&raw mut timex) };
    state >= 0 && timex.status & libc::STA_UNSYNC == 0
}

/// It takes memory from the system in large pages, and 100,000 grants are read in half the time:
/// most of that is otherwise spent on touching each small page first.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Gives memory that was freed back to the system. After 100,000 grants were read and replaced, the
/// allocator keeps a hundred megabytes for later; there may be no later for days.
pub fn give_back_memory() {
    // SAFETY: mi_collect may be called from any thread at any time, and touches only what nobody
    // holds (mimalloc's manual, "Extended functions").
    unsafe { libmimalloc_sys::mi_collect(true) };
}

/// Descriptors that the supervisor hands over, with their names (sd_listen_fds(3)). They are given
/// once: who asks again gets none.
#[must_use]
pub fn inherited() -> Vec<(String, OwnedFd)> {
    static GIVEN: AtomicBool = AtomicBool::new(false);
    if GIVEN.swap(true, Ordering::Relaxed) {
        return Vec::new();
    }
    let Ok(passed) = sd_notify::listen_fds_with_names() else {
        return Vec::new();
    };
    passed
        // SAFETY: the supervisor says, with our pid, that it opened these for this process; each
        // was found open just now, nobody else in it knows of them, and none is given twice.
        .map(|(fd, name)| (name, unsafe { OwnedFd::from_raw_fd(fd) }))
        .collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_kernel_answers_as_its_own_tool_says() {
        // No tool can be relied on to be installed; that two reads agree is what can be seen.
        assert_eq!(
            super::clock_is_synchronised(),
            super::clock_is_synchronised()
        );
    }
}
