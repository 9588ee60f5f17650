//! Time set back, forward and wrong: no clock that anybody sets makes a grant last longer. The agent
//! runs with a wall clock of its own (`wall.c`), all else with the machine's.

use jit_tests::{BY_WALL, World, unix_now};
use serde_json::Value;

use crate::people::{BY_GRANT, becomes_root, nopasswd};

const HOUR: i64 = 3600;

/// A world in which alice's sudo takes a grant and nothing else, and the agent has its own wall clock.
fn world(synchronised: bool) -> World {
    let world = World::new();
    nopasswd(&world);
    world.make_wall();
    world.set_wall(0, synchronised);
    world.must("agentctl stop; rm -rf /var/lib/pam_jit");
    world.write("/etc/pam_jit/agent.toml", BY_GRANT);
    world.restart_by_wall();
    world
}

fn clock(world: &World) -> Value {
    world.root("jit clock show --json").json()
}

/// Waits until the agent has noticed what the clock says.
fn until(world: &World, key: &str, value: bool) {
    world.wait_for(&format!("clock: {key}={value}"), || {
        clock(world)[key] == value
    });
}

/// A reboot, as far as the agent can tell: the boot has another name.
fn reboot(world: &World) {
    world.must(
        "agentctl stop; f=/run/boot_id.$(date +%N); cat /proc/sys/kernel/random/uuid >$f; \
         mount --bind $f /proc/sys/kernel/random/boot_id",
    );
    world.restart_by_wall();
}

#[test]
fn a_clock_set_back_revives_no_grant() {
    for synchronised in [false, true] {
        let world = world(synchronised);
        world.grant("--user alice --service sudo --for 4s");
        assert!(becomes_root(&world, "alice"));
        world.wait_for("the end", || !becomes_root(&world, "alice"));
        // Whoever sets the clock by hand clears the kernel's flag.
        for offset in [-60, -HOUR, -400 * 24 * HOUR] {
            world.set_wall(offset, false);
            assert!(!becomes_root(&world, "alice"), "{offset}");
            world.restart_by_wall();
            assert!(!becomes_root(&world, "alice"), "{offset}, after a restart");
            world.must("agentctl kill9");
            world.must(&format!("AGENT_ENV={} agentctl start", BY_WALL));
            assert!(!becomes_root(&world, "alice"), "{offset}, after kill -9");
        }
        world.logged(&[
            "event=decision",
            "outcome=deny",
            "reason=expired",
            "user=alice",
        ]);
    }
}

#[test]
fn a_source_of_time_that_lies_takes_back_two_minutes_a_day_and_no_more() {
    let world = world(true);
    until(&world, "synchronised", true);
    let behind = || {
        let trusted = clock(&world)["trusted"].as_str().unwrap().to_owned();
        let trusted = world.must(&format!("date -d {trusted} +%s"));
        unix_now().saturating_sub(trusted.trim().parse().unwrap())
    };
    assert!(behind() <= 1);
    for _ in 0..3 {
        world.set_wall(-HOUR, true);
        world.wait_for("the step back", || behind() > 100);
        world.restart_by_wall();
        // Two seconds for the rounding of both clocks.
        assert!(behind() <= 122, "{} s behind", behind());
    }
}

#[test]
fn a_clock_set_back_while_a_grant_runs_does_not_make_it_longer() {
    let world = world(true);
    until(&world, "synchronised", true);
    world.grant("--user alice --service sudo --for 6s");
    assert!(becomes_root(&world, "alice"));
    world.set_wall(-24 * HOUR, false);
    assert!(becomes_root(&world, "alice"), "nor shorter");
    world.wait_for("the end by trusted time", || !becomes_root(&world, "alice"));
}

#[test]
fn a_clock_set_forward_ends_grants_and_begins_none() {
    let world = world(true);
    until(&world, "synchronised", true);
    world.grant("--user alice --service sudo --for 30m");
    let bob = world.must("date -u -d '+30 min' +%FT%TZ");
    world.grant(&format!(
        "--user bob --service sudo --from {} --for 4h",
        bob.trim()
    ));
    assert!(becomes_root(&world, "alice") && !becomes_root(&world, "bob"));
    world.set_wall(HOUR, false);
    assert!(!becomes_root(&world, "alice"), "ended by the later clock");
    assert!(
        !becomes_root(&world, "bob"),
        "not begun by the earlier clock"
    );
    world.logged(&["outcome=deny", "user=bob", "reason=not_started"]);
    assert!(
        clock(&world)["trouble"]
            .as_str()
            .unwrap()
            .contains("jit clock accept")
    );
    world.logged(&["event=clock", "outcome=disagree"]);
    // Set right again, all is as before: a jump that nobody vouched for leaves nothing behind.
    world.set_wall(0, false);
    assert!(becomes_root(&world, "alice") && !becomes_root(&world, "bob"));
}

