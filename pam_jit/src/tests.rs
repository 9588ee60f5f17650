//! The phases against a scripted host, where libpam cannot easily be brought to: items that cannot
//! be read, pam data that is not kept, no random numbers, a host whose every call may panic. The
//! agent's side is a real socket. These run as root: the module trusts nobody else's.

#![allow(clippy::disallowed_methods)]

use std::cell::{Cell, RefCell};
use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::sync::{Arc, Mutex};
use std::thread;

use jit_protocol::message::Phase;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::host::{Host, Ids, Item, Kept, Level, Tone, Unreadable};
use crate::phase;
use crate::verdict::Code;

const PHASES: [Phase; 4] = [
    Phase::Auth,
    Phase::Account,
    Phase::SessionOpen,
    Phase::SessionClose,
];

/// A host that does as the test says.
struct Fake {
    items: Vec<(Item, Result<Vec<u8>, Unreadable>)>,
    ids: Ids,
    kept: Option<Kept>,
    keeps: bool,
    random: Option<u128>,
    command_line: Option<Vec<u8>>,
    passwd: Option<Vec<u8>>,
    said: RefCell<Vec<(Tone, String)>>,
    logged: RefCell<Vec<String>>,
    slowed: bool,
    /// Panic in the call with this number.
    panic_at: Option<u32>,
    calls: Cell<u32>,
}

impl Fake {
    /// alice's sudo.
    fn sudo() -> Self {
        Self {
            items: vec![
                (Item::Service, Ok(b"sudo".to_vec())),
                (Item::User, Ok(b"alice".to_vec())),
                (Item::RUser, Ok(b"alice".to_vec())),
            ],
            ids: Ids {
                real: 1001,
                effective: 0,
            },
            kept: None,
            keeps: true,
            random: Some(7),
            command_line: Some(b"sudo\0id\0".to_vec()),
            passwd: None,
            said: RefCell::default(),
            logged: RefCell::default(),
            slowed: false,
            panic_at: None,
            calls: Cell::new(0),
        }
    }

    /// The same, with the account phase done.
    fn sudo_session() -> Self {
        let mut fake = Self::sudo();
        fake.kept = Some(Kept {
            txn: Some(7),
            fixed: Some(1001),
            root: false,
            elevation: true,
        });
        fake
    }

    fn console(user: &str) -> Self {
        let mut fake = Self::sudo();
        fake.ids.real = 0;
        fake.with(Item::Service, Ok(b"login".to_vec()))
            .with(Item::User, Ok(user.into()))
    }

    fn with(mut self, item: Item, value: Result<Vec<u8>, Unreadable>) -> Self {
        self.items.retain(|(other, _)| *other != item);
        self.items.push((item, value));
        self
    }

    fn step(&self) {
        self.calls.set(self.calls.get() + 1);
        assert_ne!(Some(self.calls.get()), self.panic_at, "scripted");
    }
}

impl Host for Fake {
    fn item(&self, item: Item) -> Result<Option<Vec<u8>>, Unreadable> {
        self.step();
        let found = self.items.iter().find(|(other, _)| *other == item);
        found.map(|(_, value)| value.clone()).transpose()
    }

    fn find_user(&mut self) {
        self.step();
    }

    fn can_converse(&self) -> bool {
        self.step();
        true
    }

    fn prompt(&self, _: &str, _: bool) -> Option<Zeroizing<Vec<u8>>> {
        self.step();
        Some(Zeroizing::new(b"123456".to_vec()))
    }

    fn tell(&self, tone: Tone, text: &str) {
        self.step();
        self.said.borrow_mut().push((tone, text.to_owned()));
    }

    fn log(&self, _: Level, text: &str) {
        self.step();
        self.logged.borrow_mut().push(text.to_owned());
    }

    fn slow_failure(&mut self) {
        self.step();
        self.slowed = true;
    }

    fn ids(&self) -> Ids {
        self.step();
        self.ids
    }

    fn kept(&self) -> Option<Kept> {
        self.step();
        self.kept
    }

    fn keep(&mut self, kept: Kept) -> bool {
        self.step();
        if self.keeps {
            self.kept = Some(kept);
        }
        self.keeps
    }

    fn random(&self) -> Option<u128> {
        self.step();
        self.random
    }

    fn command_line(&self) -> Option<Vec<u8>> {
        self.step();
        self.command_line.clone()
    }

    fn local_accounts(&self) -> Option<Vec<u8>> {
        self.step();
        self.passwd.clone()
    }
}

/// An agent that prompts once and then says the same to everybody.
struct Agent {
    folder: tempfile::TempDir,
    heard: Arc<Mutex<Vec<Value>>>,
}

