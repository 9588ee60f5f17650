//! The stack of one phase as libpam builds it: includes followed, each module in its place.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::control::Control;
use super::file::{Module, PamFile, Phase, Rule, What};

/// Where libpam looks for a service's file, in this order.
const FOLDERS: [&str; 3] = ["etc/pam.d", "usr/lib/pam.d", "usr/etc/pam.d"];

/// No service file is longer; one that is is not read.
pub(super) const LONGEST: u64 = 256 * 1024;

/// How deep files may include each other. libpam 1.5.2 knows no bound and crashes (measured).
const DEEPEST: usize = 16;

/// The PAM files of a host, with some of them replaced by what they might become.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    root: PathBuf,
    instead: HashMap<PathBuf, Vec<u8>>,
}

impl Files {
    /// Those of the host whose file system begins at `root`.
    pub(crate) fn of(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            instead: HashMap::new(),
        }
    }

    /// The same, with this content in place of the file's own.
    pub(crate) fn with(&self, path: &Path, bytes: Vec<u8>) -> Self {
        let mut with = self.clone();
        with.instead.insert(path.to_owned(), bytes);
        with
    }

    /// The folder that services' files are edited in.
    pub(crate) fn folder(&self) -> PathBuf {
        let [own, ..] = FOLDERS;
        self.root.join(own)
    }

    /// The file that libpam reads for a service or an include, if there is one.
    pub(crate) fn find(&self, name: &str) -> Option<PathBuf> {
        if let Some(below) = name.strip_prefix('/') {
            return Some(self.root.join(below)).filter(|path| path.is_file());
        }
        let paths = FOLDERS
            .iter()
            .map(|folder| self.root.join(folder).join(name));
        paths.into_iter().find(|path| path.is_file())
    }

    /// Reads one.
    pub(crate) fn read(&self, path: &Path) -> Result<PamFile, String> {
        if let Some(bytes) = self.instead.get(path) {
            return Ok(PamFile::parse(bytes));
        }
        crate::files::read(path, LONGEST)
            .map(|bytes| PamFile::parse(&bytes))
            .map_err(|failure| failure.message)
    }

    /// The names of all services that have a file in `/etc/pam.d`.
    pub(crate) fn services(&self) -> Vec<String> {
        names(&self.folder())
    }

    /// The names of all files that a service may have or include by name.
    pub(crate) fn everything(&self) -> Vec<String> {
        let folders = FOLDERS.iter().map(|folder| self.root.join(folder));
        let mut names: Vec<String> = folders.flat_map(|folder| names(&folder)).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The files that a service's file includes, directly and through others, without itself.
    pub(crate) fn included_by(&self, service: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut todo: Vec<PathBuf> = self.find(service).into_iter().collect();
        while let Some(path) = todo.pop() {
            let Ok(file) = self.read(&path) else { continue };
            for entry in file.entries() {
                let (What::IncludeAll(name)
                | What::Rule(_, Rule::Include(name) | Rule::Substack(name))) = &entry.what
                else {
                    continue;
                };
                if let Some(path) = self.find(name)
                    && !found.contains(&path)
                {
                    found.push(path.clone());
                    todo.push(path);
                }
            }
        }
        found
    }
}

fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = folder.read_dir() else {
        return Vec::new();
    };
    let names = entries.flatten().filter(|e| e.path().is_file());
    let names = names.filter_map(|e| e.file_name().into_string().ok());
    // Left behind by editors and package managers; no program asks for such a service.
    let kept = |name: &String| {
        let odd = [".dpkg-", ".ucf-", ".rpm", "~", ".bak", ".orig", ".swp"];
        !name.starts_with('.') && !odd.iter().any(|odd| name.contains(odd))
    };
    let mut names: Vec<String> = names.filter(kept).collect();
    names.sort_unstable();
    names
}

/// What stands at one place of a stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A module is asked.
    Module(Module),
    /// What follows at a deeper level is a stack within the stack.
    Substack,
    /// libpam answers no by itself: an include that is not there, a line without sense.
    Fails,
}

