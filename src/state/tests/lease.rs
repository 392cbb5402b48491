//! Who may write, and for how long one waits.

use super::*;

#[tokio::test]
async fn the_fence_compares_token_and_holder() {
    let fixture = Fixture::new().await;
    let cycle = fixture.open().await.cycle;
    let standby = open(&fixture.server.url(&fixture.database));
    let answer = standby.acquire(&holder("standby"), LEASE).await.expect("an answer");
    assert!(matches!(answer, Acquired::HeldBy { holder, .. } if holder.name == "ours"));

    // A restored backup gives the same token to somebody else.
    fixture.sql("UPDATE wazzup_sync.accounts SET lease_holder = NULL, lease_token = lease_token - 1");
    let stolen = acquire(&standby, "standby").await;
    assert_eq!(stolen.token, fixture.lease.token);
    let request = add("1", "Anna");
    let everything = "SELECT md5(string_agg(t::text, ';')) FROM (SELECT row(a.*) FROM wazzup_sync.accounts AS a \
        UNION ALL SELECT row(i.*) FROM wazzup_sync.in_flight AS i UNION ALL SELECT row(u.*) FROM wazzup_sync.users AS u \
        UNION ALL SELECT row(c.*) FROM wazzup_sync.cycles AS c) AS t";
    let before = fixture.sql(everything);
    let (state, lease, marks) = (&fixture.state, &fixture.lease, Marks::default());
    let step = Step {
        seats_taken: 1,
        next: Some(request.clone()),
        ..acknowledged()
    };
    let end = finished(CycleOutcome::InSync);
    let refused = [
        state.open_cycle(lease).await.map(|_| ()),
        state
            .record_start(lease, cycle, &AppliedOrders::default(), &marks, Some(&request))
            .await,
        state.record(lease, cycle, &step).await,
        state.finish_cycle(lease, cycle, &end, KEEP).await,
        state.renew(lease).await,
        state.give_up(lease).await,
    ];
    for answer in refused {
        assert!(matches!(answer, Err(Error::LeaseLost)), "{answer:?}");
    }
    assert_eq!(fixture.sql(everything), before);

    // An expiry that a wrong clock wrote is none.
    fixture.sql("UPDATE wazzup_sync.accounts SET lease_expires_at = now() + interval '1 year'");
    let ours = acquire(&fixture.state, "ours").await;
    fixture.state.renew(&ours).await.expect("renewed");
    fixture.state.give_up(&ours).await.expect("given up");
    acquire(&standby, "standby").await;
}
