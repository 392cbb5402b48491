use std::{collections::HashMap, fs, io::Write as _};

use proptest::prelude::*;
use rstest::rstest;
use secrecy::ExposeSecret as _;
use tempfile::NamedTempFile;

use super::*;

/// The least that is enough.
const LEAST: &str = r#"
[crm]
url = "postgres://reader:hunter2@db/crm"
table = "employees"
[wazzup]
api_key = "key-4711"
"#;

fn file(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::with_suffix(".toml").unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn load(text: &str, env: &[(&str, &str)]) -> Result<Config, String> {
    let file = file(text);
    let env: HashMap<_, _> = env.iter().map(|(name, value)| (name.into(), value.into())).collect();
    Config::load_from(file.path(), env).map_err(|error| {
        let (message, debug) = (error.to_string(), format!("{error:?}"));
        for secret in ["hunter2", "key-4711"] {
            assert!(!message.contains(secret) && !debug.contains(secret), "{message}");
        }
        if env_free(&message) {
            assert!(message.contains(file.path().to_str().unwrap()), "{message}");
        }
        message
    })
}

fn env_free(message: &str) -> bool {
    !message.contains("environment variable")
}

/// `LEAST` with `key = value` instead of, or in addition to, what it says.
fn with(key: &str, value: &str) -> String {
    let (section, name) = key.rsplit_once('.').unwrap_or(("", key));
    let lines: Vec<_> = LEAST
        .lines()
        .filter(|line| !line.starts_with(&format!("{name} =")))
        .collect();
    let text = lines.join("\n") + "\n";
    let header = format!("[{section}]\n");
    match text.find(&header) {
        _ if section.is_empty() => format!("{name} = {value}\n{text}"),
        Some(at) => format!(
            "{}{name} = {value}\n{}",
            &text[..at + header.len()],
            &text[at + header.len()..]
        ),
        None => format!("{text}\n{header}{name} = {value}\n"),
    }
}

#[test]
fn the_sample_loads_and_says_the_defaults() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/wazzup-sync.toml");
    let sample = Config::load_from(&path, []).unwrap();
    assert_eq!(sample.account, "main");
    assert!(matches!(&sample.wazzup.api_key, ApiKey::File(path) if path == Path::new("/run/secrets/wazzup_api_key")));
    let columns = Columns {
        id: "id".into(),
        name: "name".into(),
        phone: Some("phone".into()),
        active: Some("is_active".into()),
    };
    assert_eq!(
        sample.crm.source,
        Source::Table {
            table: vec!["public".into(), "employees".into()],
            columns
        }
    );

    let least = load(LEAST, &[]).unwrap();
    assert_eq!(least.account, "default");
    assert_eq!(least.crm.phone_region, sample.crm.phone_region);
    assert_eq!(least.crm.query_timeout, sample.crm.query_timeout);
    assert_eq!(least.wazzup.base_url, sample.wazzup.base_url);
    assert_eq!(least.wazzup.timeout, sample.wazzup.timeout);
    assert_eq!(least.wazzup.requests_per_minute, sample.wazzup.requests_per_minute);
    assert_eq!(least.state.schema, sample.state.schema);
    assert_eq!(least.state.lease, sample.state.lease);
    assert_eq!(least.state.keep_history, sample.state.keep_history);
    assert_eq!(least.schedule, sample.schedule);
    assert_eq!(least.removals, sample.removals);
    assert_eq!(least.log, sample.log);
    assert_eq!(least.log.format, None);
    assert_eq!(least.state.url.expose_secret(), least.crm.url.expose_secret());
    let columns = Columns {
        id: "id".into(),
        name: "name".into(),
        phone: None,
        active: None,
    };
    assert_eq!(
        least.crm.source,
        Source::Table {
            table: vec!["employees".into()],
            columns
        }
    );
}

#[test]
fn the_sample_mentions_every_key() {
    let sample = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("config/wazzup-sync.toml")).unwrap();
    for (key, _) in reader::KEYS {
        let name = key.rsplit('.').next().unwrap();
        let lines = sample.lines().map(|line| line.trim_start_matches("# "));
        assert!(
            lines.into_iter().any(|line| line.starts_with(&format!("{name} = "))),
            "{key}"
        );
    }
}

