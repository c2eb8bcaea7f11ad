//! Settings that can be used, and that an operator may still not want.

use bitcoin::Network;

use super::Check;
use crate::config::Config;

pub(super) fn examine(config: &Config) -> Vec<Check> {
    if config.network == Network::Regtest {
        return Vec::new();
    }
    let mut checks = Vec::new();
    if config.lightning.announced_addresses.is_empty() {
        checks.push(Check::warning(
            "announced addresses",
            "none: payees' LSPs cannot be told where this node is, and messages from there do not arrive",
            "set lightning.announced_addresses to the addresses that others can connect to",
        ));
    }
    if config.push.allow_private_addresses {
        checks.push(Check::warning(
            "push",
            "webhooks may point into private networks: whoever registers a phone can make this server call them",
            "unset push.allow_private_addresses; it is for development",
        ));
    }
    checks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_development_may_do_is_remarked_elsewhere() {
        let text = |network| {
            format!(
                "network = \"{network}\"\n[bitcoind]\nrpc_url = \"http://127.0.0.1:1\"\nrpc_user = \"u\"\n\
                 rpc_password = \"p\"\n[push]\nallow_private_addresses = true"
            )
        };
        let examine = |network| examine(&Config::parse("/data".as_ref(), &text(network), []).unwrap());
        assert_eq!(examine("regtest"), []);
        let names: Vec<_> = examine("bitcoin").iter().map(|check| check.name).collect();
        assert_eq!(names, ["announced addresses", "push"]);
    }
}
