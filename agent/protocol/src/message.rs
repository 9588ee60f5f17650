//! The messages. Unknown fields, operations and versions are errors: the peers are installed
//! together, so a stranger's message is a fault and not a newer dialect.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

/// The protocol's version; it travels as the number 1 and nothing else is understood.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct V1;

impl Serialize for V1 {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_u8(1)
    }
}

impl<'de> Deserialize<'de> for V1 {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        match u8::deserialize(d)? {
            1 => Ok(Self),
            other => Err(serde::de::Error::custom(format_args!(
                "protocol version {other}; this side speaks version 1"
            ))),
        }
    }
}

/// What a client asks for. The first message on a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op")]
pub enum Request {
    /// One PAM hook asks for its verdict (agent.sock only). Ends with [`Reply::Verdict`].
    #[serde(rename = "pam")]
    Pam(PamAsk),
    /// My grants, factor and the policy's freshness. Ends with [`Reply::Status`].
    #[serde(rename = "status")]
    Status(Plain),
    /// What would happen, and why. Ends with [`Reply::Check`].
    #[serde(rename = "check")]
    Check(CheckAsk),
    /// Prove a factor now, for this login session. Prompts; ends with [`Reply::Done`].
    #[serde(rename = "verify")]
    Verify(Plain),
    /// Enrol a factor. Sends [`Reply::Enrolment`]; prompts if `confirm`; ends with [`Reply::Done`].
    #[serde(rename = "mfa.enroll")]
    MfaEnroll(EnrollAsk),
    /// State of somebody's factor. Ends with [`Reply::Factor`].
    #[serde(rename = "mfa.status")]
    MfaStatus(About),
    /// Forget somebody's factor. Prompts for it unless root asks; ends with [`Reply::Done`].
    #[serde(rename = "mfa.reset")]
    MfaReset(About),
    /// Mint a local grant (root). Ends with [`Reply::Grant`].
    #[serde(rename = "grant.add")]
    GrantAdd(Box<GrantSpec>),
    /// The grants in force on this host (root). Any number of [`Reply::Grant`], then [`Reply::Done`].
    #[serde(rename = "grant.list")]
    GrantList(Plain),
    /// Take back a minted local grant (root). Ends with [`Reply::Done`].
    #[serde(rename = "grant.revoke")]
    GrantRevoke(GrantId),
    /// Fetch the bundle now (root). Ends with [`Reply::Policy`].
    #[serde(rename = "policy.refresh")]
    PolicyRefresh(Plain),
    /// Forget the highest `seq` ever accepted (root, audited). Ends with [`Reply::Done`].
    #[serde(rename = "policy.reset_floor")]
    PolicyResetFloor(Plain),
    /// Trusted time beside the wall clock (root). Ends with [`Reply::Clock`].
    #[serde(rename = "clock.show")]
    ClockShow(Plain),
    /// Take the wall clock as trusted time (root, audited). Ends with [`Reply::Clock`].
    #[serde(rename = "clock.accept")]
    ClockAccept(Plain),
}

/// What the agent sends. The variants that end a conversation are named at [`Request`]; any
/// conversation may also end with [`Reply::Refused`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// A line for the person, best effort.
    Info(String),
    /// A question for the person; answered once with an [`Answer`].
    Prompt(Prompt),
    /// The end of a [`Request::Pam`].
    Verdict(Verdict),
    /// The end of a [`Request::Status`].
    Status(StatusReport),
    /// The end of a [`Request::Check`].
    Check(CheckReport),
    /// A new factor's secret. It is said once.
    Enrolment(Enrolment),
    /// The end of a [`Request::MfaStatus`].
    Factor(FactorReport),
    /// One grant.
    Grant(GrantRow),
    /// The state of the central policy.
    Policy(PolicyReport),
    /// The state of the clock.
    Clock(ClockReport),
    /// It was done; what, in words.
    Done(String),
    /// It was not done; why.
    Refused(Refusal),
}

/// What the agent may say in the conversation of a [`Request::Pam`]: the part of [`Reply`] that
/// the PAM module understands. The rest would be dead weight in every sudo.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PamReply {
    /// As [`Reply::Info`].
    Info(String),
    /// As [`Reply::Prompt`].
    Prompt(Prompt),
    /// As [`Reply::Verdict`].
    Verdict(Verdict),
    /// As [`Reply::Refused`].
    Refused(Refusal),
}

/// A request that has nothing to say but its name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plain {
    /// Version.
    pub v: V1,
}

/// A request about one person; nobody named means the caller.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct About {
    /// Version.
    pub v: V1,
    /// Login name. Naming another than oneself is for root.
    pub user: Option<String>,
}

/// The PAM hook that asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// `pam_sm_authenticate`
    Auth,
    /// `pam_sm_acct_mgmt`: the gate
    Account,
    /// `pam_sm_open_session`
    SessionOpen,
    /// `pam_sm_close_session`
    SessionClose,
}

impl Phase {
    /// The word that stands in audit records.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Account => "account",
            Self::SessionOpen => "session_open",
            Self::SessionClose => "session_close",
        }
    }
}

