//! What `fuzz/` runs: configs, notifications that are asked for, and stored rows that no version of the program wrote.
#![allow(clippy::unwrap_used, reason = "a panic here is a finding")]

mod notifications;
mod rows;

pub use notifications::notify_request;
pub use rows::server_rows;

use std::path::Path;

use crate::config::Config;

/// What stands between the config's text and each variable, and between a variable's name and its value.
const SEPARATOR: char = '\0';

/// A config file, and variables behind it: it is used or refused, and a secret is not repeated.
pub fn server_config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut parts = text.split(SEPARATOR).map(str::to_owned);
    let file = parts.next().unwrap_or_default();
    let mut environment = Vec::new();
    while let (Some(name), Some(value)) = (parts.next(), parts.next()) {
        environment.push((name, value));
    }
    if stands_elsewhere(&file, &environment) {
        return;
    }
    match Config::parse(Path::new("/data"), &file, environment) {
        Ok(config) => {
            assert!(!config.lightning.listen.is_empty() && config.mailbox.sender_max.messages > 0);
            assert!(!format!("{config:?}").contains(SECRET));
        }
        Err(error) => assert!(!format!("{error} {error:?}").contains(SECRET)),
    }
}

/// Stands in the corpus where passwords go.
const SECRET: &str = "hunter2hunter2";

/// Whether the secret stands where no secret goes, in an alias or the name of a variable: there it may be repeated.
fn stands_elsewhere(file: &str, environment: &[(String, String)]) -> bool {
    let mut rest = file.to_owned();
    for key in ["rpc_password", "rpc_pasword"] {
        rest = rest.replace(&format!("{key} = \"{SECRET}\""), "");
    }
    let is_elsewhere = |(name, value): &(String, String)| {
        name.contains(SECRET) || (value.contains(SECRET) && name != "LSP__BITCOIND__RPC_PASSWORD")
    };
    rest.contains(SECRET) || environment.iter().any(is_elsewhere)
}

#[cfg(test)]
#[path = "../../../fuzz/replay.rs"]
mod replay;

#[cfg(test)]
#[test]
fn the_corpus_finds_nothing() {
    replay::corpus("notify_request", notify_request);
    replay::corpus("server_config", server_config);
    replay::corpus("server_rows", server_rows);
}
