//! The first of two filters: what can be said of a URL without asking the network.

use std::net::IpAddr;
use std::str::FromStr;

use reqwest::Url;

use super::address::AddressPolicy;

/// The longest URL, in bytes.
const URL_BYTES_MAX: usize = 2048;

/// The first port that needs no privilege. Below it live protocols that a stranger has no business reaching through us.
const UNPRIVILEGED_PORT_MIN: u16 = 1024;

/// Endings of names that the public DNS does not serve (RFC 6761 and its registry, RFC 8375, RFC 7686, RFC 9476, and ICANN's
/// reservation of `internal`).
const LOCAL_SUFFIXES: &[&str] =
    &["localhost", "local", "internal", "home.arpa", "onion", "alt", "test", "invalid", "example"];

/// Why a URL is refused. The text never quotes the URL.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Longer than the bound.
    #[error("the URL is longer than {URL_BYTES_MAX} bytes")]
    TooLong,
    /// White space or control characters, which parsers silently drop, each in its own way.
    #[error("the URL contains white space or control characters")]
    Unprintable,
    /// Not a URL at all.
    #[error("the URL cannot be parsed")]
    Unparsable(#[source] <Url as FromStr>::Err),
    /// Another scheme than https.
    #[error("the URL must start with https://")]
    Scheme,
    /// User name or password in the URL.
    #[error("the URL must not contain a user name or password")]
    Credentials,
    /// A privileged port other than the scheme's own.
    #[error("the URL's port must be 443, or {UNPRIVILEGED_PORT_MIN} or higher")]
    Port,
    /// A name of the local network or machine.
    #[error("the URL's host is not a public name")]
    LocalName,
    /// An address of the local network or machine, or of no use.
    #[error("the URL's host is not a public address")]
    LocalAddress,
}

/// Parses a stranger's URL. The value that is returned, and no other reading of the text, may be connected to.
pub(super) fn parse(text: &str, policy: AddressPolicy) -> Result<Url, UrlError> {
    if text.len() > URL_BYTES_MAX {
        return Err(UrlError::TooLong);
    }
    if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(UrlError::Unprintable);
    }
    let url = Url::parse(text).map_err(UrlError::Unparsable)?;
    if url.scheme() != "https" && !(policy == AddressPolicy::Any && url.scheme() == "http") {
        return Err(UrlError::Scheme);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(UrlError::Credentials);
    }
    match policy {
        AddressPolicy::Any => {}
        AddressPolicy::PublicOnly => check_public(&url)?,
    }
    Ok(url)
}

