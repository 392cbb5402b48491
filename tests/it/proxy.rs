//! A TCP proxy on the loopback that fails as networks do, when a test says so.
//!
//! It runs in a thread of its own, so that a test that blocks does not stop it.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::mpsc,
    thread,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpSocket, TcpStream, tcp},
    sync::watch,
};

/// What the proxy does with connections, those that are open included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// Every byte gets through.
    Forward,
    /// Every piece of data gets through so much later.
    Delay(Duration),
    /// Connections are accepted and stay open, but nothing gets through until the proxy forwards again.
    Silent,
    /// Connections are reset.
    Reset,
    /// Connections are reset, and nothing listens on the port.
    Refuse,
}

impl Behaviour {
    fn ends_connections(self) -> bool {
        matches!(self, Self::Reset | Self::Refuse)
    }
}

/// A proxy; it ends when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    behaviour: watch::Sender<Behaviour>,
}

impl Proxy {
    /// Forwards connections to `target_port` of the loopback.
    pub fn start(target_port: u16) -> Self {
        let (behaviour, orders) = watch::channel(Behaviour::Forward);
        let (port_sender, port) = mpsc::channel();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let serving = async move {
                // Bound, and not listening: nobody else gets the port while the proxy refuses connections.
                let reserved = bind((Ipv4Addr::LOCALHOST, 0).into());
                let address = reserved.local_addr().expect("an address");
                let listener = listen(address);
                port_sender.send(address.port()).expect("the test waits for the port");
                serve(listener, address, target_port, orders).await;
            };
            runtime.expect("a runtime").block_on(serving);
        });
        let port = port.recv().expect("the proxy listens");
        Self { port, behaviour }
    }

    /// The port to connect to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Changes the behaviour from now on.
    pub fn behave(&self, behaviour: Behaviour) {
        self.behaviour.send_replace(behaviour);
    }
}

/// Several sockets of this process can have one port.
fn bind(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_reuseaddr(true).expect("a socket");
    socket.set_reuseport(true).expect("a socket");
    socket.bind(address).expect("the port is ours");
    socket
}

fn listen(address: SocketAddr) -> TcpListener {
    bind(address).listen(1024).expect("the port is ours")
}

async fn serve(listener: TcpListener, address: SocketAddr, target_port: u16, mut orders: watch::Receiver<Behaviour>) {
    let mut listener = Some(listener);
    loop {
        let refuses = *orders.borrow_and_update() == Behaviour::Refuse;
        if refuses {
            listener = None;
        }
        let listening = (!refuses).then(|| listener.get_or_insert_with(|| listen(address)));
        let accepted = async {
            match listening {
                Some(listener) => listener.accept().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            order = orders.changed() => if order.is_err() { return },
            accepted = accepted => if let Ok((client, _)) = accepted {
                tokio::spawn(serve_connection(client, target_port, orders.clone()));
            },
        }
    }
}

async fn serve_connection(mut client: TcpStream, target_port: u16, orders: watch::Receiver<Behaviour>) {
    let Ok(mut server) = TcpStream::connect((Ipv4Addr::LOCALHOST, target_port)).await else {
        return;
    };
    let (client_reader, client_writer) = client.split();
    let (server_reader, server_writer) = server.split();
    tokio::select! {
        () = forward(client_reader, server_writer, orders.clone()) => {}
        () = forward(server_reader, client_writer, orders.clone()) => {}
    }
    if orders.borrow().ends_connections() {
        client.set_zero_linger().expect("a socket");
    }
}

/// Forwards one direction until it ends or the connection is to be reset.
async fn forward(mut from: tcp::ReadHalf<'_>, mut to: tcp::WriteHalf<'_>, mut orders: watch::Receiver<Behaviour>) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let length = tokio::select! {
            ended = orders.wait_for(|order| order.ends_connections()) => { drop(ended); return },
            length = from.read(&mut buffer) => length.unwrap_or(0),
        };
        let Ok(order) = orders
            .wait_for(|order| *order != Behaviour::Silent)
            .await
            .map(|order| *order)
        else {
            return;
        };
        if let Behaviour::Delay(delay) = order {
            tokio::time::sleep(delay).await;
        }
        if length == 0 || order.ends_connections() || to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}
