use anyhow::Result;
use sandbox::Postgres;

#[test]
fn the_shared_one_has_databases_for_everyone() -> Result<()> {
    let postgres = Postgres::shared()?;
    postgres.create_database("template", None)?;
    postgres.sql("template", "CREATE TABLE t (n int); INSERT INTO t VALUES (1), (2)")?;
    postgres.create_database("a \"copy\"", Some("template"))?;
    assert_eq!(postgres.sql("a \"copy\"", "SELECT n, 'й' FROM t")?, "1|й\n2|й");
    postgres.drop_database("a \"copy\"")?;
    let error = postgres.sql("a \"copy\"", "SELECT 1").expect_err("it is gone");
    assert!(error.to_string().contains("does not exist"), "{error}");
    assert_eq!(Postgres::shared()?.port(), postgres.port());
    let url = format!(
        "postgres://postgres@127.0.0.1:{}/template?sslmode=disable",
        postgres.port()
    );
    assert_eq!(postgres.url("template"), url);
    Ok(())
}

#[test]
fn outages_keep_port_and_data() -> Result<()> {
    let postgres = Postgres::start_with(&[("work_mem", "5MB")])?;
    let count = || postgres.sql("postgres", "SELECT count(*) FROM t");
    assert_eq!(
        postgres.sql("postgres", "CREATE TABLE t (n int); SHOW work_mem")?,
        "5MB"
    );
    postgres.stop()?;
    assert!(count().is_err());
    assert!(postgres.reload().is_err());
    postgres.start_again()?;
    postgres.start_again()?;
    postgres.sql("postgres", "INSERT INTO t VALUES (1)")?;
    postgres.restart_immediate()?;
    assert_eq!(count()?, "1");

    postgres.write_file("pg_hba.conf", "host all all 127.0.0.1/32 reject\n")?;
    postgres.reload()?;
    while count().is_ok() {}

    let directory = postgres.data_dir();
    assert!(directory.exists());
    drop(postgres);
    assert!(!directory.exists());
    Ok(())
}

#[test]
fn a_setting_that_does_not_exist_is_told() {
    let error = Postgres::start_with(&[("no_such_setting", "1")]).expect_err("it cannot start");
    assert!(error.to_string().contains("no_such_setting"), "{error}");
}
