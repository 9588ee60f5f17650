//! The other side of libpam: what an application such as sudo does with it. Hand-written from
//! pam_start(3) and the man pages that it names. All the `unsafe` of these tests is here.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::Path;
use std::ptr;

use nix::sys::signal::{
    SaFlags, SigAction, SigEvent, SigHandler, SigSet, SigevNotify, Signal, sigaction,
};
use nix::sys::time::TimeSpec;
use nix::sys::timer::{Expiration, Timer, TimerSetTimeFlags};
use nix::time::ClockId;
use nix::unistd::gettid;

/// `PAM_SUCCESS`, and the other codes as `_pam_types.h` numbers them.
pub(crate) const SUCCESS: c_int = 0;
/// `PAM_CONV_ERR`
pub(crate) const CONV_ERR: c_int = 19;

/// Items that are text.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs)]
pub(crate) enum Item {
    User = 2,
    Tty = 3,
    RHost = 4,
    RUser = 8,
}

/// What the person, or a broken application, answers.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// These bytes, ended with a NUL (and, for C, at the first one inside).
    Text(Vec<u8>),
    /// A response without a text, as for a message that wants none.
    Nothing,
    /// Success, but no response at all.
    NoResponse,
    /// This error.
    Error(c_int),
}

/// A conversation: gets the message's style and text.
pub(crate) type Converse<'c> = dyn FnMut(c_int, &[u8]) -> Reply + 'c;

#[repr(C)]
struct Message {
    style: c_int,
    text: *const c_char,
}

#[repr(C)]
struct Response {
    text: *mut c_char,
    unused: c_int,
}

#[repr(C)]
struct Conversation {
    call: extern "C" fn(c_int, *mut *const Message, *mut *mut Response, *mut c_void) -> c_int,
    data: *mut c_void,
}

#[repr(C)]
struct Handle {
    _opaque: [u8; 0],
}

#[link(name = "pam")]
unsafe extern "C" {
    fn pam_start_confdir(
        service: *const c_char,
        user: *const c_char,
        conversation: *const Conversation,
        confdir: *const c_char,
        handle: *mut *mut Handle,
    ) -> c_int;
    fn pam_end(handle: *mut Handle, status: c_int) -> c_int;
    fn pam_set_item(handle: *mut Handle, item: c_int, value: *const c_void) -> c_int;
    fn pam_authenticate(handle: *mut Handle, flags: c_int) -> c_int;
    fn pam_setcred(handle: *mut Handle, flags: c_int) -> c_int;
    fn pam_acct_mgmt(handle: *mut Handle, flags: c_int) -> c_int;
    fn pam_open_session(handle: *mut Handle, flags: c_int) -> c_int;
    fn pam_close_session(handle: *mut Handle, flags: c_int) -> c_int;
    fn pam_chauthtok(handle: *mut Handle, flags: c_int) -> c_int;
}

extern "C" fn converse(
    count: c_int,
    messages: *mut *const Message,
    responses: *mut *mut Response,
    data: *mut c_void,
) -> c_int {
    // SAFETY: `data` is what `start` put there: a pointer to a boxed conversation that lives as
    // long as the transaction, of which libpam makes one call at a time.
    let talk: &mut Box<Converse<'_>> = unsafe { &mut *data.cast() };
    if count != 1 {
        return CONV_ERR;
    }
    // SAFETY: libpam's modules pass one message here, with a text that ends in NUL.
    let (style, text) = unsafe { ((**messages).style, CStr::from_ptr((**messages).text)) };
    let text = match talk(style, text.to_bytes()) {
        Reply::Error(code) => return code,
        Reply::NoResponse => {
            // SAFETY: libpam wants the answer there.
            unsafe { *responses = ptr::null_mut() };
            return SUCCESS;
        }
        Reply::Nothing => ptr::null_mut(),
        Reply::Text(mut bytes) => {
            bytes.push(0);
            // SAFETY: the new block is as long as what is copied into it; the module frees it.
            unsafe {
                let text = libc::malloc(bytes.len());
                assert!(!text.is_null());
                ptr::copy_nonoverlapping(bytes.as_ptr(), text.cast(), bytes.len());
                text.cast::<c_char>()
            }
        }
    };
    // SAFETY: the block is large enough for one response; the module frees it.
    unsafe {
        let response: *mut Response = libc::malloc(size_of::<Response>()).cast();
        assert!(!response.is_null());
        response.write(Response { text, unused: 0 });
        *responses = response;
    }
    SUCCESS
}

/// One PAM transaction. Ended when dropped.
pub(crate) struct Transaction<'c> {
    handle: *mut Handle,
    // Doubly boxed: libpam holds a pointer to the inner box.
    _talk: Box<Box<Converse<'c>>>,
    // libpam copies this, but no rule says so.
    _conversation: Box<Conversation>,
}

