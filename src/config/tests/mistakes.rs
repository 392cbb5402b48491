//! What is wrong is refused, with its key and where it was set.

use std::{ffi::OsString, path::Path};

use rstest::rstest;

use super::{Config, file, load, problems, with};

#[rstest]
#[case("account", "5")]
#[case("account", r#""""#)]
#[case("account", r#""a\nb""#)]
#[case("acount", r#""main""#)]
#[case("crm", "5")]
#[case("crm.url", "5")]
#[case("crm.url", r#""""#)]
#[case("crm.url", r#""mysql://reader:hunter2@db/crm""#)]
#[case("crm.url", r#""postgres://reader:hunter2@db:notaport/crm""#)]
#[case("crm.url", r#""postgres://reader:hunter2@db/crm?sslmode=maybe""#)]
#[case("crm.url.file", r#""x""#)]
#[case("crm.url_file", r#""/nowhere/at-all""#)]
#[case("crm.url_file", r#""postgres://reader:hunter2@db/crm""#)]
#[case("crm.url_file", r#""/dev/null""#)]
#[case("crm.table", r#""""#)]
#[case("crm.table", r#""a.b.c""#)]
#[case("crm.table", r#""a.""#)]
#[case("crm.table", r#"'"a'"#)]
#[case("crm.table", r#"["a"]"#)]
#[case("crm.tables", r#""a""#)]
#[case("crm.table", r#""a234567890b234567890c234567890d234567890e234567890f234567890g234""#)]
#[case("crm.query", r#"" ""#)]
#[case("crm.phone_region", r#""ru""#)]
#[case("crm.phone_region", r#""ZZ""#)]
#[case("crm.phone_region", r#""RUS""#)]
#[case("crm.phone_region", r#""UK""#)]
#[case("crm.query_timeout", r#""0s""#)]
#[case("crm.query_timeout", r#""100us""#)]
#[case("crm.query_timeout", r#""25h""#)]
#[case("crm.columns.id", r#""""#)]
#[case("crm.columns.name", "true")]
#[case("crm.columns.email", r#""email""#)]
#[case("wazzup.base_url", r#""http://api.wazzup24.com/v3""#)]
#[case("wazzup.base_url", r#""http://127.0.0.1.example.com/v3""#)]
#[case("wazzup.base_url", r#""http://localhost.example.com/v3""#)]
#[case("wazzup.base_url", r#""ftp://api.wazzup24.com/v3""#)]
#[case("wazzup.base_url", r#""api.wazzup24.com/v3""#)]
#[case("wazzup.base_url", r#""https://user:hunter2@api.wazzup24.com/v3""#)]
#[case("wazzup.base_url", r#""https://api.wazzup24.com/v3?key=key-4711""#)]
#[case("wazzup.base_url", r#""https://api.wazzup24.com/v3#top""#)]
#[case("wazzup.api_key", "4711")]
#[case("wazzup.api_key", r#""  ""#)]
#[case("wazzup.api_key", r#""two words""#)]
#[case("wazzup.api_key", r#""ключ""#)]
#[case("wazzup.api_key_file", r#""""#)]
#[case("wazzup.api_key_file", r#""https://user:hunter2@example.com""#)]
#[case("wazzup.timeout", r#""0s""#)]
#[case("wazzup.timeout", r#""-5s""#)]
#[case("wazzup.timeout", "30")]
#[case("wazzup.requests_per_minute", "0")]
#[case("wazzup.requests_per_minute", "-1")]
#[case("wazzup.requests_per_minute", "1.5")]
#[case("wazzup.requests_per_minute", "4294967296")]
#[case("wazzup.requests_per_minute", r#""900""#)]
#[case("state.url", r#""db""#)]
#[case("state.url_file", r#""/nowhere/at-all""#)]
#[case("state.schema", r#""""#)]
#[case("state.schema", r#""a\u0000b""#)]
#[case("state.schema", r#""pg_wazzup""#)]
#[case(
    "state.schema",
    r#""a234567890b234567890c234567890d234567890e234567890f234567890g234""#
)]
#[case("state.lease", r#""59s""#)]
#[case("state.keep_history", r#""3 months""#)]
#[case("state.keep_history", r#""0d""#)]
#[case("schedule.every", r#""0s""#)]
#[case("schedule.every", r#""60""#)]
#[case("schedule.every", r#""soon""#)]
#[case("schedule.every", r#""1000 years""#)]
#[case("schedule.every", r#""36501d""#)]
#[case("schedule.every", "1979-05-27")]
#[case("schedule.often", r#""1m""#)]
#[case("schedule.verify_every", r#""""#)]
#[case("schedule.listen", r#""""#)]
#[case(
    "schedule.listen",
    r#""a234567890b234567890c234567890d234567890e234567890f234567890g234""#
)]
#[case("schedule.unhealthy_after", r#""0s""#)]
#[case("removals.policy", r#""Remove""#)]
#[case("removals.policy", "false")]
#[case("removals.hold_above", "-1")]
#[case("removals.hold_above_percent", "101")]
#[case("removals.hold_above_percent", "10.0")]
#[case("removals.grace", r#""-1s""#)]
#[case("removals.grace", r#""36501d""#)]
#[case("updates.hold_above", r#""20""#)]
#[case("updates.hold_above_percent", "101")]
#[case("takeovers.policy", r#""never""#)]
#[case("log.format", r#""xml""#)]
#[case("log.level", r#""loud""#)]
#[case("log.colour", "true")]
#[case("extra.key", "1")]
fn what_is_wrong_is_refused_with_its_key(#[case] key: &str, #[case] value: &str) {
    let other_form = match key {
        "crm.url_file" | "crm.url.file" => "crm.url",
        "crm.query" => "crm.table",
        "wazzup.api_key_file" => "wazzup.api_key",
        "state.url_file" => "state.url",
        _ => "schedule.listen",
    };
    let message = problems(&with(&[(other_form, ""), (key, value)]));
    let named = match key {
        "crm.url.file" => "crm.url",
        "extra.key" => "extra",
        key => key,
    };
    assert!(message.contains(&format!("`{named}`")), "{message}");
    if key != "crm" {
        assert_eq!(message.lines().count(), 2, "one mistake: {message}");
    }
}

