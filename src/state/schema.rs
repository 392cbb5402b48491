//! The schema itself: how far it is, whose it is, creating and migrating it, and what our role may do with it.

use std::fmt;

use sqlx::{
    AssertSqlSafe,
    migrate::{MigrateError, Migrator},
};

use super::{Error, State, Transaction};
use crate::postgres::{describe, quoted};

static MIGRATIONS: Migrator = sqlx::migrate!();

/// How far a schema is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SchemaVersion {
    Absent,
    /// Older than this program; the next holder of the lease migrates it.
    Older,
    Current,
    Newer(i64),
}

/// The schema, or an object in it, is owned by a role that is neither ours nor one that ours is a member of. Its triggers,
/// rules and functions would run with our rights.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ForeignOwner {
    pub schema: String,
    /// What is owned, such as `relation _sqlx_migrations`; `None`: the schema itself.
    pub object: Option<String>,
    pub owner: String,
}

impl fmt::Display for ForeignOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { schema, object, owner } = self;
        match object {
            Some(object) => write!(f, "{object} in the state schema {schema}")?,
            None => write!(f, "the state schema {schema}")?,
        }
        write!(
            f,
            " is owned by the role {owner}, whose code could run with our rights: the role of state.url has to own the \
             schema and everything in it"
        )
    }
}

/// What the role of `state.url` may do.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "independent answers of the database")]
pub struct Rights {
    pub role: String,
    /// The database takes no changes: a standby, or set to be read-only.
    pub read_only: bool,
    pub schema_exists: bool,
    /// The role may use the schema and create in it, or create the schema where it is not there.
    pub may_create: bool,
    /// The role may read and change every table in the schema.
    pub may_change: bool,
    /// The schema, or something in it, is somebody else's.
    pub foreign_owner: Option<ForeignOwner>,
    /// Other roles that may write in the schema, superusers aside; `PUBLIC` is everybody.
    pub other_writers: Vec<String>,
}

impl State {
    /// How far the schema is; changes nothing. An error if it is somebody else's.
    pub async fn version(&self) -> Result<SchemaVersion, Error> {
        self.transaction("reading the schema's version", async |tx| self.find_version(tx).await)
            .await
    }

    pub(super) async fn find_version(&self, tx: &mut Transaction<'_>) -> Result<SchemaVersion, Error> {
        self.refuse_foreign_owner(tx).await?;
        let has_migrations = sqlx::query_scalar!(
            r#"SELECT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                   WHERE n.nspname = $1 AND c.relname = '_sqlx_migrations') AS "exists!""#,
            self.schema
        )
        .fetch_one(tx.executor())
        .await?;
        if !has_migrations {
            return Ok(SchemaVersion::Absent);
        }
        // With its schema: in one that the role may not use, the table would look as if it were not there.
        let schema = quoted(&self.schema);
        let sql = format!("SELECT max(version) FROM {schema}._sqlx_migrations WHERE success");
        let found: Option<i64> = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(tx.executor()).await?;
        let known = newest_migration();
        Ok(match found {
            None => SchemaVersion::Absent,
            Some(found) if found < known => SchemaVersion::Older,
            Some(found) if found > known => SchemaVersion::Newer(found),
            Some(_) => SchemaVersion::Current,
        })
    }

    /// Whether there is something to read. For the verbs that never migrate.
    pub async fn is_there(&self) -> Result<bool, Error> {
        match self.version().await? {
            SchemaVersion::Absent => Ok(false),
            SchemaVersion::Older | SchemaVersion::Current => Ok(true),
            SchemaVersion::Newer(found) => Err(self.too_new(found)),
        }
    }

    pub(super) fn too_new(&self, found: i64) -> Error {
        Error::TooNew {
            schema: self.schema.clone(),
            found,
            known: newest_migration(),
        }
    }

    fn migration_failed(&self, reason: String) -> Error {
        Error::Migration {
            schema: self.schema.clone(),
            reason,
        }
    }

