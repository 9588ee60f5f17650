//! `kill -9` of the agent at any instant while codes are used: a code works once, whatever happens
//! between "right" and "spent".

use std::time::{SystemTime, UNIX_EPOCH};

use jit_tests::World;

use crate::people;

/// A number that differs from call to call: when the blow falls has to vary, not to be secret.
fn any(below: u32) -> u32 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    now.subsec_micros() % below
}

/// Stands for a code that is not there yet.
const FROM_THE_APP: &str = "";

#[test]
fn a_code_never_works_twice() {
    let world = World::new();
    people::nopasswd(&world);
    // A proof of the session would hide whether the code worked.
    world.config("[agent]\nhost = \"web1\"\n[service.sudo]\nmode = \"enforce\"\ngrant = true\nmfa = \"always\"\n");
    let mut codes = Vec::new();
    for user in ["alice", "bob", "carol", "mallory"] {
        world.grant(&format!("--user {user} --service sudo --for 1h"));
        let factor = world.enroll(user);
        codes.extend(factor.recovery.into_iter().take(8).map(|code| (user, code)));
        codes.push((user, FROM_THE_APP.to_owned()));
    }
    let mut worked = [0; 3];
    for (user, code) in &mut codes {
        if code == FROM_THE_APP {
            // Not earlier: it is right for half a minute.
            *code = world.code(user);
        }
        let mut first = world.pty(user, "sudo id");
        first.expect("One-time code: ");
        let agent = world.must("agentctl pid");
        // The killer waits in the world with its hand raised; it falls before, in or after the
        // few milliseconds that an exchange takes.
        let mut killer = world.pty(
            "root",
            &format!(
                "echo ready; read x; sleep 0.{:03}; kill -KILL {agent}",
                any(10)
            ),
        );
        killer.expect("ready");
        killer.send("now");
        first.send(code);
        let ended = first.end();
        let _ = killer.end();
        let once = ended.says("uid=0(root)");
        world.must("agentctl kill9; agentctl start");
        let ended = world.type_at(user, "sudo id", code);
        let twice = ended.says("uid=0(root)");
        assert!(!(once && twice), "{user}'s code worked twice");
        if once {
            assert!(ended.says("used already"), "{user}: {ended:?}");
        }
        let thrice = world.type_at(user, "sudo id", code);
        assert!(!thrice.says("uid=0(root)"), "{user}: {thrice:?}");
        worked[match (once, twice) {
            (true, _) => 0,
            (_, true) => 1,
            _ => 2,
        }] += 1;
        let proof = world.root("jit audit verify --json");
        assert!(proof.json()["ok"] == true, "{proof:?}");
    }
    println!("worked at once, after the blow, not at all: {worked:?}");
    let recorded = world.must("jit audit show -n 0 --event mfa --json");
    assert!(recorded.contains("\"outcome\":\"passed\""));
    for (_, code) in &codes {
        assert!(!recorded.contains(code.as_str()));
    }
}

#[test]
fn what_was_done_before_the_blow_is_still_done() {
    let world = World::new();
    people::nopasswd(&world);
    world.config(people::BY_GRANT);
    for round in 0..6 {
        let kept = world.grant("--user alice --service sudo --for 1h");
        world.must("agentctl kill9; agentctl start");
        assert!(people::becomes_root(&world, "alice"), "{round}");
        world.must(&format!(
            "jit grant revoke {kept}; agentctl kill9; agentctl start"
        ));
        assert!(!people::becomes_root(&world, "alice"), "{round}");
        world.enroll("bob");
        world.must("agentctl kill9; agentctl start");
        let status = world.must("jit mfa status bob --json");
        assert!(status.contains("\"enrolled\""), "{status}");
        world.must("jit mfa reset bob; agentctl kill9; agentctl start");
        let status = world.must("jit mfa status bob --json");
        assert!(status.contains("\"none\""), "{status}");
    }
    let proof = world.root("jit audit verify --json");
    assert!(proof.json()["ok"] == true, "{proof:?}");
}

#[test]
fn a_revocation_whose_answer_was_cut_off_is_whole_or_not_there() {
    let world = World::new();
    people::nopasswd(&world);
    world.config(people::BY_GRANT);
    for _ in 0..10 {
        let id = world.grant("--user alice --service sudo --for 1h");
        let agent = world.must("agentctl pid");
        let said = world.root(&format!(
            "(sleep 0.00{}; kill -KILL {agent}) & jit grant revoke {id}; code=$?; wait; exit $code",
            any(10)
        ));
        world.must("agentctl kill9; agentctl start");
        let in_force = people::becomes_root(&world, "alice");
        assert!(
            !(said.ok() && in_force),
            "said to be revoked, and in force: {said:?}"
        );
        world.root(&format!("jit grant revoke {id}"));
        assert!(!people::becomes_root(&world, "alice"));
    }
}
