//! Panics are contained and become denials. None must leave the module: it would take sudo, login
//! or sshd with it, or, worse, be mistaken for an answer.

use std::panic::{self, AssertUnwindSafe};
use std::sync::{Mutex, Once, PoisonError};

/// Where the last panic happened. Not what it said: a panic's message may quote what a person
/// typed.
static LAST: Mutex<Option<String>> = Mutex::new(None);

/// Runs `work`; a panic in it comes back as the place where it happened, fit for a log.
pub(crate) fn contain<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    quieten();
    match panic::catch_unwind(AssertUnwindSafe(work)) {
        Ok(done) => Ok(done),
        Err(payload) => {
            // To drop it may run code that panics again.
            std::mem::forget(payload);
            let place = LAST
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take()
                .unwrap_or_else(|| "an unknown place".to_owned());
            Err(place)
        }
    }
}

/// The default hook prints into the terminal, which is the calling program's, and looks at the
/// environment, which is the user's. The hook belongs to this library's own copy of `std`, so no
/// other code in the process notices.
fn quieten() {
    static QUIET: Once = Once::new();
    QUIET.call_once(|| {
        panic::set_hook(Box::new(|panic| {
            let place = panic
                .location()
                .map(|place| format!("{}:{}", place.file(), place.line()));
            *LAST.lock().unwrap_or_else(PoisonError::into_inner) = place;
        }));
    });
}
