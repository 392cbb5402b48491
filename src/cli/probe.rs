//! `check --probe`: asks a live account what the service's documentation leaves open.
//!
//! Two users are created, changed and removed again. They are marked by their ids and names, so that a probe that was
//! killed is cleaned up by the next one. What is printed has no personal data and no key.

use anyhow::{anyhow, bail};
use reqwest::Method;
use serde::Serialize;
use serde_json::{Value, json};

use super::{Context, Exit, Format, UsageError, question::Question, setup};
use crate::{
    employee::EmployeeId,
    wazzup::{Error as WazzupError, HttpAnswer, RemoteUser, Session},
};

/// The two users. No other user is ever changed or removed.
const FIRST: &str = "wazzup-sync-probe-1";
const SECOND: &str = "wazzup-sync-probe-2";
/// Nobody: asked for, and removed, to see how an absent user is answered.
const NOBODY: &str = "wazzup-sync-probe-0";
/// How the names of both begin.
const NAME: &str = "wazzup-sync probe";

#[derive(Debug, Serialize)]
struct Finding {
    question: &'static str,
    answer: String,
}

/// Probes, after a question unless `yes`. `phone` is given to the two users, one after the other; without it nothing is asked
/// about phones.
pub(super) async fn probe(context: &Context, phone: Option<&str>, yes: bool, format: Format) -> anyhow::Result<Exit> {
    let phone = match phone.map(|text| context.engine.phone_reader.read(text)) {
        None => None,
        Some(Ok(Some((phone, _)))) => Some(phone.to_string()),
        Some(Ok(None) | Err(_)) => bail!(UsageError("--phone: this is no phone number".to_owned())),
    };
    let session = context.engine.wazzup.session(setup::gate())?;
    if !yes {
        ask_for_consent(context, phone.as_deref())?;
    }
    let mut probe = Probe {
        session: &session,
        findings: Vec::new(),
    };
    probe.refuse_strangers().await?;
    refuse_without_seats(context).await?;
    let asked = probe.ask_everything(phone.as_deref()).await;
    // Whatever happened: nothing may be left behind.
    probe.remove_users().await.map_err(|error| {
        anyhow!("{error}; {FIRST} and {SECOND} may remain in Wazzup: run this again, or remove both by hand")
    })?;
    asked?;
    let findings = probe.findings;
    format.print(&json!({"version": 1, "findings": findings}), |page| {
        for Finding { question, answer } in &findings {
            page.paragraph(&format!("{question}: {answer}"));
        }
        page.blank();
        page.paragraph("Both users are removed again. This answer has no personal data and no key.");
    })?;
    Ok(Exit::Ok)
}

/// Says exactly what will be done, and asks.
fn ask_for_consent(context: &Context, phone: Option<&str>) -> anyhow::Result<()> {
    let phone = match phone {
        Some(phone) => format!("They are given the phone {phone}, one after the other."),
        None => "They get no phone, so nothing is found out about phones: --phone NUMBER names one.".to_owned(),
    };
    let url = &context.config.wazzup.base_url;
    let question = Question {
        text: format!(
            "This creates two users in the Wazzup account behind {url}: {FIRST} and {SECOND}, both with a name that begins \
             with “{NAME}”. It changes them, sends one request that should be refused, and removes both. {phone} For some \
             seconds they take two seats. No other user is changed or removed, and nothing is written into the state. \
             Create and remove these two users?"
        ),
        number: None,
    };
    let command = context.invocation.command("check --probe --yes");
    question.ask("nothing was probed", "nobody was created", &command)
}

/// Refuses where the state knows of a user limit that leaves no two seats.
async fn refuse_without_seats(context: &Context) -> anyhow::Result<()> {
    let Ok(peek) = context.engine.state.peek().await else {
        return Ok(());
    };
    let account = &peek.snapshot.account;
    if let (Some(limit), Some(used)) = (account.seats.limit, account.seats.used)
        && used + 2 > limit
    {
        bail!("nothing was probed: it needs two free seats, and {used} of {limit} are used");
    }
    Ok(())
}

struct Probe<'a> {
    session: &'a Session<'a>,
    findings: Vec<Finding>,
}