/// One place in a stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Element {
    /// The file that it stands in.
    pub(crate) file: PathBuf,
    /// The number of its first line there.
    pub(crate) line: usize,
    /// Index of the service file's own entry that brought it here.
    pub(crate) entry: usize,
    /// How many substacks it is in.
    pub(crate) level: usize,
    /// What it is.
    pub(crate) kind: Kind,
}

impl Element {
    /// The module, if one is asked here.
    pub(crate) fn module(&self) -> Option<&Module> {
        match &self.kind {
            Kind::Module(module) => Some(module),
            _ => None,
        }
    }

    /// The control, if a module is asked here.
    pub(crate) fn control(&self) -> Option<&Control> {
        self.module().map(|module| &module.control)
    }

    /// Whether it asks us.
    pub(crate) fn is_ours(&self) -> bool {
        self.module().is_some_and(Module::is_ours)
    }

    /// `/etc/pam.d/su:12`
    pub(crate) fn place(&self) -> String {
        format!("{}:{}", self.file.display(), self.line)
    }
}

/// Something that libpam stumbles over while it builds a stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trouble {
    /// Where, as `file:line`.
    pub(crate) place: String,
    /// What.
    pub(crate) what: String,
}

/// A stack.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Stack {
    /// In the order in which they are asked.
    pub(crate) elements: Vec<Element>,
    /// What is wrong with it.
    pub(crate) troubles: Vec<Trouble>,
}

impl Stack {
    /// The stack of a service's phase. Without a line of its own it is empty: libpam then takes
    /// that of the service `other`.
    pub(crate) fn of(files: &Files, service: &str, phase: Phase) -> Self {
        let mut stack = Self::default();
        if let Some(path) = files.find(service) {
            let mut builder = Builder {
                files,
                phase,
                stack: &mut stack,
                above: Vec::new(),
            };
            builder.file(&path, 0, None);
        }
        stack
    }

    /// Where `n` places are left out from the one at `from`: the index of what comes next, which
    /// may be the end. Nothing, if there are not as many; libpam fails the stack then.
    pub(crate) fn after_jump(&self, from: usize, n: usize) -> Option<usize> {
        let level = |at: usize| self.elements.get(at).map(|element| element.level);
        let mine = level(from)?;
        let mut at = from;
        for _ in 0..n {
            level(at + 1).filter(|next| *next >= mine)?;
            at += 1;
            // A substack is left out whole.
            while level(at + 1).is_some_and(|next| next > mine) {
                at += 1;
            }
        }
        Some(at + 1)
    }

    /// What comes after the end of the stack or substack that `from` is in.
    pub(crate) fn after_end(&self, from: usize) -> usize {
        let mine = self.elements.get(from).map_or(0, |element| element.level);
        let behind = self.elements.iter().enumerate().skip(from + 1);
        let mut outside = behind.filter(|(_, element)| element.level < mine);
        outside.next().map_or(self.elements.len(), |(at, _)| at)
    }
}

struct Builder<'b> {
    files: &'b Files,
    phase: Phase,
    stack: &'b mut Stack,
    above: Vec<PathBuf>,
}

