//! `agent.toml`: what this host enforces, and whom it believes.
//!
//! A file that does not read cleanly is refused whole, with the place of the first thing that is
//! wrong: half a configuration could be a wider one.

mod read;
mod section;

use crate::trusted_file::{self, TrustedFileError};
use jit_policy::sign::PublicKey;
use jit_policy::{Factor, base_service};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

/// Where the configuration lies unless `--config` says otherwise.
pub const PATH: &str = "/etc/pam_jit/agent.toml";

/// A configuration is text that a person types; more than this is not one.
const MAX_BYTES: u64 = 1024 * 1024;

/// The whole of `agent.toml`, checked, defaults filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `[agent]`
    pub agent: AgentConfig,
    /// `[policy]`; absent: local grants only.
    pub policy: Option<PolicyConfig>,
    /// `[service.NAME]`, by base name. Ask with [`Config::service`].
    pub services: BTreeMap<String, ServiceConfig>,
    /// `[mfa]`
    pub mfa: MfaConfig,
    /// `[audit]`
    pub audit: AuditConfig,
}

/// `[agent]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentConfig {
    /// What bundles and grants call this machine.
    pub host: String,
    /// What grants may aim at besides the host's name.
    pub labels: BTreeMap<String, String>,
    /// Login names that are allowed without a grant, always recorded.
    pub exempt_users: Vec<String>,
    /// Whether local grants count at all.
    pub local_grants: bool,
}

/// `[policy]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyConfig {
    /// Must equal the bundle's.
    pub realm: String,
    /// Where bundles come from.
    pub url: SourceUrl,
    /// Any one of these must have signed. At least one.
    pub trusted_keys: Vec<PublicKey>,
    /// Trust only the certificates in this PEM file for `https://`.
    pub ca_file: Option<PathBuf>,
    /// How often to ask the source; at least a second.
    pub refresh: Duration,
    /// A bundle older than this is stale.
    pub lease: Duration,
    /// Older than this, central grants stop holding; not less than `lease`.
    pub max_offline: Duration,
}

/// Where bundles come from. Shown without the query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceUrl {
    /// An `https://` URL without user name or password.
    Https(reqwest::Url),
    /// The absolute path of a `file://` URL.
    File(PathBuf),
}

impl std::fmt::Display for SourceUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            // A query may hold a secret (a signed URL of an object store), and this is shown to
            // everybody.
            Self::Https(url) => {
                let shown = url.as_str().split('?').next().unwrap_or_default();
                write!(
                    f,
                    "{shown}{}",
                    if url.query().is_some() { "?…" } else { "" }
                )
            }
            Self::File(path) => write!(f, "file://{}", path.display()),
        }
    }
}

/// `[service.NAME]`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServiceConfig {
    /// Whether decisions count.
    pub mode: Mode,
    /// Whether an active grant is required.
    pub grant: bool,
    /// A floor: a grant may ask for more, never for less.
    pub mfa: Factor,
}

/// Whether a service's decisions count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// They do.
    Enforce,
    /// They are recorded, and everybody is allowed; never prompts, locks or spends.
    Observe,
    /// The module stands aside.
    Off,
}

impl Mode {
    /// The word in the file and in audit records.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Observe => "observe",
            Self::Off => "off",
        }
    }
}

/// `[mfa]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MfaConfig {
    /// What authenticator apps call this.
    pub issuer: String,
    /// Whether people may enrol themselves.
    pub self_enroll: SelfEnroll,
}

/// Whether people may enrol themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SelfEnroll {
    /// Root enrols people.
    Never,
    /// A person without a factor may enrol one, once.
    First,
}

/// `[audit]`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditConfig {
    /// Shape of a syslog line.
    pub format: AuditFormat,
    /// Whether an allow waits for its record to be on disk.
    pub durable: bool,
    /// How much of a command line is recorded.
    pub command: CommandDetail,
}

/// Shape of a syslog line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuditFormat {
    /// `key=value key=value`
    Logfmt,
    /// One JSON object.
    Json,
}

/// How much of a command line is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandDetail {
    /// Nothing.
    Off,
    /// The command's base name.
    Name,
    /// All of it; arguments may hold secrets.
    Full,
}

