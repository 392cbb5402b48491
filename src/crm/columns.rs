//! Which columns there are, and whether they are the right ones.

use sqlx::{AssertSqlSafe, postgres::PgConnection};

use super::{Columns, Error, Source};
use crate::postgres::{Identifier, Reason, quoted, unnamed};

/// How many columns a message names at most.
const SHOWN: usize = 20;

/// The columns of what stands behind FROM, which is not run: the join needs none of its rows.
///
/// Not `Executor::describe`: that names a statement, which would stay on the server after every read. And no column is read
/// as it is: for a type that `sqlx` does not know, it asks the server between preparing and running, which costs a statement
/// without a name its life.
pub(super) async fn describe(tx: &mut PgConnection, from: &str) -> Result<Vec<String>, Error> {
    let sql = format!(
        "SELECT json_object_keys(row_to_json(columns.*)) \
         FROM (SELECT * FROM (SELECT) AS one_row LEFT JOIN {from} ON false) AS columns"
    );
    let columns = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(unnamed(tx)).await?;
    Ok(columns)
}

/// The columns to read: the configured ones of a table; of a query those that it gives.
pub(super) fn choose(source: &Source, found: &[String]) -> Result<Columns, Error> {
    let optional = |name: &'static str| has(found, name).then(|| Identifier::known(name));
    let (columns, keys) = match source {
        Source::Table { columns, .. } => (columns.clone(), Keys::OfTable),
        Source::Query(_) => {
            let columns = Columns {
                id: Identifier::known("id"),
                name: Identifier::known("name"),
                phone: optional("phone"),
                active: optional("active"),
            };
            (columns, Keys::OfQuery)
        }
    };
    let Columns {
        id,
        name,
        phone,
        active,
    } = &columns;
    let wanted = [
        ("id", Some(id)),
        ("name", Some(name)),
        ("phone", phone.as_ref()),
        ("active", active.as_ref()),
    ];
    for (key, column) in wanted {
        let Some(column) = column else { continue };
        if !has(found, column.as_str()) {
            return Err(missing(keys, key, column, found));
        }
    }
    Ok(columns)
}

fn has(found: &[String], name: &str) -> bool {
    found.iter().any(|column| column == name)
}

/// Where the operator names a column.
#[derive(Clone, Copy)]
enum Keys {
    OfTable,
    OfQuery,
}

fn missing(keys: Keys, key: &str, column: &Identifier, found: &[String]) -> Error {
    let column = column.quoted();
    let problem = match keys {
        Keys::OfTable => format!("crm.columns.{key} is {column}, but the table has no such column"),
        Keys::OfQuery => format!("crm.query gives no column {column}"),
    };
    // 42703: undefined column, as the server would have said.
    Error::Query(Reason::new(
        format!("{problem}; {}", alternatives(&column, found)),
        Some("42703"),
    ))
}

/// The error of a SELECT whose condition, `active`, is no boolean. `reason` is the server's, which names the type.
pub(super) fn not_boolean(source: &Source, active: &Identifier, reason: &Reason) -> Error {
    let active = active.quoted();
    let problem = match source {
        Source::Table { .. } => format!("crm.columns.active is {active}, which is not a boolean"),
        Source::Query(_) => format!("the column {active} of crm.query is not a boolean"),
    };
    let remedy = "with crm.query any condition can be one, such as `status = 'works' AS active`";
    Error::Query(Reason::new(format!("{problem}: {reason}; {remedy}"), reason.sqlstate()))
}

/// The columns whose names are close to `wanted`, or else all.
fn alternatives(wanted: &str, found: &[String]) -> String {
    let names: Vec<String> = found.iter().map(|column| quoted(column)).collect();
    let near: Vec<&str> = names
        .iter()
        .map(String::as_str)
        .filter(|name| is_near(wanted, name))
        .collect();
    if !near.is_empty() {
        return format!("did you mean {}?", near.join(" or "));
    }
    if names.is_empty() {
        return "there are no columns".to_owned();
    }
    let shown = names.len().min(SHOWN);
    let rest = match names.len() - shown {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("the columns are {}{rest}", names[..shown].join(", "))
}

/// Whether somebody may have meant `name` by `wanted`, quoted or not.
pub(super) fn is_near(wanted: &str, name: &str) -> bool {
    let (wanted, name) = (wanted.to_lowercase(), name.to_lowercase());
    let inner = |quoted: &str| quoted.trim_matches('"').to_owned();
    let contains = |long: &str, short: &str| short.len() >= 3 && long.contains(short);
    contains(&inner(&wanted), &inner(&name))
        || contains(&inner(&name), &inner(&wanted))
        || edit_distance(&wanted, &name) <= (wanted.chars().count() / 4).max(1)
}

/// How many characters have to be inserted, deleted or replaced (Levenshtein).
fn edit_distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut distances: Vec<usize> = (0..=other.len()).collect();
    for (row, character) in one.chars().enumerate() {
        let mut diagonal = row;
        distances[0] = row + 1;
        for (column, other_character) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(character != *other_character);
            diagonal = distances[column + 1];
            distances[column + 1] = replaced.min(diagonal + 1).min(distances[column] + 1);
        }
    }
    distances[other.len()]
}
