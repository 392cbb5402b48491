use std::{collections::BTreeMap, fs, io::Write as _};

use rstest::rstest;
use secrecy::ExposeSecret as _;
use sqlx::postgres::PgSslMode;
use tempfile::NamedTempFile;

use super::*;
use crate::{
    crm::{Columns, TableName},
    secret::SecretSource,
};

/// The least that is enough.
const LEAST: [(&str, &str); 4] = [
    ("crm.url", "'postgres://reader:hunter2@db/crm'"),
    ("crm.table", "'employees'"),
    ("wazzup.api_key", "'key-4711'"),
    ("state.url", "'postgres://writer:hunter2@db/crm'"),
];

/// `LEAST` with these keys set to pieces of TOML, and without those that are set to nothing.
fn with(changes: &[(&str, &str)]) -> String {
    let mut keys = BTreeMap::from(LEAST);
    for (key, value) in changes {
        keys.retain(|known, _| !known.starts_with(&format!("{key}.")));
        keys.insert(key, value);
    }
    keys.retain(|_, value| !value.is_empty());
    let lines: Vec<_> = keys.iter().map(|(key, value)| format!("{key} = {value}")).collect();
    lines.join("\n")
}

fn file(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::with_suffix(".toml").unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

/// Errors never show the secrets of these tests, and name the file unless they are about a variable.
fn load(text: &str, env: &[(&str, &str)]) -> Result<Config, String> {
    let file = file(text);
    let env: Vec<_> = env.iter().map(|(name, value)| (name.into(), value.into())).collect();
    Config::load_from(file.path(), env).map_err(|error| {
        let (message, debug) = (error.to_string(), format!("{error:?}"));
        for secret in ["hunter2", "4711"] {
            assert!(!message.contains(secret) && !debug.contains(secret), "{message}");
        }
        let names_origin = message.contains("environment variable") || message.contains(file.path().to_str().unwrap());
        assert!(names_origin, "{message}");
        message
    })
}

fn problems(text: &str) -> String {
    load(text, &[]).expect_err(text)
}

fn url(text: &str) -> Result<DatabaseUrl, String> {
    load(&with(&[("crm.url", &format!("{text:?}"))]), &[]).map(|config| config.crm_url)
}

fn table_name(text: &str) -> TableName {
    text.parse().unwrap()
}

#[test]
fn the_sample_loads_and_says_the_defaults() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/wazzup-sync.toml");
    let sample = Config::load_from(&path, []).unwrap();
    assert_eq!(sample.account, "main");
    assert!(matches!(&sample.wazzup.key, SecretSource::File(path) if path == Path::new("/run/secrets/wazzup_api_key")));
    let columns = Columns {
        id: Identifier::known("id"),
        name: Identifier::known("name"),
        phone: Some(Identifier::known("phone")),
        active: Some(Identifier::known("is_active")),
    };
    let name = table_name("public.employees");
    assert_eq!(sample.source, Source::Table { name, columns });

    let least = load(&with(&[]), &[]).unwrap();
    assert_eq!(least.account, "default");
    assert_eq!(
        format!("{:?}", least.phone_reader),
        format!("{:?}", sample.phone_reader)
    );
    assert_eq!(least.query_timeout, sample.query_timeout);
    assert_eq!(least.wazzup.base_url, sample.wazzup.base_url);
    assert_eq!(least.wazzup.timeout, sample.wazzup.timeout);
    assert_eq!(least.wazzup.requests_per_minute, sample.wazzup.requests_per_minute);
    assert_eq!(least.schema, sample.schema);
    assert_eq!(least.lease, sample.lease);
    assert_eq!(least.keep_history, sample.keep_history);
    assert_eq!(
        (least.every, least.verify_every, least.unhealthy_after),
        (sample.every, sample.verify_every, sample.unhealthy_after)
    );
    assert_eq!((least.listen, sample.listen), (None, None));
    assert_eq!(least.policy, sample.policy);
    assert_eq!(
        (least.log_format, least.log_level),
        (sample.log_format, sample.log_level)
    );
    assert_eq!(least.log_format, None);
    let columns = Columns {
        id: Identifier::known("id"),
        name: Identifier::known("name"),
        phone: None,
        active: None,
    };
    let name = table_name("employees");
    assert_eq!(least.source, Source::Table { name, columns });
}

