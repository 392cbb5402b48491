//! The listening side: a thread with a runtime of its own, and one task per connection.
//!
//! The thread is why a test may block, or pause tokio's clock, while the sandbox goes on. Each
//! connection is served by hand, because a cut must end in a TCP reset, which no response can do.

use std::net::{self, SocketAddr};
use std::sync::Arc;
use std::thread;

use anyhow::Context;
use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ServerConfig, version};

use crate::control;
use crate::http::{Connection, handle};
use crate::state::Shared;

/// A running server. Dropped, it closes its port and all its connections.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) runtime: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Server {
    /// Listens on the address and serves; returns when connections are accepted.
    pub(crate) async fn start(
        address: SocketAddr,
        tls: Option<Arc<ServerConfig>>,
        shared: Arc<Shared>,
    ) -> anyhow::Result<Self> {
        let listener = net::TcpListener::bind(address)
            .with_context(|| format!("the sandbox cannot listen on {address}: choose another port"))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();

        let (stop, stopped) = oneshot::channel::<()>();
        let (ready, started) = oneshot::channel();
        let thread = thread::Builder::new()
            .name("wazzup-sandbox".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    let listener = TcpListener::from_std(listener);
                    let _ = ready.send(());
                    if let Ok(listener) = listener {
                        tokio::select! {
                            () = accept(&listener, tls, shared) => {}
                            _ = stopped => {}
                        }
                    }
                });
            })?;
        started.await.context("the sandbox's thread ended")?;
        Ok(Self {
            address,
            runtime: handle,
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn accept(listener: &TcpListener, tls: Option<Arc<ServerConfig>>, shared: Arc<Shared>) {
    let router = control::routes().fallback(handle).with_state(shared);
    let acceptor = tls.map(TlsAcceptor::from);
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors, most likely: let some connections end.
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            continue;
        };
        let _ = stream.set_nodelay(true);
        let (router, acceptor) = (router.clone(), acceptor.clone());
        connections.spawn(async move {
            match acceptor {
                None => serve(stream, |stream| stream, router).await,
                Some(acceptor) => {
                    if let Ok(stream) = acceptor.accept(stream).await {
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
    let connection = Connection::default();
    let service = TowerToHyperService::new(router.layer(Extension(connection.clone())));
    let mut http = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    let cut = tokio::select! {
        _ = &mut http => false,
        () = connection.cut() => true,
    };
    if cut {
        // Without lingering, closing is a reset: the client sees that nobody will answer.
        let stream = http.into_parts().io.into_inner();
        let _ = tcp(&stream).set_zero_linger();
    }
}

/// What a server needs for HTTPS, from PEM.
pub(crate) fn tls_config(certificate: &str, key: &str) -> anyhow::Result<Arc<ServerConfig>> {
    let chain = CertificateDer::pem_slice_iter(certificate.as_bytes());
    let chain = chain
        .collect::<Result<Vec<_>, _>>()
        .context("the certificate is no PEM")?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).context("the private key is no PEM")?;
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&version::TLS12, &version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .context("the certificate and the private key do not make a TLS server")?;
    Ok(Arc::new(config))
}
