//! What `check` wants to know about the role and the table.

use super::{Crm, Error, Source, TableName, columns::is_near};
use crate::postgres::unnamed;

#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct Role {
    pub(crate) name: String,
    pub(crate) is_superuser: bool,
    /// It may change what it should only read.
    pub(crate) can_write: bool,
}

/// The schemas with a table of the name that `crm.table` gives without a schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TableSchemas {
    /// The schema whose table is read: the first in the role's `search_path`.
    pub(crate) read: String,
    pub(crate) others: Vec<String>,
}

impl Crm {
    /// What the role may do to the employees' table; to anything but `own_schema`, which is ours, if the CRM is read by a
    /// query. The daemon needs no more than SELECT.
    pub(crate) async fn role(&self, own_schema: &str) -> Result<Role, Error> {
        let table = match &self.source {
            Source::Table { name, .. } => Some(name.quoted()),
            Source::Query(_) => None,
        };
        self.transaction("reading the rights of the role", async |tx| {
            // A right on a single column is one, too; of DELETE and TRUNCATE there are none such.
            let role = sqlx::query_as(
                "SELECT current_user::text AS name, \
                 EXISTS (SELECT FROM pg_roles WHERE rolname = current_user AND rolsuper) AS is_superuser, EXISTS ( \
                     SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
                     WHERE c.relkind IN ('r', 'p', 'v', 'f') \
                     AND CASE WHEN $1::text IS NOT NULL THEN c.oid = $1::regclass \
                         ELSE n.nspname NOT IN ('pg_catalog', 'information_schema', $2) END \
                     AND (has_table_privilege(c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE') \
                         OR has_any_column_privilege(c.oid, 'INSERT, UPDATE'))) AS can_write",
            )
            .bind(table)
            .bind(own_schema)
            .fetch_one(unnamed(tx))
            .await?;
            Ok(role)
        })
        .await
    }

    /// Tables and views whose names are close to that of `crm.table`, for one that is not there.
    pub(crate) async fn similar_tables(&self) -> Result<Vec<String>, Error> {
        let Source::Table { name, .. } = &self.source else {
            return Ok(Vec::new());
        };
        let mut tables = self.tables(name).await?;
        tables.retain(|table| is_near(name.table.as_str(), &table.name));
        Ok(tables
            .iter()
            .map(|table| format!("{}.{}", table.schema, table.name))
            .collect())
    }

    /// Which schema's table is read, if `crm.table` names none and there are several. A table that appears in a schema
    /// earlier in the `search_path` would be read instead.
    pub(crate) async fn ambiguous_schemas(&self) -> Result<Option<TableSchemas>, Error> {
        let Source::Table { name, .. } = &self.source else {
            return Ok(None);
        };
        let mut tables = self.tables(name).await?;
        tables.retain(|table| table.name == name.table.as_str());
        let (read, others): (Vec<_>, Vec<_>) = tables.into_iter().partition(|table| table.is_read);
        match read.into_iter().next() {
            Some(read) if name.schema.is_none() && !others.is_empty() => Ok(Some(TableSchemas {
                read: read.schema,
                others: others.into_iter().map(|table| table.schema).collect(),
            })),
            _ => Ok(None),
        }
    }

    /// The tables and views that the role can name.
    async fn tables(&self, configured: &TableName) -> Result<Vec<FoundTable>, Error> {
        self.transaction("looking for tables", async |tx| {
            let tables = sqlx::query_as(
                "SELECT n.nspname::text AS schema, c.relname::text AS name, \
                     c.oid IS NOT DISTINCT FROM to_regclass($1) AS is_read \
                 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
                 WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND c.relpersistence <> 't' \
                 AND n.nspname NOT IN ('pg_catalog', 'information_schema') \
                 AND has_schema_privilege(n.oid, 'USAGE') \
                 ORDER BY 1, 2",
            )
            .bind(configured.quoted())
            .fetch_all(unnamed(tx))
            .await?;
            Ok(tables)
        })
        .await
    }
}

#[derive(sqlx::FromRow)]
struct FoundTable {
    schema: String,
    name: String,
    /// It is the one that `crm.table` means.
    is_read: bool,
}
