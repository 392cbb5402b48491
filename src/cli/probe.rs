//! `check --probe`: asks a live account what the service's documentation leaves open.
//!
//! Two users are created, changed and removed again. They are marked by their ids and names, so that a probe that was
//! killed is cleaned up by the next one. What is printed has no personal data and no key.

use std::io;

use anyhow::bail;
use reqwest::Method;
use serde::Serialize;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{Context, Exit, Format, UsageError, page::say, question::Question, setup};
use crate::wazzup::{Client, Error as WazzupError, Gate, HttpAnswer, Session};

/// The two users. No other user is ever changed or removed.
const FIRST: &str = "wazzup-sync-probe-1";
const SECOND: &str = "wazzup-sync-probe-2";
/// Nobody: asked for, and removed, to see how an absent user is answered.
const NOBODY: &str = "wazzup-sync-probe-0";
/// How the names of both begin.
const NAME: &str = "wazzup-sync probe";
/// What was found out. Serialised, it is the answer for programs; `docs/json.md` documents it.
#[derive(Debug, Serialize)]
struct Findings {
    version: u8,
    findings: Vec<Finding>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Finding {
    question: &'static str,
    answer: String,
}

/// Probes, after a question unless `yes`. `phone` is given to the two users, one after the other; without it nothing is asked
/// about phones.
pub(super) async fn probe(context: &Context, phone: Option<&str>, yes: bool, format: Format) -> anyhow::Result<Exit> {
    let phone = match phone.map(|text| context.config.phone_reader.read(text)) {
        None => None,
        Some(Ok(Some((phone, _)))) => Some(phone.to_string()),
        Some(Ok(None) | Err(_)) => bail!(UsageError("--phone: this is no phone number".to_owned())),
    };
    let client = Client::new(context.config.wazzup.clone());
    let session = client.session(Gate::without_lease(CancellationToken::new()))?;
    if !yes {
        explain(context, phone.as_deref())?;
        let question = Question {
            text: "Create and remove these two users?".to_owned(),
            number: None,
        };
        let command = context.invocation.command("check --probe --yes");
        question.ask("nothing was probed", "nobody was created", &command)?;
    }
    let mut probe = Probe {
        session: &session,
        phone,
        findings: Vec::new(),
    };
    probe.remove_leftovers().await?;
    refuse_without_seats(context).await?;
    let asked = probe.ask_everything().await;
    // Whatever happened: nothing may be left behind.
    let removed = probe.remove_users().await;
    asked?;
    removed?;
    let findings = Findings {
        version: 1,
        findings: probe.findings,
    };
    format.print(&findings, |page| {
        for finding in &findings.findings {
            page.paragraph(&format!("{}: {}", finding.question, finding.answer));
        }
        page.blank();
        page.paragraph("Both users are removed again. This answer has no personal data and no key.");
    })?;
    Ok(Exit::Ok)
}

/// Says exactly what will be done.
fn explain(context: &Context, phone: Option<&str>) -> io::Result<()> {
    let phone = match phone {
        Some(phone) => format!("They are given the phone {phone}, one after the other. "),
        None => "They get no phone, so nothing is found out about phones: --phone NUMBER names one. ".to_owned(),
    };
    say(&format!(
        "This creates two users in the Wazzup account behind {}: {FIRST} and {SECOND}, both with a name that begins with \
         “{NAME}”. It changes them, sends one request that should be refused, and removes both. {phone}For some seconds \
         they take two seats. No other user is changed or removed, and nothing is written into the state.",
        context.config.wazzup.base_url
    ))
}

/// Refuses where the state knows of a user limit that leaves no two seats.
async fn refuse_without_seats(context: &Context) -> anyhow::Result<()> {
    let Ok(peek) = setup::state(&context.config).peek().await else {
        return Ok(());
    };
    let account = &peek.snapshot.account;
    if let (Some(limit), Some(used)) = (account.seats_limit, account.seats_used)
        && used + 2 > limit
    {
        bail!("nothing was probed: it needs two free seats, and {used} of {limit} are used");
    }
    Ok(())
}

struct Probe<'a> {
    session: &'a Session<'a>,
    phone: Option<String>,
    findings: Vec<Finding>,
}

