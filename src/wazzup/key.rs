//! The API key, from where it is kept to the header that carries it.

use std::{fs::File, io::Read, path::PathBuf};

use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret, SecretString};

use super::error::Error;

/// Where the API key comes from. It is read anew for each session, so a replaced key needs no restart.
#[derive(Debug, Clone)]
pub enum KeySource {
    /// The key itself.
    Literal(SecretString),
    /// A file that holds it; blanks around it do not count.
    File(PathBuf),
}

impl KeySource {
    /// The `Authorization` header that carries the key, kept out of `Debug`.
    pub(super) fn authorization(&self) -> Result<HeaderValue, Error> {
        let (file, read) = match self {
            Self::Literal(key) => (None, Ok(key.clone())),
            Self::File(path) => (Some(path.clone()), read_key(path)),
        };
        let header = read.and_then(|key| {
            let key = key.expose_secret().trim();
            if key.is_empty() {
                return Err("is empty".to_owned());
            }
            // Stricter than a header has to be: a blank within or a letter of another alphabet is a slip of the hand.
            let valid = key.bytes().all(|byte| byte.is_ascii_graphic());
            let header = HeaderValue::from_str(&format!("Bearer {key}")).ok().filter(|_| valid);
            header.ok_or_else(|| "has characters that no key has".to_owned())
        });
        let mut header = header.map_err(|problem| Error::Key { file, problem })?;
        header.set_sensitive(true);
        Ok(header)
    }
}

fn read_key(path: &PathBuf) -> Result<SecretString, String> {
    /// Keys have some 40 characters. A wrong path must not read a disk into memory.
    const MOST: u64 = 64 << 10;
    let mut key = String::new();
    File::open(path)
        .and_then(|file| file.take(MOST).read_to_string(&mut key))
        .map_err(|error| format!("cannot be read ({error})"))?;
    Ok(key.into())
}
