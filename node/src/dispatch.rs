//! One LDK event at a time: what the node does itself, and what goes to the handler.

use std::sync::PoisonError;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lightning::events::{Event, PathFailure, ReplayEvent};
use lightning::routing::scoring::ScoreUpdate;
use lightning::sign::EntropySource;

use crate::Node;
use crate::config::Role;
use crate::event::NodeEvent;

impl Node {
    /// Answers Ok only when the event may be forgotten.
    pub(crate) async fn dispatch(&self, event: Event) -> Result<(), ReplayEvent> {
        match event {
            Event::FundingGenerationReady {
                temporary_channel_id,
                counterparty_node_id,
                channel_value_satoshis,
                output_script,
                ..
            } => {
                self.fund_channel(
                    temporary_channel_id,
                    counterparty_node_id,
                    channel_value_satoshis,
                    output_script,
                );
                Ok(())
            }
            Event::OpenChannelRequest {
                temporary_channel_id,
                counterparty_node_id,
                funding_satoshis,
                channel_type,
                ..
            } => {
                self.answer_open_request(
                    temporary_channel_id,
                    counterparty_node_id,
                    funding_satoshis,
                    channel_type.supports_zero_conf(),
                );
                Ok(())
            }
            Event::SpendableOutputs { outputs, channel_id, counterparty_node_id } => self
                .sweeper
                .track_spendable_outputs(outputs, channel_id, counterparty_node_id, false, None)
                .await
                .map_err(|()| ReplayEvent()),
            Event::BumpTransaction(bump) => {
                self.bump_handler.handle_event(&bump).await;
                Ok(())
            }
            Event::ConnectionNeeded { node_id, .. } => {
                if let Err(error) = self.connect_announced(node_id).await {
                    tracing::info!(peer = %node_id, %error, "cannot connect for an onion message");
                }
                Ok(())
            }
            event => {
                self.learn_from(&event);
                self.unsent.learn_from(&event);
                if matches!(
                    event,
                    Event::ChannelReady { .. } | Event::ChannelPending { .. } | Event::ChannelClosed { .. }
                ) {
                    self.refresh_scids();
                }
                let Some(event) = NodeEvent::from_ldk(event, &self.unsent) else { return Ok(()) };
                let Some(handler) = self.handler.get() else { return Err(ReplayEvent()) };
                storage::crash_point!("event_received");
                let outcome = handler.event(event).await.map_err(|_| ReplayEvent());
                storage::crash_point!("event_handled");
                outcome
            }
        }
    }

    /// A phone's graph and scorer learn from its payments, except from failures at its own LSP: a hold that was failed
    /// back there says nothing about the channel behind it.
    fn learn_from(&self, event: &Event) {
        if !matches!(self.config.role, Role::Wallet { .. }) {
            return;
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let mut scorer = self.scorer.write().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::PaymentPathFailed {
                path, short_channel_id, failure, payment_failed_permanently, ..
            } => {
                let behind_lsp = path.hops.get(1).map(|hop| hop.short_channel_id);
                if short_channel_id.is_some() && *short_channel_id == behind_lsp {
                    return;
                }
                if let PathFailure::OnPath { network_update: Some(update) } = failure {
                    self.graph.handle_network_update(update);
                }
                match short_channel_id {
                    Some(scid) => scorer.payment_path_failed(path, *scid, now),
                    None if *payment_failed_permanently => scorer.probe_successful(path, now),
                    None => {}
                }
            }
            Event::PaymentPathSuccessful { path, .. } => scorer.payment_path_successful(path, now),
            _ => {}
        }
    }

    pub(crate) fn random_u128(&self) -> u128 {
        let bytes = self.keys.get_secure_random_bytes();
        let mut half = [0; 16];
        half.copy_from_slice(&bytes[..16]);
        u128::from_be_bytes(half)
    }
}
