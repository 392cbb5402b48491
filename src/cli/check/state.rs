//! What `check` says about the state database.

use super::{
    super::{
        Context,
        page::Advice,
        status::lease_in_words,
        text::{counted, listed_ids},
    },
    Findings, Report,
    crm::report_certificate,
};
use crate::state::{Account, Error, Peek, Rights, SchemaVersion, State};

#[derive(Debug, Default)]
pub(super) struct StateFindings {
    /// Why the state cannot be used.
    pub(super) error: Option<Error>,
    pub(super) rights: Option<Rights>,
    pub(super) version: Option<SchemaVersion>,
    /// The account's row.
    pub(super) account: Option<Account>,
    pub(super) managed: usize,
    /// The other accounts in the schema, if this one is unknown.
    pub(super) other_accounts: Vec<String>,
}

/// With what the next cycle would start from, if the state can be used.
pub(super) async fn ask(state: &State) -> (StateFindings, Option<Peek>) {
    let mut findings = StateFindings::default();
    match findings.ask(state).await {
        Ok(peek) => (findings, peek),
        Err(error) => {
            findings.error = Some(error);
            (findings, None)
        }
    }
}

impl StateFindings {
    async fn ask(&mut self, state: &State) -> Result<Option<Peek>, Error> {
        let rights = state.rights().await?;
        let is_usable = rights.foreign_owner.is_none() && rights.may_create && rights.may_change;
        self.rights = Some(rights);
        if !is_usable {
            return Ok(None);
        }
        let version = state.version().await?;
        self.version = Some(version);
        if let SchemaVersion::Newer(_) = version {
            return Ok(None);
        }
        let peek = state.peek().await?;
        self.account.clone_from(&peek.account);
        self.managed = peek.snapshot.users.len();
        if peek.account.is_none() && version != SchemaVersion::Absent {
            self.other_accounts = state.other_accounts().await?;
        }
        Ok(Some(peek))
    }
}

pub(super) fn report(report: &mut Report, context: &Context, findings: &Findings) {
    let (config, state) = (&context.config, &findings.state);
    let schema = config.schema.as_str();
    let usable = match (&state.error, &state.rights) {
        (Some(error), _) => Advice::bad(error.to_string()),
        (None, Some(rights)) => match obstacle(schema, rights) {
            Some((reason, remedy)) => Advice::bad(reason).with(remedy),
            None => version(schema, state),
        },
        (None, None) => return,
    };
    report.add("State", usable);
    report_certificate(report, "State", &config.state_url, "state.url");
    if let Some(rights) = &state.rights {
        report_access(report, context, findings, rights);
    }
    if !state.other_accounts.is_empty() {
        let others = listed_ids(&state.other_accounts);
        let account = &config.account;
        let reason = format!("the state does not know the account \"{account}\"; it knows: {others}");
        let remedy = "correct `account`, unless this is a new account: under a wrong name, no user in Wazzup is known to \
                      be ours";
        report.add("Account", Advice::warning(reason).with(remedy));
    }
    if let Some(account) = &state.account {
        report.add("Lease", Advice::good(lease_in_words(account)));
    }
}

/// What keeps our role from using the schema, and what to do about it.
fn obstacle(schema: &str, rights: &Rights) -> Option<(String, String)> {
    let role = &rights.role;
    if let Some(foreign_owner) = &rights.foreign_owner {
        let new = "set state.schema to a new schema";
        let remedy = if foreign_owner.object.is_some() {
            format!("{new}, or remove what is not ours from this one")
        } else {
            format!("{new}, or, if this one is empty, run `ALTER SCHEMA \"{schema}\" OWNER TO \"{role}\"`")
        };
        return Some((foreign_owner.to_string(), remedy));
    }
    if rights.read_only {
        let reason = "the database takes no changes: it is a standby, or set to be read-only";
        return Some((reason.to_owned(), "let state.url lead to the primary".to_owned()));
    }
    match (rights.may_create, rights.schema_exists, rights.may_change) {
        (false, true, _) => Some((
            format!("\"{role}\" may not use the schema {schema}, or not create tables in it"),
            format!("run `GRANT USAGE, CREATE ON SCHEMA \"{schema}\" TO \"{role}\"`"),
        )),
        (false, false, _) => Some((
            format!("the schema {schema} does not exist, and \"{role}\" may not create it"),
            format!("run `CREATE SCHEMA \"{schema}\" AUTHORIZATION \"{role}\"`"),
        )),
        (true, _, false) => Some((
            format!("\"{role}\" may not read and change all tables of the schema {schema}"),
            format!("let the tables belong to the role: `ALTER TABLE … OWNER TO \"{role}\"`"),
        )),
        (true, _, true) => None,
    }
}

fn version(schema: &str, state: &StateFindings) -> Advice {
    match state.version {
        None | Some(SchemaVersion::Absent) => Advice::good(format!(
            "the schema {schema} does not exist yet: `run` or `once` creates it"
        )),
        Some(SchemaVersion::Older) => Advice::good(format!(
            "the schema {schema} is of an older version: `run` or `once` migrates it"
        )),
        Some(SchemaVersion::Current) => {
            let users = counted(state.managed, "managed user");
            Advice::good(format!("the schema {schema} is up to date; {users}"))
        }
        Some(SchemaVersion::Newer(found)) => Advice::bad(format!(
            "the schema {schema} is at version {found}, newer than this program"
        ))
        .with("use the newer wazzup-sync; this one does not touch the schema"),
    }
}

/// Who else can write the state, and so can have anybody removed.
fn report_access(report: &mut Report, context: &Context, findings: &Findings, rights: &Rights) {
    let config = &context.config;
    let role = &rights.role;
    let is_same_server = config.crm_url.address() == config.state_url.address();
    let crm_role = findings.crm.role.as_ref().map(|role| &role.name);
    if is_same_server && crm_role == Some(role) {
        let reason =
            format!("\"{role}\" is the role of both crm.url and state.url, so it may do more than either needs");
        let remedy =
            "use two roles: one that may only read the employees, and one that owns nothing but the state's schema";
        report.add("State access", Advice::warning(reason).with(remedy));
    }
    if !rights.other_writers.is_empty() && rights.foreign_owner.is_none() {
        let writers = listed_ids(&rights.other_writers);
        let schema = config.schema.as_str();
        let reason =
            format!("other roles may write in the schema {schema}, and so have anybody removed from Wazzup: {writers}");
        let remedy =
            format!("revoke these rights: the schema is as sensitive as the API key, and \"{role}\" alone needs it");
        report.add("State access", Advice::warning(reason).with(remedy));
    }
}
