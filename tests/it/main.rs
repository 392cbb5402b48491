//! The product from outside: the real binary, a real Postgres, and the sandbox over real HTTP.
//!
//! Each test has an [`app::App`]: databases of its own on the server that all share, a sandbox of its own, a
//! configuration file. Each test of a cycle ends with [`app::App::settled`]: run again, and no request is made.

mod app;
mod fake_postgres;
mod probe;
mod process;
mod proxy;
mod terminal;

mod accounts;
mod answers;
mod brake;
mod budget;
mod chaos;
mod configuration;
mod crash;
mod databases;
mod edges;
mod erase;
mod evidence;
mod first_sync;
mod healing;
mod health;
mod holds;
mod hostile;
mod journal;
mod lease;
mod life;
mod lost;
mod memory;
mod outage;
mod pgbouncer;
mod phones;
mod plan;
mod privacy;
mod random_refusals;
mod refusals;
mod removals;
mod retry;
mod runbook;
mod seats;
mod simulation;
mod soak;
mod sources;
mod variants;
mod verbs;
mod verification;
