//! A policy source: a real nginx with TLS that serves a bundle signed by `jit policy sign`.

use jit_tests::{Output, World};
use serde_json::Value;

use crate::people::{becomes_root, nopasswd};

/// What nginx serves.
pub(crate) const BUNDLE: &str = "/var/www/bundle.json";
const URL: &str = "https://policy.example/bundle.json";

const NGINX: &str = "
user root;
pid /run/nginx.pid;
error_log /var/log/nginx/error.log;
events {}
http {
    access_log /var/log/nginx/access.log;
    server {
        listen 127.0.0.1:443 ssl;
        server_name policy.example;
        ssl_certificate /etc/policy/tls.pem;
        ssl_certificate_key /etc/policy/tls.key;
        root /var/www;
        location = /moved { return 302 https://policy.example/bundle.json; }
        location = /endless { proxy_pass http://127.0.0.1:8080; proxy_buffering off; }
    }
}
";

/// A world with a source, and an agent that takes its grants from there.
pub(crate) struct Source {
    pub(crate) world: World,
    pub(crate) key: String,
}

impl Source {
    /// Serves no bundle yet. The agent's lease is 15 minutes, and it asks once a second.
    pub(crate) fn new() -> Self {
        let world = World::new();
        nopasswd(&world);
        world.must("mkdir -p /etc/policy /var/www /var/log/nginx /var/lib/nginx");
        world.must("echo 127.0.0.1 policy.example >>/etc/hosts");
        make_ca(&world, "ca");
        world.must(
            "cd /etc/policy && openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes \
                -subj /CN=policy.example -addext subjectAltName=DNS:policy.example -keyout tls.key |
                openssl x509 -req -CA ca.pem -CAkey ca.key -copy_extensions copy -out tls.pem",
        );
        world.write("/etc/policy/nginx.conf", NGINX);
        world.must("nginx -c /etc/policy/nginx.conf");
        let key = keygen(&world, "/etc/policy/sign.key");
        let source = Self { world, key };
        source.configure(&source.config(""));
        source
    }

    /// `agent.toml`: sudo by grant alone, `policy` in the section of that name.
    pub(crate) fn config(&self, policy: &str) -> String {
        let key = &self.key;
        let times = if policy.contains("refresh") {
            ""
        } else {
            "refresh = '1s'"
        };
        let url = if policy.contains("url") {
            ""
        } else {
            &format!("url = '{URL}'")
        };
        let ca = if policy.contains("file://") {
            ""
        } else {
            "ca_file = '/etc/policy/ca.pem'"
        };
        format!(
            "[agent]\nhost = 'web1'\n\
             [policy]\nrealm = 'prod'\n{url}\n{ca}\ntrusted_keys = ['{key}']\n{times}\n{policy}\n\
             [service.sudo]\nmode = 'enforce'\ngrant = true\nmfa = 'none'\n"
        )
    }

    /// Replaces `agent.toml`; the agent starts anew.
    pub(crate) fn configure(&self, toml: &str) {
        self.world.config(toml);
    }

    /// Ends the agent, which asks the source by itself too: nobody hears what is published until it
    /// starts again.
    pub(crate) fn unheard(&self) {
        self.world.must("agentctl stop");
    }

    /// Signs grants for `users` (sudo as root) and publishes them.
    pub(crate) fn publish(&self, users: &[&str]) {
        self.sign(users, "--realm prod", BUNDLE);
    }

    /// The same, over a bundle that may be damaged.
    pub(crate) fn publish_again(&self, users: &[&str]) {
        self.world.must(&format!("rm -f {BUNDLE}"));
        self.publish(users);
    }

    /// Signs grants for `users` into `out`, with more arguments.
    pub(crate) fn sign(&self, users: &[&str], more: &str, out: &str) {
        let grants: String = users.iter().map(|user| grant(user)).collect();
        self.world.write("/root/grants.toml", &grants);
        let key = if more.contains("--key") {
            ""
        } else {
            "--key /etc/policy/sign.key"
        };
        self.world.must(&format!(
            "jit policy sign {key} {more} --expires 1h -o {out} /root/grants.toml"
        ));
    }

    /// Has the agent ask the source now; how that went.
    pub(crate) fn refresh(&self) -> Output {
        self.world.root("jit policy refresh --json")
    }

    /// Has the agent ask the source, which must bring its bundle in force.
    pub(crate) fn accepted(&self) -> Value {
        let output = self.refresh();
        assert!(output.ok(), "not accepted: {output:?}");
        output.json()
    }

    /// Has the agent ask the source, whose bundle must be refused for `reason` and leave alice's
    /// grant as it is: `alice` says whether she becomes root.
    pub(crate) fn refused(&self, reason: &str, alice: bool) {
        let output = self.refresh();
        assert_eq!(output.code, 1, "not refused: {output:?}");
        self.world.logged(&[
            "event=policy",
            "outcome=rejected",
            &format!("reason={reason} "),
        ]);
        assert_eq!(
            self.opens("alice"),
            alice,
            "after a bundle refused for {reason}"
        );
    }

    /// Whether somebody becomes root.
    pub(crate) fn opens(&self, user: &str) -> bool {
        becomes_root(&self.world, user)
    }

    /// A bundle as it is signed, which nobody has seen.
    pub(crate) fn signed(&self, users: &[&str]) -> Value {
        const UNSEEN: &str = "/root/unseen.json";
        self.world.must(&format!("rm -f {UNSEEN}"));
        self.sign(users, "--realm prod", UNSEEN);
        serde_json::from_str(&self.world.read(UNSEEN)).unwrap()
    }

    /// Publishes what somebody made of a bundle.
    pub(crate) fn publish_made(&self, bundle: &Value) {
        self.world.write(BUNDLE, &bundle.to_string());
    }
}

/// Makes a certificate authority: `/etc/policy/NAME.pem` and `.key`.
pub(crate) fn make_ca(world: &World, name: &str) {
    world.must(&format!(
        "cd /etc/policy && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 \
            -nodes -subj /CN={name} -keyout {name}.key -out {name}.pem"
    ));
}

/// Makes a key to sign with; its public half.
pub(crate) fn keygen(world: &World, file: &str) -> String {
    let made = world.root(&format!("jit policy keygen --out {file} --json"));
    made.json()["public_key"].as_str().unwrap().to_owned()
}

/// A grant of sudo as root for years.
pub(crate) fn grant(user: &str) -> String {
    format!(
        "[[grant]]\nid = 'for-{user}'\nuser = '{user}'\nservices = ['sudo']\n\
         not_after = 2099-01-01T00:00:00Z\nmfa = 'none'\n"
    )
}
