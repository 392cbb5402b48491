//! The API key, from where it is kept to the header that carries it.

use std::{
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
};

use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use super::error::Error;

/// Where the API key comes from. It is read anew for each session, so a replaced key needs no restart.
#[derive(Debug, Clone)]
pub enum KeySource {
    /// The key itself.
    Literal(SecretString),
    /// A file that holds the key; blanks around the key do not count.
    File(PathBuf),
}

/// A key that can be sent.
pub(super) struct Key(SecretString);

impl KeySource {
    /// Reads the key.
    pub(super) fn read(&self) -> Result<Key, Error> {
        match self {
            Self::Literal(key) => Key::parse(key.expose_secret()).map_err(|problem| Error::Key { file: None, problem }),
            Self::File(path) => read_file(path).map_err(|problem| Error::Key {
                file: Some(path.clone()),
                problem,
            }),
        }
    }
}

fn read_file(path: &Path) -> Result<Key, String> {
    /// Keys have some 40 characters. A wrong path must not read a disk into memory.
    const MAX_BYTES: u64 = 64 << 10;
    let unreadable = |error| format!("cannot be read ({error})");
    let metadata = fs::metadata(path).map_err(unreadable)?;
    // Opening a FIFO without a writer would block the process.
    if !metadata.is_file() {
        return Err("is not a regular file".to_owned());
    }
    let mut text = String::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(MAX_BYTES + 1).read_to_string(&mut text).map_err(unreadable)?;
    if text.len() as u64 > MAX_BYTES {
        return Err("is too long for a key".to_owned());
    }
    Key::parse(SecretString::from(text).expose_secret())
}

impl Key {
    fn parse(text: &str) -> Result<Self, String> {
        let key = text.trim();
        if key.is_empty() {
            return Err("is empty".to_owned());
        }
        // Stricter than a header has to be: a blank within or a letter of another alphabet is a slip of the hand.
        if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("has characters that no key has".to_owned());
        }
        Ok(Self(key.into()))
    }

    /// The `Authorization` header that carries the key, hidden from `Debug`.
    pub(super) fn authorization(&self) -> HeaderValue {
        let Self(key) = self;
        let text = format!("Bearer {}", key.expose_secret());
        let mut header = HeaderValue::from_str(&text).expect("visible ASCII is valid in a header");
        header.set_sensitive(true);
        header
    }

    /// Tells accounts apart without naming the key: SHA-256 of `base_url` and the key, the first 16 hex digits.
    pub(super) fn fingerprint(&self, base_url: &str) -> String {
        let Self(key) = self;
        let hash = Sha256::new()
            .chain_update(base_url)
            .chain_update("\n")
            .chain_update(key.expose_secret())
            .finalize();
        let mut hex = format!("{hash:x}");
        hex.truncate(16);
        hex
    }
}
