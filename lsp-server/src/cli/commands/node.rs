//! `lsp-server node`.

use std::path::Path;
use std::str::FromStr;

use bitcoin::secp256k1::PublicKey;
use clap::Subcommand;
use hex::{DisplayHex, FromHex};
use lightning::ln::types::ChannelId;
use protocol::api::admin::{
    ChannelView, CloseChannelRequest, ConnectRequest, NewAddress, NodeInfo, OpenChannelRequest,
    OpenChannelResponse,
};
use protocol::units::Msat;
use reqwest::Method;

use crate::cli::CliError;
use crate::cli::amounts::{grouped, sat, short, yes};
use crate::cli::client::AdminClient;
use crate::cli::output::Output;
use crate::cli::table::{Fields, Table};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum NodeCommand {
    /// Who the node is, and how it does.
    Info,
    /// A fresh on-chain address, to fund channels from.
    Address,
    /// Connect to a peer, and stay connected while there is a channel.
    Connect {
        /// NODEID@HOST:PORT
        peer: PeerAddress,
    },
    /// Every channel.
    Channels,
    /// Open a channel to a connected peer.
    Open {
        /// The peer's node id.
        peer: PublicKey,
        /// The channel's size, in satoshi.
        #[arg(long, value_name = "SAT")]
        capacity_sat: u64,
        /// How much of it is the peer's from the start, in millisatoshi.
        #[arg(long, value_name = "MSAT", default_value_t = 0)]
        push_msat: u64,
        /// Make the channel public: for peers that are LSPs or routing nodes. Phones' channels must stay private.
        #[arg(long)]
        announce: bool,
    },
    /// Close a channel.
    Close {
        /// The channel's id, as `node channels` shows it.
        #[arg(value_parser = channel_id)]
        channel_id: ChannelId,
        /// Without the peer, by broadcasting the last commitment: slower, and dearer.
        #[arg(long)]
        force: bool,
    },
}

/// `NODEID@HOST:PORT`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct PeerAddress {
    peer: PublicKey,
    address: String,
}

impl FromStr for PeerAddress {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (peer, address) = text.split_once('@').ok_or("expected NODEID@HOST:PORT")?;
        let peer = peer.parse().map_err(|_| "the part before the @ is no node id (66 hex digits)")?;
        let (host, port) = address.rsplit_once(':').ok_or("the port is missing: NODEID@HOST:PORT")?;
        if host.is_empty() || port.parse::<u16>().is_err() {
            return Err("the part after the @ is no HOST:PORT");
        }
        Ok(Self { peer, address: address.to_owned() })
    }
}

fn channel_id(text: &str) -> Result<ChannelId, &'static str> {
    <[u8; 32]>::from_hex(text).map(ChannelId).map_err(|_| "a channel id has 64 hex digits")
}

pub(in crate::cli) async fn run(
    data_dir: &Path,
    command: NodeCommand,
    output: Output,
) -> Result<(), CliError> {
    let client = AdminClient::new(data_dir)?;
    match command {
        NodeCommand::Info => output.print(&client.get::<NodeInfo>("/v1/node").await?, info),
        NodeCommand::Address => {
            let new: NewAddress = client.post("/v1/node/address", &()).await?;
            output.print(&new, |new| new.address.clone())
        }
        NodeCommand::Connect { peer: PeerAddress { peer, address } } => {
            let request = ConnectRequest { peer, address };
            client.tell(Method::POST, "/v1/node/connect", Some(&request)).await?;
            output.done(&format!("connected to {peer}"))
        }
        NodeCommand::Channels => {
            output.print(&client.get::<Vec<ChannelView>>("/v1/channels").await?, |list| channels(list))
        }
        NodeCommand::Open { peer, capacity_sat, push_msat, announce } => {
            let request = OpenChannelRequest { peer, capacity_sat, push_msat: Msat(push_msat), announce };
            let opened: OpenChannelResponse = client.post("/v1/channels", &request).await?;
            output.print(&opened, |opened| {
                let id = opened.channel_id;
                format!(
                    "opening {id}; `lsp-server node channels` shows when it is usable, under its lasting id"
                )
            })
        }
        NodeCommand::Close { channel_id, force } => {
            let path = format!("/v1/channels/{}/close", channel_id.0.as_hex());
            client.tell(Method::POST, &path, Some(&CloseChannelRequest { force })).await?;
            output.done(&format!("closing {channel_id}"))
        }
    }
}

fn info(info: &NodeInfo) -> Fields {
    let chain = match info.chain_height {
        None => "bitcoind does not answer".to_owned(),
        Some(chain) if chain > info.height => format!("{} behind", info.height.blocks_until(chain)),
        Some(_) => "synced".to_owned(),
    };
    let list = |addresses: &[std::net::SocketAddr]| match addresses {
        [] => "none".to_owned(),
        addresses => addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    };
    let alarms = if info.alarms.is_empty() { "none".to_owned() } else { info.alarms.join("; ") };
    Fields::default()
        .field("node id", info.node_id)
        .field("alias", &info.alias)
        .field("network", info.network)
        .field("height", format!("{} ({chain})", info.height))
        .field("listening on", list(&info.listen))
        .field("announced as", list(&info.announced_addresses))
        .field("peers", info.peers)
        .field("channels", format!("{} ({} usable)", info.channels, info.channels_usable))
        .field("in channels", sat(info.lightning_balance_msat))
        .field(
            "on chain",
            format!(
                "{} sat ({} sat spendable)",
                grouped(info.on_chain_total_sat),
                grouped(info.on_chain_spendable_sat)
            ),
        )
        .field(
            "database",
            format!(
                "{} writes in {} commits since the start",
                grouped(info.database.transactions + info.database.kv_writes),
                grouped(info.database.commits)
            ),
        )
        .field("alarms", alarms)
        .field("version", &info.version)
}

fn channels(channels: &[ChannelView]) -> Table {
    let header =
        ["channel", "peer", "capacity", "ours", "can send", "can receive", "htlcs in/out", "public", "state"];
    let mut table = Table::new("no channels", &header);
    for channel in channels {
        let state = match channel {
            ChannelView { is_shutting_down: true, .. } => "closing",
            ChannelView { is_usable: true, .. } => "usable",
            ChannelView { is_ready: true, .. } => "peer offline",
            _ => "opening",
        };
        table.row([
            channel.channel_id.0.to_lower_hex_string(),
            short(channel.peer),
            format!("{} sat", grouped(channel.capacity_sat)),
            sat(channel.balance_msat),
            sat(channel.outbound_capacity_msat),
            sat(channel.inbound_capacity_msat),
            format!("{}/{}", channel.pending_inbound_htlcs, channel.pending_outbound_htlcs),
            yes(channel.is_announced).to_owned(),
            state.to_owned(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: &str = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";

    #[test]
    fn peer_addresses_are_checked_before_anyone_is_asked() {
        for address in ["lsp.example.org:9735", "127.0.0.1:9735", "[::1]:9735"] {
            let parsed: PeerAddress = format!("{NODE}@{address}").parse().unwrap();
            assert_eq!(parsed.address, address);
        }
        for wrong in [NODE, "02@h:1", &format!("{NODE}@h"), &format!("{NODE}@:1"), &format!("{NODE}@h:66000")]
        {
            assert!(wrong.parse::<PeerAddress>().is_err(), "{wrong}");
        }
    }
}
