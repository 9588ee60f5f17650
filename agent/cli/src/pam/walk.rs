//! Every way through a stack, whatever its modules answer: is there one that ends in yes without
//! us, or in spite of us?
//!
//! The rules are libpam's (`_pam_dispatch_aux`, measured on 1.5.2), with answers reduced to what
//! matters. Modules are taken to answer yes or no: that some answer `PAM_IGNORE` would make every
//! stack look as if it could end without an answer.

use std::collections::HashSet;

use super::control::{Action, Answer};
use super::file::Module;
use super::stack::{Kind, Stack};

/// What the stack would answer if it ended here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Impression {
    /// Nobody has said anything that counts: a no.
    None,
    /// Yes.
    Yes,
    /// Yes, but the password has expired; no later answer changes it but a no.
    Expired,
    /// No.
    No,
}

/// What became of us on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Ours {
    NotAsked,
    Allowed,
    Refused,
}

/// One state on the way.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Way {
    at: usize,
    impression: Impression,
    ours: Ours,
    /// The impression when each substack was entered that this is in.
    entered: Vec<Impression>,
    /// It was shown that root is the one who asks, by real uid.
    root: bool,
    /// Somebody other than us said a yes that counts.
    others_yes: bool,
    /// Index of what left us out, or made our answer count for nothing.
    culprit: Option<usize>,
}

/// What is wrong with a stack as a gate. The numbers are indices of the stack's elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Hole {
    /// This one can end the stack with a yes, or jump, so that we are never asked.
    Skipped(usize),
    /// We refuse, and the stack says yes all the same, because of this one (which may be our own).
    Overruled(usize),
    /// Nobody but us says yes on some way: without us that way was a no.
    OnlyUs,
}

/// Programs that keep the real uid of whoever called them: there a proof that it is root's means
/// that root asks. Everywhere else (sshd, login) it is the daemon's own, and proves nothing.
pub(crate) fn keeps_real_uid(service: &str) -> bool {
    ["sudo", "sudo-i", "su", "su-l", "doas", "ksu"].contains(&service)
}