    /// Creates the schema, if it is not there, and brings everything in it up to date.
    pub(super) async fn migrate(&self, tx: &mut Transaction<'_>) -> Result<(), Error> {
        // The migrator's own lock belongs to the session, which a PgBouncer does not keep.
        let lock = "SELECT pg_advisory_xact_lock(hashtext('wazzup_sync migrations'), hashtext($1))";
        tx.run(sqlx::query(lock).bind(&self.schema)).await?;
        let exists = sqlx::query_scalar!(
            r#"SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1) AS "exists!""#,
            self.schema
        )
        .fetch_one(tx.executor())
        .await?;
        if exists {
            self.refuse_foreign_owner(tx).await?;
        } else {
            // Not IF NOT EXISTS: that asks for the right to create one even where it is there.
            let create = format!("CREATE SCHEMA {}", quoted(&self.schema));
            let created = sqlx::raw_sql(AssertSqlSafe(create)).execute(tx.executor()).await;
            created.map_err(|error| {
                self.migration_failed(format!(
                    "{}; create it yourself, with `CREATE SCHEMA … AUTHORIZATION` for the role of state.url",
                    describe(&error)
                ))
            })?;
        }

        let mut migrator = Migrator::with_migrations(MIGRATIONS.iter().cloned().collect());
        migrator.set_locking(false);
        migrator.run(&mut *tx.connection).await.map_err(|error| match error {
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
                self.migration_failed(describe(&error))
            }
            other => self.migration_failed(other.to_string()),
        })
    }

    async fn refuse_foreign_owner(&self, tx: &mut Transaction<'_>) -> Result<(), Error> {
        match self.find_foreign_owner(tx).await? {
            Some(foreign_owner) => Err(foreign_owner.into()),
            None => Ok(()),
        }
    }

    /// Reads only the system's catalogs. A superuser counts as a member of every role, so for one only its own is ours.
    async fn find_foreign_owner(&self, tx: &mut Transaction<'_>) -> Result<Option<ForeignOwner>, Error> {
        let found = sqlx::query_as!(
            ForeignOwner,
            r#"SELECT $1::text AS "schema!", object, pg_get_userbyid(owner)::text AS "owner!"
               FROM (
                   SELECT NULL AS object, nspowner AS owner FROM pg_namespace WHERE nspname = $1
                   UNION ALL
                   SELECT 'relation ' || relname, relowner
                   FROM pg_class WHERE relnamespace = to_regnamespace(quote_ident($1))
                   UNION ALL
                   SELECT 'function ' || proname, proowner
                   FROM pg_proc WHERE pronamespace = to_regnamespace(quote_ident($1))
                   UNION ALL
                   SELECT 'type ' || typname, typowner
                   FROM pg_type WHERE typnamespace = to_regnamespace(quote_ident($1))
                   UNION ALL
                   SELECT 'operator ' || oprname, oprowner
                   FROM pg_operator WHERE oprnamespace = to_regnamespace(quote_ident($1))
               ) AS owned
               WHERE owner <> to_regrole(quote_ident(current_user))
                   AND (current_setting('is_superuser')::boolean OR NOT pg_has_role(owner, 'MEMBER'))
               ORDER BY object NULLS FIRST LIMIT 1"#,
            self.schema
        )
        .fetch_optional(tx.executor())
        .await?;
        Ok(found)
    }

    /// What our role may do; reads only the system's catalogs. For `check`.
    pub async fn rights(&self) -> Result<Rights, Error> {
        self.transaction("reading the rights of our role", async |tx| {
            let row = sqlx::query!(
                r#"SELECT current_user::text AS "role!",
                       pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean AS "read_only!",
                       n.oid IS NOT NULL AS "schema_exists!",
                       CASE WHEN n.oid IS NULL THEN has_database_privilege(current_database(), 'CREATE')
                           ELSE has_schema_privilege(n.oid, 'USAGE') AND has_schema_privilege(n.oid, 'CREATE')
                           END AS "may_create!",
                       NOT EXISTS (SELECT FROM pg_class c WHERE c.relnamespace = n.oid AND c.relkind IN ('r', 'p') AND NOT (
                           has_table_privilege(c.oid, 'SELECT') AND has_table_privilege(c.oid, 'INSERT')
                           AND has_table_privilege(c.oid, 'UPDATE') AND has_table_privilege(c.oid, 'DELETE')
                       )) AS "may_change!"
                   FROM (SELECT) AS one LEFT JOIN pg_namespace n ON n.nspname = $1"#,
                self.schema
            )
            .fetch_one(tx.executor())
            .await?;
            Ok(Rights {
                role: row.role,
                read_only: row.read_only,
                schema_exists: row.schema_exists,
                may_create: row.may_create,
                may_change: row.may_change,
                foreign_owner: self.find_foreign_owner(tx).await?,
                other_writers: self.find_other_writers(tx).await?,
            })
        })
        .await
    }

    /// Owners and those with an explicit grant. Whoever may create a trigger runs code with our rights, so that counts, too.
    async fn find_other_writers(&self, tx: &mut Transaction<'_>) -> Result<Vec<String>, Error> {
        let writers = sqlx::query_scalar!(
            r#"WITH writer AS (
                   SELECT nspowner AS role FROM pg_namespace WHERE nspname = $1
                   UNION
                   SELECT acl.grantee FROM pg_namespace n CROSS JOIN aclexplode(n.nspacl) AS acl
                   WHERE n.nspname = $1 AND acl.privilege_type = 'CREATE'
                   UNION
                   SELECT c.relowner FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1
                   UNION
                   SELECT acl.grantee
                   FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace CROSS JOIN aclexplode(c.relacl) AS acl
                   WHERE n.nspname = $1
                       AND acl.privilege_type IN ('INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'TRIGGER')
               )
               SELECT CASE WHEN role = 0 THEN 'PUBLIC' ELSE pg_get_userbyid(role)::text END AS "name!"
               FROM writer
               WHERE role NOT IN (SELECT oid FROM pg_roles WHERE rolname = current_user OR rolsuper)
               ORDER BY 1"#,
            self.schema
        )
        .fetch_all(tx.executor())
        .await?;
        Ok(writers)
    }
}

fn newest_migration() -> i64 {
    let versions = MIGRATIONS.iter().map(|migration| migration.version);
    versions.max().unwrap_or_default()
}
