//! The listening side, with a runtime of its own: a test may block while the sandbox goes on.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::Context;
use axum_server::tls_rustls::RustlsConfig;
use parking_lot::Mutex;
use socket2::{Domain, SockRef, Socket, Type};
use tokio::runtime::{Builder, Runtime};
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::control;
use crate::handler::handle;
use crate::state::Shared;

/// How long the end of a server may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// A server, running or stopped. Dropping it stops it.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) tls: Option<RustlsConfig>,
    pub(crate) state: Shared,
    runtime: Mutex<Option<Runtime>>,
    /// Bound, and not listening: nobody else gets the port while the server is stopped.
    _reserved: Socket,
}

impl Server {
    pub(crate) fn start(address: SocketAddr, tls: Option<RustlsConfig>) -> anyhow::Result<Self> {
        let in_use = || format!("cannot listen on {address}: choose another port");
        // Another sandbox would share its port.
        drop(TcpListener::bind(address).with_context(in_use)?);
        let reserved = bind(address).with_context(in_use)?;
        let server = Self {
            address: reserved.local_addr()?.as_socket().context("it is an IP address")?,
            tls,
            state: Shared::default(),
            runtime: Mutex::default(),
            _reserved: reserved,
        };
        server.start_again()?;
        Ok(server)
    }

    /// Listens, again on the same port.
    pub(crate) fn start_again(&self) -> anyhow::Result<()> {
        let socket = bind(self.address)?;
        socket.listen(1024)?;
        let listener = TcpListener::from(socket);
        // Inherited by its connections. A client closes them first, so one that the server closes is a lost one, and is reset.
        SockRef::from(&listener).set_linger(Some(Duration::ZERO))?;
        SockRef::from(&listener).set_tcp_nodelay(true)?;
        let router = control::routes().fallback(handle).with_state(Arc::clone(&self.state));
        let tls = self.tls.clone();
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        runtime.spawn(async move {
            let service = router.into_make_service();
            match tls {
                None => axum_server::from_tcp(listener)?.serve(service).await,
                Some(tls) => axum_server::from_tcp_rustls(listener, tls)?.serve(service).await,
            }
        });
        *self.runtime.lock() = Some(runtime);
        Ok(())
    }

    pub(crate) fn stop(&self) {
        // In a thread: a runtime may not wait for the end of another one.
        if let Some(runtime) = self.runtime.lock().take() {
            let ending = thread::spawn(move || runtime.shutdown_timeout(PATIENCE));
            let _ = ending.join();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Several sockets of this process can have one port.
fn bind(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// What a server needs for HTTPS, from a certificate chain and its private key in one PEM text.
pub(crate) fn tls_config(pem: &str) -> anyhow::Result<RustlsConfig> {
    let chain = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<_, _>>();
    let chain = chain.context("the certificate is no PEM")?;
    let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).context("the private key is no PEM")?;
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key);
    let config = config.context("the certificate and the private key do not make a TLS server")?;
    Ok(RustlsConfig::from_config(Arc::new(config)))
}