impl<'c> Transaction<'c> {
    /// Begins a transaction with the configuration in `confdir`.
    pub(crate) fn start(
        confdir: &Path,
        service: &str,
        user: Option<&[u8]>,
        talk: Box<Converse<'c>>,
    ) -> Self {
        let mut talk = Box::new(talk);
        let conversation = Box::new(Conversation {
            call: converse,
            data: (&raw mut *talk).cast(),
        });
        let service = CString::new(service).unwrap();
        let user = user.map(|user| CString::new(user).unwrap());
        let confdir = CString::new(confdir.to_str().unwrap()).unwrap();
        let mut handle = ptr::null_mut();
        // SAFETY: all strings end in NUL and live across the call; the conversation lives as long
        // as the transaction.
        let code = unsafe {
            pam_start_confdir(
                service.as_ptr(),
                user.as_ref().map_or(ptr::null(), |user| user.as_ptr()),
                &raw const *conversation,
                confdir.as_ptr(),
                &raw mut handle,
            )
        };
        assert_eq!(code, SUCCESS, "pam_start_confdir for {service:?}");
        Self {
            handle,
            _talk: talk,
            _conversation: conversation,
        }
    }

    /// Sets an item.
    pub(crate) fn set(&mut self, item: Item, value: &[u8]) {
        let value = CString::new(value).unwrap();
        // SAFETY: the handle is alive, the value ends in NUL, and libpam copies it.
        let code = unsafe { pam_set_item(self.handle, item as c_int, value.as_ptr().cast()) };
        assert_eq!(code, SUCCESS, "pam_set_item {item:?}");
    }

    /// `pam_authenticate`
    pub(crate) fn authenticate(&mut self, flags: c_int) -> c_int {
        // SAFETY: the handle is alive.
        unsafe { pam_authenticate(self.handle, flags) }
    }

    /// `pam_setcred`
    pub(crate) fn setcred(&mut self, flags: c_int) -> c_int {
        // SAFETY: the handle is alive.
        unsafe { pam_setcred(self.handle, flags) }
    }

    /// `pam_acct_mgmt`
    pub(crate) fn account(&mut self, flags: c_int) -> c_int {
        // SAFETY: the handle is alive.
        unsafe { pam_acct_mgmt(self.handle, flags) }
    }

    /// `pam_open_session`
    pub(crate) fn open(&mut self, flags: c_int) -> c_int {
        // SAFETY: the handle is alive.
        unsafe { pam_open_session(self.handle, flags) }
    }

    /// `pam_close_session`
    pub(crate) fn close(&mut self, flags: c_int) -> c_int {
        // SAFETY: the handle is alive.
        unsafe { pam_close_session(self.handle, flags) }
    }

    /// `pam_chauthtok`
    pub(crate) fn chauthtok(&mut self, flags: c_int) -> c_int {
        // SAFETY: the handle is alive.
        unsafe { pam_chauthtok(self.handle, flags) }
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        // SAFETY: the handle is alive, and nobody uses it afterwards.
        unsafe { pam_end(self.handle, SUCCESS) };
    }
}

/// Ends the process here and now, without a word.
pub(crate) fn leave() -> ! {
    // SAFETY: _exit(2) takes an integer and does not come back.
    unsafe { libc::_exit(0) }
}

extern "C" fn nothing(_: c_int) {}

/// While it lives, a signal interrupts the calling thread every millisecond, whose handler does
/// nothing and does not have calls restarted. Only that thread: a signal for the process would
/// mostly go to the test harness' own, and now and then end a wait that is not the module's.
pub(crate) fn interruptions() -> Timer {
    let nothing = SigHandler::Handler(nothing);
    let action = SigAction::new(nothing, SaFlags::empty(), SigSet::empty());
    // SAFETY: the handler touches nothing.
    unsafe { sigaction(Signal::SIGALRM, &action) }.unwrap();
    let mut timer = Timer::new(
        ClockId::CLOCK_MONOTONIC,
        SigEvent::new(SigevNotify::SigevThreadId {
            signal: Signal::SIGALRM,
            thread_id: gettid().as_raw(),
            si_value: 0,
        }),
    )
    .unwrap();
    timer
        .set(
            Expiration::Interval(TimeSpec::new(0, 1_000_000)),
            TimerSetTimeFlags::empty(),
        )
        .unwrap();
    timer
}

/// Gives `SIGPIPE` its default action again, which Rust's runtime takes away and C programs have.
pub(crate) fn let_sigpipe_kill() {
    // SAFETY: the default action runs no code.
    let before = unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    assert_ne!(before, libc::SIG_ERR);
}
