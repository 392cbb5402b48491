//! The SELECT of the employees, with values cut to what can matter.

use sqlx::{
    AssertSqlSafe, Postgres,
    postgres::{PgArguments, PgConnection},
    query::Query,
};

use super::{Columns, NAME_CUT, PHONE_CUT, Source, columns};
use crate::postgres::{Identifier, Reason};

/// What is cut off before a value is counted; the rest of Unicode's blanks is trimmed when it was read.
const BLANKS: &str = r"E' \t\n\x0B\f\r'";

/// So many characters of an id are read (bytes in a database that is `SQL_ASCII`). An id of 200 characters has 800 bytes at
/// most; a longer one is rejected anyway.
const ID_CUT: usize = 801;

#[derive(Clone, Copy)]
pub(super) enum Whose<'a> {
    AllActive,
    /// At most 20 rows whose id is this one, or differs from it by case and blanks alone; those that are not active too.
    Id(&'a str),
}

pub(super) struct Select {
    from: String,
    pub(super) columns: Columns,
    pub(super) encoding: String,
}

impl Select {
    pub(super) async fn new(tx: &mut PgConnection, source: &Source) -> Result<Self, Reason> {
        let from = source.from();
        let (found, encoding) = columns::describe(tx, &from).await?;
        let columns = columns::choose(source, &found)?;
        Ok(Self {
            from,
            columns,
            encoding,
        })
    }

    /// Gives `id`, `name` and `phone` as the bytes that the database has, and whether the employee is active.
    pub(super) fn query<'a>(&self, whose: Whose<'a>) -> Query<'a, Postgres, PgArguments> {
        let (values, from, id) = (self.values(), &self.from, self.columns.id.quoted());
        let active = self.columns.active.as_ref().map(Identifier::quoted);
        match whose {
            Whose::AllActive => {
                let filter = active.map_or(String::new(), |active| format!(" WHERE {active}"));
                sqlx::query(AssertSqlSafe(format!("SELECT {values}, true FROM {from}{filter}")))
            }
            Whose::Id(wanted) => {
                let active = active.unwrap_or_else(|| "true".to_owned());
                let sql = format!(
                    "SELECT {values}, {active} FROM {from} \
                     WHERE lower(btrim({id}::text)) = lower(btrim($1)) ORDER BY {id}::text <> $1 LIMIT 20"
                );
                sqlx::query(AssertSqlSafe(sql)).bind(wanted)
            }
        }
    }

    fn values(&self) -> String {
        let id = format!("left({}::text, {ID_CUT})", self.columns.id.quoted());
        let trimmed =
            |column: &Identifier, cut: usize| format!("left(btrim({}::text, {BLANKS}), {cut})", column.quoted());
        let name = trimmed(&self.columns.name, NAME_CUT);
        let phone = match &self.columns.phone {
            Some(phone) => trimmed(phone, PHONE_CUT),
            None => "NULL::text".to_owned(),
        };
        let values = [id, name, phone];
        values
            .map(|value| format!("convert_to({value}, getdatabaseencoding())"))
            .join(", ")
    }

    /// A query for people: the values of the rows with these ids and, `with_odd_ids`, of those whose id is not ASCII. Bytes
    /// that are not ASCII are shown as numbers, so that every client can show them.
    pub(super) fn escaped(&self, ids: &[String], with_odd_ids: bool) -> String {
        let Columns { id, name, phone, .. } = &self.columns;
        let columns = [id, name].into_iter().chain(phone).map(Identifier::quoted);
        let values: Vec<String> = columns
            .map(|column| format!("encode(convert_to({column}::text, getdatabaseencoding()), 'escape')"))
            .collect();
        let id = id.quoted();
        let mut conditions = Vec::new();
        if !ids.is_empty() {
            let quoted_ids: Vec<String> = ids.iter().map(|id| format!("'{}'", id.replace('\'', "''"))).collect();
            conditions.push(format!("{id}::text IN ({})", quoted_ids.join(", ")));
        }
        if with_odd_ids {
            conditions.push(format!("{id}::text ~ '[^[:ascii:]]'"));
        }
        let (values, from, conditions) = (values.join(", "), &self.from, conditions.join(" OR "));
        format!("SELECT {values} FROM {from} WHERE {conditions}")
    }
}