/// A PAM transaction's own number: 128 random bits, made at its first hook, 32 hex digits on the
/// wire. Hooks of one transaction share it wherever pam data reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Txn(pub u128);

impl Serialize for Txn {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(&format_args!("{:032x}", self.0))
    }
}

impl<'de> Deserialize<'de> for Txn {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        if text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit()) {
            u128::from_str_radix(&text, 16)
                .map(Self)
                .map_err(serde::de::Error::custom)
        } else {
            Err(serde::de::Error::custom(
                "a transaction id is 32 hex digits",
            ))
        }
    }
}

/// Everything a PAM hook knows. The agent believes the peer's credentials and `/proc` over it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PamAsk {
    /// Version.
    pub v: V1,
    /// Which hook asks.
    pub phase: Phase,
    /// The transaction it belongs to.
    pub txn: Txn,
    /// `PAM_SERVICE`.
    pub service: String,
    /// The hook's flags as PAM gave them.
    pub flags: u32,
    /// Real uid of the process.
    pub ruid: u32,
    /// Effective uid of the process.
    pub euid: u32,
    /// `PAM_USER`.
    pub user: String,
    /// `PAM_RUSER`.
    pub ruser: Option<String>,
    /// `PAM_TTY`.
    pub tty: Option<String>,
    /// `PAM_RHOST`.
    pub rhost: Option<String>,
    /// Whether there is a conversation to prompt with.
    pub interactive: bool,
    /// The module runs with the argument `observe`: whatever is decided, nothing is refused.
    pub observe: bool,
    /// The principal that the account phase of this transaction fixed, out of pam data.
    pub fixed: Option<u32>,
    /// `/proc/self/cmdline` in base64; absent when it could not be read or was too long.
    pub cmdline: Option<String>,
}

/// A question for the person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prompt {
    /// Repeated in the answer.
    pub id: u32,
    /// What to show; ends as a prompt does, with `: `.
    pub text: String,
    /// Whether what is typed may be seen.
    pub echo: bool,
}

/// A client's second message: what the person typed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Said {
    /// The answer to a prompt.
    Answer(Answer),
}

/// What the person typed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// The prompt's number.
    pub id: u32,
    /// The text; wiped on drop. Absent when the person gave none (the conversation failed).
    pub text: Option<Zeroizing<String>>,
}

impl std::fmt::Debug for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Said([redacted])")
    }
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Answer {{ id: {}, text: [redacted] }}", self.id)
    }
}

/// What is to happen to the hook that asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Yes. In the auth phase: a factor passed in this transaction.
    Allow,
    /// Nothing to prove here, or not in force for this service: other modules decide.
    Ignore,
    /// No: no grant, a condition, a wrong target.
    Deny,
    /// No: the factor was not proved (wrong code, no answer, none enrolled).
    Unproven,
    /// No: too many wrong codes.
    Locked,
}

/// The last message of a PAM hook's conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verdict {
    /// What is to happen.
    pub result: Outcome,
    /// Stable code, as in the audit record.
    pub reason: String,
    /// One line for the person when refused: why, and what to do next.
    pub message: Option<String>,
    /// The grant that allowed it, as `local:ID` or `central:ID`.
    pub grant: Option<String>,
    /// Until when, RFC 3339.
    pub until: Option<String>,
    /// The audit record's id.
    pub id: Option<String>,
    /// The principal's uid, for the module to keep in pam data at account and show at session.
    pub principal: Option<u32>,
}

/// `jit check`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckAsk {
    /// Version.
    pub v: V1,
    /// Who; the caller if absent.
    pub user: Option<String>,
    /// Service name.
    pub service: String,
    /// Target account; `root` if absent at an elevation service.
    pub run_as: Option<String>,
    /// RFC 3339 time to ask about; now if absent.
    pub at: Option<String>,
    /// Address the person would come from; as remembered for the caller's session if absent.
    pub from: Option<String>,
}

/// Answer to [`Request::Check`]. Proofs are not considered: `need` says what would be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckReport {
    /// Login name.
    pub user: String,
    /// Base name of the service.
    pub service: String,
    /// Target account; absent for entry.
    pub run_as: Option<String>,
    /// The time asked about, RFC 3339.
    pub at: String,
    /// `allow` or `deny`.
    pub decision: String,
    /// Stable code.
    pub reason: String,
    /// In words, the nearest grant's first failed condition for a denial.
    pub detail: String,
    /// The factor that would be asked: `none`, `always` or an age such as `15m`.
    pub need: String,
    /// The service's mode: `enforce`, `observe`, `off`.
    pub mode: String,
    /// Until when the answer holds, RFC 3339, for an allow that ends.
    pub until: Option<String>,
    /// Every grant that names this person.
    pub grants: Vec<CheckedGrant>,
}

/// One grant's part in a [`CheckReport`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckedGrant {
    /// `local:ID` or `central:ID`.
    pub id: String,
    /// Whether all of it holds.
    pub matched: bool,
    /// The first condition that failed.
    pub failed: Option<String>,
    /// In words.
    pub detail: String,
}

