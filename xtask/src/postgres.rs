//! A Postgres server for the tests: private, on a free loopback port, with its data in `target/tmp` (as root where Postgres' own user gets
//! to), and gone with this process.

use std::env;
use std::fs::{self, File};
use std::io::{self, Read};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Names the server to the tests: the variable of `storage::testing`, which this program does not link.
pub(crate) const URL_VAR: &str = "LIGHTNING_ROD_POSTGRES_URL";

/// With the value `postgres`, the tests that run on one kind of database run on Postgres: a variable of `storage::testing`, too.
pub(crate) const USUAL_VAR: &str = "LIGHTNING_ROD_TEST_ON";

/// Where Debian's packages put the programs, in folders named by version.
const DEBIAN_FOLDER: &str = "/usr/lib/postgresql";

/// Whom a server runs as that root starts: Postgres refuses to run as root.
const SYSTEM_USER: &str = "postgres";

const START_TIMEOUT: Duration = Duration::from_secs(60);

/// Keeps the server until its own input ends, which it does with this process, however that ends.
const KEEPER: &str = r#""$@" & server=$!; cat >/dev/null; kill -INT "$server"; wait "$server""#;

#[derive(Debug, thiserror::Error)]
pub(crate) enum PostgresError {
    #[error("cannot prepare {}", path.display())]
    Folder { path: PathBuf, source: io::Error },
    #[error("cannot start {}", path.display())]
    Start { path: PathBuf, source: io::Error },
    #[error("initdb failed with {status}: {stderr}")]
    Init { status: ExitStatus, stderr: String },
    #[error("there is no user `{SYSTEM_USER}` to run Postgres as, and root may not")]
    NoUser,
    #[error("Postgres did not answer in time: {log}")]
    Late { log: String },
}

/// The folder with `initdb` and `postgres`: on `PATH`, else Debian's newest.
pub(crate) fn programs() -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let has_both = |folder: &PathBuf| ["initdb", "postgres"].iter().all(|name| folder.join(name).is_file());
    env::split_paths(&path).find(has_both).or_else(|| {
        let folders = fs::read_dir(DEBIAN_FOLDER).ok()?.flatten();
        let version = |path: &PathBuf| path.file_name()?.to_str()?.parse::<u32>().ok();
        let installed = folders.map(|entry| entry.path()).filter(|path| has_both(&path.join("bin")));
        installed.max_by_key(version).map(|path| path.join("bin"))
    })
}

/// A server that runs until this is dropped.
pub(crate) struct Server {
    keeper: Child,
    folder: PathBuf,
    url: String,
}

#[derive(Clone, Copy)]
struct User {
    uid: u32,
    gid: u32,
}

