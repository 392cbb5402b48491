//! All that the sandbox knows, and the one place where a request acts on it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

use crate::answer::{self, Answer, Mangle, Refusal};
use crate::call::Call;
use crate::faults::Faults;
use crate::log::{Log, Request};
use crate::poison::Poison;
use crate::users::{User, Users};
use crate::variant::{PostAnswer, Variant};

/// The key of a sandbox that was given none.
pub(crate) const DEFAULT_KEY: &str = "sandbox-key";

/// The sandbox at one moment; what [`Wazzup::wait_until`](crate::Wazzup::wait_until) looks at.
#[derive(Debug)]
pub struct State {
    pub(crate) users: Users,
    pub(crate) variant: Variant,
    pub(crate) poisons: Vec<Poison>,
    pub(crate) faults: Faults,
    pub(crate) log: Log,
    pub(crate) key: String,
    pub(crate) sidecar_key: Option<String>,
    /// Requests whose connection was cut and that will act later.
    late: usize,
    /// How often all that was late was told to land.
    pub(crate) landings: u64,
    recent: VecDeque<Instant>,
    listeners: Vec<mpsc::UnboundedSender<Request>>,
}

impl State {
    fn new() -> Self {
        Self {
            users: Users::default(),
            variant: Variant::default(),
            poisons: Vec::new(),
            faults: Faults::default(),
            log: Log::default(),
            key: DEFAULT_KEY.to_owned(),
            sidecar_key: None,
            late: 0,
            landings: 0,
            recent: VecDeque::new(),
            listeners: Vec::new(),
        }
    }

    /// The users by id.
    #[must_use]
    pub fn users(&self) -> &BTreeMap<String, User> {
        &self.users.all
    }

    /// The requests since the log was last cleared, those in work included.
    #[must_use]
    pub fn requests(&self) -> &[Request] {
        &self.log.requests
    }

    /// Those of the requests that may change users.
    pub fn writing_requests(&self) -> impl Iterator<Item = &Request> {
        self.log.requests.iter().filter(|request| request.writing)
    }

    /// Requests that are in work now.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.log.in_flight
    }

    /// Requests whose connection was cut and that have yet to act ([`What::ActLate`](crate::What::ActLate)).
    #[must_use]
    pub fn late(&self) -> usize {
        self.late
    }

    /// A request will act late. Returns the landings so far.
    pub(crate) fn begin_late(&mut self) -> u64 {
        self.late += 1;
        self.landings
    }

    pub(crate) fn end_late(&mut self) {
        self.late -= 1;
    }

    pub(crate) fn subscribe(&mut self) -> mpsc::UnboundedReceiver<Request> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.listeners.push(sender);
        receiver
    }

    /// Ends a request that [`Log::begin`] began.
    pub(crate) fn end(&mut self, seq: u64, status: Option<u16>) {
        self.log.in_flight = self.log.in_flight.saturating_sub(1);
        if let Some(request) = self.log.get_mut(seq) {
            request.status = status;
            self.listeners.retain(|listener| listener.send(request.clone()).is_ok());
        }
    }

    /// Carries a request out, or refuses it.
    pub(crate) fn act(
        &mut self,
        seq: u64,
        call: &Call,
        body: &str,
        authorization: Option<&str>,
        mangle: Option<Mangle>,
    ) -> Answer {
        let result = self.admit(authorization).and_then(|()| {
            let json: Value = serde_json::from_str(body).unwrap_or(Value::Null);
            let entries = json.as_array().map_or(&[][..], Vec::as_slice);
            let style = self.variant.errors;
            let poisoned = self
                .poisons
                .iter()
                .find_map(|poison| poison.answer(call, entries, style));
            match poisoned {
                Some(answer) => Ok((answer, false)),
                None => self.serve(call, entries, mangle).map(|answer| (answer, true)),
            }
        });
        match result {
            Ok((answer, applied)) => {
                if let Some(request) = self.log.get_mut(seq) {
                    request.applied = applied;
                }
                answer
            }
            Err(refusal) => {
                let mut answer = refusal.answer(self.variant.errors);
                if let (429, Some(limit)) = (refusal.status, self.variant.rate_limit)
                    && let Some(seconds) = limit.retry_after
                {
                    answer.headers.push(("retry-after".to_owned(), seconds.to_string()));
                }
                answer
            }
        }
    }

    /// The key first, then the number of requests.
    fn admit(&mut self, authorization: Option<&str>) -> Result<(), Refusal> {
        let key = authorization.and_then(|value| value.strip_prefix("Bearer "));
        if key.is_some() && key == self.sidecar_key.as_deref() {
            return Err(Refusal::new(403, "FORBIDDEN", "The key is of the wrong type."));
        }
        if key != Some(self.key.as_str()) {
            return Err(Refusal::new(401, "UNAUTHORIZED", "The key is missing or wrong."));
        }
        let Some(limit) = self.variant.rate_limit else {
            return Ok(());
        };
        let now = Instant::now();
        let window = Duration::from_millis(limit.per_ms);
        self.recent.retain(|at| now.duration_since(*at) < window);
        if self.recent.len() >= limit.requests {
            return Err(Refusal::new(429, "TOO_MANY_REQUESTS", "Too many requests."));
        }
        self.recent.push_back(now);
        Ok(())
    }

    fn serve(&mut self, call: &Call, entries: &[Value], mangle: Option<Mangle>) -> Result<Answer, Refusal> {
        let Self { users, variant, .. } = self;
        match call {
            Call::List { offset } => Ok(answer::list(&users.all, variant, *offset, mangle)),
            Call::GetUser(id) => {
                let user = users.all.get(id).ok_or_else(Refusal::no_such_user)?;
                Ok(Answer::json(200, &answer::item(id, user, variant, true)))
            }
            Call::Post => {
                users.upsert(entries, variant)?;
                Ok(match variant.post_answer {
                    PostAnswer::Empty => Answer::empty(200),
                    PostAnswer::Text => Answer::text(201, "Created"),
                    PostAnswer::Json => Answer::json(200, &json!({"ok": true})),
                })
            }
            Call::BulkDelete => {
                let absent = users.bulk_delete(entries, variant)?;
                let absent = absent.into_iter().map(|id| answer::id_value(id, variant));
                Ok(Answer::json(200, &absent.collect()))
            }
            Call::Delete(id) if users.delete(id) => Ok(Answer::empty(200)),
            Call::Delete(_) => Err(Refusal::no_such_user()),
            Call::Unknown => Err(Refusal::new(404, "NOT_FOUND", "There is no such call.")),
        }
    }
}

/// The state behind its lock, and a bell for those who wait for a change of it.
#[derive(Debug)]
pub(crate) struct Shared {
    state: Mutex<State>,
    changed: watch::Sender<()>,
}

impl Shared {
    pub(crate) fn new() -> Self {
        Self {
            state: Mutex::new(State::new()),
            changed: watch::Sender::new(()),
        }
    }

    /// Reads the state.
    pub(crate) fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.lock())
    }

    /// Changes the state, and tells everyone.
    pub(crate) fn write<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.lock());
        self.changed.send_replace(());
        result
    }

    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// A test's closure that panicked under the lock must not fail every other look.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
