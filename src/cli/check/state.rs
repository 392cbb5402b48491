//! What `check` says about the state database.

use super::{
    super::{
        status::lease_in_words,
        text::{counted, listed_ids},
    },
    Findings, Setup,
    crm::{NAMES_SHOWN, report_ssl},
    report::{Report, Subject},
};
use crate::state::{Account, Error, ForeignOwner, Peek, Rights, SchemaVersion, State};

/// What was found out about the state.
#[derive(Debug, Default)]
pub(super) struct StateFindings {
    /// Why the state cannot be used.
    pub(super) error: Option<Error>,
    pub(super) rights: Option<Rights>,
    pub(super) version: Option<SchemaVersion>,
    /// What the next cycle would start from, until the plan takes it.
    pub(super) peek: Option<Peek>,
    /// The account's row, as peeked.
    pub(super) account: Option<Account>,
    pub(super) managed: usize,
    /// The other accounts in the schema, if this one is unknown.
    pub(super) other_accounts: Vec<String>,
}

pub(super) async fn ask_state(state: &State) -> StateFindings {
    let mut findings = StateFindings::default();
    if let Err(error) = findings.ask(state).await {
        findings.error = Some(error);
    }
    findings
}

impl StateFindings {
    async fn ask(&mut self, state: &State) -> Result<(), Error> {
        let rights = state.rights().await?;
        let is_usable = rights.foreign_owner.is_none() && rights.may_create && rights.may_change;
        self.rights = Some(rights);
        if !is_usable {
            return Ok(());
        }
        let version = state.version().await?;
        self.version = Some(version);
        if let SchemaVersion::Newer(_) = version {
            return Ok(());
        }
        let peek = state.peek().await?;
        self.account.clone_from(&peek.account);
        self.managed = peek.snapshot.users.len();
        if peek.account.is_none() && version != SchemaVersion::Absent {
            self.other_accounts = state.other_accounts().await?;
        }
        self.peek = Some(peek);
        Ok(())
    }
}

pub(super) fn report(report: &mut Report, setup: Setup<'_>, findings: &Findings) {
    let (config, state) = (setup.config, &findings.state);
    let schema = config.state.schema.as_str();
    match (&state.error, &state.rights) {
        (Some(Error::Unavailable(reason)), _) => {
            let remedy = reason.remedy("state.url");
            report.failed(Subject::State, reason.to_string(), remedy);
        }
        (Some(error), _) => report.failed(
            Subject::State,
            error.to_string(),
            "correct state.schema, or the rights of the role of state.url",
        ),
        (None, Some(rights)) => report_schema(report, schema, rights, state),
        (None, None) => {}
    }
    if let Some(warning) = config.state.url.ssl_warning() {
        report_ssl(report, Subject::State, "state.url", warning);
    }
    if let Some(rights) = &state.rights {
        report_access(report, setup, findings, rights);
    }
    report_account(report, setup, state);
    if let Some(account) = &state.account {
        report.good(Subject::Lease, lease_in_words(account));
    }
}

fn report_schema(report: &mut Report, schema: &str, rights: &Rights, state: &StateFindings) {
    let role = &rights.role;
    if let Some(foreign_owner) = &rights.foreign_owner {
        report.failed(
            Subject::State,
            foreign_owner.to_string(),
            remedy_for_owner(foreign_owner, role),
        );
    } else if rights.read_only {
        report.failed(
            Subject::State,
            "the database takes no changes: it is a standby, or set to be read-only",
            "let state.url lead to the primary",
        );
    } else if !rights.may_create && rights.schema_exists {
        report.failed(
            Subject::State,
            format!("\"{role}\" may not use the schema {schema}, or not create tables in it"),
            format!("run `GRANT USAGE, CREATE ON SCHEMA \"{schema}\" TO \"{role}\"`"),
        );
    } else if !rights.may_create {
        report.failed(
            Subject::State,
            format!("the schema {schema} does not exist, and \"{role}\" may not create it"),
            format!("run `CREATE SCHEMA \"{schema}\" AUTHORIZATION \"{role}\"`"),
        );
    } else if !rights.may_change {
        report.failed(
            Subject::State,
            format!("\"{role}\" may not read and change all tables of the schema {schema}"),
            format!("let the tables belong to the role: `ALTER TABLE … OWNER TO \"{role}\"`"),
        );
    } else {
        report_version(report, schema, state);
    }
}

fn remedy_for_owner(foreign_owner: &ForeignOwner, role: &str) -> String {
    let schema = &foreign_owner.schema;
    match &foreign_owner.object {
        Some(_) => "set state.schema to a new schema, or remove what is not ours from this one".to_owned(),
        None => format!(
            "set state.schema to a new schema, or, if the schema is empty, run `ALTER SCHEMA \"{schema}\" OWNER TO \
             \"{role}\"`"
        ),
    }
}

fn report_version(report: &mut Report, schema: &str, state: &StateFindings) {
    match state.version {
        Some(SchemaVersion::Absent) => report.good(
            Subject::State,
            format!("the schema {schema} does not exist yet: `run` or `once` creates it"),
        ),
        Some(SchemaVersion::Older) => report.good(
            Subject::State,
            format!("the schema {schema} is of an older version: `run` or `once` migrates it"),
        ),
        Some(SchemaVersion::Current) => {
            let users = counted(state.managed, "managed user");
            report.good(Subject::State, format!("the schema {schema} is up to date; {users}"));
        }
        Some(SchemaVersion::Newer(found)) => report.failed(
            Subject::State,
            format!("the schema {schema} is at version {found}, newer than this program"),
            "use the newer wazzup-sync; this one does not touch the schema",
        ),
        None => {}
    }
}

/// Who else can write the state, and so can have anybody removed.
fn report_access(report: &mut Report, setup: Setup<'_>, findings: &Findings, rights: &Rights) {
    let config = setup.config;
    let role = &rights.role;
    let is_same_server = config.crm.url.address() == config.state.url.address();
    let crm_role = findings.crm.role.as_ref().map(|role| &role.name);
    if is_same_server && crm_role == Some(role) {
        report.warning(
            Subject::StateAccess,
            format!("\"{role}\" is the role of both crm.url and state.url, so it may do more than either needs"),
            "use two roles: one that may only read the employees, and one that owns nothing but the state's schema",
        );
    }
    if !rights.other_writers.is_empty() && rights.foreign_owner.is_none() {
        let writers = listed_ids(rights.other_writers.iter().map(String::as_str), NAMES_SHOWN);
        report.warning(
            Subject::StateAccess,
            format!(
                "other roles may write in the schema {}, and so have anybody removed from Wazzup: {writers}",
                config.state.schema
            ),
            format!("revoke these rights: the schema is as sensitive as the API key, and \"{role}\" alone needs it"),
        );
    }
}

fn report_account(report: &mut Report, setup: Setup<'_>, state: &StateFindings) {
    if state.other_accounts.is_empty() {
        return;
    }
    let others = listed_ids(state.other_accounts.iter().map(String::as_str), NAMES_SHOWN);
    report.warning(
        Subject::Account,
        format!(
            "the state does not know the account \"{}\"; it knows: {others}",
            setup.config.account
        ),
        "correct `account`, unless this is a new account: under a wrong name, no user in Wazzup is known to be ours",
    );
}
