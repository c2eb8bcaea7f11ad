//! A simulator: the server's real driver, store, mailbox and outbox against a model of LDK, phones, pushes and clocks, with
//! faults. One seed is one world, and always the same one.

mod away;
pub mod clock;
mod devices;
mod faults;
pub mod finish;
mod kept;
pub mod keys;
pub mod ldk;
mod mail;
pub mod ops;
pub mod pinned;
pub mod process;
pub mod rng;
pub mod run;
pub mod trace;
pub mod world;

use std::path::Path;

pub use trace::Trace;

use world::World;

/// Operations in one world, at least and at most.
const OPERATIONS: (u64, u64) = (20, 60);

/// Runs the world of a seed, with its database in a folder that is its own.
pub fn simulate(seed: u64, folder: &Path) -> Trace {
    let mut world = World::new(seed, folder);
    for _ in 0..world.rng.between(OPERATIONS.0, OPERATIONS.1) {
        world.operate();
        if !world.model.lock().trace.violations().is_empty() {
            return world.end();
        }
    }
    world.stay_away();
    world.finish();
    world.end()
}

impl World {
    fn end(mut self) -> Trace {
        if let Some(process) = self.process.take() {
            process.kill();
        }
        self.model.lock().trace.clone()
    }
}
