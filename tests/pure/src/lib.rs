//! The pure core of `wazzup-sync`, compiled from the product's own files: what is tested here is what runs. That it
//! compiles shows that the core needs no runtime, no database, no HTTP client and no log.
//!
//! The tests of this package drive it with a model of everything around it (`tests/pure/world`): random worlds in
//! `properties`, and all that can happen in a small world in `search`.

#[path = "../../../src/delivery/mod.rs"]
pub mod delivery;
#[path = "../../../src/employee/mod.rs"]
pub mod employee;
#[path = "../../../src/plan/mod.rs"]
pub mod plan;
