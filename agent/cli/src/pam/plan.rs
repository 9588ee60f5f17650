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
    let (covered, own): (Vec<Phase>, Vec<Phase>) =
        (Phase::OURS.into_iter()).partition(|phase| asks_us(&bare, service, *phase));
    for phase in covered {
        let through = through(&bare, service, phase);
        plan.notes
            .push(format!("{}: through {through}", phase.as_str()));
    }
    if is_sound(files, service, &own, &before, &plan.args) {
        plan.file = before;
        return Ok(plan);
    }
    for phase in own {
        plan.file = place(&bare, service, phase, &plan, &before)?;
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

/// Whether any line of ours is in a service's phase.
fn asks_us(files: &Files, service: &str, phase: Phase) -> bool {
    let stack = Stack::of(files, service, phase);
    stack.elements.iter().any(|element| element.is_ours())
}

/// Whether the file is as it should be already, wherever in it our lines stand: one in each phase
/// of `own`, none in the others, which come to us through an include.
fn is_sound(
    files: &Files,
    service: &str,
    own: &[Phase],
    before: &PamFile,
    args: &[String],
) -> bool {
    let good = |module: &Module| module.args == args && !module.quiet && module.control.refuses();
    Phase::OURS.into_iter().all(|phase| {
        let wanted = usize::from(own.contains(&phase));
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
            && mine.into_iter().all(good)
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
mod tests;
