use super::*;
use crate::pam::tests::Etc;

const COMMON: [(&str, &str); 3] = [
    (
        "common-auth",
        "auth [success=1 default=ignore] pam_unix.so nullok\nauth requisite pam_deny.so\nauth required pam_permit.so\nauth optional pam_cap.so\n",
    ),
    (
        "common-account",
        "account [success=1 new_authtok_reqd=done default=ignore] pam_unix.so\naccount requisite pam_deny.so\naccount required pam_permit.so\n",
    ),
    (
        "common-session",
        "session [default=1] pam_permit.so\nsession requisite pam_deny.so\nsession required pam_permit.so\nsession required pam_unix.so\n",
    ),
];
const SYSTEM_AUTH: (&str, &str) = (
    "system-auth",
    "\
auth        required      pam_env.so
auth        required      pam_faildelay.so delay=2000000
auth        sufficient    pam_unix.so nullok
auth        required      pam_deny.so
account     required      pam_unix.so
session     optional      pam_keyinit.so revoke
session     required      pam_limits.so
-session    optional      pam_systemd.so
session     [success=1 default=ignore] pam_succeed_if.so service in crond quiet use_uid
session     required      pam_unix.so
",
);
const POSTLOGIN: (&str, &str) = (
    "postlogin",
    "\
session optional pam_umask.so silent
session [success=1 default=ignore] pam_succeed_if.so service !~ gdm* service !~ su* quiet
session [default=1] pam_lastlog.so nowtmp showfailed
session optional pam_lastlog.so silent noupdate showfailed
",
);

fn try_enable(etc: &Etc, service: &str) -> Result<String, String> {
    enable(&etc.files(), service, &Wish::default())
        .map(|plan| String::from_utf8(plan.file.bytes()).unwrap())
}

/// The file after enabling, with `J` for our lines, each as `phase J`, and comments left out.
fn enabled(etc: &Etc, service: &str) -> Vec<String> {
    let text = try_enable(etc, service).unwrap();
    let taken_away = PamFile::parse(text.as_bytes()).without_ours().bytes();
    assert_eq!(
        taken_away,
        etc.bytes(service),
        "disable gives back every byte"
    );
    etc.write(service, &text);
    assert_eq!(
        try_enable(etc, service).unwrap(),
        text,
        "a second time changes nothing"
    );
    let lines = text
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| line.replace("required pam_jit.so", "J"))
        .collect()
}

#[test]
fn debians_sudo() {
    let etc = Etc::of(&COMMON);
    etc.write("sudo", "#%PAM-1.0\n\n# Limits.\nsession    required   pam_limits.so\n\n@include common-auth\n@include common-account\n@include common-session\n");
    assert_eq!(
        enabled(&etc, "sudo"),
        [
            "session required pam_limits.so",
            "@include common-auth",
            "auth J",
            "account J",
            "@include common-account",
            "@include common-session",
            "session J",
        ]
    );
}

#[test]
fn debians_su_and_its_su_l() {
    let etc = Etc::of(&COMMON);
    etc.write("su", "auth sufficient pam_rootok.so\nsession required pam_env.so\n@include common-auth\n@include common-account\n@include common-session\n\n\n");
    etc.write("su-l", "#%PAM-1.0\nauth\t\tinclude\t\tsu\naccount\t\tinclude\t\tsu\npassword\tinclude\t\tsu\nsession\t\toptional\tpam_keyinit.so force revoke\nsession\t\tinclude\t\tsu\n");
    let lines = enabled(&etc, "su");
    assert_eq!(lines[3], "auth J");
    assert_eq!(lines.last().unwrap(), "session J");
    // su has them now, so su-l does.
    let plan = enable(&etc.files(), "su-l", &Wish::default()).unwrap();
    assert_eq!(plan.file.bytes(), etc.bytes("su-l"));
}

