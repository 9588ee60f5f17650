//! Where our lines go in a service's file.
//!
//! * `auth` after whatever asks for the password, so that a wrong password costs no code; further
//!   down, or else above it, where something there could leave us out.
//! * `account` before everything else: pam_unix ends the stack for a password that has expired,
//!   and `common-account` jumps.
//! * `session` after everything else: what we refuse was only prepared, and the login id is set.
//!
//! A place is good if no way through the stack goes round us ([`holes`]) and no jump of another
//! line lands elsewhere than before. If there is none, nothing is written.

use std::path::Path;

use super::file::{Flaw, Module, PamFile, Phase, Rule, What};
use super::stack::{Files, Stack};
use super::walk::{Hole, holes};

/// Modules that ask nobody for anything; whatever else stands in an auth stack may.
const ASK_NOTHING: &[&str] = &[
    "access",
    "cap",
    "debug",
    "deny",
    "echo",
    "env",
    "exec",
    "faildelay",
    "faillock",
    "group",
    "issue",
    "keyinit",
    "limits",
    "listfile",
    "localuser",
    "loginuid",
    "mail",
    "motd",
    "namespace",
    "nologin",
    "permit",
    "rootok",
    "securetty",
    "selinux",
    "sepermit",
    "shells",
    "succeed_if",
    "tally2",
    "time",
    "umask",
    "usertype",
    "warn",
    "wheel",
];

/// What our lines shall say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Wish {
    /// Whether they may refuse.
    pub(crate) observe: bool,
    /// Who passes when the agent cannot answer; if nobody is named, whoever is named already.
    pub(crate) rescue: Vec<String>,
}

/// What is to be done with one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The file as it shall be.
    pub(crate) file: PamFile,
    /// The words behind `pam_jit.so`.
    pub(crate) args: Vec<String>,
    /// What the administrator should know.
    pub(crate) notes: Vec<String>,
}

/// Plans to enable a service.
///
/// # Errors
///
/// Why it cannot be done, and what to do about it.
pub(crate) fn enable(files: &Files, service: &str, wish: &Wish) -> Result<Plan, String> {
    let path = files.folder().join(service);
    let before = files.read(&path)?;
    match before.flaw() {
        Some(Flaw::CarriageReturn(line)) => {
            return Err(format!(
                "{}:{line}: ends with a carriage return, which libpam takes for a part of the module's name; \
                 mend the file first: sed -i 's/\\r$//' {0}",
                path.display()
            ));
        }
        Some(Flaw::Dangling(line)) => {
            return Err(format!(
                "{}:{line}: ends with a backslash and nothing follows, so libpam refuses the whole file; remove the backslash",
                path.display()
            ));
        }
        None => {}
    }
    let args = args(&before, wish);
    if let Some(trouble) = Phase::OURS
        .iter()
        .find_map(|phase| Stack::of(files, service, *phase).troubles.first().cloned())
    {
        return Err(format!(
            "{}: {}; mend that first",
            trouble.place, trouble.what
        ));
    }
    let mut plan = Plan {
        file: before.without_ours(),
        args,
        notes: Vec::new(),
    };
    let bare = files.with(&path, plan.file.bytes());
    if is_sound(files, service, &bare, &before, &plan.args) {
        plan.file = before;
        return Ok(plan);
    }
    for phase in Phase::OURS {
        if Stack::of(&bare, service, phase)
            .elements
            .iter()
            .any(|e| e.is_ours())
        {
            let through = through(&bare, service, phase);
            plan.notes
                .push(format!("{}: through {through}", phase.as_str()));
        } else {
            plan.file = place(&bare, service, phase, &plan, &before)?;
        }
    }
    // All together, as they will be: a line of one phase must not have moved another's.
    let after = files.with(&path, plan.file.bytes());
    for phase in Phase::OURS {
        let stack = Stack::of(&after, service, phase);
        if let Some(hole) = holes(&stack, service)
            .into_iter()
            .find(|hole| counts(phase, *hole))
        {
            let stack = as_before(stack, &path, &plan.file, &before);
            return Err(why(&stack, service, phase, hole));
        }
    }
    Ok(plan)
}

