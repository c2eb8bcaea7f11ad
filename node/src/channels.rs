//! Channels: opening, closing, listing.

use std::sync::PoisonError;

use bitcoin::secp256k1::PublicKey;
use bitcoin::{Address, OutPoint, ScriptBuf};
use lightning::ln::channel_state::ChannelDetails;
use lightning::ln::types::ChannelId;
use lightning::util::config::UserConfig;
use protocol::units::Msat;

use crate::Node;
use crate::config::Role;
use crate::error::NodeError;
use crate::limits::{OpenRequest, channel_refusal, judge_channel};
use crate::onchain::OnChainBalance;

/// One channel, as its owner sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Channel {
    /// LDK's channel id.
    pub channel_id: ChannelId,
    /// The other end.
    pub peer: PublicKey,
    /// The funding output, once it exists.
    pub funding: Option<OutPoint>,
    /// The real short channel id, once confirmed.
    pub short_channel_id: Option<u64>,
    /// Capacity, in satoshi.
    pub capacity_sat: u64,
    /// Ours, reserve included, in-flight HTLCs and the opener's anchor outputs excluded.
    pub balance: Msat,
    /// What can be sent now.
    pub outbound_capacity: Msat,
    /// What can be received now.
    pub inbound_capacity: Msat,
    /// The peer is connected and the channel ready.
    pub is_usable: bool,
    /// `channel_ready` was exchanged.
    pub is_ready: bool,
    /// In the public graph.
    pub is_announced: bool,
    /// Being closed.
    pub is_shutting_down: bool,
    /// HTLCs of the peer that are not resolved.
    pub pending_inbound_htlcs: usize,
    /// HTLCs of ours that are not resolved.
    pub pending_outbound_htlcs: usize,
}

/// What a channel can take as the next hop of an intercepted HTLC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelCarry {
    /// The channel.
    pub channel_id: ChannelId,
    /// The peer.
    pub peer: PublicKey,
    /// LDK's `is_usable`.
    pub is_usable: bool,
    /// LDK's `next_outbound_htlc_limit_msat`.
    pub next_htlc_max: Msat,
    /// LDK's `next_outbound_htlc_minimum_msat`.
    pub next_htlc_min: Msat,
    /// HTLCs of ours on it that are not resolved.
    pub pending_outbound_htlcs: usize,
}

/// All that a node owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Balances {
    /// In channels, HTLCs in flight excluded.
    pub lightning: Msat,
    /// On chain.
    pub on_chain: OnChainBalance,
}

/// Two anchor outputs of 330 satoshi (BOLT 3), which the opener pays for.
const ANCHORS_MSAT: u64 = 660_000;

/// Our side of a channel to the millisatoshi. LDK says what can be sent, which is zero both for a side without money and for
/// one that is down to its reserve; what the other side can send tells these apart.
fn balance(details: &ChannelDetails) -> Msat {
    if details.outbound_capacity_msat > 0 {
        let reserve_msat = details.unspendable_punishment_reserve.unwrap_or(0) * 1_000;
        return Msat(details.outbound_capacity_msat + reserve_msat);
    }
    let has_anchors =
        details.channel_type.as_ref().is_some_and(|features| features.supports_anchors_zero_fee_htlc_tx());
    let anchors_msat = if has_anchors && !details.is_outbound { ANCHORS_MSAT } else { 0 };
    let in_flight_msat: u64 = details.pending_inbound_htlcs.iter().map(|htlc| htlc.amount_msat).sum::<u64>()
        + details.pending_outbound_htlcs.iter().map(|htlc| htlc.amount_msat).sum::<u64>();
    let theirs_msat =
        details.inbound_capacity_msat + details.counterparty.unspendable_punishment_reserve * 1_000;
    Msat((details.channel_value_satoshis * 1_000).saturating_sub(theirs_msat + in_flight_msat + anchors_msat))
}

impl Channel {
    /// A block has its funding. Whoever asks for a channel has one that none has, for nothing.
    pub fn is_confirmed(&self) -> bool {
        self.is_ready || self.short_channel_id.is_some()
    }

