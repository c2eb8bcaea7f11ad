//! Peers: connecting, staying connected, and what they support.

use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bitcoin::secp256k1::PublicKey;
use lightning::ln::msgs::SocketAddress;
use lightning::routing::gossip::NodeId;
use tokio::net::{TcpStream, lookup_host};

use crate::Node;
use crate::config::{RECONNECT_INTERVAL, Role};
use crate::error::NodeError;
use crate::limits::NodeLimit;
use crate::onion::supports_lightning_rod;

/// How long an address may take to answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Where addresses of peers that should stay connected are kept.
const PEERS: (&str, &str) = ("node", "peers");

/// A connection as LDK takes it, and that sends what it is given at once: a message that follows another one would otherwise
/// wait for the other side's delayed acknowledgement, 40 ms for each step of a payment.
pub(crate) fn at_once(stream: TcpStream) -> io::Result<std::net::TcpStream> {
    stream.set_nodelay(true)?;
    stream.into_std()
}

impl Node {
    /// Connects to `peer` at `host:port`, and keeps the address so that a peer with a channel is connected again after a
    /// restart. An existing connection is fine.
    ///
    /// # Errors
    /// When the address does not resolve or nobody with that key answers there.
    pub async fn connect(&self, peer: PublicKey, address: &str) -> Result<(), NodeError> {
        self.dial(peer, address).await?;
        self.database.kv().write(PEERS.0, PEERS.1, &peer.to_string(), address.as_bytes().to_vec()).await?;
        Ok(())
    }

    async fn dial(&self, peer: PublicKey, address: &str) -> Result<(), NodeError> {
        if self.is_connected(peer) {
            return Ok(());
        }
        let unresolved = |source| NodeError::Address { address: address.to_owned(), source };
        let resolved: Vec<SocketAddr> = lookup_host(address).await.map_err(unresolved)?.collect();
        for socket_address in resolved {
            if self.dial_socket(peer, socket_address).await {
                return Ok(());
            }
        }
        Err(NodeError::Connect { peer, address: address.to_owned() })
    }

