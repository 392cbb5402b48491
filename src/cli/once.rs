//! `once`: one cycle. The log says what happened; on a terminal, one sentence sums it up.

use std::io::{self, IsTerminal as _};

use super::{
    Context, Error, Exit,
    invocation::Invocation,
    page::Page,
    setup,
    text::{counted, printable},
};
use crate::{
    cycle::CycleReport,
    daemon::{self, Once},
    events,
    state::{CycleOutcome, Finished},
};

pub(super) async fn once(context: &Context) -> Result<Exit, Error> {
    let stop = daemon::stop_signal()?;
    let engine = setup::engine(&context.config)?;
    match daemon::once(&engine, context.config.state.lease, &stop).await? {
        Once::Done(report) => {
            if io::stdout().is_terminal() {
                let mut page = Page::new(0);
                page.paragraph(&sentence(&report, &context.invocation));
                page.print()?;
            }
            Ok(exit(&report))
        }
        Once::Interrupted => Err(Error::Refused(
            "the cycle was interrupted; nothing is lost, and the next one continues".to_owned(),
        )),
        Once::HeldBy(holder, expires_in) => {
            events::lease_held_by_another(&holder.name, expires_in.as_secs());
            Ok(Exit::Failed)
        }
    }
}

fn exit(report: &CycleReport) -> Exit {
    let is_anything_held = report.finished.as_ref().is_some_and(|finished| finished.held > 0);
    match report.outcome {
        CycleOutcome::Failed => Exit::Failed,
        CycleOutcome::InSync | CycleOutcome::Incomplete if is_anything_held => Exit::Held,
        CycleOutcome::Incomplete => Exit::Incomplete,
        CycleOutcome::InSync => Exit::Ok,
    }
}

/// `900 added, 0 changed, 0 removed; 900 of 900 in sync.`
fn sentence(report: &CycleReport, invocation: &Invocation) -> String {
    let Some(finished) = &report.finished else {
        return "The cycle failed: the state database could not be used.".to_owned();
    };
    let done = done(finished);
    if let Some(error) = &finished.error {
        return format!("The cycle failed: {}. {done}.", printable(&error.message));
    }
    let counts = finished.counts.unwrap_or_default();
    let in_sync = format!("{done}; {} of {} in sync.", counts.in_sync, counts.eligible);
    let mut open = Vec::new();
    for (count, what) in [
        (counts.failing, "failing"),
        (counts.waiting_for_seat, "waiting for a seat"),
        (counts.pending, "pending"),
        (finished.held, "held"),
    ] {
        if count > 0 {
            open.push(format!("{count} {what}"));
        }
    }
    if counts.missing_ids > 0 {
        open.push(format!("{} without an id", counted(counts.missing_ids, "row")));
    }
    if open.is_empty() && finished.outcome == CycleOutcome::InSync {
        return in_sync;
    }
    let status = invocation.command("status");
    if open.is_empty() {
        return format!("{in_sync} {status} says what is open.");
    }
    format!("{in_sync} {}: {status} says more.", open.join(", "))
}

fn done(finished: &Finished) -> String {
    let adopted = match finished.adopted {
        0 => String::new(),
        adopted => format!(", {adopted} adopted"),
    };
    format!(
        "{} added{adopted}, {} changed, {} removed",
        finished.added, finished.updated, finished.removed
    )
}