#[test]
fn red_hats_su_and_sshd() {
    let etc = Etc::of(&[SYSTEM_AUTH, POSTLOGIN]);
    etc.write("su", "#%PAM-1.0\nauth required pam_env.so\nauth sufficient pam_rootok.so\nauth substack system-auth\nauth include postlogin\naccount sufficient pam_succeed_if.so uid = 0 use_uid quiet\naccount include system-auth\npassword include system-auth\nsession include system-auth\nsession include postlogin\nsession optional pam_xauth.so\n");
    assert_eq!(
        enabled(&etc, "su"),
        [
            "auth required pam_env.so",
            "auth sufficient pam_rootok.so",
            "auth substack system-auth",
            "auth J",
            "auth include postlogin",
            "account J",
            "account sufficient pam_succeed_if.so uid = 0 use_uid quiet",
            "account include system-auth",
            "password include system-auth",
            "session include system-auth",
            "session include postlogin",
            "session optional pam_xauth.so",
            "session J",
        ]
    );
}

#[test]
fn red_hats_sudo_includes_a_sufficient_line_so_we_go_above_it() {
    let etc = Etc::of(&[SYSTEM_AUTH]);
    etc.write("sudo", "#%PAM-1.0\nauth include system-auth\naccount include system-auth\npassword include system-auth\nsession include system-auth");
    assert_eq!(
        enabled(&etc, "sudo"),
        [
            "auth J",
            "auth include system-auth",
            "account J",
            "account include system-auth",
            "password include system-auth",
            "session include system-auth",
            "session J",
        ]
    );
}

#[test]
fn red_hats_sshd_with_a_directory_service() {
    let etc = Etc::of(&[POSTLOGIN]);
    etc.write(
        "password-auth",
        "auth required pam_env.so\nauth [default=1 ignore=ignore success=ok] pam_usertype.so isregular\n\
         auth [default=1 ignore=ignore success=ok] pam_localuser.so\nauth sufficient pam_unix.so nullok\n\
         auth [default=1 ignore=ignore success=ok] pam_usertype.so isregular\nauth sufficient pam_sss.so forward_pass\n\
         auth required pam_deny.so\naccount required pam_unix.so\naccount sufficient pam_localuser.so\n\
         account sufficient pam_usertype.so issystem\naccount [default=bad success=ok user_unknown=ignore] pam_sss.so\n\
         account required pam_permit.so\nsession required pam_limits.so\n\
         session [success=1 default=ignore] pam_succeed_if.so service in crond quiet use_uid\n\
         session required pam_unix.so\nsession optional pam_sss.so\n",
    );
    etc.write(
        "sshd",
        "auth substack password-auth\nauth include postlogin\naccount required pam_sepermit.so\n\
         account required pam_nologin.so\naccount include password-auth\nsession required pam_loginuid.so\n\
         session include password-auth\nsession include postlogin\n",
    );
    assert_eq!(
        enabled(&etc, "sshd"),
        [
            "auth substack password-auth",
            "auth J",
            "auth include postlogin",
            "account J",
            "account required pam_sepermit.so",
            "account required pam_nologin.so",
            "account include password-auth",
            "session required pam_loginuid.so",
            "session include password-auth",
            "session include postlogin",
            "session J",
        ]
    );
}

#[test]
fn archs_sudo() {
    let etc = Etc::of(&[(
        "system-auth",
        "auth required pam_faillock.so preauth\n-auth [success=2 default=ignore] pam_systemd_home.so\n\
         auth [success=1 default=bad] pam_unix.so try_first_pass nullok\nauth [default=die] pam_faillock.so authfail\n\
         auth optional pam_permit.so\nauth required pam_env.so\nauth required pam_faillock.so authsucc\n\
         -account [success=1 default=ignore] pam_systemd_home.so\naccount required pam_unix.so\n\
         account optional pam_permit.so\naccount required pam_time.so\n\
         session required pam_limits.so\nsession required pam_unix.so\n",
    )]);
    etc.write("sudo", "#%PAM-1.0\nauth\tinclude\tsystem-auth\naccount\tinclude\tsystem-auth\nsession\tinclude\tsystem-auth\n");
    let lines = enabled(&etc, "sudo");
    assert_eq!(
        lines,
        [
            "auth include system-auth",
            "auth J",
            "account J",
            "account include system-auth",
            "session include system-auth",
            "session J",
        ]
    );
}

