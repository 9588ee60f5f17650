//! The notes at the end of each verb's long help and man page: examples, exit status, and the
//! object that `--json` prints. Indented lines are shown as they stand, so they fit 80 columns.

/// `jit`
pub(crate) const JIT: &str = r#"Exit status:
  0  yes: done, allowed, holds
  1  no: refused, would be denied, does not hold, not permitted
  2  misuse
  3  the agent cannot be reached

Times (TIME):
  2026-11-21T14:00:00+01:00   RFC 3339, also with Z
  '2026-11-21 14:00', 14:00   local time; the latter today
  +2h, -30m                   from now

JSON:
  With --json every verb prints exactly one object, whose "v" is 1. Its own
  --help says what is in it. One that does something prints
    {"v":1, "done": words}
  and any that fails
    {"v":1, "error": {"reason": code, "message": words}}
  with the same words on standard error. Times are RFC 3339. Fields may be
  added; if one changes its meaning, "v" changes.

Colours appear on a terminal only, and not if NO_COLOR is set or TERM is dumb.

Files:
  /etc/pam_jit/agent.toml        what the agent enforces
  /etc/pam_jit/grants.d/*.toml   grants in files
  /var/lib/pam_jit/              the agent's state, its journal in audit/"#;

/// `jit status`
pub(crate) const STATUS: &str = r#"JSON (--json):
  {"v":1, "user", "host", "agent": version, "grants": [GRANT…],
   "factor": FACTOR, "policy": POLICY|null, "clock": words|null,
   "proved_secs_ago": seconds|null}
  GRANT            as in jit grant list
  FACTOR           as in jit mfa status
  POLICY           as in jit policy refresh; null where there is none
  clock            what is wrong with the clock, if anything
  proved_secs_ago  since a factor was proved in this login session"#;

/// `jit check`
pub(crate) const CHECK: &str = r#"Exit status 0 if it would be allowed, 1 if not. Whether a factor was proved
does not matter here; which one would be asked for is shown.

JSON (--json):
  {"v":1, "user", "service", "run_as": name|null, "at": time,
   "decision": "allow"|"deny", "reason": code, "detail": words,
   "need": "none"|"always"|age, "mode": "enforce"|"observe"|"off",
   "until": time|null, "grants":
   [{"id", "matched": bool, "failed": code|null, "detail": words}…]}"#;

/// `jit mfa enroll`
pub(crate) const MFA_ENROLL: &str = r#"JSON (--json), for scripts and root only. No code is asked for, the factor
counts at once. What is printed is secret and said once:
  {"v":1, "otpauth": URI, "secret": base32, "recovery_codes": [text…]}"#;

/// `jit mfa status`
pub(crate) const MFA_STATUS: &str = r#"JSON (--json):
  {"v":1, "user", "state": "none"|"pending"|"enrolled"|"disabled"|"unusable"
   |"mismatch", "since": time|null, "recovery_codes_left": number,
   "locked_secs": seconds|null}
  disabled  after too many wrong codes in a row
  unusable  its file is damaged, or sealed with a key that is not there
  mismatch  the uid has another name than at enrolment; it does not count"#;

/// `jit grant add`
pub(crate) const GRANT_ADD: &str = r#"Examples:
  jit grant add --user alice --service sudo --for 1h --reason 'INC-4711'
  jit grant add --group dba --service sudo --run-as postgres \
                --from 22:00 --for 2h --mfa always
  jit grant add --user bob --service su --until 18:00 --source 10.8.0.0/16

JSON (--json): the fields of a GRANT, as in jit grant list."#;

/// `jit grant list`
pub(crate) const GRANT_LIST: &str = r#"JSON (--json):
  {"v":1, "grants": [GRANT…]}
  GRANT: {"id": "local:ID"|"central:ID",
   "state": "active"|"later"|"waiting"|"expired", "detail": words,
   "user": name|null, "group": name|null, "services": [name…],
   "run_as": [name…], "not_before": time|null, "not_after": time,
   "until": time|null, "mfa": "always"|"none"|age|null, "reason": text|null,
   "ticket": text|null, "approved_by": [name…]}
  waiting  a condition does not hold now, as its schedule
  until    while active: not_after or the end of the schedule's window,
           whichever is earlier"#;

/// `jit policy refresh`
pub(crate) const POLICY_REFRESH: &str = r#"Exit status 0 if the bundle at the source is in force, 1 if not; then the
previous one stays in force.

JSON (--json):
  {"v":1, "realm", "url", "state": "fresh"|"stale"|"expired"|"none",
   "seq": number|null, "age_secs": seconds|null, "grants": number,
   "last_error": words|null}
  grants  how many of the bundle's aim at this host"#;

/// `jit policy keygen`
pub(crate) const POLICY_KEYGEN: &str = r#"The public key is printed; it belongs into trusted_keys in the agents'
agent.toml. The file holds the secret key: whoever has it can make anybody root.

JSON (--json):
  {"v":1, "public_key": "ed25519:…", "file"}"#;

/// `jit policy sign`
pub(crate) const POLICY_SIGN: &str = r#"Refuses what 'jit policy lint' calls an error, and says everything that is. The
output is replaced at once or not at all. If it is there already it must be a
bundle of the same realm, host and key; the new one gets a higher number, so
that agents take it.

A bundle signed by hand must be signed again within the agents' max_offline (1h
unless agent.toml says otherwise), or its grants stop holding.

Example:
  jit policy sign --key release.key --realm prod -o bundle.json grants/*.toml

JSON (--json):
  {"v":1, "file", "realm", "host", "seq": number, "issued_at": time,
   "expires_at": time, "grants": number, "public_key": "ed25519:…",
   "warnings": [REMARK…]}
  REMARK  as in jit policy lint"#;

/// `jit policy verify`
pub(crate) const POLICY_VERIFY: &str = r#"Checks what an agent checks, save what only the agent knows: which bundles it
took before. Exit status 0 if an agent would take the bundle and every grant in
it, 1 if not.

JSON (--json):
  {"v":1, "ok": bool, "realm", "host", "seq": number, "issued_at": time,
   "expires_at": time, "grants": number, "dropped":
   [{"id": text|null, "line": number|null, "message": words}…]}
  A bundle that would be refused is an error with one of these reasons:
   too_large malformed type signature head realm host seq_ahead
   issued_ahead expired hash grants"#;

/// `jit policy lint`
pub(crate) const POLICY_LINT: &str = r#"Exit status 0 if every grant is well-formed (there may be warnings), 1 if not.

JSON (--json):
  {"v":1, "ok": bool, "grants": number, "errors": [REMARK…],
   "warnings": [REMARK…]}
  REMARK: {"file", "line": number|null, "id": text|null, "message": words}"#;

/// `jit audit show`
pub(crate) const AUDIT_SHOW: &str = r#"JSON (--json):
  {"v":1, "events": [EVENT…], "unreadable": [{"file", "line", "what"}…]}
  EVENT: {"time", "event", "outcome", "reason", "user", …, "id", "prev"}
  An event has the keys and values of its syslog line, absent ones are null.
  Oldest first."#;

/// `jit audit verify`
pub(crate) const AUDIT_VERIFY: &str = r#"Exit status 0 if nothing was tampered with, 1 if something was, or if there was
nothing to compare.

JSON (--json):
  {"v":1, "ok": bool, "records": number, "files": [path…],
   "from_start": bool, "first": SEEN|null, "last": SEEN|null,
   "faults": [{"file", "line", "what"}…], "more_faults": number,
   "against": AGAINST|null}
  SEEN: {"file", "line", "id", "time", "hash"}
  AGAINST: {"matched": number, "not_in_journal": [{"line", "id"}…],
   "not_at_collector": [SEEN…],
   "altered": [{"journal": SEEN, "line", "how"}…], "unreadable": [line…],
   "before_journal": number, "other_hosts": number,
   "after_collector": number}
  from_start  the first record is the first that this host ever wrote; if
              not, older ones were rotated away, or removed"#;

/// `jit clock show` and `accept`
pub(crate) const CLOCK: &str = r#"JSON (--json):
  {"v":1, "trusted": time, "wall": time, "synchronised": bool,
   "settled": bool, "trouble": words|null}
  settled  whether grants may hold at all"#;

/// `jit pam enable`
pub(crate) const PAM_ENABLE: &str = r#"The first hour:
  1. Keep a second root shell open until you have tried it.
  2. jit pam enable --observe sudo sudo-i su
     Everything is recorded, nobody is refused, not even by a dead agent.
  3. jit mfa enroll USER, for everybody who elevates.
  4. For some days: who would have been refused?
     jit audit show, or grep would=deny in the auth log
  5. Write the grants that are missing (jit grant add --help).
  6. jit pam enable sudo sudo-i su
     From now on it refuses. Try it from another shell, then: jit doctor

Where the lines go:
  auth     after whatever asks for the password, so that a wrong one costs no
           code; further down or above it where it could leave us out (Red
           Hat's 'include system-auth': the code is asked for first)
  account  before all others: this is the gate
  session  after all others
Lines that are there already, whoever wrote them, are put right. Words such as
timeout=5 stay, and rescue= unless --rescue is given; observe goes without
--observe.

It refuses, and says why:
  what would lock root out, or where nobody gets in without the agent: root
    has no usable password and no --rescue account is named (cloud images)
  common-* and other files that several services include
  links, and files that are not root's or that others may write
  stacks in which every place for our lines can be gone round
  services of which agent.toml has no section, unless with --observe

What a trial does: the account phase alone, for root, three times (our line
alone; all lines; all lines with a module in our place that says no). It is
recorded as any check. No password is asked, no session opened.

Undo: jit pam disable SERVICE, or copy the file in /etc/pam_jit/backup back.

JSON (--json):
  {"v":1, "dry_run": bool, "services":
   [{"service", "file", "changed": bool, "diff": text, "backup": path|null,
     "notes": [words…]}…]}"#;

/// `jit pam disable`
pub(crate) const PAM_DISABLE: &str = r#"Examples:
  jit pam disable sudo
  jit pam disable --all       before the module is removed: a line that names
                              a module that is gone locks everybody out

Exit status 1 with --all if a file could not be changed; the others are.

JSON (--json): as jit pam enable"#;

/// `jit pam status`
pub(crate) const PAM_STATUS: &str = r#"  enabled  every phase comes to pam_jit, and nothing goes round
  observe  the same, but our lines refuse nobody
  open     some phase does not, or something goes round; what, is said below
  -        none of our lines

Exit status 0; with services named, 1 if any of them is not enabled.

JSON (--json):
  {"v":1, "services": [{"service", "file": path|null, "enabled": bool,
   "observe": bool, "rescue": [name…], "phases":
   [{"phase": "auth"|"account"|"session", "lines":
     [{"file", "line": number, "control", "args": [word…]}…],
     "open": [words…], "troubles": [words…]}…]}…]}
  open      each way round our lines
  troubles  what libpam itself stumbles over"#;

/// `jit doctor`
pub(crate) const DOCTOR: &str = r#"  critical  people go round the gate, or are locked out
  warn      less than it should be, or soon
  info      good to know; nothing is open

Exit status 0 if nothing is open (there may be findings for information), 1 if
something is. An agent that does not answer is a finding too.

Every finding has an id that does not change; docs/doctor.md has a section for
each. It takes a second or two, at most. What it could not look at, for want
of rights or time, is listed as not seen: a clean bill is one without that.

It looks at this host's own files. People and groups from a directory, and
what a Match block of sshd makes of an address, it cannot know.

JSON (--json):
  {"v":1, "open": bool, "findings":
   [{"id", "severity": "critical"|"warn"|"info", "what": words, "why": words,
     "mend": words}…], "unseen": [words…]}
  Worst first."#;
