//! Whether somebody gets in when the agent cannot answer: root by password, or a rescue account.

use std::path::Path;

use crate::files;

/// No account file is longer that we read.
const LONGEST: u64 = 16 * 1024 * 1024;

/// An account of this host's own files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    /// Login name.
    pub(crate) name: String,
    /// Number.
    pub(crate) uid: u32,
    /// Primary group.
    pub(crate) gid: u32,
    /// The password's field: `x` where shadow(5) has it.
    password: String,
    /// What runs when they log in.
    pub(crate) shell: String,
}

/// The accounts in `/etc/passwd`, which are all that a rescue account can be.
///
/// # Errors
///
/// When the file cannot be read.
pub(crate) fn accounts(root: &Path) -> Result<Vec<Account>, String> {
    let path = root.join("etc/passwd");
    let bytes = files::read(&path, LONGEST).map_err(|failure| failure.message)?;
    let text = String::from_utf8_lossy(&bytes);
    Ok(text.lines().filter_map(account).collect())
}

fn account(line: &str) -> Option<Account> {
    let mut fields = line.split(':');
    let mut next = || fields.next();
    let (name, password) = (next()?.to_owned(), next()?.to_owned());
    let (uid, gid) = (next()?.parse().ok()?, next()?.parse().ok()?);
    let shell = fields.nth(2).unwrap_or_default().to_owned();
    Some(Account {
        name,
        uid,
        gid,
        password,
        shell,
    })
}

/// Why root cannot come in by password; nothing if it can.
///
/// # Errors
///
/// When the files cannot be read: shadow(5) is for root.
pub(crate) fn root_is_shut_out(root: &Path) -> Result<Option<String>, String> {
    let mut accounts = accounts(root)?.into_iter();
    let Some(entry) = accounts.find(|account| account.name == "root") else {
        return Ok(Some("/etc/passwd has no root".to_owned()));
    };
    if ["/nologin", "/false"]
        .iter()
        .any(|end| entry.shell.ends_with(end))
    {
        return Ok(Some(format!("root's shell is {}", entry.shell)));
    }
    if entry.password != "x" {
        return Ok(unusable(&entry.password));
    }
    let path = root.join("etc/shadow");
    let bytes = files::read(&path, LONGEST).map_err(|failure| failure.message)?;
    let text = String::from_utf8_lossy(&bytes);
    let Some(line) = text.lines().find(|line| line.starts_with("root:")) else {
        return Ok(Some("/etc/shadow has no root".to_owned()));
    };
    let fields: Vec<&str> = line.split(':').collect();
    let field = |nr: usize| fields.get(nr).copied().unwrap_or_default();
    let today = jiff::Timestamp::now().as_second() / 86_400;
    match field(7).parse::<i64>() {
        Ok(day) if day <= today => Ok(Some("root's account has expired".to_owned())),
        _ => Ok(unusable(field(1))),
    }
}

fn unusable(password: &str) -> Option<String> {
    // crypt(5): nothing that it makes begins with these, so no password matches.
    password
        .starts_with(['!', '*'])
        .then(|| "root's password is locked".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shut_out(passwd: &str, shadow: &str) -> Option<String> {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("etc")).unwrap();
        std::fs::write(root.path().join("etc/passwd"), passwd).unwrap();
        std::fs::write(root.path().join("etc/shadow"), shadow).unwrap();
        root_is_shut_out(root.path()).unwrap()
    }

    #[test]
    fn a_locked_root_is_told_from_one_with_a_password() {
        const PASSWD: &str = "bin:x:1:1::/:/bin/sh\nroot:x:0:0:root:/root:/bin/bash\n";
        assert_eq!(shut_out(PASSWD, "root:$6$x$y:20000:0:99999:7:::\n"), None);
        for locked in ["!", "*", "!*", "!$6$x$y", "!!"] {
            let shadow = format!("rooty:$6$x$y:1::::::\nroot:{locked}:20000::::::\n");
            assert!(
                shut_out(PASSWD, &shadow).unwrap().contains("locked"),
                "{locked}"
            );
        }
        assert!(shut_out(PASSWD, "bin:*:1::::::\n").is_some());
        assert!(
            shut_out(PASSWD, "root:$6$x$y:1:::::1:\n")
                .unwrap()
                .contains("expired")
        );
        assert_eq!(shut_out("root:$1$x$y:0:0::/root:/bin/sh\n", ""), None);
        assert!(
            shut_out(
                "root:x:0:0::/root:/usr/sbin/nologin\n",
                "root:$6$:1::::::\n"
            )
            .is_some()
        );
        assert!(shut_out("bin:x:1:1::/:/bin/sh\n", "").is_some());
    }
}
