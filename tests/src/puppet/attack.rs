//! What no honest phone does.

use std::time::Duration;

use bitcoin::secp256k1::PublicKey;
use lightning_types::payment::PaymentHash;
use node::NodeEvent;
use protocol::api::public::{ChallengeRequest, ChallengeResponse, DeviceTarget, RegisterDeviceRequest};
use protocol::ids::Pid;
use protocol::path::{payee_unblock_path, pending_path};
use protocol::units::{BlockHeight, Msat};
use protocol::wire::{PaymentPending, PaymentUnblock};
use reqwest::StatusCode;

use super::{Ended, Puppet};
use crate::failure::Failure;
use crate::lsp::Lsp;
use crate::wait::{SOON, Seen, wait_until};

fn wrong(error: &dyn std::error::Error) -> Failure {
    Failure::wrong(xtask::with_causes(error))
}

impl Puppet {
    /// A payment_block for a payment that does not exist; its answer is not waited for.
    ///
    /// # Errors
    ///
    /// When it cannot be made. That it is not sent is none: a flood does not look back.
    pub fn block_at_random(&self, deadline: BlockHeight) -> Result<(), Failure> {
        let hash = PaymentHash(self.node.random_bytes());
        let request = self.block_request(&self.new_pid(), vec![hash], deadline)?;
        let _ = self.send_to_lsp(request.into());
        Ok(())
    }

    /// A message to any node through its LSP, as a payment_pending of a payment that does not exist.
    ///
    /// # Errors
    ///
    /// When it cannot be made. That it is not sent is none.
    pub fn pester(&self, recipient: PublicKey) -> Result<(), Failure> {
        let pid = self.new_pid();
        let session_key = self.node.session_key().map_err(|error| wrong(&error))?;
        let path = pending_path(&session_key, self.lsp, None, recipient, pid.hash())
            .map_err(|error| wrong(&error))?;
        let pending = PaymentPending {
            payment_hash: PaymentHash(self.node.random_bytes()),
            amount: Msat(1_000),
            pid,
            deadline: self.height(),
            payer_and_lsp: None,
        };
        let _ = self.node.send_along(path, pending.into(), None);
        Ok(())
    }

    /// A node id that nobody has.
    ///
    /// # Errors
    ///
    /// One time in 2^128.
    pub fn nobody(&self) -> Result<PublicKey, Failure> {
        let secp = bitcoin::secp256k1::Secp256k1::new();
        Ok(self.node.session_key().map_err(|error| wrong(&error))?.public_key(&secp))
    }

    /// An unblock with a pid that it guesses, along a path to `payer`.
    ///
    /// # Errors
    ///
    /// When it cannot be made. That it is not sent is none.
    pub fn guess(&self, payer: PublicKey, pid: Pid) -> Result<(), Failure> {
        let session_key = self.node.session_key().map_err(|error| wrong(&error))?;
        let path =
            payee_unblock_path(&session_key, None, self.lsp, payer, pid).map_err(|error| wrong(&error))?;
        let yes = PaymentUnblock { payment_hash: PaymentHash(self.node.random_bytes()) };
        let _ = self.node.send_along(path, yes.into(), None);
        Ok(())
    }

    /// Registers a webhook in its own name, and says what the LSP answers.
    ///
    /// # Errors
    ///
    /// When the LSP does not answer.
    pub async fn register(&self, lsp: &Lsp, url: &str) -> Result<StatusCode, Failure> {
        self.register_device(lsp, DeviceTarget::new("webhook", url)).await
    }

    /// As [`Self::register`], for a device of any platform.
    ///
    /// # Errors
    ///
    /// When the LSP does not answer.
    pub async fn register_device(&self, lsp: &Lsp, target: DeviceTarget) -> Result<StatusCode, Failure> {
        let failure = |source| Failure::RpcTransport { method: "the public API".to_owned(), source };
        let client = crate::http::client(SOON)?;
        let node_id = self.node_id();
        let challenge = client.post(format!("{}/v1/challenge", lsp.api_url()));
        let challenge = challenge.json(&ChallengeRequest { node_id }).send().await.map_err(failure)?;
        let ChallengeResponse { challenge, .. } = challenge.json().await.map_err(failure)?;
        let mut request = RegisterDeviceRequest::new(node_id, challenge, target);
        request.signature = self.node.sign(&request.text(&self.lsp)).map_err(|error| wrong(&error))?;
        let answer = client.post(format!("{}/v1/devices", lsp.api_url())).json(&request).send().await;
        Ok(answer.map_err(failure)?.status())
    }

    /// Waits until one of its payments has ended, whatever else is on its channels.
    ///
    /// # Errors
    ///
    /// When it does not in time.
    pub async fn wait_until_ended(&self, hash: PaymentHash, timeout: Duration) -> Result<Ended, Failure> {
        wait_until(&format!("a payment of {} to end", self.name), timeout, async || {
            let ended = self.payment_ended(hash);
            Ok(ended.map_or_else(|| Seen::NotYet("under way".to_owned()), Seen::Done))
        })
        .await
    }

    /// As [`Self::wait_until_ended`], for one that should end at once.
    ///
    /// # Errors
    ///
    /// When it does not.
    pub async fn wait_for_failure(&self, hash: PaymentHash) -> Result<Ended, Failure> {
        self.wait_until_ended(hash, SOON).await
    }

    /// Why channels of its own were closed or refused, in the order in which it heard of it.
    pub fn closed_channels(&self) -> Vec<String> {
        let events = self.strings.events();
        let reason = |event: &NodeEvent| match event {
            NodeEvent::ChannelClosed { reason, .. } => Some(reason.clone()),
            _ => None,
        };
        events.iter().filter_map(reason).collect()
    }
}