#[test]
fn the_defaults_are_those_of_the_design() {
    let config = load(&with(&[]), &[]).unwrap();
    let minutes = SignedDuration::from_mins;
    assert_eq!(config.wazzup.base_url.as_str(), "https://api.wazzup24.com/v3");
    assert_eq!(config.wazzup.timeout, Duration::from_secs(30));
    assert_eq!(config.lease, Duration::from_secs(90));
    assert_eq!((config.every, config.verify_every), (minutes(1), minutes(60)));
    assert_eq!((config.unhealthy_after, config.policy.grace), (minutes(15), minutes(5)));
    let limit = |above, above_percent| Limit { above, above_percent };
    assert_eq!(
        (config.policy.removals, config.policy.updates),
        (limit(5, 10), limit(20, 30))
    );
    assert!(config.policy.removes && !config.policy.always_takes_over);
}

/// Those that are commented out too. Each sample is valid, since it stands in for what is wrong.
#[test]
fn the_sample_mentions_every_key_and_each_is_taken() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/wazzup-sync.toml");
    let sample = fs::read_to_string(path).unwrap();
    let (file, text) = (file(""), with(&[]));
    let mut reader = Reader::new(file.path(), &text, []).unwrap();
    _ = Config::read(&mut reader);
    for (path, value) in reader.known {
        let name = path.rsplit('.').next().unwrap();
        let mut lines = sample.lines().map(|line| line.trim_start_matches("# "));
        assert!(lines.any(|line| line.starts_with(&format!("{name} = "))), "{path}");

        let mut changes = vec![(path, value.as_str())];
        match path {
            // The files are not there.
            "crm.url_file" | "state.url_file" => continue,
            "crm.query" => changes.push(("crm.table", "")),
            "wazzup.api_key_file" => changes.push(("wazzup.api_key", "")),
            _ => {}
        }
        load(&with(&changes), &[]).unwrap();
    }
}

#[test]
fn values_are_taken_as_they_are_meant() {
    let text = r#"
account = "00123"
[crm]
url = " postgres://reader:hunter2@db/crm\n"
query = " SELECT 1 AS id -- done\n; "
phone_region = "GB"
[wazzup]
base_url = "http://127.0.0.1:8080/v3/"
api_key = " key-4711\n"
[state]
url = "postgresql:///state?host=/run/postgresql"
keep_history = "90d"
[schedule]
every = "1h 30m"
verify_every = "250ms"
[removals]
policy = "keep"
hold_above = 0
hold_above_percent = 100
grace = "0s"
[takeovers]
policy = "always"
[log]
format = "text"
"#;
    let config = load(text, &[]).unwrap();
    assert_eq!(config.account, "00123");
    assert_eq!(config.source, Source::Query("SELECT 1 AS id -- done".into()));
    let phone = config.phone_reader.read("020 7946 0018").unwrap();
    assert_eq!(phone.unwrap().0.to_string(), "442079460018");
    assert_eq!(config.wazzup.base_url.as_str(), "http://127.0.0.1:8080/v3/");
    assert_eq!(literal(&config.wazzup.key), Some("key-4711"));
    assert_eq!(config.state_url.address(), "/run/postgresql");
    assert_eq!(config.keep_history, SignedDuration::from_hours(90 * 24));
    assert_eq!(config.every, SignedDuration::from_mins(90));
    assert_eq!(config.verify_every, SignedDuration::from_millis(250));
    assert_eq!(
        (config.policy.removals.above, config.policy.removals.above_percent),
        (0, 100)
    );
    assert_eq!(config.policy.grace, SignedDuration::ZERO);
    assert!(!config.policy.removes && config.policy.always_takes_over);
    assert_eq!(config.log_format, Some(LogFormat::Text));
    let debug = format!("{config:?}");
    assert!(!debug.contains("hunter2") && !debug.contains("key-4711"), "{debug}");
}

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
#[case::no_state(&[("state.url", "")], &["`state.url`", "`state.url_file`", "may be the CRM's database"])]
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