    /// True once the peer completed its `init`.
    async fn dial_socket(&self, peer: PublicKey, address: SocketAddr) -> bool {
        let connecting = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(address));
        let Ok(Ok(stream)) = connecting.await else { return false };
        let Ok(stream) = at_once(stream) else { return false };
        let connection = lightning_net_tokio::setup_outbound(self.peer_manager.clone(), peer, stream);
        let mut connection = Box::pin(connection);
        loop {
            if self.is_connected(peer) {
                tokio::spawn(connection);
                return true;
            }
            tokio::select! {
                () = &mut connection => return false,
                () = tokio::time::sleep(Duration::from_millis(10)) => {},
            }
        }
    }

    /// Connects to a node at the addresses of its announcement.
    ///
    /// # Errors
    /// When it announced none, or none of them answers.
    pub async fn connect_announced(&self, peer: PublicKey) -> Result<(), NodeError> {
        if self.is_connected(peer) {
            return Ok(());
        }
        let addresses = self.announced_addresses(peer);
        for address in &addresses {
            if self.dial_socket(peer, *address).await {
                return Ok(());
            }
        }
        Err(NodeError::Connect { peer, address: format!("{addresses:?}, from its announcement") })
    }

    /// IP addresses of a node's announcement.
    pub fn announced_addresses(&self, peer: PublicKey) -> Vec<SocketAddr> {
        let graph = self.graph.read_only();
        let addresses = graph
            .node(&NodeId::from_pubkey(&peer))
            .and_then(|node| node.announcement_info.as_ref())
            .map(|info| info.addresses().to_vec())
            .unwrap_or_default();
        addresses
            .into_iter()
            .filter_map(|address| match address {
                SocketAddress::TcpIpV4 { addr, port } => Some(SocketAddr::from((addr, port))),
                SocketAddress::TcpIpV6 { addr, port } => Some(SocketAddr::from((addr, port))),
                _ => None,
            })
            .collect()
    }

    /// The peer has completed its `init` and is here.
    pub fn is_connected(&self, peer: PublicKey) -> bool {
        self.connected.contains(peer)
    }

    /// Everyone who is connected.
    pub fn connected_peers(&self) -> Vec<PublicKey> {
        self.connected.list()
    }

    /// Ends the connection with a peer.
    pub fn disconnect(&self, peer: PublicKey) {
        self.peer_manager.disconnect_by_node_id(peer);
    }

    /// A connected peer's `init` carries LightningRod's feature bit.
    pub fn peer_supports_lightning_rod(&self, peer: PublicKey) -> bool {
        self.peer_manager
            .peer_by_node_id(&peer)
            .is_some_and(|details| supports_lightning_rod(details.init_features.le_flags()))
    }

    /// A node's announcement carries LightningRod's feature bit.
    pub fn node_announces_lightning_rod(&self, node_id: PublicKey) -> bool {
        let graph = self.graph.read_only();
        graph
            .node(&NodeId::from_pubkey(&node_id))
            .and_then(|node| node.announcement_info.as_ref())
            .is_some_and(|info| supports_lightning_rod(info.features().le_flags()))
    }

    /// A route can lead through a node's announced channels: both ends of one have said on what terms.
    pub fn is_routable(&self, node_id: PublicKey) -> bool {
        let graph = self.graph.read_only();
        let channels = graph.node(&NodeId::from_pubkey(&node_id)).map(|node| node.channels.clone());
        channels.unwrap_or_default().into_iter().any(|scid| {
            graph
                .channel(scid)
                .is_some_and(|channel| channel.one_to_two.is_some() && channel.two_to_one.is_some())
        })
    }

    /// A node is in the public graph.
    pub fn is_announced(&self, node_id: PublicKey) -> bool {
        let graph = self.graph.read_only();
        graph.node(&NodeId::from_pubkey(&node_id)).is_some()
    }

    /// Puts out whoever has no confirmed channel and came first, while there are more of them than there may be: LDK would
    /// let no newcomer in any more.
    pub(crate) async fn keep_room(self: Arc<Self>) {
        let without_channel_max =
            usize::try_from(self.config.role.peer_limits().without_channel_max).unwrap_or(usize::MAX);
        loop {
            self.connected.somebody_came().await;
            if self.connected.count() <= without_channel_max {
                continue;
            }
            let with_channel: HashSet<PublicKey> = self
                .channel_manager
                .list_channels()
                .into_iter()
                .filter(|details| details.is_channel_ready || details.confirmations.unwrap_or(0) > 0)
                .map(|details| details.counterparty.node_id)
                .collect();
            let without_channel = self.connected.oldest_first(|peer| !with_channel.contains(peer));
            for peer in first_beyond(&without_channel, without_channel_max) {
                self.handler.refused(NodeLimit::PeersWithoutChannel, Some(*peer));
                self.disconnect(*peer);
            }
        }
    }

    /// A phone keeps its LSP, an LSP its peers with channels whose address it knows.
    pub(crate) async fn keep_connected(self: Arc<Self>) {
        loop {
            match &self.config.role {
                Role::Wallet { lsp, lsp_address } => {
                    if let Err(error) = self.dial(*lsp, lsp_address).await {
                        tracing::debug!(%error, "the LSP is out of reach");
                    }
                }
                Role::Lsp(_) => self.reconnect_channel_peers().await,
            }
            tokio::time::sleep(RECONNECT_INTERVAL).await;
        }
    }

    async fn reconnect_channel_peers(&self) {
        let mut tried = HashSet::new();
        for details in self.channel_manager.list_channels() {
            let peer = details.counterparty.node_id;
            if self.is_connected(peer) || !tried.insert(peer) {
                continue;
            }
            match self.database.kv().read(PEERS.0, PEERS.1, &peer.to_string()).await {
                Ok(Some(address)) => {
                    let address = String::from_utf8_lossy(&address).into_owned();
                    if let Err(error) = self.dial(peer, &address).await {
                        tracing::debug!(%error, "a channel's peer is out of reach");
                    }
                }
                // A phone dials us; nobody can dial it.
                Ok(None) => {}
                Err(error) => tracing::warn!(%error, "the address of a channel's peer cannot be read"),
            }
        }
    }
}

/// Who is put out for there to be `max` left: whoever came first.
fn first_beyond<T>(oldest_first: &[T], max: usize) -> &[T] {
    &oldest_first[..oldest_first.len().saturating_sub(max)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_came_first_makes_room_and_nobody_below_the_bound() {
        for (peers, out) in
            [(vec![], vec![]), (vec![1], vec![]), (vec![1, 2], vec![]), (vec![1, 2, 3], vec![1])]
        {
            assert_eq!(first_beyond(&peers, 2), out, "{peers:?}");
        }
        assert_eq!(first_beyond(&[1, 2, 3, 4, 5], 2), [1, 2, 3]);
    }
}
