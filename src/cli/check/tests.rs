use std::{fs, path::PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use super::{
    super::{invocation::Invocation, plan::tests as plan_tests, tests::json_docs},
    *,
};
use crate::{
    config::Config,
    crm::{self as crm_source, Role, TableSchemas, Unconvertible},
    delivery::Interruption,
    postgres::Reason,
    state::{Account, Error as StateError, ForeignOwner, Rights, SchemaVersion},
};

/// A configuration file, with its key beside it.
struct Files {
    directory: TempDir,
}

impl Files {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
        }
    }

    fn key(&self) -> PathBuf {
        self.directory.path().join("key")
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("wazzup-sync.toml")
    }

    fn context(&self, sslmode: &str) -> Context {
        fs::write(self.key(), "0123456789abcdef").unwrap();
        let text = format!(
            "account = \"main\"\n[crm]\nurl = \"postgres://reader@db/crm?sslmode={sslmode}\"\ntable = \"employees\"\n\
             [wazzup]\napi_key_file = {:?}\n[state]\nurl = \"postgres://syncer@db/crm?sslmode={sslmode}\"\n",
            self.key()
        );
        fs::write(self.path(), text).unwrap();
        Context {
            config: Config::load(&self.path()).unwrap(),
            config_path: self.path(),
            invocation: Invocation::default(),
        }
    }
}

fn rights() -> Rights {
    Rights {
        role: "syncer".into(),
        read_only: false,
        schema_exists: true,
        may_create: true,
        may_change: true,
        foreign_owner: None,
        other_writers: Vec::new(),
    }
}

fn role(name: &str) -> Role {
    Role {
        name: name.into(),
        is_superuser: false,
        can_write: false,
    }
}

/// Everything works; the plan has somebody in every situation.
fn working() -> Findings {
    let plan = plan_tests::everything();
    Findings {
        crm: CrmFindings {
            role: Some(role("reader")),
            ..CrmFindings::default()
        },
        state: StateFindings {
            rights: Some(rights()),
            version: Some(SchemaVersion::Current),
            account: Some(Account {
                now: plan.now,
                ..Account::default()
            }),
            managed: plan.snapshot.users.len(),
            ..StateFindings::default()
        },
        wazzup: Ok(()),
        plan: Some(plan),
    }
}

fn suspicious() -> Findings {
    let mut findings = working();
    findings.crm.role = Some(role("syncer"));
    findings.crm.ambiguous = Some(TableSchemas {
        read: "public".into(),
        others: vec!["archive".into()],
    });
    findings.crm.unconvertible = Some(Unconvertible {
        encoding: "WIN1251".into(),
        ids: vec!["7".into()],
        unreadable_ids: 1,
        query: "SELECT …".into(),
    });
    findings.state.other_accounts = vec!["pilot".into()];
    findings.state.rights.as_mut().unwrap().other_writers = vec!["PUBLIC".into(), "anna\u{1b}[2J".into()];
    findings
}

fn broken() -> Findings {
    Findings {
        crm: CrmFindings {
            error: Some(crm_source::Error::Query(Reason::new(
                "relation \"employees\" does not exist (SQLSTATE 42P01)",
                Some("42P01"),
            ))),
            similar_tables: vec!["hr.employee".into()],
            ..CrmFindings::default()
        },
        state: StateFindings {
            rights: Some(Rights {
                foreign_owner: Some(ForeignOwner {
                    schema: "wazzup_sync".into(),
                    object: None,
                    owner: "mallory".into(),
                }),
                ..rights()
            }),
            ..StateFindings::default()
        },
        wazzup: Err(Interruption::Unauthorized.into()),
        plan: None,
    }
}

fn down() -> Findings {
    let reason = || Reason::new("cannot connect to db:5432: connection refused", None);
    Findings {
        crm: CrmFindings {
            error: Some(crm_source::Error::Unavailable(reason())),
            ..CrmFindings::default()
        },
        state: StateFindings {
            error: Some(StateError::Unavailable(reason())),
            ..StateFindings::default()
        },
        wazzup: Err(Interruption::Unavailable("no answer".into()).into()),
        plan: None,
    }
}