/// Every hole that any way through a service's stack shows, each once.
pub(crate) fn holes(stack: &Stack, service: &str) -> Vec<Hole> {
    let mut found = Vec::new();
    let mut seen = HashSet::new();
    let mut todo = vec![Way {
        at: 0,
        impression: Impression::None,
        ours: Ours::NotAsked,
        entered: Vec::new(),
        root: false,
        others_yes: false,
        culprit: None,
    }];
    while let Some(way) = todo.pop() {
        if way.at >= stack.elements.len() {
            found.extend(judge(&way, keeps_real_uid(service)));
        } else if seen.insert(way.clone()) {
            step(stack, &way, &mut todo);
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}

fn judge(way: &Way, root_is_root: bool) -> Option<Hole> {
    if !matches!(way.impression, Impression::Yes | Impression::Expired) {
        return None;
    }
    match way.ours {
        // Root passes us anyway.
        _ if way.root && root_is_root => None,
        Ours::NotAsked => way.culprit.map(Hole::Skipped),
        Ours::Refused => way.culprit.map(Hole::Overruled),
        Ours::Allowed if !way.others_yes => Some(Hole::OnlyUs),
        Ours::Allowed => None,
    }
}

fn step(stack: &Stack, way: &Way, todo: &mut Vec<Way>) {
    let Some(element) = stack.elements.get(way.at) else {
        return;
    };
    let mut way = way.clone();
    // A reset goes back to how it was when the substack was entered.
    way.entered.truncate(element.level);
    while way.entered.len() < element.level {
        way.entered.push(way.impression);
    }
    let module = match &element.kind {
        Kind::Substack => {
            way.at += 1;
            return todo.push(way);
        }
        Kind::Fails => {
            way.impression = Impression::No;
            way.at += 1;
            return todo.push(way);
        }
        Kind::Module(module) => module,
    };
    for (answer, action) in module.control.outcomes() {
        if possible(module, answer) {
            todo.extend(taken(stack, &way, module, answer, action));
        }
    }
}

/// Whether the module can answer so.
fn possible(module: &Module, answer: Answer) -> bool {
    match (module.name(), answer) {
        ("pam_permit.so", answer) => answer == Answer::Yes,
        ("pam_deny.so", answer) => answer == Answer::No,
        (_, Answer::Ignore) => module.is_ours(),
        (_, Answer::YesButExpired) => !module.is_ours() && !shows_root(module),
        _ => true,
    }
}

/// Whether a yes of this module shows that the real uid is root's.
fn shows_root(module: &Module) -> bool {
    let words = module.args.join(" ");
    match module.name() {
        "pam_rootok.so" => true,
        "pam_succeed_if.so" => {
            words.contains("use_uid") && (words.contains("uid = 0") || words.contains("uid eq 0"))
        }
        _ => false,
    }
}

fn taken(stack: &Stack, way: &Way, module: &Module, answer: Answer, action: Action) -> Option<Way> {
    let at = way.at;
    let mut way = way.clone();
    if module.is_ours() {
        // Ignoring is what we do where there is nothing to refuse (mode off, observe).
        let refused = answer == Answer::No;
        way.ours = match way.ours {
            Ours::Refused => Ours::Refused,
            _ if refused => Ours::Refused,
            _ => Ours::Allowed,
        };
        if way.ours == Ours::Refused && !matches!(action, Action::Bad | Action::Die) {
            way.culprit = Some(at);
        }
    }
    if shows_root(module) && answer == Answer::Yes {
        way.root = true;
    }
    way.at = at + 1;
    match action {
        Action::Ignore => {}
        Action::Ok | Action::Done => {
            if matches!(way.impression, Impression::None | Impression::Yes) {
                way.impression = match answer {
                    Answer::Yes => Impression::Yes,
                    Answer::YesButExpired => Impression::Expired,
                    // Its answer becomes the stack's, and that is a no.
                    _ => Impression::No,
                };
            }
            if matches!(answer, Answer::Yes | Answer::YesButExpired) {
                way.others_yes |= !module.is_ours();
            }
            if action == Action::Done && way.impression != Impression::No {
                way.at = stack.after_end(at);
                if way.ours == Ours::NotAsked {
                    way.culprit = Some(at);
                }
            }
        }
        Action::Bad => way.impression = Impression::No,
        Action::Die => {
            way.impression = Impression::No;
            way.at = stack.after_end(at);
        }
        Action::Reset => {
            way.impression = way.entered.last().copied().unwrap_or(Impression::None);
            if way.ours == Ours::Refused {
                way.culprit = Some(at);
            }
        }
        Action::Jump(n) => {
            // Too far is a no, and libpam then goes on from the last one.
            way.at = stack.after_jump(at, n)?;
            let between = stack.elements.get(at + 1..way.at).unwrap_or_default();
            if way.ours == Ours::NotAsked && between.iter().any(|element| element.is_ours()) {
                way.culprit = Some(at);
            }
        }
    }
    Some(way)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pam::file::Phase;
    use crate::pam::tests::Etc;

    /// The holes of a stack whose lines are given without the phase; `J` is our line.
    fn holes_of(lines: &[&str], sub: &[&str]) -> Vec<Hole> {
        holes_at("su", lines, sub)
    }

    fn holes_at(service: &str, lines: &[&str], sub: &[&str]) -> Vec<Hole> {
        let text = |lines: &[&str]| {
            let line = |l: &&str| format!("account {}\n", l.replace('J', "required pam_jit.so"));
            lines.iter().map(line).collect::<String>()
        };
        let etc = Etc::of(&[(service, &text(lines)), ("sub", &text(sub))]);
        holes(&Stack::of(&etc.files(), service, Phase::Account), service)
    }

    const UNIX: &str = "required pam_unix.so";

    #[test]
    fn a_gate_that_is_asked_first_and_not_undone_is_sound() {
        for rest in [
            &[UNIX][..],
            &["sufficient pam_unix.so", UNIX],
            &[
                "[success=1 new_authtok_reqd=done default=ignore] pam_unix.so",
                "requisite pam_deny.so",
                "required pam_permit.so",
            ],
            &[
                UNIX,
                "sufficient pam_localuser.so",
                "required pam_permit.so",
            ],
        ] {
            let lines: Vec<&str> = [&["J"], rest].concat();
            assert_eq!(holes_of(&lines, &[]), [], "{rest:?}");
        }
    }

    #[test]
    fn whatever_can_end_the_stack_above_us_is_a_hole() {
        for above in [
            "sufficient pam_unix.so",
            "[success=done default=bad] pam_unix.so",
            "[new_authtok_reqd=done success=ok default=bad] pam_unix.so",
        ] {
            assert_eq!(
                holes_of(&[above, "J", UNIX], &[]),
                [Hole::Skipped(0)],
                "{above}"
            );
        }
        assert_eq!(
            holes_of(&["[success=1 default=bad] pam_x.so", "J", UNIX], &[]),
            [Hole::Skipped(0)]
        );
        // An include ends the whole stack, a substack only itself.
        let sub = ["sufficient pam_unix.so", "required pam_deny.so"];
        assert_eq!(
            holes_of(&["include sub", "J", UNIX], &sub),
            [Hole::Skipped(0)]
        );
        assert_eq!(holes_of(&["substack sub", "J", UNIX], &sub), []);
    }

    #[test]
    fn what_cannot_say_yes_without_us_is_no_hole() {
        assert_eq!(holes_of(&["requisite pam_nologin.so", "J"], &[]), []);
        assert_eq!(
            holes_of(&["[success=ok default=die] pam_x.so", "J"], &[]),
            []
        );
        // It jumps past the end: libpam refuses.
        assert_eq!(
            holes_of(&["[success=2 default=bad] pam_x.so", "J"], &[]),
            []
        );
        // It jumps over us, but into a refusal.
        let lines = [
            "[success=1 default=bad] pam_x.so",
            "J",
            "required pam_deny.so",
        ];
        assert_eq!(holes_of(&lines, &[]), []);
        assert_eq!(holes_of(&["sufficient pam_deny.so", "J", UNIX], &[]), []);
    }

    #[test]
    fn root_by_real_uid_may_pass_us() {
        for root in [
            "sufficient pam_rootok.so",
            "sufficient pam_succeed_if.so uid = 0 use_uid quiet",
        ] {
            assert_eq!(holes_of(&[root, "J", UNIX], &[]), [], "{root}");
            // sshd and login always run as root: there it says nothing.
            assert_eq!(
                holes_at("sshd", &[root, "J", UNIX], &[]),
                [Hole::Skipped(0)]
            );
        }
        // Without use_uid it is the target that is asked about: everybody's sudo.
        let target = "sufficient pam_succeed_if.so uid = 0 quiet";
        assert_eq!(holes_of(&[target, "J", UNIX], &[]), [Hole::Skipped(0)]);
    }

    #[test]
    fn a_refusal_that_counts_for_nothing_is_a_hole() {
        for weak in [
            "optional pam_jit.so",
            "sufficient pam_jit.so",
            "[success=ok default=ignore] pam_jit.so",
            "[success=ok authinfo_unavail=ignore default=bad] pam_jit.so",
        ] {
            let found = holes_of(&[weak, UNIX], &[]);
            assert!(found.contains(&Hole::Overruled(0)), "{weak}: {found:?}");
        }
        // A reset below us forgets our no; one in a substack only what was said in there.
        let reset = "[default=reset] pam_x.so";
        assert_eq!(holes_of(&["J", reset, UNIX], &[]), [Hole::Overruled(1)]);
        assert_eq!(holes_of(&["J", "substack sub", UNIX], &[reset]), []);
    }

    #[test]
    fn a_stack_that_lives_by_not_answering_must_not_be_answered_by_us() {
        assert_eq!(holes_of(&["J", "sufficient pam_x.so"], &[]), [Hole::OnlyUs]);
        assert_eq!(holes_of(&["J"], &[]), [Hole::OnlyUs]);
        assert_eq!(
            holes_of(&["J", "sufficient pam_x.so", "required pam_deny.so"], &[]),
            []
        );
    }

    #[test]
    fn many_lines_do_not_make_it_slow() {
        let jump = "[success=2 new_authtok_reqd=1 default=ignore] pam_x.so";
        let mut lines = vec![jump; 300];
        lines.push("J");
        lines.push(UNIX);
        let from = std::time::Instant::now();
        assert!(!holes_of(&lines, &[]).is_empty());
        assert!(from.elapsed().as_secs() < 5);
    }
}
