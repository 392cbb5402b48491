//! Versions and owners of the schema.

use super::*;

#[tokio::test]
async fn a_standby_leaves_an_older_schema_alone_and_refuses_a_newer_one() {
    let fixture = Fixture::new().await;
    let standby = open(&fixture.server.url(&fixture.database));
    fixture.sql("UPDATE wazzup_sync._sqlx_migrations SET version = 0");
    assert_eq!(standby.version().await.expect("a version"), SchemaVersion::Older);
    let answer = standby.acquire(&holder("standby"), LEASE).await;
    assert!(matches!(answer, Ok(Acquired::HeldBy { .. })));
    fixture.sql("UPDATE wazzup_sync._sqlx_migrations SET version = 2");
    let answer = standby.acquire(&holder("standby"), LEASE).await;
    assert!(matches!(answer, Err(Error::TooNew { found: 2, known: 1, .. })));
}

#[tokio::test]
async fn a_schema_of_somebody_else_is_refused_before_it_is_touched() {
    let (server, database) = new_database();
    let sql = |sql: &str| server.sql(&database, sql).expect(sql);
    sql(&format!(
        "CREATE ROLE {database}_us LOGIN; CREATE ROLE {database}_stranger; CREATE ROLE {database}_team; \
            GRANT {database}_team TO {database}_us; GRANT CREATE ON DATABASE {database} TO {database}_us;"
    ));
    sql(&format!(
        "CREATE SCHEMA wazzup_sync AUTHORIZATION {database}_stranger; GRANT ALL ON SCHEMA wazzup_sync TO PUBLIC;"
    ));
    for url in [
        server.url_as(&format!("{database}_us"), &database),
        server.url(&database),
    ] {
        let answer = open(&url).acquire(&holder("ours"), LEASE).await;
        assert!(matches!(answer, Err(Error::ForeignOwner(foreign))
                if foreign.object.is_none() && foreign.owner == format!("{database}_stranger")));
    }

    // A role that ours is a member of may own it; an object that somebody else has put into it is refused.
    sql(&format!("ALTER SCHEMA wazzup_sync OWNER TO {database}_team"));
    let state = open(&server.url_as(&format!("{database}_us"), &database));
    state.give_up(&acquire(&state, "ours").await).await.expect("given up");
    let rights = state.rights().await.expect("the rights");
    assert!(rights.may_create && rights.may_change && rights.foreign_owner.is_none());
    assert_eq!(rights.other_writers, ["PUBLIC".to_owned(), format!("{database}_team")]);
    sql(&format!(
        "SET ROLE {database}_stranger; CREATE FUNCTION wazzup_sync.f() RETURNS integer LANGUAGE sql AS 'SELECT 1'"
    ));
    let error = state.is_there().await.expect_err("refused").to_string();
    assert!(error.contains("function f") && error.contains("_stranger"), "{error}");
    assert!(state.rights().await.expect("the rights").foreign_owner.is_some());
}
