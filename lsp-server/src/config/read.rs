//! From text to [`Config`], with the bounds of every setting.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use bitcoin::Network;
use node::{BitcoindConfig, ChainLimits};
use protocol::deadline::{
    CLTV_EXPIRY_DELTA, FIRST_HOP_BLOCKS_MAX, HOLD_BLOCKS_MAX, HOLD_BLOCKS_MIN, MARGIN, PAYEE_FINAL_BLOCKS,
};
use protocol::mailbox::{MailboxLimits, Usage};
use protocol::units::Msat;
use protocol::wire::PAYMENT_HASHES_MAX;
use storage::DatabaseUrl;

use super::setting::Settings;
use super::{
    CONFIG_FILE, Config, ConfigError, DATABASE_FILE, HoldsConfig, LightningConfig, MetricsConfig,
    PayeeConfig, edge,
};
use super::{notify, push};

/// BOLT 7: the alias has 32 bytes.
const ALIAS_BYTES_MAX: usize = 32;
/// LDK's `MIN_CLTV_EXPIRY_DELTA`.
const CLTV_EXPIRY_DELTA_MIN: u16 = 48;
/// A delta beyond a week makes routes through this node useless.
const CLTV_EXPIRY_DELTA_MAX: u16 = 1_008;
/// With it the fee is the amount.
const FEE_MILLIONTHS_MAX: u32 = 1_000_000;
/// LDK drops an incomplete multi-part payment after three ticks of its timer.
const PAYEE_WAIT_SECS_MAX: u64 = 60;
/// Slower than this, the estimate of the height would be no bound.
const BLOCK_SECS_MIN_MAX: u64 = 600;
/// Each is looked at forty times a second.
const WAITING_HTLCS_BOUND: u64 = 10_000;
/// An HTLC of a hold that is over may live this long: LDK's 2016 blocks, twice.
const ENDED_DAYS_KEPT_MIN: u64 = 28;
/// A hundred years.
const ENDED_DAYS_KEPT_MAX: u64 = 36_500;
/// An ordinary onion message has about so many bytes.
const MESSAGE_BYTES_MIN: u64 = 1_500;
/// No hold is longer: its HTLC must fit into what a first hop accepts.
const HOLD_BLOCKS_BOUND: u32 = FIRST_HOP_BLOCKS_MAX - PAYEE_FINAL_BLOCKS - MARGIN;