/// The configuration could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read, or must not be believed.
    #[error(transparent)]
    File(#[from] TrustedFileError),
    /// Something in it is wrong.
    #[error("{file}:{line}:{column}: {key}{sep}{message}", file = .file.display(),
        sep = if .key.is_empty() { "" } else { ": " })]
    Invalid {
        /// The file.
        file: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Column in characters, from 1.
        column: usize,
        /// The key's full name, `agent.host`; empty where the text is not TOML at all.
        key: String,
        /// What is wrong, and what to write instead.
        message: String,
    },
}

impl Config {
    /// Reads and checks a configuration. Blocks; up to about half a second longer when the file
    /// was changed just now.
    ///
    /// # Errors
    ///
    /// [`ConfigError`], which names the file and, where it can, line, column and key.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let bytes = trusted_file::read(path, MAX_BYTES)?;
        let place = |at: usize, key: String, message: String| {
            let before = bytes.get(..at).unwrap_or(&bytes);
            let line_start = before
                .iter()
                .rposition(|b| *b == b'\n')
                .map_or(0, |n| n + 1);
            let in_line = before.get(line_start..).unwrap_or_default();
            ConfigError::Invalid {
                file: path.to_owned(),
                line: before.iter().filter(|b| **b == b'\n').count() + 1,
                column: String::from_utf8_lossy(in_line).chars().count() + 1,
                key,
                message,
            }
        };
        let text = std::str::from_utf8(&bytes).map_err(|e| {
            let message = "not UTF-8 text; save the file as UTF-8".to_owned();
            place(e.valid_up_to(), String::new(), message)
        })?;
        read::parse(text, system_host()).map_err(|f| place(f.at, f.key, f.message))
    }

    /// What holds when the agent starts without a configuration it can take: everything is
    /// enforced, nobody but root is exempt, and no grant counts, neither local nor central.
    #[must_use]
    pub fn lockdown() -> Self {
        Self {
            agent: AgentConfig {
                host: system_host().unwrap_or("unknown").to_owned(),
                labels: BTreeMap::new(),
                exempt_users: vec!["root".to_owned()],
                local_grants: false,
            },
            policy: None,
            services: default_services(),
            mfa: default_mfa(),
            audit: default_audit(),
        }
    }

    /// What is configured for a PAM service, by its full or base name (`sudo-i` is `sudo`). `None`
    /// for a service with neither a section nor a default: to be denied, root excepted.
    #[must_use]
    pub fn service(&self, name: &str) -> Option<&ServiceConfig> {
        self.services.get(base_service(name))
    }
}

/// The machine's name, as in `/etc/hostname` when first asked: a name that changes under a
/// running agent must not change which grants aim at it.
fn system_host() -> Option<&'static str> {
    static HOST: OnceLock<Option<String>> = OnceLock::new();
    HOST.get_or_init(|| {
        let text = std::fs::read_to_string("/etc/hostname").ok()?;
        let name = text
            .lines()
            .map(str::trim)
            .find(|l| !l.is_empty() && !l.starts_with('#'))?;
        read::is_host(name).then(|| name.to_owned())
    })
    .as_deref()
}

fn default_services() -> BTreeMap<String, ServiceConfig> {
    let elevation = ServiceConfig {
        mode: Mode::Enforce,
        grant: true,
        mfa: Factor::Age(15 * 60),
    };
    let entry = ServiceConfig {
        mode: Mode::Enforce,
        grant: false,
        mfa: Factor::None,
    };
    [
        ("sudo", elevation),
        ("su", elevation),
        ("sshd", entry),
        ("login", entry),
    ]
    .into_iter()
    .map(|(name, service)| (name.to_owned(), service))
    .collect()
}

fn default_mfa() -> MfaConfig {
    MfaConfig {
        issuer: "pam_jit".to_owned(),
        self_enroll: SelfEnroll::Never,
    }
}

fn default_audit() -> AuditConfig {
    AuditConfig {
        format: AuditFormat::Logfmt,
        durable: true,
        command: CommandDetail::Name,
    }
}

#[cfg(test)]
mod tests;
