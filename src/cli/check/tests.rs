use std::{fs, path::PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use super::{
    super::{
        invocation::Invocation,
        page,
        plan::{advice::unknown_account, tests as plan_tests},
        tests::json_docs,
    },
    *,
};
use crate::{
    config::Config,
    crm::{self as crm_source, FoundTable, Role, TableName, Unconvertible},
    employee::EmployeeId,
    plan::Waiting,
    postgres::Reason,
    state::{ForeignOwner, Rights},
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

    /// `crm_role` reads the CRM, and `syncer` writes the state.
    fn context(&self, crm_role: &str, sslmode: &str) -> Context {
        fs::write(self.key(), "0123456789abcdef").unwrap();
        let text = format!(
            "account = \"main\"\n[crm]\nurl = \"postgres://{crm_role}@db/crm?sslmode={sslmode}\"\ntable = \"employees\"\n\
             [wazzup]\napi_key_file = {:?}\n[state]\nurl = \"postgres://syncer@db/crm?sslmode={sslmode}\"\n",
            self.key()
        );
        fs::write(self.path(), text).unwrap();
        let config = Config::load(&self.path(), []).unwrap();
        Context {
            engine: setup::engine(&config),
            config,
            config_path: self.path(),
            invocation: Invocation::default(),
        }
    }
}

fn found(schema: &str, name: &str, is_read: bool) -> FoundTable {
    FoundTable {
        schema: schema.into(),
        name: name.into(),
        is_read,
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

fn shown(report: &CheckReport) -> String {
    page::tests::shown(|page| report.write(page))
}

/// Everything works; the plan has somebody in every situation.
fn working() -> CheckReport {
    let context = Files::new().context("reader", "disable");
    let view = plan_tests::everything();
    let mut report = CheckReport::default();
    databases::report_urls(&mut report, &context.config);
    let role = Role {
        name: "reader".into(),
        can_write: false,
    };
    databases::report_role(&mut report, &role, &context.config.source);
    databases::report_rows(&mut report, &context, &view.plan);
    assert_eq!(databases::obstacle("wazzup_sync", &rights()), None);
    report.add_wazzup(&context, &Ok(()));
    report.add_outlook(&context, Some(&view));
    report
}

fn broken() -> CheckReport {
    let context = Files::new().context("reader", "disable");
    let mut report = CheckReport::default();
    let reason = Reason::new("relation \"employees\" does not exist", Some("42P01"));
    report.fail("CRM query", &crm_source::Error::Query(reason));
    databases::report_tables(
        &mut report,
        &"employees".parse().unwrap(),
        &[found("hr", "employee", false)],
    );
    let foreign_owner = ForeignOwner {
        schema: "wazzup_sync".into(),
        object: None,
        owner: "mallory".into(),
    };
    let schemas = [
        Rights {
            foreign_owner: Some(foreign_owner),
            ..rights()
        },
        Rights {
            read_only: true,
            ..rights()
        },
        Rights {
            may_create: false,
            ..rights()
        },
        Rights {
            may_create: false,
            schema_exists: false,
            ..rights()
        },
        Rights {
            may_change: false,
            ..rights()
        },
    ];
    for rights in &schemas {
        report.add("State", databases::obstacle("wazzup_sync", rights).unwrap());
    }
    report.add_wazzup(&context, &Err(Interruption::Unauthorized.into()));
    report.add_wazzup(&context, &Err(Interruption::Unavailable("no answer".into()).into()));
    report.add_outlook(&context, None);
    report
}

#[test]
fn everything_works() {
    insta::assert_snapshot!(shown(&working()), @r#"
    CRM role        ✓ "reader" cannot write the employees' table
    CRM query       ✓ 11 employees; all columns are there
    Rows            ! 1 employee with INVALID_NAME: the name is blank, longer than
                    200 characters, or cannot be converted to UTF-8 (24)
                    → correct it in the CRM
    Rows            ! 1 employee with INVALID_PHONE: the phone is not a valid
                    number; the rest of the row is synced (12)
                    → correct it in the CRM
    Wazzup          ✓ https://api.wazzup24.com/v3 answers and accepts the API key
    User list       ✓ complete: 10 users
    Seats           ✓ 10 of 1000 used, 3 of them by users that are not ours; 10 are
                    needed after the next cycle
    Next cycle      ✓ 11 employees in the CRM: unchanged 0, remove 2, update 3,
                    adopt 1, add 2, waiting 1, backing off 1, staying 1, rejected 1,
                    without phone 1. Held: 1 take-over. In Wazzup and not ours: 3
                    users. 3 requests to send.
    Held            ! 1 take-over: this id belongs to a user in Wazzup with another
                    name, whom we did not create
                    → if this is the same person: `wazzup-sync approve` (after the
                      next cycle); otherwise, give the employee another id in the
                      CRM

    Everything that a cycle needs is there; 3 warnings.
    "#);
}

#[test]
fn much_is_suspicious() {
    let context = Files::new().context("syncer", "require");
    let mut report = CheckReport::default();
    databases::report_urls(&mut report, &context.config);
    let role = Role {
        name: "syncer".into(),
        can_write: true,
    };
    databases::report_role(&mut report, &role, &context.config.source);
    let namesakes = [found("archive", "employees", false), found("public", "employees", true)];
    databases::report_tables(&mut report, &"employees".parse().unwrap(), &namesakes);
    // None of these is ambiguous.
    databases::report_tables(&mut report, &"public.employees".parse().unwrap(), &namesakes);
    databases::report_tables(&mut report, &"employees".parse().unwrap(), &namesakes[1..]);
    let unconvertible = Unconvertible {
        encoding: "WIN1251".into(),
        ids: vec!["7".into()],
        unreadable_ids: 1,
        query: "SELECT …".into(),
    };
    databases::report_unconvertible(&mut report, &unconvertible);
    let rights = Rights {
        other_writers: vec!["PUBLIC".into(), "anna\u{1b}[2J".into()],
        ..rights()
    };
    databases::report_other_writers(&mut report, "wazzup_sync", &rights);
    report.add("Account", unknown_account("main", &["pilot".into()]).unwrap());
    assert!(report.is_ok());
    insta::assert_snapshot!(shown(&report), @r#"
    CRM             ! crm.url: sslmode=require accepts any certificate, so anybody
                    on the way can pose as the database and read the password; write
                    sslmode=verify-full, with sslrootcert=… for a private CA
    State           ! state.url: sslmode=require accepts any certificate, so anybody
                    on the way can pose as the database and read the password; write
                    sslmode=verify-full, with sslrootcert=… for a private CA
    State access    ! "syncer" is the role of both crm.url and state.url, so it may
                    do more than either needs
                    → use two roles: one that may only read the employees, and one
                      that owns nothing but the state's schema
    CRM role        ! "syncer" may do more than read the employees
                    → use a role in crm.url that may SELECT and nothing else
    CRM table       ! crm.table names no schema: public.employees is read, but there
                    are also tables employees in: archive
                    → write `table = "public.employees"`
    Rows            ! values that cannot be converted from the database's encoding
                    WIN1251 to UTF-8 are left out: 1 row with such an id, 1 employee
                    with such a name or phone (7)
                    → correct these values in the CRM; this query shows them:
                      `SELECT …`
    State access    ! other roles may write in the schema wazzup_sync, and so have
                    anybody removed from Wazzup: PUBLIC, anna\u{1b}[2J
                    → revoke these rights: the schema is as sensitive as the API
                      key, and "syncer" alone needs it
    Account         ! the state does not know the account "main"; it knows: pilot
                    → correct `account`, unless this is a new account: under a wrong
                      name, no user in Wazzup is known to be ours

    Everything that a cycle needs is there; 8 warnings.
    "#);
}

#[test]
fn nothing_works() {
    let report = broken();
    assert!(!report.is_ok());
    insta::assert_snapshot!(shown(&report), @r#"
    CRM query       ✗ the CRM cannot be read: relation "employees" does not exist;
                    check crm.table or crm.query, and in which database and schema
                    the table is
    CRM table       ! there are tables with similar names: hr.employee
                    → correct crm.table if one of them is meant
    State           ✗ the state schema wazzup_sync is owned by the role mallory,
                    whose code could run with our rights: the role of state.url has
                    to own the schema and everything in it
                    → set state.schema to a new schema, or, if this one is empty,
                      run `ALTER SCHEMA "wazzup_sync" OWNER TO "syncer"`
    State           ✗ the database takes no changes: it is a standby, or set to be
                    read-only
                    → point state.url at the primary
    State           ✗ "syncer" lacks the right to use the schema wazzup_sync or to
                    create tables in it
                    → run `GRANT USAGE, CREATE ON SCHEMA "wazzup_sync" TO "syncer"`
    State           ✗ the schema wazzup_sync does not exist, and "syncer" may not
                    create it
                    → run `CREATE SCHEMA "wazzup_sync" AUTHORIZATION "syncer"`
    State           ✗ "syncer" may not read and change all tables of the schema
                    wazzup_sync
                    → make the role the owner of the tables:
                      `ALTER TABLE … OWNER TO "syncer"`
    API key         ✗ https://api.wazzup24.com/v3: Wazzup does not accept the API
                    key (401): replace it with an API key from the account's
                    settings
    Wazzup          ✗ https://api.wazzup24.com/v3: Wazzup is unavailable: no answer;
                    if this lasts, check the network, wazzup.base_url and Wazzup's
                    status
    Next cycle      ! it is not known yet what the next cycle would do
                    → first correct the items above

    8 items to correct; 2 warnings.
    "#);
}

/// What `check` suggests can be copied into the configuration.
#[test]
fn an_odd_name_is_suggested_as_the_configuration_takes_it() {
    for (schema, name) in [("public", "staff"), ("My.Schema", "a \"b\" 'c'"), ("public ", "x.y")] {
        let configured: TableName = format!("\"{}\"", name.replace('"', "\"\"")).parse().unwrap();
        let tables = [found(schema, name, true), found("other", name, false)];
        let mut report = CheckReport::default();
        databases::report_tables(&mut report, &configured, &tables);
        let remedy = report.items[0].advice.remedy.clone().unwrap();
        let line = remedy.trim_start_matches("write `").trim_end_matches('`');
        let written: toml::Table = line.parse().unwrap();
        let read: TableName = written["table"].as_str().unwrap().parse().unwrap();
        assert_eq!(read.quoted(), format!("\"{schema}\".{}", configured.quoted()));
    }
}

#[test]
fn files_that_others_can_read_or_write() {
    use std::os::unix::fs::PermissionsExt as _;

    let files = Files::new();
    let context = files.context("reader", "disable");
    let shown = |key_mode: u32, config_mode: u32| {
        fs::set_permissions(files.key(), fs::Permissions::from_mode(key_mode)).unwrap();
        fs::set_permissions(files.path(), fs::Permissions::from_mode(config_mode)).unwrap();
        let mut report = CheckReport::default();
        files::report(&mut report, &context);
        let mut page = Page::with_width(1_000);
        report.write(&mut page);
        let directory = files.directory.path().to_string_lossy().into_owned();
        page.plain_text().replace(&directory, "/etc")
    };
    assert!(!shown(0o600, 0o644).contains('!'));
    assert!(!shown(0o640, 0o644).contains('!'));
    insta::assert_snapshot!(shown(0o644, 0o646), @r#"
    Configuration   ✓ /etc/wazzup-sync.toml, account "main"
    Files           ! every user of this machine can change /etc/wazzup-sync.toml
                    → run `chmod o-w /etc/wazzup-sync.toml`; the daemon's own user must still be able to read it
    Files           ! every user of this machine can read or change /etc/key
                    → run `chmod o-rw /etc/key`; the daemon's own user must still be able to read it

    Everything that a cycle needs is there; 2 warnings.
    "#);
}

#[test]
fn the_json_is_documented() {
    let samples: Vec<Value> = [working(), broken()].iter().map(CheckReport::json).collect();
    assert_eq!((&samples[0]["ok"], &samples[1]["ok"]), (&true.into(), &false.into()));
    json_docs::compare("check", &samples);
}

#[test]
fn whoever_waits_for_a_seat_is_counted() {
    let mut view = plan_tests::everything();
    let used = view.list.users().count();
    view.snapshot.account.seats.limit = Some(used);
    view.plan.upserts.clear();
    view.plan.removals.clear();
    let ids = ["w1", "w2"].map(|id| EmployeeId::parse(id).unwrap());
    view.plan.waiting = ids.map(|id| (id, Waiting::ForSeat)).into();
    let advice = seats(&view);
    let waiting = ": 2 employees will have to wait for a seat";
    assert!(
        advice.mark == Mark::Warning && advice.reason.ends_with(waiting),
        "{advice:?}"
    );
}
