//! The database, where it is on a Postgres server.

use storage::{PostgresUrl, ServerLook};

use super::{Check, Running};
use crate::error::with_causes;

const NAME: &str = "database";
const MIB: u64 = 1024 * 1024;

pub(super) async fn examine(url: &PostgresUrl, running: Running) -> Vec<Check> {
    match url.look().await {
        Ok(look) => verdicts(url, &look, running),
        Err(error) => vec![Check::failed(
            NAME,
            with_causes(&error),
            "start Postgres, make the database, or change database.url: a direct connection, no pooler; what its certificate is \
             checked against is sslrootcert",
        )],
    }
}

fn verdicts(url: &PostgresUrl, look: &ServerLook, running: Running) -> Vec<Check> {
    let encrypted = if look.is_encrypted { ", encrypted" } else { "" };
    let found = format!("{url}, Postgres {}{encrypted}, {} MiB", look.version, look.bytes.div_ceil(MIB));
    let mut checks = vec![match (&look.refusal, look.is_in_use, running) {
        (Some(reason), ..) => {
            Check::failed(NAME, format!("{found}: {reason}"), "channel state is given to no such server")
        }
        (None, true, Running::Yes) => Check::ok(NAME, format!("{found}, in use by the running server")),
        (None, true, Running::No) => Check::failed(
            NAME,
            format!("{found}, in use by a process that does not answer here"),
            "find the other lsp-server and stop it: two may never share one database",
        ),
        (None, false, _) if look.is_new => {
            Check::ok(NAME, format!("{found}, empty: its tables are made at the first start"))
        }
        (None, false, _) => Check::ok(NAME, format!("{found}, free to be opened")),
    }];
    if url.is_remote() && !look.is_encrypted {
        checks.push(Check::warning(
            "database connection",
            "it is not encrypted",
            "add ?sslmode=verify-full to database.url",
        ));
    }
    if !look.has_synchronous_standby {
        checks.push(Check::ok("database standby", "none is synchronous: never fail over to a standby"));
    }
    checks
}

#[cfg(test)]
mod tests {
    use storage::testing::Scratch;
    use storage::{Database, DatabaseUrl};

    use super::super::{Verdict, damage, witness};
    use super::*;
    use crate::config::Config;

    fn url(scratch: &Scratch) -> &PostgresUrl {
        match scratch.url() {
            DatabaseUrl::Postgres(url) => url,
            DatabaseUrl::Sqlite(_) => panic!("it is on Postgres"),
        }
    }

    #[tokio::test]
    async fn a_server_is_free_in_use_or_unfit() {
        let Some(scratch) = Scratch::postgres() else { return };
        let empty = examine(url(&scratch), Running::No).await;
        assert!(empty[0].verdict == Verdict::Ok && empty[0].found.contains("empty"), "{empty:?}");
        let db = Database::open(scratch.url(), &[]).await.unwrap();
        assert_eq!(examine(url(&scratch), Running::Yes).await[0].verdict, Verdict::Ok);
        let taken = examine(url(&scratch), Running::No).await;
        assert!(taken[0].verdict == Verdict::Failed && taken[0].found.contains("in use"), "{taken:?}");
        db.close().await;
        let free = examine(url(&scratch), Running::No).await;
        assert!(free[0].verdict == Verdict::Ok && free[0].found.contains("free"), "{free:?}");
        let name = scratch.url().to_string().rsplit_once('/').unwrap().1.to_owned();
        scratch.on_server(&format!("ALTER DATABASE {name} SET synchronous_commit = off"));
        let unfit = examine(url(&scratch), Running::No).await;
        assert!(
            unfit[0].verdict == Verdict::Failed && unfit[0].found.contains("synchronous_commit"),
            "{unfit:?}"
        );
    }

    #[tokio::test]
    async fn an_empty_database_is_no_finding() {
        let Some(scratch) = Scratch::postgres() else { return };
        let dir = tempfile::tempdir().unwrap();
        let text = format!(
            "network = \"regtest\"\n[bitcoind]\nrpc_url = \"http://127.0.0.1:1\"\nrpc_user = \"u\"\nrpc_password = \"p\"\n\
             [database]\nurl = \"{}\"",
            scratch.url_text()
        );
        let config = Config::parse(dir.path(), &text, []).unwrap();
        let mut checks = examine(url(&scratch), Running::No).await;
        checks.push(witness::examine(&config).await);
        checks.extend(damage::examine(&config).await);
        assert!(checks.iter().all(|check| check.verdict <= Verdict::Skipped), "{checks:?}");
        let rows = checks.iter().find(|check| check.name == "database rows").unwrap();
        assert_eq!(rows.found, "the database is empty");
    }

    #[tokio::test]
    async fn a_server_that_does_not_answer_is_named_without_its_password() {
        let url: DatabaseUrl = "postgres://u:hunter2@127.0.0.1:1/d".parse().unwrap();
        let DatabaseUrl::Postgres(url) = url else { panic!() };
        let checks = examine(&url, Running::No).await;
        assert_eq!(checks[0].verdict, Verdict::Failed);
        let text = format!("{checks:?}");
        assert!(text.contains("u@127.0.0.1") && !text.contains("hunter2"), "{text}");
    }

    #[test]
    fn a_remote_server_without_encryption_is_warned_of() {
        let look = ServerLook {
            version: "15".to_owned(),
            refusal: None,
            is_in_use: false,
            is_new: false,
            bytes: 1,
            is_encrypted: false,
            has_synchronous_standby: true,
        };
        let warnings = |text: &str, look: &ServerLook| {
            let DatabaseUrl::Postgres(url) = text.parse().unwrap() else { panic!() };
            verdicts(&url, look, Running::No).iter().filter(|check| check.verdict == Verdict::Warning).count()
        };
        assert_eq!(warnings("postgres://u@db.example.com/d", &look), 1);
        assert_eq!(warnings("postgres://u@127.0.0.1/d", &look), 0);
        assert_eq!(warnings("postgres://u@localhost/d?host=/run/postgresql", &look), 0);
        let encrypted = ServerLook { is_encrypted: true, ..look };
        assert_eq!(warnings("postgres://u@db.example.com/d", &encrypted), 0);
    }
}
