//! The module's edge: the hooks that libpam calls, and [`Host`] over libpam and the kernel.
//! All of the crate's `unsafe` is in this file.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char, c_int, c_uint};
use std::fs::File;
use std::io::Read;

use jit_protocol::message::Phase;
use pam::constants::{
    PAM_ERROR_MSG, PAM_PROMPT_ECHO_OFF, PAM_PROMPT_ECHO_ON, PAM_TEXT_INFO, PamFlag, PamResultCode,
};
use pam::conv::Conv;
use pam::items::{RHost, RUser, Service, Tty, User};
use pam::module::{PamHandle, PamHooks, PamResult};
use zeroize::Zeroizing;

use crate::host::{Host, Ids, Item, Kept, Level, Tone, Unreadable};
use crate::names;
use crate::phase;
use crate::verdict::Code;

/// The name of our pam data. It carries the version, so that two builds of the module in one
/// process never read each other's layout.
const DATA: &str = concat!("pam_jit-", env!("CARGO_PKG_VERSION"));

/// The longest command line that is sent, in bytes; with its base64 and the names around it a
/// frame still holds it.
const LONGEST_COMMAND_LINE: u64 = 32 * 1024;

/// The most of `/etc/passwd` that is read.
const LONGEST_PASSWD: u64 = 4 * 1024 * 1024;

/// What a wrong code costs at least, in microseconds: as long as pam_unix takes for a password.
const FAIL_DELAY: c_uint = 2_000_000;

// What pam-bindings lacks; see pam_syslog(3) and pam_fail_delay(3).
unsafe extern "C" {
    fn pam_syslog(pamh: *const PamHandle, priority: c_int, format: *const c_char, ...);
    fn pam_fail_delay(pamh: *mut PamHandle, microseconds: c_uint) -> c_int;
}

/// The module, as libpam sees it.
struct PamJit;

pam::pam_hooks!(PamJit);

impl PamHooks for PamJit {
    fn sm_authenticate(pamh: &mut PamHandle, args: Vec<&CStr>, flags: PamFlag) -> PamResultCode {
        hook(pamh, Phase::Auth, &args, flags)
    }

    fn acct_mgmt(pamh: &mut PamHandle, args: Vec<&CStr>, flags: PamFlag) -> PamResultCode {
        hook(pamh, Phase::Account, &args, flags)
    }

    fn sm_open_session(pamh: &mut PamHandle, args: Vec<&CStr>, flags: PamFlag) -> PamResultCode {
        hook(pamh, Phase::SessionOpen, &args, flags)
    }

    fn sm_close_session(pamh: &mut PamHandle, args: Vec<&CStr>, flags: PamFlag) -> PamResultCode {
        hook(pamh, Phase::SessionClose, &args, flags)
    }

    // We hold no credentials. Saying PAM_IGNORE instead makes a stack of only us fail.
    fn sm_setcred(_: &mut PamHandle, _: Vec<&CStr>, _: PamFlag) -> PamResultCode {
        PamResultCode::PAM_SUCCESS
    }

    // We hold no passwords.
    fn sm_chauthtok(_: &mut PamHandle, _: Vec<&CStr>, _: PamFlag) -> PamResultCode {
        PamResultCode::PAM_IGNORE
    }
}

fn hook(pamh: &mut PamHandle, phase: Phase, args: &[&CStr], flags: PamFlag) -> PamResultCode {
    let words: Vec<&[u8]> = args.iter().map(|arg| arg.to_bytes()).collect();
    match phase::run(&mut Pam(pamh), phase, flags, &words) {
        Code::Success => PamResultCode::PAM_SUCCESS,
        Code::Ignore => PamResultCode::PAM_IGNORE,
        Code::PermDenied => PamResultCode::PAM_PERM_DENIED,
        Code::AuthErr => PamResultCode::PAM_AUTH_ERR,
        Code::MaxTries => PamResultCode::PAM_MAXTRIES,
        Code::AuthInfoUnavail => PamResultCode::PAM_AUTHINFO_UNAVAIL,
        Code::ServiceErr => PamResultCode::PAM_SERVICE_ERR,
    }
}

/// The real host: libpam's handle and this process.
struct Pam<'h>(&'h mut PamHandle);

fn bytes<T>(
    item: PamResult<Option<T>>,
    of: fn(&T) -> &CStr,
) -> Result<Option<Vec<u8>>, Unreadable> {
    match item {
        Ok(item) => Ok(item.map(|item| of(&item).to_bytes().to_vec())),
        Err(_) => Err(Unreadable),
    }
}

