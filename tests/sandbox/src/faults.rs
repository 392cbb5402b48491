//! Faults to order: which requests they hit, and what happens to these.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::call::{Call, When};

/// A fault that was ordered. As JSON: `{"when": "post", "times": 1, "skip": 0, "what": "cut_after"}`,
/// where `times: null` means for ever.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Which requests it is for.
    #[serde(default)]
    pub when: When,
    /// How many of them it hits; `None`: every one until it is taken away.
    #[serde(default = "once")]
    pub times: Option<usize>,
    /// How many of them pass first.
    #[serde(default)]
    pub skip: usize,
    /// What happens.
    pub what: What,
}

#[expect(clippy::unnecessary_wraps, reason = "serde wants the field's own type")]
fn once() -> Option<usize> {
    Some(1)
}

impl Fault {
    /// A fault that hits the next matching request, once.
    #[must_use]
    pub fn new(when: When, what: What) -> Self {
        Self {
            when,
            times: once(),
            skip: 0,
            what,
        }
    }

    /// Hits so many matching requests.
    #[must_use]
    pub fn times(self, times: usize) -> Self {
        Self {
            times: Some(times),
            ..self
        }
    }

    /// Hits every matching request until it is taken away.
    #[must_use]
    pub fn always(self) -> Self {
        Self { times: None, ..self }
    }

    /// Lets so many matching requests pass first.
    #[must_use]
    pub fn skip(self, skip: usize) -> Self {
        Self { skip, ..self }
    }
}

/// What a fault does. "Acts" means that the request is treated as if nothing were wrong, which
/// includes that it may be refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// Waits, then goes on (to the next fault that matches, too). The wait, and the act after it,
    /// do not end when the client hangs up.
    Delay {
        /// Milliseconds.
        ms: u64,
    },
    /// Acts at once and answers late.
    DelayAnswer {
        /// Milliseconds.
        ms: u64,
    },
    /// Answers this without acting.
    Answer {
        /// The status.
        status: u16,
        /// The body.
        #[serde(default)]
        body: String,
        /// Header names and values, `Retry-After` for instance.
        #[serde(default)]
        headers: Vec<(String, String)>,
    },
    /// Acts, and answers this all the same.
    ActThenAnswer {
        /// The status.
        status: u16,
        /// The body.
        #[serde(default)]
        body: String,
    },
    /// Answers a redirect without acting.
    Redirect {
        /// The status: 302, 307, 308…
        status: u16,
        /// The `Location`.
        to: String,
    },
    /// Resets the connection; nothing is done.
    CutBefore,
    /// Acts, and then resets the connection: the answer is lost.
    CutAfter,
    /// Resets the connection now, and acts later: after this time, or when a test says so with
    /// [`Wazzup::land_late_requests`](crate::Wazzup::land_late_requests).
    ActLate {
        /// Milliseconds.
        after_ms: u64,
    },
    /// Acts, and answers 200 with bytes that are no JSON.
    Garbage,
    /// Acts, and answers 200 with a body of so many bytes, streamed.
    HugeBody {
        /// The body's length.
        bytes: u64,
    },
    /// The list's page lacks its last items, while its count (if it has one) does not know.
    /// On other calls: no fault.
    ShortList {
        /// How many are missing.
        missing: usize,
    },
    /// Acts, and answers the first half of the body only, as if that were all of it.
    BrokenJson,
    /// The list says that there is nobody. On other calls: no fault.
    EmptyList,
}

impl What {
    /// An answer without a body, before acting.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self::Answer {
            status,
            body: String::new(),
            headers: Vec::new(),
        }
    }

    /// 429, with the seconds of `Retry-After` if there are some.
    #[must_use]
    pub fn too_many_requests(retry_after: Option<u64>) -> Self {
        let header = retry_after.map(|seconds| ("retry-after".to_owned(), seconds.to_string()));
        Self::Answer {
            status: 429,
            body: String::new(),
            headers: header.into_iter().collect(),
        }
    }
}

/// The faults that wait, in the order in which they were ordered.
#[derive(Debug, Default)]
pub(crate) struct Faults(pub(crate) Vec<Fault>);

impl Faults {
    /// What is to happen to this request: a wait, and the first other fault that hits it. The faults
    /// behind that one do not see the request, so two faults hit two requests, one after the other.
    pub(crate) fn take(&mut self, call: &Call, path: &str, body: &str) -> (Duration, Option<What>) {
        let (mut delay, mut taken) = (Duration::ZERO, None);
        for fault in &mut self.0 {
            if fault.times == Some(0) || !fault.when.matches(call, path, body) {
                continue;
            }
            if fault.skip > 0 {
                fault.skip -= 1;
                continue;
            }
            fault.times = fault.times.map(|times| times - 1);
            if let What::Delay { ms } = fault.what {
                delay += Duration::from_millis(ms);
            } else {
                taken = Some(fault.what.clone());
                break;
            }
        }
        self.0.retain(|fault| fault.times != Some(0));
        (delay, taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_wait_for_their_turn() {
        let mut faults = Faults(vec![
            Fault::new(When::Any, What::Delay { ms: 5 }).always(),
            Fault::new(When::Post, What::status(500)).skip(1),
            Fault::new(When::Writes, What::CutAfter),
        ]);
        let delay = Duration::from_millis(5);
        let mut take = |call| faults.take(&call, "/v3/users", "");
        assert_eq!(take(Call::List { offset: 0 }), (delay, None));
        assert_eq!(take(Call::Post), (delay, Some(What::CutAfter)));
        assert_eq!(take(Call::Post), (delay, Some(What::status(500))));
        assert_eq!(take(Call::Post), (delay, None));
        assert_eq!(faults.0.len(), 1);
    }

    #[test]
    fn faults_are_plain_json() -> Result<(), serde_json::Error> {
        let fault: Fault = serde_json::from_str(r#"{"when":"post","what":"cut_after"}"#)?;
        assert_eq!(fault, Fault::new(When::Post, What::CutAfter));

        let text = r#"{"when":{"path":"/7"},"times":null,"what":{"answer":{"status":503}}}"#;
        let fault: Fault = serde_json::from_str(text)?;
        assert_eq!(fault, Fault::new(When::Path("/7".into()), What::status(503)).always());
        Ok(())
    }
}
