mod databases;
mod mistakes;

use std::{collections::BTreeMap, fs, io::Write as _};

use secrecy::ExposeSecret as _;
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
    Config::load(file.path(), env).map_err(|error| {
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

fn table_name(text: &str) -> TableName {
    text.parse().unwrap()
}

#[test]
fn the_sample_loads_and_says_the_defaults() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/wazzup-sync.toml");
    let sample = Config::load(&path, []).unwrap();
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
fn the_defaults_are_safe() {
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
    let file = file(&with(&[]));
    let mut reader = Reader::new(file.path(), []).unwrap();
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
