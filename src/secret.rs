//! A secret, from where it is kept.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use secrecy::{ExposeSecret as _, SecretString};

/// A wrong path must not read a disk into memory.
const MOST_BYTES: u64 = 64 << 10;

/// Where a secret comes from. Blanks around it do not count.
#[derive(Debug, Clone)]
pub(crate) enum SecretSource {
    Literal(SecretString),
    File(PathBuf),
}

impl SecretSource {
    /// A file that keeps a secret. The error is the end of a sentence about its path.
    pub(crate) fn at(path: &str) -> Result<Self, &'static str> {
        if path.contains("://") {
            return Err("must be the path of a file and not a URL");
        }
        Ok(Self::File(path.into()))
    }

    pub(crate) fn file(&self) -> Option<&Path> {
        match self {
            Self::Literal(_) => None,
            Self::File(path) => Some(path),
        }
    }

    /// The secret, or what is wrong with its file, as the end of a sentence about it.
    pub(crate) fn read(&self) -> Result<SecretString, String> {
        let text = match self {
            Self::Literal(secret) => secret.clone(),
            Self::File(path) => read_file(path)?,
        };
        match text.expose_secret().trim() {
            "" => Err("is empty".to_owned()),
            secret => Ok(secret.into()),
        }
    }
}

fn read_file(path: &Path) -> Result<SecretString, String> {
    let unreadable = |error: io::Error| format!("cannot be read ({error})");
    // To open a named pipe would wait until somebody writes to it.
    if !path.metadata().map_err(unreadable)?.is_file() {
        return Err("is not a regular file".to_owned());
    }
    let file = File::open(path).map_err(unreadable)?;
    let mut text = String::new();
    let length = file
        .take(MOST_BYTES + 1)
        .read_to_string(&mut text)
        .map_err(unreadable)?;
    if length as u64 > MOST_BYTES {
        return Err("is too long for a secret".to_owned());
    }
    Ok(text.into())
}
