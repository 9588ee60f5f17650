//! Where readings of the clocks come from.

use std::fmt::Debug;
use std::time::Duration;

use jiff::Timestamp;
use nix::time::{ClockId, clock_gettime};

use crate::state::{BootId, StateError};

/// The machine's clocks.
pub trait TimeSource: Debug + Send + Sync {
    /// The wall clock. Anybody with the privilege may set it.
    fn wall(&self) -> Timestamp;
    /// Time since the boot, suspension included. Nobody can set it.
    fn boottime(&self) -> Duration;
    /// Whether the kernel says that the wall clock is synchronised.
    fn synchronised(&self) -> bool;
    /// Which boot this is: [`TimeSource::boottime`] means something within one only.
    ///
    /// # Errors
    ///
    /// The kernel does not say (no `/proc`).
    fn boot_id(&self) -> Result<BootId, StateError>;
}

/// The kernel's clocks.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemTime;

impl TimeSource for SystemTime {
    fn wall(&self) -> Timestamp {
        Timestamp::now()
    }

    fn boottime(&self) -> Duration {
        // Linux has had this clock since 2.6.39 and reading it cannot fail. Should it, then it is
        // late: everything has ended.
        clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::MAX, Duration::from)
    }

    fn synchronised(&self) -> bool {
        crate::ffi::clock_is_synchronised()
    }

    fn boot_id(&self) -> Result<BootId, StateError> {
        BootId::current()
    }
}
