//! The state behind a real `PgBouncer` in transaction mode: no session state, no named statement, no session lock.

use std::{
    net::TcpListener,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use sandbox::Wazzup;

use crate::app::App;

/// A `PgBouncer` before the shared server; ended when dropped.
struct PgBouncer {
    process: Child,
    port: u16,
    _directory: tempfile::TempDir,
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        _ = self.process.kill();
        _ = self.process.wait();
    }
}

impl PgBouncer {
    async fn before(postgres: u16) -> Self {
        let program = [
            "/usr/sbin/pgbouncer",
            "/usr/bin/pgbouncer",
            "/opt/homebrew/bin/pgbouncer",
        ];
        let program = program
            .into_iter()
            .find(|path| Path::new(path).exists())
            .expect("install the package pgbouncer");
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .expect("a free port")
            .port();
        let directory = tempfile::tempdir().expect("a directory");
        let config = directory.path().join("pgbouncer.ini");
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={postgres}\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n\
             pool_mode = transaction\ndefault_pool_size = 2\n"
        )
        // Any log-in is let through as the superuser of the throw-away server.
        .replace("* = host", "* = user=postgres host");
        std::fs::write(&config, text).expect("the configuration");
        let mut command = Command::new(program);
        command.arg(&config).stdout(Stdio::null()).stderr(Stdio::null());
        // Like the server it refuses to run as root. Who is root here may not be so for the files.
        if let Some(nobody) = nobody() {
            let open = |path: &Path| std::os::unix::fs::chown(path, Some(nobody), None).expect("a file of nobody's");
            open(directory.path());
            open(&config);
            command.uid(nobody);
        }
        let process = command.spawn().expect("PgBouncer starts");
        let answers = async {
            while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(crate::process::PATIENCE, answers)
            .await
            .expect("PgBouncer answers");
        Self {
            process,
            port,
            _directory: directory,
        }
    }
}

/// The user id of `nobody`, if this process is root.
fn nobody() -> Option<u32> {
    let id = |arguments: &[&str]| {
        let output = Command::new("id").args(arguments).output().expect("id");
        String::from_utf8_lossy(&output.stdout)
            .trim()
            .parse::<u32>()
            .expect("a number")
    };
    (id(&["-u"]) == 0).then(|| id(&["-u", "nobody"]))
}

#[tokio::test]
async fn the_state_works_behind_pgbouncer_in_transaction_mode() {
    let mut app = App::new().await;
    let pgbouncer = PgBouncer::before(app.server.port()).await;
    let url = format!(
        "postgres://postgres@127.0.0.1:{}/{}?sslmode=disable",
        pgbouncer.port, app.database
    );
    app.set("state.url", &url)
        .set("crm.url", &url)
        .set("schedule.every", "200ms");
    app.hire_many(120).await;
    app.once_exits(0).await;
    assert_eq!(app.user_ids().len(), 120);
    app.settled().await;

    // Two copies of the daemon share its few server connections: one leads, the other takes over.
    let mut first = app.daemon();
    first.wait_for("lease.acquired", |_| true).await;
    let mut second = app.daemon();
    second.wait_for("lease.standby", |_| true).await;
    app.rename("e007", "Through The Bouncer").await;
    let renamed = |wazzup: &Wazzup| {
        wazzup
            .user("e007")
            .is_some_and(|user| user.name == "Through The Bouncer")
    };
    app.wazzup_reaches(renamed).await;
    first.stop().await;
    second.wait_for("lease.acquired", |_| true).await;
    app.fire(&["e008"]).await;
    let gone = |wazzup: &Wazzup| !wazzup.users().contains_key("e008");
    app.wazzup_reaches(gone).await;
    second.stop().await;
    app.settled().await;
}