    fn from_details(details: &ChannelDetails) -> Self {
        Self {
            channel_id: details.channel_id,
            peer: details.counterparty.node_id,
            funding: details.funding_txo.map(|outpoint| outpoint.into_bitcoin_outpoint()),
            short_channel_id: details.short_channel_id,
            capacity_sat: details.channel_value_satoshis,
            balance: balance(details),
            outbound_capacity: Msat(details.outbound_capacity_msat),
            inbound_capacity: Msat(details.inbound_capacity_msat),
            is_usable: details.is_usable,
            is_ready: details.is_channel_ready,
            is_announced: details.is_announced,
            is_shutting_down: is_shutting_down(details),
            pending_inbound_htlcs: details.pending_inbound_htlcs.len(),
            pending_outbound_htlcs: details.pending_outbound_htlcs.len(),
        }
    }
}

pub(crate) fn is_shutting_down(details: &ChannelDetails) -> bool {
    use lightning::ln::channel_state::ChannelShutdownState;
    details.channel_shutdown_state.is_some_and(|state| state != ChannelShutdownState::NotShuttingDown)
}

impl Node {
    /// Every channel.
    pub fn channels(&self) -> Vec<Channel> {
        self.channel_manager.list_channels().iter().map(Channel::from_details).collect()
    }

    /// The channels with `peer`.
    pub fn channels_with(&self, peer: PublicKey) -> Vec<Channel> {
        self.channel_manager
            .list_channels_with_counterparty(&peer)
            .iter()
            .map(Channel::from_details)
            .collect()
    }

    /// Whether `peer` is a client: it has a channel here, and a block has its funding.
    pub fn has_channel(&self, peer: PublicKey) -> bool {
        self.channels_with(peer).iter().any(Channel::is_confirmed)
    }

    /// Lightning and on-chain money.
    pub fn balances(&self) -> Balances {
        let lightning = self.channel_manager.list_channels().iter().map(balance).sum();
        Balances { lightning, on_chain: self.on_chain.balance() }
    }

    /// A fresh on-chain address of this node.
    pub fn new_address(&self) -> Address {
        self.on_chain.new_address()
    }

    /// Sends on-chain money.
    ///
    /// # Errors
    /// When there is not enough of it.
    pub fn send_on_chain(&self, address: &Address, amount_sat: u64) -> Result<bitcoin::Txid, NodeError> {
        self.on_chain.send(address, amount_sat).map(|transaction| transaction.compute_txid())
    }

    /// Opens a channel of `capacity_sat` to a connected peer; `push` of it is the peer's from the start. The funding
    /// transaction follows by itself when the peer accepts.
    ///
    /// # Errors
    /// When the peer is not connected, or LDK refuses the numbers.
    pub fn open_channel(
        &self,
        peer: PublicKey,
        capacity_sat: u64,
        push: Msat,
        announce: bool,
    ) -> Result<ChannelId, NodeError> {
        if !self.is_connected(peer) {
            return Err(NodeError::refused("opening a channel", "the peer is not connected"));
        }
        let spendable_sat = self.on_chain.balance().spendable_sat;
        if spendable_sat <= capacity_sat {
            let reason =
                format!("it has {spendable_sat} sat, a channel of {capacity_sat} sat needs that and the fee");
            return Err(NodeError::on_chain("fund a channel", reason));
        }
        let mut config: UserConfig = self.channel_manager.get_current_config();
        config.channel_handshake_config.announce_for_forwarding = announce;
        self.channel_manager
            .create_channel(peer, capacity_sat, push.0, self.random_u128(), None, Some(config))
            .map_err(|error| NodeError::refused("opening a channel", error))
    }

    /// Closes a channel: together with the peer, or alone when `force` is set.
    ///
    /// # Errors
    /// When there is no such channel.
    pub fn close_channel(
        &self,
        channel_id: ChannelId,
        peer: PublicKey,
        force: bool,
    ) -> Result<(), NodeError> {
        let outcome = if force {
            let reason = "closed by its operator".to_owned();
            self.channel_manager.force_close_broadcasting_latest_txn(&channel_id, &peer, reason)
        } else {
            self.channel_manager.close_channel(&channel_id, &peer)
        };
        outcome.map_err(|error| NodeError::refused("closing a channel", error))
    }

