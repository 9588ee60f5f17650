//! A scripted listener on a real socket, one thread each. These run as root: the client trusts
//! nobody else.

use super::*;
use crate::message::{Plain, Request};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;

const SHORT: Duration = Duration::from_millis(200);

fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        assert!(is_root(), "run these tests as root");
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Self { folder }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("agent.sock")
    }

    /// Listens, and plays `script` to the first caller, after reading one frame.
    fn play(&self, script: impl FnOnce(UnixStream) + Send + 'static) {
        let listener = UnixListener::bind(self.socket()).unwrap();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut header = [0; 4];
            stream.read_exact(&mut header).unwrap();
            let mut body = vec![0; u32::from_be_bytes(header) as usize];
            stream.read_exact(&mut body).unwrap();
            script(stream);
        });
    }

    fn ask(&self, limit: Duration) -> Result<Reply, ClientError> {
        let mut client = Client::connect(self.socket(), Deadline::after(limit))?;
        client.send(&Request::Status(Plain::default()))?;
        client.recv()
    }
}

fn reply(text: &str) -> Vec<u8> {
    frame::encode(&Reply::Done(text.to_owned()))
        .unwrap()
        .to_vec()
}

fn within(limit: Duration, run: impl FnOnce()) {
    let from = Instant::now();
    run();
    assert!(from.elapsed() < limit, "took {:?}", from.elapsed());
}

#[test]
fn a_whole_exchange() {
    let place = Place::new();
    place.play(|mut to| to.write_all(&reply("hello")).unwrap());
    assert_eq!(
        place.ask(Duration::from_secs(5)).unwrap(),
        Reply::Done("hello".into())
    );
}

#[test]
fn one_byte_at_a_time_is_read_if_it_ends_in_time() {
    let place = Place::new();
    place.play(|mut to| {
        for byte in reply("slow") {
            to.write_all(&[byte]).unwrap();
            thread::sleep(Duration::from_millis(1));
        }
    });
    assert_eq!(
        place.ask(Duration::from_secs(5)).unwrap(),
        Reply::Done("slow".into())
    );
}

