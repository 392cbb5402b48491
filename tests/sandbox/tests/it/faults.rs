use std::time::{Duration, Instant};

use anyhow::Result;
use sandbox::{Fault, Wazzup, What, When};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::client::{Answer, call};

const ANN: &str = r#"[{"id": "1", "name": "Ann"}]"#;

async fn post(wazzup: &Wazzup) -> std::io::Result<Answer> {
    call(wazzup, "POST", "/users", ANN).await
}

#[tokio::test]
async fn cuts_reset_the_connection() -> Result<()> {
    let wazzup = Wazzup::start().await?;
    let cases = [(What::CutBefore, false), (What::CutAfter, true)];
    for (what, acted) in cases {
        wazzup.order(Fault::new(When::Post, what));
        let error = post(&wazzup).await.err().expect("no answer comes");
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        assert_eq!(wazzup.users().len(), usize::from(acted));
        // The client may see the reset before the log does.
        wazzup
            .wait_until(|state| state.in_flight() == 0, Duration::from_secs(5))
            .await?;
        let request = wazzup.requests().pop().expect("it was written down");
        assert_eq!((request.status, request.applied), (None, acted));
    }
    assert_eq!(post(&wazzup).await?.status, 200);
    Ok(())
}

#[tokio::test]
async fn an_act_may_come_late() -> Result<()> {
    let wazzup = Wazzup::start().await?;
    wazzup.order(Fault::new(When::Post, What::ActLate { after_ms: 150 }));
    assert!(post(&wazzup).await.is_err());
    assert!(wazzup.users().is_empty());
    wazzup
        .wait_until(|state| !state.users().is_empty(), Duration::from_secs(5))
        .await?;
    assert!(wazzup.requests()[0].applied);
    Ok(())
}

#[tokio::test]
async fn a_client_that_hangs_up_stops_nothing() -> Result<()> {
    let wazzup = Wazzup::start().await?;
    wazzup.order(Fault::new(When::Post, What::Delay { ms: 150 }));
    assert!(timeout(Duration::from_millis(50), post(&wazzup)).await.is_err());
    wazzup
        .wait_until(|state| !state.users().is_empty(), Duration::from_secs(5))
        .await?;
    assert_eq!(wazzup.requests()[0].status, None);

    wazzup.order(Fault::new(When::Post, What::DelayAnswer { ms: 100 }));
    let start = Instant::now();
    assert_eq!(post(&wazzup).await?.status, 200);
    assert!(start.elapsed() >= Duration::from_millis(100));
    Ok(())
}

#[tokio::test]
async fn answers_to_order() -> Result<()> {
    let wazzup = Wazzup::start().await?;
    wazzup.order(Fault::new(When::Any, What::too_many_requests(Some(3))).times(2));
    for _ in 0..2 {
        let answer = post(&wazzup).await?;
        assert_eq!(answer.status, 429);
        assert!(answer.head.contains("\r\nretry-after: 3\r\n"), "{}", answer.head);
    }
    let to = "http://127.0.0.1:1/elsewhere".to_owned();
    wazzup.order(Fault::new(
        When::Any,
        What::Redirect {
            status: 307,
            to: to.clone(),
        },
    ));
    let answer = post(&wazzup).await?;
    assert_eq!(answer.status, 307);
    assert!(answer.head.contains(&format!("location: {to}")));
    assert!(wazzup.users().is_empty());

    wazzup.order(Fault::new(
        When::Writes,
        What::ActThenAnswer {
            status: 502,
            body: "<html>".into(),
        },
    ));
    assert_eq!(post(&wazzup).await?.status, 502);
    assert_eq!(wazzup.users().len(), 1);
    assert!(wazzup.faults().is_empty());
    Ok(())
}

#[tokio::test]
async fn bodies_of_no_use() -> Result<()> {
    let wazzup = Wazzup::start().await?;
    wazzup.seed_foreigners(10);
    let list = async || call(&wazzup, "GET", "/users", "").await;

    wazzup.order(Fault::new(When::List, What::EmptyList));
    assert_eq!(list().await?.body, "[]");
    wazzup.vary(|variant| variant.list = sandbox::ListStyle::Pages);
    wazzup.order(Fault::new(When::List, What::EmptyList));
    assert_eq!(list().await?.body, r#"{"count":0,"data":[]}"#);
    wazzup.order(Fault::new(When::List, What::ShortList { missing: 3 }));
    let short = list().await?.json();
    assert_eq!(
        (&short["count"], short["data"].as_array().map(Vec::len)),
        (&10.into(), Some(7))
    );
    for what in [What::BrokenJson, What::Garbage] {
        wazzup.order(Fault::new(When::List, what));
        let broken = list().await?;
        assert_eq!(broken.status, 200);
        assert!(serde_json::from_str::<serde_json::Value>(&broken.body).is_err());
    }
    wazzup.order(Fault::new(When::List, What::HugeBody { bytes: 30_000_000 }));
    assert!(list().await?.body.len() >= 30_000_000);
    Ok(())
}

#[tokio::test]
async fn it_stops_and_starts_again_with_its_users() -> Result<()> {
    let wazzup = Wazzup::start().await?;
    post(&wazzup).await?;
    let mut kept = TcpStream::connect(("127.0.0.1", wazzup.port())).await?;
    kept.write_all(b"GET /v3/us").await?;
    wazzup.stop();
    assert_eq!(kept.read(&mut [0; 8]).await.unwrap_or(0), 0);
    let refused = post(&wazzup).await.err().expect("nobody listens");
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    wazzup.start_again().await?;
    assert_eq!(post(&wazzup).await?.status, 200);
    assert_eq!((wazzup.users().len(), wazzup.max_in_flight()), (1, 1));
    let port = wazzup.port();
    drop(wazzup);
    assert!(TcpStream::connect(("127.0.0.1", port)).await.is_err());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn waiting_runs_on_the_real_clock() -> Result<()> {
    let wazzup = Wazzup::start().await?;
    let start = Instant::now();
    let waited = wazzup
        .wait_until(|state| !state.users().is_empty(), Duration::from_millis(100))
        .await;
    assert!(waited.is_err_and(|error| error.to_string().contains("in vain")));
    assert!(start.elapsed() >= Duration::from_millis(100));
    Ok(())
}
