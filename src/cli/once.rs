//! `once`: one cycle. The log says what happened; on a terminal, one sentence sums it up.

use std::io::{self, IsTerminal as _};

use super::{Context, Exit, invocation::Invocation, page::say, setup};
use crate::{
    cycle::{CycleError, Memory, report_failure_without_state},
    daemon::{self, Once},
    events,
    state::{Counts, CycleOutcome, Finished},
};

const INTERRUPTED: &str = "The cycle was interrupted; nothing is lost, and the next one continues.";

pub(super) async fn once(context: &Context) -> anyhow::Result<Exit> {
    let stop = daemon::stop_signal()?;
    setup::report_unverified_tls(&context.config);
    let (exit, sentence) = match daemon::once(&context.engine, context.config.lease, &stop).await {
        Ok(Once::Done(report)) => (exit(&report.finished), sentence(&report.finished, &context.invocation)),
        Ok(Once::Interrupted) => (Exit::Failed, INTERRUPTED.to_owned()),
        Ok(Once::HeldBy(holder, expires_in)) => {
            events::lease_held_by_another(&holder.name, expires_in.as_secs());
            let sentence = format!("Nothing was done: {} holds the lease and runs the cycles.", holder.name);
            (Exit::Failed, sentence)
        }
        Err(error) => {
            let failure = CycleError::from(error);
            report_failure_without_state(&failure, &mut Memory::default(), context.engine.unhealthy_after);
            (Exit::Failed, format!("The cycle failed: {failure}."))
        }
    };
    // A script has the log and the exit code; this is for somebody who looks.
    if io::stdout().is_terminal() {
        say(&sentence)?;
    }
    Ok(exit)
}

fn exit(finished: &Finished) -> Exit {
    match finished.outcome {
        CycleOutcome::Failed => Exit::Failed,
        CycleOutcome::Incomplete if finished.held > 0 => Exit::Held,
        CycleOutcome::Incomplete => Exit::Incomplete,
        CycleOutcome::InSync => Exit::Ok,
    }
}

/// `900 added, 0 adopted, 0 changed, 0 removed; 900 of 900 in sync.`
fn sentence(finished: &Finished, invocation: &Invocation) -> String {
    let Finished {
        added,
        adopted,
        updated,
        removed,
        held,
        ..
    } = finished;
    let done = format!("{added} added, {adopted} adopted, {updated} changed, {removed} removed");
    if let Some(error) = &finished.error {
        if error.kind == "interrupted" {
            return INTERRUPTED.to_owned();
        }
        return format!("The cycle failed: {}. {done}.", error.message);
    }
    let counts = finished.counts.unwrap_or_default();
    let in_sync = format!("{done}; {} of {} in sync.", counts.in_sync, counts.eligible);
    if finished.outcome == CycleOutcome::InSync {
        return in_sync;
    }
    let Counts {
        failing,
        waiting_for_seat,
        pending,
        missing_ids,
        ..
    } = counts;
    let status = invocation.command("status");
    format!(
        "{in_sync} {failing} failing, {waiting_for_seat} waiting for a seat, {pending} pending, {held} held, {missing_ids} \
         without an id: {status} says more."
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::CycleFailure;

    fn finished(outcome: CycleOutcome, counts: Counts) -> Finished {
        Finished {
            outcome,
            counts: Some(counts),
            added: 900,
            ..Finished::default()
        }
    }

    fn said(finished: &Finished) -> (String, Exit) {
        (sentence(finished, &Invocation::default()), exit(finished))
    }

    #[test]
    fn a_cycle_is_summed_up_in_one_sentence() {
        let counts = Counts {
            eligible: 900,
            in_sync: 900,
            ..Counts::default()
        };
        let all_well = "900 added, 0 adopted, 0 changed, 0 removed; 900 of 900 in sync.";
        assert_eq!(
            said(&finished(CycleOutcome::InSync, counts)),
            (all_well.to_owned(), Exit::Ok)
        );
    }

    #[test]
    fn what_is_open_is_named() {
        let counts = Counts {
            eligible: 910,
            in_sync: 900,
            failing: 7,
            waiting_for_seat: 2,
            pending: 1,
            missing_ids: 1,
        };
        let mut open = finished(CycleOutcome::Incomplete, counts);
        open.adopted = 3;
        let text = "900 added, 3 adopted, 0 changed, 0 removed; 900 of 910 in sync. 7 failing, 2 waiting for a seat, \
                    1 pending, 0 held, 1 without an id: `wazzup-sync status` says more.";
        assert_eq!(said(&open), (text.to_owned(), Exit::Incomplete));
        open.held = 5;
        assert_eq!(exit(&open), Exit::Held);
    }

    #[test]
    fn a_failure_says_why() {
        let mut failed = finished(CycleOutcome::Failed, Counts::default());
        failed.added = 0;
        failed.error = Some(CycleFailure {
            kind: "wazzup_unauthorized",
            message: "Wazzup does not accept the API key (401)".to_owned(),
        });
        failed.held = 1;
        let text =
            "The cycle failed: Wazzup does not accept the API key (401). 0 added, 0 adopted, 0 changed, 0 removed.";
        assert_eq!(said(&failed), (text.to_owned(), Exit::Failed));
        if let Some(error) = &mut failed.error {
            error.kind = "interrupted";
        }
        assert_eq!(said(&failed), (INTERRUPTED.to_owned(), Exit::Failed));
    }
}
