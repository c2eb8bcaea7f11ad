//! The bounds at the edge of a node: what strangers may do before anything of ours knows them.

/// Declares [`NodeLimit`] with one stable name per bound.
macro_rules! node_limits {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)+) => {
        /// A bound that refused something: the label of its metric.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum NodeLimit {
            $($(#[$doc])* $variant,)+
        }

        impl NodeLimit {
            /// Every bound, in order of declaration.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The stable name.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }
    };
}

node_limits! {
    /// [`PeerLimits::connections_max`]
    Connections = "connections",
    /// [`PeerLimits::connections_per_address_max`]
    ConnectionsPerAddress = "connections_per_address",
    /// [`PeerLimits::connections_per_address_per_second`]
    ConnectionRate = "connection_rate",
    /// [`PeerLimits::without_channel_max`]
    PeersWithoutChannel = "peers_without_channel",
    /// [`PeerLimits::onion_messages_burst`] and [`PeerLimits::onion_messages_per_second`]
    OnionMessages = "onion_messages",
    /// [`ChannelLimits::accept_inbound`]
    InboundChannels = "inbound_channels",
    /// [`ChannelLimits::per_peer_max`]
    ChannelsPerPeer = "channels_per_peer",
    /// [`ChannelLimits::total_max`]
    Channels = "channels",
    /// [`ChannelLimits::inbound_sat_min`]
    ChannelTooSmall = "channel_too_small",
    /// [`ChannelLimits::inbound_sat_max`]
    ChannelTooLarge = "channel_too_large",
    /// No channel is used before its funding is confirmed.
    ZeroConf = "zero_conf",
    /// Transactions that wait to be handed to bitcoind.
    Broadcasts = "broadcasts",
}

impl std::fmt::Display for NodeLimit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Who may connect, and how much they may say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerLimits {
    /// Inbound connections at once. Further ones are hung up on.
    pub connections_max: u32,
    /// Inbound connections at once from one address: an IPv4 address, or a /64 of IPv6. Many phones may share one.
    pub connections_per_address_max: u32,
    /// New connections per second from one address in the long run; as many as `connections_per_address_max` at once.
    pub connections_per_address_per_second: u32,
    /// Peers at once that have no confirmed channel. When one more comes, the one that came first is put out. LDK itself
    /// lets nobody else in beyond [`PeerLimits::WITHOUT_CHANNEL_BOUND`].
    pub without_channel_max: u32,
    /// Onion messages per second of one peer in the long run, counted before any ECDH is spent on them.
    pub onion_messages_per_second: u32,
    /// Onion messages that one peer may send at once.
    pub onion_messages_burst: u32,
}

impl PeerLimits {
    /// LDK's `MAX_NO_CHANNEL_PEERS` (`ln/channelmanager.rs`), less room for those who come while the first is put out.
    pub const WITHOUT_CHANNEL_BOUND: u32 = 240;
}

impl Default for PeerLimits {
    fn default() -> Self {
        Self {
            connections_max: 5_000,
            connections_per_address_max: 200,
            connections_per_address_per_second: 10,
            without_channel_max: 200,
            onion_messages_per_second: 20,
            onion_messages_burst: 200,
        }
    }
}

/// Which channels are accepted. What the operator opens is not bounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelLimits {
    /// Whether peers may open channels at all.
    pub accept_inbound: bool,
    /// Channels with one peer. LDK takes at most four of them unconfirmed at once.
    pub per_peer_max: u32,
    /// Channels in all.
    pub total_max: u32,
    /// The smallest capacity of a channel that a peer opens, in satoshi.
    pub inbound_sat_min: u64,
    /// The largest, in satoshi.
    pub inbound_sat_max: u64,
}

impl Default for ChannelLimits {
    fn default() -> Self {
        Self {
            accept_inbound: true,
            per_peer_max: 10,
            total_max: 10_000,
            inbound_sat_min: 20_000,
            inbound_sat_max: 500_000_000,
        }
    }
}

/// A peer's wish for a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OpenRequest {
    pub(crate) capacity_sat: u64,
    pub(crate) is_zero_conf: bool,
    /// Channels that the peer has.
    pub(crate) with_peer: usize,
    /// Channels that this node has.
    pub(crate) total: usize,
}