impl Builder<'_> {
    fn file(&mut self, path: &Path, level: usize, top: Option<usize>) {
        let file = match self.files.read(path) {
            Ok(file) => file,
            Err(what) => {
                let place = path.display().to_string();
                self.stack.troubles.push(Trouble { place, what });
                return;
            }
        };
        self.above.push(path.to_owned());
        for (nr, entry) in file.entries().iter().enumerate() {
            let top = top.unwrap_or(nr);
            let element = |level, kind| Element {
                file: path.to_owned(),
                line: entry.first + 1,
                entry: top,
                level,
                kind,
            };
            match &entry.what {
                What::IncludeAll(name) => {
                    let from = element(level, Kind::Fails);
                    self.include(name, level, top, from);
                }
                What::Rule(phase, rule) if *phase == self.phase => match rule {
                    Rule::Include(name) => {
                        let from = element(level, Kind::Fails);
                        self.include(name, level, top, from);
                    }
                    Rule::Substack(name) => {
                        self.stack.elements.push(element(level, Kind::Substack));
                        let from = element(level, Kind::Fails);
                        self.include(name, level + 1, top, from);
                    }
                    Rule::Module(module) => {
                        let kind = Kind::Module(module.clone());
                        self.stack.elements.push(element(level, kind));
                    }
                    Rule::Broken => {
                        let element = element(level, Kind::Fails);
                        let (place, what) = (element.place(), "a line without sense".to_owned());
                        self.stack.troubles.push(Trouble { place, what });
                        self.stack.elements.push(element);
                    }
                },
                _ => {}
            }
        }
        self.above.pop();
    }

    fn include(&mut self, name: &str, level: usize, top: usize, from: Element) {
        let what = match self.files.find(name) {
            Some(path) if self.above.contains(&path) || self.above.len() >= DEEPEST => {
                format!("includes {name}, which includes this again: libpam crashes on that")
            }
            Some(path) => return self.file(&path, level, Some(top)),
            None => format!("includes {name}, which is not there: libpam refuses"),
        };
        let place = from.place();
        self.stack.troubles.push(Trouble { place, what });
        self.stack.elements.push(from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pam::tests::Etc;

    fn shape(etc: &Etc, service: &str) -> Vec<String> {
        let stack = Stack::of(&etc.files(), service, Phase::Account);
        let show = |e: &Element| {
            let what = match &e.kind {
                Kind::Module(m) => m.name().to_owned(),
                other => format!("{other:?}"),
            };
            format!("{}{what}@{}", ">".repeat(e.level), e.entry)
        };
        stack.elements.iter().map(show).collect()
    }

    #[test]
    fn includes_are_followed_for_the_one_phase() {
        let etc = Etc::of(&[
            (
                "x",
                "auth include a\n@include b\naccount substack c\naccount include c\n",
            ),
            ("a", "account required pam_1.so\n"),
            ("b", "auth required pam_2.so\naccount required pam_3.so\n"),
            ("c", "account required pam_4.so\naccount substack d\n"),
            ("d", "account required pam_5.so\n"),
        ]);
        assert_eq!(
            shape(&etc, "x"),
            [
                "pam_3.so@1",
                "Substack@2",
                ">pam_4.so@2",
                ">Substack@2",
                ">>pam_5.so@2",
                "pam_4.so@3",
                "Substack@3",
                ">pam_5.so@3"
            ]
        );
    }

    #[test]
    fn what_is_not_there_and_what_goes_round_in_circles_is_noted() {
        let etc = Etc::of(&[
            ("x", "account include gone\naccount required pam_1.so\n"),
            ("a", "@include b\n"),
            ("b", "account include a\n"),
        ]);
        assert_eq!(shape(&etc, "x"), ["Fails@0", "pam_1.so@1"]);
        let stack = Stack::of(&etc.files(), "x", Phase::Account);
        assert!(stack.troubles[0].what.contains("gone"), "{stack:?}");
        let stack = Stack::of(&etc.files(), "a", Phase::Account);
        assert!(stack.troubles[0].what.contains("again"), "{stack:?}");
    }

    #[test]
    fn a_jump_leaves_out_a_substack_whole_and_ends_with_its_own() {
        let etc = Etc::of(&[
            (
                "x",
                "account required pam_1.so\naccount substack c\naccount required pam_4.so\n",
            ),
            (
                "c",
                "account required pam_2.so\naccount required pam_3.so\n",
            ),
        ]);
        let stack = Stack::of(&etc.files(), "x", Phase::Account);
        // 0: 1, 1: substack, 2: 2, 3: 3, 4: 4
        assert_eq!(stack.after_jump(0, 1), Some(4));
        assert_eq!(stack.after_jump(0, 2), Some(5));
        assert_eq!(stack.after_jump(0, 3), None);
        assert_eq!(stack.after_jump(2, 1), Some(4));
        assert_eq!(stack.after_jump(2, 2), None);
        assert_eq!(stack.after_end(2), 4);
        assert_eq!(stack.after_end(0), 5);
    }

    #[test]
    fn what_editors_leave_behind_is_no_service() {
        let etc = Etc::of(&[
            ("su", ""),
            ("su~", ""),
            (".su.swp", ""),
            ("su.dpkg-old", ""),
        ]);
        assert_eq!(etc.files().services(), ["su"]);
    }
}
