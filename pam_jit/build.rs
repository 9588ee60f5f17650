//! How the module is linked.

// This runs in the build, not in the module.
#![allow(clippy::disallowed_methods, clippy::disallowed_macros)]

use std::path::Path;
use std::{env, fs, io};

/// `libgcc_s.so` as the linker shall see it: the static halves of the same library. Rust's runtime
/// names the shared one, which sudo and login do not have loaded; to find, map and relocate it
/// would be a good part of what the module costs.
const STATIC_UNWINDER: &str = "GROUP ( -lgcc_eh -lgcc )\n";

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    for arg in [
        // libpam closes its modules in pam_end(3), but Rust's runtime may have left pointers into
        // us behind (the destructors of thread-locals, at least).
        "-Wl,-z,nodelete",
        // Nothing in the table of functions stays writable once we are loaded.
        "-Wl,-z,relro,-z,now",
        // Our own functions are ours: the calling program cannot put others in their place.
        "-Wl,-Bsymbolic",
        "-Wl,--gc-sections",
        "-Wl,--hash-style=gnu",
        "-Wl,--as-needed",
    ] {
        println!("cargo::rustc-cdylib-link-arg={arg}");
    }
    let out = env::var_os("OUT_DIR").ok_or(io::ErrorKind::NotFound)?;
    let out = Path::new(&out);
    fs::write(out.join("libgcc_s.so"), STATIC_UNWINDER)?;
    println!("cargo::rustc-link-search=native={}", out.display());
    Ok(())
}