fn check_public(url: &Url) -> Result<(), UrlError> {
    if url.port().is_some_and(|port| port < UNPRIVILEGED_PORT_MIN) {
        return Err(UrlError::Port);
    }
    // The URL standard has turned every spelling of an IPv4 address (decimal, hex, octal, short, full-width digits) into
    // dotted quads by now, and put IPv6 into brackets: the connector reads this very text.
    let host = url.host_str().unwrap_or_default();
    let literal = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if let Ok(address) = literal.parse::<IpAddr>() {
        return if AddressPolicy::PublicOnly.allows(address) { Ok(()) } else { Err(UrlError::LocalAddress) };
    }
    let name = host.strip_suffix('.').unwrap_or(host);
    let is_local = |suffix: &&str| name.strip_suffix(*suffix).is_some_and(|rest| rest.ends_with('.'));
    // A single label is looked up in the search domains of the operator's own network.
    if !name.contains('.') || LOCAL_SUFFIXES.iter().any(is_local) {
        return Err(UrlError::LocalName);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn refusal(text: &str) -> Option<UrlError> {
        parse(text, AddressPolicy::PublicOnly).err()
    }

    #[test]
    fn ordinary_webhooks_pass() {
        for text in [
            "https://push.wallet.com/wake/3f9a?device=1",
            "https://push.wallet.com:8443/",
            "https://push.wallet.com./",
            "https://xn--bcher-kva.de/wake",
            "https://1.1.1.1/wake",
            "https://[2606:4700:4700::1111]/wake",
            "HTTPS://PUSH.WALLET.COM/",
            "https://mylocalhost.com/",
            "https://internal.wallet.com/",
        ] {
            assert_eq!(refusal(text), None, "{text}");
        }
    }

    #[test]
    fn every_spelling_of_a_local_address_is_refused() {
        for text in [
            "https://127.0.0.1/",
            "https://127.0.0.1./",
            "https://127.1/",
            "https://127.0.1/",
            "https://2130706433/",
            "https://0x7f000001/",
            "https://0x7f.0.0.1/",
            "https://0X7F.0x0.0x0.0x1/",
            "https://0177.0.0.1/",
            "https://017700000001/",
            "https://0/",
            "https://0x/",
            "https://0.0.0.0/",
            "https://%31%32%37.0.0.1/",
            "https://１２７.０.０.１/",
            "https://①②⑦.0.0.1/",
            "https://127。0。0。1/",
            "https://169.254.169.254/latest/meta-data/",
            "https://2852039166/",
            "https://0xa9fea9fe/",
            "https://0251.0376.0251.0376/",
            "https://0xa9.254.0251.254/",
            "https://10.1.2.3/",
            "https://167772161/",
            "https://192.168.0.1/",
            "https://172.16.0.1/",
            "https://100.64.0.1/",
            "https://255.255.255.255/",
            "https://[::]/",
            "https://[::1]/",
            "https://[0:0:0:0:0:0:0:1]/",
            "https://[::ffff:127.0.0.1]/",
            "https://[::ffff:7f00:1]/",
            "https://[::ffff:a9fe:a9fe]/",
            "https://[0:0:0:0:0:ffff:169.254.169.254]/",
            "https://[::127.0.0.1]/",
            "https://[64:ff9b::127.0.0.1]/",
            "https://[64:ff9b::a9fe:a9fe]/",
            "https://[64:ff9b:1::7f00:1]/",
            "https://[2002:7f00:1::]/",
            "https://[fe80::1]/",
            "https://[fd00:ec2::254]/",
            "https://[ff02::1]/",
            "https:127.0.0.1/",
            "https:\\\\127.0.0.1\\",
            "https:///127.0.0.1/",
        ] {
            assert_eq!(refusal(text), Some(UrlError::LocalAddress), "{text}");
        }
    }

    #[test]
    fn local_names_are_refused() {
        for text in [
            "https://localhost/",
            "https://LOCALHOST/",
            "https://localhost./",
            "https://ⓛocalhost/",
            "https://a.localhost/",
            "https://metadata/",
            "https://metadata.google.internal/",
            "https://printer.local/",
            "https://router.home.arpa./",
            "https://abcdef.onion/",
        ] {
            assert_eq!(refusal(text), Some(UrlError::LocalName), "{text}");
        }
    }

    #[test]
    fn what_is_no_webhook_is_refused() {
        for text in ["http://push.wallet.com/", "ftp://push.wallet.com/", "file:///etc/passwd", "data:,x"] {
            assert_eq!(refusal(text), Some(UrlError::Scheme), "{text}");
        }
        for text in
            ["https://user@push.wallet.com/", "https://:pass@push.wallet.com/", "https://a.com@10.0.0.1/"]
        {
            assert_eq!(refusal(text), Some(UrlError::Credentials), "{text}");
        }
        for text in
            ["https://push.wallet.com:22/", "https://push.wallet.com:0/", "https://push.wallet.com:80/"]
        {
            assert_eq!(refusal(text), Some(UrlError::Port), "{text}");
        }
        for text in [
            "",
            "push.wallet.com",
            "https://",
            "https://[::1",
            "https://256.1.1.1/",
            "https://[fe80::1%25lo]/",
        ] {
            assert!(matches!(refusal(text), Some(UrlError::Unparsable(_))), "{text}: {:?}", refusal(text));
        }
        for text in [" https://a.com/", "https://a.com/\n", "https://a\t.com/", "https://a.com/\0"] {
            assert_eq!(refusal(text), Some(UrlError::Unprintable), "{text:?}");
        }
        let long = format!("https://push.wallet.com/{}", "a".repeat(URL_BYTES_MAX));
        assert_eq!(refusal(&long), Some(UrlError::TooLong));
    }

    #[test]
    fn development_allows_local_addresses_but_no_other_scheme() {
        for text in ["http://127.0.0.1:8080/wake", "https://localhost/", "http://[::1]:81/"] {
            assert!(parse(text, AddressPolicy::Any).is_ok(), "{text}");
        }
        assert_eq!(parse("ftp://127.0.0.1/", AddressPolicy::Any), Err(UrlError::Scheme));
        assert_eq!(parse("http://u:p@127.0.0.1/", AddressPolicy::Any), Err(UrlError::Credentials));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".{0,80}") {
            let _ = refusal(&text);
            let _ = refusal(&format!("https://{text}"));
        }

        /// Whatever passes with a literal for its host is a public one.
        #[test]
        fn no_number_leads_home(bits: u32, radix in 0..3) {
            let host = match radix { 0 => bits.to_string(), 1 => format!("0x{bits:x}"), _ => format!("0{bits:o}") };
            let expected = super::super::address::is_public(std::net::Ipv4Addr::from(bits).into());
            prop_assert_eq!(refusal(&format!("https://{host}/")).is_none(), expected);
        }
    }
}
