//! The listening side: a runtime of its own, and one task per connection.
//!
//! The runtime is why a test may block while the sandbox goes on. Connections are served by hand, because a lost
//! connection must end in a TCP reset, which no response can do.

use std::io;
use std::net::{self, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ServerConfig, version};

use crate::control;
use crate::handler::{Reset, handle};
use crate::state::Shared;

/// How long the end of a server may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// A server, running or stopped. Dropping it stops it.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) tls: Option<Arc<ServerConfig>>,
    pub(crate) shared: Arc<Shared>,
    runtime: Mutex<Option<Runtime>>,
}

impl Server {
    /// Starts on this address, where port 0 is a free one.
    pub(crate) fn start(address: SocketAddr, tls: Option<Arc<ServerConfig>>) -> anyhow::Result<Self> {
        let mut server = Self {
            address,
            tls,
            shared: Arc::default(),
            runtime: Mutex::default(),
        };
        server.address = server.start_again()?;
        Ok(server)
    }

    /// Listens again on the same port. Returns the address.
    pub(crate) fn start_again(&self) -> anyhow::Result<SocketAddr> {
        let listener = net::TcpListener::bind(self.address);
        let listener = listener.with_context(|| format!("cannot listen on {}: choose another port", self.address))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let router = control::routes().fallback(handle).with_state(Arc::clone(&self.shared));
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        runtime.spawn(accept(listener, self.tls.clone().map(TlsAcceptor::from), router));
        *self.runtime() = Some(runtime);
        Ok(address)
    }

    /// Closes the port and all connections.
    pub(crate) fn stop(&self) {
        // In a thread: a runtime may not wait for the end of another one.
        if let Some(runtime) = self.runtime().take() {
            let ending = thread::spawn(move || runtime.shutdown_timeout(PATIENCE));
            let _ = ending.join();
        }
    }

    fn runtime(&self) -> MutexGuard<'_, Option<Runtime>> {
        self.runtime.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn accept(listener: net::TcpListener, tls: Option<TlsAcceptor>, router: Router) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Most likely out of file descriptors: let some connections end.
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        let _ = stream.set_nodelay(true);
        let (router, tls) = (router.clone(), tls.clone());
        tokio::spawn(async move {
            match tls {
                None => serve(stream, |stream| stream, router).await,
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        serve(stream, |stream| stream.get_ref().0, router).await;
                    }
                }
            }
        });
    }
}

async fn serve<S>(stream: S, tcp: fn(&S) -> &TcpStream, router: Router)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |request| {
        let response = router.call(request);
        async move {
            let Ok(response) = response.await;
            if response.extensions().get::<Reset>().is_some() {
                return Err(io::Error::from(io::ErrorKind::ConnectionReset));
            }
            Ok(response)
        }
    });
    let mut connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    if (&mut connection).await.is_err() {
        // Closing without lingering is a reset: the client sees that there will be no answer.
        let stream = connection.into_parts().io.into_inner();
        let _ = tcp(&stream).set_zero_linger();
    }
}

/// What a server needs for HTTPS, from PEM.
pub(crate) fn tls_config(certificate: &str, key: &str) -> anyhow::Result<Arc<ServerConfig>> {
    let chain = CertificateDer::pem_slice_iter(certificate.as_bytes()).collect::<Result<_, _>>();
    let chain = chain.context("the certificate is no PEM")?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).context("the private key is no PEM")?;
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&version::TLS12, &version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .context("the certificate and the private key do not make a TLS server")?;
    Ok(Arc::new(config))
}
