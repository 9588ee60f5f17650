//! The reading of sudo's command line, as anybody can write one.
#![no_main]

#[allow(dead_code)]
#[path = "../../agent/src/cmdline.rs"]
mod cmdline;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|line: &[u8]| {
    let encoded = STANDARD.encode(line);
    let more = cmdline::changes_more_than_the_user(Some(&encoded));
    let _ = cmdline::command(Some(&encoded), false);
    let _ = cmdline::command(Some(&encoded), true);

    // A word that asks for a group or for edit mode, put right behind the program's name, is seen
    // whatever follows.
    let Some(end) = line.iter().position(|byte| *byte == 0) else {
        return;
    };
    for word in [&b"-gdisk\0"[..], b"-e\0", b"--edit\0", b"-ng\0"] {
        let asked = [&line[..=end], word, &line[end + 1..]].concat();
        assert!(cmdline::changes_more_than_the_user(Some(
            &STANDARD.encode(asked)
        )));
    }
    // What is seen is still seen with more behind it. (A line without a word is taken for the worst,
    // and is another line with one.)
    if more && end > 0 && line.ends_with(b"\0") {
        let longer = STANDARD.encode([line, b"id\0"].concat());
        assert!(cmdline::changes_more_than_the_user(Some(&longer)));
    }
});