pub(super) fn config(
    data_dir: &Path,
    text: &str,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Config, ConfigError> {
    let path = data_dir.join(CONFIG_FILE);
    let table = text.parse().map_err(|error: toml::de::Error| ConfigError::Syntax {
        path: path.clone(),
        line: error.span().map_or(1, |span| 1 + text[..span.start].matches('\n').count()),
        message: error.message().to_owned(),
    })?;
    let mut all = Settings::new(table, environment);
    let settings = &mut all;
    let network = settings.required("network", Network::Regtest);
    let push = push::read(settings, data_dir);
    let notify = notify::read(settings, push.apns.is_some() || push.fcm.is_some());
    let config = Config {
        data_dir: data_dir.to_owned(),
        network,
        chain: chain(settings, network),
        bitcoind: bitcoind(settings),
        database: database(settings, data_dir),
        database_witness: database_witness(settings, data_dir),
        lightning: lightning(settings),
        peers: edge::peers(settings),
        channels: edge::channels(settings),
        holds: holds(settings),
        payee: payee(settings),
        mailbox: mailbox(settings),
        http: edge::http(settings, data_dir),
        push,
        notify,
        metrics: MetricsConfig { listen: settings.or("metrics.listen", None) },
    };
    settings.check("http.listen", !config.lightning.listen.contains(&config.http.listen), || {
        "is also in lightning.listen: each needs a port of its own".to_owned()
    });
    let metrics_alone = config.metrics.listen.is_none_or(|listen| {
        listen.port() == 0 || (listen != config.http.listen && !config.lightning.listen.contains(&listen))
    });
    settings.check("metrics.listen", metrics_alone, || {
        "is also http.listen or in lightning.listen: each needs a port of its own".to_owned()
    });
    let mistakes = all.mistakes();
    if mistakes.is_empty() { Ok(config) } else { Err(ConfigError::Mistakes { path, mistakes }) }
}

fn bitcoind(settings: &mut Settings) -> BitcoindConfig {
    let config = BitcoindConfig {
        rpc_url: settings.required("bitcoind.rpc_url", String::new()),
        rpc_user: settings.required("bitcoind.rpc_user", String::new()),
        rpc_password: settings.required("bitcoind.rpc_password", String::new()),
    };
    let url = config.rpc_url.parse::<reqwest::Url>();
    let usable = url.is_ok_and(|url| {
        url.scheme() == "http"
            && url.host_str().is_some()
            && url.username().is_empty()
            && url.password().is_none()
    });
    settings.check("bitcoind.rpc_url", usable, || {
        "expected http://HOST:PORT, without user and password; for a bitcoind across a network use a tunnel"
            .to_owned()
    });
    settings.check("bitcoind.rpc_user", !config.rpc_user.is_empty(), || "is empty".to_owned());
    settings.check("bitcoind.rpc_password", !config.rpc_password.is_empty(), || "is empty".to_owned());
    config
}

fn chain(settings: &mut Settings, network: Network) -> ChainLimits {
    let usual = ChainLimits::of(network);
    let limits = ChainLimits {
        stall_secs: settings.or("chain.stall_secs", usual.stall_secs),
        ahead_secs_max: settings.or("chain.ahead_secs_max", usual.ahead_secs_max),
        block_secs_min: settings.or("chain.block_secs_min", usual.block_secs_min),
    };
    in_range(settings, "chain.block_secs_min", limits.block_secs_min, (1, BLOCK_SECS_MIN_MAX));
    limits
}

/// A relative path is one in the data directory, wherever the server is started from.
fn database(settings: &mut Settings, data_dir: &Path) -> DatabaseUrl {
    match settings.or("database.url", DatabaseUrl::Sqlite(DATABASE_FILE.into())) {
        DatabaseUrl::Sqlite(path) => DatabaseUrl::Sqlite(data_dir.join(path)),
        url @ DatabaseUrl::Postgres(_) => url,
    }
}

fn database_witness(settings: &mut Settings, data_dir: &Path) -> Option<PathBuf> {
    let path: String = settings.or("database.witness_path", "off".to_owned());
    settings.check("database.witness_path", !path.is_empty(), || "expected \"off\", or a path".to_owned());
    (path != "off").then(|| data_dir.join(path))
}

fn lightning(settings: &mut Settings) -> LightningConfig {
    let config = LightningConfig {
        listen: settings.or("lightning.listen", vec![SocketAddr::from(([0, 0, 0, 0], 9735))]),
        announced_addresses: settings.or("lightning.announced_addresses", Vec::new()),
        alias: settings.or("lightning.alias", "lightning-rod".to_owned()),
        cltv_expiry_delta_blocks: settings
            .or("lightning.cltv_expiry_delta_blocks", u16::try_from(CLTV_EXPIRY_DELTA).unwrap_or(u16::MAX)),
        fee_base_msat: settings.or("lightning.fee_base_msat", 1_000),
        fee_proportional_millionths: settings.or("lightning.fee_proportional_millionths", 100),
    };
    settings.check("lightning.listen", !config.listen.is_empty(), || {
        "is empty: phones must be able to connect".to_owned()
    });
    let reachable = config
        .announced_addresses
        .iter()
        .all(|address| address.port() != 0 && !address.ip().is_unspecified());
    settings.check("lightning.announced_addresses", reachable, || {
        "expected addresses that others can connect to: neither 0.0.0.0 nor port 0".to_owned()
    });
    let alias = &config.alias;
    settings.check(
        "lightning.alias",
        alias.len() <= ALIAS_BYTES_MAX && !alias.chars().any(char::is_control),
        || format!("expected at most {ALIAS_BYTES_MAX} bytes of text, it has {}", config.alias.len()),
    );
    in_range(
        settings,
        "lightning.cltv_expiry_delta_blocks",
        config.cltv_expiry_delta_blocks.into(),
        (CLTV_EXPIRY_DELTA_MIN.into(), CLTV_EXPIRY_DELTA_MAX.into()),
    );
    in_range(
        settings,
        "lightning.fee_proportional_millionths",
        config.fee_proportional_millionths.into(),
        (0, FEE_MILLIONTHS_MAX.into()),
    );
    config
}

fn holds(settings: &mut Settings) -> HoldsConfig {
    let config = HoldsConfig {
        hold_blocks_max: settings.or("holds.hold_blocks_max", HOLD_BLOCKS_MAX),
        holds_max: settings.or("holds.holds_max", 20_000),
        holds_per_peer_max: settings.or("holds.holds_per_peer_max", 100),
        holds_kept_per_peer_max: settings.or("holds.holds_kept_per_peer_max", 10_000),
        ended_days_kept: settings.or("holds.ended_days_kept", 90),
        hashes_per_hold_max: settings.or("holds.hashes_per_hold_max", PAYMENT_HASHES_MAX as u64),
        parts_per_hold_max: settings.or("holds.parts_per_hold_max", 600),
        held_htlcs_max: settings.or("holds.held_htlcs_max", 10_000),
        held_msat_max: settings.or("holds.held_msat_max", Msat(10_000_000_000_000)),
        held_htlcs_per_peer_max: settings.or("holds.held_htlcs_per_peer_max", 200),
        held_msat_per_peer_max: settings.or("holds.held_msat_per_peer_max", Msat(10_000_000_000)),
        hold_part_msat_min: settings.or("holds.hold_part_msat_min", Msat(1_000_000)),
    };
    let blocks = (HOLD_BLOCKS_MIN.into(), HOLD_BLOCKS_BOUND.into());
    in_range(settings, "holds.hold_blocks_max", config.hold_blocks_max.into(), blocks);
    at_least_one(settings, "holds.holds_per_peer_max", config.holds_per_peer_max);
    at_least_one(settings, "holds.held_htlcs_per_peer_max", config.held_htlcs_per_peer_max);
    in_range(
        settings,
        "holds.ended_days_kept",
        config.ended_days_kept,
        (ENDED_DAYS_KEPT_MIN, ENDED_DAYS_KEPT_MAX),
    );
    in_range(
        settings,
        "holds.hashes_per_hold_max",
        config.hashes_per_hold_max,
        (1, PAYMENT_HASHES_MAX as u64),
    );
    at_least_one(settings, "holds.parts_per_hold_max", config.parts_per_hold_max);
    let ordered = [
        ("holds.holds_max", config.holds_max, "holds_per_peer_max", config.holds_per_peer_max),
        (
            "holds.holds_kept_per_peer_max",
            config.holds_kept_per_peer_max,
            "holds_per_peer_max",
            config.holds_per_peer_max,
        ),
        (
            "holds.held_htlcs_max",
            config.held_htlcs_max,
            "held_htlcs_per_peer_max",
            config.held_htlcs_per_peer_max,
        ),
        (
            "holds.held_msat_max",
            config.held_msat_max.0,
            "held_msat_per_peer_max",
            config.held_msat_per_peer_max.0,
        ),
    ];
    for (key, value, smaller_key, smaller) in ordered {
        settings.check(key, value >= smaller, || format!("is {value}, less than holds.{smaller_key}"));
    }
    settings.check(
        "holds.held_msat_per_peer_max",
        config.held_msat_per_peer_max >= config.hold_part_msat_min,
        || "is less than holds.hold_part_msat_min: nothing could be held".to_owned(),
    );
    config
}

fn payee(settings: &mut Settings) -> PayeeConfig {
    let config = PayeeConfig {
        wait_secs: settings.or("payee.wait_secs", PAYEE_WAIT_SECS_MAX),
        waiting_htlcs_max: settings.or("payee.waiting_htlcs_max", 1_000),
        waiting_htlcs_per_payee_max: settings.or("payee.waiting_htlcs_per_payee_max", 50),
    };
    in_range(settings, "payee.wait_secs", config.wait_secs, (1, PAYEE_WAIT_SECS_MAX));
    in_range(settings, "payee.waiting_htlcs_max", config.waiting_htlcs_max, (1, WAITING_HTLCS_BOUND));
    in_range(
        settings,
        "payee.waiting_htlcs_per_payee_max",
        config.waiting_htlcs_per_payee_max,
        (1, config.waiting_htlcs_max.max(1)),
    );
    config
}

fn mailbox(settings: &mut Settings) -> MailboxLimits {
    let default = MailboxLimits::default();
    let config = MailboxLimits {
        message_bytes_max: settings.or("mailbox.message_bytes_max", default.message_bytes_max),
        recipient_max: Usage {
            messages: settings.or("mailbox.recipient_messages_max", default.recipient_max.messages),
            bytes: settings.or("mailbox.recipient_bytes_max", default.recipient_max.bytes),
        },
        sender_max: Usage {
            messages: settings.or("mailbox.sender_messages_max", default.sender_max.messages),
            bytes: settings.or("mailbox.sender_bytes_max", default.sender_max.bytes),
        },
        total_max: Usage {
            messages: settings.or("mailbox.total_messages_max", default.total_max.messages),
            bytes: settings.or("mailbox.total_bytes_max", default.total_max.bytes),
        },
        client_total_percent: settings.or("mailbox.client_total_percent", default.client_total_percent),
        peer_lsp_total_percent: settings.or("mailbox.peer_lsp_total_percent", default.peer_lsp_total_percent),
        strangers_total_percent: settings
            .or("mailbox.strangers_total_percent", default.strangers_total_percent),
        peer_lsp_reserve_percent: settings
            .or("mailbox.peer_lsp_reserve_percent", default.peer_lsp_reserve_percent),
    };
    // An onion message travels in a Lightning message, which has at most 65,535 bytes (BOLT 1).
    let bytes = (MESSAGE_BYTES_MIN, u16::MAX.into());
    in_range(settings, "mailbox.message_bytes_max", config.message_bytes_max, bytes);
    in_range(
        settings,
        "mailbox.peer_lsp_reserve_percent",
        config.peer_lsp_reserve_percent.into(),
        // With all of it in reserve no client could get a message.
        (0, 99),
    );
    for (key, percent) in [
        ("mailbox.client_total_percent", config.client_total_percent),
        ("mailbox.peer_lsp_total_percent", config.peer_lsp_total_percent),
        ("mailbox.strangers_total_percent", config.strangers_total_percent),
    ] {
        in_range(settings, key, percent.into(), (1, 100));
    }
    at_least_one(settings, "mailbox.sender_messages_max", config.sender_max.messages);
    let ordered = [
        ("mailbox.sender_bytes_max", config.sender_max.bytes, "message_bytes_max", config.message_bytes_max),
        (
            "mailbox.recipient_messages_max",
            config.recipient_max.messages,
            "sender_messages_max",
            config.sender_max.messages,
        ),
        (
            "mailbox.recipient_bytes_max",
            config.recipient_max.bytes,
            "sender_bytes_max",
            config.sender_max.bytes,
        ),
        (
            "mailbox.total_messages_max",
            config.total_max.messages,
            "recipient_messages_max",
            config.recipient_max.messages,
        ),
        (
            "mailbox.total_bytes_max",
            config.total_max.bytes,
            "recipient_bytes_max",
            config.recipient_max.bytes,
        ),
    ];
    for (key, value, smaller_key, smaller) in ordered {
        settings.check(key, value >= smaller, || format!("is {value}, less than mailbox.{smaller_key}"));
    }
    config
}

pub(super) fn in_range(settings: &mut Settings, key: &'static str, value: u64, (min, max): (u64, u64)) {
    settings.check(key, (min..=max).contains(&value), || format!("is {value}: expected {min} to {max}"));
}

pub(super) fn at_least_one(settings: &mut Settings, key: &'static str, value: u64) {
    settings.check(key, value > 0, || "is 0: nothing would be accepted".to_owned());
}
