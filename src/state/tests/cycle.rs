//! Orders, marks, and what is left of a cycle.

use super::*;

#[tokio::test]
async fn orders_are_taken_by_the_next_cycle() {
    let fixture = Fixture::new().await;
    let cycle = fixture.open().await.cycle;
    fixture.deliver(cycle, add("1", "Anna"), acknowledged()).await;
    let update = HoldKey::new(HoldKind::Update, "1");
    let takeover = HoldKey::new(HoldKind::Takeover, "2");
    let crm_row = Some(r#"{"name":"Bob","phone":null}"#.to_owned());
    let held_takeover = Hold {
        crm_row,
        ..hold("Boris", None)
    };
    let marks = Marks {
        opened_holds: Holds::from([
            (update.clone(), hold("Anne", None)),
            (takeover.clone(), held_takeover.clone()),
        ]),
        ..Marks::default()
    };
    fixture.record_start(cycle, &marks, None).await;
    let refused = Failure {
        request_id: Some("ab-1".into()),
        name: Some(name("Clara")),
        phone: Phone::parse("79261234567"),
        ..failure("3", Operation::Upsert, false)
    };
    let charged = Failures::from([(refused.key.clone(), refused.clone())]);
    for failed in [charged.clone(), Failures::new(), charged] {
        let step = Step {
            failed,
            ..Step::default()
        };
        fixture.record(cycle, step).await;
    }
    let open = fixture.open().await.snapshot.failures;
    let open = &open[&refused.key];
    assert_eq!(open.failure, refused);
    assert!(open.first_at < open.last_at, "the same values were attempted again");
    assert_eq!(open.next_attempt_at, Some(open.last_at + SignedDuration::from_mins(5)));
    let waiting = BTreeSet::from([id("4")]);
    let end = Finished {
        waiting_ids: Some(waiting),
        ..finished(CycleOutcome::Incomplete)
    };
    fixture.finish(cycle, &end, KEEP).await;

    // What is approved is the take-over for another row.
    let approvals = Holds::from([
        (update.clone(), hold("Anne", None)),
        (takeover.clone(), hold("Boris", None)),
    ]);
    let ordered = fixture.state.order_approvals(&approvals, "olga@office");
    ordered.await.expect("ordered");
    let ids = ["1", "2", "3", "4"].map(str::to_owned);
    fixture.state.order_retry(&ids, "olga@office").await.expect("ordered");

    let shown = fixture.state.overview(1).await.expect("an overview").holds;
    let approved: Vec<_> = shown
        .iter()
        .map(|(key, hold)| (key.kind, hold.approved.is_some()))
        .collect();
    assert_eq!(approved, [(HoldKind::Update, true), (HoldKind::Takeover, false)]);
    let peek = fixture.state.peek().await.expect("a peek").snapshot;
    let opening = fixture.open().await;
    for snapshot in [&peek, &opening.snapshot] {
        assert!(snapshot.account.retry_seats, "4 waits for a seat");
        assert!(snapshot.holds[&update].is_approved_for("Anne") && snapshot.holds[&takeover].approved.is_none());
        assert_eq!(snapshot.holds[&takeover], held_takeover);
        assert_eq!(snapshot.lost_entries(&id("1")).len(), 1, "who is in sync is sent again");
        assert_eq!(snapshot.lost.len(), 1);
    }
    assert_eq!(opening.orders.approved.keys().collect::<Vec<_>>(), [&update]);
    let known = ["1", "2", "3", "4", "9"].map(|user_id| opening.snapshot.knows(user_id));
    assert_eq!(known, [true, true, true, true, false]);
    assert_eq!(opening.orders.dropped[0].0, takeover);
    assert_eq!(
        fixture.sql("SELECT count(*) FROM wazzup_sync.inbox"),
        "6",
        "a cycle without a plan leaves them"
    );
    let marks = Marks::default();
    let begun = fixture
        .state
        .record_start(&fixture.lease, opening.cycle, &opening.orders, &marks, None);
    begun.await.expect("the orders are written down");
    assert_eq!(
        fixture.sql("SELECT next_attempt_at <= now() FROM wazzup_sync.failures"),
        "t"
    );
    assert_eq!(fixture.sql("SELECT count(*) FROM wazzup_sync.inbox"), "0");

    // An approval is used up by the update, not by the release before it.
    for change in [Change::Release, Change::Update] {
        assert!(fixture.open().await.snapshot.holds.contains_key(&update));
        fixture
            .deliver(opening.cycle, upsert(&[("1", "Anne", None, change)]), acknowledged())
            .await;
    }
    let opening = fixture.open().await;
    assert!(!opening.snapshot.holds.contains_key(&update) && opening.snapshot.lost.is_empty());
    assert!(!opening.snapshot.account.retry_seats);
    assert_eq!(opening.snapshot.retryable(), BTreeSet::from(["3", "4"]));
    fixture.state.order_retry(&[], "olga@office").await.expect("ordered");
    assert!(fixture.open().await.snapshot.account.retry_seats);
}

#[tokio::test]
async fn marks_are_written_down_before_the_first_request() {
    let fixture = Fixture::new().await;
    let cycle = fixture.open().await.cycle;
    fixture.deliver(cycle, add("1", "Anna"), acknowledged()).await;
    fixture
        .record_start(cycle, &Marks::default(), Some(&add("2", "Boris")))
        .await;
    fixture.record(cycle, lost(Loss::MayLand)).await;
    let unreadable = |user_id| failure(user_id, Operation::Phone, true);
    let marks = Marks {
        newly_absent: vec![id("1")],
        opened_failures: vec![unreadable("2"), unreadable("3")],
        forgotten: vec![id("2")],
        ..Marks::default()
    };
    fixture.record_start(cycle, &marks, None).await;
    let snapshot = fixture.open().await.snapshot;
    assert_eq!(snapshot.users.keys().collect::<Vec<_>>(), [&id("1")]);
    assert_eq!(snapshot.users[&id("1")].absent_since, Some(cycle.now));
    assert!(snapshot.lost.is_empty());
    assert_eq!(
        snapshot.failures.len(),
        2,
        "the rows of an id that is not ours are as bad as before"
    );
    let open = &snapshot.failures[&unreadable("2").key];
    assert_eq!((&open.failure, open.next_attempt_at), (&unreadable("2"), None));

    let marks = Marks {
        returned: vec![id("1")],
        closed_failures: vec![FailureKey::new("2", Operation::Phone)],
        ..Marks::default()
    };
    fixture.record_start(cycle, &marks, None).await;
    let snapshot = fixture.open().await.snapshot;
    assert_eq!(
        (snapshot.users[&id("1")].absent_since, snapshot.failures.len()),
        (None, 1)
    );

    let list = AccountProof {
        fingerprint: "0123456789abcdef".into(),
        seats_used: Some(3),
        foreign_users: Some(1),
    };
    let end = Finished {
        account_proof: Some(list),
        had_list: true,
        ..finished(CycleOutcome::InSync)
    };
    fixture.finish(cycle, &end, KEEP).await;
    let step = Step {
        seats_taken: -1,
        seats: Some(Seats {
            used: None,
            limit: Some(5),
        }),
        ..Step::default()
    };
    fixture.record(cycle, step).await;
    let facts = fixture.open().await.snapshot.account;
    assert_eq!(
        (facts.fingerprint.as_deref(), facts.seats.used, facts.seats.limit),
        (Some("0123456789abcdef"), Some(2), Some(5))
    );

    let marks = Marks {
        forgets_account: true,
        ..Marks::default()
    };
    fixture.record_start(cycle, &marks, None).await;
    let snapshot = fixture.open().await.snapshot;
    assert!(snapshot.users.is_empty() && snapshot.failures.is_empty());
    assert_eq!(
        (snapshot.account.fingerprint, snapshot.account.seats.used),
        (None, None)
    );
}

#[tokio::test]
async fn old_history_is_pruned_and_a_departed_person_erased() {
    let fixture = Fixture::new().await;
    let cycle = fixture.open().await.cycle;
    fixture.deliver(cycle, add("1", "Anna"), acknowledged()).await;
    fixture
        .deliver(cycle, upsert(&[("1", "Anne", None, Change::Update)]), acknowledged())
        .await;
    assert_eq!(
        fixture.state.erase("1").await.expect("an answer"),
        Erasure::StillManaged
    );
    fixture.deliver(cycle, remove(&["1"]), acknowledged()).await;
    fixture.finish(cycle, &finished(CycleOutcome::InSync), KEEP).await;

    assert_eq!(
        fixture.state.erase("1").await.expect("an answer"),
        Erasure::Erased { rows: 3 }
    );
    assert_eq!(
        fixture.sql("SELECT count(*), count(name_before), count(name_after) FROM wazzup_sync.history"),
        "3|0|0"
    );

    // Younger than 24 hours and 7 days: the removal and the addition stay, bare; the update goes.
    fixture.sql("UPDATE wazzup_sync.history SET at = at - interval '23 hours', name_before = 'Anna'");
    let keep = SignedDuration::from_hours(1);
    fixture.finish(cycle, &Finished::default(), keep).await;
    assert_eq!(
        fixture.sql("SELECT count(*) FROM wazzup_sync.history"),
        "3",
        "pruned an hour ago at most"
    );
    fixture.sql(
        "UPDATE wazzup_sync.accounts SET pruned_at = now() - interval '1 hour'; \
            UPDATE wazzup_sync.cycles SET finished_at = now() - interval '1 hour'",
    );
    fixture.finish(cycle, &Finished::default(), keep).await;
    let rest = "SELECT string_agg(operation, ' ' ORDER BY at), count(name_before) FROM wazzup_sync.history";
    assert_eq!(fixture.sql(rest), "add remove|0");
    assert_eq!(fixture.sql("SELECT count(*) FROM wazzup_sync.cycles"), "0");
    assert_eq!(fixture.open().await.snapshot.recent_removals.len(), 1);
}

#[tokio::test]
async fn a_failed_cycle_leaves_the_list_due() {
    let fixture = Fixture::new().await;
    let cycle = fixture.open().await.cycle;
    let error = CycleFailure {
        kind: "wazzup_unavailable",
        message: "no answer".into(),
    };
    let list = AccountProof {
        fingerprint: "0123456789abcdef".into(),
        seats_used: Some(3),
        foreign_users: Some(0),
    };
    let failed = Finished {
        error: Some(error),
        had_list: true,
        account_proof: Some(list),
        reported_error: true,
        reported_holds: true,
        ..finished(CycleOutcome::Failed)
    };
    fixture.finish(cycle, &failed, KEEP).await;
    let account = fixture.open().await.account;
    assert_eq!(
        (account.failing_since, account.last_success_at),
        (Some(cycle.now), None)
    );
    assert!(account.error_reported_at.is_some() && account.list_read_at.is_none());
    // The grace of a hold may end while the cycle runs.
    assert_eq!(account.holds_reported_at, Some(cycle.now));
    assert_eq!((account.facts.fingerprint, account.facts.seats.used), (None, Some(3)));
    let good = Finished {
        noteworthy: false,
        ..Finished {
            outcome: CycleOutcome::InSync,
            error: None,
            ..failed
        }
    };
    fixture.finish(cycle, &good, KEEP).await;
    let account = fixture.open().await.account;
    assert_eq!((account.failing_since, account.error_reported_at), (None, None));
    assert!(account.list_read_at.is_some() && account.facts.fingerprint.is_some());
}