impl Probe<'_> {
    fn found(&mut self, question: &'static str, answer: impl Into<String>) {
        let answer = answer.into();
        self.findings.push(Finding { question, answer });
    }

    fn found_whether(&mut self, question: &'static str, is_so: bool, [yes, no]: [&str; 2]) {
        self.found(question, if is_so { yes } else { no });
    }

    /// Removes what a killed probe left behind.
    async fn remove_leftovers(&self) -> anyhow::Result<()> {
        let mut is_there = false;
        for id in [FIRST, SECOND] {
            let Some(user) = self.user(id).await? else { continue };
            if !user["name"].as_str().unwrap_or_default().starts_with(NAME) {
                bail!("nothing was probed: there is a user {id} in Wazzup who is not the probe's");
            }
            is_there = true;
        }
        if is_there {
            self.remove_users().await?;
        }
        Ok(())
    }

    async fn ask_everything(&mut self) -> anyhow::Result<()> {
        let users = [user(FIRST, NAME, None), user(SECOND, NAME, None)];
        let created = self.upsert(&users).await?;
        if !created.is_success() {
            bail!("the two users cannot be created: {}", error_shape(&created));
        }
        self.found("answer to an upsert", success_shape(&created));
        self.ask_about_list().await?;
        self.ask_about_refusal().await?;
        if let Some(phone) = self.phone.take() {
            self.ask_about_phones(&phone).await?;
        }
        let absent = self.get(&format!("users/{NOBODY}")).await?;
        self.found("user who is not there", format!("HTTP {}", absent.status));
        let removed = self.bulk_delete(&[FIRST, SECOND, NOBODY]).await?;
        self.found("removal", removal_shape(&removed));
        Ok(())
    }

    async fn ask_about_list(&mut self) -> anyhow::Result<()> {
        let whole = self.get("users").await?;
        let Some(list) = whole.json() else {
            self.found("list", format!("HTTP {}, no JSON", whole.status));
            return Ok(());
        };
        self.found("list", list_shape(&list));
        let items = items_of(&list);
        let has_numbers = items.iter().any(|item| item["id"].is_number());
        let answers = ["some are JSON numbers", "all are text"];
        self.found_whether("ids in the list", has_numbers, answers);
        let next = self.get("users?offset=1").await?.json().unwrap_or_default();
        let is_heeded = items_of(&next).first() != items.first();
        self.found_whether("offset of the list", is_heeded, ["heeded", "ignored"]);
        Ok(())
    }

    /// A request with one entry that can be taken and one that cannot.
    async fn ask_about_refusal(&mut self) -> anyhow::Result<()> {
        let changed = format!("{NAME}, changed");
        let users = [user(FIRST, &changed, None), user(SECOND, "", None)];
        let refused = self.upsert(&users).await?;
        if refused.is_success() {
            self.found("entry without a name", "accepted");
            return Ok(());
        }
        self.found("errors", error_shape(&refused));
        let is_changed = self.shows(FIRST, "name", &changed).await?;
        let answers = ["carried out", "refused with it"];
        self.found_whether("other entries of a refusal", is_changed, answers);
        Ok(())
    }

    async fn ask_about_phones(&mut self, phone: &str) -> anyhow::Result<()> {
        let taken = self.upsert(&[user(FIRST, NAME, Some(phone))]).await?;
        if !taken.is_success() {
            self.found("phone", error_shape(&taken));
            return Ok(());
        }
        if !self.shows(FIRST, "phone", phone).await? {
            self.found("phone", "not shown");
            return Ok(());
        }
        let list = self.get("users").await?.json().unwrap_or_default();
        let has_phones = items_of(&list).iter().any(|item| item["phone"] == *phone);
        self.found_whether("phones in the list", has_phones, ["shown", "not shown"]);
        let second = self.upsert(&[user(SECOND, NAME, Some(phone))]).await?;
        let refused = format!("refused: {}", error_shape(&second));
        let answers = ["accepted", &refused];
        self.found_whether("phone of another user", second.is_success(), answers);
        self.upsert(&[user(FIRST, NAME, None)]).await?;
        let is_kept = self.shows(FIRST, "phone", phone).await?;
        self.found_whether("phone that is left out", is_kept, ["kept", "cleared"]);
        Ok(())
    }

    async fn shows(&self, id: &str, key: &str, value: &str) -> Result<bool, WazzupError> {
        let user = self.user(id).await?.unwrap_or_default();
        Ok(user[key] == *value)
    }

    async fn remove_users(&self) -> anyhow::Result<()> {
        self.bulk_delete(&[FIRST, SECOND]).await?;
        for id in [FIRST, SECOND] {
            if self.user(id).await?.is_some() {
                bail!("the user {id} is still in Wazzup: run this again, or remove the user by hand");
            }
        }
        Ok(())
    }

    async fn user(&self, id: &str) -> Result<Option<Value>, WazzupError> {
        let answer = self.get(&format!("users/{id}")).await?;
        Ok(answer.json().filter(|_| answer.is_success()))
    }

    async fn get(&self, path: &str) -> Result<HttpAnswer, WazzupError> {
        self.session.probe(Method::GET, path, None).await
    }

    async fn upsert(&self, users: &[Value]) -> Result<HttpAnswer, WazzupError> {
        self.session.probe(Method::POST, "users", Some(&json!(users))).await
    }

    async fn bulk_delete(&self, ids: &[&str]) -> Result<HttpAnswer, WazzupError> {
        self.session
            .probe(Method::PATCH, "users/bulk_delete", Some(&json!(ids)))
            .await
    }
}