impl Agent {
    fn saying(result: &str, principal: Option<u32>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        let listener = UnixListener::bind(folder.path().join("sock")).unwrap();
        let verdict = json!({"verdict": {
            "result": result, "reason": "no-grant", "message": "because. Do this", "grant": null,
            "until": null, "id": null, "principal": principal,
        }});
        let heard = Arc::new(Mutex::new(Vec::new()));
        let keep = Arc::clone(&heard);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut say = |message: &Value| {
                    let body = message.to_string();
                    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
                    let _ = stream.write_all(&[&length, body.as_bytes()].concat());
                };
                say(&json!({"prompt": {"id": 1, "text": "One-time code: ", "echo": false}}));
                say(&verdict);
                let mut all = Vec::new();
                // Whoever panics hangs up without reading.
                let _ = stream.read_to_end(&mut all);
                let mut rest = all.as_slice();
                while let Some((length, more)) = rest.split_first_chunk() {
                    let (body, more) = more.split_at(u32::from_be_bytes(*length) as usize);
                    keep.lock()
                        .unwrap()
                        .push(serde_json::from_slice(body).unwrap());
                    rest = more;
                }
            }
        });
        Self { folder, heard }
    }

    fn run(&self, host: &mut Fake, phase: Phase, words: &str) -> Code {
        let socket = format!("socket={}", self.folder.path().join("sock").display());
        let mut all: Vec<&[u8]> = vec![socket.as_bytes()];
        all.extend(words.split_whitespace().map(str::as_bytes));
        phase::run(host, phase, 0x8000, &all)
    }
}

fn run_without_agent(host: &mut Fake, phase: Phase, words: &str) -> Code {
    let mut all: Vec<&[u8]> = vec![b"socket=/nonexistent/sock"];
    all.extend(words.split_whitespace().map(str::as_bytes));
    phase::run(host, phase, 0x8000, &all)
}

#[test]
fn every_row_of_the_table() {
    use Code::{AuthErr, AuthInfoUnavail, Ignore, MaxTries, PermDenied, ServiceErr, Success};
    // What the agent says; the codes of auth, account, session open; and whether a line is due.
    let table = [
        ("allow", [Success, Success, Success], false),
        ("ignore", [Ignore, Ignore, Ignore], false),
        ("deny", [PermDenied, PermDenied, PermDenied], true),
        ("unproven", [AuthErr, PermDenied, PermDenied], true),
        ("locked", [MaxTries, PermDenied, PermDenied], true),
        ("perhaps", [AuthInfoUnavail; 3], true),
    ];
    for (result, codes, line) in table {
        let agent = Agent::saying(result, Some(1001));
        for (phase, code) in PHASES.into_iter().zip(codes) {
            let mut host = Fake::sudo_session();
            assert_eq!(agent.run(&mut host, phase, ""), code, "{result} {phase:?}");
            let said = host.said.borrow();
            assert_eq!(said.len(), usize::from(line), "{result} {phase:?}");
            assert!(
                said.iter()
                    .all(|(tone, text)| { *tone == Tone::Error && text.starts_with("pam_jit: ") })
            );
            let slow = phase == Phase::Auth && ["unproven", "locked"].contains(&result);
            assert_eq!(host.slowed, slow, "{result} {phase:?}");

            let mut host = Fake::sudo_session();
            assert_eq!(agent.run(&mut host, phase, "observe"), Ignore);
            assert_eq!(host.said.borrow().len(), 0);
        }
        let mut host = Fake::sudo_session();
        assert_eq!(agent.run(&mut host, Phase::SessionClose, ""), Success);
        assert_eq!(host.said.borrow().len(), 0);
    }
    for phase in PHASES.into_iter().take(3) {
        let mut host = Fake::sudo_session();
        assert_eq!(run_without_agent(&mut host, phase, ""), AuthInfoUnavail);
        assert_eq!(run_without_agent(&mut host, phase, "x"), ServiceErr);
        assert_eq!(host.said.borrow().len(), 2);
        assert_eq!(host.logged.borrow().len(), 2);
        assert_eq!(run_without_agent(&mut host, phase, "observe"), Ignore);
        assert_eq!(host.said.borrow().len(), 2);
    }
}

#[test]
fn a_panic_in_any_call_of_the_host_is_a_no() {
    // Whatever the agent would have said.
    let agent = Agent::saying("allow", Some(1001));
    for phase in PHASES {
        for observe in [false, true] {
            for call in 1.. {
                let mut host = Fake::sudo_session();
                host.panic_at = Some(call);
                let words = if observe { "observe debug" } else { "debug" };
                let code = agent.run(&mut host, phase, words);
                if host.calls.get() < call {
                    assert!(call > 8, "{phase:?} makes only {call} calls");
                    break;
                }
                let expected = match phase {
                    Phase::SessionClose => Code::Success,
                    _ if observe => Code::Ignore,
                    _ => Code::PermDenied,
                };
                assert_eq!(code, expected, "{phase:?}, call {call}");
            }
        }
    }
}

