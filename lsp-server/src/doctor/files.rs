//! The data directory, the seed, the database and the disk under it.

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use node::{Seed, SeedError};
use storage::DatabaseUrl;

use super::{Check, Running};
use crate::config::{CONFIG_FILE, Config};
use crate::error::with_causes;
use crate::tokens::{self, TokenKeyError};

/// What every SQLite file begins with.
const SQLITE_MAGIC: &[u8] = b"SQLite format 3\0";

const MIB: u64 = 1024 * 1024;
/// With less than this the next busy hour may fill the disk, and nothing is taken on a full disk.
const FREE_MIN: u64 = 256 * MIB;
/// Below this an operator should know.
const FREE_COMFORTABLE: u64 = 2_048 * MIB;

/// The permission bits of others than the owner.
pub(super) const OTHERS: u32 = 0o077;

pub(super) fn data_dir(path: &Path) -> Check {
    const NAME: &str = "data directory";
    match fs::metadata(path) {
        Ok(metadata) if metadata.mode() & OTHERS == 0 => Check::ok(NAME, path.display().to_string()),
        Ok(metadata) => Check::warning(
            NAME,
            format!("{} can be entered by others (mode {:04o})", path.display(), metadata.mode() & 0o777),
            format!("chmod 700 {}", path.display()),
        ),
        Err(error) => Check::failed(
            NAME,
            format!("{} cannot be read: {error}", path.display()),
            "give it to the user that runs the server",
        ),
    }
}

pub(super) fn config_file(data_dir: &Path) -> Check {
    const NAME: &str = "config file";
    let path = data_dir.join(CONFIG_FILE);
    match fs::metadata(&path) {
        Ok(metadata) if metadata.mode() & OTHERS == 0 => Check::ok(NAME, "for its owner only"),
        Ok(_) => Check::warning(
            NAME,
            "others can read it, and with it bitcoind's password",
            format!("chmod 600 {}", path.display()),
        ),
        Err(error) => Check::failed(NAME, error.to_string(), "give it to the user that runs the server"),
    }
}

/// The key that push tokens are sealed with.
pub(super) fn token_key(config: &Config) -> Check {
    const NAME: &str = "token key";
    let path = &config.push.token_key_file;
    match tokens::load(path) {
        Ok(keys) => Check::ok(NAME, format!("{}, for its owner only", keys.current_id())),
        Err(TokenKeyError::Unreadable { source, .. }) if source.kind() == ErrorKind::NotFound => {
            Check::warning(
                NAME,
                format!(
                    "{} is not there: it is made at the next start, unless tokens were sealed already",
                    path.display()
                ),
                "if phones have registered here, put the file back from its copy",
            )
        }
        Err(error) => {
            let remedy = match &error {
                TokenKeyError::Exposed { path, .. } => format!("chmod 600 {}", path.display()),
                _ => "put the file back from its copy".to_owned(),
            };
            Check::failed(NAME, with_causes(&error), remedy)
        }
    }
}

pub(super) fn seed(config: &Config) -> Check {
    const NAME: &str = "seed";
    match Seed::load(&config.seed_path()) {
        Ok(_) => Check::ok(NAME, "for its owner only"),
        Err(error) => {
            let remedy = match &error {
                SeedError::Exposed { path, .. } => format!("chmod 600 {}", path.display()),
                SeedError::Damaged { .. } => "put the node's own seed there, from its copy".to_owned(),
                _ => "run `lsp-server init` for a new node, or put the node's own seed there".to_owned(),
            };
            Check::failed(NAME, with_causes(&error), remedy)
        }
    }
}

pub(super) fn database(path: &Path, running: Running) -> Check {
    const NAME: &str = "database";
    match look_at_database(path) {
        Ok(Some(bytes)) => {
            let found = format!("{}, {} MiB", path.display(), bytes.div_ceil(MIB));
            match (is_in_use(path), running) {
                (Ok(true), Running::Yes) => Check::ok(NAME, format!("{found}, in use by the running server")),
                (Ok(true), Running::No) => Check::failed(
                    NAME,
                    format!("{found}, in use by a process that does not answer"),
                    "find the other lsp-server and stop it: two may never share one database",
                ),
                (Ok(false), _) => Check::ok(NAME, format!("{found}, free to be opened")),
                (Err(error), _) => Check::failed(
                    NAME,
                    format!("{found}, but its lock file cannot be opened: {error}"),
                    "give both to the user that runs the server",
                ),
            }
        }
        Ok(None) => match path.parent().map(fs::metadata) {
            Some(Ok(folder)) if folder.is_dir() => {
                Check::ok(NAME, format!("{} will be made at the first start", path.display()))
            }
            _ => Check::failed(
                NAME,
                format!("the folder of {} does not exist", path.display()),
                "make the folder, or change database.url",
            ),
        },
        Err(error) => Check::failed(
            NAME,
            format!("{} cannot be used: {error}", path.display()),
            "give it to the user that runs the server; if it is damaged, do not restore an old copy: channels that \
             moved on since would be lost",
        ),
    }
}