fn report_of(findings: &Findings, sslmode: &str) -> Report {
    let mut report = Report::new();
    report.add_findings(&Files::new().context(sslmode), findings);
    report
}

fn shown(findings: &Findings, sslmode: &str, width: usize) -> String {
    let mut page = Page::with_width(width);
    report_of(findings, sslmode).write(&mut page);
    let text = page.plain_text();
    let too_long = text.lines().find(|line| line.chars().count() > width);
    assert_eq!(too_long, None);
    text
}

#[test]
fn everything_works() {
    let findings = working();
    insta::assert_snapshot!(shown(&findings, "disable", 60), @r#"
    CRM           ✓ the database at db:5432 answers
    CRM query     ✓ 11 employees; all columns are there
    Rows          ! 1 employee rejected, INVALID_NAME: the name
                  is blank or longer than 200 characters (24)
                  → correct it in the CRM
    Phones        ! 1 employee without phone, INVALID_PHONE: the
                  phone is not a valid number; the rest of the
                  row is synced (12)
                  → correct it in the CRM
    CRM role      ✓ "reader" may only read
    State         ✓ the schema wazzup_sync is up to date; 7
                  managed users
    Lease         ✓ free: no process is running for this account
    Wazzup        ✓ https://api.wazzup24.com/v3 answers
    API key       ✓ accepted
    User list     ✓ complete: 10 users
    Seats         ✓ 10 of 1000 (documented) used, 3 of them by
                  users that are not ours; 10 after the next
                  cycle
    Next cycle    ✓ 11 employees in the CRM: 2 to add, 1 to
                  adopt, 3 to change, 5 held, waiting or
                  failing. 2 users to remove. 1 take-over held.
                  1 other user in Wazzup, left alone. 3 requests
                  to send.
    Held          ! 1 take-over: this id belongs to a user in
                  Wazzup with another name, whom we did not
                  create
                  → `wazzup-sync plan` names the users; if this
                    is the same person: `wazzup-sync approve`,
                    once a cycle has held this; otherwise, give
                    the employee another id in the CRM

    Everything that a cycle needs is there; 3 warnings.
    "#);
    insta::assert_snapshot!(shown(&findings, "disable", 80), @r#"
    CRM           ✓ the database at db:5432 answers
    CRM query     ✓ 11 employees; all columns are there
    Rows          ! 1 employee rejected, INVALID_NAME: the name is blank or longer
                  than 200 characters (24)
                  → correct it in the CRM
    Phones        ! 1 employee without phone, INVALID_PHONE: the phone is not a
                  valid number; the rest of the row is synced (12)
                  → correct it in the CRM
    CRM role      ✓ "reader" may only read
    State         ✓ the schema wazzup_sync is up to date; 7 managed users
    Lease         ✓ free: no process is running for this account
    Wazzup        ✓ https://api.wazzup24.com/v3 answers
    API key       ✓ accepted
    User list     ✓ complete: 10 users
    Seats         ✓ 10 of 1000 (documented) used, 3 of them by users that are not
                  ours; 10 after the next cycle
    Next cycle    ✓ 11 employees in the CRM: 2 to add, 1 to adopt, 3 to change, 5
                  held, waiting or failing. 2 users to remove. 1 take-over held. 1
                  other user in Wazzup, left alone. 3 requests to send.
    Held          ! 1 take-over: this id belongs to a user in Wazzup with another
                  name, whom we did not create
                  → `wazzup-sync plan` names the users; if this is the same person:
                    `wazzup-sync approve`, once a cycle has held this; otherwise,
                    give the employee another id in the CRM

    Everything that a cycle needs is there; 3 warnings.
    "#);
    insta::assert_snapshot!(shown(&findings, "disable", 120), @r#"
    CRM           ✓ the database at db:5432 answers
    CRM query     ✓ 11 employees; all columns are there
    Rows          ! 1 employee rejected, INVALID_NAME: the name is blank or longer than 200 characters (24)
                  → correct it in the CRM
    Phones        ! 1 employee without phone, INVALID_PHONE: the phone is not a valid number; the rest of the row is synced
                  (12)
                  → correct it in the CRM
    CRM role      ✓ "reader" may only read
    State         ✓ the schema wazzup_sync is up to date; 7 managed users
    Lease         ✓ free: no process is running for this account
    Wazzup        ✓ https://api.wazzup24.com/v3 answers
    API key       ✓ accepted
    User list     ✓ complete: 10 users
    Seats         ✓ 10 of 1000 (documented) used, 3 of them by users that are not ours; 10 after the next cycle
    Next cycle    ✓ 11 employees in the CRM: 2 to add, 1 to adopt, 3 to change, 5 held, waiting or failing. 2 users to
                  remove. 1 take-over held. 1 other user in Wazzup, left alone. 3 requests to send.
    Held          ! 1 take-over: this id belongs to a user in Wazzup with another name, whom we did not create
                  → `wazzup-sync plan` names the users; if this is the same person: `wazzup-sync approve`, once a cycle has
                    held this; otherwise, give the employee another id in the CRM

    Everything that a cycle needs is there; 3 warnings.
    "#);
}

#[test]
fn much_is_suspicious() {
    let report = report_of(&suspicious(), "require");
    assert!(report.ok);
    insta::assert_snapshot!(shown(&suspicious(), "require", 80), @r#"
    CRM           ✓ the database at db:5432 answers
                  ! crm.url: sslmode=require accepts any certificate, so anybody on
                  the way can pose as the database and read the password; write
                  sslmode=verify-full, with sslrootcert=… for a private CA
    CRM table     ! crm.table names no schema: public.employees is read, but the
                  schema archive also has a table employees
                  → write `table = "public.employees"`
    CRM query     ✓ 11 employees; all columns are there
    Rows          ! values that cannot be converted to UTF-8 are left out: in the
                  name or phone of 1 employee (7), and in the id of 1 row; the
                  database's encoding is WIN1251
                  → correct these values in the CRM; this query shows them:
                    `SELECT …`
                  ! 1 employee rejected, INVALID_NAME: the name is blank or longer
                  than 200 characters (24)
                  → correct it in the CRM
    Phones        ! 1 employee without phone, INVALID_PHONE: the phone is not a
                  valid number; the rest of the row is synced (12)
                  → correct it in the CRM
    CRM role      ✓ "syncer" may only read
    State         ✓ the schema wazzup_sync is up to date; 7 managed users
                  ! state.url: sslmode=require accepts any certificate, so anybody
                  on the way can pose as the database and read the password; write
                  sslmode=verify-full, with sslrootcert=… for a private CA
    State access  ! "syncer" is the role of both crm.url and state.url, so it may do
                  more than either needs
                  → use two roles: one that may only read the employees, and one
                    that owns nothing but the state's schema
                  ! other roles may write in the schema wazzup_sync, and so have
                  anybody removed from Wazzup: PUBLIC, anna\u{1b}[2J
                  → revoke these rights: the schema is as sensitive as the API key,
                    and "syncer" alone needs it
    Account       ! the state does not know the account "main"; it knows: pilot
                  → correct `account`, unless this is a new account: under a wrong
                    name, no user in Wazzup is known to be ours
    Lease         ✓ free: no process is running for this account
    Wazzup        ✓ https://api.wazzup24.com/v3 answers
    API key       ✓ accepted
    User list     ✓ complete: 10 users
    Seats         ✓ 10 of 1000 (documented) used, 3 of them by users that are not
                  ours; 10 after the next cycle
    Next cycle    ✓ 11 employees in the CRM: 2 to add, 1 to adopt, 3 to change, 5
                  held, waiting or failing. 2 users to remove. 1 take-over held. 1
                  other user in Wazzup, left alone. 3 requests to send.
    Held          ! 1 take-over: this id belongs to a user in Wazzup with another
                  name, whom we did not create
                  → `wazzup-sync plan` names the users; if this is the same person:
                    `wazzup-sync approve`, once a cycle has held this; otherwise,
                    give the employee another id in the CRM

    Everything that a cycle needs is there; 10 warnings.
    "#);
}

#[test]
fn nothing_works() {
    assert!(!report_of(&broken(), "disable").ok);
    insta::assert_snapshot!(shown(&broken(), "disable", 80), @r#"
    CRM           ✓ the database at db:5432 answers
    CRM query     ✗ the CRM cannot be read: relation "employees" does not exist
                  (SQLSTATE 42P01); check crm.table or crm.query, and in which
                  database and schema the table is
                  → correct crm.table; did you mean one of these: hr.employee?
    State         ✗ the state schema wazzup_sync is owned by the role mallory, whose
                  code could run with our rights: the role of state.url has to own
                  the schema and everything in it
                  → set state.schema to a new schema, or, if this one is empty, run
                    `ALTER SCHEMA "wazzup_sync" OWNER TO "syncer"`
    API key       ✗ https://api.wazzup24.com/v3: Wazzup does not accept the API key
                  (401): replace it with an API key from the account's settings
    Next cycle    ! what the next cycle would do cannot be told yet
                  → first correct the items above

    3 items to correct; 1 warning.
    "#);
    insta::assert_snapshot!(shown(&down(), "disable", 80), @r"
    CRM           ✗ the CRM database is unavailable: cannot connect to db:5432:
                  connection refused; check that the database is running and that
                  crm.url is right
    State         ✗ the state database is unavailable: cannot connect to db:5432:
                  connection refused; check that the database is running and that
                  state.url is right
    Wazzup        ✗ https://api.wazzup24.com/v3: Wazzup is unavailable: no answer;
                  if this lasts, check the network, wazzup.base_url and Wazzup's
                  status
    Next cycle    ! what the next cycle would do cannot be told yet
                  → first correct the items above

    3 items to correct; 1 warning.
    ");
}

#[test]
fn files_that_others_can_read_or_write() {
    use std::os::unix::fs::PermissionsExt as _;

    let files = Files::new();
    let context = files.context("disable");
    let shown = |key_mode: u32, config_mode: u32| {
        fs::set_permissions(files.key(), fs::Permissions::from_mode(key_mode)).unwrap();
        fs::set_permissions(files.path(), fs::Permissions::from_mode(config_mode)).unwrap();
        let mut report = Report::new();
        files::report(&mut report, &context);
        let mut page = Page::with_width(1_000);
        report.write(&mut page);
        let directory = files.directory.path().to_string_lossy().into_owned();
        page.plain_text().replace(&directory, "/etc")
    };
    assert!(!shown(0o600, 0o644).contains('!'));
    assert!(!shown(0o640, 0o644).contains('!'));
    insta::assert_snapshot!(shown(0o644, 0o646), @r#"
    Configuration ✓ /etc/wazzup-sync.toml, account "main"
    Files         ! every user of this machine can change /etc/wazzup-sync.toml
                  → run `chmod o-w /etc/wazzup-sync.toml`; the daemon's own user must still be able to read it
                  ! every user of this machine can read or change /etc/key
                  → run `chmod o-rw /etc/key`; the daemon's own user must still be able to read it

    Everything that a cycle needs is there; 2 warnings.
    "#);
}

#[test]
fn the_json_is_documented() {
    let samples: Vec<Value> = [working(), broken()]
        .iter()
        .map(|findings| serde_json::to_value(report_of(findings, "disable")).unwrap())
        .collect();
    assert_eq!((&samples[0]["ok"], &samples[1]["ok"]), (&true.into(), &false.into()));
    json_docs::compare("check", &samples);
}
