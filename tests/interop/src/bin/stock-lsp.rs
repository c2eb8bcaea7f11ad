//! An LSP that is ldk-node and nothing else, for the benchmark to measure `lsp-server` against.
//!
//! It forwards to private channels, as ldk-node does for LSPS2, takes channels from anyone, and runs until it is
//! killed. It prints `node_id ID`, `address ADDRESS`, and `funded` once it has coins for the reserves that ldk-node keeps for
//! channels with anchors.

use std::convert::Infallible;
use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use ldk_node::Builder;
use ldk_node::bitcoin::Network;
use ldk_node::liquidity::LSPS2ServiceConfig;
use ldk_node::logger::{LogLevel, LogRecord, LogWriter};

/// Twelve channels' reserves.
const COINS_SAT: u64 = 300_000;
/// How often it looks for its coins.
const COINS_POLL_INTERVAL: Duration = Duration::from_millis(200);

/// What is worse than usual, for whoever has to find out why a run failed.
struct Warnings;

impl LogWriter for Warnings {
    fn log<'a>(&self, record: LogRecord<'a>) {
        if record.level >= LogLevel::Warn {
            eprintln!("{} {}: {}", record.level, record.module_path, record.args);
        }
    }
}

struct Arguments {
    data_dir: PathBuf,
    listen: SocketAddr,
    rpc_port: u16,
    rpc_user: String,
    rpc_password: String,
}

impl Arguments {
    fn read(mut words: impl Iterator<Item = String>) -> Option<Self> {
        Some(Self {
            data_dir: words.next()?.into(),
            listen: words.next()?.parse().ok()?,
            rpc_port: words.next()?.parse().ok()?,
            rpc_user: words.next()?,
            rpc_password: words.next()?,
        })
    }
}

fn main() -> ExitCode {
    let Some(arguments) = Arguments::read(std::env::args().skip(1)) else {
        eprintln!("usage: stock-lsp DATA_DIR LISTEN RPC_PORT RPC_USER RPC_PASSWORD");
        return ExitCode::FAILURE;
    };
    let Err(error) = run(arguments);
    eprintln!("error: {error}");
    ExitCode::FAILURE
}

fn run(arguments: Arguments) -> Result<Infallible, Box<dyn Error>> {
    let mut builder = Builder::new();
    builder
        .set_network(Network::Regtest)
        .set_storage_dir_path(arguments.data_dir.display().to_string())
        .set_custom_logger(Arc::new(Warnings))
        .set_listening_addresses(vec![arguments.listen.into()])?
        .set_node_alias("stock".to_owned())?
        .set_chain_source_bitcoind_rpc(
            "127.0.0.1".to_owned(),
            arguments.rpc_port,
            arguments.rpc_user,
            arguments.rpc_password,
        )
        // Without it, ldk-node forwards to announced channels only.
        .set_liquidity_provider_lsps2(LSPS2ServiceConfig {
            require_token: None,
            advertise_service: false,
            channel_opening_fee_ppm: 10_000,
            channel_over_provisioning_ppm: 100_000,
            min_channel_opening_fee_msat: 1_000,
            min_channel_lifetime: 100,
            max_client_to_self_delay: 1_024,
            min_payment_size_msat: 1_000,
            max_payment_size_msat: 1_000_000_000,
            client_trusts_lsp: false,
        });
    let node = builder.build()?;
    node.start()?;
    println!("node_id {}", node.node_id());
    println!("address {}", node.onchain_payment().new_address()?);
    while node.list_balances().spendable_onchain_balance_sats < COINS_SAT {
        node.sync_wallets()?;
        std::thread::sleep(COINS_POLL_INTERVAL);
    }
    println!("funded");
    loop {
        std::thread::park();
    }
}
