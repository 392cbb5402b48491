//! What is in flight, what was lost, and what settles it.

use super::*;

#[tokio::test]
async fn a_request_goes_into_the_journal_and_out_with_its_answer() {
    let fixture = Fixture::new().await;
    let cycle = fixture.open().await.cycle;
    let first = upsert(&[
        ("1", "Anna", Some("79261234567"), Change::Add),
        ("2", "Boris", None, Change::Adopt),
    ]);
    fixture.record_start(cycle, &Marks::default(), Some(&first)).await;
    assert_eq!(fixture.sql("SELECT count(*) FROM wazzup_sync.in_flight_entries"), "2");
    let next = upsert(&[("2", "Bob", None, Change::Update)]);
    let step = Step {
        next: Some(next),
        ..acknowledged()
    };
    fixture.record(cycle, step).await;
    assert_eq!(fixture.sql("SELECT name FROM wazzup_sync.in_flight_entries"), "Bob");
    fixture.record(cycle, acknowledged()).await;
    assert_eq!(fixture.sql("SELECT count(*) FROM wazzup_sync.in_flight"), "0");
    fixture.finish(cycle, &finished(CycleOutcome::InSync), KEEP).await;

    let opening = fixture.open().await;
    assert_eq!(opening.cycle.id, cycle.id + 1);
    let anna = opening.snapshot.users[&id("1")]
        .acknowledged
        .clone()
        .expect("acknowledged");
    assert_eq!(
        (anna.name, anna.phone.map(Phone::digits)),
        (name("Anna"), Some(79_261_234_567))
    );
    assert_eq!(anna.phone_spelling, Some(Spelling::from_stored("RU +79261234567")));
    assert!(opening.snapshot.lost.is_empty());

    let history = fixture.state.history("2", 10).await.expect("a history");
    let changes: Vec<_> = history
        .iter()
        .map(|entry| {
            (
                entry.operation,
                entry.name_before.as_deref(),
                entry.name_after.as_deref(),
            )
        })
        .collect();
    assert_eq!(
        changes,
        [
            (HistoryOperation::Update, Some("Boris"), Some("Bob")),
            (HistoryOperation::Adopt, None, Some("Boris"))
        ]
    );
    let overview = fixture.state.overview(10).await.expect("an overview");
    assert_eq!(
        (overview.managed, overview.unsettled, overview.recent_cycles.len()),
        (2, 0, 1)
    );
    assert_eq!(overview.added_lately, ["1"]);
}

#[tokio::test]
async fn what_is_in_flight_when_a_cycle_begins_was_lost() {
    let fixture = Fixture::new().await;
    let cycle = fixture.open().await.cycle;
    fixture
        .record_start(cycle, &Marks::default(), Some(&add("1", "Anna")))
        .await;

    let peek = fixture.state.peek().await.expect("a peek");
    assert!(peek.snapshot.users[&id("1")].acknowledged.is_none());
    assert_eq!(peek.snapshot.lost_entries(&id("1")).len(), 1);
    assert_eq!(
        fixture.sql("SELECT count(*) FROM wazzup_sync.lost"),
        "0",
        "a peek writes nothing"
    );

    let opening = fixture.open().await;
    assert!(opening.snapshot.users[&id("1")].acknowledged.is_none());
    assert_eq!(lost_names(&opening, "1"), [Some("Anna")]);
    let entry = &opening.snapshot.lost_entries(&id("1"))[0];
    assert_eq!(entry.lost_at, opening.cycle.now);
    assert_eq!(
        entry.may_land_until,
        opening.cycle.now + SignedDuration::from_millis(400)
    );

    // The same entry lost again moves its time, and another one is another row.
    fixture
        .record_start(opening.cycle, &Marks::default(), Some(&add("1", "Anna")))
        .await;
    let step = Step {
        next: Some(add("1", "Anne")),
        ..lost(Loss::Over)
    };
    fixture.record(opening.cycle, step).await;
    let later = fixture.open().await;
    assert_eq!(lost_names(&later, "1"), [Some("Anna"), Some("Anne")]);
    assert_eq!(
        later.snapshot.lost_entries(&id("1"))[0].may_land_until,
        entry.may_land_until
    );
}