impl Server {
    /// Starts one of `programs`, with its data in a new folder inside `target`. It commits as a server in service does, fsync
    /// included: the program under test accepts no other.
    pub(crate) fn start(programs: &Path, target: &Path) -> Result<Self, PostgresError> {
        let parent = target.join("tmp");
        let unready = |source| PostgresError::Folder { path: target.to_owned(), source };
        fs::create_dir_all(&parent).map_err(unready)?;
        // Somebody else than the owner of the folders above: they may be the owner's only.
        let (user, parent) = match fs::metadata(&parent).map_err(unready)?.uid() {
            0 if is_reachable(&parent) => (Some(system_user().ok_or(PostgresError::NoUser)?), parent),
            0 => (Some(system_user().ok_or(PostgresError::NoUser)?), env::temp_dir()),
            _ => (None, parent),
        };
        let (name, password) = (random_hex(), random_hex());
        let folder = parent.join(format!("postgres-{}", name.map_err(unready)?));
        let prepare = |source| PostgresError::Folder { path: folder.clone(), source };
        fs::create_dir(&folder).map_err(prepare)?;
        let password = password.map_err(prepare)?;
        let password_file = folder.join("password");
        fs::write(&password_file, &password).map_err(prepare)?;
        fs::set_permissions(&password_file, fs::Permissions::from_mode(0o600)).map_err(prepare)?;
        if let Some(user) = user {
            for path in [&folder, &password_file] {
                chown(path, Some(user.uid), Some(user.gid)).map_err(prepare)?;
            }
        }
        let data = folder.join("data");
        let initdb = programs.join("initdb");
        let mut init = as_user(Command::new(&initdb), user);
        init.arg("-D").arg(&data).arg("--pwfile").arg(&password_file);
        init.args(["-U", "lsp", "--auth=password", "--encoding=UTF8", "--locale=C"]).current_dir(&folder);
        let output = init
            .stdin(Stdio::null())
            .output()
            .map_err(|source| PostgresError::Start { path: initdb, source })?;
        if !output.status.success() {
            let stderr = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(PostgresError::Init { status: output.status, stderr });
        }
        let port =
            TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).map_err(prepare)?.port();
        let log_path = folder.join("log");
        let log = File::create(&log_path).map_err(prepare)?;
        let postgres = programs.join("postgres");
        let mut keeper = as_user(Command::new("sh"), user);
        keeper.args(["-c", KEEPER, "sh"]).arg(&postgres).arg("-D").arg(&data);
        for setting in [
            format!("port={port}"),
            "listen_addresses=127.0.0.1".to_owned(),
            "unix_socket_directories=".to_owned(),
            "max_connections=300".to_owned(),
            "fsync=on".to_owned(),
            "synchronous_commit=on".to_owned(),
        ] {
            keeper.args(["-c", &setting]);
        }
        let errors = log.try_clone().map_err(prepare)?;
        keeper.current_dir(&folder).stdin(Stdio::piped()).stdout(log).stderr(errors);
        let keeper = keeper.spawn().map_err(|source| PostgresError::Start { path: postgres, source })?;
        let url = format!("postgres://lsp:{password}@127.0.0.1:{port}/postgres");
        let mut server = Self { keeper, folder, url };
        server.wait_until_ready(&log_path)?;
        Ok(server)
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    fn wait_until_ready(&mut self, log: &Path) -> Result<(), PostgresError> {
        let started = Instant::now();
        loop {
            let text = fs::read_to_string(log).unwrap_or_default();
            if text.contains("database system is ready to accept connections") {
                return Ok(());
            }
            let has_ended = text.contains("database system is shut down") || text.contains("FATAL");
            if has_ended || started.elapsed() > START_TIMEOUT {
                return Err(PostgresError::Late { log: text.trim().to_owned() });
            }
            thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        // It ends with its input.
        drop(self.keeper.wait());
        drop(fs::remove_dir_all(&self.folder));
    }
}

/// Whether everybody gets through to a folder.
fn is_reachable(folder: &Path) -> bool {
    let passes = |folder: &Path| fs::metadata(folder).is_ok_and(|folder| folder.mode() & 0o001 != 0);
    folder.canonicalize().is_ok_and(|folder| folder.ancestors().all(passes))
}

fn as_user(mut command: Command, user: Option<User>) -> Command {
    if let Some(User { uid, gid }) = user {
        command.uid(uid).gid(gid);
    }
    command
}

fn system_user() -> Option<User> {
    let users = fs::read_to_string("/etc/passwd").ok()?;
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let is_it = fields.next()? == SYSTEM_USER;
        let (uid, gid) = (fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
        is_it.then_some(User { uid, gid })
    })
}

fn random_hex() -> io::Result<String> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn a_server_answers_until_it_is_dropped() {
        let Some(programs) = programs() else {
            eprintln!("SKIPPED: Postgres is not installed");
            return;
        };
        // The owner's only: Postgres' own user, if root has to be that, does not get through.
        let target = tempfile::tempdir().unwrap();
        let server = Server::start(&programs, target.path()).unwrap();
        let address = server.url().split(['@', '/']).nth(3).unwrap().to_owned();
        let folder = server.folder.clone();
        TcpStream::connect(&address).unwrap();
        assert!(folder.join("data").exists());
        drop(server);
        assert!(TcpStream::connect(&address).is_err());
        assert!(!folder.exists());
    }
}
