//! Control flags: what a module's answer does to the stack (pam.d(5)).

/// What an answer does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Action {
    /// Nothing.
    Ignore,
    /// A yes, if there was no no.
    Ok,
    /// The same, and the end, if there was no no.
    Done,
    /// A no.
    Bad,
    /// A no, and the end.
    Die,
    /// Forget every answer so far.
    Reset,
    /// Leave out so many.
    Jump(usize),
}

/// The answers that a module can give, as the words of pam.d(5), in the order of their numbers.
const ANSWERS: [&str; 32] = [
    "success",
    "open_err",
    "symbol_err",
    "service_err",
    "system_err",
    "buf_err",
    "perm_denied",
    "auth_err",
    "cred_insufficient",
    "authinfo_unavail",
    "user_unknown",
    "maxtries",
    "new_authtok_reqd",
    "acct_expired",
    "session_err",
    "cred_unavail",
    "cred_expired",
    "cred_err",
    "no_module_data",
    "conv_err",
    "authtok_err",
    "authtok_recover_err",
    "authtok_lock_busy",
    "authtok_disable_aging",
    "try_again",
    "ignore",
    "abort",
    "authtok_expired",
    "module_unknown",
    "bad_item",
    "conv_again",
    "incomplete",
];

/// What kind of answer, as far as it matters to a stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Answer {
    /// `PAM_SUCCESS`
    Yes,
    /// `PAM_NEW_AUTHTOK_REQD`: a yes to most programs (sudo runs the command: measured).
    YesButExpired,
    /// `PAM_IGNORE`
    Ignore,
    /// Anything else.
    No,
}

/// A control flag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Control {
    /// As written.
    pub(crate) text: String,
    /// On the heap: lines are moved about, and most have no need of a table this wide.
    actions: Box<[Action; 32]>,
}

impl Control {
    /// Reads a word or a list in brackets. What libpam cannot read is a no, whatever is answered.
    pub(crate) fn parse(text: &str) -> Self {
        let list = match text.to_ascii_lowercase().as_str() {
            "required" => "success=ok new_authtok_reqd=ok ignore=ignore default=bad",
            "requisite" => "success=ok new_authtok_reqd=ok ignore=ignore default=die",
            "optional" => "success=ok new_authtok_reqd=ok default=ignore",
            "sufficient" => "success=done new_authtok_reqd=done default=ignore",
            _ => text
                .strip_prefix('[')
                .and_then(|t| t.strip_suffix(']'))
                .unwrap_or("="),
        };
        Self {
            text: text.to_owned(),
            actions: Box::new(actions(list).unwrap_or([Action::Bad; 32])),
        }
    }

    /// Every pair of an answer's kind and what it does, each once.
    pub(crate) fn outcomes(&self) -> Vec<(Answer, Action)> {
        let mut outcomes = Vec::new();
        for (name, action) in ANSWERS.iter().zip(*self.actions) {
            let answer = match *name {
                "success" => Answer::Yes,
                "new_authtok_reqd" => Answer::YesButExpired,
                "ignore" => Answer::Ignore,
                _ => Answer::No,
            };
            if !outcomes.contains(&(answer, action)) {
                outcomes.push((answer, action));
            }
        }
        outcomes
    }

    /// How far it may jump, each distance once.
    pub(crate) fn jumps(&self) -> Vec<usize> {
        let jumps = self.actions.iter().filter_map(|action| match action {
            Action::Jump(n) => Some(*n),
            _ => None,
        });
        let mut jumps: Vec<usize> = jumps.collect();
        jumps.sort_unstable();
        jumps.dedup();
        jumps
    }

    /// Whether a refusal by this line is final unless something later undoes it, and a yes is not
    /// the end: what our lines need.
    pub(crate) fn refuses(&self) -> bool {
        self.outcomes().iter().all(|(answer, action)| match answer {
            Answer::No => matches!(action, Action::Bad | Action::Die),
            _ => !matches!(action, Action::Done | Action::Jump(_) | Action::Reset),
        })
    }
}

fn actions(list: &str) -> Option<[Action; 32]> {
    let mut given = [None; 32];
    let mut default = None;
    let mut rest = list.trim_start();
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=')?;
        let after = after.trim_start();
        let end = after.find(char::is_whitespace).unwrap_or(after.len());
        let (word, after) = after.split_at_checked(end)?;
        let action = action(word)?;
        match name.trim_end() {
            "default" => default = Some(action),
            name => {
                let nr = ANSWERS.iter().position(|known| *known == name)?;
                *given.get_mut(nr)? = Some(action);
            }
        }
        rest = after.trim_start();
    }
    // What is not named is a no.
    let rest = default.unwrap_or(Action::Bad);
    Some(given.map(|action| action.unwrap_or(rest)))
}

fn action(word: &str) -> Option<Action> {
    Some(match word {
        "ignore" => Action::Ignore,
        "ok" => Action::Ok,
        "done" => Action::Done,
        "bad" => Action::Bad,
        "die" => Action::Die,
        "reset" => Action::Reset,
        number => Action::Jump(number.parse().ok().filter(|n| *n > 0)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_refuses_for_good_is_good_enough_for_us() {
        for (text, good) in [
            ("required", true),
            ("requisite", true),
            ("Required", true),
            ("[success=ok default=die]", true),
            ("[ success = ok   default = bad ]", true),
            ("sufficient", false),
            ("optional", false),
            ("[success=ok default=ignore]", false),
            ("[success=ok authinfo_unavail=ignore default=bad]", false),
            ("[success=1 default=bad]", false),
            ("[success=done default=bad]", false),
        ] {
            assert_eq!(Control::parse(text).refuses(), good, "{text}");
        }
    }

    #[test]
    fn what_libpam_cannot_read_is_a_no() {
        for text in [
            "requird",
            "[success=0]",
            "[success=ok,default=ignore]",
            "[succes=ok]",
            "[x",
        ] {
            let all = Control::parse(text).outcomes();
            assert!(all.iter().all(|(_, a)| *a == Action::Bad), "{text}");
        }
        let unsaid = Control::parse("[new_authtok_reqd=ok]").outcomes();
        assert!(unsaid.contains(&(Answer::Yes, Action::Bad)));
    }
}