#[test]
fn a_synchronised_clock_is_followed_forward() {
    let world = world(true);
    let bob = world.must("date -u -d '+30 min' +%FT%TZ");
    world.grant(&format!(
        "--user bob --service sudo --from {} --for 4h",
        bob.trim()
    ));
    assert!(!becomes_root(&world, "bob"));
    world.set_wall(HOUR, true);
    world.wait_for("bob's grant to begin", || becomes_root(&world, "bob"));
    world.logged(&["event=clock", "outcome=moved"]);
}

#[test]
fn root_may_accept_the_wall_clock() {
    let world = world(false);
    let bob = world.must("date -u -d '+30 min' +%FT%TZ");
    world.grant(&format!(
        "--user bob --service sudo --from {} --for 4h",
        bob.trim()
    ));
    world.set_wall(HOUR, false);
    assert!(!becomes_root(&world, "bob"));
    let refused = world.run_as("alice", "jit clock accept");
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(!becomes_root(&world, "bob"));
    world.must("jit clock accept");
    assert!(becomes_root(&world, "bob"));
    assert!(clock(&world)["trouble"].is_null());
    world.logged(&["event=clock", "outcome=accepted", "by=root"]);
}

#[test]
fn a_wall_clock_below_the_floor_at_boot_holds_no_grant() {
    let world = world(true);
    until(&world, "synchronised", true);
    world.grant("--user alice --service sudo --for 30m");
    assert!(becomes_root(&world, "alice"));
    world.set_wall(-HOUR, false);
    reboot(&world);
    assert_eq!(clock(&world)["settled"], false);
    assert!(!becomes_root(&world, "alice"));
    world.logged(&[
        "event=decision",
        "outcome=deny",
        "user=alice",
        "reason=clock",
    ]);
    world.logged(&["event=clock", "outcome=unsettled"]);
    assert!(world.must("sudo id").contains("uid=0(root)"));
    // Synchronisation mends it by itself.
    world.set_wall(0, true);
    world.wait_for("the clock to settle", || becomes_root(&world, "alice"));
    world.logged(&["event=clock", "outcome=settled"]);
}

#[test]
fn a_grant_that_ended_stays_ended_over_a_reboot() {
    let world = world(true);
    until(&world, "synchronised", true);
    world.grant("--user alice --service sudo --for 3s");
    world.wait_for("the end", || !becomes_root(&world, "alice"));
    for (offset, flag) in [(-HOUR, false), (-10, false), (0, true)] {
        world.set_wall(offset, flag);
        reboot(&world);
        assert!(!becomes_root(&world, "alice"), "{offset}");
    }
}

#[test]
fn one_wrong_clock_at_boot_does_not_outlive_its_boot() {
    let world = world(true);
    until(&world, "synchronised", true);
    world.grant("--user alice --service sudo --for 30m");
    // The chip says next year: everything has ended, for as long as this boot lasts.
    world.set_wall(365 * 24 * HOUR, false);
    reboot(&world);
    assert!(!becomes_root(&world, "alice"));
    world.set_wall(0, false);
    reboot(&world);
    assert!(becomes_root(&world, "alice"), "{:?}", clock(&world));
}

#[test]
fn codes_go_by_the_wall_clock_and_a_spent_one_stays_spent() {
    let world = World::new();
    world.make_wall();
    world.restart_by_wall();
    let factor = world.enroll("alice");
    world.grant("--user alice --service sudo --for 4h");
    let code = world.code("alice");
    assert!(world.type_at("alice", "sudo id", &code).ok());
    // An hour later, and then back: the step is spent.
    world.set_wall(HOUR, false);
    let later = factor.code_at(unix_now() + 3600);
    assert!(world.type_at("alice", "sudo id", &later).ok());
    world.set_wall(0, false);
    for used in [code, world.code("alice")] {
        let ended = world.type_at("alice", "sudo id", &used);
        assert!(
            !ended.ok(),
            "a step below the last accepted one: {}",
            ended.text
        );
    }
}
