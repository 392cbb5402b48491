//! The API key, from where it is kept to the header that carries it.

use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use super::error::Error;
use crate::secret::SecretSource;

pub(crate) struct Key(SecretString);

impl Key {
    /// Reads the key. It is read anew for each session, so a replaced key needs no restart.
    pub(super) fn read(source: &SecretSource) -> Result<Self, Error> {
        Self::parse(source).map_err(|problem| Error::Key {
            file: source.file().map(Into::into),
            problem,
        })
    }

    /// The key, or what is wrong with it, as the end of a sentence about it.
    pub(crate) fn parse(source: &SecretSource) -> Result<Self, String> {
        let key = source.read()?;
        // Stricter than a header has to be: a blank within or a letter of another alphabet is a slip of the hand.
        if !key.expose_secret().bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("has other characters than ASCII letters, digits and signs".to_owned());
        }
        Ok(Self(key))
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