impl Host for Pam<'_> {
    fn item(&self, item: Item) -> Result<Option<Vec<u8>>, Unreadable> {
        match item {
            Item::Service => bytes(self.0.get_item::<Service<'_>>(), |item| item.0),
            Item::User => bytes(self.0.get_item::<User<'_>>(), |item| item.0),
            Item::RUser => bytes(self.0.get_item::<RUser<'_>>(), |item| item.0),
            Item::Tty => bytes(self.0.get_item::<Tty<'_>>(), |item| item.0),
            Item::RHost => bytes(self.0.get_item::<RHost<'_>>(), |item| item.0),
        }
    }

    fn find_user(&mut self) {
        // What it found is read as an item, where an odd name can be logged.
        let _ = self.0.get_user(None);
    }

    fn can_converse(&self) -> bool {
        matches!(self.0.get_item::<Conv<'_>>(), Ok(Some(_)))
    }

    fn prompt(&self, text: &str, echo: bool) -> Option<Zeroizing<Vec<u8>>> {
        let style = if echo {
            PAM_PROMPT_ECHO_ON
        } else {
            PAM_PROMPT_ECHO_OFF
        };
        let conversation = self.0.get_item::<Conv<'_>>().ok().flatten()?;
        let said = conversation.send(style, text).ok().flatten()?;
        Some(Zeroizing::new(said.as_bytes().to_vec()))
    }

    fn tell(&self, tone: Tone, text: &str) {
        let style = match tone {
            Tone::Info => PAM_TEXT_INFO,
            Tone::Error => PAM_ERROR_MSG,
        };
        if let Ok(Some(conversation)) = self.0.get_item::<Conv<'_>>() {
            // Whether anybody saw it changes nothing.
            let _ = conversation.send(style, text);
        }
    }

    fn log(&self, level: Level, text: &str) {
        let priority = match level {
            Level::Error => libc::LOG_ERR,
            Level::Warning => libc::LOG_WARNING,
            Level::Debug => libc::LOG_DEBUG,
        };
        let Ok(text) = CString::new(names::one_line(text)) else {
            return;
        };
        let handle: *const PamHandle = &raw const *self.0;
        // SAFETY: the handle is libpam's own and alive during the hook; the format takes exactly
        // one string, and both strings end in NUL and live across the call.
        unsafe { pam_syslog(handle, priority, c"%s".as_ptr(), text.as_ptr()) };
    }

    fn slow_failure(&mut self) {
        // SAFETY: the handle is libpam's own and alive during the hook. A failure of this call
        // only means that nobody waits.
        let _ = unsafe { pam_fail_delay(&raw mut *self.0, FAIL_DELAY) };
    }

    fn ids(&self) -> Ids {
        // SAFETY: getuid(2) and geteuid(2) take nothing and cannot fail.
        let (real, effective) = unsafe { (libc::getuid(), libc::geteuid()) };
        Ids { real, effective }
    }

    fn kept(&self) -> Option<Kept> {
        // SAFETY: only `keep` below stores under this name, and what it stores is a `Kept`.
        unsafe { self.0.get_data::<Kept>(DATA) }.ok().copied()
    }

    fn keep(&mut self, kept: Kept) -> bool {
        self.0.set_data(DATA, Box::new(kept)).is_ok()
    }

    fn random(&self) -> Option<u128> {
        let mut bits = [0; 16];
        // SAFETY: the pointer and the length are those of a live array that we alone may write.
        let got =
            unsafe { libc::getrandom(bits.as_mut_ptr().cast(), bits.len(), libc::GRND_NONBLOCK) };
        (usize::try_from(got) == Ok(bits.len())).then(|| u128::from_ne_bytes(bits))
    }

    fn command_line(&self) -> Option<Vec<u8>> {
        read("/proc/self/cmdline", LONGEST_COMMAND_LINE)
    }

    fn local_accounts(&self) -> Option<Vec<u8>> {
        read("/etc/passwd", LONGEST_PASSWD)
    }
}

/// A whole file, if it can be read and is not longer than `most` bytes.
fn read(path: &str, most: u64) -> Option<Vec<u8>> {
    let mut text = Vec::with_capacity(1024);
    let file = File::open(path).ok()?;
    file.take(most + 1).read_to_end(&mut text).ok()?;
    (u64::try_from(text.len()).ok()? <= most).then_some(text)
}