#[test]
fn a_jump_of_the_files_own_still_lands_where_it_did() {
    let etc = Etc::of(&COMMON);
    etc.write("doas", "auth [success=1 default=ignore] pam_unix.so\nauth requisite pam_deny.so\nauth required pam_permit.so\n@include common-account\nsession [success=1 default=ignore] pam_x.so\nsession required pam_y.so\n");
    assert_eq!(
        enabled(&etc, "doas"),
        [
            "auth [success=1 default=ignore] pam_unix.so",
            "auth requisite pam_deny.so",
            "auth J",
            "auth required pam_permit.so",
            "account J",
            "@include common-account",
            "session [success=1 default=ignore] pam_x.so",
            "session required pam_y.so",
            "session J",
        ]
    );
}

#[test]
fn lines_that_are_there_are_put_right_and_keep_their_words() {
    let etc = Etc::of(&COMMON);
    etc.write("sudo", "@include common-auth\n@include common-account\naccount optional pam_jit.so timeout=5 observe\n@include common-session\n");
    let text = try_enable(&etc, "sudo").unwrap();
    assert_eq!(
        text,
        "@include common-auth\nauth       required   pam_jit.so timeout=5\naccount    required   pam_jit.so timeout=5\n\
         @include common-account\n@include common-session\nsession    required   pam_jit.so timeout=5\n"
    );
    etc.write("sudo", &text);
    let wish = Wish {
        observe: true,
        rescue: vec!["ops".into()],
    };
    let plan = enable(&etc.files(), "sudo", &wish).unwrap();
    let text = String::from_utf8(plan.file.bytes()).unwrap();
    assert_eq!(
        text.matches("pam_jit.so timeout=5 rescue=ops observe\n")
            .count(),
        3
    );
    etc.write("sudo", &text);
    let text = try_enable(&etc, "sudo").unwrap();
    assert_eq!(text.matches("pam_jit.so timeout=5 rescue=ops\n").count(), 3);
}

#[test]
fn a_hand_that_put_them_elsewhere_but_well_is_left_alone() {
    let etc = Etc::of(&COMMON);
    let text = "@include common-auth\nauth required pam_jit.so\naccount [success=ok default=die] pam_jit.so\n@include common-account\n@include common-session\nsession requisite /lib/security/pam_jit.so\nsession optional pam_motd.so\n";
    etc.write("sshd", text);
    assert_eq!(try_enable(&etc, "sshd").unwrap(), text);
}

#[test]
fn what_cannot_be_made_safe_is_refused_with_the_line() {
    let etc = Etc::of(&COMMON);
    for (text, says) in [
        (
            "@include common-auth\n@include common-account\naccount [default=reset] pam_x.so\naccount required pam_y.so\n@include common-session\n",
            "/etc/pam.d/sudo:3 '[default=reset] pam_x.so' lets the account lines of sudo say yes although",
        ),
        (
            "@include common-auth\n@include common-session\n",
            "no account line of its own",
        ),
        (
            "@include common-auth\naccount sufficient pam_x.so\n@include common-session\n",
            "refuse by saying nothing",
        ),
        (
            "@include common-auth\r\n@include common-account\r\n@include common-session\r\n",
            "sudo:1: ends with a carriage return",
        ),
        (
            "@include common-auth\n@include gone\n@include common-account\n@include common-session\n",
            "sudo:2: includes gone, which is not there",
        ),
        ("@include common-auth\n@include sudo\n", "crashes"),
        (
            "@include common-auth\n@include common-account\nsession required \\\n",
            "sudo:3: ends with a backslash",
        ),
        (
            "auth sufficient pam_x.so\n@include common-account\n@include common-session\n",
            "is never asked",
        ),
    ] {
        etc.write("sudo", text);
        let said = try_enable(&etc, "sudo").unwrap_err();
        assert!(said.contains(says), "{text}\n{said}");
    }
}
