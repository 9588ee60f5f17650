//! The programs under test: what `make build` makes, so that what is tested is what is installed.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// A folder with `pam_jit.so`, `jit-agentd` and `jit`: `$JIT_BIN`, or built now if anything changed.
pub(crate) fn folder() -> PathBuf {
    static BIN: OnceLock<PathBuf> = OnceLock::new();
    BIN.get_or_init(|| std::env::var_os("JIT_BIN").map_or_else(build, PathBuf::from))
        .clone()
}

fn build() -> PathBuf {
    let made = Command::new("make")
        .args(["--no-print-directory", "-C", root(), "build"])
        .env_remove("MAKEFLAGS")
        .status()
        .expect("make is missing");
    assert!(made.success(), "'make build' failed; what it said is above");
    target().join("programs")
}

/// Where sudo-rs is installed (`bin/sudo`, `bin/su`): `$SUDO_RS`, or as `make deps` does.
pub(crate) fn sudo_rs() -> PathBuf {
    std::env::var_os("SUDO_RS").map_or_else(|| target().join("sudo-rs"), PathBuf::from)
}

fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(root()).join("target"), PathBuf::from)
}

fn root() -> &'static str {
    concat!(env!("CARGO_MANIFEST_DIR"), "/..")
}
