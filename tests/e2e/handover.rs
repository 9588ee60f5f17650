//! One agent ends and the next begins while people are at the doors, under a supervisor that keeps
//! the sockets meanwhile, as systemd does.

use std::fs;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::thread;
use std::time::{Duration, Instant};

use jit_tests::World;
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg, sockopt::Timeout,
    sockopt::set_socket_timeout,
};

use crate::people::{becomes_root, granted_world, sudo};

/// What systemd does with what an agent leaves: sd_notify(3), `FDSTORE=1`.
struct Supervisor {
    notify: UnixDatagram,
    kept: Vec<(String, OwnedFd)>,
}

impl Supervisor {
    /// Starts the world's agent anew, under supervision.
    fn of(world: &World) -> Self {
        let path = world.outside("/run/notify");
        let notify = UnixDatagram::bind(&path).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
        set_socket_timeout(&notify, Timeout::Recv, Some(Duration::from_secs(10))).unwrap();
        let mut supervisor = Self {
            notify,
            kept: Vec::new(),
        };
        world.must("agentctl stop; AGENT_ENV=NOTIFY_SOCKET=/run/notify agentctl start");
        supervisor.listen_till_ready();
        supervisor
    }

    /// Takes what the agent says and leaves until it is ready.
    fn listen_till_ready(&mut self) {
        loop {
            let mut text = [0; 4096];
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut passed = RecvAncillaryBuffer::new(&mut space);
            let got = recvmsg(
                &self.notify,
                &mut [IoSliceMut::new(&mut text)],
                &mut passed,
                RecvFlags::CMSG_CLOEXEC,
            );
            let said = String::from_utf8_lossy(&text[..got.unwrap().bytes]).into_owned();
            let name = said.lines().find_map(|line| line.strip_prefix("FDNAME="));
            if said.contains("FDSTOREREMOVE=1") {
                self.kept.retain(|(kept, _)| Some(&**kept) != name);
            }
            for message in passed.drain() {
                if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                    let named = |fd| (name.unwrap().to_owned(), fd);
                    self.kept.extend(descriptors.map(named));
                }
            }
            if said.contains("READY=1") {
                return;
            }
        }
    }

    /// Starts an agent with what the last one left.
    fn start(&mut self, world: &World) {
        let descriptor = |name: &str| {
            let (_, kept) = self.kept.iter().find(|(kept, _)| kept == name).unwrap();
            kept
        };
        let (agent, user) = (descriptor("agent.sock"), descriptor("user.sock"));
        let inherit = |flags| {
            for kept in [agent, user] {
                fcntl_setfd(kept, flags).unwrap();
            }
        };
        inherit(FdFlags::empty());
        world.must(&format!(
            "exec 3<&{} 4<&{}; env -i PATH=$PATH NOTIFY_SOCKET=/run/notify setsid bash -c '\
             echo $$ >/run/jit-agentd.pid; export LISTEN_PID=$$ LISTEN_FDS=2; \
             export LISTEN_FDNAMES=agent.sock:user.sock; exec jit-agentd' \
             </dev/null >>/var/log/jit-agentd.log 2>&1 &",
            agent.as_raw_fd(),
            user.as_raw_fd()
        ));
        inherit(FdFlags::CLOEXEC);
        self.listen_till_ready();
    }
}

#[test]
fn a_sudo_that_falls_into_a_restart_is_answered_by_the_next_agent() {
    for end in ["stop", "kill9"] {
        let world = granted_world();
        let mut supervisor = Supervisor::of(&world);
        assert!(becomes_root(&world, "alice"));
        world.must(&format!("agentctl {end}"));
        thread::scope(|scope| {
            let caught = ["alice", "alice", "bob"].map(|user| {
                let world = &world;
                scope.spawn(move || (user, sudo(world, user)))
            });
            thread::sleep(Duration::from_millis(500));
            for caught in &caught {
                assert!(!caught.is_finished(), "was not kept waiting");
            }
            supervisor.start(&world);
            for caught in caught {
                let (user, got) = caught.join().unwrap();
                assert_eq!(
                    got.out.contains("uid=0"),
                    user == "alice",
                    "{user}: {got:?}"
                );
            }
        });
        assert_eq!(world.logged(&["user=bob", "outcome=deny"]).len(), 1);
        assert!(becomes_root(&world, "alice"));
    }
}

#[test]
fn a_kept_socket_that_nobody_can_find_any_more_is_made_anew() {
    let world = granted_world();
    let mut supervisor = Supervisor::of(&world);
    for undo in [
        "rm /run/pam_jit/agent.sock",
        "rm -r /run/pam_jit",
        // An agent without a supervisor ran in between: the file leads to its socket.
        "agentctl start; agentctl stop",
        "echo >/run/pam_jit/user.sock.new; mv /run/pam_jit/user.sock.new /run/pam_jit/user.sock",
    ] {
        world.must("agentctl stop");
        world.must(undo);
        supervisor.start(&world);
        assert!(becomes_root(&world, "alice"), "after {undo}");
        assert!(world.run_as("alice", "jit status").ok(), "after {undo}");
        assert!(!becomes_root(&world, "bob"));
        // What is made anew is kept from then on.
        world.must("agentctl stop");
        supervisor.start(&world);
        assert!(becomes_root(&world, "alice"), "after {undo}, and once more");
    }
}

#[test]
fn an_agent_that_ends_waits_for_nobody_who_says_nothing() {
    let world = granted_world();
    for undo in ["", "rm /run/pam_jit/*.sock"] {
        // Callers who begin a question and do not end it.
        world.must(
            "perl -MIO::Socket::UNIX -e '@mute = map { \
             IO::Socket::UNIX->new(Peer => \"/run/pam_jit/agent.sock\") || die } 1..5; \
             syswrite $_, \"\\0\" for @mute; open my $held, \">\", \"/run/held\"; close $held; sleep 60' \
             >/dev/null 2>&1 & until [ -e /run/held ]; do sleep 0.05; done; rm /run/held",
        );
        world.must(undo);
        let from = Instant::now();
        world.must("agentctl stop");
        assert!(
            from.elapsed() < Duration::from_secs(3),
            "{undo:?}: {:?}",
            from.elapsed()
        );
        world.must("agentctl start");
        assert!(becomes_root(&world, "alice"));
    }
}
