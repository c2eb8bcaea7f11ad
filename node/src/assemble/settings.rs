//! LDK's settings for each role.

use lightning::util::config::{HTLCInterceptionFlags, UserConfig};

use crate::config::Role;

pub(super) fn user_config(role: &Role) -> UserConfig {
    let mut config = UserConfig { reject_inbound_splices: true, ..UserConfig::default() };
    // A peer that asks for no confirmation of a channel that this node funds: it gets one all the same.
    config.channel_handshake_limits.trust_own_funding_0conf = false;
    match role {
        Role::Lsp(settings) => {
            // Phones' channels are private, those between LSPs public: whoever opens says which.
            config.channel_handshake_limits.force_announced_channel_preference = false;
            config.accept_forwards_to_priv_channels = true;
            config.htlc_interception_flags = HTLCInterceptionFlags::FromPrivateChannels as u8
                | HTLCInterceptionFlags::ToOfflinePrivateChannels as u8;
            config.channel_config.cltv_expiry_delta = settings.cltv_expiry_delta_blocks;
            config.channel_config.forwarding_fee_base_msat = settings.fee_base_msat;
            config.channel_config.forwarding_fee_proportional_millionths =
                settings.fee_proportional_millionths;
            config.channel_handshake_config.announced_channel_max_inbound_htlc_value_in_flight_percentage =
                100;
        }
        Role::Wallet { .. } => {
            config.channel_handshake_config.announce_for_forwarding = false;
            config.channel_handshake_limits.force_announced_channel_preference = true;
        }
    }
    config
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::LspSettings;
    use crate::{ChainLimits, ChannelLimits, PeerLimits};

    fn lsp() -> Role {
        Role::Lsp(LspSettings {
            cltv_expiry_delta_blocks: 144,
            fee_base_msat: 0,
            fee_proportional_millionths: 0,
            chain: ChainLimits::of(bitcoin::Network::Regtest),
            peers: PeerLimits::default(),
            channels: ChannelLimits::default(),
        })
    }

    #[test]
    fn no_channel_works_before_a_block_has_its_funding() {
        let config = user_config(&lsp());
        assert!(!config.channel_handshake_limits.trust_own_funding_0conf);
        assert!(config.channel_handshake_config.minimum_depth > 0);
    }

    /// LDK 0.3.0-rc3 tells after a restart of natively held HTLCs as if they had been intercepted, and we could not tell them from
    /// ours. While this is off there are none: LDK fails whatever asks for it.
    #[test]
    fn nobody_can_ask_ldk_to_hold_an_htlc() {
        assert!(!user_config(&lsp()).enable_htlc_hold);
    }
}
