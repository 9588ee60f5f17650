//! Where a test happens: a folder with PAM files that name the built module, and a folder for the
//! agent's socket.

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The code that libpam gives when the module says `PAM_IGNORE`: the line after it names a module
/// that does not exist, and this is `PAM_MODULE_UNKNOWN`.
pub(crate) const IGNORED: i32 = 28;

/// A folder of its own for a test; gone afterwards.
pub(crate) struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    /// A place whose services, whatever their name, run the module with these arguments besides
    /// `socket=`. What the module returns is what libpam returns, with [`IGNORED`] for an ignore.
    pub(crate) fn new(args: &str) -> Self {
        Self::with_module(args, &module())
    }

    /// The same, with a module that panics where it is told to.
    pub(crate) fn faulty(args: &str) -> Self {
        Self::with_module(args, &faulty_module())
    }

    fn with_module(args: &str, module: &Path) -> Self {
        let place = Self::bare();
        let socket = place.socket();
        let mut text = String::new();
        for kind in ["auth", "account", "session", "password"] {
            text += &format!(
                "{kind} [success=done ignore=ignore default=die] {} socket={} {args}\n\
                 {kind} [default=die] /nonexistent.so\n",
                module.display(),
                socket.display(),
            );
        }
        place.write_stack(&text);
        place
    }

    /// A place whose services have nothing but the module, with the control that ships.
    pub(crate) fn required(args: &str) -> Self {
        let place = Self::bare();
        let mut text = String::new();
        for kind in ["auth", "account", "session", "password"] {
            text += &format!(
                "{kind} required {} socket={} {args}\n",
                module().display(),
                place.socket().display(),
            );
        }
        place.write_stack(&text);
        place
    }

    fn bare() -> Self {
        assert!(nix::unistd::geteuid().is_root(), "run these tests as root");
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let place = Self { folder };
        fs::create_dir(place.confdir()).unwrap();
        fs::create_dir(place.run()).unwrap();
        place
    }

    fn write_stack(&self, text: &str) {
        fs::write(self.confdir().join("other"), text).unwrap();
    }

    /// The folder of PAM files.
    pub(crate) fn confdir(&self) -> PathBuf {
        self.folder.path().join("pam.d")
    }

    /// The folder of the agent's socket.
    pub(crate) fn run(&self) -> PathBuf {
        self.folder.path().join("run")
    }

    /// The agent's socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.run().join("agent.sock")
    }

    /// A file for something.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// The module as cargo builds it for debugging.
pub(crate) fn module() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| build(&target(), &[])).clone()
}

fn faulty_module() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT
        .get_or_init(|| {
            build(
                &target().join("fault-injection"),
                &["--features", "fault-injection"],
            )
        })
        .clone()
}

/// Cargo's target folder: this test is `TARGET/debug/deps/libpam-…`.
fn target() -> PathBuf {
    let test = env::current_exe().unwrap();
    test.ancestors().nth(3).unwrap().to_owned()
}

fn build(target: &Path, more: &[&str]) -> PathBuf {
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--package", "pam_jit", "--target-dir"])
        .arg(target)
        .args(more)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .unwrap();
    assert!(built.success(), "the module does not build");
    target.join("debug/libpam_jit.so")
}
