//! The sections, one after the other: keys, defaults and limits.

use std::{net::IpAddr, num::NonZeroU32, ops::RangeInclusive, str::FromStr as _, time::Duration};

use reqwest::Url;
use secrecy::{ExposeSecret as _, SecretString};
use sqlx::postgres::PgConnectOptions;

use super::{
    ApiKey, Columns, Crm, Log, LogFormat, RemovalPolicy, Removals, Schedule, Source, State, Wazzup, fits_a_header,
    reader::{Reader, Secret, human},
    split_identifier, sql,
};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);
const DAY: Duration = Duration::from_hours(24);

/// Postgres counts its time limits in milliseconds, and takes 0 for none.
const SHORTEST: Duration = Duration::from_millis(1);
/// Limits of the durations for which an operator waits.
const LIMIT: RangeInclusive<Duration> = SHORTEST..=DAY;
/// Limits of the others: a hundred years, so that no sum of times overflows.
const PERIOD: RangeInclusive<Duration> = SHORTEST..=Duration::from_hours(24 * 36_500);

pub(super) fn account(reader: &mut Reader) -> String {
    let account = reader.text("account").unwrap_or_else(|| "default".to_owned());
    if account.chars().any(char::is_control) {
        reader.problem("account", "holds a line break or another control character");
    }
    account
}

impl Crm {
    pub(super) fn read(reader: &mut Reader) -> Option<Self> {
        let url = postgres_url(reader, "crm.url");
        if !reader.is_set("crm.url") && !reader.is_set("crm.url_file") {
            reader.missing("crm.url", "crm.url_file");
        }
        let source = Source::read(reader);
        let phone_region = reader.text("crm.phone_region").unwrap_or_else(|| "RU".to_owned());
        if !is_region(&phone_region) {
            reader.problem(
                "crm.phone_region",
                format!("is {phone_region:?}, but must be the two upper-case letters of a country, such as \"RU\""),
            );
        }
        let query_timeout = reader.duration("crm.query_timeout", 30 * SECOND, LIMIT);
        Some(Self {
            url: url?,
            source: source?,
            phone_region,
            query_timeout,
        })
    }
}

/// The regions that the phone crate has rules for. A list of our own, since to ask the crate loads all its rules, which
/// takes longer than a whole cycle without news; a test compares.
pub(super) const REGIONS: &str = "AC AD AE AF AG AI AL AM AO AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BW BY BZ \
    CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM \
    FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GT GU GW GY HK HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE \
    JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN \
    MO MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PR PS PT \
    PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TA TC TD TG TH TJ TK \
    TL TM TN TO TR TT TV TW TZ UA UG US UY UZ VA VC VE VG VI VN VU WF WS XK YE YT ZA ZM ZW";

fn is_region(code: &str) -> bool {
    code.len() == 2 && REGIONS.split(' ').any(|region| region == code)
}

impl Source {
    pub(super) fn read(reader: &mut Reader) -> Option<Self> {
        let (table, query) = (reader.text("crm.table"), reader.text("crm.query"));
        let columns = Columns::read(reader, query.is_some());
        match (reader.is_set("crm.table"), reader.is_set("crm.query")) {
            (true, true) => {
                let other = reader.origin("crm.query");
                reader.problem(
                    "crm.table",
                    format!("and `crm.query` ({other}) are both set; keep one of them"),
                );
                None
            }
            (false, false) => {
                reader.missing("crm.table", "crm.query");
                None
            }
            (true, false) => match split_identifier(&table?) {
                Ok(table) => Some(Self::Table { table, columns }),
                Err(error) => {
                    reader.problem(
                        "crm.table",
                        format!("{error}; write \"employees\", \"public.employees\" or '\"My Schema\".\"Odd.Table\"'"),
                    );
                    None
                }
            },
            (false, true) => match sql::single_query(&query?) {
                Ok(query) => Some(Self::Query(query)),
                Err(error) => {
                    reader.problem("crm.query", error);
                    None
                }
            },
        }
    }
}

impl Columns {
    pub(super) fn read(reader: &mut Reader, with_query: bool) -> Self {
        let mut column = |name: &str| {
            let key = format!("crm.columns.{name}");
            if with_query && reader.is_set(&key) {
                reader.problem(
                    &key,
                    "goes with `crm.table` only; in `crm.query` write: … AS id, … AS name, … AS phone",
                );
            }
            identifier(reader, &key)
        };
        Self {
            id: column("id").unwrap_or_else(|| "id".to_owned()),
            name: column("name").unwrap_or_else(|| "name".to_owned()),
            phone: column("phone"),
            active: column("active"),
        }
    }
}

/// One name, which may be any that Postgres could take in quotes.
fn identifier(reader: &mut Reader, key: &str) -> Option<String> {
    let name = reader.text(key)?;
    if let Err(error) = sql::identifier(&name) {
        reader.problem(key, error);
    }
    Some(name)
}

/// A database's URL, given itself or in a file. It is never shown: it may hold a password.
fn postgres_url(reader: &mut Reader, key: &str) -> Option<SecretString> {
    let url = reader.secret_now(key)?;
    let text = url.expose_secret();
    let is_postgres = text.starts_with("postgres://") || text.starts_with("postgresql://");
    if is_postgres && PgConnectOptions::from_str(text).is_ok() {
        return Some(url);
    }
    let file_key = format!("{key}_file");
    let key = if reader.is_set(key) { key } else { &file_key };
    reader.problem(
        key,
        "is no Postgres URL; write postgres://user:password@host:5432/database, with %-codes for special characters",
    );
    None
}

