//! The URLs of the databases, and where the employees are.

use rstest::rstest;
use sqlx::postgres::PgSslMode;

use super::{DatabaseUrl, Source, load, problems, with};

fn url(text: &str) -> Result<DatabaseUrl, String> {
    load(&with(&[("crm.url", &format!("{text:?}"))]), &[]).map(|config| config.crm_url)
}

#[rstest]
#[case("employees", r#""employees""#)]
#[case("public.Employees", r#""public"."Employees""#)]
#[case("My Table", r#""My Table""#)]
#[case(r#""My Schema"."Weird.Table""#, r#""My Schema"."Weird.Table""#)]
#[case(r#"hr."a""b""#, r#""hr"."a""b""#)]
#[case(r#""a""""#, r#""a""""#)]
#[case("сотрудники", r#""сотрудники""#)]
fn a_table_has_one_or_two_names(#[case] text: &str, #[case] quoted: &str) {
    let config = load(&with(&[("crm.table", &format!("'{text}'"))]), &[]).unwrap();
    assert!(matches!(config.source, Source::Table { name, .. } if name.quoted() == quoted));
}

#[rstest]
#[case(".")]
#[case("a.")]
#[case(".a")]
#[case("a..b")]
#[case("a.b.c")]
#[case(r#"a"b"#)]
#[case(r#""a"#)]
#[case(r#""""#)]
#[case(r#"a."""#)]
fn other_tables_are_refused(#[case] text: &str) {
    let message = problems(&with(&[("crm.table", &format!("'{text}'"))]));
    assert!(message.contains("`crm.table`"), "{message}");
}

#[rstest]
#[case("SELECT 1", "SELECT 1")]
#[case(" select 1 ; ", "select 1")]
#[case("SELECT ';'", "SELECT ';'")]
#[case("SELECT 1; SELECT 2", "SELECT 1; SELECT 2")]
fn a_query_is_taken_as_text(#[case] text: &str, #[case] query: &str) {
    let config = load(&with(&[("crm.table", ""), ("crm.query", &format!("{text:?}"))]), &[]).unwrap();
    assert_eq!(config.source, Source::Query(query.into()));
}

#[rstest]
#[case::remote("postgres://a:hunter2@db/crm", "verify-full")]
#[case::remote_address("postgres://a@10.0.0.1/crm", "verify-full")]
#[case::looks_local("postgres://a@localhost.example.com/crm", "verify-full")]
#[case::host_in_the_query("postgres://localhost/crm?host=db", "verify-full")]
#[case::address_in_the_query("postgres://localhost/crm?hostaddr=10.0.0.1", "verify-full")]
#[case::require("postgres://db/crm?sslmode=require", "require")]
#[case::disable("postgres://db/crm?sslmode=disable", "disable")]
#[case::verify_ca("postgres://db/crm?ssl-mode=verify-ca", "verify-ca")]
#[case::verify_full("postgres://db/crm?sslmode=verify-full&sslrootcert=/x", "verify-full")]
#[case::loopback("postgres://127.0.0.1/crm", "prefer")]
#[case::loopback_6("postgres://[::1]/crm", "prefer")]
#[case::loopback_name("postgres://localhost/crm?sslmode=allow", "allow")]
#[case::socket("postgres:///crm?host=/run/postgresql", "prefer")]
#[case::socket_as_host("postgres://%2Frun%2Fpostgresql/crm", "prefer")]
fn the_password_is_encrypted_unless_the_url_says_otherwise(#[case] text: &str, #[case] mode: &str) {
    let url = url(text).unwrap();
    let mode: PgSslMode = mode.parse().unwrap();
    assert_eq!(format!("{:?}", url.options.get_ssl_mode()), format!("{mode:?}"));
    assert_eq!(
        url.ssl_warning().is_some(),
        matches!(mode, PgSslMode::Require),
        "{text}"
    );
}

#[rstest]
#[case("postgres://db/crm?sslmode=prefer", "sslmode=disable")]
#[case("postgres://db/crm?sslmode=ALLOW", "sslmode=disable")]
#[case("postgres://db/crm?sslmode=maybe", "verify-full")]
#[case("postgres://a:hunter2@x@db/crm", "%40")]
#[case("postgres://a:12/hunter2@db/crm", "%2F")]
#[case("postgres://a:12#hunter2@db/crm", "%23")]
#[case("postgres://a:12?hunter2@db/crm", "%3F")]
#[case("postgres://a:hunter2/x@db/crm", "%2F")]
#[case("postgres://a:hunter2#x@db/crm", "%23")]
#[case("postgres://a:b@hunter2 x/crm", "%")]
#[case("postgres://a:b@hunter2,x/crm", "%40")]
#[case("mysql://a:hunter2@db/crm", "postgres://")]
fn another_url_is_refused_with_what_to_write(#[case] text: &str, #[case] said: &str) {
    let message = url(text).unwrap_err();
    assert!(message.contains("`crm.url`") && message.contains(said), "{message}");
}

#[rstest]
#[case("postgres://a:hunter2@db.example/crm", "db.example:5432")]
#[case("postgres://a:hunter2@db:6432/crm", "db:6432")]
#[case("postgres://[::1]:6432/crm", "[::1]:6432")]
fn an_address_has_no_secret(#[case] text: &str, #[case] address: &str) {
    let url = url(text).unwrap();
    assert_eq!(url.address(), address);
    assert_eq!(format!("{url:?}"), format!("DatabaseUrl({address:?})"));
}

#[test]
fn a_percent_encoded_password_is_decoded() {
    let options = url("postgres://a:p%40%2F%23@db/crm").unwrap().options;
    // There is no getter, and `Debug` of sqlx shows it.
    assert!(format!("{options:?}").contains("p@/#"));
}
