//! The key: where it is read, and what tells it from others.

use std::{fs, process::Command, time::Duration};

use tokio::time::timeout;

use super::{
    super::Error,
    client_with, open, open_gate,
    server::{Server, ok},
};
use crate::{delivery::Request, secret::SecretSource};

const TIMEOUT: Duration = Duration::from_secs(20);

#[tokio::test]
async fn the_key_file_is_read_for_each_session() {
    let server = Server::new(vec![ok("[]")]).await;
    let file = tempfile::NamedTempFile::new().expect("a file");
    let client = client_with(&server.base, TIMEOUT, SecretSource::File(file.path().to_owned()));
    let mut fingerprints = Vec::new();
    for key in ["first", "second"] {
        fs::write(file.path(), format!(" {key}\n")).expect("written");
        let session = open(&client);
        session.send(&Request::Ping).await;
        fingerprints.push(session.fingerprint.clone());
    }
    assert_ne!(fingerprints[0], fingerprints[1]);
    let requests = server.requests();
    assert!(requests[0].contains("Bearer first\r\n") && requests[1].contains("Bearer second\r\n"));
    file.close().expect("removed");
    assert!(matches!(client.session(open_gate()), Err(Error::Key { .. })));
}

#[test]
fn what_is_no_key_is_an_error_that_names_the_file_and_does_not_show_it() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let client = client_with("https://host/v3", TIMEOUT, SecretSource::File(file.path().to_owned()));
    let long = vec![b'k'; 70_000];
    let cases = [
        (&b" \n"[..], "is empty"),
        (b"two words", "has other characters than ASCII letters"),
        (b"two\nlines", "has other characters than ASCII letters"),
        ("ключ".as_bytes(), "has other characters than ASCII letters"),
        (b"k\xff", "cannot be read"),
        (&long, "is too long for a secret"),
    ];
    for (content, problem) in cases {
        fs::write(file.path(), content).expect("written");
        let error = client.session(open_gate()).err().expect("no key").to_string();
        let beginning = format!("the Wazzup API key in {} {problem}", file.path().display());
        assert!(error.starts_with(&beginning), "{error}");
        assert!(!error.contains("two") && !error.contains("kkk"), "{error}");
    }
    let client = client_with("https://host/v3", TIMEOUT, SecretSource::Literal("".into()));
    let error = client.session(open_gate()).err().expect("no key").to_string();
    assert!(error.starts_with("the Wazzup API key is empty: "), "{error}");
}

#[tokio::test]
async fn only_a_regular_file_is_read_as_a_key() {
    let folder = tempfile::tempdir().expect("a folder");
    let fifo = folder.path().join("fifo");
    let made = Command::new("mkfifo").arg(&fifo).status().expect("mkfifo is there");
    assert!(made.success());
    for path in [fifo, folder.path().to_owned(), "/dev/null".into()] {
        let client = client_with("https://host/v3", TIMEOUT, SecretSource::File(path));
        let opened = tokio::task::spawn_blocking(move || client.session(open_gate()).err());
        let error = timeout(TIMEOUT, opened).await.expect("it does not block");
        let error = error.expect("no panic").expect("no key").to_string();
        assert!(error.contains("is not a regular file"), "{error}");
    }
}

#[test]
fn the_fingerprint_stands_for_address_and_key() {
    let fingerprint = |base: &str, key: &str| {
        let client = client_with(base, TIMEOUT, SecretSource::Literal(key.into()));
        open(&client).fingerprint
    };
    // The state keeps it: another value would make every account look like another one.
    let usual = "4bffbd39999a426d";
    assert_eq!(fingerprint("https://host/v3", "key"), usual);
    assert_eq!(fingerprint("https://host/v3/", " key\n"), usual);
    assert_ne!(fingerprint("https://host/v4", "key"), usual);
    assert_ne!(fingerprint("https://host/v3", "other"), usual);
}

#[test]
fn debug_shows_neither_key_nor_file_content() {
    let source = SecretSource::Literal("the-secret".into());
    assert!(!format!("{source:?}").contains("secret"));
    let client = client_with("https://host/v3", TIMEOUT, source);
    assert!(!format!("{client:?}").contains("secret"));
}
