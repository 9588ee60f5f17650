//! What travels, byte for byte, and what is refused. The peers are installed together, so these
//! texts may change; but only on purpose.

use super::*;
use serde_json::{Value, json};

fn ask() -> Value {
    json!({
        "op": "pam", "v": 1, "phase": "account", "txn": "000102030405060708090a0b0c0d0e0f",
        "service": "sudo", "flags": 32768, "ruid": 1001, "euid": 0, "user": "alice",
        "ruser": "alice", "tty": "/dev/pts/3", "rhost": null, "interactive": true,
        "observe": false, "fixed": null, "cmdline": "c3VkbwBpZAA=",
    })
}

fn request(message: &Value) -> Result<Request, serde_json::Error> {
    serde_json::from_str(&message.to_string())
}

#[test]
fn a_hooks_question_as_it_travels() {
    let read = request(&ask()).unwrap();
    let Request::Pam(pam) = &read else {
        panic!("{read:?}")
    };
    assert_eq!(pam.txn, Txn(0x0001_0203_0405_0607_0809_0a0b_0c0d_0e0f));
    assert_eq!(pam.phase, Phase::Account);
    assert_eq!(serde_json::to_value(&read).unwrap(), ask());
}

#[test]
fn unknown_fields_operations_and_versions_are_errors() {
    let with = |field: &str, value: Value| {
        let mut message = ask();
        message[field] = value;
        message
    };
    for odd in [
        with("v", json!(2)),
        with("v", json!("1")),
        with("v", Value::Null),
        with("op", json!("pan")),
        with("op", json!("status")),
        with("more", json!(1)),
        with("phase", json!("Account")),
        with("phase", json!("setcred")),
        with("flags", json!(-1)),
        with("ruid", json!(4_294_967_296_u64)),
        with("user", Value::Null),
        with("txn", json!("0")),
        with("txn", json!("+00102030405060708090a0b0c0d0e0f")),
        with("txn", json!("000102030405060708090a0b0c0d0e0g")),
        with("txn", json!("000102030405060708090a0b0c0d0e0f00")),
        json!({"op": "status"}),
        json!({"v": 1}),
        json!({}),
        json!([]),
        json!("status"),
    ] {
        assert!(request(&odd).is_err(), "{odd}");
    }
    for missing in ["v", "phase", "txn", "ruid", "interactive", "observe"] {
        let mut message = ask();
        message.as_object_mut().unwrap().remove(missing);
        assert!(request(&message).is_err(), "without {missing}");
    }
    // A field twice could be read as either.
    let twice = ask()
        .to_string()
        .replacen("\"v\":1", "\"v\":1,\"ruid\":0", 1);
    assert!(serde_json::from_str::<Request>(&twice).is_err());
}

#[test]
fn every_request_carries_the_version_and_refuses_what_it_does_not_know() {
    let all = [
        Request::Status(Plain::default()),
        Request::Check(CheckAsk {
            v: V1,
            user: None,
            service: "sudo".into(),
            run_as: None,
            at: None,
            from: None,
        }),
        Request::Verify(Plain::default()),
        Request::MfaEnroll(EnrollAsk::default()),
        Request::MfaStatus(About::default()),
        Request::MfaReset(About::default()),
        Request::GrantAdd(Box::default()),
        Request::GrantList(Plain::default()),
        Request::GrantRevoke(GrantId::default()),
        Request::PolicyRefresh(Plain::default()),
        Request::PolicyResetFloor(Plain::default()),
        Request::ClockShow(Plain::default()),
        Request::ClockAccept(Plain::default()),
    ];
    for one in all {
        let mut text = serde_json::to_value(&one).unwrap();
        assert_eq!(text["v"], 1);
        assert_eq!(request(&text).unwrap(), one);
        text["more"] = json!(1);
        assert!(request(&text).is_err(), "{text}");
        text.as_object_mut().unwrap().remove("more");
        text["v"] = json!(2);
        assert!(request(&text).is_err(), "{text}");
    }
}

#[test]
fn the_module_reads_what_the_agent_writes() {
    let prompt = Prompt {
        id: 1,
        text: "One-time code: ".into(),
        echo: false,
    };
    let verdict = Verdict {
        result: Outcome::Unproven,
        reason: "wrong_code".into(),
        message: Some("again".into()),
        grant: None,
        until: None,
        id: Some("01JD".into()),
        principal: Some(1001),
    };
    let refusal = Refusal {
        reason: "protocol".into(),
        message: "what?".into(),
    };
    for (written, read) in [
        (Reply::Info("x".into()), PamReply::Info("x".into())),
        (Reply::Prompt(prompt.clone()), PamReply::Prompt(prompt)),
        (Reply::Verdict(verdict.clone()), PamReply::Verdict(verdict)),
        (Reply::Refused(refusal.clone()), PamReply::Refused(refusal)),
    ] {
        let text = serde_json::to_string(&written).unwrap();
        assert_eq!(serde_json::from_str::<PamReply>(&text).unwrap(), read);
        assert_eq!(serde_json::from_str::<Reply>(&text).unwrap(), written);
    }
    let other = serde_json::to_string(&Reply::Done("x".into())).unwrap();
    assert!(serde_json::from_str::<PamReply>(&other).is_err());
}

#[test]
fn secrets_are_not_shown() {
    let answer = Said::Answer(Answer {
        id: 1,
        text: Some(Zeroizing::new("123456".into())),
    });
    assert!(!format!("{answer:?}").contains("123456"));
    let Said::Answer(answer) = answer;
    assert!(!format!("{answer:?}").contains("123456"));
    let enrolment = Enrolment {
        otpauth: Zeroizing::new("otpauth://JBSWY3DP".into()),
        secret: Zeroizing::new("JBSWY3DP".into()),
        recovery_codes: vec![Zeroizing::new("JBSWY3DP".into())],
    };
    assert!(!format!("{enrolment:?}").contains("JBSWY3DP"));
    assert!(!format!("{:?}", Reply::Enrolment(enrolment)).contains("JBSWY3DP"));
}