#[test]
fn an_item_that_cannot_be_read_is_not_one_that_is_not_set() {
    let agent = Agent::saying("allow", Some(1001));
    for item in [Item::User, Item::RUser, Item::Tty, Item::RHost] {
        let mut host = Fake::sudo().with(item, Err(Unreadable));
        let code = agent.run(&mut host, Phase::Account, "");
        assert_eq!(code, Code::PermDenied, "{item:?}");
        assert!(host.logged.borrow()[0].contains(item.name()));
    }
    // So root from who knows where is not root at the console.
    let mut host = Fake::console("root").with(Item::RHost, Err(Unreadable));
    assert_eq!(agent.run(&mut host, Phase::Account, ""), Code::PermDenied);
    // And a rescue account whose name in PAM_RUSER cannot be read is not rescued.
    let mut host = Fake::sudo();
    host.passwd = Some(b"alice:x:1001:1001::/:/bin/sh\n".to_vec());
    assert_eq!(
        run_without_agent(&mut host, Phase::Account, "rescue=alice"),
        Code::Success
    );
    let mut host = host.with(Item::RUser, Err(Unreadable));
    assert_eq!(
        run_without_agent(&mut host, Phase::Account, "rescue=alice"),
        Code::PermDenied
    );
}

#[test]
fn without_random_numbers_or_pam_data_nobody_but_root_passes() {
    let agent = Agent::saying("allow", Some(1001));
    for phase in [Phase::Auth, Phase::Account] {
        let mut host = Fake::sudo();
        host.random = None;
        assert_eq!(agent.run(&mut host, phase, ""), Code::PermDenied);
        let mut host = Fake::sudo();
        host.keeps = false;
        assert_eq!(agent.run(&mut host, phase, ""), Code::PermDenied);
    }
    assert_eq!(agent.heard.lock().unwrap().len(), 0);
    let mut root = Fake::console("root");
    (root.random, root.keeps) = (None, false);
    for (phase, code) in
        PHASES
            .into_iter()
            .zip([Code::Ignore, Code::Success, Code::Success, Code::Success])
    {
        assert_eq!(agent.run(&mut root, phase, ""), code);
    }
}

#[test]
fn roots_session_is_known_by_what_account_saw() {
    let mut host = Fake::sudo();
    host.ids.real = 0;
    assert_eq!(
        run_without_agent(&mut host, Phase::Account, ""),
        Code::Success
    );
    assert!(host.kept.unwrap().root);
    // sudo may have become somebody else by now.
    host.ids.real = 1001;
    assert_eq!(
        run_without_agent(&mut host, Phase::SessionOpen, ""),
        Code::Success
    );
    // The next check of the same transaction is somebody else's.
    assert_eq!(
        run_without_agent(&mut host, Phase::Account, ""),
        Code::AuthInfoUnavail
    );
    host.ids.real = 0;
    assert_eq!(
        run_without_agent(&mut host, Phase::SessionOpen, ""),
        Code::PermDenied
    );
}

#[test]
fn a_command_line_that_cannot_be_had_is_said_to_be_missing() {
    let agent = Agent::saying("allow", Some(1001));
    let mut host = Fake::sudo();
    host.command_line = None;
    assert_eq!(agent.run(&mut host, Phase::Account, ""), Code::Success);
    let mut host = Fake::sudo();
    assert_eq!(agent.run(&mut host, Phase::Account, ""), Code::Success);
    // The longest, and the longest names: still one frame.
    let mut host = Fake::sudo()
        .with(Item::User, Ok(vec![b'"'; 256]))
        .with(Item::Tty, Ok(vec![b'"'; 256]))
        .with(Item::RHost, Ok(vec![b'"'; 256]));
    host.command_line = Some(vec![0xff; 32 * 1024]);
    assert_eq!(agent.run(&mut host, Phase::Account, ""), Code::Success);
    // The agent's thread may still be reading what we have long sent.
    let asked = loop {
        let asked: Vec<Value> = agent.heard.lock().unwrap().clone();
        let asked: Vec<Value> = asked
            .into_iter()
            .filter(|said| said["op"] == "pam")
            .collect();
        if asked.len() >= 3 {
            break asked;
        }
        thread::yield_now();
    };
    assert_eq!(asked[0]["cmdline"], Value::Null);
    assert_eq!(asked[1]["cmdline"], "c3VkbwBpZAA=");
    assert_eq!(asked[2]["cmdline"].as_str().unwrap().len(), 43_692);
}