fn user(id: &str, name: &str, phone: Option<&str>) -> Value {
    match phone {
        Some(phone) => json!({"id": id, "name": name, "phone": phone}),
        None => json!({"id": id, "name": name}),
    }
}

fn items_of(list: &Value) -> &[Value] {
    let items = list.as_array().or_else(|| list["data"].as_array());
    items.map_or(&[], Vec::as_slice)
}

fn success_shape(answer: &HttpAnswer) -> String {
    let body = match answer.json() {
        _ if answer.body.is_empty() => "empty",
        Some(_) => "JSON",
        None => "text",
    };
    format!("HTTP {}, {body}", answer.status)
}

fn list_shape(list: &Value) -> String {
    let count = items_of(list).len();
    if list.is_array() {
        return format!("an array of {count}");
    }
    let stated = match &list["count"] {
        Value::Number(_) => "a count that is a number",
        Value::String(_) => "a count that is text",
        _ => "no count",
    };
    format!("an envelope with {stated}, {count} in the first page")
}

fn removal_shape(answer: &HttpAnswer) -> String {
    if !answer.is_success() {
        return error_shape(answer);
    }
    let body = answer.json().unwrap_or_default();
    let names_absent = items_of(&body).iter().any(|id| *id == *NOBODY);
    let not = if names_absent { "" } else { "not " };
    format!("{}, absent ids are {not}named", success_shape(answer))
}

/// The shape of an error, and its code if that is one; nothing else of what the service wrote.
fn error_shape(answer: &HttpAnswer) -> String {
    let mut parts = vec![format!("HTTP {}", answer.status)];
    match answer.json() {
        _ if answer.is_html => parts.push("a web page".to_owned()),
        _ if answer.body.is_empty() => parts.push("an empty body".to_owned()),
        None => parts.push("no JSON".to_owned()),
        Some(body) => describe_error(&body, &mut parts),
    }
    if answer.trace_id.is_some() {
        parts.push("a trace-id header".to_owned());
    }
    parts.join(", ")
}

fn describe_error(body: &Value, parts: &mut Vec<String>) {
    let (shape, code) = if body["errors"].is_array() {
        ("an array of errors", &body["errors"][0]["code"])
    } else if body["error"].is_object() {
        ("a nested code", &body["error"]["code"])
    } else {
        ("a code", &body["error"])
    };
    let code = code.as_str().unwrap_or_default();
    let is_code = |character: char| character.is_ascii_alphabetic() || character == '_';
    if code.len() <= 64 && code.chars().all(is_code) {
        parts.push(format!("{shape} {code}"));
    } else {
        parts.push(format!("{shape} that cannot be shown"));
    }
    let entries = body["data"].as_array();
    let named = match entries.map(|entries| entries.iter().any(|entry| entry["index"] == 1)) {
        Some(true) => "names the entry, from 0",
        Some(false) => "names another entry",
        None => "names no entry",
    };
    parts.push(named.to_owned());
    if !body["requestId"].is_null() {
        parts.push("a requestId".to_owned());
    }
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
        let findings = Findings {
            version: 1,
            findings: vec![finding],
        };
        json_docs::compare("check --probe", &[json!(findings)]);
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
            error_shape(&odd),
            "HTTP 400, a code that cannot be shown, names no entry, a trace-id header"
        );
        assert_eq!(error_shape(&answer("[1")), "HTTP 400, no JSON, a trace-id header");
    }
}
