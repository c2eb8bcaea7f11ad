//! Every bound that can refuse something: its name, its metric, and a sparing word in the log.
//!
//! Whoever keeps a bound calls [`refused`]. The names are in the table of `docs/reliability/limits.md`.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bitcoin::secp256k1::PublicKey;
use node::NodeLimit;
use protocol::mailbox::RefuseReason;

use crate::metrics::names;

/// One bound may say that it refuses so often; in between, refusals are counted.
const LINE_INTERVAL: Duration = Duration::from_secs(60);

/// Declares [`ServerLimit`] with one stable name per bound.
macro_rules! server_limits {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)+) => {
        /// A bound that the server itself keeps.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum ServerLimit {
            $($(#[$doc])* $variant,)+
        }

        impl ServerLimit {
            /// Every bound, in order of declaration.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }
    };
}

server_limits! {
    /// `holds.holds_max`
    Holds = "holds",
    /// `holds.holds_per_peer_max`
    HoldsPerPeer = "holds_per_peer",
    /// `holds.holds_kept_per_peer_max`
    HoldsKeptPerPeer = "holds_kept_per_peer",
    /// `holds.hashes_per_hold_max`
    HashesPerHold = "hashes_per_hold",
    /// `holds.parts_per_hold_max`
    PartsPerHold = "parts_per_hold",
    /// `holds.held_htlcs_max`
    HeldHtlcs = "held_htlcs",
    /// `holds.held_msat_max`
    HeldMsat = "held_msat",
    /// `holds.held_htlcs_per_peer_max`
    HeldHtlcsPerPeer = "held_htlcs_per_peer",
    /// `holds.held_msat_per_peer_max`
    HeldMsatPerPeer = "held_msat_per_peer",
    /// `holds.hold_part_msat_min`
    HoldPartMsat = "hold_part_msat",
    /// What payers ask of us waits in a queue of this length.
    Requests = "requests",
    /// Unblocks that are looked up at once.
    Unblocks = "unblocks",
    /// A payment_pending is kept if it is no longer than `mailbox.message_bytes_max`.
    PendingMessageBytes = "pending_message_bytes",
    /// `payee.waiting_htlcs_max`
    WaitingHtlcs = "waiting_htlcs",
    /// `payee.waiting_htlcs_per_payee_max`
    WaitingHtlcsPerPayee = "waiting_htlcs_per_payee",
    /// Messages for peers without a channel that are in question at once.
    MailboxInQuestion = "mailbox_in_question",
    /// Nodes that are called at once.
    RelayCalls = "relay_calls",
    /// Nodes that are called at once for one client.
    RelayCallsPerClient = "relay_calls_per_client",
    /// Messages that wait for one call.
    RelayMessages = "relay_messages",
    /// `push.stranger_wakes_per_node_max`
    StrangerWakesPerNode = "stranger_wakes_per_node",
    /// `push.stranger_pushes_per_hour_max` and `push.own_pushes_per_hour_max`
    PushesPerHour = "pushes_per_hour",
    /// `push.devices_per_node_max`
    DevicesPerNode = "devices_per_node",
    /// `push.devices_without_channel_max`
    DevicesWithoutChannel = "devices_without_channel",
    /// `notify.requests_per_minute_max`
    NotifyRequests = "notify_requests",
    /// `notify.pushes_per_token_per_hour_max`
    NotifyPerToken = "notify_per_token",
    /// `notify.waiting_max`
    NotifyWaiting = "notify_waiting",
    /// Callers that wait for a phone's answer at once.
    NotifyReplies = "notify_replies",
    /// Challenges that were answered and have not expired.
    UsedChallenges = "used_challenges",
    /// `push.used_challenges_without_channel_max`
    UsedChallengesWithoutChannel = "used_challenges_without_channel",
    /// `push.used_challenges_per_node_max`
    UsedChallengesPerNode = "used_challenges_per_node",
    /// Webhooks that one node sets over Lightning in an hour.
    HooksPerNode = "hooks_per_node",
    /// Webhooks that were set over Lightning and have not answered yet.
    HooksUnconfirmed = "hooks_unconfirmed",
    /// LSPS messages of one peer, and of all, that wait for an answer.
    LspsMessages = "lsps_messages",
    /// `http.connections_max`
    HttpConnections = "http_connections",
    /// `http.requests_max`
    HttpRequests = "http_requests",
    /// The longest body of a request.
    HttpBodyBytes = "http_body_bytes",
    /// The longest that a request may take.
    HttpRequestSeconds = "http_request_seconds",
    /// Requests of the operator that are under way at once.
    AdminRequests = "admin_requests",
    /// Lines per second that strangers can cause in one place.
    LogLines = "log_lines",
}

/// A bound that refused something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Limit {
    /// Kept by the server itself.
    Server(ServerLimit),
    /// Kept at the edge of the Lightning node.
    Node(NodeLimit),
    /// Kept by the mailbox.
    Mailbox(RefuseReason),
}