#[test]
fn values_are_taken_as_they_are_meant() {
    let text = r#"
account = "00123"
[crm]
url = "postgres://reader:hunter2@db/crm"
query = " SELECT 1 AS id; -- done\n"
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
[log]
format = "text"
"#;
    let config = load(text, &[]).unwrap();
    assert_eq!(config.account, "00123");
    assert_eq!(config.crm.source, Source::Query("SELECT 1 AS id".into()));
    assert_eq!(config.wazzup.base_url, "http://127.0.0.1:8080/v3");
    assert_eq!(literal(&config.wazzup.api_key), Some("key-4711"));
    assert_eq!(
        config.state.url.expose_secret(),
        "postgresql:///state?host=/run/postgresql"
    );
    assert_eq!(config.state.keep_history, Duration::from_hours(90 * 24));
    assert_eq!(config.schedule.every, Duration::from_mins(90));
    assert_eq!(config.schedule.verify_every, Duration::from_millis(250));
    assert_eq!(config.removals.policy, RemovalPolicy::Keep);
    assert_eq!(
        (config.removals.hold_above, config.removals.hold_above_percent),
        (0, 100)
    );
    assert_eq!(config.log.format, Some(LogFormat::Text));
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
#[case("crm.table", r#""""#)]
#[case("crm.table", r#""a.b.c""#)]
#[case("crm.table", r#""a.""#)]
#[case("crm.table", r#"'"a'"#)]
#[case("crm.table", r#"["a"]"#)]
#[case("crm.tables", r#""a""#)]
#[case("crm.query", r#""DELETE FROM employees""#)]
#[case("crm.phone_region", r#""ru""#)]
#[case("crm.phone_region", r#""ZZ""#)]
#[case("crm.phone_region", r#""RUS""#)]
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
#[case("log.format", r#""xml""#)]
#[case("log.level", r#""loud""#)]
#[case("log.colour", "true")]
#[case("extra.key", "1")]
fn what_is_wrong_is_refused_with_its_key(#[case] key: &str, #[case] value: &str) {
    let text = match key {
        "crm" => "crm = 5\n[wazzup]\napi_key = \"key-4711\"".to_owned(),
        "crm.url_file" | "crm.url.file" => with(key, value).replace("url = \"postgres://reader:hunter2@db/crm\"", ""),
        "crm.query" => with(key, value).replace("table = \"employees\"", ""),
        "wazzup.api_key_file" => with(key, value).replace("api_key = \"key-4711\"", ""),
        _ => with(key, value),
    };
    let named = match key {
        "crm.url.file" => "crm.url",
        "extra.key" => "extra",
        key => key,
    };
    let message = load(&text, &[]).expect_err(&text);
    assert!(message.contains(&format!("`{named}`")), "{message}");
}

#[rstest]
#[case::no_url("[crm]\ntable = \"e\"\n[wazzup]\napi_key = \"key-4711\"", &["`crm.url`", "`crm.url_file`"])]
#[case::no_key("[crm]\nurl = \"postgres://db\"\ntable = \"e\"", &["`wazzup.api_key`", "WAZZUP_SYNC__WAZZUP__API_KEY"])]
#[case::no_source("[crm]\nurl = \"postgres://db\"\n[wazzup]\napi_key = \"key-4711\"", &["`crm.table`", "`crm.query`"])]
#[case::empty("", &["`crm.url`", "`crm.table`", "`wazzup.api_key`"])]
#[case::both_sources(&with("crm.query", "\"SELECT 1\""), &["`crm.table`", "`crm.query`"])]
#[case::columns_of_a_query(
    &(with("crm.query", "\"SELECT 1\"").replace("table = \"employees\"", "") + "[crm.columns]\nid = \"x\""),
    &["`crm.columns.id`"]
)]
#[case::two_urls(&with("crm.url_file", "\"x\""), &["`crm.url`", "`crm.url_file`", "two forms"])]
#[case::two_keys(&with("wazzup.api_key_file", "\"x\""), &["`wazzup.api_key`", "`wazzup.api_key_file`", "two forms"])]
#[case::empty_section(&format!("{LEAST}[extra]"), &["`extra`"])]
#[case::two_statements(
    &with("crm.query", "\"SELECT 1; SELECT 2\"").replace("table = \"employees\"", ""),
    &["`crm.query`", "more than one statement"]
)]
#[case::short_lease(&with("wazzup.timeout", "\"46s\""), &["`state.lease`", "`wazzup.timeout`", "\"92s\""])]
#[case::several(&with("schedule.every", "\"0s\"").replace("key-4711", ""), &["`schedule.every`", "`wazzup.api_key`"])]
fn what_does_not_fit_together_is_refused(#[case] text: &str, #[case] named: &[&str]) {
    let message = load(text, &[]).expect_err(text);
    for name in named {
        assert!(message.contains(name), "{message}");
    }
}

