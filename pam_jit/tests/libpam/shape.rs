//! What the built module is made of.

use std::collections::BTreeSet;
use std::process::Command;

use crate::place::module;

fn output(program: &str, args: &[&str]) -> String {
    let output = Command::new(program)
        .args(args)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(output.status.success(), "{program} {args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn only_the_six_hooks_are_to_be_seen() {
    let module = module();
    let symbols = output("nm", &["-D", "--defined-only", module.to_str().unwrap()]);
    let names: BTreeSet<&str> = symbols
        .lines()
        .filter_map(|line| line.split_whitespace().last())
        .collect();
    let hooks = [
        "pam_sm_acct_mgmt",
        "pam_sm_authenticate",
        "pam_sm_chauthtok",
        "pam_sm_close_session",
        "pam_sm_open_session",
        "pam_sm_setcred",
    ];
    assert_eq!(names, BTreeSet::from(hooks));
}

#[test]
fn only_libpam_and_libc_are_loaded_with_it_and_it_stays() {
    let module = module();
    let dynamic = output("readelf", &["-dW", module.to_str().unwrap()]);
    let needed: Vec<&str> = dynamic
        .lines()
        .filter(|line| line.contains("(NEEDED)"))
        .filter_map(|line| line.split(['[', ']']).nth(1))
        .filter(|library| !library.starts_with("ld-linux"))
        .collect();
    assert_eq!(needed, ["libpam.so.0", "libc.so.6"]);
    assert!(dynamic.contains("NODELETE"), "{dynamic}");
    assert!(dynamic.contains("NOW"), "{dynamic}");
}

#[test]
fn nothing_else_is_compiled_into_it() {
    let tree = output(
        env!("CARGO"),
        &[
            "tree",
            "--package",
            "pam_jit",
            "--edges",
            "normal",
            "--prefix",
            "none",
            "--format",
            "{p}",
        ],
    );
    let crates: BTreeSet<&str> = tree
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    // serde_derive and what it needs run at build time only.
    let allowed = BTreeSet::from([
        "itoa",
        "jit-protocol",
        "libc",
        "memchr",
        "pam-bindings",
        "pam_jit",
        "proc-macro2",
        "quote",
        "serde",
        "serde_core",
        "serde_derive",
        "serde_json",
        "syn",
        "unicode-ident",
        "zeroize",
        "zeroize_derive",
        "zmij",
    ]);
    let strangers: Vec<_> = crates.difference(&allowed).collect();
    assert!(strangers.is_empty(), "{strangers:?}");
}