/// Whether the file is as it should be already, wherever in it our lines stand.
fn is_sound(files: &Files, service: &str, bare: &Files, before: &PamFile, args: &[String]) -> bool {
    let own = |module: &Module| module.args == args && !module.quiet && module.control.refuses();
    Phase::OURS.into_iter().all(|phase| {
        let wanted = match Stack::of(bare, service, phase)
            .elements
            .iter()
            .any(|e| e.is_ours())
        {
            true => 0,
            false => 1,
        };
        let mine = before
            .entries()
            .iter()
            .filter_map(|entry| match &entry.what {
                What::Rule(p, Rule::Module(module)) if *p == phase && module.is_ours() => {
                    Some(module)
                }
                _ => None,
            });
        let mine: Vec<&Module> = mine.collect();
        let stack = Stack::of(files, service, phase);
        mine.len() == wanted
            && mine.into_iter().all(own)
            && !holes(&stack, service)
                .into_iter()
                .any(|hole| counts(phase, hole))
    })
}

/// Whether a hole matters in this phase. A session stack of nothing but optional lines is common,
/// and a yes there opens nothing.
pub(crate) fn counts(phase: Phase, hole: Hole) -> bool {
    !(phase == Phase::Session && hole == Hole::OnlyUs)
}

/// The words behind our module: what is wished, and of what stands there whatever is not about it.
fn args(before: &PamFile, wish: &Wish) -> Vec<String> {
    let ours = before
        .entries()
        .iter()
        .filter_map(|entry| match &entry.what {
            What::Rule(phase, Rule::Module(module)) if module.is_ours() => Some((phase, module)),
            _ => None,
        });
    let ours: Vec<(&Phase, &Module)> = ours.collect();
    // Should they differ, the gate's count.
    let gate = ours.iter().find(|(phase, _)| **phase == Phase::Account);
    let old = gate.or(ours.first()).map(|(_, module)| module.args.clone());
    let mut args = old.unwrap_or_default();
    args.retain(|arg| arg != "observe" && (wish.rescue.is_empty() || !arg.starts_with("rescue=")));
    if !wish.rescue.is_empty() {
        args.push(format!("rescue={}", wish.rescue.join(",")));
    }
    if wish.observe {
        args.push("observe".to_owned());
    }
    args
}

/// The line as it is written.
fn line(phase: Phase, args: &[String]) -> String {
    let mut line = format!("{:<10} required   {}", phase.as_str(), super::MODULE);
    for arg in args {
        line.push(' ');
        line.push_str(arg);
    }
    line
}

/// The file with our line of one phase in the first good place.
fn place(
    bare: &Files,
    service: &str,
    phase: Phase,
    plan: &Plan,
    before: &PamFile,
) -> Result<PamFile, String> {
    let path = bare.folder().join(service);
    let now = bare.with(&path, plan.file.bytes());
    let old = Stack::of(&now, service, phase);
    if old.elements.is_empty() {
        return Err(format!(
            "{} has no {phase} line of its own, so libpam uses those of /etc/pam.d/other; a line of ours would \
             take their place and let everybody through there. Write the {phase} lines that {service} shall have first",
            path.display(),
            phase = phase.as_str()
        ));
    }
    let mut first_fault = None;
    for at in places(&plan.file, &old, phase) {
        let file = plan.file.with_line(at, &line(phase, &plan.args));
        let new = Stack::of(&bare.with(&path, file.bytes()), service, phase);
        let hole = holes(&new, service)
            .into_iter()
            .find(|hole| counts(phase, *hole));
        let fault = match hole {
            Some(hole) => why(&as_before(new, &path, &file, before), service, phase, hole),
            None if jumps_moved(&old, &new) => format!(
                "{}: the {} lines jump over each other in a way that leaves no room for one of ours",
                path.display(),
                phase.as_str()
            ),
            None => return Ok(file),
        };
        first_fault.get_or_insert(fault);
    }
    Err(first_fault.unwrap_or_else(|| format!("{}: no place was found", path.display())))
}

