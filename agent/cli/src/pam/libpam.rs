//! The one file that calls libpam, and the only one of this program with `unsafe`.
//!
//! libpam is opened when it is needed, so that `jit` also starts where there is none, or one from
//! before 1.4 that has no `pam_start_confdir`.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;

use nix::libc;

const LIBRARY: &CStr = c"libpam.so.0";

// pam_appl.h, _pam_types.h
const SUCCESS: c_int = 0;
const CONV_ERR: c_int = 19;
const TTY: c_int = 3;
const RUSER: c_int = 8;
const SILENT: c_int = 0x8000;

#[repr(C)]
struct Handle {
    _private: [u8; 0],
}

/// `struct pam_conv`
#[repr(C)]
struct Conversation {
    talk: extern "C" fn(c_int, *mut *const c_void, *mut *mut c_void, *mut c_void) -> c_int,
    data: *mut c_void,
}

/// Answers nothing: a trial has nobody to ask.
extern "C" fn silence(
    _count: c_int,
    _messages: *mut *const c_void,
    _answers: *mut *mut c_void,
    _data: *mut c_void,
) -> c_int {
    CONV_ERR
}

type StartConfdir = unsafe extern "C" fn(
    *const c_char,
    *const c_char,
    *const Conversation,
    *const c_char,
    *mut *mut Handle,
) -> c_int;
type SetItem = unsafe extern "C" fn(*mut Handle, c_int, *const c_void) -> c_int;
type AcctMgmt = unsafe extern "C" fn(*mut Handle, c_int) -> c_int;
type End = unsafe extern "C" fn(*mut Handle, c_int) -> c_int;

/// Runs the account phase of a service whose file lies in `folder`, for root at the console, and
/// gives PAM's answer: 0 is yes.
///
/// # Errors
///
/// When libpam cannot be used for that.
pub(super) fn account_of_root(folder: &Path, service: &str) -> Result<i32, String> {
    let text = |bytes: &[u8]| CString::new(bytes).map_err(|e| e.to_string());
    let folder = text(folder.as_os_str().as_bytes())?;
    let service = text(service.as_bytes())?;
    let conversation = Conversation {
        talk: silence,
        data: ptr::null_mut(),
    };
    let mut handle: *mut Handle = ptr::null_mut();

    // SAFETY: the name is a C string. Loading runs constructors of libpam and of what it links,
    // as every program does that uses PAM. It is never unloaded.
    let library = unsafe { libc::dlopen(LIBRARY.as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL) };
    if library.is_null() {
        return Err("libpam.so.0 cannot be loaded".to_owned());
    }
    let symbol = |name: &CStr| {
        // SAFETY: `library` is a handle that dlopen gave and nobody closed.
        let found = unsafe { libc::dlsym(library, name.as_ptr()) };
        match found.is_null() {
            true => Err(format!(
                "libpam has no {}; Linux-PAM 1.4 or later is needed to try a stack",
                name.to_string_lossy()
            )),
            false => Ok(found),
        }
    };
    // SAFETY: each name's type is that of its declaration in security/pam_appl.h, which has not
    // changed since it was added; the pointers are not null.
    let (start, set_item, acct_mgmt, end) = unsafe {
        (
            std::mem::transmute::<*mut c_void, StartConfdir>(symbol(c"pam_start_confdir")?),
            std::mem::transmute::<*mut c_void, SetItem>(symbol(c"pam_set_item")?),
            std::mem::transmute::<*mut c_void, AcctMgmt>(symbol(c"pam_acct_mgmt")?),
            std::mem::transmute::<*mut c_void, End>(symbol(c"pam_end")?),
        )
    };
    // SAFETY: all strings end with NUL and live until pam_end; so does `conversation`, whose
    // function has the type that libpam calls. libpam copies items. `handle` is used only after
    // pam_start_confdir said yes, and not after pam_end.
    unsafe {
        let began = start(
            service.as_ptr(),
            c"root".as_ptr(),
            &raw const conversation,
            folder.as_ptr(),
            &raw mut handle,
        );
        if began != SUCCESS {
            return Ok(began);
        }
        set_item(handle, TTY, c"/dev/console".as_ptr().cast());
        set_item(handle, RUSER, c"root".as_ptr().cast());
        let answer = acct_mgmt(handle, SILENT);
        end(handle, answer);
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pam::file::Phase;
    use crate::pam::stack::Stack;
    use crate::pam::tests::Etc;
    use crate::pam::walk::{Hole, holes};

    /// Small numbers without a crate: reproducible, and good enough to mix lines.
    struct Dice(u64);

    impl Dice {
        fn of<T: Copy>(&mut self, things: &[T]) -> T {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let nr = usize::try_from(self.0 >> 33).unwrap() % things.len();
            things[nr]
        }
    }

    /// Stacks of modules that answer what they are told, by the real libpam: whenever it says yes
    /// although we say no, the walk knew a hole.
    #[test]
    fn libpam_never_says_yes_without_us_where_no_hole_was_seen() {
        let controls = [
            "required",
            "requisite",
            "sufficient",
            "optional",
            "[success=1 default=ignore]",
            "[success=2 default=bad]",
            "[default=1]",
            "[success=done default=die]",
            "[default=reset]",
            "[success=ok auth_err=reset default=bad]",
            "[success=ok default=1]",
        ];
        let answers = ["success", "auth_err", "perm_denied"];
        let mut dice = Dice(4711);
        let (mut yes, mut sound) = (0, 0);
        for _ in 0..400 {
            let line = |dice: &mut Dice| {
                let module = format!("pam_debug.so acct={}", dice.of(&answers));
                format!("account {} {module}\n", dice.of(&controls))
            };
            let ours = "account J pam_debug.so acct=perm_denied auth=ours\n".replace(
                'J',
                dice.of(&[
                    "required",
                    "required",
                    "required",
                    "requisite",
                    "sufficient",
                    "optional",
                ]),
            );
            let sub: String = (0..dice.of(&[1, 2, 3])).map(|_| line(&mut dice)).collect();
            let mut lines: Vec<String> = (0..dice.of(&[1, 2, 3, 4]))
                .map(|_| line(&mut dice))
                .collect();
            let etc = Etc::of(&[("sub", &sub)]);
            let sub = etc.files().folder().join("sub");
            // By its absolute path: libpam 1.5 looks for others in /etc/pam.d alone.
            let how = dice.of(&["include", "substack", "optional"]);
            if how != "optional" {
                let at = dice.of(&[0, lines.len()]);
                lines.insert(at, format!("account {how} {}\n", sub.display()));
            }
            let at = dice.of(&[0, 1, lines.len(), lines.len()]);
            lines.insert(at.min(lines.len()), ours.clone());
            etc.write("x", &lines.concat());
            let answer = account_of_root(&etc.files().folder(), "x").unwrap();
            // For the walk the line is ours, and its files' root is that of the host.
            let text = lines.concat().replace(
                &ours,
                &ours.replace("pam_debug.so acct=perm_denied auth=ours", "pam_jit.so"),
            );
            let text = text.replace(&sub.display().to_string(), "sub");
            etc.write("x", &text);
            let found = holes(&Stack::of(&etc.files(), "x", Phase::Account), "x");
            let seen = found.iter().any(|hole| *hole != Hole::OnlyUs);
            assert!(
                answer != SUCCESS || seen,
                "{text}--- sub\n{}",
                String::from_utf8_lossy(&etc.bytes("sub"))
            );
            yes += usize::from(answer == SUCCESS);
            sound += usize::from(!seen);
        }
        assert!(yes > 40 && sound > 40, "too one-sided: {yes} {sound}");
    }
}