    pub(crate) fn fund_channel(
        &self,
        temporary_channel_id: ChannelId,
        peer: PublicKey,
        amount_sat: u64,
        script: ScriptBuf,
    ) {
        let outcome = self.on_chain.fund(script, amount_sat).and_then(|transaction| {
            self.channel_manager
                .funding_transaction_generated(temporary_channel_id, peer, transaction)
                .map_err(|error| NodeError::refused("funding a channel", error))
        });
        if let Err(error) = outcome {
            tracing::error!(%peer, %error, "a channel cannot be funded; it is given up");
            let reason = "funding failed".to_owned();
            if let Err(error) =
                self.channel_manager.force_close_broadcasting_latest_txn(&temporary_channel_id, &peer, reason)
            {
                tracing::debug!(?error, "the channel was gone already");
            }
        }
    }

    /// An LSP takes channels from anyone within its limits, a phone only its LSP's.
    pub(crate) fn answer_open_request(
        &self,
        temporary_channel_id: ChannelId,
        peer: PublicKey,
        capacity_sat: u64,
        is_zero_conf: bool,
    ) {
        let refusal = match &self.config.role {
            Role::Lsp(settings) => {
                let request = OpenRequest {
                    capacity_sat,
                    is_zero_conf,
                    with_peer: self.channel_manager.list_channels_with_counterparty(&peer).len(),
                    total: self.channel_manager.list_channels().len(),
                };
                judge_channel(&settings.channels, &request).err().map(|limit| {
                    self.handler.refused(limit, Some(peer));
                    channel_refusal(&settings.channels, limit)
                })
            }
            Role::Wallet { lsp, .. } if *lsp == peer => None,
            Role::Wallet { .. } => Some("this wallet has channels with its LSP only".to_owned()),
        };
        let outcome = match refusal {
            None => {
                let user_channel_id = self.random_u128();
                self.channel_manager.accept_inbound_channel(
                    &temporary_channel_id,
                    &peer,
                    user_channel_id,
                    None,
                )
            }
            Some(reason) => {
                self.channel_manager.force_close_broadcasting_latest_txn(&temporary_channel_id, &peer, reason)
            }
        };
        if let Err(error) = outcome {
            tracing::debug!(%peer, ?error, "an open request could not be answered");
        }
    }

    /// The channel that an onion's short channel id or alias means, and what it can carry now.
    pub fn carry(&self, scid: u64) -> Option<ChannelCarry> {
        let (peer, channel_id) = self.resolve_scid(scid)?;
        self.channel_manager
            .list_channels_with_counterparty(&peer)
            .into_iter()
            .find(|details| details.channel_id == channel_id)
            .map(|details| ChannelCarry {
                channel_id,
                peer,
                is_usable: details.is_usable && !is_shutting_down(&details),
                next_htlc_max: Msat(details.next_outbound_htlc_limit_msat),
                next_htlc_min: Msat(details.next_outbound_htlc_minimum_msat),
                pending_outbound_htlcs: details.pending_outbound_htlcs.len(),
            })
    }

    /// The peer and channel behind a short channel id or alias.
    pub fn resolve_scid(&self, scid: u64) -> Option<(PublicKey, ChannelId)> {
        let look_up = || {
            let known = self.channels_by_scid.read().unwrap_or_else(PoisonError::into_inner);
            known.get(&scid).copied()
        };
        look_up().or_else(|| {
            self.refresh_scids();
            look_up()
        })
    }

    pub(crate) fn refresh_scids(&self) {
        let mut fresh = std::collections::HashMap::new();
        for details in self.channel_manager.list_channels() {
            let target = (details.counterparty.node_id, details.channel_id);
            for scid in [details.short_channel_id, details.outbound_scid_alias].into_iter().flatten() {
                fresh.insert(scid, target);
            }
        }
        *self.channels_by_scid.write().unwrap_or_else(PoisonError::into_inner) = fresh;
    }
}