/// Where a line may go, best first: indices of the lines that it would stand before.
fn places(file: &PamFile, stack: &Stack, phase: Phase) -> Vec<usize> {
    // The file's own entries that bring anything into this stack.
    let mut own: Vec<usize> = stack.elements.iter().map(|element| element.entry).collect();
    own.dedup();
    let entry = |nr: &usize| file.entries().get(*nr);
    let before = |nr: &usize| entry(nr).map(|entry| entry.first);
    let after = |nr: &usize| entry(nr).map(|entry| entry.last + 1);
    match phase {
        Phase::Account | Phase::Password => own.iter().take(1).filter_map(before).collect(),
        Phase::Session => {
            let behind = own.iter().rev().filter_map(after);
            behind
                .chain(own.iter().take(1).filter_map(before))
                .collect()
        }
        Phase::Auth => {
            let asks = stack.elements.iter().find(|element| {
                element.module().is_some_and(|module| {
                    let name = module.name().trim_start_matches("pam_");
                    !ASK_NOTHING.contains(&name.trim_end_matches(".so"))
                })
            });
            let asks = asks.map_or_else(|| own.last().copied().unwrap_or(0), |e| e.entry);
            let (above, below): (Vec<usize>, Vec<usize>) = own.iter().partition(|nr| **nr < asks);
            let behind = below.iter().filter_map(after);
            let ahead = below
                .iter()
                .take(1)
                .chain(above.iter().rev())
                .filter_map(before);
            behind.chain(ahead).collect()
        }
    }
}

/// Whether any jump lands on another line than it did without ours.
pub(crate) fn jumps_moved(old: &Stack, new: &Stack) -> bool {
    // Which element of the old stack each of the new one is; ours are the next one's.
    let mut same = Vec::with_capacity(new.elements.len() + 1);
    let mut nr = 0;
    let mut theirs = Vec::new();
    for (at, element) in new.elements.iter().enumerate() {
        same.push(nr);
        let added = element.is_ours() && !old.elements.get(nr).is_some_and(|e| e.is_ours());
        if !added {
            theirs.push(at);
            nr += 1;
        }
    }
    same.push(nr);
    theirs.iter().enumerate().any(|(was, is)| {
        let control = old.elements.get(was).and_then(|element| element.control());
        let jumps = control.map(|control| control.jumps()).unwrap_or_default();
        jumps.into_iter().any(|n| {
            let then = old.after_jump(was, n);
            let now = new.after_jump(*is, n).and_then(|at| same.get(at).copied());
            then != now
        })
    })
}

/// The stack with the lines of `path` counted as in the file that is there now, which is the one
/// that people look at.
fn as_before(mut stack: Stack, path: &Path, new: &PamFile, before: &PamFile) -> Stack {
    let spans = |file: &PamFile| -> Vec<(usize, usize)> {
        let ours = file.entries().iter().filter(|entry| entry.is_ours());
        ours.map(|entry| (entry.first + 1, entry.last + 1 - entry.first))
            .collect()
    };
    let (added, removed) = (spans(new), spans(before));
    let theirs = stack
        .elements
        .iter_mut()
        .filter(|e| e.file == path && !e.is_ours());
    for element in theirs {
        let above = added.iter().filter(|(first, _)| *first < element.line);
        element.line -= above.map(|(_, count)| count).sum::<usize>();
        for (first, count) in &removed {
            if *first <= element.line {
                element.line += count;
            }
        }
    }
    stack
}

/// The file that brings our line into a service's phase.
pub(crate) fn through(files: &Files, service: &str, phase: Phase) -> String {
    let stack = Stack::of(files, service, phase);
    let ours = stack.elements.iter().find(|element| element.is_ours());
    ours.map(|e| e.file.display().to_string())
        .unwrap_or_default()
}

/// A hole in words.
pub(crate) fn why(stack: &Stack, service: &str, phase: Phase, hole: Hole) -> String {
    let place = |at: usize| match stack.elements.get(at) {
        None => String::new(),
        Some(element) => {
            let words = element
                .module()
                .map(|m| format!("'{} {}'", m.control.text, m.path));
            format!("{} {}", element.place(), words.unwrap_or_default())
        }
    };
    let phase = phase.as_str();
    match hole {
        Hole::Skipped(at) => format!(
            "{} can end or jump the {phase} lines of {service} so that pam_jit is never asked",
            place(at)
        ),
        Hole::Overruled(at) => format!(
            "{} lets the {phase} lines of {service} say yes although pam_jit said no",
            place(at)
        ),
        Hole::OnlyUs => format!(
            "the {phase} lines of {service} refuse by saying nothing (only 'sufficient' or 'optional' lines); \
             a line of ours would make that a yes. End them with '{phase} required pam_deny.so' first"
        ),
    }
}

#[cfg(test)]
mod tests {
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
}