pub(super) fn disk_space(config: &Config) -> Check {
    const NAME: &str = "disk space";
    let database = match &config.database {
        DatabaseUrl::Sqlite(path) => path.parent(),
        DatabaseUrl::Postgres(_) => None,
    };
    let folder: PathBuf = database.map_or_else(|| config.data_dir.clone(), Path::to_owned);
    match rustix::fs::statvfs(&folder) {
        Ok(disk) => disk_verdict(NAME, disk.f_bavail.saturating_mul(disk.f_frsize)),
        Err(error) => Check::skipped(NAME, format!("{} cannot be asked: {error}", folder.display())),
    }
}

fn disk_verdict(name: &'static str, free: u64) -> Check {
    let found = format!("{} MiB free", free / MIB);
    let remedy = "make room: when a write fails the server stops, so that nothing is lost";
    match free {
        FREE_COMFORTABLE.. => Check::ok(name, found),
        FREE_MIN.. => Check::warning(name, found, remedy),
        _ => Check::failed(name, found, remedy),
    }
}

/// The file's length, if there is one that the server could open.
fn look_at_database(path: &Path) -> io::Result<Option<u64>> {
    let file = match File::options().read(true).write(true).open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut magic = Vec::new();
    (&file).take(SQLITE_MAGIC.len() as u64).read_to_end(&mut magic)?;
    // A server that was killed at its first start leaves an empty file, which is as good as none.
    if magic.is_empty() || magic == SQLITE_MAGIC {
        Ok(Some(file.metadata()?.len()))
    } else {
        Err(io::Error::new(ErrorKind::InvalidData, "it is no SQLite database"))
    }
}

/// Whether another process has the lease of [`storage::Database`]. The look takes it for an instant.
fn is_in_use(database: &Path) -> io::Result<bool> {
    let mut path = database.as_os_str().to_owned();
    path.push(".lock");
    let file = match File::options().read(true).write(true).open(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        file => file?,
    };
    match file.try_lock() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use storage::Database;

    use super::super::Verdict;
    use super::*;
    use crate::config::SEED_FILE;

    fn config(data_dir: &Path) -> Config {
        let text = "network = \"regtest\"\n[bitcoind]\nrpc_url = \"http://127.0.0.1:1\"\nrpc_user = \"u\"\n\
                    rpc_password = \"p\"";
        Config::parse(data_dir, text, []).unwrap()
    }

    #[test]
    fn permissions_are_looked_at() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path());
        for (mode, verdict) in [(0o700, Verdict::Ok), (0o755, Verdict::Warning)] {
            fs::set_permissions(dir.path(), fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(data_dir(dir.path()).verdict, verdict);
        }

        assert_eq!(seed(&config).verdict, Verdict::Failed);
        Seed::create(&dir.path().join(SEED_FILE)).unwrap();
        assert_eq!(seed(&config).verdict, Verdict::Ok);
        fs::set_permissions(config.seed_path(), fs::Permissions::from_mode(0o644)).unwrap();
        let exposed = seed(&config);
        assert_eq!(exposed.verdict, Verdict::Failed);
        assert!(exposed.remedy.starts_with("chmod 600"), "{}", exposed.remedy);
    }

    #[tokio::test]
    async fn a_database_is_new_free_or_in_use() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path());
        let DatabaseUrl::Sqlite(path) = &config.database else { panic!("it is a file") };
        let database = |running| super::database(path, running);
        let fresh = database(Running::No);
        assert_eq!(fresh.verdict, Verdict::Ok, "{fresh:?}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "looking changes nothing");

        let db = Database::open(&config.database, &[]).await.unwrap();
        assert_eq!(database(Running::Yes).verdict, Verdict::Ok);
        let taken = database(Running::No);
        assert!(taken.verdict == Verdict::Failed && taken.found.contains("in use"), "{taken:?}");
        db.close().await;
        let free = database(Running::No);
        assert!(free.verdict == Verdict::Ok && free.found.contains("free"), "{free:?}");
        Database::open(&config.database, &[]).await.unwrap().close().await;
    }

    #[test]
    fn another_file_is_no_database() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lsp.sqlite");
        fs::write(&path, "some other file that is long enough").unwrap();
        let check = database(&path, Running::No);
        assert!(check.verdict == Verdict::Failed && check.found.contains("no SQLite"), "{check:?}");
    }

    #[test]
    fn a_full_disk_is_told_in_time() {
        let dir = tempfile::tempdir().unwrap();
        assert_ne!(disk_space(&config(dir.path())).verdict, Verdict::Skipped);
        for (free, verdict) in [
            (FREE_COMFORTABLE, Verdict::Ok),
            (FREE_COMFORTABLE - 1, Verdict::Warning),
            (FREE_MIN, Verdict::Warning),
            (FREE_MIN - 1, Verdict::Failed),
        ] {
            assert_eq!(disk_verdict("disk space", free).verdict, verdict);
        }
    }
}
