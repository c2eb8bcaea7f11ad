//! What `fuzz/` runs on strangers' URLs.
#![allow(clippy::unwrap_used, reason = "a panic here is a finding")]

use std::net::IpAddr;

use super::address::{AddressPolicy, is_public};
use super::url;

/// A webhook's URL. One that passes reads the same once more, and names no address that is not public.
pub fn webhook_url(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(read) = url::parse(text, AddressPolicy::Any) {
        assert_eq!(url::parse(read.as_str(), AddressPolicy::Any), Ok(read));
    }
    let Ok(read) = url::parse(text, AddressPolicy::PublicOnly) else { return };
    assert_eq!(url::parse(read.as_str(), AddressPolicy::PublicOnly).as_ref(), Ok(&read));
    assert_eq!((read.scheme(), read.username(), read.password()), ("https", "", None));
    let host = read.host_str().unwrap();
    // The connector takes brackets off, and a name's last dot; so would a resolver that is asked for a literal.
    let literal = host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.');
    if let Ok(address) = literal.parse::<IpAddr>() {
        assert!(is_public(address), "{address} passed");
    }
    assert!(!literal.eq_ignore_ascii_case("localhost"));
}