/// `jit status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StatusReport {
    /// Login name of the caller.
    pub user: String,
    /// What grants call this host.
    pub host: String,
    /// The agent's version.
    pub agent: String,
    /// The caller's grants that are active or start later.
    pub grants: Vec<GrantRow>,
    /// The caller's factor.
    pub factor: FactorReport,
    /// Seconds since a factor was proved in this login session.
    pub proved_secs_ago: Option<u64>,
    /// State of the central policy; absent where there is none.
    pub policy: Option<PolicyReport>,
    /// What is wrong with the clock, if anything.
    pub clock: Option<String>,
}

/// One grant, to be shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrantRow {
    /// `local:ID` or `central:ID`.
    pub id: String,
    /// `active`, `later` (has not started), `waiting` (a condition does not hold now), `expired`.
    pub state: String,
    /// What `state` means here, in words (`42 min left`, `starts in 2 h`).
    pub detail: String,
    /// The person, or absent for a group grant.
    pub user: Option<String>,
    /// The group, or absent for a person's grant.
    pub group: Option<String>,
    /// Base names of services.
    pub services: Vec<String>,
    /// Targets.
    pub run_as: Vec<String>,
    /// RFC 3339.
    pub not_before: Option<String>,
    /// RFC 3339.
    pub not_after: String,
    /// Earlier of `not_after` and the end of the schedule's window, RFC 3339, while active.
    pub until: Option<String>,
    /// Factor the grant asks for, if it says.
    pub mfa: Option<String>,
    /// Why it was given.
    pub reason: Option<String>,
    /// Ticket.
    pub ticket: Option<String>,
    /// Who approved it.
    pub approved_by: Vec<String>,
}

/// `jit grant add`. Times are the agent's: `for_secs` counts from its trusted now.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrantSpec {
    /// Version.
    pub v: V1,
    /// Wanted id; made up if absent.
    pub id: Option<String>,
    /// Login name; exactly one of `user` and `group`.
    pub user: Option<String>,
    /// Group name.
    pub group: Option<String>,
    /// Base names of services.
    pub services: Vec<String>,
    /// Targets; `root` if empty.
    pub run_as: Vec<String>,
    /// Seconds from its start until it ends; exactly one of this and `not_after`.
    pub for_secs: Option<u64>,
    /// RFC 3339.
    pub not_after: Option<String>,
    /// RFC 3339; at once if absent.
    pub not_before: Option<String>,
    /// `always`, `none` or an age.
    pub mfa: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// Ticket.
    pub ticket: Option<String>,
    /// Networks the person must come from.
    pub source: Vec<String>,
}

/// `jit grant revoke`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrantId {
    /// Version.
    pub v: V1,
    /// With or without `local:`.
    pub id: String,
}

/// `jit mfa enroll`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnrollAsk {
    /// Version.
    pub v: V1,
    /// Who; the caller if absent. Another than oneself: root.
    pub user: Option<String>,
    /// Ask for one code before it counts. `false` is for root (scripts).
    pub confirm: bool,
}

/// A new factor. Said once, to be shown and forgotten.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Enrolment {
    /// `otpauth://` URI for an authenticator app.
    pub otpauth: Zeroizing<String>,
    /// The same secret in base32, to type.
    pub secret: Zeroizing<String>,
    /// One-time recovery codes.
    pub recovery_codes: Vec<Zeroizing<String>>,
}

impl std::fmt::Debug for Enrolment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Enrolment([redacted])")
    }
}

/// State of somebody's factor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FactorReport {
    /// Login name.
    pub user: String,
    /// `none`, `pending`, `enrolled`, `disabled` (too many wrong codes), `unusable` (its
    /// file is damaged, or sealed with a key that is not there), `mismatch` (the uid has another
    /// name now).
    pub state: String,
    /// When it was enrolled, RFC 3339.
    pub since: Option<String>,
    /// Recovery codes not used yet.
    pub recovery_codes_left: u32,
    /// Seconds until a code is looked at again, while locked at elevation.
    pub locked_secs: Option<u64>,
}

/// State of the central policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyReport {
    /// Realm.
    pub realm: String,
    /// Where bundles come from.
    pub url: String,
    /// `fresh`, `stale`, `expired`, `none` (no bundle yet).
    pub state: String,
    /// The accepted bundle's sequence number.
    pub seq: Option<u64>,
    /// Trusted time less `issued_at`, in seconds.
    pub age_secs: Option<u64>,
    /// Grants of it that aim at this host.
    pub grants: u64,
    /// Why the last attempt did not bring a bundle, if it did not.
    pub last_error: Option<String>,
}

/// State of the clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClockReport {
    /// Trusted time, RFC 3339.
    pub trusted: String,
    /// Wall clock, RFC 3339.
    pub wall: String,
    /// Whether the kernel says that the wall clock is synchronised.
    pub synchronised: bool,
    /// Whether grants may hold.
    pub settled: bool,
    /// In words, if anything is wrong.
    pub trouble: Option<String>,
}

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refusal {
    /// Stable code.
    pub reason: String,
    /// For the person: what was wrong and what to do.
    pub message: String,
}

#[cfg(test)]
mod tests;
