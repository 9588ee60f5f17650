//! The disk fills up. What cannot be put on record or remembered is refused and says so; root gets
//! in; and when there is space again everything is as before.

use jit_tests::World;

use crate::people;

const STATE: &str = "/var/lib/pam_jit";

/// Puts the agent's state on a disk of a few KiB.
fn on_a_tiny_disk(world: &World) {
    world.must(&format!(
        "agentctl stop; cp -a {STATE} /run/state; mount -t tmpfs -o size=400k,mode=0700 tiny {STATE} && \
         cp -a /run/state/. {STATE}/ && agentctl start"
    ));
}

/// Leaves so many KiB free.
fn leave(world: &World, kib: u32) {
    world.must(&format!(
        "rm -f {STATE}/filler; dd if=/dev/zero of={STATE}/filler bs=1k 2>/dev/null; \
         truncate -s -{kib}k {STATE}/filler; df -k --output=avail {STATE} | tail -1"
    ));
}

fn make_room(world: &World) {
    world.must(&format!("rm -f {STATE}/filler"));
}

/// Everything of the journal, to count allows in.
fn allows(world: &World, user: &str) -> usize {
    let shown = world.must(&format!("jit audit show -n 0 --json --user {user}"));
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    let is = |e: &&serde_json::Value| {
        e["event"] == "decision" && e["outcome"] == "allow" && e["phase"] == "session_open"
    };
    shown["events"]
        .as_array()
        .unwrap()
        .iter()
        .filter(is)
        .count()
}

#[test]
fn whatever_is_the_last_thing_that_fits() {
    let world = World::new();
    people::nopasswd(&world);
    // Every elevation writes: that the code is spent, that it passed, both decisions.
    world.config("[agent]\nhost = \"web1\"\n[service.sudo]\nmode = \"enforce\"\ngrant = true\nmfa = \"always\"\n");
    world.grant("--user alice --service sudo --for 1h");
    on_a_tiny_disk(&world);
    let mut codes = world.enroll("alice").recovery.into_iter();
    let mut got_in = 0;
    let mut refused = 0;
    // From no room at all to plenty, one page at a time.
    for kib in [0, 0, 4, 8, 12, 16, 24, 32] {
        leave(&world, kib);
        let code = codes.next().unwrap();
        let ended = world.type_at("alice", "sudo id", &code);
        if ended.says("uid=0(root)") {
            got_in += 1;
        } else {
            refused += 1;
            assert!(
                ended.says("pam_jit: "),
                "{kib}: refused without a word: {ended:?}"
            );
            assert!(!ended.says("does not answer"), "{kib}: {ended:?}");
        }
        let root = world.root("sudo id; jit status");
        assert!(
            root.ok() && root.out.contains("uid=0(root)"),
            "{kib}: {root:?}"
        );
        // Whoever got in with it, or was told that it was used, does not get in with it again.
        leave(&world, 40);
        let again = world.type_at("alice", "sudo id", &code);
        assert!(
            !(ended.says("uid=0(root)") && again.says("uid=0(root)")),
            "{kib}: {again:?}"
        );
        got_in += usize::from(again.says("uid=0(root)"));
        assert_eq!(
            allows(&world, "alice"),
            got_in,
            "each yes is on record and no other"
        );
    }
    assert!(refused >= 2, "the disk was full twice");
    make_room(&world);
    let ended = world.type_at("alice", "sudo id", &codes.next().unwrap());
    assert!(ended.says("uid=0(root)"), "{ended:?}");
    let proof = world.root("jit audit verify --json");
    assert!(proof.json()["ok"] == true, "{proof:?}");
    world.must("agentctl restart");
    let ended = world.type_at("alice", "sudo id", &world.code("alice"));
    assert!(ended.says("uid=0(root)"), "{ended:?}");
}

#[test]
fn what_an_administrator_does_meanwhile_is_done_or_not_done() {
    let world = World::new();
    people::nopasswd(&world);
    world.config(people::BY_GRANT);
    on_a_tiny_disk(&world);
    world.grant("--user alice --service sudo --for 1h --id alices");
    world.enroll("alice");
    leave(&world, 0);
    // What cannot be kept is not begun: after a restart it would be another story.
    let grant =
        world.root("jit grant add --user mallory --service sudo --for 1h --mfa none --reason x");
    assert!(!grant.ok(), "{grant:?}");
    assert!(grant.err.contains("No space"), "{grant:?}");
    assert!(!people::becomes_root(&world, "mallory"));
    let enrolled = world.root("jit mfa enroll bob --json");
    assert!(
        !enrolled.ok() && !enrolled.out.contains("secret"),
        "{enrolled:?}"
    );
    assert!(!world.must("ls -R /var/lib/pam_jit").contains("2002"));
    let clock = world.root("jit clock accept");
    println!("{clock:?}");
    // A restart on a full disk: the agent is there, root gets in, nobody else does; nothing that
    // was there is lost.
    world.must("agentctl restart");
    assert!(world.root("sudo id").ok());
    let listed = world.must("jit grant list --json");
    assert!(listed.contains("alices"), "{listed}");
    let mut last = people::sudo(&world, "alice");
    for _ in 0..20 {
        last = people::sudo(&world, "alice");
    }
    assert!(!last.ok() && last.err.contains("pam_jit: "), "{last:?}");
    // To take power away has to work even then: removing needs no room.
    let revoked = world.root("jit grant revoke alices");
    assert!(revoked.ok(), "{revoked:?}");
    make_room(&world);
    assert!(!people::becomes_root(&world, "alice"));
    world.grant("--user alice --service sudo --for 1h");
    assert!(people::becomes_root(&world, "alice"));
    let proof = world.root("jit audit verify --json");
    assert!(proof.json()["ok"] == true, "{proof:?}");
}