#[test]
fn the_environment_outweighs_the_file() {
    let env = [
        ("WAZZUP_SYNC__ACCOUNT", "00123"),
        ("WAZZUP_SYNC__WAZZUP__REQUESTS_PER_MINUTE", "100"),
        ("WAZZUP_SYNC__REMOVALS__HOLD_ABOVE_PERCENT", "20"),
        ("WAZZUP_SYNC__SCHEDULE__EVERY", "30s"),
        ("WAZZUP_SYNC__CRM__COLUMNS__PHONE", "mobile"),
        ("WAZZUP_SYNC__WAZZUP__API_KEY", "0815"),
        ("WAZZUP_SYNC_CONFIG", "somewhere"),
        ("WAZZUP_SYNC_PORT", "tcp://10.0.0.1"),
        ("HOME", "/"),
    ];
    let config = load(LEAST, &env).unwrap();
    assert_eq!(config.account, "00123");
    assert_eq!(config.wazzup.requests_per_minute.get(), 100);
    assert_eq!(config.removals.hold_above_percent, 20);
    assert_eq!(config.schedule.every, Duration::from_secs(30));
    assert_eq!(literal(&config.wazzup.api_key), Some("0815"));
    assert!(
        matches!(config.crm.source, Source::Table { columns: Columns { phone: Some(phone), .. }, .. } if phone == "mobile")
    );
}

#[test]
fn the_environment_is_enough() {
    let env = [
        ("WAZZUP_SYNC__CRM__URL", "postgres://db/crm"),
        ("WAZZUP_SYNC__CRM__TABLE", "employees"),
        ("WAZZUP_SYNC__WAZZUP__API_KEY_FILE", "/run/secrets/key"),
    ];
    assert!(load("", &env).is_ok());
}

#[rstest]
#[case("WAZZUP_SYNC__SCHEDULE__EVERY", "0s", "schedule.every")]
#[case("WAZZUP_SYNC__SCHEDULE__OFTEN", "1m", "schedule.often")]
#[case("WAZZUP_SYNC__SCHEDULE", "1m", "schedule")]
#[case("WAZZUP_SYNC__CRM__URL__FILE", "hunter2", "crm.url.file")]
#[case("WAZZUP_SYNC__CRM__URL", "hunter2", "crm.url")]
#[case("WAZZUP_SYNC__WAZZUP__API_KEY", "", "wazzup.api_key")]
#[case("WAZZUP_SYNC__WAZZUP__API_KEY_FILE", "x", "wazzup.api_key")]
#[case("WAZZUP_SYNC__WAZZUP__REQUESTS_PER_MINUTE", "many", "wazzup.requests_per_minute")]
#[case("WAZZUP_SYNC__ACCOUNT[0]", "x", "account[0]")]
#[case("WAZZUP_SYNC__", "x", "")]
fn a_wrong_variable_is_named(#[case] name: &str, #[case] value: &str, #[case] key: &str) {
    let message = load(LEAST, &[(name, value)]).unwrap_err();
    assert!(
        message.contains(name) && message.contains(&format!("`{key}`")),
        "{message}"
    );
}

