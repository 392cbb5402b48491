//! Sending a plan, as a pure state machine.

mod outcome;
mod request;

pub use outcome::{FailedAttempt, Outcome, Step};
pub use request::{
    Answer, Attempts, BatchEntry, Change, InvalidEntry, Loss, NotSent, Refusal, RefusalCode, Request, Verdict,
};