impl Probe<'_> {
    fn found(&mut self, question: &'static str, answer: impl Into<String>) {
        let answer = answer.into();
        self.findings.push(Finding { question, answer });
    }

    /// Fails if one of the two is somebody else's user. What a killed probe left behind is used again.
    async fn refuse_strangers(&self) -> anyhow::Result<()> {
        for id in [FIRST, SECOND] {
            let user = self.user(id).await;
            let user = user.map_err(|error| anyhow!("nothing was probed: {error}"))?;
            if user.is_some_and(|user| !user.name.starts_with(NAME)) {
                bail!("nothing was probed: there is a user {id} in Wazzup who is not the probe's");
            }
        }
        Ok(())
    }

    /// Fails unless Wazzup then says of each that there is no such user.
    async fn remove_users(&self) -> anyhow::Result<()> {
        // An answer may be lost: what counts is who is there afterwards.
        let removal = self.bulk_delete(&[FIRST, SECOND]).await;
        for id in [FIRST, SECOND] {
            if self.user(id).await?.is_some() {
                removal?;
                bail!("the user {id} is still in Wazzup");
            }
        }
        Ok(())
    }

    async fn ask_everything(&mut self, phone: Option<&str>) -> anyhow::Result<()> {
        let both = json!([{"id": FIRST, "name": NAME}, {"id": SECOND, "name": NAME}]);
        let created = self.upsert(both).await?;
        if !created.is_success() {
            bail!("the two users cannot be created: {}", shape(&created));
        }
        self.found("answer to an upsert", shape(&created));
        self.ask_about_list().await?;
        self.ask_about_refusal().await?;
        if let Some(phone) = phone {
            self.ask_about_phones(phone).await?;
        }
        let absent = self.get(&format!("users/{NOBODY}")).await?;
        self.found("user who is not there", format!("HTTP {}", absent.status));
        let removed = self.bulk_delete(&[FIRST, SECOND, NOBODY]).await?;
        let body = removed.json().unwrap_or_default();
        let names_absent = items_of(&body).contains(&json!(NOBODY));
        let not = if names_absent { "" } else { "not " };
        self.found("removal", format!("{}, absent ids are {not}named", shape(&removed)));
        Ok(())
    }

    async fn ask_about_list(&mut self) -> Result<(), WazzupError> {
        let list = self.get("users").await?.json().unwrap_or_default();
        let items = items_of(&list);
        let kind = match &list["count"] {
            _ if list.is_array() => "an array of",
            Value::Number(_) => "an envelope with a count that is a number,",
            Value::String(_) => "an envelope with a count that is text,",
            _ => "no array, and no count,",
        };
        let page = if list.is_array() { "" } else { " in the first page" };
        self.found("list", format!("{kind} {}{page}", items.len()));
        let next = self.get("users?offset=1").await?.json().unwrap_or_default();
        let is_heeded = items_of(&next).first() != items.first();
        let answer = if is_heeded { "heeded" } else { "ignored" };
        self.found("offset of the list", answer);
        Ok(())
    }

    /// A request with one entry that can be taken and one that cannot.
    async fn ask_about_refusal(&mut self) -> Result<(), WazzupError> {
        let changed = format!("{NAME}, changed");
        let both = json!([{"id": FIRST, "name": changed}, {"id": SECOND, "name": ""}]);
        let refused = self.upsert(both).await?;
        self.found("errors", shape(&refused));
        let is_changed = self.user(FIRST).await?.is_some_and(|user| user.name == changed);
        let answer = if is_changed { "carried out" } else { "refused with it" };
        self.found("other entries of a refusal", answer);
        Ok(())
    }

    async fn ask_about_phones(&mut self, phone: &str) -> Result<(), WazzupError> {
        let with_phone = |id| json!([{"id": id, "name": NAME, "phone": phone}]);
        let taken = self.upsert(with_phone(FIRST)).await?;
        self.found("phone", shape(&taken));
        if !self.has_phone(FIRST, phone).await? {
            self.found("phone of a user", "not shown");
            return Ok(());
        }
        let list = self.get("users").await?.json().unwrap_or_default();
        let is_shown = items_of(&list).iter().any(|item| item["phone"] == *phone);
        self.found("phones in the list", if is_shown { "shown" } else { "not shown" });
        let second = self.upsert(with_phone(SECOND)).await?;
        let answer = if second.is_success() {
            "accepted".to_owned()
        } else {
            format!("refused: {}", shape(&second))
        };
        self.found("phone of another user", answer);
        self.upsert(json!([{"id": FIRST, "name": NAME}])).await?;
        let is_kept = self.has_phone(FIRST, phone).await?;
        self.found("phone that is left out", if is_kept { "kept" } else { "cleared" });
        Ok(())
    }

    /// `None` only if Wazzup says that there is no such user (404).
    async fn user(&self, id: &str) -> Result<Option<RemoteUser>, WazzupError> {
        let id = EmployeeId::parse(id).expect("the probe's own ids are valid");
        self.session.user(&id).await
    }

    /// Whether Wazzup shows `phone` as the user's.
    async fn has_phone(&self, id: &str, phone: &str) -> Result<bool, WazzupError> {
        let user = self.user(id).await?;
        Ok(user.and_then(|user| user.phone).as_deref() == Some(phone))
    }

    async fn get(&self, path: &str) -> Result<HttpAnswer, WazzupError> {
        self.session.probe(Method::GET, path, None).await
    }

    async fn upsert(&self, users: Value) -> Result<HttpAnswer, WazzupError> {
        self.session.probe(Method::POST, "users", Some(&users)).await
    }

    async fn bulk_delete(&self, ids: &[&str]) -> Result<HttpAnswer, WazzupError> {
        let body = json!(ids);
        self.session
            .probe(Method::PATCH, "users/bulk_delete", Some(&body))
            .await
    }
}

