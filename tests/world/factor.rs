//! Somebody's factor, as an authenticator app holds it. Codes come from `oathtool`, so what is
//! tested is agreement with the rest of the world and not with ourselves.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const STEP: u64 = 30;
/// A step is not begun with less left of it than a slow machine takes to type a code.
const HURRY: u64 = 12;

/// A secret and how far its codes have been handed out.
#[derive(Clone)]
pub struct Factor {
    /// In base32.
    pub secret: String,
    /// For `otpauth://`.
    pub otpauth: String,
    /// One-time recovery codes.
    pub recovery: Vec<String>,
    next_step: Arc<Mutex<u64>>,
}

impl Factor {
    /// From what `jit mfa enroll --json` prints.
    #[must_use]
    pub fn from_json(text: &str) -> Self {
        let value: serde_json::Value = serde_json::from_str(text).unwrap();
        let field = |name: &str| value[name].as_str().unwrap().to_owned();
        Self {
            secret: field("secret"),
            otpauth: field("otpauth"),
            recovery: value["recovery_codes"]
                .as_array()
                .unwrap()
                .iter()
                .map(|code| code.as_str().unwrap().to_owned())
                .collect(),
            next_step: Arc::default(),
        }
    }

    /// The code of the oldest step that still counts and was not handed out; waits for one.
    /// Codes come in the order of their steps, as accepted steps only increase.
    #[must_use]
    pub fn next_code(&self) -> String {
        let mut next = self.next_step.lock().unwrap();
        loop {
            let now = unix_now();
            let left = STEP - now % STEP;
            let oldest = now / STEP - u64::from(left > HURRY);
            let step = oldest.max(*next);
            if step <= now / STEP + 1 {
                *next = step + 1;
                return self.code_at(step * STEP);
            }
            std::thread::sleep(Duration::from_secs(left));
        }
    }

    /// The code for a moment, in Unix seconds.
    #[must_use]
    pub fn code_at(&self, unix: u64) -> String {
        let mut oathtool = Command::new("oathtool")
            .args(["--totp", "--base32", "--now", &format!("@{unix}"), "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("oathtool is missing; 'make deps' installs it");
        let mut stdin = oathtool.stdin.take().unwrap();
        stdin.write_all(self.secret.as_bytes()).unwrap();
        drop(stdin);
        let output = oathtool.wait_with_output().unwrap();
        assert!(output.status.success(), "oathtool: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// A code that is wrong now and for minutes to come.
    #[must_use]
    pub fn wrong_code(&self) -> String {
        let now = unix_now();
        let right: Vec<String> = (0..10)
            .map(|i| self.code_at(now - 120 + i * STEP))
            .collect();
        // One that is not found by chance in whatever is searched for it.
        (424_242..)
            .map(|n| format!("{n:06}"))
            .find(|code| !right.contains(code))
            .unwrap()
    }
}

/// The machine's clock, in Unix seconds.
#[must_use]
pub fn unix_now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap().as_secs()
}
