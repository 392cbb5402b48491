//! A server that pretends to be a Postgres without TLS, and asks everybody for the password in clear text.

use std::{
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

/// The code of `SSLRequest` in the protocol.
const SSL_REQUEST: [u8; 4] = 80_877_103_u32.to_be_bytes();

/// The fake; it listens until the process ends.
#[derive(Debug)]
pub struct FakePostgres {
    port: u16,
    passwords: Arc<Mutex<Vec<String>>>,
}

impl FakePostgres {
    /// Listens on a free port of the loopback.
    pub fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let passwords = Arc::<Mutex<Vec<String>>>::default();
        let caught = Arc::clone(&passwords);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // Whoever does not answer, or ends the connection, gives no password away.
                if let Ok(password) = ask_for_password(stream) {
                    caught.lock().unwrap_or_else(PoisonError::into_inner).push(password);
                }
            }
        });
        Self { port, passwords }
    }

    /// The port to connect to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The passwords that were given away.
    pub fn passwords(&self) -> Vec<String> {
        self.passwords.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn ask_for_password(mut stream: TcpStream) -> io::Result<String> {
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    let mut startup = read_message(&mut stream)?;
    if startup.starts_with(&SSL_REQUEST) {
        stream.write_all(b"N")?;
        startup = read_message(&mut stream)?;
    }
    drop(startup);
    // AuthenticationCleartextPassword.
    stream.write_all(&[b'R', 0, 0, 0, 8, 0, 0, 0, 3])?;
    let mut kind = [0];
    stream.read_exact(&mut kind)?;
    let password = read_message(&mut stream)?;
    let refusal = b"SFATAL\0C28P01\0Mno such password\0\0";
    let length = u32::try_from(refusal.len() + 4).map_err(io::Error::other)?;
    stream.write_all(&[b"E", length.to_be_bytes().as_slice(), refusal].concat())?;
    let text = String::from_utf8_lossy(&password);
    Ok(text.trim_end_matches('\0').to_owned())
}

/// Reads a length, which counts itself, and what follows.
fn read_message(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = usize::try_from(u32::from_be_bytes(length)).map_err(io::Error::other)?;
    let mut message = vec![0; length.saturating_sub(4).min(10_000)];
    stream.read_exact(&mut message)?;
    Ok(message)
}
