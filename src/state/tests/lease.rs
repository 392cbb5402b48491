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
    assert_eq!(stolen.token(), fixture.lease.token());
    let request = add("1", "Anna");
    let late = fixture
        .state
        .record_start(&fixture.lease, cycle, &Marks::default(), Some(&request))
        .await;
    assert!(matches!(late, Err(Error::LeaseLost)));
    assert!(matches!(
        fixture.state.renew(&fixture.lease).await,
        Err(Error::LeaseLost)
    ));
    assert!(matches!(
        fixture.state.give_up(&fixture.lease).await,
        Err(Error::LeaseLost)
    ));
    assert_eq!(fixture.sql("SELECT count(*) FROM wazzup_sync.in_flight"), "0");

    // An expiry that a wrong clock wrote is none.
    fixture.sql("UPDATE wazzup_sync.accounts SET lease_expires_at = now() + interval '1 year'");
    let ours = acquire(&fixture.state, "ours").await;
    fixture.state.renew(&ours).await.expect("renewed");
    fixture.state.give_up(&ours).await.expect("given up");
    acquire(&standby, "standby").await;
}