#[tokio::test]
async fn only_a_request_that_was_sent_after_the_lost_one_could_land_settles_it() {
    let fixture = Fixture::new().await;
    let cycle = fixture.open().await.cycle;
    // Answered, and an earlier attempt of it was lost all the same.
    fixture
        .record_start(cycle, &Marks::default(), Some(&add("1", "Anna")))
        .await;
    let step = Step {
        loss: Loss::MayLand,
        ..acknowledged()
    };
    fixture.record(cycle, step).await;
    let opening = fixture.open().await;
    assert!(opening.snapshot.users[&id("1")].acknowledged.is_some());
    assert_eq!(lost_names(&opening, "1"), [Some("Anna")]);

    // Sent too early.
    let resend = || upsert(&[("1", "Anne", None, Change::Resend)]);
    fixture.record_start(cycle, &Marks::default(), Some(&resend())).await;
    until_nothing_can_land().await;
    fixture.record(cycle, acknowledged()).await;
    assert_eq!(lost_names(&fixture.open().await, "1"), [Some("Anna")]);

    // A request that was over when it was noted is settled by the very next one.
    fixture
        .record_start(cycle, &Marks::default(), Some(&add("1", "Anja")))
        .await;
    let step = Step {
        next: Some(resend()),
        ..lost(Loss::Over)
    };
    fixture.record(cycle, step).await;
    fixture.record(cycle, acknowledged()).await;
    assert!(fixture.open().await.snapshot.lost.is_empty());
}

#[tokio::test]
async fn a_removal_leaves_a_bare_row_where_a_lost_upsert_may_bring_the_user_back() {
    let fixture = Fixture::new().await;
    let opening = fixture.open().await;
    let cycle = opening.cycle;
    let both = upsert(&[("1", "Anna", None, Change::Add), ("2", "Boris", None, Change::Add)]);
    fixture.deliver(cycle, both, acknowledged()).await;
    fixture
        .record_start(
            cycle,
            &Marks::default(),
            Some(&upsert(&[("1", "Anne", None, Change::Update)])),
        )
        .await;
    fixture.record(cycle, lost(Loss::MayLand)).await;
    let marks = Marks {
        newly_absent: vec![id("1"), id("2")],
        opened_holds: ["1", "2"]
            .map(|user_id| {
                (
                    HoldKey::new(HoldKind::Remove, user_id),
                    hold("since", Some("olga@office")),
                )
            })
            .into(),
        ..Marks::default()
    };
    fixture.record_start(cycle, &marks, Some(&remove(&["1", "2"]))).await;
    let step = Step {
        absent: vec![id("2")],
        ..acknowledged()
    };
    fixture.record(cycle, step).await;

    let opening = fixture.open().await;
    let anna = &opening.snapshot.users[&id("1")];
    assert_eq!((&anna.acknowledged, anna.absent_since), (&None, Some(cycle.now)));
    assert!(anna.synced_at.is_some() && !opening.snapshot.users.contains_key(&id("2")));
    let holds: Vec<_> = opening.snapshot.holds.keys().map(|key| &*key.user_id).collect();
    assert_eq!(holds, ["1"], "the approval stays with the bare row");
    assert!(
        opening
            .snapshot
            .recent_removals
            .values()
            .all(|removal| removal.approved)
    );
    assert_eq!(opening.snapshot.recent_removals.len(), 2);
    let boris = fixture.state.history("2", 1).await.expect("a history").remove(0);
    assert_eq!(
        (boris.was_absent, boris.approved_by.as_deref()),
        (true, Some("olga@office"))
    );
    assert_eq!(
        (boris.name_before.as_deref(), boris.phone_before),
        (Some("Boris"), None)
    );
    assert_eq!(
        fixture.state.erase("1").await.expect("an answer"),
        Erasure::InLostRequest
    );

    until_nothing_can_land().await;
    fixture.deliver(cycle, remove(&["1"]), acknowledged()).await;
    let opening = fixture.open().await;
    assert!(opening.snapshot.users.is_empty() && opening.snapshot.lost.is_empty() && opening.snapshot.holds.is_empty());
}

#[tokio::test]
async fn each_change_is_in_the_history_by_its_name() {
    use Change::{Add, Adopt, Release, Resend, TakeOver, Update};
    let fixture = Fixture::new().await;
    let cycle = fixture.open().await.cycle;
    for change in [Add, Adopt, TakeOver, Update, Release, Resend] {
        let request = upsert(&[("1", "Anna", None, change)]);
        fixture.deliver(cycle, request, acknowledged()).await;
        let newest = fixture.state.history("1", 1).await.expect("a history").remove(0);
        assert_eq!(
            serde_json::json!(newest)["operation"],
            change.as_ref(),
            "as `explain` shows it"
        );
    }
}
