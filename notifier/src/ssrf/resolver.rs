//! Names become addresses here, at connect time, and only addresses that the policy allows leave.
//!
//! The HTTP client does not ask a resolver for a URL whose host is an IP literal: those are judged in `url`.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use futures::future::{BoxFuture, FutureExt};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::Semaphore;

use super::address::AddressPolicy;

/// Finds the addresses of a name.
pub(crate) trait Lookup: Send + Sync {
    fn lookup(&self, host: String) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>>;
}

/// The system's resolver, with a bound on look-ups at once: each occupies a thread until the system answers, however
/// early its caller gives up.
pub(crate) struct SystemLookup {
    permits: Arc<Semaphore>,
}

impl SystemLookup {
    pub(crate) fn new(lookups_max: usize) -> Self {
        Self { permits: Arc::new(Semaphore::new(lookups_max.clamp(1, Semaphore::MAX_PERMITS))) }
    }
}

impl Lookup for SystemLookup {
    fn lookup(&self, host: String) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
        let permits = Arc::clone(&self.permits);
        async move {
            let permit = permits.acquire_owned().await.map_err(io::Error::other)?;
            // A task of its own, so that the permit stays taken when the caller's time-out drops this future.
            let lookup = tokio::spawn(async move {
                let _permit = permit;
                Ok(tokio::net::lookup_host((host, 0)).await?.collect())
            });
            lookup.await.map_err(io::Error::other)?
        }
        .boxed()
    }
}

/// The name has no address that the policy allows.
#[derive(Debug, thiserror::Error)]
#[error("the host name resolves to no usable address")]
pub(crate) struct NoUsableAddress;

pub(crate) struct FilteringResolver {
    policy: AddressPolicy,
    lookup: Arc<dyn Lookup>,
}

impl FilteringResolver {
    pub(crate) fn new(policy: AddressPolicy, lookup: Arc<dyn Lookup>) -> Self {
        Self { policy, lookup }
    }
}

impl Resolve for FilteringResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let policy = self.policy;
        let lookup = self.lookup.lookup(name.as_str().to_owned());
        async move {
            let mut addresses = lookup.await?;
            addresses.retain(|address| policy.allows(address.ip()));
            if addresses.is_empty() {
                return Err(NoUsableAddress.into());
            }
            Ok(Box::new(addresses.into_iter()) as Addrs)
        }
        .boxed()
    }
}
