//! What the module needs of PAM and of the process it is in. A trait, so that every phase can be
//! tested with a scripted one.

use zeroize::Zeroizing;

/// A PAM item that is text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Item {
    Service,
    User,
    RUser,
    Tty,
    RHost,
}

impl Item {
    /// The item's name in pam_get_item(3), for log lines.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Service => "PAM_SERVICE",
            Self::User => "PAM_USER",
            Self::RUser => "PAM_RUSER",
            Self::Tty => "PAM_TTY",
            Self::RHost => "PAM_RHOST",
        }
    }
}

/// libpam would not give an item. That is not the same as an item nobody set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unreadable;

/// What a line is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    Info,
    Error,
}

/// How much a log line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    Error,
    Warning,
    Debug,
}

/// The process's user ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ids {
    pub(crate) real: u32,
    pub(crate) effective: u32,
}

/// What one hook leaves for the next one of the same transaction, in pam data. Plain values only:
/// a descriptor kept here would end up in the target's shell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Kept {
    /// The transaction's number; missing when the kernel had no random bits to make it of.
    pub(crate) txn: Option<u128>,
    /// The principal that the account phase fixed.
    pub(crate) fixed: Option<u32>,
    /// The account phase saw root, and root is never locked out.
    pub(crate) root: bool,
    /// The account phase saw an elevation. In the session phase the ids no longer tell.
    pub(crate) elevation: bool,
}

/// PAM and the process, as far as the module needs them.
pub(crate) trait Host {
    /// An item's bytes; `None` if nobody set it.
    fn item(&self, item: Item) -> Result<Option<Vec<u8>>, Unreadable>;

    /// Has libpam ask who logs in, if it does not know yet. May talk to the person.
    fn find_user(&mut self);

    /// Whether there is a conversation function at all.
    fn can_converse(&self) -> bool;

    /// Asks the person; `None` if the conversation failed or gave nothing.
    fn prompt(&self, text: &str, echo: bool) -> Option<Zeroizing<Vec<u8>>>;

    /// Tells the person, best effort.
    fn tell(&self, tone: Tone, text: &str);

    /// Writes a line to syslog.
    fn log(&self, level: Level, text: &str);

    /// Asks libpam to let a failure take its time.
    fn slow_failure(&mut self);

    /// The process's ids, now.
    fn ids(&self) -> Ids;

    /// What an earlier hook of this transaction kept.
    fn kept(&self) -> Option<Kept>;

    /// Keeps it for the later ones; whether that worked.
    fn keep(&mut self, kept: Kept) -> bool;

    /// Random bits, if the kernel has any without waiting.
    fn random(&self) -> Option<u128>;

    /// The process's command line as `/proc` has it; `None` if unreadable or too long.
    fn command_line(&self) -> Option<Vec<u8>>;

    /// The text of `/etc/passwd`: this machine's own accounts, without the name service.
    fn local_accounts(&self) -> Option<Vec<u8>>;
}
