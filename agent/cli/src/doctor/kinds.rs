//! Every kind of finding: its id, how bad it is, and why it matters. `docs/doctor.md` has a
//! section for each.

use serde::Serialize;

/// How bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    /// People go round the gate, or are locked out.
    Critical,
    /// Less than it should be, or soon.
    Warn,
    /// Good to know; nothing is open.
    Info,
}

/// A kind of finding.
#[derive(Debug)]
pub(crate) struct Kind {
    /// Stable: scripts and the manual know it by this.
    pub(crate) id: &'static str,
    /// How bad.
    pub(crate) severity: Severity,
    /// Why it matters.
    pub(crate) why: &'static str,
}

macro_rules! kinds {
    ($($name:ident = $id:literal $severity:ident $why:literal)*) => {
        $(pub(crate) static $name: Kind = Kind {
            id: $id,
            severity: Severity::$severity,
            why: $why,
        };)*
        /// All of them, for the test that none lacks its section in the manual.
        #[cfg(test)]
        pub(super) static ALL: &[&Kind] = &[$(&$name),*];
    };
}

kinds! {
    AGENT_DOWN = "agent-down" Critical
        "without the agent every enforced service refuses everybody but root and rescue accounts"
    AGENT_SLOW = "agent-slow" Warn
        "the module waits 2 s at most, then it is a no; a slow agent is on its way there"
    AGENT_VERSION = "agent-version" Warn
        "agent, command and module are installed together; after an update the agent must be started anew"
    CONFIG_BROKEN = "config-broken" Critical
        "the agent goes on with what it had before, and after its next start it enforces and grants nothing"
    CONFIG_UNTRUSTED = "config-untrusted" Warn
        "who can write a file that grants power is root; the agent does not believe such a file"
    POLICY_STALE = "policy-stale" Warn
        "revoked grants may still hold, and when max_offline is over all central ones stop"
    POLICY_EXPIRED = "policy-expired" Critical
        "central grants no longer hold: people who should get in do not"
    POLICY_NONE = "policy-none" Critical
        "no bundle was ever accepted, so there are no central grants"
    CLOCK_UNSETTLED = "clock-unsettled" Critical
        "no grant holds before the time is trusted"
    CLOCK_APART = "clock-apart" Warn
        "grants begin by the earlier of the two clocks and end by the later"
    CLOCK_UNSYNCHRONISED = "clock-unsynchronised" Warn
        "a clock that drifts makes codes wrong and grants begin and end at the wrong time"
    NOBODY_ENROLLED = "nobody-enrolled" Warn
        "sudo and su ask for a one-time code, and nobody could give one"
    SERVICE_NO_SECTION = "service-no-section" Warn
        "a service that carries our lines and has no section is refused for everybody but root"
    SERVICE_OFF = "service-off" Warn
        "our lines are there and decide nothing"
    SERVICE_OBSERVED = "service-observed" Info
        "everything is recorded and nobody is refused: the first step of a roll-out, not the last"
    NOTHING_ENABLED = "nothing-enabled" Warn
        "pam_jit is installed and stands in front of nothing"
    DOOR_OPEN = "door-open" Critical
        "other doors are gated, and by this one people become root without a grant"
    PAM_ACCOUNT_MISSING = "pam-account-missing" Critical
        "account is the gate: NOPASSWD, a cached ticket and ssh keys skip auth, and nothing asks for a grant"
    PAM_AUTH_MISSING = "pam-auth-missing" Warn
        "the code is asked for late, and not at all where nobody can be asked in the account phase"
    PAM_SESSION_MISSING = "pam-session-missing" Critical
        "sudo's target is known only when the session opens: without it a grant for one target opens all"
    PAM_SKIPPED = "pam-skipped" Critical
        "on this way through the stack nothing asks for a grant"
    PAM_AUTH_SKIPPED = "pam-auth-skipped" Warn
        "on this way no code is asked for in auth; the account phase has to, and cannot everywhere"
    PAM_OVERRULED = "pam-overruled" Critical
        "a refusal is forgotten, and the stack says yes"
    PAM_CONTROL = "pam-control" Critical
        "a refusal must count, and also when the agent is dead: any user can stop their own sudo past the deadline"
    PAM_ONLY_US = "pam-only-us" Warn
        "the stack refused by saying nothing; our yes makes that a yes"
    PAM_QUIET = "pam-quiet" Warn
        "should the module be missing, everybody is refused and the log does not say why"
    PAM_OBSERVE = "pam-observe" Info
        "these lines refuse nobody, not even when the agent is dead: the first step of a roll-out, not the last"
    PAM_ROOT_ASK = "pam-root-ask" Warn
        "root at the console depends on the agent"
    PAM_SHARED = "pam-shared" Warn
        "cron, greeters and systemd --user read this file too, and have nobody who could answer"
    PAM_BROKEN = "pam-broken" Critical
        "libpam refuses or crashes on it, and people are locked out"
    PAM_FILE_WRITABLE = "pam-file-writable" Critical
        "who can write a PAM file is root"
    PAM_MODULE_MISSING = "pam-module-missing" Critical
        "a stack that names a module that is not there refuses everybody, root too"
    PAM_MODULE_WRITABLE = "pam-module-writable" Critical
        "who can change the module is root: it is loaded by sudo"
    ROOT_SHUT_OUT = "root-shut-out" Critical
        "nobody gets in while the agent does not answer"
    SUDOERS_ACCOUNT = "sudoers-pam-acct-mgmt" Critical
        "sudo then skips the account phase, which is the gate"
    SUDOERS_SESSION = "sudoers-pam-session" Critical
        "sudo then opens no session, where the target is checked: a grant for one target opens all"
    SUDOERS_SERVICE = "sudoers-pam-service" Critical
        "sudo then asks another service, and that one does not come to us"
    SUDO_RS_OLD = "sudo-rs-old" Critical
        "before 0.2.14 it skips the account phase for sudoedit and -l"
    SSHD_USEPAM = "sshd-usepam-no" Critical
        "our lines for sshd never run: keys and passwords alone let people in"
    SSHD_ROOT = "sshd-root-login" Warn
        "whoever holds root's key or password needs no grant"
    ROOT_KEYS = "root-authorized-keys" Warn
        "each of these keys is root at any time, and no grant says who holds it"
    SSHD_MULTIPLEX = "sshd-multiplexing" Info
        "over a connection that is open, new sessions start (ControlMaster) without asking for a grant again"
    GROUP_ROOT = "group-is-root" Critical
        "members of it make themselves root by other means than sudo"
    UID0_TWIN = "uid0-twin" Critical
        "it is root by another name, with a password of its own"
    SETUID_UNKNOWN = "setuid-unknown" Warn
        "it runs as root for everybody, and comes from no package that is known for it"
}
