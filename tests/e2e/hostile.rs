//! Hostile and unlucky cases: what a user controls, what breaks, and what is broken on purpose.

mod agent;
mod crash;
mod disk;
mod files;
mod flood;
mod input;
mod names;
