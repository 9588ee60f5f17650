//! A policy source: keys, certificates by openssl, and nginx with TLS.

use jiff::{SignedDuration, Timestamp};
use jit_policy::bundle::{Facts, next_seq, seal};
use jit_policy::grant::{parse_toml, to_json};
use jit_policy::sign::SigningKey;
use std::cell::Cell;
use std::fs;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub(crate) const REALM: &str = "prod";

/// Where bundles come from.
pub(crate) struct Source {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) key: SigningKey,
    pub(crate) port: u16,
    /// The last bundle's sequence number.
    seq: Cell<u64>,
    nginx: Option<Child>,
}

impl Source {
    /// A running source that serves nothing yet.
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        certificates(dir.path());
        fs::create_dir(dir.path().join("www")).unwrap();
        fs::create_dir(dir.path().join("tmp")).unwrap();
        let mut source = Self {
            dir,
            key: SigningKey::generate().unwrap(),
            port: free_port(),
            seq: Cell::new(0),
            nginx: None,
        };
        source.up();
        source
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().canonicalize().unwrap().join(name)
    }

    pub(crate) fn up(&mut self) {
        self.up_with("server", "");
    }

    /// Starts nginx with a certificate of [`certificates`] and more lines in its `server` block.
    pub(crate) fn up_with(&mut self, certificate: &str, more: &str) {
        self.down();
        let (dir, port) = (self.dir.path().display(), self.port);
        let conf = format!(
            "daemon off; master_process off; pid {dir}/pid; error_log {dir}/error.log;\n\
             events {{}}\n\
             http {{ access_log {dir}/access.log;\n\
             client_body_temp_path {dir}/tmp; proxy_temp_path {dir}/tmp; fastcgi_temp_path {dir}/tmp;\n\
             uwsgi_temp_path {dir}/tmp; scgi_temp_path {dir}/tmp;\n\
             server {{ listen 127.0.0.1:{port} ssl;\n\
             ssl_certificate {dir}/{certificate}.pem; ssl_certificate_key {dir}/{certificate}.key;\n\
             location / {{ root {dir}/www; }}\n{more}\n}} }}\n"
        );
        fs::write(self.path("nginx.conf"), conf).unwrap();
        let child = Command::new("nginx")
            .args(["-e", "stderr", "-p"])
            .arg(self.dir.path())
            .arg("-c")
            .arg(self.path("nginx.conf"))
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.nginx = Some(child);
        let deadline = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(
                Instant::now() < deadline,
                "nginx does not start: {}",
                fs::read_to_string(self.path("error.log")).unwrap_or_default()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn down(&mut self) {
        if let Some(mut nginx) = self.nginx.take() {
            nginx.kill().unwrap();
            nginx.wait().unwrap();
        }
    }

    /// `[policy]` for a host that uses this source.
    pub(crate) fn policy(&self, more: &str) -> String {
        self.policy_at(&format!("https://127.0.0.1:{}/bundle", self.port), more)
    }

    pub(crate) fn policy_at(&self, url: &str, more: &str) -> String {
        let mut lines = vec![
            "[policy]".to_owned(),
            format!("realm = \"{REALM}\""),
            format!("url = \"{url}\""),
            format!("trusted_keys = [\"{}\"]", self.key.public()),
            "refresh = \"1s\"".to_owned(),
        ];
        if url.starts_with("https") {
            lines.push(format!("ca_file = \"{}\"", self.path("ca.pem").display()));
        }
        for line in more.lines() {
            let key = line.split(' ').next().unwrap();
            lines.retain(|l| !l.starts_with(&format!("{key} =")));
            lines.push(line.to_owned());
        }
        lines.join("\n")
    }

    /// Serves these bytes from now on.
    pub(crate) fn serve(&self, bytes: impl AsRef<[u8]>) {
        // By rename, as a publisher should.
        let new = self.path("www/bundle.new");
        fs::File::create(&new)
            .unwrap()
            .write_all(bytes.as_ref())
            .unwrap();
        fs::rename(new, self.path("www/bundle")).unwrap();
    }

    /// A bundle for every host, made now.
    pub(crate) fn bundle(&self, grants: &str) -> String {
        self.bundle_of(grants, |_| {})
    }

    /// A bundle with other facts.
    pub(crate) fn bundle_of(&self, grants: &str, change: impl FnOnce(&mut Facts)) -> String {
        let now = Timestamp::now();
        let mut facts = Facts {
            realm: REALM.to_owned(),
            host: "*".to_owned(),
            seq: next_seq(Some(self.seq.get()), now),
            issued_at: now,
            expires_at: now + SignedDuration::from_hours(24),
        };
        self.seq.set(facts.seq);
        change(&mut facts);
        seal(&self.key, &facts, &json(grants)).unwrap()
    }

    /// What nginx was asked so far.
    pub(crate) fn access_log(&self) -> String {
        fs::read_to_string(self.path("access.log")).unwrap_or_default()
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.down();
    }
}

/// Grants in TOML as the JSON of a bundle.
pub(crate) fn json(grants: &str) -> String {
    let parsed = parse_toml(grants).unwrap();
    assert!(parsed.faults.is_empty(), "{:?}", parsed.faults);
    to_json(&parsed.grants)
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

/// Two authorities (`ca`, `other-ca`) and certificates for 127.0.0.1: `server` by the first,
/// `other` by the second, `expired` by the first and of yesterday, `elsewhere` by the first for
/// another name.
fn certificates(dir: &Path) {
    for ca in ["ca", "other-ca"] {
        openssl(
            dir,
            &format!(
                "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout {ca}.key -out {ca}.pem \
             -days 2 -subj /CN={ca} -addext keyUsage=critical,keyCertSign"
            ),
        );
    }
    for (name, ca, san, days) in [
        ("server", "ca", "IP:127.0.0.1", "2"),
        ("other", "other-ca", "IP:127.0.0.1", "2"),
        ("expired", "ca", "IP:127.0.0.1", "-1"),
        ("elsewhere", "ca", "DNS:elsewhere.example", "2"),
    ] {
        fs::write(
            dir.join("ext"),
            format!("subjectAltName={san}\nbasicConstraints=CA:FALSE\n"),
        )
        .unwrap();
        openssl(
            dir,
            &format!(
                "req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout {name}.key -out {name}.csr -subj /CN={name}"
            ),
        );
        openssl(
            dir,
            &format!(
                "x509 -req -in {name}.csr -CA {ca}.pem -CAkey {ca}.key -CAcreateserial -days {days} -extfile ext -out {name}.pem"
            ),
        );
    }
}

fn openssl(dir: &Path, arguments: &str) {
    let output = Command::new("openssl")
        .args(arguments.split_whitespace())
        .current_dir(dir)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