#[rstest]
#[case::no_url(&[("crm.url", "")], &["`crm.url`", "`crm.url_file`"])]
#[case::no_key(&[("wazzup.api_key", "")], &["`wazzup.api_key`", "WAZZUP_SYNC__WAZZUP__API_KEY"])]
#[case::no_source(&[("crm.table", "")], &["`crm.table`", "`crm.query`"])]
#[case::no_state(&[("state.url", "")], &["`state.url`", "`state.url_file`"])]
#[case::empty(
    &[("crm", ""), ("wazzup", ""), ("state", "")],
    &["`crm.url`", "`crm.table`", "`wazzup.api_key`", "`state.url`"]
)]
#[case::both_sources(&[("crm.query", "'SELECT 1'")], &["`crm.table`", "`crm.query`"])]
#[case::columns_of_a_query(
    &[("crm.query", "'SELECT 1'"), ("crm.table", ""), ("crm.columns.id", "'x'")],
    &["`crm.columns.id`"]
)]
#[case::two_urls(&[("crm.url_file", "'x'")], &["`crm.url`", "`crm.url_file`", "two forms"])]
#[case::two_state_urls(&[("state.url_file", "'x'")], &["`state.url`", "`state.url_file`", "two forms"])]
#[case::two_keys(&[("wazzup.api_key_file", "'x'")], &["`wazzup.api_key`", "`wazzup.api_key_file`", "two forms"])]
#[case::empty_section(&[("extra", "{}")], &["`extra`"])]
#[case::short_lease(&[("wazzup.timeout", "'46s'")], &["`state.lease`", "`wazzup.timeout`", "\"92s\""])]
#[case::several(
    &[("schedule.every", "'0s'"), ("wazzup.api_key", ""), ("log.level", "5"), ("crm.url", "'x'"), ("loog", "1"),
      ("removals.policy", "'x'"), ("takeovers.policy", "'x'"), ("state.lease", "'soon'")],
    &["`schedule.every`", "`wazzup.api_key`", "`log.level`", "`crm.url`", "`loog`", "`removals.policy`",
      "`takeovers.policy`", "`state.lease`"]
)]
fn what_does_not_fit_together_is_refused(#[case] changes: &[(&str, &str)], #[case] named: &[&str]) {
    let message = problems(&with(changes));
    for name in named {
        assert!(message.contains(name), "{message}");
    }
}

#[rstest]
#[case("wazup.api_key", "`wazup`", "`wazzup`?")]
#[case("acount", "`acount`", "`account`?")]
#[case("wazzup.base_ulr", "`wazzup.base_ulr`", "`wazzup.base_url`?")]
#[case("crm.colums.id", "`crm.colums`", "`crm.columns`?")]
#[case("crm.columns.fone", "`crm.columns.fone`", "`crm.columns.phone`?")]
#[case(
    "schedule.often",
    "`schedule.often`",
    "[schedule] has: every, verify_every, listen, unhealthy_after"
)]
#[case("extra", "`extra`", "the top level has: account, crm, wazzup, state")]
fn an_unknown_key_is_answered_with_those_that_there_are(
    #[case] key: &str,
    #[case] named: &str,
    #[case] suggestion: &str,
) {
    let message = problems(&with(&[(key, "1")]));
    assert!(message.contains(named) && message.contains(suggestion), "{message}");
}