fn items_of(list: &Value) -> &[Value] {
    let items = list.as_array().or_else(|| list["data"].as_array());
    items.map_or(&[], Vec::as_slice)
}

/// The shape of an answer, and its code if there is one; nothing else of what the service wrote.
fn shape(answer: &HttpAnswer) -> String {
    let body = match answer.json() {
        _ if answer.body.is_empty() => "empty".to_owned(),
        _ if answer.is_html => "a web page".to_owned(),
        None => "text".to_owned(),
        Some(_) if answer.is_success() => "JSON".to_owned(),
        Some(body) => error_shape(&body),
    };
    let trace_id = answer.trace_id.as_ref().map_or("", |_| ", a trace-id header");
    format!("HTTP {}, {body}{trace_id}", answer.status)
}

fn error_shape(body: &Value) -> String {
    let (shape, code) = if body["errors"].is_array() {
        ("an array of errors", &body["errors"][0]["code"])
    } else if body["error"].is_object() {
        ("a nested code", &body["error"]["code"])
    } else {
        ("a code", &body["error"])
    };
    let is_code = |character: char| character.is_ascii_alphabetic() || character == '_';
    let code = code
        .as_str()
        .filter(|code| code.len() <= 64 && code.chars().all(is_code));
    let code = code.unwrap_or("that cannot be shown");
    let named = match body["data"].as_array() {
        Some(entries) if entries.iter().any(|entry| entry["index"] == 1) => "names the entry, from 0",
        Some(_) => "names another entry",
        None => "names no entry",
    };
    let request_id = if body["requestId"].is_null() {
        ""
    } else {
        ", a requestId"
    };
    format!("{shape} {code}, {named}{request_id}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::tests::json_docs;

    #[test]
    fn the_json_is_documented() {
        let finding = Finding {
            question: "list",
            answer: "an array of 5".to_owned(),
        };
        let findings = json!({"version": 1, "findings": [finding]});
        json_docs::compare("check --probe", &[findings]);
    }

    #[test]
    fn of_an_error_only_its_shape_and_code_are_shown() {
        let answer = |body: &str| HttpAnswer {
            status: 400,
            trace_id: Some("a1".to_owned()),
            body: body.as_bytes().to_vec(),
            ..HttpAnswer::default()
        };
        let odd = answer(r#"{"error": "+7 926 123-45-67", "description": "Anna"}"#);
        assert_eq!(
            shape(&odd),
            "HTTP 400, a code that cannot be shown, names no entry, a trace-id header"
        );
        assert_eq!(shape(&answer("[1")), "HTTP 400, text, a trace-id header");
    }
}
