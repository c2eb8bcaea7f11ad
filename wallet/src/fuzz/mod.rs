//! What `fuzz/` runs: pushes, addresses, and stored rows that no version of the program wrote.
#![allow(clippy::unwrap_used, reason = "a panic here is a finding")]

mod rows;

pub use rows::wallet_rows;

use protocol::push::OpenKey;

use crate::LspAddress;
use crate::wake::read_push;

/// A push's body, and the text of an LSP's address.
pub fn push_body(data: &[u8]) {
    let _ = read_push(data, &OpenKey::derive(&[1; 32]));
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(address) = text.parse::<LspAddress>()
    {
        assert_eq!(address.to_string().parse(), Ok(address));
    }
}

#[cfg(test)]
#[path = "../../../fuzz/replay.rs"]
mod replay;

#[cfg(test)]
#[test]
fn the_corpus_finds_nothing() {
    replay::corpus("push_body", push_body);
    replay::corpus("wallet_rows", wallet_rows);
}
