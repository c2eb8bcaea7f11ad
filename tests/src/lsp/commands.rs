//! What an LSP is asked and told by its command line.

use protocol::api::admin::{
    ChannelView, DeviceView, HoldDetail, HoldSummary, HoldsCheck, MailboxView, NewAddress, NodeInfo, WakeView,
};
use serde::de::DeserializeOwned;

use super::Lsp;
use crate::failure::Failure;
use crate::process;
use crate::wait::{SOON, Seen, wait_until};

/// What kind of channel to open.
#[derive(Clone, Copy, Debug)]
pub struct ChannelTerms {
    /// In satoshi.
    pub capacity_sat: u64,
    /// The peer's from the start.
    pub push_msat: u64,
    /// Public.
    pub announce: bool,
}

impl Lsp {
    /// Runs one of its commands with `--json`, and reads the answer.
    ///
    /// # Errors
    ///
    /// When the command fails, or prints something else than a `T`.
    pub async fn ask<T: DeserializeOwned>(&self, arguments: &[&str]) -> Result<T, Failure> {
        let name = format!("{} {}", self.name, arguments.join(" "));
        let output = self.run(&name, arguments, None).await?;
        serde_json::from_str(&output).map_err(|source| Failure::Output { name, output, source })
    }

    /// Runs one of its commands with `--json` and `input`, and ignores what it prints.
    ///
    /// # Errors
    ///
    /// When the command fails.
    pub async fn tell(&self, arguments: &[&str], input: Option<&str>) -> Result<(), Failure> {
        self.run(&format!("{} {}", self.name, arguments.join(" ")), arguments, input).await.map(|_| ())
    }

    async fn run(&self, name: &str, arguments: &[&str], input: Option<&str>) -> Result<String, Failure> {
        let arguments: Vec<&str> = ["--json"].iter().chain(arguments).copied().collect();
        process::run(name, self.command(&arguments)?, input).await
    }

    /// `node info`
    ///
    /// # Errors
    ///
    /// When the command fails.
    pub async fn info(&self) -> Result<NodeInfo, Failure> {
        self.ask(&["node", "info"]).await
    }

    /// `node address`
    ///
    /// # Errors
    ///
    /// When the command fails.
    pub async fn address(&self) -> Result<String, Failure> {
        Ok(self.ask::<NewAddress>(&["node", "address"]).await?.address)
    }

    /// `node channels`
    ///
    /// # Errors
    ///
    /// When the command fails.
    pub async fn channels(&self) -> Result<Vec<ChannelView>, Failure> {
        self.ask(&["node", "channels"]).await
    }

    /// What it has in channels, to the millisatoshi.
    ///
    /// # Errors
    ///
    /// When the command fails.
    pub async fn balance_msat(&self) -> Result<u64, Failure> {
        Ok(self.info().await?.lightning_balance_msat.0)
    }

    /// `node connect`
    ///
    /// # Errors
    ///
    /// When the command fails.
    pub async fn connect(&self, peer_address: &str) -> Result<(), Failure> {
        self.tell(&["node", "connect", peer_address], None).await
    }

    /// `node open`, tried until the peer is connected.
    ///
    /// # Errors
    ///
    /// When it is still refused after a minute.
    pub async fn open(&self, peer: &str, terms: ChannelTerms) -> Result<(), Failure> {
        let (capacity, push) = (terms.capacity_sat.to_string(), terms.push_msat.to_string());
        let mut arguments = vec!["node", "open", peer, "--capacity-sat", &capacity, "--push-msat", &push];
        if terms.announce {
            arguments.push("--announce");
        }
        wait_until(&format!("{} to open a channel", self.name), SOON, async || {
            match self.tell(&arguments, None).await {
                Ok(()) => Ok(Seen::Done(())),
                Err(error @ Failure::Ended { .. }) => Ok(Seen::NotYet(xtask::with_causes(&error))),
                Err(error) => Err(error),
            }
        })
        .await
    }

    /// `holds list`
    ///
    /// # Errors
    ///
    /// When the command fails.
    pub async fn holds(&self) -> Result<Vec<HoldSummary>, Failure> {
        self.ask(&["holds", "list"]).await
    }

    /// `holds show`: one entry for each payer that used this pid.
    ///
    /// # Errors
    ///
    /// When the command fails.
    pub async fn hold(&self, pid_hash: &str) -> Result<Vec<HoldDetail>, Failure> {
        self.ask(&["holds", "show", pid_hash]).await
    }

    /// `holds check`
    ///
    /// # Errors
    ///
    /// When the command fails.
    pub async fn check_holds(&self) -> Result<HoldsCheck, Failure> {
        self.ask(&["holds", "check"]).await
    }

    /// `mailbox list`
    ///
    /// # Errors
    ///
    /// When the command fails.
    pub async fn mailbox(&self) -> Result<Vec<MailboxView>, Failure> {
        self.ask(&["mailbox", "list"]).await
    }

    /// `devices list`
    ///
    /// # Errors
    ///
    /// When the command fails.
    pub async fn devices(&self) -> Result<Vec<DeviceView>, Failure> {
        self.ask(&["devices", "list"]).await
    }

    /// `wakes list`
    ///
    /// # Errors
    ///
    /// When the command fails.
    pub async fn wakes(&self) -> Result<Vec<WakeView>, Failure> {
        self.ask(&["wakes", "list"]).await
    }

    /// Waits until `count` of its channels are usable.
    ///
    /// # Errors
    ///
    /// When they are not in time.
    pub async fn wait_for_usable_channels(&self, count: usize) -> Result<(), Failure> {
        wait_until(&format!("{count} usable channels of {}", self.name), SOON, async || {
            let info = self.info().await?;
            let seen = format!("{} of {}, at height {}", info.channels_usable, info.channels, info.height);
            Ok(if info.channels_usable >= count { Seen::Done(()) } else { Seen::NotYet(seen) })
        })
        .await
    }

    /// Waits until it has processed every block of the chain.
    ///
    /// # Errors
    ///
    /// When it has not in time.
    pub async fn wait_for_height(&self, height: u32) -> Result<(), Failure> {
        wait_until(&format!("{} to be at height {height}", self.name), SOON, async || {
            let info = self.info().await?;
            Ok(if info.height.0 >= height { Seen::Done(()) } else { Seen::NotYet(info.height.to_string()) })
        })
        .await
    }
}
