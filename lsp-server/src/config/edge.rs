//! `[peers]`, `[channels]`, `[http]` and `[push]`: the bounds for strangers.

use std::net::SocketAddr;
use std::path::Path;

use node::{ChannelLimits, PeerLimits};

use super::HttpConfig;
use super::read::{at_least_one, in_range};
use super::setting::Settings;
use crate::http::tls::TlsFiles;
use crate::store::devices::DeviceLimits;
use crate::store::wakes::WakeLimits;

/// More sockets than a process has by default.
const CONNECTIONS_BOUND: u64 = 100_000;

/// All coins there are, in satoshi.
const SAT_MAX: u64 = 21_000_000 * 100_000_000;

/// LDK's `MIN_CHANNEL_VALUE_SATOSHIS`.
const CHANNEL_SAT_BOUND: u64 = 1_000;

/// A cooldown beyond an hour is a phone that is not woken.
const COOLDOWN_SECS_MAX: u64 = 3_600;

/// Closed wakes are for looking at what went wrong lately.
const CLOSED_DAYS_BOUND: u64 = 366;

/// The most answered challenges that may be remembered: each is a row.
const USED_CHALLENGES_BOUND: u64 = 1_000_000;

pub(super) fn peers(settings: &mut Settings) -> PeerLimits {
    let default = PeerLimits::default();
    let limits = PeerLimits {
        connections_max: settings.or("peers.connections_max", default.connections_max),
        connections_per_address_max: settings
            .or("peers.connections_per_address_max", default.connections_per_address_max),
        connections_per_address_per_second: settings
            .or("peers.connections_per_address_per_second", default.connections_per_address_per_second),
        without_channel_max: settings.or("peers.without_channel_max", default.without_channel_max),
        onion_messages_per_second: settings
            .or("peers.onion_messages_per_second", default.onion_messages_per_second),
        onion_messages_burst: settings.or("peers.onion_messages_burst", default.onion_messages_burst),
    };
    in_range(settings, "peers.connections_max", limits.connections_max.into(), (1, CONNECTIONS_BOUND));
    at_least_one(settings, "peers.connections_per_address_max", limits.connections_per_address_max.into());
    settings.check(
        "peers.connections_per_address_max",
        limits.connections_per_address_max <= limits.connections_max,
        || "is more than peers.connections_max".to_owned(),
    );
    at_least_one(
        settings,
        "peers.connections_per_address_per_second",
        limits.connections_per_address_per_second.into(),
    );
    in_range(
        settings,
        "peers.without_channel_max",
        limits.without_channel_max.into(),
        (1, PeerLimits::WITHOUT_CHANNEL_BOUND.into()),
    );
    at_least_one(settings, "peers.onion_messages_per_second", limits.onion_messages_per_second.into());
    settings.check(
        "peers.onion_messages_burst",
        limits.onion_messages_burst >= limits.onion_messages_per_second,
        || "is less than peers.onion_messages_per_second".to_owned(),
    );
    limits
}

pub(super) fn channels(settings: &mut Settings) -> ChannelLimits {
    let default = ChannelLimits::default();
    let limits = ChannelLimits {
        accept_inbound: settings.or("channels.accept_inbound", default.accept_inbound),
        per_peer_max: settings.or("channels.per_peer_max", default.per_peer_max),
        total_max: settings.or("channels.total_max", default.total_max),
        inbound_sat_min: settings.or("channels.inbound_sat_min", default.inbound_sat_min),
        inbound_sat_max: settings.or("channels.inbound_sat_max", default.inbound_sat_max),
    };
    at_least_one(settings, "channels.per_peer_max", limits.per_peer_max.into());
    settings.check("channels.total_max", limits.total_max >= limits.per_peer_max, || {
        "is less than channels.per_peer_max".to_owned()
    });
    in_range(settings, "channels.inbound_sat_min", limits.inbound_sat_min, (CHANNEL_SAT_BOUND, SAT_MAX));
    settings.check("channels.inbound_sat_max", limits.inbound_sat_max >= limits.inbound_sat_min, || {
        "is less than channels.inbound_sat_min".to_owned()
    });
    limits
}

