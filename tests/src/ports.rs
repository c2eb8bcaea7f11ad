//! Ports that nobody listens on.

use std::collections::HashSet;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Mutex, PoisonError};

use crate::failure::Failure;

/// Handed out by this process already, and perhaps not in use yet.
static TAKEN: Mutex<Option<HashSet<u16>>> = Mutex::new(None);

/// A port on the loopback address that is free now, and that this process hands out once. Another program can still
/// take it; whoever starts a server that cannot say which port it took has to live with that.
///
/// # Errors
///
/// When the system has none.
pub fn free_port() -> Result<u16, Failure> {
    let failure = |source| Failure::Start { name: "a server on a free port".to_owned(), source };
    loop {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failure)?;
        let port = listener.local_addr().map_err(failure)?.port();
        let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.get_or_insert_default().insert(port) {
            return Ok(port);
        }
    }
}
