use std::sync::Arc;

use anyhow::Result;
use sandbox::Wazzup;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::client::exchange;

#[tokio::test]
async fn https() -> Result<()> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let wazzup = Wazzup::start_tls(&made.cert.pem(), &made.signing_key.serialize_pem()).await?;
    assert!(wazzup.base_url().starts_with("https://127.0.0.1:"));

    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone())?;
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(config));
    let stream = TcpStream::connect(("127.0.0.1", wazzup.port())).await?;
    let stream = connector.connect("localhost".try_into()?, stream).await?;
    let answer = exchange(stream, "GET", "/v3/users", "", Some(&wazzup.key())).await;
    // Without a close_notify the answer still is whole: its length is in its head.
    assert_eq!(answer?.body, "[]");
    assert!(Wazzup::start_tls("nothing", "here").await.is_err());
    Ok(())
}