#[cfg(unix)]
#[test]
fn a_variable_that_is_no_text_is_not_shown() {
    use std::os::unix::ffi::OsStringExt as _;
    let file = file(LEAST);
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
fn literal(key: &ApiKey) -> Option<&str> {
    match key {
        ApiKey::Literal(key) => Some(key.expose_secret()),
        ApiKey::File(_) => None,
    }
}

#[test]
fn secrets_come_from_files() {
    let url = file("  postgres://reader:hunter2@db/crm\n");
    let key = file("key-4711\n");
    let text = format!(
        "[crm]\nurl_file = {:?}\ntable = \"e\"\n[wazzup]\napi_key_file = {:?}\n",
        url.path(),
        key.path()
    );
    let config = load(&text, &[]).unwrap();
    assert_eq!(config.crm.url.expose_secret(), "postgres://reader:hunter2@db/crm");
    // Read at each cycle, and not here.
    assert!(matches!(config.wazzup.api_key, ApiKey::File(path) if path == key.path()));

    fs::write(url.path(), "\n").unwrap();
    assert!(load(&text, &[]).unwrap_err().contains("`crm.url_file`"));
    fs::write(url.path(), "hunter2").unwrap();
    assert!(load(&text, &[]).unwrap_err().contains("`crm.url_file`"));
}

#[rstest]
#[case("employees", &["employees"])]
#[case("public.Employees", &["public", "Employees"])]
#[case("My Table", &["My Table"])]
#[case(r#""My Schema"."Weird.Table""#, &["My Schema", "Weird.Table"])]
#[case(r#"hr."a""b""#, &["hr", "a\"b"])]
#[case("сотрудники", &["сотрудники"])]
fn a_table_has_one_or_two_names(#[case] text: &str, #[case] parts: &[&str]) {
    assert_eq!(split_identifier(text).unwrap(), parts);
}

#[rstest]
#[case("")]
#[case(".")]
#[case("a.")]
#[case(".a")]
#[case("a..b")]
#[case("a.b.c")]
#[case(" a")]
#[case("a. b")]
#[case(r#"a"b"#)]
#[case(r#""a"#)]
#[case(r#""a"b"#)]
#[case(r#""""#)]
#[case("a234567890b234567890c234567890d234567890e234567890f234567890g234")]
fn other_tables_are_refused(#[case] text: &str) {
    assert!(split_identifier(text).is_err());
}

#[rstest]
#[case("SELECT 1", "SELECT 1")]
#[case("\n select 1 ;\n;", "select 1")]
#[case(
    "-- why\nWITH a AS (SELECT 1) SELECT * FROM a -- end",
    "WITH a AS (SELECT 1) SELECT * FROM a"
)]
#[case("(SELECT 1) UNION (SELECT 2)", "(SELECT 1) UNION (SELECT 2)")]
#[case("VALUES (1)/* ; /* ; */ ; */", "VALUES (1)")]
#[case("TABLE x", "TABLE x")]
#[case("SELECT ';' || ';''' || \"a;b\"", "SELECT ';' || ';''' || \"a;b\"")]
#[case(r"SELECT E'\';' || 'a\'", r"SELECT E'\';' || 'a\'")]
#[case("SELECT E'a''\\';b'", "SELECT E'a''\\';b'")]
#[case("SELECT $$;$$ || $q$;$$;$q$ || a$b", "SELECT $$;$$ || $q$;$$;$q$ || a$b")]
#[case("SELECT 1 /* ( */ -- )\n;", "SELECT 1")]
#[case("SELECT 'я;' AS имя", "SELECT 'я;' AS имя")]
fn one_query_is_taken(#[case] text: &str, #[case] query: &str) {
    assert_eq!(sql::single_query(text).unwrap(), query);
}

#[rstest]
#[case(";")]
#[case("-- nothing")]
#[case("SELECT 1; SELECT 2")]
#[case("SELECT 1; DROP TABLE x; --")]
#[case("SELECT 1) AS a, (SELECT 2")]
#[case("SELECT (1")]
#[case("SELECT 'a")]
#[case("SELECT \"a")]
#[case("SELECT E'a\\'")]
#[case("SELECT $x$ a $y$")]
#[case("SELECT 1 /* a")]
#[case("DELETE FROM x")]
#[case("COMMIT")]
#[case("selection 1")]
fn other_queries_are_refused(#[case] text: &str) {
    assert!(sql::single_query(text).is_err());
}

proptest! {
    #[test]
    fn sql_of_any_kind_is_survived(text in r#"[SELECT ae;()'"$/*\\\-\nя]{0,24}"#) {
        let _ = split_identifier(&text);
        if let Ok(query) = sql::single_query(&format!("SELECT {text}")) {
            // Taken once, it is taken again, unchanged.
            prop_assert_eq!(sql::single_query(&query).ok(), Some(query));
        }
    }
}

#[test]
fn the_list_of_regions_is_that_of_the_phone_crate() {
    let supported = rlibphonenumber::PHONE_NUMBER_UTIL.get_supported_regions();
    let mut codes: Vec<String> = supported
        .map(|it| it.as_region_str().to_string())
        .filter(|it| it.len() == 2)
        .collect();
    codes.sort();
    assert_eq!(codes.join(" "), super::sections::REGIONS);
}
