//! `jit pam`: our lines in the PAM files of services.

pub(crate) mod control;
mod disable;
mod disk;
mod enable;
pub(crate) mod file;
mod libpam;
pub(crate) mod module;
pub(crate) mod plan;
mod report;
pub(crate) mod stack;
pub(crate) mod status;
mod trial;
pub(crate) mod walk;
pub(crate) mod way_in;

use clap::Subcommand;

use crate::Desk;
use crate::failure::{Exit, Failure};

/// The module's file name, by which our lines are known.
pub(crate) const MODULE: &str = "pam_jit.so";

/// What to do with services' PAM files.
#[derive(Debug, Subcommand)]
pub(crate) enum Pam {
    /// Put pam_jit in front of services (root)
    #[command(long_about = enable::ABOUT)]
    Enable(enable::Enable),
    /// Take pam_jit's lines out again (root)
    #[command(long_about = disable::ABOUT)]
    Disable(disable::Disable),
    /// Show which services come to pam_jit, and what goes round it
    Status(status::Status),
    /// Try a stack
    #[command(hide = true)]
    TryStack(trial::TryStack),
}

impl Pam {
    /// Does it.
    ///
    /// # Errors
    ///
    /// What was wrong, and where.
    pub(crate) fn run(self, desk: &Desk) -> Result<Exit, Failure> {
        match self {
            Self::Enable(verb) => verb.run(desk),
            Self::Disable(verb) => verb.run(desk),
            Self::Status(verb) => verb.run(desk),
            Self::TryStack(verb) => verb.run(),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::stack::Files;

    /// A host of which only `/etc/pam.d` matters.
    pub(crate) struct Etc {
        root: tempfile::TempDir,
    }

    impl Etc {
        pub(crate) fn of(files: &[(&str, &str)]) -> Self {
            let root = tempfile::tempdir().unwrap();
            std::fs::create_dir_all(root.path().join("etc/pam.d")).unwrap();
            let etc = Self { root };
            files.iter().for_each(|(name, text)| etc.write(name, text));
            etc
        }

        pub(crate) fn files(&self) -> Files {
            Files::of(self.root.path())
        }

        pub(crate) fn root(&self) -> &std::path::Path {
            self.root.path()
        }

        pub(crate) fn write(&self, name: &str, text: &str) {
            std::fs::write(self.files().folder().join(name), text).unwrap();
        }

        pub(crate) fn bytes(&self, name: &str) -> Vec<u8> {
            std::fs::read(self.files().folder().join(name)).unwrap()
        }
    }
}
