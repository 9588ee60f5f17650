use super::*;
use crate::doctor::host::tests::{Made, ids};

const GOOD: &str = "auth required pam_unix.so\nauth required pam_jit.so\naccount required pam_jit.so\n\
    account required pam_unix.so\nsession required pam_unix.so\nsession required pam_jit.so\n";

fn clean() -> Made {
    Made::of(&[
        ("etc/pam.d/sudo", GOOD),
        ("etc/pam.d/sudo-i", GOOD),
        ("usr/bin/sudo", ""),
        ("usr/lib/security/pam_unix.so", ""),
        ("etc/passwd", "root:x:0:0::/root:/bin/bash\n"),
        ("etc/shadow", "root:$6$x:1::::::\n"),
    ])
}

fn found(made: &Made) -> Vec<&'static str> {
    ids(&look(&made.host, &gated(&made.host)))
}

#[test]
fn a_host_in_order_has_nothing_to_say() {
    assert_eq!(found(&clean()), [""; 0]);
}

#[test]
fn every_sabotage_of_a_service_is_found_by_its_name() {
    for (from, to, id) in [
        ("account required pam_jit.so\n", "", "pam-account-missing"),
        ("auth required pam_jit.so\n", "", "pam-auth-missing"),
        ("session required pam_jit.so\n", "", "pam-session-missing"),
        (
            "account required pam_jit.so",
            "account sufficient pam_permit.so\naccount required pam_jit.so",
            "pam-skipped",
        ),
        (
            "account required pam_jit.so",
            "account [success=1 default=ignore] pam_unix.so\naccount required pam_jit.so",
            "pam-skipped",
        ),
        (
            "auth required pam_unix.so",
            "auth sufficient pam_unix.so",
            "pam-auth-skipped",
        ),
        (
            "account required pam_jit.so",
            "account optional pam_jit.so",
            "pam-control",
        ),
        (
            "account required pam_jit.so",
            "account sufficient pam_jit.so",
            "pam-control",
        ),
        (
            "session required pam_jit.so",
            "session [success=ok default=ignore] pam_jit.so",
            "pam-control",
        ),
        (
            "account required pam_unix.so",
            "account [default=reset] pam_unix.so\naccount required pam_unix.so",
            "pam-overruled",
        ),
        (
            "account required pam_unix.so",
            "account sufficient pam_unix.so",
            "pam-only-us",
        ),
        (
            "account required pam_jit.so",
            "-account required pam_jit.so",
            "pam-quiet",
        ),
        ("pam_jit.so", "pam_jit.so observe", "pam-observe"),
        ("pam_jit.so", "pam_jit.so root=ask", "pam-root-ask"),
        (
            "auth required pam_unix.so",
            "auth required pam_gone.so",
            "pam-module-missing",
        ),
        (
            "account required pam_jit.so",
            "account required /opt/pam_jit.so",
            "pam-module-missing",
        ),
        (
            "account required pam_unix.so",
            "@include gone",
            "pam-broken",
        ),
        (
            "account required pam_unix.so",
            "account required pam_unix.so\r",
            "pam-broken",
        ),
    ] {
        let made = clean();
        made.write("etc/pam.d/sudo", &GOOD.replace(from, to));
        let ids = found(&made);
        assert!(ids.contains(&id), "{to}: {ids:?}");
        assert!(ids.len() <= 2, "{to}: {ids:?}");
    }
}

#[test]
fn doors_beside_the_gated_ones_are_found_where_the_program_is() {
    let made = clean();
    made.write("etc/pam.d/su", "account required pam_unix.so\n");
    assert_eq!(found(&made), [""; 0], "no su program, no door");
    made.write("usr/bin/su", "");
    assert_eq!(found(&made), ["door-open"]);
    made.write("etc/pam.d/sudo", "account required pam_unix.so\n");
    made.write("etc/pam.d/sudo-i", "account required pam_unix.so\n");
    assert_eq!(found(&made), ["nothing-enabled"]);
}

#[test]
fn lines_in_a_shared_file_are_found() {
    let made = clean();
    made.write(
        "etc/pam.d/common-account",
        "account required pam_jit.so\naccount required pam_unix.so\n",
    );
    made.write("etc/pam.d/cron", "@include common-account\n");
    // One finding, not one for each service that reads it.
    assert_eq!(found(&made), ["pam-shared"]);
}

#[test]
fn files_and_modules_that_others_can_write_are_found() {
    use std::os::unix::fs::PermissionsExt;
    let made = clean();
    let mode = |path: &str, mode| {
        std::fs::set_permissions(made.host.path(path), PermissionsExt::from_mode(mode)).unwrap();
    };
    mode("etc/pam.d/sudo", 0o664);
    assert_eq!(found(&made), ["pam-file-writable"]);
    mode("etc/pam.d/sudo", 0o644);
    mode("usr/lib/security/pam_jit.so", 0o666);
    assert_eq!(found(&made), ["pam-module-writable"]);
}

#[test]
fn a_root_without_password_needs_somebody_to_rescue() {
    let made = clean();
    made.write("etc/shadow", "root:*:1::::::\n");
    assert_eq!(found(&made), ["root-shut-out"]);
    for service in ["sudo", "sudo-i"] {
        made.write(
            &format!("etc/pam.d/{service}"),
            &GOOD.replace("pam_jit.so", "pam_jit.so rescue=ops"),
        );
    }
    assert_eq!(found(&made), [""; 0]);
}