#[test]
fn the_environment_takes_precedence_over_the_file() {
    let env = [
        ("WAZZUP_SYNC__ACCOUNT", "00123"),
        ("WAZZUP_SYNC__WAZZUP__REQUESTS_PER_MINUTE", "100"),
        ("WAZZUP_SYNC__REMOVALS__HOLD_ABOVE_PERCENT", "20"),
        ("WAZZUP_SYNC__SCHEDULE__EVERY", "30s"),
        ("WAZZUP_SYNC__CRM__COLUMNS__PHONE", "mobile"),
        ("WAZZUP_SYNC__WAZZUP__API_KEY", "0815"),
        ("WAZZUP_SYNC_CONFIG", "somewhere"),
        ("WAZZUP_SYNC_REVISION", "4711"),
        // What Kubernetes sets for a Service of our name.
        ("WAZZUP_SYNC_PORT", "tcp://10.0.0.1"),
        ("WAZZUP_SYNC_SERVICE_HOST", "10.0.0.1"),
        ("WAZZUP_SYNC_SERVICE_PORT_HTTP", "80"),
        ("WAZZUP_SYNC_PORT_80_TCP_ADDR", "10.0.0.1"),
        ("HOME", "/"),
    ];
    let config = load(&with(&[]), &env).unwrap();
    assert_eq!(config.account, "00123");
    assert_eq!(config.wazzup.requests_per_minute.get(), 100);
    assert_eq!(config.policy.removals.above_percent, 20);
    assert_eq!(config.every, SignedDuration::from_secs(30));
    assert_eq!(literal(&config.wazzup.key), Some("0815"));
    assert!(
        matches!(config.source, Source::Table { columns: Columns { phone: Some(phone), .. }, .. } if phone.as_str() == "mobile")
    );
}

#[test]
fn the_environment_is_enough() {
    let env = [
        ("WAZZUP_SYNC__CRM__URL", "postgres://db/crm"),
        ("WAZZUP_SYNC__CRM__TABLE", "employees"),
        ("WAZZUP_SYNC__WAZZUP__API_KEY_FILE", "/run/secrets/key"),
        ("WAZZUP_SYNC__STATE__URL", "postgres://db/crm"),
    ];
    load("", &env).unwrap();
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
    let message = Config::load_from(file.path(), env).unwrap_err().to_string();
    assert!(
        message.contains("WAZZUP_SYNC__WAZZUP__API_KEY") && !message.contains("4711"),
        "{message}"
    );
}

#[test]
fn a_missing_file_is_named_with_the_remedy() {
    let message = Config::load_from(Path::new("/nowhere/wazzup.toml"), [])
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

/// The key, if it is not in a file.
fn literal(key: &SecretSource) -> Option<&str> {
    match key {
        SecretSource::Literal(key) => Some(key.expose_secret().trim()),
        SecretSource::File(_) => None,
    }
}

#[test]
fn secrets_come_from_files() {
    let url = file("  postgres://reader:hunter2@db/crm\n");
    let key = file("key-4711\n");
    let (url_file, key_file) = (format!("{:?}", url.path()), format!("{:?}", key.path()));
    let text = with(&[
        ("crm.url", ""),
        ("crm.url_file", &url_file),
        ("wazzup.api_key", ""),
        ("wazzup.api_key_file", &key_file),
    ]);
    let config = load(&text, &[]).unwrap();
    assert_eq!(config.crm_url.options.get_username(), "reader");
    // Read in each cycle, and not here.
    assert!(matches!(config.wazzup.key, SecretSource::File(path) if path == key.path()));

    fs::write(url.path(), "\n").unwrap();
    assert!(load(&text, &[]).unwrap_err().contains("`crm.url_file`"));
    fs::write(url.path(), "hunter2").unwrap();
    assert!(load(&text, &[]).unwrap_err().contains("`crm.url_file`"));
}

#[cfg(unix)]
#[test]
fn only_a_regular_file_is_read_as_a_url() {
    let directory = tempfile::tempdir().unwrap();
    let text = with(&[("crm.url", ""), ("crm.url_file", &format!("{:?}", directory.path()))]);
    let message = problems(&text);
    assert!(
        message.contains("`crm.url_file`") && message.contains("not a regular file"),
        "{message}"
    );
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