#[test]
fn dripping_past_the_deadline_ends_at_the_deadline() {
    let place = Place::new();
    place.play(|mut to| {
        for byte in reply(&"x".repeat(1000)) {
            if to.write_all(&[byte]).is_err() {
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
    });
    within(SHORT * 3, || {
        assert!(matches!(place.ask(SHORT), Err(ClientError::Late(_))));
    });
}

#[test]
fn silence_ends_at_the_deadline() {
    let place = Place::new();
    place.play(|to| {
        thread::sleep(Duration::from_secs(3));
        drop(to);
    });
    within(SHORT * 3, || {
        assert!(matches!(place.ask(SHORT), Err(ClientError::Late(_))));
    });
}

#[test]
fn a_full_queue_ends_at_the_deadline() {
    let place = Place::new();
    let listener = UnixListener::bind(place.socket()).unwrap();
    sys::shorten_queue(&listener);
    let mut waiting = Vec::new();
    // Whoever finds no place fails; those before are left waiting in the queue.
    let late = loop {
        let from = Instant::now();
        match Client::connect(place.socket(), Deadline::after(SHORT)) {
            Ok(client) => waiting.push(client),
            Err(error) => {
                assert!(from.elapsed() < SHORT * 3);
                break error;
            }
        }
        assert!(waiting.len() < 100, "the queue never fills");
    };
    assert!(matches!(late, ClientError::Late(_)), "{late}");
}

#[test]
fn nobody_there() {
    let place = Place::new();
    let error = place.ask(SHORT).unwrap_err();
    assert!(error.to_string().contains("is jit-agentd running?"));
    // A socket file that nobody listens on any more.
    drop(UnixListener::bind(place.socket()).unwrap());
    assert!(matches!(place.ask(SHORT), Err(ClientError::Connect { .. })));
}

#[test]
fn hanging_up_is_an_error_wherever_it_happens() {
    for cut in 0..reply("cut").len() {
        let place = Place::new();
        place.play(move |mut to| to.write_all(&reply("cut")[..cut]).unwrap());
        let got = place.ask(Duration::from_secs(5));
        assert!(matches!(got, Err(ClientError::Closed)), "{cut}: {got:?}");
    }
}

#[test]
fn nonsense_is_refused_before_it_is_allocated() {
    let cases: [&[u8]; 6] = [
        &[0xff; 8],
        &[0, 0, 0, 0],
        &[0, 1, 0, 1],
        b"\0\0\0\x02{}",
        b"\0\0\0\x04\xff\xfe\xfd\xfc",
        b"HTTP/1.1 400 Bad Request\r\n",
    ];
    for case in cases {
        let place = Place::new();
        let sent = case.to_vec();
        place.play(move |mut to| {
            to.write_all(&sent).unwrap();
            thread::sleep(Duration::from_secs(1));
        });
        let got = place.ask(Duration::from_secs(5));
        assert!(matches!(got, Err(ClientError::Frame(_))), "{got:?}");
    }
}

#[test]
fn a_folder_that_others_may_write_is_not_trusted() {
    for mode in [0o777, 0o775, 0o1777] {
        let place = Place::new();
        let _listener = UnixListener::bind(place.socket()).unwrap();
        fs::set_permissions(place.folder.path(), fs::Permissions::from_mode(mode)).unwrap();
        let error = place.ask(SHORT).unwrap_err();
        assert!(matches!(error, ClientError::Folder { .. }), "{error}");
    }
}

#[test]
fn a_folder_of_someone_else_is_not_trusted_nor_one_below_it() {
    let place = Place::new();
    std::os::unix::fs::chown(place.folder.path(), Some(12345), None).unwrap();
    let _listener = UnixListener::bind(place.socket()).unwrap();
    assert!(matches!(place.ask(SHORT), Err(ClientError::Folder { .. })));

    let below = place.folder.path().join("below");
    fs::create_dir(&below).unwrap();
    let path = below.join("agent.sock");
    let _listener = UnixListener::bind(&path).unwrap();
    let error = Client::connect(&path, Deadline::after(SHORT)).unwrap_err();
    assert!(error.to_string().contains("is not root's"), "{error}");
}

#[test]
fn a_link_of_someone_else_is_not_followed() {
    let place = Place::new();
    let _listener = UnixListener::bind(place.socket()).unwrap();
    let other = Place::new();
    let link = other.folder.path().join("link");
    std::os::unix::fs::symlink(place.folder.path(), &link).unwrap();
    let through = link.join("agent.sock");
    assert!(Client::connect(&through, Deadline::after(SHORT)).is_ok());
    std::os::unix::fs::lchown(&link, Some(12345), None).unwrap();
    assert!(matches!(
        Client::connect(&through, Deadline::after(SHORT)),
        Err(ClientError::Folder { .. })
    ));
}

#[test]
fn paths_that_no_socket_can_have() {
    for path in ["run/agent.sock", "", &format!("/{}", "x".repeat(108))] {
        let got = Client::connect(path, Deadline::after(SHORT));
        assert!(matches!(got, Err(ClientError::Path(_))), "{path:?} {got:?}");
    }
}

#[test]
fn the_time_a_person_takes_does_not_count() {
    let place = Place::new();
    place.play(|mut to| {
        to.write_all(&reply("first")).unwrap();
        let mut header = [0; 4];
        to.read_exact(&mut header).unwrap();
        to.write_all(&reply("second")).unwrap();
    });
    let mut client = Client::connect(place.socket(), Deadline::after(SHORT)).unwrap();
    client.send(&Request::Status(Plain::default())).unwrap();
    client.recv().unwrap();
    let ((), spent) = client.off_the_clock(|| thread::sleep(SHORT * 2));
    assert!(spent >= SHORT * 2);
    client.send(&Request::Status(Plain::default())).unwrap();
    assert_eq!(client.recv().unwrap(), Reply::Done("second".into()));
}

#[test]
fn the_last_words_of_an_agent_that_hung_up_are_heard() {
    let place = Place::new();
    let (closed, wait) = std::sync::mpsc::channel();
    place.play(move |mut to| {
        to.write_all(&reply("last")).unwrap();
        drop(to);
        closed.send(()).unwrap();
    });
    let mut client = Client::connect(place.socket(), Deadline::after(SHORT)).unwrap();
    client.send(&Request::Status(Plain::default())).unwrap();
    wait.recv().unwrap();
    assert!(matches!(
        client.send(&Request::Status(Plain::default())),
        Err(ClientError::Closed)
    ));
    assert_eq!(client.recv().unwrap(), Reply::Done("last".into()));
    assert!(matches!(client.recv(), Err(ClientError::Closed)));
}

#[test]
fn an_absurd_budget_is_only_long() {
    assert!(Deadline::after(Duration::MAX).left() > Duration::from_secs(3600));
}
