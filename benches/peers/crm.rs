//! The CRM of the benchmark: one database for each size, with employees whose phones are spelt the way people do.

use std::collections::BTreeMap;

use sandbox::Postgres;

/// A database with a table of employees.
pub(crate) struct Crm<'a> {
    postgres: &'a Postgres,
    database: String,
    pub(crate) rows: usize,
}

impl<'a> Crm<'a> {
    /// `rows` active employees. One in twenty has no phone; the others are spelt in four ways.
    pub(crate) fn create(postgres: &'a Postgres, rows: usize) -> anyhow::Result<Self> {
        let database = format!("bench_{rows}");
        postgres.create_database(&database, None)?;
        let crm = Self {
            postgres,
            database,
            rows,
        };
        crm.sql(&format!(
            "CREATE TABLE employees (id integer PRIMARY KEY, name text, phone text, is_active boolean NOT NULL DEFAULT true); \
             CREATE FUNCTION spelt(id integer) RETURNS text LANGUAGE sql AS $$ \
                 SELECT CASE WHEN id % 20 = 0 THEN NULL ELSE \
                     regexp_replace(to_char(9260000000 + id, 'FM0000000000'), '^(...)(...)(..)(..)$', \
                         (ARRAY['+7 (\\1) \\2-\\3-\\4', '8 \\1 \\2-\\3-\\4', '7\\1\\2\\3\\4', '+7-\\1-\\2-\\3\\4'])[1 + id % 4]) END $$; \
             INSERT INTO employees SELECT id, 'Сотрудник Номер ' || id, spelt(id) FROM generate_series(1, {rows}) id"
        ))?;
        crm.sql("VACUUM ANALYZE")?;
        Ok(crm)
    }

    /// One in a hundred changes, others in each round.
    pub(crate) fn churn(&self, round: usize) -> anyhow::Result<()> {
        let rows = self.rows;
        let (renamed, hired) = (rows / 125, (rows / 1000).max(1));
        let from = (round * (renamed + hired)) % (rows / 2);
        self.sql(&format!(
            "UPDATE employees SET name = 'Сотрудник Номер ' || id || ', ' || {round} \
                 WHERE id > {from} AND id <= {from} + {renamed}; \
             DELETE FROM employees WHERE id > {rows} / 2 + {round} * {hired} AND id <= {rows} / 2 + ({round} + 1) * {hired}; \
             INSERT INTO employees SELECT id, 'Новый Сотрудник ' || id, spelt(id) \
                 FROM generate_series({rows} + {round} * {hired} + 1, {rows} + ({round} + 1) * {hired}) id"
        ))
        .map(drop)
    }

    /// Whom the CRM wants in Wazzup: names by id.
    pub(crate) fn active(&self) -> anyhow::Result<BTreeMap<String, String>> {
        let lines = self.sql("SELECT id, name FROM employees WHERE is_active")?;
        let pairs = lines.lines().filter_map(|line| line.split_once('|'));
        Ok(pairs.map(|(id, name)| (id.to_owned(), name.to_owned())).collect())
    }

    pub(crate) fn sql(&self, sql: &str) -> anyhow::Result<String> {
        self.postgres.sql(&self.database, sql)
    }

    pub(crate) fn url(&self) -> String {
        self.postgres.url(&self.database)
    }

    pub(crate) fn drop(self) -> anyhow::Result<()> {
        self.postgres.drop_database(&self.database)
    }
}
