//! Holds.

pub(super) mod cancel;
pub(super) mod check;
pub(super) mod list;
pub(super) mod release;
pub(super) mod show;

use protocol::ids::PidHash;

use super::error::AdminError;

fn pid_hash(text: &str) -> Result<PidHash, AdminError> {
    text.parse().map_err(|_| AdminError::Id { expected: "a pid hash of 64 hex digits" })
}
