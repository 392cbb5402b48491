//! What `check` wants to know about the role and the table.

use super::{Crm, Error, Source, TableName};
use crate::postgres::{quoted, unnamed};

#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct Role {
    pub(crate) name: String,
    /// It may change what it should only read. A superuser may, whatever there is.
    pub(crate) can_write: bool,
}

/// A table or view in the CRM's database.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct FoundTable {
    pub(crate) schema: String,
    pub(crate) name: String,
    /// `crm.table` means this one. Without a schema in `crm.table`, the role's `search_path` decides.
    pub(crate) is_read: bool,
}

impl FoundTable {
    /// The table as `crm.table` takes it: `public.employees`, or `hr."Odd.Table"`.
    pub(crate) fn as_configured(&self) -> String {
        let part = |name: &str| {
            let is_plain = !name.contains(['.', '"']) && name.trim() == name;
            if is_plain { name.to_owned() } else { quoted(name) }
        };
        format!("{}.{}", part(&self.schema), part(&self.name))
    }
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
                 current_setting('is_superuser')::boolean OR EXISTS ( \
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

    /// The tables and views that the role can name, for whoever compares them with the `configured` one.
    pub(crate) async fn tables(&self, configured: &TableName) -> Result<Vec<FoundTable>, Error> {
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
