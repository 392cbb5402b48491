//! What each status means, and what the errors say.

use std::path::PathBuf;

use rstest::rstest;

use super::super::{
    error::Error,
    trouble::{Retry, Trouble},
};
use crate::delivery::{Loss, Verdict};

const AGAIN: Retry = Retry::AfterBackOff(None);

#[rstest]
#[case(302, "unavailable", Loss::None, Retry::Never)]
#[case(304, "unavailable", Loss::None, Retry::Never)]
#[case(400, "refused", Loss::None, Retry::Never)]
#[case(401, "unauthorized", Loss::None, Retry::Never)]
#[case(402, "refused", Loss::None, Retry::Never)]
#[case(403, "no decision", Loss::None, Retry::Never)]
#[case(404, "no decision", Loss::None, Retry::Never)]
#[case(405, "no decision", Loss::None, Retry::Never)]
#[case(408, "unavailable", Loss::None, AGAIN)]
#[case(409, "refused", Loss::None, Retry::Never)]
#[case(413, "refused", Loss::None, Retry::Never)]
#[case(418, "refused", Loss::None, Retry::Never)]
#[case(422, "refused", Loss::None, Retry::Never)]
#[case(425, "unavailable", Loss::None, AGAIN)]
#[case(429, "unavailable", Loss::None, Retry::AfterThrottling(None))]
#[case(500, "no decision", Loss::Over, AGAIN)]
#[case(501, "no decision", Loss::MayLand, AGAIN)]
#[case(502, "no decision", Loss::MayLand, AGAIN)]
#[case(503, "no decision", Loss::MayLand, AGAIN)]
#[case(504, "no decision", Loss::MayLand, AGAIN)]
#[case(524, "no decision", Loss::MayLand, AGAIN)]
#[case(999, "no decision", Loss::MayLand, AGAIN)]
fn each_status_has_its_meaning(#[case] status: u16, #[case] verdict: &str, #[case] loss: Loss, #[case] retry: Retry) {
    let trouble = Trouble::from_status(status, None);
    assert_eq!((trouble.loss(), trouble.retry()), (loss, retry));
    let shown = trouble.to_string();
    assert!(shown.contains(&status.to_string()), "{shown}");
    let actual = match trouble.into_verdict() {
        Verdict::Refused(refusal) => {
            assert_eq!(refusal.code.as_str(), format!("HTTP_{status}"));
            "refused"
        }
        Verdict::NoDecision(_) => "no decision",
        Verdict::Unauthorized { forbidden: false } => "unauthorized",
        Verdict::Unavailable(_) => "unavailable",
        other => panic!("{other:?}"),
    };
    assert_eq!(actual, verdict);
}

#[rstest]
#[case(401, "(401): replace the key")]
#[case(403, "sidecar")]
#[case(404, "does not know GET users (404): check wazzup.base_url")]
#[case(405, "refuses the request (HTTP_405)")]
#[case(422, "refuses the request (HTTP_422)")]
#[case(302, "unavailable: HTTP 302, a redirect")]
#[case(502, "unavailable: HTTP_502")]
fn every_error_says_what_failed_and_what_to_do(#[case] status: u16, #[case] text: &str) {
    let error = Error::from_trouble(Trouble::from_status(status, None), "GET users");
    assert!(error.to_string().contains(text), "{error}");
}

#[test]
fn a_key_s_error_names_the_file() {
    let key = |file: Option<&str>| Error::Key {
        file: file.map(PathBuf::from),
        problem: "is empty".to_owned(),
    };
    assert_eq!(
        key(Some("k.txt")).to_string(),
        "the Wazzup API key in k.txt is empty: put an API key from the account's settings there"
    );
    assert!(key(None).to_string().starts_with("the Wazzup API key is empty: "));
}
