//! The socket file.

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tokio::net::UnixListener;

use crate::error::ServerError;

/// Binds the admin socket for its owner only, in the place of one that a killed server left behind. Call it only when the
/// database's lease is held: then no other server of this directory runs.
///
/// # Errors
/// [`ServerError::AdminSocket`]; the system limits such paths to about a hundred bytes.
pub fn bind(path: &Path) -> Result<UnixListener, ServerError> {
    let bind = || {
        match fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        fs::set_permissions(path, Permissions::from_mode(0o600))?;
        Ok(listener)
    };
    bind().map_err(|source: io::Error| ServerError::AdminSocket { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_that_was_left_behind_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.sock");
        drop(bind(&path).unwrap());
        assert!(path.exists());
        let _listener = bind(&path).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[tokio::test]
    async fn a_path_that_is_too_long_is_explained() {
        let dir = tempfile::tempdir().unwrap();
        let error = bind(&dir.path().join("x".repeat(120))).unwrap_err();
        assert!(error.to_string().contains("short path"), "{error}");
    }
}