#[rstest]
#[case("WAZZUP_SYNC__SCHEDULE__EVERY", "0s", "`schedule.every`")]
#[case("WAZZUP_SYNC__CRM__URL", "hunter2", "`crm.url`")]
#[case("WAZZUP_SYNC__WAZZUP__API_KEY", "", "`wazzup.api_key`")]
#[case("WAZZUP_SYNC__WAZZUP__API_KEY_FILE", "x", "`wazzup.api_key`")]
#[case("WAZZUP_SYNC__WAZZUP__REQUESTS_PER_MINUTE", "many", "`wazzup.requests_per_minute`")]
#[case("WAZZUP_SYNC__SCHEDULE__OFTEN", "1m", "sets no key")]
#[case("WAZZUP_SYNC__SCHEDULE__EVRY", "1m", "WAZZUP_SYNC__SCHEDULE__EVERY?")]
#[case("WAZZUP_SYNC__SCHEDULE", "1m", "sets no key")]
#[case("WAZZUP_SYNC__CRM__URL__FILE", "hunter2", "WAZZUP_SYNC__CRM__URL_FILE?")]
#[case("WAZZUP_SYNC__ACCOUNT[0]", "x", "WAZZUP_SYNC__ACCOUNT?")]
#[case("WAZZUP_SYNC__", "x", "sets no key")]
#[case("WAZZUP_SYNC_", "x", "sets no key")]
#[case("WAZZUP_SYNC_SCHEDULE_EVERY", "1m", "WAZZUP_SYNC__SCHEDULE__EVERY?")]
#[case("WAZZUP_SYNC_SCHEDULE__EVERY", "1m", "WAZZUP_SYNC__SCHEDULE__EVERY?")]
#[case("WAZZUP_SYNC_WAZZUP_API_KEY", "key-4711", "WAZZUP_SYNC__WAZZUP__API_KEY?")]
#[case("wazzup_sync__account", "x", "WAZZUP_SYNC__ACCOUNT?")]
#[case("WAZZUP_SYNC_CONFIGURATION", "x", "sets no key")]
fn a_wrong_variable_is_named(#[case] name: &str, #[case] value: &str, #[case] said: &str) {
    let message = load(&with(&[]), &[(name, value)]).unwrap_err();
    assert!(message.contains(&format!("environment variable {name}")), "{message}");
    assert!(message.contains(said), "{message}");
}

#[cfg(unix)]
#[test]
fn a_variable_that_is_no_text_is_not_shown() {
    use std::os::unix::ffi::OsStringExt as _;
    let file = file(&with(&[]));
    let env = [(
        "WAZZUP_SYNC__WAZZUP__API_KEY".into(),
        OsString::from_vec(b"key-4711\xff".to_vec()),
    )];
    let message = Config::load(file.path(), env).unwrap_err().to_string();
    assert!(
        message.contains("WAZZUP_SYNC__WAZZUP__API_KEY") && !message.contains("4711"),
        "{message}"
    );
    assert!(message.contains("is not valid UTF-8"), "{message}");
    assert_eq!(
        message.lines().count(),
        2,
        "one mistake, and not a missing key: {message}"
    );
}

#[test]
fn a_missing_file_is_named_with_the_remedy() {
    let message = Config::load(Path::new("/nowhere/wazzup.toml"), [])
        .unwrap_err()
        .to_string();
    for part in ["/nowhere/wazzup.toml", "--config", "WAZZUP_SYNC_CONFIG"] {
        assert!(message.contains(part), "{message}");
    }
}

#[rstest]
#[case("\n[crm]\nurl = \"postgres://a:hunter2@db", "line 3")]
#[case("\n\napi_key = key-4711", "line 3")]
#[case("[crm]\nurl = postgres://a:hunter2@db", "line 2")]
#[case("[wazzup]\napi_key = \"key-4711\"\napi_key = \"key-4711\"", "line 3")]
#[case("[wazzup\napi_key = \"key-4711\"", "line 1")]
#[case("api_key = '''\nkey-4711\n", "line")]
fn what_is_not_toml_is_refused_with_its_line(#[case] text: &str, #[case] line: &str) {
    let message = load(text, &[]).unwrap_err();
    assert!(message.contains(line), "{message}");
}
