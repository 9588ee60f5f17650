//! Applications whose conversation function is broken, or whose person is.

use std::sync::mpsc;

use serde_json::{Value, json};

use crate::agent::{Agent, prompt, verdict};
use crate::host::{Host, Reply};
use crate::pam::CONV_ERR;
use crate::place::Place;

/// What the agent gets to hear when the person answers like this.
fn heard(reply: Reply, to_lines: Reply) -> Value {
    let place = Place::new("timeout=1");
    let (said, hear) = mpsc::channel();
    let _agent = Agent::start(&place, move |line, _| {
        line.send(&json!({"info": "a line"}));
        line.send(&prompt("One-time code: "));
        said.send(line.read().unwrap()).unwrap();
        line.send(&verdict("unproven"));
    });
    let got = Host::sudo(&place)
        .flags(0)
        .reply(reply)
        .reply_to_lines(to_lines)
        .run(&["account"]);
    assert_eq!(got.code(), 6, "{got:?}");
    assert_eq!(got.leaked, Vec::<String>::new());
    hear.recv().unwrap()["answer"]["text"].clone()
}

#[test]
fn no_answer_is_said_to_be_none() {
    for reply in [
        Reply::Nothing,
        Reply::NoResponse,
        Reply::Error(CONV_ERR),
        // PAM_CONV_AGAIN, and a number that is no code at all.
        Reply::Error(30),
        Reply::Error(-77),
        Reply::Text(b"\xff\xfe123456".to_vec()),
        Reply::Text(vec![b'1'; 10_000]),
        Reply::Text(vec![b'1'; 513]),
    ] {
        assert_eq!(
            heard(reply.clone(), Reply::Nothing),
            Value::Null,
            "{reply:?}"
        );
    }
}

#[test]
fn an_answer_is_passed_on_as_it_is() {
    for text in [
        "",
        "123456",
        " 123 456 ",
        "żółw",
        "\"\\\n\x01",
        &"1".repeat(512),
    ] {
        let reply = Reply::Text(text.as_bytes().to_vec());
        assert_eq!(heard(reply, Reply::Nothing), text);
    }
    // C ends a text at its NUL.
    let reply = Reply::Text(b"123\x00456".to_vec());
    assert_eq!(heard(reply, Reply::Nothing), "123");
}

#[test]
fn garbage_in_answer_to_a_line_changes_nothing() {
    for to_lines in [
        Reply::Text(b"\xff junk".to_vec()),
        Reply::NoResponse,
        Reply::Error(CONV_ERR),
    ] {
        let reply = Reply::Text(b"123456".to_vec());
        assert_eq!(heard(reply, to_lines), "123456");
    }
}
