//! bitcoind: reachable, on the right chain, synced, new enough; and our clock against its blocks'.

use std::time::Duration;

use bitcoin::Network;
use reqwest::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Check;
use crate::clock::Clock;
use crate::config::Config;
use crate::error::with_causes;

/// A bitcoind that takes longer is of no use to a node.
const TIMEOUT: Duration = Duration::from_secs(10);

/// bitcoind 26.0, the first that takes packages of transactions on every chain: anchor channels need them to close.
const VERSION_MIN: u64 = 260_000;

/// Nodes refuse a block from further ahead than this (consensus, against their own clocks).
const AHEAD_SECS_MAX: u64 = 2 * 3_600;

/// Hours without a block are rare; a clock that is wrong, or a bitcoind without peers, is not.
const BEHIND_SECS_MAX: u64 = 6 * 3_600;

/// What is asked of `getblockchaininfo`.
#[derive(Debug, Deserialize)]
struct ChainInfo {
    chain: String,
    blocks: u64,
    headers: u64,
    initialblockdownload: bool,
    /// The tip's own time, in seconds since 1970.
    time: Option<u64>,
}

pub(super) async fn examine(config: &Config, clock: &dyn Clock) -> Vec<Check> {
    const NAMES: [&str; 4] = ["chain", "sync", "bitcoind version", "clock"];
    let skip_all = |reachable| {
        let skipped = NAMES.map(|name| Check::skipped(name, "bitcoind cannot be asked"));
        std::iter::once(reachable).chain(skipped).collect()
    };
    let info = match call::<ChainInfo>(config, "getblockchaininfo").await {
        Ok(info) => info,
        Err(check) => return skip_all(check),
    };
    let version = match call::<Value>(config, "getnetworkinfo").await {
        Ok(info) => version(&info),
        Err(check) => return skip_all(check),
    };
    let answers = Check::ok("bitcoind", format!("{} answers", config.bitcoind.rpc_url));
    vec![answers, chain(config, &info), sync(&info), version, clock_check(config.network, &info, clock)]
}

/// One JSON-RPC call; the check that failed when there is no answer. The password is in no text.
async fn call<T: for<'de> Deserialize<'de>>(config: &Config, method: &str) -> Result<T, Check> {
    const NAME: &str = "bitcoind";
    let bitcoind = &config.bitcoind;
    let url = &bitcoind.rpc_url;
    let unreachable = |error: reqwest::Error| {
        Check::failed(
            NAME,
            format!("{url} does not answer: {}", with_causes(&error.without_url())),
            "start bitcoind with server=1, and check bitcoind.rpc_url",
        )
    };
    let client = reqwest::Client::builder().timeout(TIMEOUT).tls_certs_only([]).no_proxy().build();
    let response = client
        .map_err(unreachable)?
        .post(url)
        .basic_auth(&bitcoind.rpc_user, Some(&bitcoind.rpc_password))
        .json(&json!({ "jsonrpc": "1.0", "id": "doctor", "method": method, "params": [] }))
        .send()
        .await
        .map_err(unreachable)?;
    let status = response.status();
    if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
        return Err(Check::failed(
            NAME,
            format!("{url} refuses the user or the password ({status})"),
            "check bitcoind.rpc_user and bitcoind.rpc_password, and rpcallowip in bitcoin.conf",
        ));
    }
    let body = response.bytes().await.map_err(unreachable)?;
    let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
    if let Some(message) = answer.pointer("/error/message").and_then(Value::as_str) {
        return Err(Check::failed(
            NAME,
            format!("it cannot answer {method} now: {message}"),
            "wait if it is just starting; else see bitcoind's own log",
        ));
    }
    serde_json::from_value(answer.get("result").cloned().unwrap_or_default()).map_err(|_| {
        Check::failed(
            NAME,
            format!("what answers at {url} is no bitcoind ({status})"),
            "check bitcoind.rpc_url: is it another service's port?",
        )
    })
}

fn chain(config: &Config, info: &ChainInfo) -> Check {
    const NAME: &str = "chain";
    let expected = config.network.to_core_arg();
    if info.chain == expected {
        Check::ok(NAME, info.chain.clone())
    } else {
        Check::failed(
            NAME,
            format!("bitcoind is on {}, the config says {expected}", info.chain),
            "point bitcoind.rpc_url at a bitcoind of the right chain; never change the network of a node that has \
             channels",
        )
    }
}

fn sync(info: &ChainInfo) -> Check {
    const NAME: &str = "sync";
    if info.initialblockdownload || info.blocks < info.headers {
        Check::failed(
            NAME,
            format!("bitcoind is at block {} of {}", info.blocks, info.headers),
            "wait until bitcoind has caught up: a node that does not see the chain cannot defend its channels",
        )
    } else {
        Check::ok(NAME, format!("at block {}", info.blocks))
    }
}

fn version(info: &Value) -> Check {
    const NAME: &str = "bitcoind version";
    let subversion = info.get("subversion").and_then(Value::as_str).unwrap_or("unknown");
    match info.get("version").and_then(Value::as_u64) {
        Some(version) if version < VERSION_MIN => Check::warning(
            NAME,
            format!("{subversion} is old"),
            "upgrade to 26.0 or later: forced closes need its package relay when fees are high",
        ),
        _ => Check::ok(NAME, subversion),
    }
}

/// Invoices and locks go by block time: a clock that is far from it refuses or accepts what it should not.
fn clock_check(network: Network, info: &ChainInfo, clock: &dyn Clock) -> Check {
    const NAME: &str = "clock";
    let now = clock.now_unix();
    let Some(tip) = info.time else {
        return Check::skipped(NAME, "this bitcoind does not tell its tip's time");
    };
    if tip > now.saturating_add(AHEAD_SECS_MAX) {
        return Check::failed(
            NAME,
            format!("it is {} min behind the newest block", (tip - now) / 60),
            "set the system's clock, and let a time service keep it",
        );
    }
    let age = now.saturating_sub(tip);
    // On regtest blocks come when somebody makes one.
    if network != Network::Regtest && age > BEHIND_SECS_MAX {
        return Check::warning(
            NAME,
            format!("the newest block is {} h old by it", age / 3_600),
            "check the system's clock, and whether bitcoind has peers (`bitcoin-cli getpeerinfo`)",
        );
    }
    Check::ok(NAME, "fits the newest block's time")
}

#[cfg(test)]
mod tests;