impl Wazzup {
    pub(super) fn read(reader: &mut Reader) -> Option<Self> {
        let base_url = base_url(reader);
        let api_key = match reader.secret("wazzup.api_key") {
            Some(Secret::Text(key)) => {
                if !fits_a_header(&key) {
                    reader.problem(
                        "wazzup.api_key",
                        "is no key: it must be ASCII letters, digits and signs, without blanks",
                    );
                }
                Some(ApiKey::Literal(key.into()))
            }
            Some(Secret::File(path)) => Some(ApiKey::File(path)),
            None => None,
        };
        if !reader.is_set("wazzup.api_key") && !reader.is_set("wazzup.api_key_file") {
            reader.missing("wazzup.api_key", "wazzup.api_key_file");
        }
        let timeout = reader.duration("wazzup.timeout", 30 * SECOND, LIMIT);
        let per_minute = reader.number("wazzup.requests_per_minute", 900, 1..=u64::from(u32::MAX));
        let requests_per_minute = u32::try_from(per_minute).ok().and_then(NonZeroU32::new)?;
        Some(Self {
            base_url,
            api_key: api_key?,
            timeout,
            requests_per_minute,
        })
    }
}

/// The service's address. It is not shown either: somebody may have written credentials into it.
fn base_url(reader: &mut Reader) -> String {
    const KEY: &str = "wazzup.base_url";
    let Some(text) = reader.text(KEY) else {
        return "https://api.wazzup24.com/v3".to_owned();
    };
    let problem = match Url::parse(&text) {
        Err(error) => format!("is no URL: {error}; write https://api.wazzup24.com/v3"),
        Ok(url) if !matches!(url.scheme(), "https" | "http") => "must begin with https://".to_owned(),
        Ok(url) if !url.username().is_empty() || url.password().is_some() => {
            "must not hold a user or a password; the key belongs in `wazzup.api_key_file`".to_owned()
        }
        Ok(url) if url.query().is_some() || url.fragment().is_some() => {
            "must end with its path, without `?…` or `#…`".to_owned()
        }
        Ok(url) if url.scheme() == "http" && !is_loopback(&url) => {
            "must begin with https://: over http:// anybody on the way could read the key (only a loopback host is taken)"
                .to_owned()
        }
        Ok(url) => return url.as_str().trim_end_matches('/').to_owned(),
    };
    reader.problem(KEY, problem);
    text
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

impl State {
    pub(super) fn read(reader: &mut Reader, crm_url: Option<&SecretString>, timeout: Option<Duration>) -> Option<Self> {
        let has_own = reader.is_set("state.url") || reader.is_set("state.url_file");
        let url = if has_own {
            postgres_url(reader, "state.url")
        } else {
            crm_url.cloned()
        };
        let schema = identifier(reader, "state.schema").unwrap_or_else(|| "wazzup_sync".to_owned());
        if schema.starts_with("pg_") || schema == "information_schema" {
            reader.problem(
                "state.schema",
                format!("is {schema:?}, a name that Postgres keeps for itself"),
            );
        }
        let lease = reader.duration("state.lease", 90 * SECOND, LIMIT);
        let keep_history = reader.duration("state.keep_history", 90 * DAY, PERIOD);
        if let Some(twice) = timeout.map(|timeout| timeout * 2).filter(|twice| lease < *twice) {
            let (lease, twice) = (human(lease), human(twice));
            reader.problem(
                "state.lease",
                format!(
                    "is {lease}, but must be at least twice `wazzup.timeout`: {twice} or more, or shorten the other"
                ),
            );
        }
        Some(Self {
            url: url?,
            schema,
            lease,
            keep_history,
        })
    }
}

impl Schedule {
    pub(super) fn read(reader: &mut Reader) -> Self {
        Self {
            every: reader.duration("schedule.every", MINUTE, PERIOD),
            verify_every: reader.duration("schedule.verify_every", DAY, PERIOD),
            listen: identifier(reader, "schedule.listen"),
            unhealthy_after: reader.duration("schedule.unhealthy_after", 15 * MINUTE, PERIOD),
        }
    }
}

impl Removals {
    pub(super) fn read(reader: &mut Reader) -> Self {
        let policies = [("remove", RemovalPolicy::Remove), ("keep", RemovalPolicy::Keep)];
        Self {
            policy: reader
                .choice("removals.policy", &policies)
                .unwrap_or(RemovalPolicy::Remove),
            hold_above: reader.number("removals.hold_above", 5, 0..=u64::from(u32::MAX)),
            hold_above_percent: reader.number("removals.hold_above_percent", 10, 0..=100),
            grace: reader.duration("removals.grace", Duration::ZERO, Duration::ZERO..=*PERIOD.end()),
        }
    }
}

impl Log {
    pub(super) fn read(reader: &mut Reader) -> Self {
        let levels = ["error", "warn", "info", "debug", "trace"].map(|level| (level, level));
        Self {
            format: reader.choice("log.format", &[("json", LogFormat::Json), ("text", LogFormat::Text)]),
            level: reader.choice("log.level", &levels).unwrap_or("info").to_owned(),
        }
    }
}