impl Limit {
    /// The stable name, and the label of its metric.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Server(limit) => limit.as_str(),
            Self::Node(limit) => limit.as_str(),
            Self::Mailbox(RefuseReason::MessageTooLong) => "mailbox_message_bytes",
            Self::Mailbox(RefuseReason::SenderShare) => "mailbox_sender",
            Self::Mailbox(RefuseReason::SenderTotal) => "mailbox_sender_total",
            Self::Mailbox(RefuseReason::RecipientFull) => "mailbox_recipient",
            Self::Mailbox(RefuseReason::MailboxFull) => "mailbox_total",
        }
    }

    /// Every bound.
    pub fn all() -> impl Iterator<Item = Self> {
        let server = ServerLimit::ALL.iter().copied().map(Self::Server);
        let node = NodeLimit::ALL.iter().copied().map(Self::Node);
        let mailbox = RefuseReason::ALL.iter().copied().map(Self::Mailbox);
        server.chain(node).chain(mailbox)
    }
}

impl From<ServerLimit> for Limit {
    fn from(limit: ServerLimit) -> Self {
        Self::Server(limit)
    }
}

impl From<NodeLimit> for Limit {
    fn from(limit: NodeLimit) -> Self {
        Self::Node(limit)
    }
}

impl From<RefuseReason> for Limit {
    fn from(reason: RefuseReason) -> Self {
        Self::Mailbox(reason)
    }
}

/// A bound has refused something, or put it off; `peer` is whose it was, where that is known.
pub fn refused(limit: impl Into<Limit>, peer: Option<PublicKey>) {
    let limit = limit.into();
    count(limit);
    let since_last = {
        // Every change is a single step.
        let mut lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
        lines.refused(limit, Instant::now())
    };
    if let Some(refusals) = since_last {
        let peer = peer.map(tracing::field::display);
        tracing::warn!(limit = limit.as_str(), peer, refusals, "a bound refuses");
    }
}

/// Counts without a word, for where none may be said.
pub(crate) fn count(limit: impl Into<Limit>) {
    names::LIMIT_REFUSALS.add(1, &[("limit", limit.into().as_str())]);
}

static LINES: Mutex<Lines> = Mutex::new(Lines { limits: Vec::new() });

/// Who said a line when, and what was refused since.
struct Lines {
    limits: Vec<(Limit, Instant, u64)>,
}

impl Lines {
    /// The refusals since the last line, if it is time for another.
    fn refused(&mut self, limit: Limit, now: Instant) -> Option<u64> {
        let Some((_, said_at, refusals)) = self.limits.iter_mut().find(|(known, ..)| *known == limit) else {
            self.limits.push((limit, now, 0));
            return Some(1);
        };
        *refusals += 1;
        if now.saturating_duration_since(*said_at) < LINE_INTERVAL {
            return None;
        }
        *said_at = now;
        Some(std::mem::take(refusals))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_unique_and_documented() {
        let names: Vec<_> = Limit::all().map(Limit::as_str).collect();
        assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len());
        let page = include_str!("../../docs/reliability/limits.md");
        let listed: HashSet<_> = page
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.split_once('`').map(|(name, _)| name))
            .collect();
        let known: HashSet<_> = names.into_iter().collect();
        assert_eq!(listed, known, "the page and the program name the same bounds");
    }

    #[test]
    fn a_bound_speaks_once_a_minute() {
        let mut lines = Lines { limits: Vec::new() };
        let start = Instant::now();
        let (holds, node) = (ServerLimit::Holds.into(), NodeLimit::Connections.into());
        assert_eq!(lines.refused(holds, start), Some(1));
        for _ in 0..99 {
            assert_eq!(lines.refused(holds, start), None);
        }
        assert_eq!(lines.refused(node, start), Some(1), "each bound for itself");
        assert_eq!(lines.refused(holds, start + LINE_INTERVAL), Some(100), "none is lost");
        assert_eq!(lines.refused(holds, start + LINE_INTERVAL), None);
    }
}
