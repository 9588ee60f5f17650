//! The accounts named with `rescue=`: they pass when the agent cannot answer.
//!
//! At an entry the account is `PAM_USER`. In an elevation the person is the principal, of whom only
//! the uid is certain: `PAM_USER` is the target, and `PAM_RUSER` is whatever the application put
//! there. Which of the named accounts has that uid is read from `/etc/passwd` itself, not from the
//! name service, which may need a network that is down, or a daemon that hangs. So in an elevation
//! only accounts of this machine can be rescued.

/// Whether the user with this uid is one of `rescue`, going by the text of a passwd(5) file.
/// `ruser` is `PAM_RUSER`: it may be missing, but it may not say another name.
pub(crate) fn names_uid(rescue: &[String], passwd: &[u8], uid: u32, ruser: Option<&[u8]>) -> bool {
    passwd.split(|byte| *byte == b'\n').any(|line| {
        let mut fields = line.split(|byte| *byte == b':');
        let name = fields.next().unwrap_or_default();
        let number = fields.nth(1).and_then(|field| str::from_utf8(field).ok());
        // Seven fields as in passwd(5): name, password, uid, and four more.
        fields.count() == 4
            && number.and_then(|number| number.parse().ok()) == Some(uid)
            && rescue.iter().any(|wanted| wanted.as_bytes() == name)
            && ruser.is_none_or(|ruser| ruser.is_empty() || ruser == name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &[u8] = b"root:x:0:0:root:/root:/bin/bash\n\
        alice:x:1001:1001:Alice:/home/alice:/bin/bash\n\
        bob:x:1002:1002::/home/bob:/bin/sh\n\
        eve:x:+1003:1003::/home/eve:/bin/sh\n\
        short:x:1004\n\
        +nis\n\
        \n";

    fn rescued(names: &[&str], uid: u32, ruser: Option<&str>) -> bool {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        names_uid(&names, PASSWD, uid, ruser.map(str::as_bytes))
    }

    #[test]
    fn the_uid_decides_and_the_name_must_not_disagree() {
        assert!(rescued(&["alice"], 1001, Some("alice")));
        assert!(rescued(&["bob", "alice"], 1001, None));
        assert!(rescued(&["alice"], 1001, Some("")));
        assert!(!rescued(&["alice"], 1001, Some("bob")));
        assert!(!rescued(&["alice"], 1002, Some("alice")));
        assert!(!rescued(&["alice"], 1002, None));
        assert!(!rescued(&[], 1001, None));
    }

    #[test]
    fn what_is_not_an_account_of_this_machine_names_nobody() {
        assert!(!rescued(&["carol"], 1005, Some("carol")));
        assert!(!rescued(&["short"], 1004, None));
        assert!(!names_uid(&["alice".into()], b"", 1001, None));
        assert!(!names_uid(&["alice".into()], b"\xff\xfe\n::::::", 0, None));
    }
}
