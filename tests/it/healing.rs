//! How many cycles it takes until a fault has left no trace: each fault strikes one cycle of a day with changes of every
//! kind, and then ends. `make evidence` plays each fault for more kinds of requests than a plain run.

use std::fmt::Write as _;

use futures_util::StreamExt as _;
use sandbox::{Fault, What, When};

use crate::{
    app::{App, phone},
    evidence,
};

/// A fault, and which requests it strikes.
#[derive(Clone)]
struct Trouble {
    what: What,
    described: &'static str,
    target: When,
    target_described: &'static str,
}

/// How long a trouble was felt.
struct Healing {
    trouble: Trouble,
    /// Cycles after the fault until Wazzup had what the CRM says.
    cycles_to_agree: usize,
    /// Cycles after the fault until no lost request was left, twice the time-out having passed after the first of them.
    cycles_to_settle: usize,
}

/// No fault may be felt for longer.
const MOST_CYCLES: usize = 3;

fn troubles() -> Vec<Trouble> {
    let faults = [
        (What::CutBefore, "reset before acting"),
        (What::CutAfter, "reset after acting"),
        (What::SilenceBefore, "silence, without acting"),
        (What::SilenceAfter, "acting, then silence"),
        (What::HoldBack, "reset, acting two cycles later"),
        (What::status(500), "500"),
        (What::status(502), "502"),
        (What::status(403), "403 for these requests alone"),
        (What::status(404), "404 for these requests alone"),
        (What::html(200), "200 with a web page"),
        (What::html(503), "503 with a web page"),
        (What::act_then_answer(502, "<html>"), "acting, then 502"),
        (What::with_header(429, "retry-after", "1"), "429"),
    ];
    let mut targets = vec![(When::Writes, "all writes"), (When::Any, "everything")];
    if evidence::is_wanted() {
        targets.extend([
            (When::Post, "upserts"),
            (When::BulkDelete, "removals"),
            (When::Reads, "reads"),
        ]);
    }
    let mut troubles = Vec::new();
    for (what, described) in faults {
        for (target, target_described) in &targets {
            troubles.push(Trouble {
                what: what.clone(),
                described,
                target: *target,
                target_described,
            });
        }
    }
    troubles
}

/// A swap of phones, a rename, two hires and a leaver, met by the trouble; then cycles until no trace of it is left.
async fn heals(trouble: Trouble) -> Healing {
    let mut app = App::with_employees(12).await;
    app.set("wazzup.timeout", "1s").set("state.lease", "10s");
    app.once_exits(0).await;
    app.set_phone("e001", Some(&phone(2))).await;
    app.set_phone("e002", Some(&phone(1))).await;
    app.rename("e003", "Renamed").await;
    app.hire("new1", "New One", None).await;
    app.hire("new2", "New Two", Some(&phone(12))).await;
    app.fire(&["e012"]).await;
    app.wazzup
        .order(Fault::new(trouble.target, trouble.what.clone()).always());
    app.once().await;
    app.wazzup.clear_faults();

    let mut cycles_to_agree = None;
    for cycle in 0.. {
        assert!(
            cycle <= MOST_CYCLES,
            "still felt after {cycle} cycles: {:?}\n{}",
            app.failing().await,
            app.requests_as_text()
        );
        if cycles_to_agree.is_none() && wazzup_agrees(&app) {
            cycles_to_agree = Some(cycle);
        }
        let traces = "SELECT (SELECT count(*) FROM wazzup_sync.lost) + (SELECT count(*) FROM wazzup_sync.in_flight) \
                      + (SELECT count(*) FROM wazzup_sync.failures)";
        let settled = app.state_number(traces).await == 0;
        if let Some(cycles_to_agree) = cycles_to_agree.filter(|_| settled && wazzup_agrees(&app)) {
            app.settled().await;
            return Healing {
                trouble,
                cycles_to_agree,
                cycles_to_settle: cycle,
            };
        }
        if cycle == 1 {
            app.wazzup.land_late();
            app.expire_losses().await;
            app.make_verification_due().await;
        }
        app.make_failures_due().await;
        app.once().await;
    }
    unreachable!("the loop ends by itself")
}

fn wazzup_agrees(app: &App) -> bool {
    let mut expected: Vec<(String, String, Option<String>)> = (1..12)
        .map(|number| {
            (
                format!("e{number:03}"),
                format!("Employee {number}"),
                Some(phone(number)),
            )
        })
        .collect();
    expected[0].2 = Some(phone(2));
    expected[1].2 = Some(phone(1));
    "Renamed".clone_into(&mut expected[2].1);
    expected.push(("new1".to_owned(), "New One".to_owned(), None));
    expected.push(("new2".to_owned(), "New Two".to_owned(), Some(phone(12))));
    app.users() == expected
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_fault_is_felt_for_more_than_three_cycles() {
    let healed = futures_util::stream::iter(troubles()).map(|trouble| async move {
        let name = format!("{} of {}", trouble.described, trouble.target_described);
        tokio::spawn(heals(trouble)).await.map_err(|_| name)
    });
    let healed: Vec<Result<Healing, String>> = healed.buffered(6).collect().await;
    let unhealed: Vec<&String> = healed.iter().filter_map(|result| result.as_ref().err()).collect();
    assert!(unhealed.is_empty(), "{unhealed:#?}");
    let healed: Vec<Healing> = healed.into_iter().filter_map(Result::ok).collect();
    evidence::publish("healing", &table(&healed));
}

/// A row for each fault, a column for each target.
fn table(healed: &[Healing]) -> String {
    let mut text = "| fault | of all writes | of everything | of upserts | of removals | of reads |\n\
                    |---|---|---|---|---|---|\n"
        .to_owned();
    for row in healed.chunk_by(|a, b| a.trouble.described == b.trouble.described) {
        write!(text, "| {} |", row[0].trouble.described).expect("a text grows");
        for healing in row {
            write!(text, " {} / {} |", healing.cycles_to_agree, healing.cycles_to_settle).expect("a text grows");
        }
        text.push('\n');
    }
    text
}