/// Whether a channel is accepted, and if not, which bound forbids it.
pub(crate) fn judge_channel(limits: &ChannelLimits, request: &OpenRequest) -> Result<(), NodeLimit> {
    let reached = |count: usize, max: u32| usize::try_from(max).is_ok_and(|max| count >= max);
    if !limits.accept_inbound {
        Err(NodeLimit::InboundChannels)
    } else if request.is_zero_conf {
        Err(NodeLimit::ZeroConf)
    } else if request.capacity_sat < limits.inbound_sat_min {
        Err(NodeLimit::ChannelTooSmall)
    } else if request.capacity_sat > limits.inbound_sat_max {
        Err(NodeLimit::ChannelTooLarge)
    } else if reached(request.with_peer, limits.per_peer_max) {
        Err(NodeLimit::ChannelsPerPeer)
    } else if reached(request.total, limits.total_max) {
        Err(NodeLimit::Channels)
    } else {
        Ok(())
    }
}

/// What a peer is told whose channel is refused.
pub(crate) fn channel_refusal(limits: &ChannelLimits, limit: NodeLimit) -> String {
    match limit {
        NodeLimit::InboundChannels => "this node accepts no channels".to_owned(),
        NodeLimit::ZeroConf => "this node uses no channel before its funding is confirmed".to_owned(),
        NodeLimit::ChannelTooSmall => format!("a channel needs at least {} sat here", limits.inbound_sat_min),
        NodeLimit::ChannelTooLarge => format!("a channel has at most {} sat here", limits.inbound_sat_max),
        NodeLimit::ChannelsPerPeer => {
            format!("a peer has at most {} channels here", limits.per_peer_max)
        }
        _ => "this node has as many channels as it may".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: ChannelLimits = ChannelLimits {
        accept_inbound: true,
        per_peer_max: 3,
        total_max: 10,
        inbound_sat_min: 20_000,
        inbound_sat_max: 1_000_000,
    };

    const REQUEST: OpenRequest =
        OpenRequest { capacity_sat: 50_000, is_zero_conf: false, with_peer: 0, total: 0 };

    #[test]
    fn each_bound_of_channels_is_kept_at_below_and_above() {
        let of_capacity = |capacity_sat| OpenRequest { capacity_sat, ..REQUEST };
        let with_peer = |with_peer| OpenRequest { with_peer, ..REQUEST };
        let in_all = |total| OpenRequest { total, ..REQUEST };
        let cases = [
            (of_capacity(19_999), Err(NodeLimit::ChannelTooSmall)),
            (of_capacity(20_000), Ok(())),
            (of_capacity(20_001), Ok(())),
            (of_capacity(999_999), Ok(())),
            (of_capacity(1_000_000), Ok(())),
            (of_capacity(1_000_001), Err(NodeLimit::ChannelTooLarge)),
            (with_peer(2), Ok(())),
            (with_peer(3), Err(NodeLimit::ChannelsPerPeer)),
            (with_peer(4), Err(NodeLimit::ChannelsPerPeer)),
            (in_all(9), Ok(())),
            (in_all(10), Err(NodeLimit::Channels)),
            (in_all(11), Err(NodeLimit::Channels)),
            (OpenRequest { is_zero_conf: false, ..REQUEST }, Ok(())),
            (OpenRequest { is_zero_conf: true, ..REQUEST }, Err(NodeLimit::ZeroConf)),
            // Whatever else it is.
            (OpenRequest { is_zero_conf: true, ..of_capacity(1_000_000) }, Err(NodeLimit::ZeroConf)),
        ];
        for (request, expected) in cases {
            assert_eq!(judge_channel(&LIMITS, &request), expected, "{request:?}");
        }
        let closed = ChannelLimits { accept_inbound: false, ..LIMITS };
        assert_eq!(judge_channel(&closed, &REQUEST), Err(NodeLimit::InboundChannels));
    }

    #[test]
    fn a_refusal_names_its_bound() {
        for (limit, part) in [
            (NodeLimit::ZeroConf, "before its funding is confirmed"),
            (NodeLimit::ChannelTooSmall, "20000 sat"),
            (NodeLimit::ChannelTooLarge, "1000000 sat"),
            (NodeLimit::ChannelsPerPeer, "at most 3"),
        ] {
            assert!(channel_refusal(&LIMITS, limit).contains(part));
        }
    }

    #[test]
    fn names_are_unique() {
        let names: std::collections::HashSet<_> = NodeLimit::ALL.iter().map(|limit| limit.as_str()).collect();
        assert_eq!(names.len(), NodeLimit::ALL.len());
    }
}
