//! A wall clock of the agent's own, to be set back and forward.

use crate::World;

/// The environment that makes a program see the world's wall clock.
pub const BY_WALL: &str = "LD_PRELOAD=/opt/world/wall.so";

impl World {
    /// Gives the world a wall clock of its own, for programs that are started with [`BY_WALL`].
    pub fn make_wall(&self) {
        self.set_wall(0, false);
        self.write("/opt/world/wall.c", include_str!("wall.c"));
        self.must("cd /opt/world && cc -Wall -Werror -O1 -shared -fPIC -o wall.so wall.c");
    }

    /// Sets that clock to `offset` seconds after the machine's, synchronised or not.
    pub fn set_wall(&self, offset: i64, synchronised: bool) {
        let text = format!("{offset} {}\n", i32::from(synchronised));
        self.write("/run/wall", &text);
    }

    /// Restarts the agent, from now on with the world's wall clock.
    pub fn restart_by_wall(&self) {
        self.must(&format!("AGENT_ENV={BY_WALL} agentctl restart"));
    }
}