pub(super) fn http(settings: &mut Settings, data_dir: &Path) -> HttpConfig {
    let listen = settings.or("http.listen", SocketAddr::from(([127, 0, 0, 1], 8080)));
    let tls = tls(settings, data_dir);
    let config = HttpConfig {
        listen,
        tls,
        allow_plain_http: settings.or("http.allow_plain_http", false),
        connections_max: settings.or("http.connections_max", 1_024),
        requests_max: settings.or("http.requests_max", 256),
    };
    let safe = config.tls.is_some() || config.allow_plain_http || listen.ip().is_loopback();
    settings.check("http.listen", safe, || {
        format!(
            "is {listen}, which others can reach, and there is no certificate: push tokens would travel in the open. Set \
             http.tls_certificate and http.tls_key, or listen on loopback behind a TLS proxy; if the proxy is on another \
             machine and the network between is yours, set http.allow_plain_http"
        )
    });
    in_range(settings, "http.connections_max", config.connections_max, (1, CONNECTIONS_BOUND));
    in_range(settings, "http.requests_max", config.requests_max, (1, CONNECTIONS_BOUND));
    config
}

/// A relative path is one in the data directory, wherever the server is started from.
fn tls(settings: &mut Settings, data_dir: &Path) -> Option<TlsFiles> {
    let certificate = settings.or("http.tls_certificate", String::new());
    let key = settings.or("http.tls_key", String::new());
    settings.check("http.tls_key", certificate.is_empty() || !key.is_empty(), || {
        "is missing: http.tls_certificate is of no use without its private key".to_owned()
    });
    settings.check("http.tls_certificate", key.is_empty() || !certificate.is_empty(), || {
        "is missing: http.tls_key is of no use without its certificate".to_owned()
    });
    (!certificate.is_empty() && !key.is_empty())
        .then(|| TlsFiles { certificate: data_dir.join(certificate), key: data_dir.join(key) })
}

pub(super) fn devices(settings: &mut Settings) -> DeviceLimits {
    let default = DeviceLimits::default();
    let limits = DeviceLimits {
        per_node_max: settings.or("push.devices_per_node_max", default.per_node_max),
        without_channel_max: settings.or("push.devices_without_channel_max", default.without_channel_max),
        used_challenges_max: settings.or("push.used_challenges_max", default.used_challenges_max),
        used_challenges_without_channel_max: settings
            .or("push.used_challenges_without_channel_max", default.used_challenges_without_channel_max),
        used_challenges_per_node_max: settings
            .or("push.used_challenges_per_node_max", default.used_challenges_per_node_max),
    };
    at_least_one(settings, "push.devices_per_node_max", limits.per_node_max.into());
    in_range(
        settings,
        "push.used_challenges_max",
        limits.used_challenges_max.into(),
        (1, USED_CHALLENGES_BOUND),
    );
    in_range(
        settings,
        "push.used_challenges_without_channel_max",
        limits.used_challenges_without_channel_max.into(),
        // Whoever has no channel yet must get to register.
        (1, USED_CHALLENGES_BOUND),
    );
    in_range(
        settings,
        "push.used_challenges_per_node_max",
        limits.used_challenges_per_node_max.into(),
        (1, limits.used_challenges_max.max(1).into()),
    );
    limits
}

pub(super) fn wakes(settings: &mut Settings) -> WakeLimits {
    let default = WakeLimits::default();
    let limits = WakeLimits {
        stranger_pushes_per_hour_max: settings
            .or("push.stranger_pushes_per_hour_max", default.stranger_pushes_per_hour_max),
        own_pushes_per_hour_max: settings.or("push.own_pushes_per_hour_max", default.own_pushes_per_hour_max),
        cooldown_seconds: settings.or("push.cooldown_secs", default.cooldown_seconds),
        stranger_wakes_per_node_max: settings
            .or("push.stranger_wakes_per_node_max", default.stranger_wakes_per_node_max),
        closed_days_kept: settings.or("push.closed_wakes_days_kept", default.closed_days_kept),
    };
    at_least_one(settings, "push.stranger_pushes_per_hour_max", limits.stranger_pushes_per_hour_max.into());
    at_least_one(settings, "push.own_pushes_per_hour_max", limits.own_pushes_per_hour_max.into());
    in_range(settings, "push.cooldown_secs", limits.cooldown_seconds, (0, COOLDOWN_SECS_MAX));
    at_least_one(settings, "push.stranger_wakes_per_node_max", limits.stranger_wakes_per_node_max.into());
    in_range(settings, "push.closed_wakes_days_kept", limits.closed_days_kept, (1, CLOSED_DAYS_BOUND));
    limits
}
