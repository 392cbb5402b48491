//! The proof that the pure core is right: random worlds, and all that can happen in a small one.

mod choices;
mod properties;
mod regressions;
mod search;
mod small_worlds;
mod story;
mod world;
