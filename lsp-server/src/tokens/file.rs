//! The file with the keys: 32 bytes, or lines of 64 hex digits, the current key first and earlier ones below it.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use hex::{DisplayHex, FromHex};
use zeroize::Zeroizing;

use super::{TokenKeyId, TokenKeys};

/// The permission bits of others than the owner.
const OTHERS: u32 = 0o077;

/// Keys in one file.
const KEYS_MAX: usize = 16;

/// Why there are no keys to seal tokens with. No text holds any of them.
#[derive(Debug, thiserror::Error)]
pub enum TokenKeyError {
    /// There is none, or not for this user.
    #[error("cannot read {} (push.token_key_file)", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// Others may read it.
    #[error("{} (push.token_key_file) can be read by others (mode {mode:04o}): run `chmod 600` on it", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It holds something else.
    #[error(
        "{} (push.token_key_file) holds no keys: expected 32 bytes, or 1 to {KEYS_MAX} lines of 64 hex digits, \
         the current key first",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// It cannot be written; an existing one is never overwritten.
    #[error("cannot create {} (push.token_key_file)", path.display())]
    Uncreatable {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// No randomness.
    #[error("the system gives no entropy for a new key: {0}")]
    Entropy(getrandom::Error),
    /// The database was written with a key that is not there.
    #[error(
        "the push tokens in the database are sealed with the key {key_id}, which is not in {} (push.token_key_file). Put \
         that key's file back from its copy; after a change of keys, the old one goes on a line below the new one. If it \
         is lost, `lsp-server devices forget-all` forgets every device, and phones register again",
        path.display()
    )]
    Missing {
        /// The file.
        path: PathBuf,
        /// Which key the database asks for.
        key_id: TokenKeyId,
    },
}

/// Reads the keys, unless others could too.
///
/// # Errors
/// [`TokenKeyError`]
pub fn load(path: &Path) -> Result<TokenKeys, TokenKeyError> {
    let unreadable = |source| TokenKeyError::Unreadable { path: path.to_owned(), source };
    let mode = fs::metadata(path).map_err(unreadable)?.mode() & 0o777;
    if mode & OTHERS != 0 {
        return Err(TokenKeyError::Exposed { path: path.to_owned(), mode });
    }
    let content = Zeroizing::new(fs::read(path).map_err(unreadable)?);
    parse(&content).ok_or_else(|| TokenKeyError::Damaged { path: path.to_owned() })
}

fn parse(content: &[u8]) -> Option<TokenKeys> {
    if let Ok(bytes) = <[u8; 32]>::try_from(content) {
        return Some(TokenKeys::new(&Zeroizing::new(bytes), &[]));
    }
    let lines = std::str::from_utf8(content).ok()?.lines().map(str::trim).filter(|line| !line.is_empty());
    let key = |line| <[u8; 32]>::from_hex(line).ok().map(Zeroizing::new);
    let keys = lines.map(key).collect::<Option<Vec<_>>>()?;
    match keys.split_first() {
        Some((current, earlier)) if keys.len() <= KEYS_MAX => Some(TokenKeys::new(current, earlier)),
        _ => None,
    }
}

/// What a key is called until all of it is on disk.
const STAGED_SUFFIX: &str = ".new";

/// Makes a key and writes it to a new file, durably, readable by its owner only. A crash leaves the whole file or none.
///
/// # Errors
/// [`TokenKeyError`]; when the file is there already, above all.
pub fn create(path: &Path) -> Result<TokenKeys, TokenKeyError> {
    let mut key = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *key).map_err(TokenKeyError::Entropy)?;
    let uncreatable = |source| TokenKeyError::Uncreatable { path: path.to_owned(), source };
    let text = Zeroizing::new(format!("{}\n", key.as_hex()));
    let staged = stage(path, text.as_bytes()).map_err(uncreatable)?;
    publish(&staged, path).map_err(|source| {
        // Of no use to anybody: no row is sealed with it.
        let _ = fs::remove_file(&staged);
        uncreatable(source)
    })?;
    Ok(TokenKeys::new(&key, &[]))
}

/// Writes `content` to a file of its own beside `path`, durably.
pub(super) fn stage(path: &Path, content: &[u8]) -> io::Result<PathBuf> {
    let mut staged = path.as_os_str().to_owned();
    staged.push(STAGED_SUFFIX);
    let staged = PathBuf::from(staged);
    match fs::remove_file(&staged) {
        // A process that died before it could publish it left it behind.
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&staged)?;
    file.write_all(content).and_then(|()| file.sync_all()).inspect_err(|_| {
        // Half a key is none; the next attempt would remove it, too.
        let _ = fs::remove_file(&staged);
    })?;
    Ok(staged)
}

/// Gives what was staged its name, unless something has it: the database's lease lets one process at a time come here.
fn publish(staged: &Path, path: &Path) -> io::Result<()> {
    if path.symlink_metadata().is_ok() {
        return Err(ErrorKind::AlreadyExists.into());
    }
    fs::rename(staged, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    fs::File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

/// Reads the keys, or makes one if there is no file and no row that was sealed: `used` are the keys that rows may be sealed
/// with.
///
/// # Errors
/// [`TokenKeyError`]; [`TokenKeyError::Missing`] if a row could not be opened.
pub fn open(path: &Path, used: &[TokenKeyId]) -> Result<TokenKeys, TokenKeyError> {
    let missing = |key_id| TokenKeyError::Missing { path: path.to_owned(), key_id };
    let keys = match load(path) {
        Err(TokenKeyError::Unreadable { source, .. }) if source.kind() == ErrorKind::NotFound => {
            if let Some(key_id) = used.first() {
                return Err(missing(*key_id));
            }
            let keys = create(path)?;
            tracing::warn!(
                file = %path.display(), key = %keys.current_id(),
                "made a key that push tokens are sealed with: keep a copy of the file, and not beside the database's copies"
            );
            keys
        }
        keys => keys?,
    };
    match used.iter().find(|key_id| !keys.has(**key_id)) {
        Some(key_id) => Err(missing(*key_id)),
        None => Ok(keys),
    }
}
