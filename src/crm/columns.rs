//! Which columns there are, and whether they are the right ones.

use sqlx::{AssertSqlSafe, postgres::PgConnection};

use super::{Columns, Source};
use crate::postgres::{Identifier, Reason, quoted, unnamed};

/// How many columns a message names at most.
const SHOWN: usize = 20;

/// The columns of what stands behind FROM, which is not run, since the join needs none of its rows; and the encoding of the
/// database.
///
/// Not `Executor::describe`: that names a statement, which would stay on the server after every read. And no column is read
/// as it is: for a type that `sqlx` does not know, it asks the server between preparing and running, which costs a statement
/// without a name its life.
pub(super) async fn describe(tx: &mut PgConnection, from: &str) -> Result<(Vec<String>, String), Reason> {
    let sql = format!(
        "SELECT array(SELECT json_object_keys(row_to_json(columns.*))), getdatabaseencoding()::text \
         FROM (SELECT * FROM (SELECT) AS one_row LEFT JOIN {from} ON false) AS columns"
    );
    let described = sqlx::query_as(AssertSqlSafe(sql)).fetch_one(unnamed(tx)).await?;
    Ok(described)
}

/// The columns to read: the configured ones of a table; of a query those that it gives.
pub(super) fn choose(source: &Source, found: &[String]) -> Result<Columns, Reason> {
    let has = |name: &str| found.iter().any(|column| column == name);
    let optional = |name: &'static str| has(name).then(|| Identifier::known(name));
    let columns = match source {
        Source::Table { columns, .. } => columns.clone(),
        Source::Query(_) => Columns {
            id: Identifier::known("id"),
            name: Identifier::known("name"),
            phone: optional("phone"),
            active: optional("active"),
        },
    };
    let wanted = [
        ("id", Some(&columns.id)),
        ("name", Some(&columns.name)),
        ("phone", columns.phone.as_ref()),
        ("active", columns.active.as_ref()),
    ];
    for (key, column) in wanted {
        if let Some(column) = column.filter(|column| !has(column.as_str())) {
            return Err(missing(source, key, &column.quoted(), found));
        }
    }
    Ok(columns)
}

fn missing(source: &Source, key: &str, column: &str, found: &[String]) -> Reason {
    let problem = match source {
        Source::Table { .. } => format!("crm.columns.{key} is {column}, but the table has no such column"),
        Source::Query(_) => format!("crm.query gives no column {column}"),
    };
    let alternatives = alternatives(column, found);
    // 42703: undefined column, as the server would have said.
    Reason::new(format!("{problem}; {alternatives}"), Some("42703"))
}

/// The columns whose names are close to `wanted`, or else all.
fn alternatives(wanted: &str, found: &[String]) -> String {
    let mut names: Vec<String> = found.iter().map(|column| quoted(column)).collect();
    let near: Vec<&str> = names
        .iter()
        .map(String::as_str)
        .filter(|name| is_near(wanted, name))
        .collect();
    if !near.is_empty() {
        return format!("did you mean {}?", near.join(" or "));
    }
    if names.len() > SHOWN {
        names.truncate(SHOWN);
        names.push("…".to_owned());
    }
    format!("the columns are {}", names.join(", "))
}

/// Whether somebody may have meant `name` by `wanted`, quoted or not.
pub(crate) fn is_near(wanted: &str, name: &str) -> bool {
    let (wanted, name) = (wanted.to_lowercase(), name.to_lowercase());
    let contains = |long: &str, short: &str| {
        let short = short.trim_matches('"');
        short.len() >= 3 && long.contains(short)
    };
    contains(&wanted, &name)
        || contains(&name, &wanted)
        || strsim::levenshtein(&wanted, &name) <= (wanted.chars().count() / 4).max(1)
}
